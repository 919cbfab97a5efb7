-- name: clip
-- A clip as it is before an edit, with the version that the edit is made against. By key.
select {{r.clip.*}}, {{r.cut.*}}, {{r.answer.*}}, {{r.judgement.*}}, r.video_id, r.speaker_id, r.failure_kind, r.failure_message,
  lipika_clip_version(e.last_id, r.transcription, r.tagged) as version, e.edit_id, e.edited_by, e.changed_at,
  coalesce(e.model ->> 'transcription', case when e.edit_id is null then r.transcription end) as model_transcription,
  coalesce(e.model ->> 'tagged', case when e.edit_id is null then r.tagged end) as model_tagged
from transcription_results r
left join edited_clips e
  on e.video_id = r.video_id and e.segment_file = r.segment_file and e.audio_digest = r.audio_digest
where r.video_id = %(video_id)s and r.segment_file = %(segment_file)s

-- name: of_clip
select id, video_id, segment_file, audio_digest, kind, of_edit, transcription, tagged, language, reason, note, model_text,
  made_against, refused, edited_by, edited_at
from transcription_edits
where video_id = %(video_id)s and segment_file = %(segment_file)s
order by id

-- name: newest
-- One page, newest first: by the primary key, a clip's or a person's index.
select id, video_id, segment_file, audio_digest, kind, of_edit, transcription, tagged, language, reason, note, model_text,
  made_against, refused, edited_by, edited_at
from transcription_edits
where id < coalesce(%(before)s::bigint, 9223372036854775807)
  and (%(video_id)s::text is null or video_id = %(video_id)s)
  and (%(by)s::text is null or edited_by = %(by)s)
  and (%(kind)s::text is null or kind = %(kind)s)
order by id desc
limit %(limit)s

-- name: same_audio
-- Other clips of the same audio, by the index on it, and whether anybody has edited them.
select o.video_id, o.segment_file, o.transcription, o.text_source
from transcription_results r
join transcription_results o on hashtextextended(o.audio_digest, 0) = hashtextextended(r.audio_digest, 0)
  and o.audio_digest = r.audio_digest
where r.video_id = %(video_id)s and r.segment_file = %(segment_file)s
  and (o.video_id, o.segment_file) <> (r.video_id, r.segment_file)
order by o.video_id, o.segment_file
limit %(limit)s

-- name: save
-- A function that keeps the history (migration edits): no role writes these tables by itself.
select saved, edit_id, version, changed_by, changed_at
from lipika_edit_clip(
  %(video_id)s::text, %(segment_file)s::text, %(expected)s::text, %(entry)s::jsonb, %(in_force)s::bigint, %(word)s::jsonb
)

-- name: selected
-- One page of clips for people to look at, by key.
select {{r.clip.*}}, {{r.cut.*}}, {{r.answer.*}}, {{r.judgement.*}}, r.video_id, r.speaker_id, r.failure_kind, r.failure_message,
  lipika_clip_version(e.last_id, r.transcription, r.tagged) as version, e.edit_id, e.edited_by, e.changed_at,
  coalesce(e.model ->> 'transcription', case when e.edit_id is null then r.transcription end) as model_transcription,
  coalesce(e.model ->> 'tagged', case when e.edit_id is null then r.tagged end) as model_tagged
from transcription_results r
left join edited_clips e
  on e.video_id = r.video_id and e.segment_file = r.segment_file and e.audio_digest = r.audio_digest
where (r.video_id, r.segment_file) > (%(after_video)s::text, %(after_file)s::text)
  and (%(video_id)s::text is null or r.video_id = %(video_id)s)
  and (%(language)s::text is null or coalesce(nullif(r.expected_language_hint, ''), r.detected_language) = %(language)s)
  and (%(finding)s::text is null or r.findings @> jsonb_build_array(jsonb_build_object('code', %(finding)s::text)))
  and (%(below)s::real is null or r.quality_score < %(below)s::real)
  and (%(edited)s::boolean is null or (e.edit_id is not null) = %(edited)s::boolean)
order by r.video_id, r.segment_file
limit %(limit)s

-- name: stale_archives
-- Videos whose result archive does not say what people have said since it was written. By key; archives of videos that are
-- being worked on are left to whoever does.
select q.video_id, q.output_key, q.output_bytes, q.output_digest, count(*) as clips
from edited_clips e
join video_queue q on q.video_id = e.video_id
where q.status = 'done' and e.packed_in is distinct from q.output_digest and q.video_id > %(after)s
  and (%(videos)s::text[] is null or q.video_id = any(%(videos)s))
group by q.video_id
order by q.video_id
limit %(limit)s

-- name: of_video
-- What rows say of clips that people have touched, for the video's archive.
select {{r.clip.*}}, {{r.answer.*}}, {{r.judgement.*}}, {{r.failure.*}}, e.last_id, e.edit_id, e.model, r.lang_mismatch_flag,
  r.num_unk, r.num_inaudible, r.num_event_tags, r.text_length_per_sec, r.overlap_suspected, r.score_parts, r.lane_reasons,
  v.consensus
from edited_clips e
join transcription_results r on r.video_id = e.video_id and r.segment_file = e.segment_file
left join transcription_voters v
  on v.video_id = e.video_id and v.segment_file = e.segment_file and v.audio_digest = r.audio_digest
where e.video_id = %(video_id)s
order by e.segment_file

-- name: packed
-- The archive says so now: of clips that nobody has touched since they were read, of a video that nobody has taken since.
with recorded as (
  update video_queue set output_bytes = %(size)s, output_digest = %(sha256)s
  where video_id = %(video_id)s and status = 'done' and output_digest is not distinct from %(old_digest)s
  returning video_id
)
update edited_clips e set packed_in = %(sha256)s
from jsonb_to_recordset(%(clips)s::jsonb) as c (segment_file text, last_id bigint), recorded
where e.video_id = recorded.video_id and e.segment_file = c.segment_file and e.last_id = c.last_id
