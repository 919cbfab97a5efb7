-- name: reserve
-- One round trip: lock, settle, grant, write. See the migration for the arithmetic. A worker says what it has metered
-- in all its life; what the ledger has on its earlier days is taken off, so that no worker's clock decides about a day
-- and what was metered just before midnight is not forgotten.
with moment as materialized (
  select coalesce(%(at)s::float8, extract(epoch from clock_timestamp())) as at_s
), told as materialized (
  select m.at_s, greatest(%(usd_metered)s::float8 - coalesce(sum(s.usd), 0), 0) as usd_today
  from moment m
  left join provider_spend s on s.provider = %(provider)s and s.project = %(project)s
    and s.worker_id = %(worker_id)s and s.day < (to_timestamp(m.at_s) at time zone 'utc')::date
  group by m.at_s
)
select granted, start_in_s, step_s, binds, retry_in_s, live_workers, pause_reason, unlimited
from told, lipika_grant(
  %(key)s::text, %(provider)s, %(project)s, %(worker_id)s, %(wanted)s::int, %(tokens_each)s::float8, %(usd_each)s::float8,
  %(usd_most)s::float8, %(tokens_over)s::float8, %(usd_over)s::float8, told.usd_today, %(reserved_usd)s::float8,
  %(horizon_s)s::float8, %(safety)s::float8, %(fresh_s)s::float8, %(lease_s)s::float8, told.at_s
)

-- name: spent
select s.provider, s.project, sum(s.usd) as usd_total,
  coalesce(sum(s.usd) filter (where s.day = (now() at time zone 'utc')::date), 0) as usd_today,
  coalesce(sum(s.reserved_usd) filter (
    where s.asked_at > extract(epoch from now()) - %(lease_s)s::float8
  ), 0) as usd_reserved
from provider_spend s
group by 1, 2
order by 1, 2

-- name: opinions
-- What second opinions have cost all workers but one, made-up dollars apart from real ones.
select coalesce(sum(usd), 0)::float8 as usd,
  coalesce(sum(reserved_usd) filter (
    where asked_at > extract(epoch from now()) - %(lease_s)s::float8
  ), 0)::float8 as usd_reserved
from provider_spend
where right(worker_id, length(%(suffix)s::text)) = %(suffix)s::text and worker_id <> %(without)s
  and (provider = 'simulator') = (%(provider)s = 'simulator')
