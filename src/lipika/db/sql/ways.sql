-- name: counts
-- The ways of asking with their answers, as triggers count them: some rows a way, however many answers there are.
select way, place, language, provider, service_tier, made_up, model_id, temperature, thinking_level, prompt_version,
  schema_version, sum(clips)::bigint as clips, greatest(sum(cost_usd), 0)::double precision as cost_usd,
  sum(prompt_tokens)::bigint as prompt_tokens, sum(audio_tokens)::bigint as audio_tokens,
  sum(output_tokens)::bigint as output_tokens, sum(thought_tokens)::bigint as thought_tokens
from way_counts
group by way, place, language, provider, service_tier, made_up, model_id, temperature, thinking_level, prompt_version,
  schema_version
having sum(clips) <> 0
order by way, place, language, provider, service_tier, made_up

-- name: audios
-- One page of the audios whose answer in this way is kept aside, by an index. Their order is that of their digests: one of
-- chance, so that the first of them are a sample of all.
select distinct audio_digest from transcription_answers
where way = %(way)s and audio_digest > %(after)s
order by audio_digest
limit %(limit)s

-- name: clips
-- Clips of these audios that have an answer, by the index on the audio, a few of each, with how they were asked.
select r.video_id, {{r.clip.*}}, {{r.cut.*}}, {{r.answer.*}}, {{r.judgement.*}}, {{r.provenance.*}}
from unnest(%(digests)s::text[]) as w (digest)
cross join lateral (
  select * from transcription_results k
  where hashtextextended(k.audio_digest, 0) = hashtextextended(w.digest, 0) limit %(most)s
) r
where r.audio_digest = w.digest and r.transcription is not null and r.text_source = 'model' and r.audio_facts is not null

-- name: videos
-- Videos with clips of these audios, by the index on the audio.
select distinct r.video_id
from unnest(%(digests)s::text[]) as w (digest)
join transcription_results r
  on hashtextextended(r.audio_digest, 0) = hashtextextended(w.digest, 0) and r.audio_digest = w.digest

-- name: rows
-- One page of a video's rows by key, with all that they hold of an answer; xmin tells one that is written anew from the
-- one that was read. What was heard lies aside, but in rows of earlier releases.
select {{r.clip.*}}, {{r.cut.*}}, {{r.answer.*}}, {{r.judgement.*}}, {{r.provenance.*}}, r.xmin::text as seen,
  case when r.alignment ? 'heard' then r.alignment when r.alignment is not null then v.alignment end as alignment
from transcription_results r
left join transcription_voters v on v.video_id = r.video_id and v.segment_file = r.segment_file
where r.video_id = %(video_id)s and r.segment_file > %(after)s
order by r.segment_file
limit %(limit)s

-- name: promote
select lipika_promote_clips(
  %(video_id)s::text, %(rows)s::jsonb, %(flags)s::jsonb, %(seen)s::jsonb, %(output)s::jsonb
) as outcome
