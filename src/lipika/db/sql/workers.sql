-- name: register
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
  avg_batch_latency_ms = %(avg_batch_latency_ms)s, spend_usd = %(spend_usd)s, provider = %(provider)s
where worker_id = %(worker_id)s and status = 'online'

-- name: live
-- Says what this worker does and learns what the fleet does, in one round trip. The sums are those of the others
-- before this statement plus our own new figures.
with own as (
  update workers
  set live_at = now(), active_rpm = %(active_rpm)s, active_tpm = %(active_tpm)s,
    requests_in_flight = %(requests_in_flight)s, limited_by = %(limited_by)s
  where worker_id = %(worker_id)s and status = 'online'
  returning provider
)
select
  exists (select from own) as registered,
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
  limited_by = null
where worker_id = %(worker_id)s

-- name: record_error
with noted as (
  update workers set last_error = %(summary)s, last_error_at = now() where worker_id = %(worker_id)s
)
insert into worker_errors (worker_id, video_id, exception_type, message, traceback)
values (%(worker_id)s, %(video_id)s, %(exception_type)s, %(message)s, %(traceback)s)
