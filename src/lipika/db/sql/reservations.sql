-- name: reserve
-- One round trip: lock, settle, grant, write. See the migration for the arithmetic.
select granted, start_in_s, step_s, binds, retry_in_s, live_workers, pause_reason, unlimited
from lipika_reserve(
  %(provider)s, %(project)s, %(worker_id)s, %(wanted)s::int, %(tokens_each)s::float8, %(usd_each)s::float8,
  %(tokens_over)s::float8, %(usd_over)s::float8, %(usd_today)s::float8, %(reserved_usd)s::float8,
  %(horizon_s)s::float8, %(safety)s::float8, %(fresh_s)s::float8, %(lease_s)s::float8, %(at)s::float8
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
