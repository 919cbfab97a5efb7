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

-- name: weighty_flags
-- Open flags of clips, serious ones first and of these the newest: two indexes hold them in this order, of all languages and
-- of one. What was left out is no clip: it is listed by its reason or its video, by the query above.
select f.video_id, f.segment_file, f.flag_type, f.start_ms, f.end_ms, f.severity, f.details, f.language, f.created_at,
  f.resolved, f.resolved_at, f.resolved_by, f.note,
  r.detected_language, r.quality_score, left(r.transcription, 300) as transcription
from (
  select *, {{weight}} as weight from transcription_flags
  where not resolved and left(flag_type, 8) <> 'discard:'
    and (%(language)s::text is null or language = %(language)s)
    and (%(severity)s::text is null or severity = %(severity)s)
    and (%(severity)s::text is null or {{weight}} = case %(severity)s::text when 'fail' then 2 when 'warn' then 1 else 0 end)
    and (%(video_id)s::text is null or video_id = %(video_id)s)
    and (
      %(at)s::timestamptz is null
      or {{weight}} <= %(after_weight)s::int
        and ({{weight}}, created_at, video_id, segment_file, flag_type, start_ms)
          < (%(after_weight)s::int, %(at)s::timestamptz, %(after_video)s::text, %(after_segment)s::text,
            %(after_type)s::text, %(after_ms)s::int)
    )
  order by {{weight}} desc, created_at desc, video_id desc, segment_file desc, flag_type desc, start_ms desc
  limit %(limit)s
) f
left join transcription_results r using (video_id, segment_file)
order by f.weight desc, f.created_at desc, f.video_id desc, f.segment_file desc, f.flag_type desc, f.start_ms desc

-- name: left_out_of_video
-- By the primary key, in the order of the video's clock; one page by key.
select video_id, segment_file, flag_type, start_ms, end_ms, severity, details, language, created_at, resolved,
  resolved_at, resolved_by, note, null as detected_language, null::real as quality_score, null as transcription
from transcription_flags
where video_id = %(video_id)s and left(flag_type, 8) = 'discard:'
  and (%(after_ms)s::int is null or (start_ms, segment_file, flag_type)
    > (%(after_ms)s::int, %(after_segment)s::text, %(after_type)s::text))
order by start_ms, segment_file, flag_type
limit %(limit)s

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

-- name: clip_flags
select video_id, segment_file, flag_type, start_ms, end_ms, severity, details, language, created_at, resolved,
  resolved_at, resolved_by, note, null as detected_language, null::real as quality_score, null as transcription
from transcription_flags
where video_id = %(video_id)s and segment_file = %(segment_file)s
order by resolved, severity, flag_type, start_ms
