-- The fleet's governor: launch slots are reserved out of one ledger, in one round trip. Idempotent.

-- Cursors are virtual clocks (Unix seconds): what has been granted so far, at the budget's rate, is used up then.
alter table provider_budgets add column if not exists requests_until double precision not null default 0;
alter table provider_budgets add column if not exists tokens_until double precision not null default 0;
alter table provider_budgets add column if not exists usd_until double precision not null default 0;
comment on column provider_budgets.requests_until is 'Unix time at which all granted requests are used up, at the budget''s rate.';
comment on column provider_budgets.tokens_until is 'The same for prompt tokens, corrected by metered use.';
comment on column provider_budgets.usd_until is 'The same for US dollars per ten minutes, corrected by metered use.';

create table if not exists provider_spend (
  provider     text not null,
  project      text not null default '',
  worker_id    text not null,
  day          date not null,
  usd          double precision not null default 0,
  reserved_usd double precision not null default 0,
  asked_at     double precision not null,
  primary key (provider, project, worker_id, day)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
comment on table provider_spend is 'What each worker has spent with each provider, as it says itself, by UTC day.';
comment on column provider_spend.usd is 'Metered US dollars of that day and worker: a running sum, so that saying it twice changes nothing.';
comment on column provider_spend.reserved_usd is 'US dollars granted and not yet metered; counts while the worker is fresh.';
comment on column provider_spend.asked_at is 'Unix time of the worker''s last question.';
alter table provider_spend enable row level security;
revoke all on table provider_spend from public;

alter table workers add column if not exists limited_by text;
comment on column workers.limited_by is 'Which limit holds the worker back now, in words; null: none.';

-- Only where this file has not been run before: a later one has put others in their place.
do $once$
declare
  grantee text;
begin
  if exists (select from lipika_migrations where version = '20261122000300') then
    return;
  end if;

-- The same arithmetic as lipika.limits.grant, which a test holds against it. One statement for the caller, so that
-- the row is locked for one round trip's work on the server only, however far away the worker is.
create or replace function lipika_reserve(
  p_provider text,
  p_project text,
  p_worker text,
  p_wanted integer,           -- requests the worker would like to launch soon
  p_tokens_each double precision,
  p_usd_each double precision,
  p_tokens_over double precision,  -- metered minus guessed, of what has ended since the last question
  p_usd_over double precision,
  p_usd_today double precision,    -- metered by this worker on this UTC day
  p_reserved double precision,     -- granted to this worker, not yet metered
  p_horizon double precision,
  p_safety double precision,
  p_fresh double precision,        -- a worker silent for longer (s) holds no share
  p_lease double precision,        -- and for longer than this (s) no money
  p_at double precision default null
) returns table (
  granted integer,
  start_in_s double precision,
  step_s double precision,
  binds text,
  retry_in_s double precision,
  live_workers integer,
  pause_reason text,
  unlimited boolean
) language plpgsql volatile set search_path = public, pg_temp as $$
declare
  b provider_budgets;
  at_s double precision := coalesce(p_at, extract(epoch from clock_timestamp()));
  today date := (to_timestamp(at_s) at time zone 'utc')::date;
  spent_total double precision;
  spent_today double precision;
  reserved double precision;
  rpm_s double precision;
  tpm_s double precision;
  usd_s double precision;
  n integer := greatest(p_wanted, 0);
  room integer;
  affordable integer;
  start_s double precision := at_s;
begin
  -- All workers wait for this one row, and none of them for a disk: a server that crashes forgets grants of half a
  -- second at most, and what was spent is told again.
  perform set_config('synchronous_commit', 'off', true);
  insert into provider_budgets (provider, project) values (p_provider, p_project) on conflict do nothing;
  select * into b from provider_budgets where provider = p_provider and project = p_project for update;

  select coalesce(sum(s.usd), 0), coalesce(sum(s.usd) filter (where s.day = today), 0),
    coalesce(sum(s.reserved_usd) filter (where s.asked_at > at_s - p_lease), 0),
    1 + count(distinct s.worker_id) filter (where s.asked_at > at_s - p_fresh and s.worker_id <> p_worker)
  into spent_total, spent_today, reserved, live_workers
  from provider_spend s
  where s.provider = p_provider and s.project = p_project
    and not (s.worker_id = p_worker and s.day = today);
  spent_total := spent_total + p_usd_today;
  spent_today := spent_today + p_usd_today;
  reserved := reserved + p_reserved;

  tpm_s := greatest(b.tokens_per_minute * p_safety, b.tokens_per_minute / 2.0) / 60;
  usd_s := greatest(b.spend_10min_usd * p_safety, b.spend_10min_usd / 2) / 600;
  if tpm_s > 0 then
    b.tokens_until := b.tokens_until + p_tokens_over / tpm_s;
  end if;
  if usd_s > 0 then
    b.usd_until := b.usd_until + p_usd_over / usd_s;
  end if;

  step_s := 0;
  binds := '';
  retry_in_s := 0;
  if b.paused then
    n := 0;
    binds := 'paused';
    retry_in_s := 1;
    pause_reason := b.pause_reason;
  elsif n > 0 then
    if b.spend_total_usd is not null then
      affordable := lipika_affordable(b.spend_total_usd - spent_total - reserved, p_usd_each);
      if affordable < n then
        n := affordable;
        binds := 'spend_total';
      end if;
    end if;
    if b.spend_day_usd is not null then
      affordable := lipika_affordable(b.spend_day_usd - spent_today - reserved, p_usd_each);
      if affordable < n then
        n := affordable;
        binds := 'spend_day';
      end if;
    end if;
    if n = 0 then
      retry_in_s := 5;
    else
      rpm_s := greatest(b.requests_per_minute * p_safety, b.requests_per_minute / 2.0) / 60;
      tpm_s := greatest(b.tokens_per_minute * p_safety - p_tokens_each, b.tokens_per_minute / 2.0) / 60;
      usd_s := greatest(b.spend_10min_usd * p_safety - p_usd_each, b.spend_10min_usd / 2) / 600;
      if rpm_s is not null then
        room := lipika_room(b.requests_until, rpm_s, 1, p_horizon, live_workers, at_s);
        if room < n then
          n := room;
          binds := 'rpm';
        end if;
        start_s := greatest(start_s, b.requests_until);
        step_s := greatest(step_s, 1 / nullif(rpm_s, 0));
      end if;
      if tpm_s is not null and p_tokens_each > 0 then
        room := lipika_room(b.tokens_until, tpm_s, p_tokens_each, p_horizon, live_workers, at_s);
        if room < n then
          n := room;
          binds := 'tpm';
        end if;
        start_s := greatest(start_s, b.tokens_until);
        step_s := greatest(step_s, p_tokens_each / nullif(tpm_s, 0));
      end if;
      if usd_s is not null and p_usd_each > 0 then
        room := lipika_room(b.usd_until, usd_s, p_usd_each, p_horizon, live_workers, at_s);
        if room < n then
          n := room;
          binds := 'spend_10min';
        end if;
        start_s := greatest(start_s, b.usd_until);
        step_s := greatest(step_s, p_usd_each / nullif(usd_s, 0));
      end if;
      if n < 1 then
        n := 0;
        retry_in_s := greatest(least(start_s - at_s, p_horizon) / 2, 0.05);
      else
        if rpm_s > 0 then
          b.requests_until := greatest(b.requests_until, at_s) + n / rpm_s;
        end if;
        if tpm_s > 0 and p_tokens_each > 0 then
          b.tokens_until := greatest(b.tokens_until, at_s) + n * p_tokens_each / tpm_s;
        end if;
        if usd_s > 0 and p_usd_each > 0 then
          b.usd_until := greatest(b.usd_until, at_s) + n * p_usd_each / usd_s;
        end if;
      end if;
    end if;
  end if;

  update provider_budgets
  set requests_until = b.requests_until, tokens_until = b.tokens_until, usd_until = b.usd_until
  where provider = p_provider and project = p_project;
  insert into provider_spend as s (provider, project, worker_id, day, usd, reserved_usd, asked_at)
  values (p_provider, p_project, p_worker, today, p_usd_today, p_reserved + n * p_usd_each, at_s)
  on conflict (provider, project, worker_id, day) do update
  set usd = excluded.usd, reserved_usd = excluded.reserved_usd, asked_at = excluded.asked_at;
  -- Money that was reserved yesterday is said again with today's row.
  update provider_spend s set reserved_usd = 0
  where s.provider = p_provider and s.project = p_project and s.worker_id = p_worker and s.day < today
    and s.reserved_usd <> 0;

  unlimited := not b.paused and num_nonnulls(
    b.requests_per_minute, b.tokens_per_minute, b.spend_10min_usd, b.spend_day_usd, b.spend_total_usd
  ) = 0;
  granted := n;
  start_in_s := start_s - at_s;
  return next;
end
$$;

revoke all on function lipika_reserve(
  text, text, text, integer, double precision, double precision, double precision, double precision,
  double precision, double precision, double precision, double precision, double precision, double precision,
  double precision
) from public;
  for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
    execute format('revoke all on function lipika_reserve from %I', grantee);
  end loop;
end
$once$;

create or replace function lipika_affordable(p_left double precision, p_each double precision)
returns integer language sql immutable as $$
  select case
    when p_left <= 0 then 0
    when p_each <= 0 then 1000000000
    else trunc(least(p_left / p_each, 1e9))::integer
  end
$$;

create or replace function lipika_room(
  p_until double precision, p_per_s double precision, p_each double precision, p_horizon double precision,
  p_live integer, p_at double precision
) returns integer language sql immutable as $$
  -- Requests that fit between the cursor and the horizon, and no more than this worker's part of one.
  select case
    when p_per_s <= 0 then 0
    else trunc(least(
      case
        when fit < 1 and p_until <= p_at then 1  -- slower than one a horizon: its time has come
        else greatest(fit, 0)
      end,
      greatest(trunc(p_per_s * p_horizon / p_each / greatest(p_live, 1)), 1),
      1e9
    ))::integer
  end
  from (select (p_at + p_horizon - greatest(p_until, p_at)) * p_per_s / p_each) as r (fit)
$$;

do $$
declare
  grantee text;
begin
  for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
    execute format('revoke all on table provider_spend from %I', grantee);
  end loop;
end
$$;

insert into lipika_migrations (version, name) values ('20261122000300', 'governor') on conflict do nothing;
