-- name: write
-- These are functions of the database (migration worker_functions), which ask for the claim's token: a worker's role may
-- write no result by itself, and delete none.
select lipika_write_clips(%(video_id)s::text, %(claim_token)s::uuid, %(rows)s::jsonb, %(flags)s::jsonb) as owned

-- name: keep_answers
select lipika_keep_answers(%(video_id)s::text, %(claim_token)s::uuid, %(rows)s::jsonb) as owned

-- name: write_voters
select lipika_write_voters(%(video_id)s::text, %(claim_token)s::uuid, %(rows)s::jsonb) as owned

-- name: write_discards
select lipika_write_discards(%(video_id)s::text, %(claim_token)s::uuid, %(flags)s::jsonb) as owned

-- name: remove
select lipika_remove_clips(%(video_id)s::text, %(claim_token)s::uuid, %(segment_files)s::text[]) as owned

-- name: stored_answers
-- One page by key: no cursor survives a transaction pooler. What was heard lies aside, but in rows of earlier releases. Of a
-- clip that a person has edited it is the model's answer: that was paid for, and a person's word is of that clip alone, not of
-- others with its audio.
select r.segment_file, r.audio_digest, r.trimmer_version, r.expected_language_hint,
  case when e.edit_id is null then r.status else e.model ->> 'status' end as status,
  case when e.edit_id is null then r.transcription else e.model ->> 'transcription' end as transcription,
  case when e.edit_id is null then r.tagged else e.model ->> 'tagged' end as tagged,
  case when e.edit_id is null then r.detected_language else e.model ->> 'detected_language' end as detected_language,
  r.speaker_emotion, r.speaker_style, r.speaker_pace, r.speaker_accent,
  case when e.edit_id is null then r.text_source else 'model' end as text_source,
  case when e.edit_id is null then r.failure_kind else e.model ->> 'failure_kind' end as failure_kind,
  case when e.edit_id is null then r.failure_code else e.model ->> 'failure_code' end as failure_code,
  case when e.edit_id is null then r.failure_message else e.model ->> 'failure_message' end as failure_message,
  {{r.provenance.*}},
  case when r.alignment ? 'heard' then r.alignment
    when coalesce(r.alignment, nullif(e.model -> 'alignment', 'null')) is not null then v.alignment end as alignment
from transcription_results r
left join edited_clips e on e.video_id = r.video_id and e.segment_file = r.segment_file and e.audio_digest = r.audio_digest
left join transcription_voters v on v.video_id = r.video_id and v.segment_file = r.segment_file
where r.video_id = %(video_id)s and r.segment_file > %(after)s
order by r.segment_file
limit %(limit)s

-- name: write_batch
-- Of one's own windows only: the key says whose.
select lipika_write_window(%(key)s::text, %(batch)s::jsonb)

-- name: ways
-- How the answers that these videos have were asked for, with clips and dollars. By the index on (video_id, segment_file).
select video_id, model_id, coalesce(model_version, '') as model_version, temperature, thinking_level, prompt_version,
  schema_version, trimmer_version, coalesce(expected_language_hint, '') as language_hint,
  coalesce(detected_language, '') as detected_language, status = 'no_speech' as no_speech,
  count(*) as clips, sum(cost_usd)::double precision as usd
from transcription_results
where video_id = any(%(video_ids)s) and status <> 'failed' and attempts > 0
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11

-- name: made_up
-- Videos whose results come from the simulator. By the index on (video_id, segment_file), one row a video.
select v.video_id
from unnest(%(video_ids)s::text[]) as v (video_id)
cross join lateral (
  select model_version from transcription_results r where r.video_id = v.video_id and r.status <> 'failed' and r.attempts > 0 limit 1
) as one
where starts_with(one.model_version, %(simulated)s)
