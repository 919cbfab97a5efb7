-- Three roles with no more rights than their work takes. Run it as the owner of the tables (on Supabase: `postgres`, in
-- the SQL editor), after each `lipika db migrate`. Running it again changes nothing.
--
--   lipika_worker      works on the queue; may not fill it, nor raise a budget
--   lipika_dashboard   reads everything; may requeue, hold, pause, set budgets and resolve flags
--   lipika_reader      reads everything
--
-- Row level security is on for every table. Roles other than the owner see no row without a policy, so each gets one
-- for each table that it may use: that needs neither a superuser nor BYPASSRLS. No role can log in before it has a
-- password:   alter role lipika_worker with login password '...';

do $$
declare
  wanted record;
  grantee text;
  function regprocedure;
begin
  foreach grantee in array array['lipika_reader', 'lipika_dashboard', 'lipika_worker'] loop
    if not exists (select from pg_roles where rolname = grantee) then
      execute format('create role %I', grantee);
    end if;
    execute format('grant usage on schema public to %I', grantee);
  end loop;

  for wanted in
    select to_regclass('public.' || name) as relation, name, role, rights
    from (values
      -- What a worker writes. Attempts, leases and sums of the queue, but no new videos.
      ('video_queue', 'lipika_worker', 'select, update'),
      ('workers', 'lipika_worker', 'select, insert, update'),
      ('worker_errors', 'lipika_worker', 'select, insert'),
      ('worker_minutes', 'lipika_worker', 'select, insert, update, delete'),
      ('transcription_results', 'lipika_worker', 'select, insert, update, delete'),
      ('transcription_flags', 'lipika_worker', 'select, insert, update, delete'),
      ('transcription_batches', 'lipika_worker', 'select, insert, update'),
      ('quality_rollup', 'lipika_worker', 'select, insert, update'),
      ('provider_spend', 'lipika_worker', 'select, insert, update'),
      -- Of the budgets only the cursors that reserving moves: the limits are not a worker's to change.
      ('provider_budgets', 'lipika_worker',
        'select, insert (provider, project), update (requests_until, tokens_until, usd_until)'),
      ('lipika_migrations', 'lipika_worker', 'select'),
      -- What people do from the board.
      ('video_queue', 'lipika_dashboard', 'select, update'),
      ('workers', 'lipika_dashboard', 'select, update'),
      ('provider_budgets', 'lipika_dashboard', 'select, insert, update'),
      ('transcription_flags', 'lipika_dashboard', 'select, update'),
      -- Sums are kept by triggers with the owner's rights; a worker's panel reads how far the queue is.
      ('queue_counts', 'lipika_worker', 'select'),
      -- Everything, to be read. The dashboard is a reader, too.
      ('video_queue', 'lipika_reader', 'select'),
      ('workers', 'lipika_reader', 'select'),
      ('worker_errors', 'lipika_reader', 'select'),
      ('worker_minutes', 'lipika_reader', 'select'),
      ('transcription_results', 'lipika_reader', 'select'),
      ('transcription_flags', 'lipika_reader', 'select'),
      ('transcription_batches', 'lipika_reader', 'select'),
      ('quality_rollup', 'lipika_reader', 'select'),
      ('provider_spend', 'lipika_reader', 'select'),
      ('provider_budgets', 'lipika_reader', 'select'),
      ('lipika_migrations', 'lipika_reader', 'select'),
      ('queue_counts', 'lipika_reader', 'select'),
      ('clip_counts', 'lipika_reader', 'select'),
      ('flag_counts', 'lipika_reader', 'select'),
      ('batch_hours', 'lipika_reader', 'select'),
      ('batch_minutes', 'lipika_reader', 'select'),
      ('canary_runs', 'lipika_reader', 'select'),
      ('canary_clips', 'lipika_reader', 'select'),
      ('fleet_live', 'lipika_reader', 'select'),
      ('queue_progress', 'lipika_reader', 'select'),
      ('throughput_by_minute', 'lipika_reader', 'select'),
      ('quality_by_language', 'lipika_reader', 'select'),
      ('spend_by_day', 'lipika_reader', 'select')
    ) as w (name, role, rights)
    where to_regclass('public.' || name) is not null -- of a later migration
  loop
    execute format('revoke all on %s from %I', wanted.relation, wanted.role);
    execute format('grant %s on %s to %I', wanted.rights, wanted.relation, wanted.role);
    if (select relkind from pg_class where oid = wanted.relation) in ('r', 'p') then
      execute format('alter table %s enable row level security', wanted.relation);
      execute format('drop policy if exists %I on %s', wanted.role, wanted.relation);
      execute format(
        'create policy %I on %s for %s to %I using (true)%s',
        wanted.role, wanted.relation, case wanted.rights when 'select' then 'select' else 'all' end, wanted.role,
        case wanted.rights when 'select' then '' else ' with check (true)' end
      );
    end if;
  end loop;

  -- Public has been refused these; reserving takes a worker's rights.
  for function in
    select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace and proname like 'lipika\_%'
  loop
    execute format('grant execute on function %s to lipika_worker, lipika_dashboard, lipika_reader', function);
  end loop;

  grant lipika_reader to lipika_dashboard;

  -- A query that hangs lets go of its connection; the longest of a worker's takes seconds.
  alter role lipika_worker set statement_timeout = '60s';
  alter role lipika_worker set idle_in_transaction_session_timeout = '60s';
  alter role lipika_dashboard set statement_timeout = '30s';
  alter role lipika_reader set statement_timeout = '60s';
end
$$;
