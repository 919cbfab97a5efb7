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

-- name: keep_answer
-- Of two answers to one audio, asked for in one way, the later one is kept.
insert into transcription_answers as a (
  audio_digest, way_digest, provider, model_id, model_version, temperature, thinking_level, prompt_version, schema_version,
  language_hint, answer, usage, cost_usd
)
select r.audio_digest, lipika_way(
    r.model_id, r.temperature, r.thinking_level, r.prompt_version, r.schema_version, r.language_hint
  ), r.provider, r.model_id, r.model_version, r.temperature, r.thinking_level, r.prompt_version, r.schema_version,
  r.language_hint, r.answer, r.usage, r.cost_usd
from jsonb_to_record(%(row)s::jsonb) as r (
  audio_digest text, provider text, model_id text, model_version text, temperature real, thinking_level text,
  prompt_version text, schema_version text, language_hint text, answer jsonb, usage jsonb, cost_usd double precision
)
on conflict (audio_digest, way_digest) do update set
  provider = excluded.provider, model_id = excluded.model_id, model_version = excluded.model_version,
  answer = excluded.answer, usage = excluded.usage, cost_usd = excluded.cost_usd, created_at = excluded.created_at

-- name: find_answers
-- Texts of answers that this way of asking has brought for these clips: by key. What a simulator has made up is no opinion
-- of a real answer.
select w.segment_file, a.answer ->> 'transcription' as text
from jsonb_to_recordset(%(clips)s::jsonb) as w (segment_file text, audio_digest text, language_hint text, made_up boolean)
join transcription_answers a on a.audio_digest = w.audio_digest and a.way_digest = lipika_way(
  %(model_id)s::text, %(temperature)s::real, %(thinking_level)s::text, %(prompt_version)s::text, %(schema_version)s::text,
  w.language_hint
)
where w.made_up or not starts_with(a.model_version, %(simulated)s)

-- name: keep_opinions
-- A function that asks for the worker's key: a worker's role writes no table by itself.
select lipika_keep_opinions(%(worker_id)s::text, %(key)s::text, %(rows)s::jsonb)

-- name: voices
-- All texts of others, by audio, with what a second recogniser heard.
select audio_digest, coalesce(voters, '[]') as voters, coalesce(alignment ->> 'heard', '') as heard
from transcription_voters
where video_id = any(%(video_ids)s::text[])
order by video_id, segment_file

-- name: people
-- By the index on (video_id, segment_file).
select audio_digest, jsonb_path_query_array(voters, '$[*] ? (@.kind == "person")') as voters
from transcription_voters
where video_id = %(video_id)s and voters @> '[{"kind": "person"}]'
