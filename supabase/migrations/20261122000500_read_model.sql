-- What boards, `lipika status` and metrics read: sums kept by triggers in the transaction that changes a row, and a
-- short history of every worker. Idempotent.

-- ------------------------------------------------------------------------------------------------ counters

create table if not exists queue_counts (
  language        text not null,
  state           text not null,
  reason          text not null,
  shard           smallint not null,
  videos          bigint not null,
  sized           bigint not null,
  segments        bigint not null,
  discarded       bigint not null,
  parts_discarded bigint not null,
  clips           bigint not null,
  transcribed     bigint not null,
  no_speech       bigint not null,
  failed          bigint not null,
  primary key (language, state, reason, shard)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.1);
comment on table queue_counts is 'Sums over video_queue, kept by a trigger. Add up the shards: each writer has one of its own.';
comment on column queue_counts.language is 'The hint, else unknown.';
comment on column queue_counts.state is 'video_queue.status, or held: pending and not to be claimed.';
comment on column queue_counts.reason is 'error_code of failed videos, else empty.';
comment on column queue_counts.sized is 'Videos whose segments have been counted; segments is the sum of theirs.';

create table if not exists clip_counts (
  language    text not null,
  kind        text not null,
  key         text not null,
  shard       smallint not null,
  clips       bigint not null,
  duration_ms bigint not null,
  primary key (language, kind, key, shard)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.1);
comment on table clip_counts is 'Clips and their length by one trait each, kept by a trigger on transcription_results.';
comment on column clip_counts.language is 'The hint, else the language detected, else unknown; of kind heard: the hint, else none.';
comment on column clip_counts.kind is
  'status | score (key: twentieths, 00 to 19) | lane | heard (key: language detected) | failure | '
  'finding:<severity> (key: code; a clip counts once for each code).';

create table if not exists flag_counts (
  language  text not null,
  flag_type text not null,
  severity  text not null,
  resolved  boolean not null,
  shard     smallint not null,
  flags     bigint not null,
  primary key (language, flag_type, severity, resolved, shard)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.1);
comment on table flag_counts is 'Flags by language and type, kept by a trigger on transcription_flags.';

create table if not exists batch_hours (
  hour            timestamptz not null,
  provider        text not null,
  shard           smallint not null,
  windows         bigint not null,
  sent            bigint not null,
  returned        bigint not null,
  rate_limited    bigint not null,
  errors          bigint not null,
  retried         bigint not null,
  cache_hits      bigint not null,
  prompt_tokens   bigint not null,
  audio_tokens    bigint not null,
  cached_tokens   bigint not null,
  output_tokens   bigint not null,
  thought_tokens  bigint not null,
  cost_usd        double precision not null,
  primary key (hour, provider, shard)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.1);
comment on table batch_hours is 'Sums over transcription_batches by hour and provider, kept by a trigger.';

create table if not exists batch_minutes (
  minute         timestamptz not null,
  provider       text not null,
  shard          smallint not null,
  latency_counts bigint[] not null,
  failure_kinds  jsonb not null,
  primary key (minute, provider, shard)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.1);
comment on table batch_minutes is
  'Latencies and failures of transcription_batches by the minute in which the window began, kept by a trigger.';

create table if not exists worker_minutes (
  minute       timestamptz not null,
  worker_id    text not null,
  provider     text not null,
  rpm          integer not null,
  tpm          bigint not null,
  usd          double precision not null,
  clips        integer not null,
  rate_limited integer not null,
  errors       integer not null,
  in_flight    integer not null,
  primary key (minute, worker_id)
) with (fillfactor = 50);
comment on table worker_minutes is
  'The live figures of a worker as they stood last in each minute: what happened in the 60 s before.';
comment on column worker_minutes.clips is 'Clips that ended: transcribed, without speech or failed.';

-- ------------------------------------------------------------------------------------------------ live figures

