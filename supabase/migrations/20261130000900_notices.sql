-- What a person is told of while nobody watches: each event once, by whichever worker or board sees it first. Idempotent.

-- A table of somebody else under this name is left alone, and so is everything else.
do $$
begin
  if to_regclass('notices') is not null and exists (
    select from unnest(array['event', 'message', 'claimed_at', 'told_at']) as wanted
    where not exists (
      select from pg_attribute a
      where a.attrelid = to_regclass('notices') and a.attname = wanted and not a.attisdropped and a.attnum > 0
    )
  ) then
    raise duplicate_table using
      message = 'notices is not a table of lipika: it lacks some of event, message, claimed_at, told_at',
      hint = 'Give lipika a database of its own, or rename that table.';
  end if;
end
$$;

create table if not exists notices (
  event      text primary key,
  message    text not null,
  claimed_at timestamptz not null default now(),
  told_at    timestamptz
);
comment on table notices is 'Events of which a person was told by NOTIFY_URL, each once.';
comment on column notices.event is 'Kind, and what makes this one another than the last: cap:..., park:..., dead:..., end:...';
comment on column notices.claimed_at is 'Since when somebody is about to tell it; after two minutes another may.';
alter table notices enable row level security;

-- ------------------------------------------------------------------------------------------------ functions

-- Events of now, told or not: caps that are reached, providers that are parked or closed, workers that have fallen
-- silent without a word, a queue that is done. Counters, a few hundred rows of workers, and the last errors by id.
create or replace function lipika_events() returns table (event text, message text)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  with spent as (
    select b.provider, b.project, b.spend_total_usd, b.spend_day_usd,
      coalesce(sum(s.usd), 0) as total,
      coalesce(sum(s.usd) filter (where s.day = (now() at time zone 'utc')::date), 0) as today
    from provider_budgets b
    left join provider_spend s on case b.provider
      when 'all' then s.provider <> 'simulator' else s.provider = b.provider and s.project = b.project
    end
    where num_nonnulls(b.spend_total_usd, b.spend_day_usd) > 0
    group by b.provider, b.project, b.spend_total_usd, b.spend_day_usd
  ), named as (
    select *, case when project = '' then provider else provider || ' (' || project || ')' end as name from spent
  )
  select 'cap:total:' || provider || ':' || project || ':' || spend_total_usd,
    format(
      'The cap on dollars in all of %s is reached: $%s of $%s are spent. Nothing more is sent to it until somebody'
      ' raises it: lipika budget set',
      name, round(total::numeric, 2), round(spend_total_usd::numeric, 2)
    )
  from named where total >= 0.98 * spend_total_usd
  union all
  select 'cap:day:' || provider || ':' || project || ':' || spend_day_usd || ':' || (now() at time zone 'utc')::date,
    format(
      'The day''s cap of %s is reached: $%s of $%s are spent. It goes on at midnight UTC', name,
      round(today::numeric, 2), round(spend_day_usd::numeric, 2)
    )
  from named where today >= 0.98 * spend_day_usd
  union all
  select distinct on (1)
    'park:' || e.exception_type || ':' || split_part(e.message, ' ', 1) || ':'
      || to_char(date_trunc('hour', e.occurred_at at time zone 'utc'), 'YYYY-MM-DD HH24'),
    left(e.message, 500) || ' (worker ' || e.worker_id || ')'
  from (select * from worker_errors order by id desc limit 200) e
  where e.exception_type in ('Alert:provider_parked', 'Alert:provider_closed')
    and e.occurred_at > now() - interval '10 minutes'
  union all
  select 'dead:' || w.worker_id,
    format(
      'Worker %s has been silent for %s s without a word of farewell%s. What it held goes on elsewhere once its leases'
      ' have run out', w.worker_id, round(extract(epoch from now() - greatest(w.last_heartbeat_at, w.live_at))),
      coalesce('; videos that it held: ' || nullif(held.videos, 0), '')
    )
  from workers w
  cross join lateral (
    select count(*) as videos from video_queue q
    where q.claimed_by = w.worker_id and q.status in ('claimed', 'processing')
  ) held
  where w.status = 'online'
    and greatest(w.last_heartbeat_at, w.live_at) between now() - interval '1 day' and now() - interval '60 seconds'
  union all
  select 'end:' || sum(videos) filter (where state = 'done') || ':'
      || coalesce(sum(videos) filter (where state = 'failed'), 0) || ':'
      || coalesce(sum(videos) filter (where state = 'held'), 0),
    format(
      'The queue has nothing left to do: %s videos done, %s failed, %s held', sum(videos) filter (where state = 'done'),
      coalesce(sum(videos) filter (where state = 'failed'), 0), coalesce(sum(videos) filter (where state = 'held'), 0)
    )
  from queue_counts
  where exists (select from workers where greatest(last_heartbeat_at, live_at) > now() - interval '10 minutes')
  having coalesce(sum(videos) filter (where state in ('pending', 'claimed', 'processing')), 0) = 0
    and sum(videos) filter (where state = 'done') > 0
$$;

-- The events that nobody has told yet; they are the caller's to tell within two minutes.
create or replace function lipika_claim_notices(p_worker_id text, p_key text)
returns table (event text, message text)
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
begin
  if not lipika_is_worker(p_worker_id, p_key) then
    return;
  end if;
  return query
  insert into notices as known (event, message)
  select e.event, e.message from lipika_events() e
  where not exists (
    select from notices n
    where n.event = e.event and (n.told_at is not null or n.claimed_at > now() - interval '2 minutes')
  )
  on conflict (event) do update set message = excluded.message, claimed_at = now()
  where known.told_at is null and known.claimed_at <= now() - interval '2 minutes'
  returning known.event, known.message;
end
$$;

-- That events have been told, or could not be: then they are anybody's again.
create or replace function lipika_end_notices(p_worker_id text, p_key text, p_events text[], p_told boolean) returns void
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  if not lipika_is_worker(p_worker_id, p_key) then
    return;
  end if;
  if p_told then
    update notices set told_at = now() where event = any(p_events);
  else
    delete from notices where event = any(p_events) and told_at is null;
  end if;
end
$$;

-- ------------------------------------------------------------------------------------------------ rights

do $$
declare
  thing text;
  grantee text;
begin
  foreach thing in array array[
    'table notices', 'function lipika_events()', 'function lipika_claim_notices(text, text)',
    'function lipika_end_notices(text, text, text[], boolean)'
  ] loop
    execute format('revoke all on %s from public', thing);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on %s from %I', thing, grantee);
    end loop;
  end loop;
end
$$;

-- Who may work may tell; roles.sql need not be run again before the next start of a worker.
do $$
declare
  grantee text;
begin
  for grantee in
    select rolname from pg_roles where rolname in ('lipika_worker', 'lipika_dashboard')
      and has_table_privilege(rolname, 'transcription_results', 'select')
  loop
    execute format('grant execute on function lipika_claim_notices(text, text) to %I', grantee);
    execute format('grant execute on function lipika_end_notices(text, text, text[], boolean) to %I', grantee);
  end loop;
  if exists (select from pg_roles where rolname = 'lipika_reader')
    and has_table_privilege('lipika_reader', 'transcription_results', 'select') then
    grant select on notices to lipika_reader;
    if not exists (select from pg_policy where polrelid = 'notices'::regclass and polname = 'lipika_reader') then
      create policy lipika_reader on notices for select to lipika_reader using (true);
    end if;
  end if;
end
$$;

insert into lipika_migrations (version, name) values ('20261130000900', 'notices') on conflict do nothing;
