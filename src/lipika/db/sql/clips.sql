-- name: clip
-- By key; the video's own row may be gone.
select {{r.clip.*}}, {{r.cut.*}}, {{r.answer.*}}, {{r.judgement.*}}, {{r.failure.*}}, {{r.provenance.*}}, r.video_id, r.speaker_id,
  r.lang_mismatch_flag, r.num_unk, r.num_inaudible, r.num_event_tags, r.text_length_per_sec, r.overlap_suspected,
  r.score_parts, r.alignment_score, r.lane_reasons, r.cache_hit, r.created_at, q.status as video_status, q.source_key,
  q.output_key, v.tier, v.consensus, coalesce(v.voters, '[]') as voters, v.alignment ->> 'heard' as heard
from transcription_results r
left join video_queue q using (video_id)
left join transcription_voters v
  on v.video_id = r.video_id and v.segment_file = r.segment_file and v.audio_digest = r.audio_digest
where r.video_id = %(video_id)s and r.segment_file = %(segment_file)s

-- name: clips
-- One page of a video by file name.
select segment_file, status, original_start_ms, duration_ms, detected_language, quality_score, asr_eligible,
  tts_clean_eligible, tts_expressive_eligible, jsonb_array_length(findings) as findings,
  left(coalesce(transcription, failure_message), 300) as text
from transcription_results
where video_id = %(video_id)s and segment_file > %(after)s
order by segment_file
limit %(limit)s
