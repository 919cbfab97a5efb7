-- name: write
-- What others say of the clips of one video, under the lock that a claim has to wait for: while a worker holds the video it
-- is left alone. Rows whose audio or text is not the one that was weighed are passed over.
with held as materialized (
  select status in ('claimed', 'processing') as busy from video_queue where video_id = %(video_id)s
  for key share
), incoming as materialized (
  select * from jsonb_to_recordset(%(rows)s::jsonb) as i (
    segment_file text, audio_digest text, text_digest text, voters jsonb, tier text, consensus jsonb
  )
), fitting as materialized (
  select i.* from incoming i
  join transcription_results r on r.video_id = %(video_id)s and r.segment_file = i.segment_file
  where r.audio_digest = i.audio_digest
    and encode(sha256(convert_to(r.transcription, 'UTF8')), 'hex') = i.text_digest
    and not exists (select from held where busy)
  order by i.segment_file
), written as (
  insert into transcription_voters as v (video_id, segment_file, audio_digest, voters, tier, consensus)
  select %(video_id)s, segment_file, audio_digest, voters, tier, consensus from fitting
  on conflict (video_id, segment_file) do update set
    audio_digest = excluded.audio_digest, voters = excluded.voters, tier = excluded.tier,
    consensus = excluded.consensus, written_at = now()
  where (v.audio_digest, v.voters, v.tier, v.consensus)
    is distinct from (excluded.audio_digest, excluded.voters, excluded.tier, excluded.consensus)
)
select (select count(*) from fitting)::int as written, exists (select from held where busy) as busy

-- name: answers
-- Answers that were replaced, of one audio: the latest first.
select provider, model_id, model_version, temperature, thinking_level, prompt_version, schema_version, language_hint, answer,
  usage, cost_usd, created_at
from transcription_answers
where audio_digest = %(audio_digest)s
order by created_at desc
