-- name: remaining
-- What is left of the queue, by language. Bytes are of the videos whose size is known.
select coalesce(language, '') as language, count(*) as videos,
  count(source_bytes) as videos_with_bytes, coalesce(sum(source_bytes), 0)::bigint as source_bytes,
  coalesce(sum(segments_transcribed + segments_no_speech + segments_failed)
    filter (where status in ('claimed', 'processing')), 0)::bigint as clips_ended
from video_queue
where status in ('pending', 'claimed', 'processing')
group by 1
order by 1

-- name: finished
-- Some finished videos, chosen by chance of their names rather than by when they ended.
select coalesce(language, '') as language, clip_count as clips, source_bytes
from video_queue
where status = 'done'
order by md5(video_id)
limit %(limit)s

-- name: batches
-- Windows of the fleet's workers with one of these providers, newest first. Ended clips are told by accepted answers;
-- second opinions end none.
select segments_returned::bigint as clips, segments_sent::bigint as requests, prompt_tokens, output_tokens, cost_usd,
  avg_latency_ms, started_at, coalesce((failure_kinds ->> 'went_up')::bigint, 0) as went_up
from transcription_batches
where started_at > now() - make_interval(secs => %(window_s)s) and segments_sent > 0
  and provider_used = any(%(providers)s) and worker_id !~ '/second-opinions$'
order by started_at desc
limit %(limit)s

-- name: pace
-- Answers of the windows that began in the last ten minutes, and the time since the first of them.
select coalesce(sum(segments_returned), 0)::bigint as clips,
  coalesce(extract(epoch from now() - min(started_at)), 0)::float8 as seconds
from transcription_batches
where started_at > now() - interval '10 minutes' and worker_id !~ '/second-opinions$'

-- name: workers
select count(*) as workers from workers
where status = 'online' and greatest(last_heartbeat_at, live_at) > now() - make_interval(secs => %(fresh_seconds)s)

-- name: clock
select extract(epoch from now() - date_trunc('day', now() at time zone 'utc') at time zone 'utc')::float8 as second_of_day
