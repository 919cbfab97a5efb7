-- name: traits
-- All counters of one kind, added up over their shards: some hundred rows.
select language, key, sum(clips)::bigint as clips, sum(duration_ms)::bigint as duration_ms
from clip_counts
where kind = %(kind)s
group by language, key
having sum(clips) > 0
order by language, key

-- name: findings
select language, substr(kind, 9) as severity, key as code, sum(clips)::bigint as clips,
  sum(duration_ms)::bigint as duration_ms
from clip_counts
where kind in ('finding:info', 'finding:warn', 'finding:fail')
group by language, kind, key
having sum(clips) > 0
order by clips desc, code, language

-- name: tiers
-- Some dozen rows.
select language, tier, sum(clips)::bigint as clips
from tier_counts
group by language, tier
having sum(clips) > 0
order by language, tier

-- name: languages
select language, clips::bigint, transcribed::bigint, no_speech::bigint, failed::bigint,
  mean_quality::double precision, percent_asr::double precision, hours::double precision, cost_usd
from quality_by_language
