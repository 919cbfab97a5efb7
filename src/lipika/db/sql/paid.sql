-- name: replaced
-- Answers to these audios that are no clip's result any more: by key, a few ways each.
select a.audio_digest, a.provider, a.model_id, a.model_version, a.temperature, a.thinking_level, a.prompt_version,
  a.schema_version, a.language_hint, a.answer, a.usage, a.cost_usd, a.batch_id, a.attempts, a.latency_ms,
  a.service_tier
from unnest(%(digests)s::text[]) as w (digest)
cross join lateral (
  select * from transcription_answers k where k.audio_digest = w.digest limit %(most)s
) a
where regexp_replace(a.model_id, '^(google|models)/', '') = any(%(model_ids)s)
  and round(a.temperature::numeric, 4) is not distinct from round(%(temperature)s::real::numeric, 4)
  and (a.thinking_level, a.schema_version) = (%(thinking_level)s, %(schema_version)s)
  and a.prompt_version = any(%(prompt_versions)s::text[])

-- name: kept
-- Answers to these audios that are kept aside and were asked for in the way of this name, under whatever hint.
select a.audio_digest, a.provider, a.model_id, a.model_version, a.temperature, a.thinking_level, a.prompt_version,
  a.schema_version, a.language_hint, a.answer, a.usage, a.cost_usd, a.batch_id, a.attempts, a.latency_ms,
  a.service_tier
from transcription_answers a
where a.way = %(way)s and a.audio_digest = any(%(digests)s::text[])
order by a.audio_digest, a.way_digest

-- name: results
-- Answers to these audios that are results of clips, of any video: by the index on the audio, the first few of each. Of a
-- jingle or of silence there may be a million.
select r.audio_digest, {{r.provenance.*}}, r.expected_language_hint, {{r.answer.*}}
from unnest(%(digests)s::text[]) as w (digest)
cross join lateral (
  select * from transcription_results k
  where hashtextextended(k.audio_digest, 0) = hashtextextended(w.digest, 0) limit %(most)s
) r
where r.audio_digest = w.digest and r.transcription is not null and r.text_source = 'model' and r.attempts > 0
  and regexp_replace(r.model_id, '^(google|models)/', '') = any(%(model_ids)s)
  and round(r.temperature::numeric, 4) is not distinct from round(%(temperature)s::real::numeric, 4)
  and (r.thinking_level, r.schema_version) = (%(thinking_level)s, %(schema_version)s)
  and r.prompt_version = any(%(prompt_versions)s::text[])

-- name: indexed
-- Whether results can be looked up by their audio: an index in the making is none.
select exists (
  select from pg_index where indexrelid = to_regclass('transcription_results_audio') and indisvalid
) as found
