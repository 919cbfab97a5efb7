-- A budget over all providers: the row `all` of provider_budgets, of whose limits those on dollars and the pause hold.
-- Idempotent.

create or replace function lipika_grant(
  p_key text,
  p_provider text,
  p_project text,
  p_worker text,
  p_wanted integer,
  p_tokens_each double precision,
  p_usd_each double precision,
  p_usd_most double precision,
  p_tokens_over double precision,
  p_usd_over double precision,
  p_usd_today double precision,
  p_reserved double precision,
  p_horizon double precision,
  p_safety double precision,
  p_fresh double precision,
  p_lease double precision,
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
) language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
-- As lipika_reserve, which stays for workers that were started before the upgrade, under what all providers together may
-- cost; the same arithmetic as grant_within of lipika.forecast.budget, which a test holds against it. The row `all` is
-- locked before the provider's, and only where it limits anything. Dollars that a simulator makes up are held against
-- each other, and not against real ones.
declare
  c_ahead_s constant double precision := 1200;  -- as in lipika_reserve
  a provider_budgets;
  at_s double precision := coalesce(p_at, extract(epoch from clock_timestamp()));
  today date := (to_timestamp(at_s) at time zone 'utc')::date;
  held boolean;
  spent_total double precision;
  spent_today double precision;
  reserved double precision;
  own_today double precision;
  live_overall integer;
  usd_s double precision;
  n integer := greatest(p_wanted, 0);
  room integer;
  whole_binds text := '';
  whole_retry_s double precision := 0;
begin
  if p_provider = 'all' then
    raise check_violation using message = 'all providers together are none that is asked';
  end if;
  select * into a from provider_budgets where provider = 'all' and project = '';
  held := found and (a.paused or num_nonnulls(a.spend_10min_usd, a.spend_day_usd, a.spend_total_usd) > 0);
  if not held then
    return query select * from lipika_reserve(
      p_key, p_provider, p_project, p_worker, p_wanted, p_tokens_each, p_usd_each, p_usd_most, p_tokens_over, p_usd_over,
      p_usd_today, p_reserved, p_horizon, p_safety, p_fresh, p_lease, p_at
    );
    return;
  end if;

  perform set_config('synchronous_commit', 'off', true);  -- as in lipika_reserve
  select * into a from provider_budgets where provider = 'all' and project = '' for update;
  usd_s := greatest(a.spend_10min_usd * p_safety, a.spend_10min_usd / 2) / 600;
  if usd_s > 0 then
    a.usd_until := least(a.usd_until + p_usd_over / usd_s, greatest(a.usd_until, at_s + c_ahead_s));
  end if;
  usd_s := greatest(a.spend_10min_usd * p_safety - p_usd_each, a.spend_10min_usd / 2) / 600;
  if a.paused then
    n := 0;
    whole_binds := 'paused';
    whole_retry_s := 1;
  elsif n > 0 then
    select coalesce(sum(s.usd), 0), coalesce(sum(s.usd) filter (where s.day = today), 0),
      coalesce(sum(s.reserved_usd) filter (where s.asked_at > at_s - p_lease), 0),
      1 + count(distinct s.worker_id) filter (where s.asked_at > at_s - p_fresh and s.worker_id <> p_worker)
    into spent_total, spent_today, reserved, live_overall
    from provider_spend s
    where (s.provider = 'simulator') = (p_provider = 'simulator')
      and not (s.provider = p_provider and s.project = p_project and s.worker_id = p_worker and s.day = today);
    select greatest(p_usd_today, max(s.usd)) into own_today
    from provider_spend s
    where s.provider = p_provider and s.project = p_project and s.worker_id = p_worker and s.day = today;
    spent_total := spent_total + own_today;
    spent_today := spent_today + own_today;
    reserved := reserved + p_reserved;
    if a.spend_total_usd is not null then
      room := lipika_affordable(a.spend_total_usd, spent_total, reserved, p_usd_each, p_usd_most);
      if room < n then
        n := room;
        whole_binds := 'all_total';
      end if;
    end if;
    if a.spend_day_usd is not null then
      room := lipika_affordable(a.spend_day_usd, spent_today, reserved, p_usd_each, p_usd_most);
      if room < n then
        n := room;
        whole_binds := 'all_day';
      end if;
    end if;
    if n = 0 then
      whole_retry_s := case when reserved > 1e-7 then 0.5 else 5 end;
    elsif usd_s is not null and p_usd_each > 0 then
      room := lipika_room(a.usd_until, usd_s, p_usd_each, p_horizon, live_overall, at_s);
      if room < n then
        n := room;
        whole_binds := 'all_10min';
      end if;
      if n < 1 then
        n := 0;
        whole_retry_s := greatest(least(a.usd_until - at_s, p_horizon) / 2, 0.05);
      end if;
    end if;
  end if;

  select * into granted, start_in_s, step_s, binds, retry_in_s, live_workers, pause_reason, unlimited
  from lipika_reserve(
    p_key, p_provider, p_project, p_worker, n, p_tokens_each, p_usd_each, p_usd_most, p_tokens_over, p_usd_over,
    p_usd_today, p_reserved, p_horizon, p_safety, p_fresh, p_lease, at_s
  );
  if granted = n and whole_binds <> '' then
    binds := whole_binds;
    pause_reason := case when whole_binds = 'paused' then a.pause_reason end;
    retry_in_s := greatest(retry_in_s, whole_retry_s);
  end if;
  unlimited := false;
  if a.spend_10min_usd is not null then
    if granted > 0 and usd_s > 0 and p_usd_each > 0 then
      start_in_s := greatest(start_in_s, a.usd_until - at_s);
      step_s := greatest(step_s, p_usd_each / usd_s);
      a.usd_until := greatest(a.usd_until, at_s) + granted * p_usd_each / usd_s;
    end if;
    update provider_budgets
    set usd_until = a.usd_until
    where provider = 'all' and project = '';
  end if;
  return next;
end
$$;

do $$
declare
  this constant text := 'function lipika_grant(text, text, text, text, integer, double precision, double precision, '
    'double precision, double precision, double precision, double precision, double precision, double precision, '
    'double precision, double precision, double precision, double precision)';
  grantee text;
begin
  execute format('revoke all on %s from public', this);
  for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
    execute format('revoke all on %s from %I', this, grantee);
  end loop;
  -- Whose workers may ask the ledger may ask it in this way; roles.sql need not be run again for it.
  if exists (select from pg_roles where rolname = 'lipika_worker') and has_function_privilege(
    'lipika_worker', replace(substr(this, 10), 'lipika_grant', 'lipika_reserve'), 'execute'
  ) then
    execute format('grant execute on %s to lipika_worker', this);
  end if;
end
$$;

insert into lipika_migrations (version, name) values ('20261130000100', 'cap_over_all') on conflict do nothing;
