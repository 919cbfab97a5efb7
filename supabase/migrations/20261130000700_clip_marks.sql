-- Clips are found by what they are: one index of marks. Idempotent.

-- A table of somebody else under this name is left alone, and so is everything else.
do $$
declare
  foreign_table record;
begin
  for foreign_table in
    select name, columns from (values
      ('saved_filters', 'name, page, query, saved_by')
    ) as ours (name, columns)
    where to_regclass(name) is not null and exists (
      select from unnest(string_to_array(columns, ', ')) as wanted
      where not exists (
        select from pg_attribute a
        where a.attrelid = to_regclass(name) and a.attname = wanted and not a.attisdropped and a.attnum > 0
      )
    )
  loop
    raise duplicate_table using
      message = format('%s is not a table of lipika: it lacks some of %s', foreign_table.name, foreign_table.columns),
      hint = 'Give lipika a database of its own, or rename that table.';
  end loop;
end
$$;

create table if not exists saved_filters (
  name     text not null check (name <> '' and length(name) <= 80),
  page     text not null default 'clips',
  query    text not null check (length(query) <= 4000),
  saved_by text not null,
  saved_at timestamptz not null default now(),
  primary key (page, name)
);
comment on table saved_filters is 'Filters of the board that somebody has given a name. All see them.';
comment on column saved_filters.query is 'As in the address of the page.';
comment on column saved_filters.saved_by is 'Who saved it last.';
alter table saved_filters enable row level security;

-- ------------------------------------------------------------------------------------------------ marks

create or replace function lipika_clip_place(p_id uuid) returns integer
language sql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
  -- One of 16384 places, by chance: the last bits of an id are random. Lists of clips go from place to place.
  select ('x' || right(p_id::text, 4))::bit(16)::integer / 4
$$;

create or replace function lipika_clip_marks(
  p_id uuid, p_status text, p_hint text, p_detected text, p_score real, p_asr boolean, p_tts_clean boolean,
  p_tts_expressive boolean, p_findings jsonb, p_failure_kind text, p_model_id text, p_speaker_id text, p_text_source text
) returns text[]
language sql immutable parallel safe cost 2000 set search_path = pg_catalog, pg_temp as $$
  -- What a clip may be looked for by; what nearly all have (transcribed, by the model) is not marked.
  select array_remove(
    array[
      'p:' || ('x' || right(p_id::text, 4))::bit(16)::integer / 4,
      'l:' || coalesce(nullif(p_hint, ''), p_detected, 'unknown'),
      'v:' || p_speaker_id,
      'm:' || p_model_id,
      case when p_status <> 'transcribed' then 's:' || p_status end,
      case when p_score is not null then 'q:' || least(floor(p_score::numeric * 20), 19) end,
      case when p_asr then 'a:asr' end,
      case when p_tts_clean then 'a:tts_clean' end,
      case when p_tts_expressive then 'a:tts_expressive' end,
      'x:' || p_failure_kind,
      case when p_detected <> coalesce(nullif(p_hint, ''), 'none')
        then 'h:' || coalesce(nullif(p_hint, ''), 'none') || '>' || p_detected end,
      case when p_text_source <> 'model' then 't:' || p_text_source end
    ]
    || array(select distinct 'f:' || (finding ->> 'code') from jsonb_array_elements(p_findings) finding),
    null
  )
$$;
comment on function lipika_clip_marks(
  uuid, text, text, text, real, boolean, boolean, boolean, jsonb, text, text, text, text
) is
  'p: place, l: language, v: speaker, m: model, s: status, q: score in twentieths, a: lane, x: failure, '
  'h: hint and what was heard where they differ, t: text source, f: finding.';

create or replace function lipika_words(p_text text) returns text[]
language sql immutable parallel safe cost 1000 set search_path = pg_catalog, pg_temp as $$
  -- Whole words, for the index that `lipika db index-words` makes. Apart from spaces and punctuation a script's own signs
  -- stay together, whatever the server takes for letters.
  select coalesce(array_agg(distinct word), '{}')
  from regexp_split_to_table(
    lower(normalize(p_text, NFC) collate "C"), '[][ \n\r\t.,;:!?"“”‘’''()<>{}|/\\…–—।॥۔،؟-]+'
  ) word
  where word <> ''
$$;

-- A large table is not locked for it: `lipika db migrate` makes it beside the work. What waits to be sorted in is read with
-- every look, so that it is kept short.
do $$
begin
  if to_regclass('transcription_results_marks') is null and pg_table_size('transcription_results') < 256 * 1024 * 1024 then
    create index transcription_results_marks on transcription_results using gin (lipika_clip_marks(
      id, status, expected_language_hint, detected_language, quality_score, asr_eligible, tts_clean_eligible,
      tts_expressive_eligible, findings, failure_kind, model_id, speaker_id, text_source
    )) with (gin_pending_list_limit = 256);
  end if;
end
$$;

-- ------------------------------------------------------------------------------------------------ rights

do $$
declare
  thing text;
  grantee text;
begin
  foreach thing in array array[
    'table saved_filters', 'function lipika_clip_place(uuid)', 'function lipika_words(text)',
    'function lipika_clip_marks(uuid, text, text, text, real, boolean, boolean, boolean, jsonb, text, text, text, text)'
  ] loop
    execute format('revoke all on %s from public', thing);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on %s from %I', thing, grantee);
    end loop;
  end loop;
  -- Who may read results may look for them; roles.sql need not be run again for it. Whoever writes them keeps the indexes.
  for grantee in select rolname from pg_roles where rolname in ('lipika_worker', 'lipika_reader', 'lipika_dashboard') loop
    continue when not has_table_privilege(grantee, 'transcription_results', 'select');
    execute format(
      'grant execute on function lipika_clip_place(uuid), lipika_words(text), '
      'lipika_clip_marks(uuid, text, text, text, real, boolean, boolean, boolean, jsonb, text, text, text, text) to %I',
      grantee
    );
    continue when grantee = 'lipika_worker';
    execute format(
      'grant %s on saved_filters to %I',
      case when grantee = 'lipika_dashboard' then 'select, insert, update, delete' else 'select' end, grantee
    );
    if not exists (select from pg_policy where polrelid = 'saved_filters'::regclass and polname = grantee) then
      execute format('create policy %I on saved_filters for %s to %I using (true)', grantee,
        case when grantee = 'lipika_dashboard' then 'all' else 'select' end, grantee);
    end if;
  end loop;
end
$$;

insert into lipika_migrations (version, name) values ('20261130000700', 'clip_marks') on conflict do nothing;
