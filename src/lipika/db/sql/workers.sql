-- name: register
-- History is kept for a month: whoever comes takes away what is older, by the front of the index.
with forgotten as (
  delete from worker_minutes where minute < now() - interval '30 days'
)
insert into workers (worker_id, instance_id, provider, gpu_type, config_json)
values (%(worker_id)s, %(instance_id)s, %(provider)s, %(gpu_type)s, %(config_json)s::jsonb)
on conflict (worker_id) do nothing

-- name: heartbeat
-- No column of it is indexed: a heap-only update.
update workers
set last_heartbeat_at = now(), current_video_id = %(current_video_id)s, segments_remaining = %(segments_remaining)s,
  total_segments_sent = %(segments_sent)s, total_segments_completed = %(segments_completed)s,
  total_segments_failed = %(segments_failed)s, total_segments_429 = %(segments_429)s,
  total_cache_hits = %(cache_hits)s, batches_completed = %(batches_completed)s,
  avg_batch_latency_ms = %(avg_batch_latency_ms)s, spend_usd = %(spend_usd)s, provider = %(provider)s,
  total_prompt_tokens = %(prompt_tokens)s, total_cached_tokens = %(cached_tokens)s,
  total_output_tokens = %(output_tokens)s, total_failures = %(failures)s::jsonb,
  alignment = %(alignment)s::jsonb
where worker_id = %(worker_id)s and status = 'online'

-- name: live
-- Says what this worker does and learns what the fleet does, and whether it is to stop, in one round trip. The sums are
-- those of the others before this statement plus our own new figures. The last of each minute stays as its history.
with own as (
  update workers
  set live_at = now(), active_rpm = %(active_rpm)s, active_tpm = %(active_tpm)s,
    requests_in_flight = %(requests_in_flight)s, limited_by = %(limited_by)s, draining = %(draining)s,
    active_usd = %(usd)s, active_clips = %(clips)s, active_prompt_tokens = %(prompt_tokens)s,
    active_cached_tokens = %(cached_tokens)s, active_failures = %(failures)s::jsonb,
    active_latency = %(latency_counts)s::int[]
  where worker_id = %(worker_id)s and status = 'online'
  returning worker_id, provider, drain_requested_at is not null as drain
), history as (
  insert into worker_minutes (
    minute, worker_id, provider, rpm, tpm, usd, clips, rate_limited, errors, in_flight
  )
  select date_trunc('minute', now()), worker_id, provider, %(active_rpm)s, %(active_tpm)s, %(usd)s, %(clips)s,
    %(rate_limited)s, %(errors)s, %(requests_in_flight)s
  from own
  on conflict (minute, worker_id) do update set
    provider = excluded.provider, rpm = excluded.rpm, tpm = excluded.tpm, usd = excluded.usd, clips = excluded.clips,
    rate_limited = excluded.rate_limited, errors = excluded.errors, in_flight = excluded.in_flight
)
select
  exists (select from own) as registered,
  coalesce((select drain from own), false) as drain,
  count(*) + 1 as workers,
  coalesce(sum(active_rpm), 0)::bigint + %(active_rpm)s as active_rpm,
  coalesce(sum(active_tpm), 0)::bigint + %(active_tpm)s as active_tpm,
  coalesce(sum(requests_in_flight), 0)::bigint + %(requests_in_flight)s as requests_in_flight
from workers
where status = 'online' and worker_id <> %(worker_id)s and provider = (select provider from own)
  and greatest(last_heartbeat_at, live_at) > now() - make_interval(secs => %(within_seconds)s)

-- name: live_count
select count(*) as workers
from workers
where status = 'online' and (%(provider)s::text is null or provider = %(provider)s)
  and greatest(last_heartbeat_at, live_at) > now() - make_interval(secs => %(within_seconds)s)

-- name: offline
-- A worker that stops because of an error says so; either way it counts no more.
update workers
set status = %(status)s, stopped_at = now(), last_heartbeat_at = now(), current_video_id = null,
  segments_remaining = null, active_rpm = 0, active_tpm = 0, requests_in_flight = 0,
  limited_by = null, draining = false, active_usd = 0, active_clips = 0, active_prompt_tokens = 0,
  active_cached_tokens = 0, active_failures = '{}', active_latency = '{}'
where worker_id = %(worker_id)s

-- name: drain
-- Those that are online, whether they are heard of or not; each reads it with its next live figures.
update workers set drain_requested_at = coalesce(drain_requested_at, now())
where status = 'online' and (%(worker_ids)s::text[] is null or worker_id = any(%(worker_ids)s))

-- name: record_error
with noted as (
  update workers set last_error = %(summary)s, last_error_at = now() where worker_id = %(worker_id)s
)
insert into worker_errors (worker_id, video_id, exception_type, message, traceback)
values (%(worker_id)s, %(video_id)s, %(exception_type)s, %(message)s, %(traceback)s)