alter table workers add column if not exists active_usd double precision not null default 0;
alter table workers add column if not exists active_clips integer not null default 0;
alter table workers add column if not exists active_failures jsonb not null default '{}';
alter table workers add column if not exists active_latency integer[] not null default '{}';
alter table workers add column if not exists active_prompt_tokens bigint not null default 0;
alter table workers add column if not exists active_cached_tokens bigint not null default 0;
alter table workers add column if not exists total_prompt_tokens bigint not null default 0;
alter table workers add column if not exists total_cached_tokens bigint not null default 0;
alter table workers add column if not exists total_output_tokens bigint not null default 0;
alter table workers add column if not exists total_failures jsonb not null default '{}';
alter table workers add column if not exists draining boolean not null default false;
alter table workers add column if not exists drain_requested_at timestamptz;
comment on column workers.active_usd is 'US dollars of the last 60 seconds.';
comment on column workers.active_clips is 'Clips that ended in the last 60 seconds.';
comment on column workers.active_failures is 'Failed attempts of the last 60 seconds by kind.';
comment on column workers.active_latency is 'Answers of the last 60 seconds by latency; see transcription_batches.latency_counts.';
comment on column workers.total_failures is 'Failed attempts of this process life by kind.';
comment on column workers.draining is 'It has been told to stop: it claims and sends nothing more.';
comment on column workers.drain_requested_at is 'Somebody asked it to stop; read with every update of the live figures.';

alter table transcription_batches add column if not exists audio_tokens bigint not null default 0;
alter table transcription_batches add column if not exists latency_counts integer[] not null default '{}';
comment on column transcription_batches.audio_tokens is 'Of prompt_tokens, those of audio.';
comment on column transcription_batches.latency_counts is
  'Attempts by latency. Place k (from 1) counts those up to 50 ms * 1.2^(k-1) and above the place before; the last one '
  'has no upper end.';

-- Whoever reviews flags reviews those of a language.
alter table transcription_flags add column if not exists language text not null default 'unknown';
comment on column transcription_flags.language is 'The hint of the video, else unknown; set when the flag is raised.';

-- ------------------------------------------------------------------------------------------------ indexes

create index if not exists video_queue_by_status on video_queue (status, video_id);
create index if not exists video_queue_by_reason on video_queue (error_code, video_id) where status = 'failed';
drop index if exists video_queue_failed;
create index if not exists transcription_flags_open_newest
  on transcription_flags (created_at, video_id, segment_file, flag_type, start_ms) where not resolved;
create index if not exists transcription_flags_open_by_language
  on transcription_flags (language, created_at, video_id, segment_file, flag_type, start_ms) where not resolved;
create index if not exists transcription_flags_resolved
  on transcription_flags (created_at, video_id, segment_file, flag_type, start_ms) where resolved;
create index if not exists worker_errors_of_worker on worker_errors (worker_id, id);
drop index if exists worker_errors_by_worker;
create index if not exists worker_errors_by_type on worker_errors (exception_type, id);
create index if not exists worker_errors_by_time on worker_errors (occurred_at, exception_type);
create index if not exists worker_errors_by_video on worker_errors (video_id, id) where video_id is not null;

-- ------------------------------------------------------------------------------------------------ keeping count

-- Only where this file has not been run before: a later one has put others in their place.
do $once$
begin
  if exists (select from lipika_migrations where version = '20261122000500') then
    return;
  end if;

create or replace function lipika_shard() returns smallint
language plpgsql volatile set search_path = public, pg_temp as $$
-- A row of counters that is ours until the transaction ends: nobody waits for anybody, and nothing can deadlock.
declare
  shard integer;
begin
  for shard in 0..31 loop
    if pg_try_advisory_xact_lock(780963642, shard) then
      return shard;
    end if;
  end loop;
  shard := pg_backend_pid() % 32;
  perform pg_advisory_xact_lock(780963642, shard);
  return shard;
end
$$;
end
$once$;

-- The triggers below share one form, and count with their owner's rights, whoever may write the rows. `changes` lists
-- rows that came with sign 1 and rows that went with sign -1; which of the two there are depends on the operation.
create or replace function lipika_changes(p_operation text, p_columns text) returns text
language sql immutable set search_path = public, pg_temp as $$
  select case p_operation
    when 'INSERT' then format('select 1 as sign, %s from rows_in', p_columns)
    when 'DELETE' then format('select -1 as sign, %s from rows_out', p_columns)
    else format('select 1 as sign, %s from rows_in union all select -1, %1$s from rows_out', p_columns)
  end
