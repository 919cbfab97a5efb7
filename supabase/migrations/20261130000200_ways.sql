-- The ways of asking that have answers, counted as rows change; and answers that were replaced, made results again.
-- Idempotent.

-- A table of somebody else under this name is left alone, and so is everything else.
do $$
declare
  foreign_table record;
begin
  for foreign_table in
    select name, columns from (values
      ('way_counts', 'way, place, shard')
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

create table if not exists way_counts (
  way            text not null,
  place          text not null check (place in ('result', 'kept')),
  language       text not null,
  provider       text not null,
  service_tier   text not null,
  made_up        boolean not null,
  shard          smallint not null,
  model_id       text not null,
  temperature    real,
  thinking_level text not null,
  prompt_version text not null,
  schema_version text not null,
  clips          bigint not null,
  cost_usd       double precision not null,
  prompt_tokens  bigint not null,
  audio_tokens   bigint not null,
  output_tokens  bigint not null,
  thought_tokens bigint not null,
  primary key (way, place, language, provider, service_tier, made_up, shard)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.1);
comment on table way_counts is
  'Answers by way of asking, kept by triggers on transcription_results and transcription_answers. Add up the shards.';
comment on column way_counts.way is 'lipika_way_name of the settings beside it.';
comment on column way_counts.place is
  'result: clips whose result it is; kept: audios whose answer is kept aside and is no result at present.';
comment on column way_counts.language is 'The hint, else the language detected, else unknown.';
comment on column way_counts.made_up is 'Answers of the simulator.';
comment on column way_counts.cost_usd is 'US dollars that these answers cost.';
alter table way_counts enable row level security;

create or replace function lipika_way_name(
  p_model_id text, p_temperature real, p_thinking_level text, p_prompt_version text, p_schema_version text
) returns text
language sql stable parallel safe set search_path = pg_catalog, public, pg_temp as $$
-- Short, and the same under whatever hint.
  select left(lipika_way(p_model_id, p_temperature, p_thinking_level, p_prompt_version, p_schema_version, ''), 8)
$$;

-- ------------------------------------------------------------------------------------------------ answers kept aside

alter table transcription_answers add column if not exists way text;
alter table transcription_answers add column if not exists is_result boolean not null default false;
comment on column transcription_answers.way is 'lipika_way_name: the way of asking, without the hint.';
comment on column transcription_answers.is_result is 'A clip that had been given another answer has this one as its result again.';

create or replace function lipika_name_way() returns trigger
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
begin
  new.way := lipika_way_name(
    new.model_id, new.temperature, new.thinking_level, new.prompt_version, new.schema_version
  );
  return new;
end
$$;

create or replace function lipika_mark_kept() returns trigger
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
-- After lipika_keep_replaced, which has put the old answer aside.
declare
  old_way constant text := lipika_way(
    old.model_id, old.temperature, old.thinking_level, old.prompt_version, old.schema_version, old.expected_language_hint
  );
  new_way constant text := lipika_way(
    new.model_id, new.temperature, new.thinking_level, new.prompt_version, new.schema_version, new.expected_language_hint
  );
begin
  update transcription_answers set is_result = false
  where audio_digest = old.audio_digest and way_digest = old_way and is_result;
  if new.transcription is not null and new.text_source = 'model' then
    update transcription_answers set is_result = true
    where audio_digest = new.audio_digest and way_digest = new_way and not is_result;
  end if;
  return null;
end
$$;

create or replace function lipika_unmark_kept() returns trigger
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
begin
  update transcription_answers a set is_result = false
  from gone g
  where a.audio_digest = g.audio_digest and a.is_result and a.way_digest = lipika_way(
    g.model_id, g.temperature, g.thinking_level, g.prompt_version, g.schema_version, g.expected_language_hint
  );
  return null;
end
$$;

-- ------------------------------------------------------------------------------------------------ keeping count

create or replace function lipika_ways_sql(p_changes text) returns text
language sql immutable set search_path = pg_catalog, public, pg_temp as $$
-- The statement that adds these changes to the counts: $1 is the shard, $2 the place.
  select format($sql$
    insert into way_counts as c (
      way, place, language, provider, service_tier, made_up, shard, model_id, temperature, thinking_level,
      prompt_version, schema_version, clips, cost_usd, prompt_tokens, audio_tokens, output_tokens, thought_tokens
    )
    select lipika_way_name(model_id, temperature, thinking_level, prompt_version, schema_version), $2, language, provider,
      service_tier, made_up, $1, model_id, temperature, thinking_level, prompt_version, schema_version, clips, cost_usd,
      prompt_tokens, audio_tokens, output_tokens, thought_tokens
    from (
      select regexp_replace(model_id, '^(google|models)/', '') as model_id, round(temperature::numeric, 4)::real as temperature,
        thinking_level, prompt_version, schema_version,
        coalesce(nullif(expected_language_hint, ''), detected_language, 'unknown') as language, provider,
        coalesce(service_tier, 'standard') as service_tier, starts_with(model_version, 'simulated') as made_up,
        sum(sign) as clips, sum(sign * cost_usd) as cost_usd,
        coalesce(sum(sign * (usage ->> 'prompt')::bigint), 0) as prompt_tokens,
        coalesce(sum(sign * (usage ->> 'prompt_audio')::bigint), 0) as audio_tokens,
        coalesce(sum(sign * (usage ->> 'output')::bigint), 0) as output_tokens,
        coalesce(sum(sign * (usage ->> 'thoughts')::bigint), 0) as thought_tokens
      from (%s) change
      where counts
      group by 1, 2, 3, 4, 5, 6, 7, 8, 9
    ) moved
    where clips <> 0 or abs(cost_usd) > 1e-12 or prompt_tokens <> 0 or output_tokens <> 0
    on conflict (way, place, language, provider, service_tier, made_up, shard) do update set
      clips = c.clips + excluded.clips, cost_usd = c.cost_usd + excluded.cost_usd,
      prompt_tokens = c.prompt_tokens + excluded.prompt_tokens, audio_tokens = c.audio_tokens + excluded.audio_tokens,
      output_tokens = c.output_tokens + excluded.output_tokens, thought_tokens = c.thought_tokens + excluded.thought_tokens
  $sql$, p_changes)
$$;

create or replace function lipika_count_ways() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- Its arguments: the place, and the columns.
begin
  if tg_op = 'TRUNCATE' then
    delete from way_counts where place = tg_argv[0];
  else
    execute lipika_ways_sql(lipika_changes(tg_op, tg_argv[1])) using lipika_shard(), tg_argv[0];
  end if;
  return null;
end
$$;

-- Triggers, and once the count of what is there already. Nobody writes in between: the block is one transaction.
do $$
declare
  watched record;
begin
  for watched in
    select * from (values
      ('transcription_results', 'result',
        'model_id, temperature, thinking_level, prompt_version, schema_version, expected_language_hint, detected_language, '
        'provider, service_tier, model_version, token_usage_json as usage, cost_usd, '
        'transcription is not null and attempts > 0 and text_source = ''model'' as counts'),
      ('transcription_answers', 'kept',
        'model_id, temperature, thinking_level, prompt_version, schema_version, language_hint as expected_language_hint, '
        'answer ->> ''detected_language'' as detected_language, provider, service_tier, model_version, usage, cost_usd, '
        'not is_result as counts')
    ) as w (source, place, columns)
  loop
    continue when exists (
      select from pg_trigger where tgrelid = watched.source::regclass and tgname = 'ways_truncate'
    );
    execute format('lock table %I in share row exclusive mode', watched.source);
    if watched.source = 'transcription_answers' then
      update transcription_answers
      set way = lipika_way_name(model_id, temperature, thinking_level, prompt_version, schema_version)
      where way is null;
      create trigger name_way before insert on transcription_answers for each row execute function lipika_name_way();
      create trigger mark_kept after update of audio_digest, transcription, model_id, temperature, thinking_level,
        prompt_version, schema_version, expected_language_hint on transcription_results for each row when ((
          old.audio_digest, old.transcription, old.model_id, old.temperature, old.thinking_level, old.prompt_version,
          old.schema_version, old.expected_language_hint
        ) is distinct from (
          new.audio_digest, new.transcription, new.model_id, new.temperature, new.thinking_level, new.prompt_version,
          new.schema_version, new.expected_language_hint
        )) execute function lipika_mark_kept();
      create trigger unmark_kept after delete on transcription_results referencing old table as gone
        for each statement execute function lipika_unmark_kept();
    end if;
    execute format('create trigger ways_insert after insert on %I referencing new table as rows_in '
      'for each statement execute function lipika_count_ways(%L, %L)', watched.source, watched.place, watched.columns);
    execute format('create trigger ways_update after update on %I referencing new table as rows_in old table as rows_out '
      'for each statement execute function lipika_count_ways(%L, %L)', watched.source, watched.place, watched.columns);
    execute format('create trigger ways_delete after delete on %I referencing old table as rows_out '
      'for each statement execute function lipika_count_ways(%L, %L)', watched.source, watched.place, watched.columns);
    execute format('create trigger ways_truncate after truncate on %I '
      'for each statement execute function lipika_count_ways(%L)', watched.source, watched.place);
    delete from way_counts where place = watched.place;
    execute lipika_ways_sql(format('select 1 as sign, %s from %I', watched.columns, watched.source))
      using 0::smallint, watched.place;
  end loop;
end
$$;

-- Beside it for the pages of `lipika answers`: the audios of a way in their order, which is one of chance.
create index if not exists transcription_answers_way on transcription_answers (way, audio_digest);

-- ------------------------------------------------------------------------------------------------ results again

create or replace function lipika_promote_clips(
  p_video_id text, p_rows jsonb, p_flags jsonb, p_seen jsonb, p_output jsonb
) returns text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
-- Other answers as the results of a video that nobody works on, written as a worker writes them, in one transaction: rows,
-- flags, sums, and of a done video its counters and the size and digest of its archive (p_output: bytes, digest; or null).
-- p_seen: segment_file and xmin of the rows as they were read; where one was written since, nothing is done.
declare
  video video_queue;
  before record;
  after record;
begin
  select * into video from video_queue where video_id = p_video_id for update;
  if not found then
    return 'gone';
  end if;
  if video.status in ('claimed', 'processing') then
    return 'held';
  end if;
  perform from transcription_results r join jsonb_to_recordset(p_seen) as s (segment_file text, seen text) using (segment_file)
  where r.video_id = p_video_id
  order by segment_file
  for update of r;
  if exists (
    select from jsonb_to_recordset(p_seen) as s (segment_file text, seen text)
    left join transcription_results r on r.video_id = p_video_id and r.segment_file = s.segment_file
    where r.xmin::text is distinct from s.seen
  ) then
    return 'changed';
  end if;
  select count(*) filter (where r.status = 'transcribed') as transcribed, count(*) filter (where r.status = 'no_speech') as no_speech,
    count(*) filter (where r.status = 'failed') as failed
  into before
  from transcription_results r join jsonb_to_recordset(p_seen) as s (segment_file text) using (segment_file)
  where r.video_id = p_video_id;
  if jsonb_array_length(p_rows) > 0 then
    -- A claim that nobody sees.
    update video_queue
    set status = 'processing', claim_token = gen_random_uuid(), claimed_by = coalesce(claimed_by, 'lipika'),
      lease_expires_at = now() + interval '1 hour'
    where video_id = p_video_id;
    perform lipika_write_clips(
      p_video_id, (select claim_token from video_queue where video_id = p_video_id), p_rows, p_flags
    );
  end if;
  select count(*) filter (where r.status = 'transcribed') as transcribed, count(*) filter (where r.status = 'no_speech') as no_speech,
    count(*) filter (where r.status = 'failed') as failed
  into after
  from transcription_results r join jsonb_to_recordset(p_seen) as s (segment_file text) using (segment_file)
  where r.video_id = p_video_id;
  if video.status = 'done' then
    video.segments_transcribed := video.segments_transcribed + after.transcribed - before.transcribed;
    video.segments_no_speech := video.segments_no_speech + after.no_speech - before.no_speech;
    video.segments_failed := video.segments_failed + after.failed - before.failed;
    video.output_bytes := coalesce((p_output ->> 'bytes')::bigint, video.output_bytes);
    video.output_digest := coalesce(p_output ->> 'digest', video.output_digest);
  end if;
  update video_queue
  set status = video.status, claim_token = video.claim_token, claimed_by = video.claimed_by,
    lease_expires_at = video.lease_expires_at, segments_transcribed = video.segments_transcribed,
    segments_no_speech = video.segments_no_speech, segments_failed = video.segments_failed,
    output_bytes = video.output_bytes, output_digest = video.output_digest
  where video_id = p_video_id;
  return 'written';
end
$$;

-- ------------------------------------------------------------------------------------------------ rights

do $$
declare
  thing text;
  grantee text;
begin
  foreach thing in array array[
    'table way_counts', 'function lipika_way_name(text, real, text, text, text)', 'function lipika_name_way()',
    'function lipika_mark_kept()', 'function lipika_unmark_kept()', 'function lipika_ways_sql(text)',
    'function lipika_count_ways()', 'function lipika_promote_clips(text, jsonb, jsonb, jsonb, jsonb)'
  ] loop
    execute format('revoke all on %s from public', thing);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on %s from %I', thing, grantee);
    end loop;
  end loop;
  -- Who may read results may read how they were asked for; roles.sql need not be run again for it.
  if exists (select from pg_roles where rolname = 'lipika_reader')
    and has_table_privilege('lipika_reader', 'clip_counts', 'select') then
    grant select on way_counts to lipika_reader;
    if not exists (
      select from pg_policy where polrelid = 'way_counts'::regclass and polname = 'lipika_reader'
    ) then
      create policy lipika_reader on way_counts for select to lipika_reader using (true);
    end if;
  end if;
end
$$;

insert into lipika_migrations (version, name) values ('20261130000200', 'ways') on conflict do nothing;
