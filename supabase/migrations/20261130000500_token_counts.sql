-- Tokens and characters of answers by language, model and form, as metered: kept by a trigger in the transaction that
-- writes a result, and read by `lipika status` and the board. Idempotent.

-- A table of somebody else under this name is left alone, and so is everything else.
do $$
declare
  foreign_table record;
begin
  for foreign_table in
    select name, columns from (values
      ('token_counts', 'language, schema_version, shard')
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

create table if not exists token_counts (
  language       text not null,
  model_id       text not null,
  schema_version text not null,
  thinking_level text not null,
  made_up        boolean not null,
  shard          smallint not null,
  answers        bigint not null,
  characters     bigint not null,
  answer_tokens  bigint not null,
  thought_tokens bigint not null,
  prompt_tokens  bigint not null,
  audio_tokens   bigint not null,
  duration_ms    bigint not null,
  primary key (language, model_id, schema_version, thinking_level, made_up, shard)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.1);
comment on table token_counts is
  'Answers with speech that took one request, as metered, kept by a trigger on transcription_results: each that was paid for '
  'counts once, when its row is first written, and is never taken back. Add up the shards.';
comment on column token_counts.language is 'The language heard: the text is in its script.';
comment on column token_counts.schema_version is 'Says the form of the answer, full or lean.';
comment on column token_counts.made_up is 'By the simulator: its tokens are a guess.';
comment on column token_counts.characters is 'Of the transcriptions: code points, blanks among them.';
comment on column token_counts.answer_tokens is 'All that was billed as output, without thoughts.';
comment on column token_counts.audio_tokens is 'Of prompt_tokens.';
alter table token_counts enable row level security;

create or replace function lipika_count_tokens() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- An answer is known by its audio, window and latency. One that this row had before, that another clip with the same audio
-- has, or that had been put aside, has been counted. Clips of one statement that share an answer count once. With an
-- argument: nothing has been counted yet.
declare
  elsewhere text := '';
begin
  if tg_nargs = 0 then
    elsewhere := $sql$
      and not exists (
        select from transcription_answers a
        where (a.audio_digest, a.batch_id, a.latency_ms) = (n.audio_digest, n.batch_id, n.latency_ms)
      )
    $sql$;
  end if;
  if tg_nargs = 0 and exists (
    select from pg_index where indexrelid = to_regclass('transcription_results_audio') and indisvalid
  ) then
    -- By the index on the audio, the first few of each: of a jingle there may be a million.
    elsewhere := elsewhere || $sql$
      and not exists (
        select from (
          select video_id, segment_file, audio_digest, batch_id, latency_ms from transcription_results k
          where hashtextextended(k.audio_digest, 0) = hashtextextended(n.audio_digest, 0) limit 20
        ) k
        where (k.audio_digest, k.batch_id, k.latency_ms) = (n.audio_digest, n.batch_id, n.latency_ms)
          and (k.video_id, k.segment_file) <> (n.video_id, n.segment_file) -- most find nobody but themselves
          and not exists (
            select from rows_in m where m.video_id = k.video_id and m.segment_file = k.segment_file
          )
      )
    $sql$;
  end if;
  if tg_op = 'UPDATE' then
    elsewhere := elsewhere || $sql$
      and not exists (
        select from rows_out o
        where (o.video_id, o.segment_file, o.audio_digest, o.batch_id, o.latency_ms)
          = (n.video_id, n.segment_file, n.audio_digest, n.batch_id, n.latency_ms)
      )
    $sql$;
  end if;
  execute format($sql$
    insert into token_counts as c (
      language, model_id, schema_version, thinking_level, made_up, shard, answers, characters, answer_tokens,
      thought_tokens, prompt_tokens, audio_tokens, duration_ms
    )
    select detected_language, regexp_replace(model_id, '^(google|models)/', ''), schema_version, thinking_level, made_up,
      $1, count(*), sum(characters), sum(output - thoughts), sum(thoughts), sum(prompt), sum(audio), sum(duration_ms)
    from (
      select distinct on (audio_digest, batch_id, latency_ms)
        coalesce(detected_language, 'unknown') as detected_language, model_id, schema_version, thinking_level,
        starts_with(coalesce(model_version, ''), 'simulated') as made_up, duration_ms,
        char_length(transcription) as characters, output, thoughts, prompt, audio
      from rows_in n
      cross join lateral (
        select coalesce((token_usage_json ->> 'output')::bigint, 0) as output,
          coalesce((token_usage_json ->> 'thoughts')::bigint, 0) as thoughts,
          coalesce((token_usage_json ->> 'prompt')::bigint, 0) as prompt,
          coalesce((token_usage_json ->> 'prompt_audio')::bigint, 0) as audio
      ) u
      where status = 'transcribed' and attempts = 1 and text_source = 'model' and transcription <> ''
        and output > thoughts
        %s
    ) answer
    group by 1, 2, 3, 4, 5
    order by 1, 2, 3, 4, 5
    on conflict (language, model_id, schema_version, thinking_level, made_up, shard) do update set
      answers = c.answers + excluded.answers, characters = c.characters + excluded.characters,
      answer_tokens = c.answer_tokens + excluded.answer_tokens, thought_tokens = c.thought_tokens + excluded.thought_tokens,
      prompt_tokens = c.prompt_tokens + excluded.prompt_tokens, audio_tokens = c.audio_tokens + excluded.audio_tokens,
      duration_ms = c.duration_ms + excluded.duration_ms
  $sql$, elsewhere) using lipika_shard();
  return null;
end
$$;

-- Triggers, and once the count of what is there already. Nobody writes in between: the block is one transaction. A large
-- table is not locked for as long as that takes: there the counting begins with the next answer.
do $$
begin
  if exists (
    select from pg_trigger where tgrelid = 'transcription_results'::regclass and tgname = 'tokens_insert'
  ) then
    return;
  end if;
  lock table transcription_results in share row exclusive mode;
  delete from token_counts;
  if pg_table_size('transcription_results') < 256 * 1024 * 1024 then
    create temporary table lipika_recount as select * from transcription_results with no data;
    create trigger tokens_insert after insert on lipika_recount referencing new table as rows_in
      for each statement execute function lipika_count_tokens('anew');
    insert into lipika_recount select * from transcription_results;
    drop table lipika_recount;
  end if;
  create trigger tokens_insert after insert on transcription_results referencing new table as rows_in
    for each statement execute function lipika_count_tokens();
  create trigger tokens_update after update on transcription_results referencing new table as rows_in
    old table as rows_out for each statement execute function lipika_count_tokens();
end
$$;

do $$
declare
  thing text;
  grantee text;
begin
  foreach thing in array array['table token_counts', 'function lipika_count_tokens()'] loop
    execute format('revoke all on %s from public', thing);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on %s from %I', thing, grantee);
    end loop;
  end loop;
  -- Who may read other counters may read these; roles.sql need not be run again for it.
  if exists (select from pg_roles where rolname = 'lipika_reader')
    and has_table_privilege('lipika_reader', 'clip_counts', 'select') then
    grant select on token_counts to lipika_reader;
  end if;
end
$$;

insert into lipika_migrations (version, name) values ('20261130000500', 'token_counts') on conflict do nothing;
