-- name: ping
select 1

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
  count(*) filter (where status = 'done' and segments_transcribed + segments_no_speech = 0) as videos_empty,
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

-- name: left_out
-- Why audio of these videos went no further, with one example of each reason.
with reasons as (
  select r.reason, sum(r.discards::bigint)::bigint as discards, min(v.video_id) as video_id
  from video_queue v, jsonb_each_text(v.discard_reasons) as r (reason, discards)
  where v.video_id = any(%(video_ids)s)
  group by r.reason
)
select reason, discards, coalesce((
    select f.details from transcription_flags f
    where f.video_id = reasons.video_id and f.flag_type = 'discard:' || reasons.reason
    order by f.segment_file limit 1
  ), '') as example
from reasons
order by discards desc, reason

-- name: empty_videos
-- Of these.
select video_id, segment_count, discard_reasons
from video_queue
where video_id = any(%(video_ids)s) and status = 'done' and segments_transcribed + segments_no_speech = 0
order by video_id
limit %(limit)s

-- name: yields
-- Hours by language and lane of these videos' clips; the language as in clip_counts. Through the index on (video_id,
-- segment_file), as the totals are.
select
  coalesce(nullif(expected_language_hint, ''), detected_language, 'unknown') as language,
  count(*) as clips,
  coalesce(sum(duration_ms), 0) / 3600000.0::double precision as hours,
  coalesce(sum(duration_ms) filter (where asr_eligible), 0) / 3600000.0::double precision as asr,
  coalesce(sum(duration_ms) filter (where tts_clean_eligible), 0) / 3600000.0::double precision as tts_clean,
  coalesce(sum(duration_ms) filter (where tts_expressive_eligible), 0) / 3600000.0::double precision as tts_expressive
from transcription_results
where video_id = any(%(video_ids)s)
group by 1
order by hours desc, language

-- name: findings_of
-- Of these videos' clips; a clip counts once for each code.
select finding ->> 'code' as code, finding ->> 'severity' as severity,
  count(distinct (r.video_id, r.segment_file)) as clips
from transcription_results r cross join lateral jsonb_array_elements(r.findings) finding
where r.video_id = any(%(video_ids)s)
group by 1, 2
order by clips desc, code, severity
