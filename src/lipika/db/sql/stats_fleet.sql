-- name: now
-- One row for each provider in use: what its live workers do, and what its budget is; and one of all together where there
-- is a budget over them. A few hundred rows at most.
with live as (
  select * from workers w where status = 'online' and lipika_worker_state(w) in ('live', 'draining')
), working as (
  select provider, count(*) as workers, count(*) filter (where draining or drain_requested_at is not null) as draining,
    sum(active_rpm) as rpm, sum(active_tpm) as tpm, sum(active_usd) as usd_per_minute,
    sum(active_clips) as clips_per_minute, sum(requests_in_flight) as in_flight,
    sum(active_prompt_tokens) as prompt_tokens, sum(active_cached_tokens) as cached_tokens,
    mode() within group (order by limited_by) as limited_by
  from live
  group by provider
), spent as (
  select provider, sum(usd) as usd_total,
    coalesce(sum(usd) filter (where day = (now() at time zone 'utc')::date), 0) as usd_today
  from provider_spend
  group by provider
  union all
  select 'all', sum(usd), coalesce(sum(usd) filter (where day = (now() at time zone 'utc')::date), 0)
  from provider_spend
  where provider <> 'simulator'
)
select provider,
  coalesce(w.workers, 0) as workers, coalesce(w.draining, 0) as draining,
  coalesce(w.rpm, 0)::bigint as rpm, coalesce(w.tpm, 0)::bigint as tpm,
  coalesce(w.usd_per_minute, 0)::double precision as usd_per_minute,
  coalesce(w.clips_per_minute, 0)::bigint as clips_per_minute, coalesce(w.in_flight, 0)::bigint as in_flight,
  coalesce(w.prompt_tokens, 0)::bigint as prompt_tokens, coalesce(w.cached_tokens, 0)::bigint as cached_tokens,
  w.limited_by,
  b.requests_per_minute, b.tokens_per_minute, b.spend_10min_usd, b.spend_day_usd, b.spend_total_usd,
  coalesce(b.paused, false) as paused, b.pause_reason,
  coalesce(s.usd_today, 0)::double precision as usd_today, coalesce(s.usd_total, 0)::double precision as usd_total
from working w
full join (select * from provider_budgets where project = '') b using (provider)
left join spent s using (provider)
order by workers desc, provider

-- name: failures
-- Failed attempts by kind: of the last minute (live workers), and of all process lives there were.
select kind,
  coalesce(sum(n) filter (where recent), 0)::bigint as last_minute,
  coalesce(sum(n) filter (where not recent), 0)::bigint as total
from (
  select true as recent, f.key as kind, f.value::bigint as n
  from workers w cross join lateral jsonb_each_text(active_failures) f
  where status = 'online' and lipika_worker_state(w) in ('live', 'draining')
  union all
  select false, f.key, f.value::bigint from workers cross join lateral jsonb_each_text(total_failures) f
) counted
group by kind
order by last_minute desc, total desc, kind

-- name: latency
-- Place by place over all live workers.
select coalesce(array_agg(n order by place), '{}')::bigint[] as counts
from (
  select place, sum(n) as n
  from workers w cross join lateral unnest(active_latency) with ordinality as l (n, place)
  where status = 'online' and lipika_worker_state(w) in ('live', 'draining')
  group by place
) summed

-- name: totals
-- All process lives there were, and how many are in which state now.
select
  count(*) filter (where state = 'live') as live,
  count(*) filter (where state = 'draining') as draining,
  count(*) filter (where state = 'stale' and seen > now() - interval '1 day') as stale,
  count(*) filter (where state in ('offline', 'error')) as ended,
  coalesce(sum(total_segments_sent), 0)::bigint as sent,
  coalesce(sum(total_segments_completed), 0)::bigint as completed,
  coalesce(sum(total_segments_failed), 0)::bigint as failed,
  coalesce(sum(total_segments_429), 0)::bigint as rate_limited,
  coalesce(sum(total_cache_hits), 0)::bigint as cache_hits,
  coalesce(sum(total_prompt_tokens), 0)::bigint as prompt_tokens,
  coalesce(sum(total_cached_tokens), 0)::bigint as cached_tokens,
  coalesce(sum(total_output_tokens), 0)::bigint as output_tokens,
  coalesce(sum(spend_usd), 0)::double precision as spend_usd,
  jsonb_build_object(
    'listening', count(*) filter (where aligner = 'listening'), 'loading', count(*) filter (where aligner = 'loading'),
    'off', count(*) filter (where aligner = 'off')
  ) as aligners,
  jsonb_build_object(
    'agree', coalesce(sum((alignment ->> 'agree')::bigint), 0), 'weak', coalesce(sum((alignment ->> 'weak')::bigint), 0),
    'flag', coalesce(sum((alignment ->> 'flag')::bigint), 0),
    'reject', coalesce(sum((alignment ->> 'reject')::bigint), 0),
    'excluded', coalesce(sum((alignment ->> 'excluded')::bigint), 0)
  ) as aligned,
  coalesce(sum((alignment ->> 'late')::bigint), 0)::bigint as aligned_late
