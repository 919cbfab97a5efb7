-- name: strata
-- One page of videos: each stratum's clips and the second listener's sums over those it heard, and of its clips those of the
-- smallest hashes, which are a fair sample of them. Of a stratum whose places are taken, only what is smaller yet.
with page as materialized (
  select r.video_id, r.segment_file, coalesce(nullif(r.expected_language_hint, ''), r.detected_language, 'unknown') as language,
    concat_ws(
      ' ', case when r.asr_eligible then 'asr' end, case when r.tts_clean_eligible then 'tts_clean' end,
      case when r.tts_expressive_eligible then 'tts_expressive' end
    ) as lanes, coalesce(v.tier, '') as tier,
    case when r.alignment_score is null then 0 else length(replace(r.transcription, ' ', '')) end as proxy_letters,
    least(1 - r.alignment_score, %(cap)s::float8) as proxy,
    hashtextextended(r.video_id || '/' || r.segment_file, %(seed)s::bigint) as place
  from transcription_results r
  left join transcription_voters v
    on v.video_id = r.video_id and v.segment_file = r.segment_file and v.audio_digest = r.audio_digest
      and v.video_id > %(after)s and v.video_id <= %(last)s
  where r.video_id > %(after)s and r.video_id <= %(last)s and r.status = 'transcribed' and r.transcription is not null
    and (%(languages)s::text[] is null
      or coalesce(nullif(r.expected_language_hint, ''), r.detected_language, 'unknown') = any(%(languages)s::text[]))
    and case %(lane)s::text when 'asr' then r.asr_eligible when 'tts_clean' then r.tts_clean_eligible
      when 'tts_expressive' then r.tts_expressive_eligible else true end
), ranked as (
  select *, row_number() over (partition by language, lanes, tier order by place) as number from page
)
select r.language, r.lanes, r.tier, count(*) as clips, coalesce(sum(proxy * proxy_letters), 0)::float8 as proxy_errors,
  sum(proxy_letters)::float8 as proxy_letters, coalesce(sum((proxy * proxy_letters) ^ 2), 0)::float8 as proxy_squares,
  coalesce(
    jsonb_agg(jsonb_build_array(place, video_id, segment_file)) filter (
      where number <= %(most)s::int and place < coalesce(k.below, 9223372036854775807)
    ), '[]'
  ) as smallest
from ranked r
left join jsonb_to_recordset(%(known)s::jsonb) as k (language text, lanes text, tier text, below bigint)
  on k.language = r.language and k.lanes = r.lanes and k.tier = r.tier
group by r.language, r.lanes, r.tier

-- name: texts
-- Clips by key, as they are now.
select r.video_id, r.segment_file, r.audio_digest, r.duration_ms, r.transcription,
  case when r.alignment_score is null then 0 else length(replace(r.transcription, ' ', '')) end::float8 as proxy_letters,
  coalesce(least(1 - r.alignment_score, %(cap)s::float8) * length(replace(r.transcription, ' ', '')), 0)::float8
    as proxy_errors
from unnest(%(videos)s::text[], %(files)s::text[]) as w (video_id, segment_file)
join transcription_results r on r.video_id = w.video_id and r.segment_file = w.segment_file
where r.status = 'transcribed' and r.transcription is not null

-- name: size
-- Clips there are, as counters know it: what the pass over them has to do.
select coalesce(sum(clips), 0)::bigint as clips from clip_counts where kind = 'status' and key = 'transcribed'

-- name: create
-- An audit and its clips, at once.
with made as (
  insert into audits (seed, lane, per_language, double_share, limit_cer, limit_unusable, strata, drawn_by)
  values (
    %(seed)s, %(lane)s, %(per_language)s, %(double_share)s, %(limit_cer)s, %(limit_unusable)s, %(strata)s::jsonb, %(drawn_by)s
  )
  returning id
), filled as (
  insert into audit_clips (
    audit_id, place, stratum, look, doubled, video_id, segment_file, audio_digest, duration_ms, language, transcription,
    proxy_errors, proxy_letters
  )
  select made.id, c.* from made, jsonb_to_recordset(%(clips)s::jsonb) as c (
    place int, stratum smallint, look smallint, doubled boolean, video_id text, segment_file text, audio_digest text,
    duration_ms int, language text, transcription text, proxy_errors real, proxy_letters real
  )
)
select id from made

