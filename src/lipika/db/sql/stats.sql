-- name: totals
-- For the videos of one run, or for all. Requests, tokens and dollars are summed over the result rows, through the
-- index on (video_id, segment_file); boards of the whole fleet read transcription_batches instead.
with chosen as materialized (
  select * from video_queue where video_id = any(%(video_ids)s)
), spent as (
  select
    coalesce(sum(r.attempts), 0) as requests,
    coalesce(sum((r.token_usage_json ->> 'prompt')::bigint), 0) as prompt_tokens,
    coalesce(sum((r.token_usage_json ->> 'cached')::bigint), 0) as cached_tokens,
    coalesce(sum((r.token_usage_json ->> 'output')::bigint), 0) as output_tokens,
    coalesce(sum(r.cost_usd), 0) as cost_usd
  from transcription_results r
  where r.video_id = any(%(video_ids)s)
)
select
  count(*) as videos,
  count(*) filter (where status = 'done') as videos_done,
  count(*) filter (where status = 'failed') as videos_failed,
  coalesce(sum(segment_count), 0) as segments,
  coalesce(sum(segments_discarded), 0) as discarded,
  coalesce(sum(parts_discarded), 0) as parts_discarded,
  coalesce(sum(clip_count), 0) as clips,
  coalesce(sum(segments_transcribed), 0) as transcribed,
  coalesce(sum(segments_no_speech), 0) as no_speech,
  coalesce(sum(segments_failed), 0) as failed,
  (select requests from spent)::bigint as requests,
  (select prompt_tokens from spent)::bigint as prompt_tokens,
  (select cached_tokens from spent)::bigint as cached_tokens,
  (select output_tokens from spent)::bigint as output_tokens,
  (select cost_usd from spent) as cost_usd
from chosen

-- name: languages
select language, clips::bigint, transcribed::bigint, no_speech::bigint, failed::bigint,
  mean_quality::double precision, percent_asr::double precision, hours::double precision, cost_usd
from quality_by_language

-- name: workers
-- The fleet as it is: who is online, and who was in the last hour.
select worker_id,
  case
    when status <> 'online' then status
    when greatest(last_heartbeat_at, live_at) > now() - make_interval(secs => %(fresh_seconds)s) then 'live'
    else 'silent'
  end as state,
  provider, current_video_id, segments_remaining, active_rpm, active_tpm, requests_in_flight, limited_by,
  total_segments_sent, total_segments_completed, total_segments_failed, total_segments_429, spend_usd, last_error,
  extract(epoch from now() - greatest(last_heartbeat_at, live_at))::double precision as silent_s
from workers
where status = 'online' or greatest(last_heartbeat_at, live_at) > now() - interval '1 hour'
order by started_at

-- name: errors
select occurred_at, worker_id, video_id, exception_type, message
from worker_errors
order by id desc
limit %(limit)s