$$;

create or replace function lipika_count_queue() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if tg_op = 'TRUNCATE' then
    delete from queue_counts;
    return null;
  end if;
  execute format($sql$
    insert into queue_counts as c (
      language, state, reason, shard, videos, sized, segments, discarded, parts_discarded, clips, transcribed,
      no_speech, failed
    )
    select *
    from (
      select coalesce(language, 'unknown'),
        case when status = 'pending' and held then 'held' else status end,
        case when status = 'failed' then coalesce(error_code, '') else '' end,
        $1,
        sum(sign) as videos,
        coalesce(sum(sign) filter (where segment_count is not null), 0) as sized,
        coalesce(sum(sign * segment_count), 0) as segments,
        sum(sign * segments_discarded) as discarded,
        sum(sign * parts_discarded) as parts_discarded,
        sum(sign * clip_count) as clips,
        sum(sign * segments_transcribed) as transcribed,
        sum(sign * segments_no_speech) as no_speech,
        sum(sign * segments_failed) as failed
      from (%s) change
      group by 1, 2, 3
    ) moved
    where (videos, sized, segments, discarded, parts_discarded, clips, transcribed, no_speech, failed)
      <> (0, 0, 0, 0, 0, 0, 0, 0, 0)
    on conflict (language, state, reason, shard) do update set
      videos = c.videos + excluded.videos, sized = c.sized + excluded.sized,
      segments = c.segments + excluded.segments, discarded = c.discarded + excluded.discarded,
      parts_discarded = c.parts_discarded + excluded.parts_discarded, clips = c.clips + excluded.clips,
      transcribed = c.transcribed + excluded.transcribed, no_speech = c.no_speech + excluded.no_speech,
      failed = c.failed + excluded.failed
  $sql$, lipika_changes(tg_op, tg_argv[0])) using lipika_shard();
  return null;
end
$$;

create or replace function lipika_count_clips() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if tg_op = 'TRUNCATE' then
    delete from clip_counts;
    return null;
  end if;
  execute format($sql$
    insert into clip_counts as c (language, kind, key, shard, clips, duration_ms)
    select *
    from (
      select trait.language, trait.kind, trait.key, $1, sum(sign) as clips, sum(sign * duration_ms::bigint) as duration_ms
      from (%s) change
      cross join lateral (
        select nullif(expected_language_hint, '') as hint,
          coalesce(nullif(expected_language_hint, ''), detected_language, 'unknown') as language
      ) spoken
      cross join lateral (
        values
          (language, 'status', status),
          (language, 'score', case when quality_score is not null then
            lpad(least(floor(quality_score::numeric * 20), 19)::text, 2, '0') end),
          (language, 'lane', case when asr_eligible then 'asr' end),
          (language, 'lane', case when tts_clean_eligible then 'tts_clean' end),
          (language, 'lane', case when tts_expressive_eligible then 'tts_expressive' end),
          (coalesce(hint, 'none'), 'heard', detected_language),
          (language, 'failure', failure_kind)
        union all
        select distinct language, 'finding:' || (finding ->> 'severity'), finding ->> 'code'
        from jsonb_array_elements(findings) finding
      ) as trait (language, kind, key)
      where trait.key is not null
      group by 1, 2, 3
    ) moved
    where (clips, duration_ms) <> (0, 0)
    on conflict (language, kind, key, shard) do update set
      clips = c.clips + excluded.clips, duration_ms = c.duration_ms + excluded.duration_ms
  $sql$, lipika_changes(tg_op, tg_argv[0])) using lipika_shard();
  return null;
end
$$;

