-- name: list
select provider, project, requests_per_minute, tokens_per_minute, spend_10min_usd, spend_day_usd, spend_total_usd,
  paused, pause_reason
from provider_budgets
where %(provider)s::text is null or provider = %(provider)s
order by provider, project

-- name: set
-- Limits only: whether the provider is paused stays as it is.
insert into provider_budgets as b (
  provider, project, requests_per_minute, tokens_per_minute, spend_10min_usd, spend_day_usd, spend_total_usd
)
values (
  %(provider)s, %(project)s, %(requests_per_minute)s, %(tokens_per_minute)s, %(spend_10min_usd)s, %(spend_day_usd)s,
  %(spend_total_usd)s
)
on conflict (provider, project) do update set
  requests_per_minute = excluded.requests_per_minute, tokens_per_minute = excluded.tokens_per_minute,
  spend_10min_usd = excluded.spend_10min_usd, spend_day_usd = excluded.spend_day_usd,
  spend_total_usd = excluded.spend_total_usd, updated_at = now()

-- name: change
-- One statement, so that two people who set different limits at once both get theirs.
insert into provider_budgets as b (
  provider, project, requests_per_minute, tokens_per_minute, spend_10min_usd, spend_day_usd, spend_total_usd
)
values (
  %(provider)s, %(project)s, %(requests_per_minute)s::integer,
  %(tokens_per_minute)s::bigint,
  %(spend_10min_usd)s::double precision,
  %(spend_day_usd)s::double precision,
  %(spend_total_usd)s::double precision
)
on conflict (provider, project) do update set
  requests_per_minute = case when %(requests_per_minute_given)s then excluded.requests_per_minute else b.requests_per_minute end,
  tokens_per_minute = case when %(tokens_per_minute_given)s then excluded.tokens_per_minute else b.tokens_per_minute end,
  spend_10min_usd = case when %(spend_10min_usd_given)s then excluded.spend_10min_usd else b.spend_10min_usd end,
  spend_day_usd = case when %(spend_day_usd_given)s then excluded.spend_day_usd else b.spend_day_usd end,
  spend_total_usd = case when %(spend_total_usd_given)s then excluded.spend_total_usd else b.spend_total_usd end,
  updated_at = now()

-- name: pause
insert into provider_budgets as b (provider, project, paused, pause_reason, paused_at)
values (%(provider)s, %(project)s, true, %(reason)s, now())
on conflict (provider, project) do update set
  paused = true, pause_reason = excluded.pause_reason, paused_at = now(), updated_at = now()

-- name: resume
update provider_budgets
set paused = false, pause_reason = null, paused_at = null, updated_at = now()
where provider = %(provider)s and project = %(project)s and paused
