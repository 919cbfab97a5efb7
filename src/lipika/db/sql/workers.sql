-- name: register
-- A worker writes its own row, by functions of the database (migration worker_functions) to which it shows the key of its
-- process life. What it may not: another's row, or asking others to stop.
select lipika_register(
  %(worker_id)s::text, %(key)s::text, %(instance_id)s::text, %(provider)s::text, %(gpu_type)s::text,
  %(config_json)s::jsonb
) as ours

-- name: other_ways
-- Models and trimmers of the other workers: those alive, and those whose answers are in the corpus already.
select config_json ->> 'model_id' as model_id, config_json ->> 'trimmer_version' as trimmer_version,
  count(*) as workers, coalesce(bool_or(
    status = 'online' and greatest(last_heartbeat_at, live_at) > now() - make_interval(secs => %(within_seconds)s)
  ), false) as live
from workers
where worker_id <> %(worker_id)s and config_json ? 'model_id'
  and (total_segments_completed > 0 or (
    status = 'online' and greatest(last_heartbeat_at, live_at) > now() - make_interval(secs => %(within_seconds)s)
  ))
group by 1, 2
order by live desc, 1, 2

-- name: heartbeat
select lipika_heartbeat(%(worker_id)s::text, %(key)s::text, %(told)s::jsonb) as ours

-- name: live
select registered, drain, workers, active_rpm, active_tpm, requests_in_flight
from lipika_live(%(worker_id)s::text, %(key)s::text, %(told)s::jsonb, %(within_seconds)s::float8)

-- name: offline
select lipika_offline(%(worker_id)s::text, %(key)s::text, %(status)s::text) as ours

-- name: drain
-- Those that are online, whether they are heard of or not; each reads it with its next live figures.
update workers set drain_requested_at = coalesce(drain_requested_at, now())
where status = 'online' and (%(worker_ids)s::text[] is null or worker_id = any(%(worker_ids)s))

-- name: record_error
select lipika_record_error(
  %(worker_id)s::text, %(key)s::text, %(video_id)s::text, %(exception_type)s::text, %(message)s::text,
  %(traceback)s::text, %(summary)s::text, %(again)s::boolean
) as ours