create or replace function lipika_count_flags() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if tg_op = 'TRUNCATE' then
    delete from flag_counts;
    return null;
  end if;
  execute format($sql$
    insert into flag_counts as c (language, flag_type, severity, resolved, shard, flags)
    select language, flag_type, severity, resolved, $1, sum(sign)
    from (%s) change
    group by 1, 2, 3, 4
    having sum(sign) <> 0
    on conflict (language, flag_type, severity, resolved, shard) do update set flags = c.flags + excluded.flags
  $sql$, lipika_changes(tg_op, tg_argv[0])) using lipika_shard();
  return null;
end
$$;

create or replace function lipika_sum(p_one bigint[], p_other bigint[]) returns bigint[]
language sql immutable set search_path = public, pg_temp as $$
  -- Place by place; the shorter one is taken to end in zeros.
  select coalesce(array_agg(coalesce(one, 0) + coalesce(other, 0) order by place), '{}')
  from unnest(p_one, p_other) with ordinality as u (one, other, place)
$$;

create or replace function lipika_sum(p_one jsonb, p_other jsonb) returns jsonb
language sql immutable set search_path = public, pg_temp as $$
  -- Key by key.
  select coalesce(jsonb_object_agg(key, n), '{}')
  from (
    select key, sum(value::bigint) as n
    from (select * from jsonb_each_text(p_one) union all select * from jsonb_each_text(p_other)) both_of_them
    group by key
    having sum(value::bigint) <> 0
  ) summed
$$;

create or replace function lipika_count_batches() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if tg_op = 'TRUNCATE' then
    delete from batch_hours;
    delete from batch_minutes;
    return null;
  end if;
  execute format($sql$
    insert into batch_hours as c (
      hour, provider, shard, windows, sent, returned, rate_limited, errors, retried, cache_hits, prompt_tokens,
      audio_tokens, cached_tokens, output_tokens, thought_tokens, cost_usd
    )
    select date_trunc('hour', started_at), provider_used, $1, sum(sign), sum(sign * segments_sent),
      sum(sign * segments_returned), sum(sign * segments_429), sum(sign * segments_error),
      sum(sign * segments_retried), sum(sign * cache_hits), sum(sign * prompt_tokens), sum(sign * audio_tokens),
      sum(sign * cached_tokens), sum(sign * output_tokens), sum(sign * thought_tokens), sum(sign * cost_usd)
    from (%s) change
    group by 1, 2
    on conflict (hour, provider, shard) do update set
      windows = c.windows + excluded.windows, sent = c.sent + excluded.sent, returned = c.returned + excluded.returned,
      rate_limited = c.rate_limited + excluded.rate_limited, errors = c.errors + excluded.errors,
      retried = c.retried + excluded.retried, cache_hits = c.cache_hits + excluded.cache_hits,
      prompt_tokens = c.prompt_tokens + excluded.prompt_tokens, audio_tokens = c.audio_tokens + excluded.audio_tokens,
      cached_tokens = c.cached_tokens + excluded.cached_tokens, output_tokens = c.output_tokens + excluded.output_tokens,
      thought_tokens = c.thought_tokens + excluded.thought_tokens, cost_usd = c.cost_usd + excluded.cost_usd
  $sql$, lipika_changes(tg_op, tg_argv[0])) using lipika_shard();
  execute format($sql$
    with change as materialized (
      select sign, date_trunc('minute', started_at) as minute, provider_used as provider, latency_counts, failure_kinds
      from (%s) c
    ), latency as (
      select minute, provider, array_agg(n order by place) as counts
      from (
        select minute, provider, place, sum(sign * n) as n
        from change cross join lateral unnest(latency_counts) with ordinality as l (n, place)
        group by 1, 2, 3
      ) summed
      group by 1, 2
    ), failure as (
      select minute, provider, jsonb_object_agg(kind, n) as kinds
      from (
        select minute, provider, key as kind, sum(sign * value::bigint) as n
        from change cross join lateral jsonb_each_text(failure_kinds)
        group by 1, 2, 3
      ) summed
      group by 1, 2
    )
    insert into batch_minutes as m (minute, provider, shard, latency_counts, failure_kinds)
    select minute, provider, $1, coalesce(counts, '{}'), coalesce(kinds, '{}')
    from latency full join failure using (minute, provider)
    on conflict (minute, provider, shard) do update set
      latency_counts = lipika_sum(m.latency_counts, excluded.latency_counts),
      failure_kinds = lipika_sum(m.failure_kinds, excluded.failure_kinds)
  $sql$, lipika_changes(tg_op, tg_argv[0])) using lipika_shard();
  return null;
