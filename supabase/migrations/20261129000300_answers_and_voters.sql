-- Answers that were replaced, by their audio and the way they were asked; and what others say of a clip: texts and times of
-- words, too long for a row that a hundred million of are read by. Idempotent.

-- Tables of somebody else under these names are left alone, and so is everything else.
do $$
declare
  foreign_table record;
begin
  for foreign_table in
    select name, columns from (values
      ('transcription_answers', 'audio_digest, way_digest, answer'),
      ('transcription_voters', 'video_id, segment_file, voters')
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

create table if not exists transcription_answers (
  audio_digest   text not null,
  way_digest     text not null,
  provider       text not null,
  model_id       text not null,
  model_version  text not null,
  temperature    real,
  thinking_level text not null,
  prompt_version text not null,
  schema_version text not null,
  language_hint  text not null default '',
  answer         jsonb not null,
  usage          jsonb not null,
  cost_usd       double precision not null,
  created_at     timestamptz not null default now(),
  primary key (audio_digest, way_digest)
);
comment on table transcription_answers is
  'One row per audio and way of asking whose answer was paid for and is no clip''s result any more.';
comment on column transcription_answers.audio_digest is 'SHA-256 of the audio that was sent: what the answer belongs to.';
comment on column transcription_answers.way_digest is
  'lipika_way of model, temperature, thinking level, prompt, schema and language hint.';
comment on column transcription_answers.answer is
  'transcription, tagged, detected_language, speaker_emotion, speaker_style, speaker_pace, speaker_accent.';
comment on column transcription_answers.usage is 'Tokens by kind.';
comment on column transcription_answers.cost_usd is 'US dollars it cost.';

create table if not exists transcription_voters (
  video_id     text not null,
  segment_file text not null,
  audio_digest text not null,
  alignment    jsonb,
  voters       jsonb not null default '[]',
  tier         text check (tier in ('gold', 'silver', 'bronze')),
  consensus    jsonb,
  written_at   timestamptz not null default now(),
  primary key (video_id, segment_file)
);
comment on table transcription_voters is 'One row per clip of which more is known than its own answer.';
comment on column transcription_voters.audio_digest is 'SHA-256 of the audio that they heard.';
comment on column transcription_voters.alignment is 'What a second recogniser heard and when, beside transcription_results.alignment.';
comment on column transcription_voters.voters is 'Texts of others: an array of name, kind, text and digest.';
comment on column transcription_voters.tier is 'How far all of them agree with the clip''s own text; null: not weighed.';
comment on column transcription_voters.consensus is 'The tier with the distance of those two who disagree most, and their names.';

alter table transcription_answers enable row level security;
alter table transcription_voters enable row level security;

create or replace function lipika_way(
  p_model_id text, p_temperature real, p_thinking_level text, p_prompt_version text, p_schema_version text, p_language_hint text
) returns text
language sql stable parallel safe set search_path = pg_catalog, public, pg_temp as $$
-- Google's models go by several names; a temperature was kept in single precision.
  select left(encode(sha256(convert_to(jsonb_build_array(
    regexp_replace(p_model_id, '^(google|models)/', ''), round(p_temperature::numeric, 4), p_thinking_level, p_prompt_version,
    p_schema_version, coalesce(p_language_hint, '')
  )::text, 'UTF8')), 'hex'), 32)
$$;

-- Only where this file has not been run before: a later one has put another in its place.
do $once$
begin
  if exists (select from lipika_migrations where version = '20261129000300') then
    return;
  end if;

create or replace function lipika_keep_replaced() returns trigger
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
-- What was paid under one way of asking stays paid. Of two answers of one way the later one is kept; one that is handed in
-- again, such as under a hint that was mended, is not replaced.
declare
  way constant text := lipika_way(
    old.model_id, old.temperature, old.thinking_level, old.prompt_version, old.schema_version, old.expected_language_hint
  );
begin
  if old.transcription is not null and (old.batch_id, old.latency_ms, old.attempts, old.transcription) is distinct from (
    new.batch_id, new.latency_ms, new.attempts, new.transcription
  ) and (
    old.audio_digest <> new.audio_digest or new.transcription is null or way <> lipika_way(
      new.model_id, new.temperature, new.thinking_level, new.prompt_version, new.schema_version, new.expected_language_hint
    )
  ) then
    insert into transcription_answers as a (
      audio_digest, way_digest, provider, model_id, model_version, temperature, thinking_level, prompt_version,
      schema_version, language_hint, answer, usage, cost_usd, created_at
    )
    values (
      old.audio_digest, way, old.provider, old.model_id, old.model_version, old.temperature, old.thinking_level,
      old.prompt_version, old.schema_version, coalesce(old.expected_language_hint, ''),
      jsonb_build_object(
        'transcription', old.transcription, 'tagged', old.tagged, 'detected_language', old.detected_language,
        'speaker_emotion', old.speaker_emotion, 'speaker_style', old.speaker_style, 'speaker_pace', old.speaker_pace,
        'speaker_accent', old.speaker_accent
      ),
      old.token_usage_json, old.cost_usd, old.created_at
    )
    on conflict (audio_digest, way_digest) do update set
      provider = excluded.provider, model_id = excluded.model_id, model_version = excluded.model_version,
      answer = excluded.answer, usage = excluded.usage, cost_usd = excluded.cost_usd, created_at = excluded.created_at
    where a.answer is distinct from excluded.answer;
  end if;
  -- A tier was of the text that is gone, unless it came with the new one; what others said of other audio is of no use.
  delete from transcription_voters v
  where v.video_id = new.video_id and v.segment_file = new.segment_file and v.audio_digest <> new.audio_digest;
  update transcription_voters v set tier = null, consensus = null
  where v.video_id = new.video_id and v.segment_file = new.segment_file and v.consensus is not null
    and v.written_at <> now();
  return null;
end
$$;

create or replace function lipika_put_alignment_aside() returns trigger
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
-- The row keeps what it is searched by. A tier comes along where the recogniser is the only other voter.
begin
  insert into transcription_voters as v (video_id, segment_file, audio_digest, alignment, tier, consensus)
  values (
    new.video_id, new.segment_file, new.audio_digest, new.alignment - 'consensus',
    new.alignment #>> '{consensus,tier}', nullif(new.alignment -> 'consensus', 'null')
  )
  on conflict (video_id, segment_file) do update set
    alignment = excluded.alignment, audio_digest = excluded.audio_digest, written_at = now(),
    voters = case when v.audio_digest = excluded.audio_digest then v.voters else '[]' end,
    tier = excluded.tier, consensus = excluded.consensus
  where (v.audio_digest, v.alignment) is distinct from (excluded.audio_digest, excluded.alignment);
  new.alignment := jsonb_build_object(
    'agreement', new.alignment -> 'agreement', 'score', new.alignment -> 'score', 'version', new.alignment -> 'version'
  );
  return new;
end
$$;
end
$once$;

create or replace function lipika_remove_voters() returns trigger
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
begin
  delete from transcription_voters v using gone g
  where v.video_id = g.video_id and v.segment_file = g.segment_file;
  return null;
end
$$;

-- `drop trigger` would lock the table for nothing where it is there already.
do $$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('keep_replaced',
        'after update of audio_digest, transcription, model_id, temperature, thinking_level, prompt_version, schema_version, '
        'expected_language_hint on transcription_results for each row when (('
        'old.audio_digest, old.transcription, old.model_id, old.temperature, old.thinking_level, old.prompt_version, '
        'old.schema_version, old.expected_language_hint) is distinct from ('
        'new.audio_digest, new.transcription, new.model_id, new.temperature, new.thinking_level, new.prompt_version, '
        'new.schema_version, new.expected_language_hint)) execute function lipika_keep_replaced()'),
      ('put_alignment_aside',
        'before insert or update of alignment on transcription_results for each row '
        'when (new.alignment ->> ''heard'' <> '''' or new.alignment -> ''words'' <> ''[]'') '
        'execute function lipika_put_alignment_aside()'),
      ('remove_voters',
        'after delete on transcription_results referencing old table as gone for each statement '
        'execute function lipika_remove_voters()')
    ) as w (name, definition)
    where not exists (
      select from pg_trigger t where t.tgrelid = 'transcription_results'::regclass and t.tgname = name
    )
  loop
    execute format('create trigger %I %s', wanted.name, wanted.definition);
  end loop;
end
$$;

-- ------------------------------------------------------------------------------------------------ rights

do $$
declare
  thing text;
  grantee text;
begin
  foreach thing in array array[
    'table transcription_answers', 'table transcription_voters',
    'function lipika_way(text, real, text, text, text, text)', 'function lipika_keep_replaced()',
    'function lipika_put_alignment_aside()', 'function lipika_remove_voters()'
  ] loop
    execute format('revoke all on %s from public', thing);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on %s from %I', thing, grantee);
    end loop;
  end loop;
end
$$;

-- Who may read results may read these; roles.sql need not be run again before the next start of a worker.
do $$
declare
  grantee text;
  relation regclass;
begin
  for grantee in select rolname from pg_roles where rolname in ('lipika_worker', 'lipika_reader') loop
    continue when not has_table_privilege(grantee, 'transcription_results', 'select');
    foreach relation in array array['transcription_answers'::regclass, 'transcription_voters'::regclass] loop
      execute format('grant select on %s to %I', relation, grantee);
      if not exists (select from pg_policy where polrelid = relation and polname = grantee) then
        execute format('create policy %I on %s for select to %I using (true)', grantee, relation, grantee);
      end if;
    end loop;
  end loop;
end
$$;

insert into lipika_migrations (version, name) values ('20261129000300', 'answers_and_voters') on conflict do nothing;