from (
  select *,
    case
      when alignment is null or state not in ('live', 'draining') then 'none'
      when alignment ->> 'off_because' is not null then 'off'
      when alignment ->> 'device' is null then 'loading'
      else 'listening'
    end as aligner
  from (
    select *, lipika_worker_state(w) as state, greatest(last_heartbeat_at, live_at) as seen from workers w
  ) each_worker
) known

-- name: minutes
-- Whole minutes, those in which nothing happened too. By the key of worker_minutes.
select m.minute, count(w.worker_id) as workers,
  coalesce(sum(w.rpm), 0)::bigint as rpm, coalesce(sum(w.tpm), 0)::bigint as tpm,
  coalesce(sum(w.usd), 0)::double precision as usd, coalesce(sum(w.clips), 0)::bigint as clips,
  coalesce(sum(w.rate_limited), 0)::bigint as rate_limited, coalesce(sum(w.errors), 0)::bigint as errors,
  coalesce(sum(w.in_flight), 0)::bigint as in_flight
from generate_series(
  date_trunc('minute', now()) - make_interval(mins => %(minutes)s), date_trunc('minute', now()), interval '1 minute'
) as m (minute)
left join (
  select * from worker_minutes
  where minute >= date_trunc('minute', now()) - make_interval(mins => %(minutes)s)
    and (%(provider)s::text is null or provider = %(provider)s)
) w using (minute)
group by m.minute
order by m.minute

-- name: workers
-- Who is online (silent ones for a day), and who was in the last hour: online first, then by id.
with shown as materialized (
  select w.*, lipika_worker_state(w) as state, greatest(last_heartbeat_at, live_at) as seen
  from workers w
  where greatest(last_heartbeat_at, live_at) > now() - interval '1 hour'
    or status = 'online' and greatest(last_heartbeat_at, live_at) > now() - interval '1 day'
), held as materialized (
  select claimed_by, count(*) as videos, (array_agg(video_id order by claimed_at))[1:5] as first_ids
  from video_queue
  where status in ('claimed', 'processing')
  group by claimed_by
), history as materialized (
  select worker_id, array_agg(m.minute order by m.minute) as minutes, array_agg(m.rpm order by m.minute) as rpm
  from worker_minutes m
  where minute > date_trunc('minute', now()) - make_interval(mins => %(minutes)s)
  group by worker_id
)
select worker_id, instance_id, state, provider, gpu_type,
  extract(epoch from now() - seen)::double precision as silent_s, started_at, stopped_at,
  coalesce(h.videos, 0) as videos, coalesce(h.first_ids, '{}') as first_videos, segments_remaining,
  active_rpm, active_tpm, active_usd, active_clips, requests_in_flight, limited_by,
  total_segments_sent, total_segments_completed, total_segments_failed, total_segments_429,
  total_prompt_tokens, total_cached_tokens, total_output_tokens, batches_completed, avg_batch_latency_ms, spend_usd,
  last_error, last_error_at, drain_requested_at,
  coalesce(config_json ->> 'lipika_version', '') as version,
  array(
    select coalesce(max(x.rpm), 0)
    from generate_series(
      date_trunc('minute', now()) - make_interval(mins => %(minutes)s - 1), date_trunc('minute', now()),
      interval '1 minute'
    ) as g (minute)
    left join unnest(p.minutes, p.rpm) as x (minute, rpm) on x.minute = g.minute
    group by g.minute
    order by g.minute
  ) as recent_rpm,
  alignment
from shown
left join held h on h.claimed_by = worker_id
left join history p using (worker_id)
order by (status <> 'online'), worker_id
limit %(limit)s