end
$$;

create or replace function lipika_flag_language() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
  select coalesce(q.language, 'unknown') into new.language from video_queue q where q.video_id = new.video_id;
  new.language := coalesce(new.language, 'unknown');
  return new;
end
$$;
create or replace trigger set_language before insert on transcription_flags
  for each row execute function lipika_flag_language();
-- Only where this file has not been run before: a later one has put others in their place.
do $once$
begin
  if exists (select from lipika_migrations where version = '20261122000500') then
    return;
  end if;

update transcription_flags f set language = q.language
from video_queue q
where q.video_id = f.video_id and f.language = 'unknown' and q.language is not null;
end
$once$;

-- Triggers, and once the count of what is there already, by way of a table beside it that has the same trigger. Nobody
-- writes in between: the block is one transaction.
do $$
declare
  watched record;
begin
  for watched in
    select * from (values
      ('video_queue', 'queue_counts', 'lipika_count_queue',
         'language, status, held, error_code, segment_count, segments_discarded, parts_discarded, clip_count, '
         'segments_transcribed, segments_no_speech, segments_failed'),
      ('transcription_results', 'clip_counts', 'lipika_count_clips',
         'expected_language_hint, detected_language, status, quality_score, asr_eligible, tts_clean_eligible, '
         'tts_expressive_eligible, failure_kind, findings, duration_ms'),
      ('transcription_flags', 'flag_counts', 'lipika_count_flags',
         'language, flag_type, severity, resolved'),
      ('transcription_batches', 'batch_hours', 'lipika_count_batches',
         'started_at, provider_used, segments_sent, segments_returned, segments_429, segments_error, '
         'segments_retried, cache_hits, prompt_tokens, audio_tokens, cached_tokens, output_tokens, '
         'thought_tokens, cost_usd, latency_counts, failure_kinds')
    ) as w (source, counters, counter, columns)
  loop
    continue when exists (
      select from pg_trigger where tgrelid = watched.source::regclass and tgname = 'count_truncate'
    );
    execute format('lock table %I in share row exclusive mode', watched.source);
    execute format('create or replace trigger count_insert after insert on %I referencing new table as rows_in '
      'for each statement execute function %I(%L)', watched.source, watched.counter, watched.columns);
    execute format('create or replace trigger count_update after update on %I referencing new table as rows_in '
      'old table as rows_out for each statement execute function %I(%L)',
      watched.source, watched.counter, watched.columns);
    execute format('create or replace trigger count_delete after delete on %I referencing old table as rows_out '
      'for each statement execute function %I(%L)', watched.source, watched.counter, watched.columns);
    execute format('create or replace trigger count_truncate after truncate on %I '
      'for each statement execute function %I()', watched.source, watched.counter);
    execute format('delete from %I', watched.counters);
    delete from batch_minutes where watched.counters = 'batch_hours';
    execute format('create temporary table lipika_recount as select %s from %I with no data',
      watched.columns, watched.source);
    execute format('create trigger count_insert after insert on lipika_recount referencing new table as rows_in '
      'for each statement execute function %I(%L)', watched.counter, watched.columns);
    execute format('insert into lipika_recount select %s from %I', watched.columns, watched.source);
    drop table lipika_recount;
  end loop;
end
$$;

-- ------------------------------------------------------------------------------------------------ views and rights

-- No search_path of its own: only so can Postgres put it into the queries that call it, for hundreds of rows each.
create or replace function lipika_worker_state(w workers) returns text
language sql stable as $$
  select case
    when w.status <> 'online' then w.status
    when greatest(w.last_heartbeat_at, w.live_at)
      < now() - make_interval(secs => greatest(12, 2.5 * coalesce((w.config_json ->> 'live_seconds')::float8, 5)))
      then 'stale'
    when w.draining or w.drain_requested_at is not null then 'draining'
    else 'live'
  end
