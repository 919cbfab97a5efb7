-- name: open_flags
-- Newest first, one page by key. Each filter has an index of open flags; the clip is looked up by key.
select f.video_id, f.segment_file, f.flag_type, f.start_ms, f.end_ms, f.severity, f.details, f.language, f.created_at,
  f.resolved, f.resolved_at, f.resolved_by, f.note,
  r.detected_language, r.quality_score, left(r.transcription, 300) as transcription
from (
  select * from transcription_flags
  where not resolved
    and (%(language)s::text is null or language = %(language)s)
    and (%(flag_type)s::text is null or flag_type = %(flag_type)s)
    and (%(severity)s::text is null or severity = %(severity)s)
    and (%(video_id)s::text is null or video_id = %(video_id)s)
    and (
      %(at)s::timestamptz is null
      or created_at <= %(at)s::timestamptz
        and (created_at, video_id, segment_file, flag_type, start_ms)
          < (%(at)s::timestamptz, %(after_video)s::text, %(after_segment)s::text, %(after_type)s::text, %(after_ms)s::int)
    )
  order by created_at desc, video_id desc, segment_file desc, flag_type desc, start_ms desc
  limit %(limit)s
) f
left join transcription_results r using (video_id, segment_file)
order by f.created_at desc, f.video_id desc, f.segment_file desc, f.flag_type desc, f.start_ms desc

-- name: resolved_flags
-- The same for those that have been dealt with.
select f.video_id, f.segment_file, f.flag_type, f.start_ms, f.end_ms, f.severity, f.details, f.language, f.created_at,
  f.resolved, f.resolved_at, f.resolved_by, f.note,
  r.detected_language, r.quality_score, left(r.transcription, 300) as transcription
from (
  select * from transcription_flags
  where resolved
    and (%(language)s::text is null or language = %(language)s)
    and (%(flag_type)s::text is null or flag_type = %(flag_type)s)
    and (%(severity)s::text is null or severity = %(severity)s)
    and (%(video_id)s::text is null or video_id = %(video_id)s)
    and (
      %(at)s::timestamptz is null
      or created_at <= %(at)s::timestamptz
        and (created_at, video_id, segment_file, flag_type, start_ms)
          < (%(at)s::timestamptz, %(after_video)s::text, %(after_segment)s::text, %(after_type)s::text, %(after_ms)s::int)
    )
  order by created_at desc, video_id desc, segment_file desc, flag_type desc, start_ms desc
  limit %(limit)s
) f
left join transcription_results r using (video_id, segment_file)
order by f.created_at desc, f.video_id desc, f.segment_file desc, f.flag_type desc, f.start_ms desc

-- name: flag_counts
-- From the counters.
select language, flag_type, severity,
  coalesce(sum(flags) filter (where not resolved), 0)::bigint as open,
  coalesce(sum(flags) filter (where resolved), 0)::bigint as resolved
from flag_counts
group by language, flag_type, severity
having sum(flags) > 0
order by 4 desc, 2, 1

-- name: resolve
-- One flag, or all open ones of a clip.
update transcription_flags
set resolved = true, resolved_at = now(), resolved_by = %(by)s, note = nullif(%(note)s, '')
where video_id = %(video_id)s and segment_file = %(segment_file)s and not resolved
  and (%(flag_type)s::text is null or flag_type = %(flag_type)s)
  and (%(start_ms)s::int is null or start_ms = %(start_ms)s)

-- name: reopen
update transcription_flags
set resolved = false, resolved_at = null, resolved_by = null
where video_id = %(video_id)s and segment_file = %(segment_file)s and resolved
  and (%(flag_type)s::text is null or flag_type = %(flag_type)s)
  and (%(start_ms)s::int is null or start_ms = %(start_ms)s)

-- name: clip
-- By key; the video's own row may be gone.
select {{r.clip.*}}, {{r.cut.*}}, {{r.answer.*}}, {{r.judgement.*}}, {{r.failure.*}}, {{r.provenance.*}}, r.video_id, r.speaker_id,
  r.lang_mismatch_flag, r.num_unk, r.num_inaudible, r.num_event_tags, r.text_length_per_sec, r.overlap_suspected,
  r.score_parts, r.alignment_score, r.lane_reasons, r.cache_hit, r.created_at, q.status as video_status, q.source_key,
  q.output_key
from transcription_results r
left join video_queue q using (video_id)
where r.video_id = %(video_id)s and r.segment_file = %(segment_file)s

-- name: clip_flags
select video_id, segment_file, flag_type, start_ms, end_ms, severity, details, language, created_at, resolved,
  resolved_at, resolved_by, note, null as detected_language, null::real as quality_score, null as transcription
from transcription_flags
where video_id = %(video_id)s and segment_file = %(segment_file)s
order by resolved, severity, flag_type, start_ms

-- name: clips
-- One page of a video by file name.
select segment_file, status, original_start_ms, duration_ms, detected_language, quality_score, asr_eligible,
  tts_clean_eligible, tts_expressive_eligible, jsonb_array_length(findings) as findings,
  left(coalesce(transcription, failure_message), 300) as text
from transcription_results
where video_id = %(video_id)s and segment_file > %(after)s
order by segment_file
limit %(limit)s

-- name: errors
-- Newest first, one page by id; each filter has an index.
select id, occurred_at, worker_id, video_id, exception_type, message
from worker_errors
where (%(before)s::bigint is null or id < %(before)s)
  and (%(worker_id)s::text is null or worker_id = %(worker_id)s)
  and (%(video_id)s::text is null or video_id = %(video_id)s)
  and (%(exception_type)s::text is null or exception_type = %(exception_type)s)
order by id desc
limit %(limit)s

-- name: error
select id, occurred_at, worker_id, video_id, exception_type, message, traceback
from worker_errors
where id = %(id)s

-- name: error_types
select exception_type, count(*) as errors, max(occurred_at) as last_at
from worker_errors
where occurred_at > now() - make_interval(hours => %(hours)s)
group by exception_type
order by 2 desc, 1