-- name: audits
-- Newest first.
select id, seed, lane, per_language, double_share, limit_cer, limit_unusable, strata, looks, drawn_by, drawn_at
from audits where %(id)s::bigint is null or id = %(id)s
order by id desc
limit %(limit)s

-- name: clips
-- All clips that are heard, in their order, with what people found; at most some thousands.
select c.place, c.stratum, c.look, c.doubled, c.video_id, c.segment_file, c.duration_ms, c.language, c.transcription,
  c.proxy_errors::float8, c.proxy_letters::float8,
  coalesce((
    select jsonb_agg(
      jsonb_build_object('reviewer', j.reviewer, 'usable', j.usable, 'text', j.text) order by j.judged_at, j.reviewer
    )
    from audit_judgements j where j.audit_id = c.audit_id and j.place = c.place and j.usable is not null
  ), '[]') as judgements
from audit_clips c
where c.audit_id = %(id)s and c.look > 0
order by c.place

-- name: progress
-- Judgements wanted and made, of each language; and how far one person is.
select c.language, sum(1 + c.doubled::int)::int as wanted, coalesce(sum(j.made), 0)::int as made,
  coalesce(sum(j.mine), 0)::int as mine, count(*) filter (where j.made > 0)::int as heard, count(*)::int as clips,
  coalesce(sum(j.passed_over), 0)::int as passed_over, coalesce(sum(j.seconds), 0)::float8 as seconds
from audit_clips c
cross join lateral (
  select least(count(*) filter (where usable is not null), 1 + c.doubled::int) as made,
    count(*) filter (where usable is not null and reviewer = %(reviewer)s) as mine,
    count(*) filter (where usable is null and judged_at is not null) as passed_over,
    sum(seconds) filter (where usable is not null) as seconds
  from audit_judgements j where j.audit_id = c.audit_id and j.place = c.place
) j
where c.audit_id = %(id)s and c.look > 0
group by c.language
order by c.language

-- name: reserve
-- Places in reserve by stratum, in their order.
select place, stratum from audit_clips where audit_id = %(id)s and look = 0 order by place

-- name: more
-- A further draw: clips out of the reserve. Not done where somebody else has drawn since.
with next as (
  update audits set looks = looks + 1 where id = %(id)s and looks = %(looks)s returning id, looks
)
update audit_clips c set look = next.looks, doubled = c.place = any(%(doubled)s::int[])
from next
where c.audit_id = next.id and c.place = any(%(places)s::int[]) and c.look = 0

-- name: take
-- A function that gives no clip to two people unless both are to hear it.
select c.place, c.video_id, c.segment_file, c.audio_digest, c.duration_ms, c.language, c.transcription, j.usable, j.text
from lipika_take_audit_clips(%(id)s, %(reviewer)s, %(languages)s::text[], %(count)s::int) as taken (place)
join audit_clips c on c.audit_id = %(id)s and c.place = taken.place
left join audit_judgements j on j.audit_id = c.audit_id and j.place = c.place and j.reviewer = %(reviewer)s
order by c.place

-- name: own
-- A clip that a person has judged, to be judged again.
select c.place, c.video_id, c.segment_file, c.audio_digest, c.duration_ms, c.language, c.transcription, j.usable, j.text
from audit_judgements j
join audit_clips c on c.audit_id = j.audit_id and c.place = j.place
where j.audit_id = %(id)s and j.reviewer = %(reviewer)s and j.place = %(place)s

-- name: judge
-- A function that counts no more judgements of a clip than are wanted.
select lipika_judge_audit_clip(
  %(id)s, %(place)s::int, %(reviewer)s::text, %(usable)s::boolean, %(text)s::text, %(seconds)s::real
) as kept