$$;
comment on function lipika_worker_state is
  'live | draining | stale (online, but silent for 12 s, or two and a half LIVE_SECONDS) | offline | error';

-- Only where this file has not been run before: a later one has put others in their place.
do $once$
begin
  if exists (select from lipika_migrations where version = '20261122000500') then
    return;
  end if;

create or replace view fleet_live with (security_invoker = true) as
select
  worker_id,
  lipika_worker_state(w) as state,
  provider,
  gpu_type,
  active_rpm,
  active_tpm,
  requests_in_flight,
  current_video_id,
  segments_remaining,
  total_segments_sent,
  total_segments_completed,
  total_segments_failed,
  total_segments_429,
  round((100.0 * total_segments_429 / nullif(total_segments_sent, 0)), 2) as percent_429,
  total_cache_hits,
  batches_completed,
  avg_batch_latency_ms,
  spend_usd,
  last_error,
  last_error_at,
  started_at,
  round(extract(epoch from now() - greatest(last_heartbeat_at, live_at))) as seconds_since_heartbeat
from workers w
where status = 'online' or greatest(last_heartbeat_at, live_at) > now() - interval '1 hour'
order by state, worker_id;
comment on view fleet_live is 'Workers that are online or were in the last hour; stale: online, but without a sign of life.';

create or replace view queue_progress with (security_invoker = true) as
select
  coalesce(c.language, 'unknown') as language,
  sum(videos)::bigint as videos,
  coalesce(sum(videos) filter (where state = 'pending'), 0)::bigint as pending,
  coalesce(sum(videos) filter (where state = 'held'), 0)::bigint as held,
  coalesce(sum(videos) filter (where state in ('claimed', 'processing')), 0)::bigint as active,
  coalesce(max(late.expired), 0)::bigint as expired,
  coalesce(sum(videos) filter (where state = 'done'), 0)::bigint as done,
  coalesce(sum(videos) filter (where state = 'failed'), 0)::bigint as failed,
  round(100.0 * coalesce(sum(videos) filter (where state = 'done'), 0) / sum(videos), 2) as percent_done,
  sum(segments)::bigint as segments,
  sum(clips)::bigint as clips,
  sum(transcribed)::bigint as transcribed,
  sum(no_speech)::bigint as no_speech,
  sum(c.failed)::bigint as failed_clips,
  sum(discarded)::bigint as discarded
from queue_counts c
left join (
  select coalesce(language, 'unknown') as language, count(*) as expired
  from video_queue
  where status in ('claimed', 'processing') and lease_expires_at < now()
  group by 1
) late on late.language = c.language
group by c.language
having sum(videos) > 0
order by 1;

create or replace view spend_by_day with (security_invoker = true) as
select
  (hour at time zone 'UTC')::date as day,
  provider,
  sum(sent)::bigint as requests,
  sum(returned)::bigint as answers,
  sum(prompt_tokens) as prompt_tokens,
  sum(cached_tokens) as cached_tokens,
  sum(output_tokens) as output_tokens,
  sum(cost_usd) as cost_usd,
  sum(cost_usd) / nullif(sum(returned), 0)::double precision as usd_per_answer
from batch_hours
group by 1, 2
order by 1 desc, 2;
end
$once$;

do $$
declare
  relation text;
  grantee text;
begin
  foreach relation in array array[
    'queue_counts', 'clip_counts', 'flag_counts', 'batch_hours', 'batch_minutes',
    'worker_minutes'
  ] loop
    execute format('alter table %I enable row level security', relation);
    execute format('revoke all on table %I from public', relation);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on table %I from %I', relation, grantee);
    end loop;
  end loop;
  -- Nor are the functions anybody else's to call, save the one that a view calls for whoever may read the view.
  for relation in
    select p.oid::regprocedure from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname like 'lipika\_%'
      and p.proname <> 'lipika_worker_state'
  loop
    execute format('revoke all on function %s from public', relation);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on function %s from %I', relation, grantee);
    end loop;
  end loop;
end
$$;

insert into lipika_migrations (version, name) values ('20261122000500', 'read_model') on conflict do nothing;
