-- name: last_of_page
-- The last video of a page of so many rows that begins behind `after`: an index is read, and no row. A video is never cut.
select coalesce(max(video_id), '') as video_id, count(distinct video_id) as videos from (
  select video_id from transcription_results where video_id > %(after)s order by video_id, segment_file limit %(rows)s
) page

-- name: candidates
-- Whole videos, by the index on (video_id, segment_file); no statement runs long enough for a pooler to end it. The range
-- is said of each table: a join that merges would begin with the first video of all. Bytes are the archive's, shared out by
-- length: rows do not hold them.
copy (
  select r.video_id, left(r.segment_file, -5) as clip, case when q.status = 'done' then q.output_key end as archive,
    case when q.status = 'done' then (q.output_bytes * (r.duration_ms::float8
      / nullif(sum(r.duration_ms) over (partition by r.video_id), 0)))::bigint end as bytes,
    r.status, r.transcription, r.tagged, r.detected_language, r.expected_language_hint as language_hint, r.speaker_id,
    r.speaker_emotion as emotion, r.speaker_style as style, r.speaker_pace as pace, r.speaker_accent as accent,
    r.quality_score::numeric, r.asr_eligible as asr, r.tts_clean_eligible as tts_clean,
    r.tts_expressive_eligible as tts_expressive,
    case when r.findings <> '[]' then (
      select string_agg(distinct f ->> 'code', ' ' order by f ->> 'code') from jsonb_array_elements(r.findings) f
    ) else '' end as findings,
    array_to_string(r.flags, ' ') as flags, v.tier, r.alignment_score::numeric,
    -- They are of the model's text: what a person wrote since has none.
    case when r.text_source = 'model' and v.alignment -> 'words' <> '[]' then (
      select jsonb_agg(w - 1 order by n) from jsonb_array_elements(v.alignment -> 'words') with ordinality as words (w, n)
    ) end as words,
    r.num_unk, r.num_inaudible,
    r.trimmed_start_ms as start_ms, r.trimmed_end_ms as end_ms, r.duration_ms, r.boundary_score::numeric,
    r.audio_facts ->> 'speech_ms' as speech_ms, r.audio_facts ->> 'snr_db' as snr_db, r.audio_facts ->> 'rms_dbfs' as rms_dbfs,
    r.audio_facts ->> 'clipped_share' as clipped_share, r.audio_facts ->> 'bandwidth_hz' as bandwidth_hz,
    r.audio_digest, r.provider, r.model_id, r.model_version, r.prompt_version, r.validator_version,
    r.text_source, left(r.source_segment, -5) as source_segment, null::text as source_split,
    to_char(r.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as written_at
  from transcription_results r
    left join video_queue q on q.video_id = r.video_id and q.video_id > %(after)s and q.video_id <= %(last)s
    left join transcription_voters v
      on v.video_id = r.video_id and v.segment_file = r.segment_file and v.audio_digest = r.audio_digest
        and v.video_id > %(after)s and v.video_id <= %(last)s
  where r.video_id > %(after)s and r.video_id <= %(last)s
  order by r.video_id, r.segment_file
) to stdout (format csv, header)
