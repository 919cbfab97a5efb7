-- Three roles with no more rights than their work takes. Run it as the owner of the tables (on Supabase: `postgres`, in
-- the SQL editor), after each `lipika db migrate`. Running it again changes nothing.
--
--   lipika_worker      works on the queue, by functions that check; writes no table by itself
--   lipika_dashboard   reads everything; may requeue, hold, pause, set budgets, resolve flags and correct clips
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
  writes boolean;
begin
  foreach grantee in array array['lipika_reader', 'lipika_dashboard', 'lipika_worker'] loop
    if not exists (select from pg_roles where rolname = grantee) then
      execute format('create role %I', grantee);
    end if;
    execute format('grant usage on schema public to %I', grantee);
  end loop;

  -- A database from before Postgres 15 lets everybody make things beside ours.
  begin
    revoke create on schema public from public;
  exception when insufficient_privilege then
    raise notice 'the schema public is not ours: see that others may create nothing in it';
  end;

  -- Temporary tables go before ours, and a transaction pooler hands a connection with them to whoever comes next.
  begin
    execute format('revoke temporary on database %I from public', current_database());
  exception when insufficient_privilege then
    raise notice 'the database is not ours: see that lipika_worker may make no temporary tables in it';
  end;

  for wanted in
    select to_regclass('public.' || name) as relation, name, role, rights
    from (values
      -- What a worker reads. It writes by way of functions that check (below), and by nothing else.
      ('video_queue', 'lipika_worker', ''), -- column by column, below
      ('workers', 'lipika_worker', 'select'),
      ('worker_errors', 'lipika_worker', ''),
      ('worker_minutes', 'lipika_worker', ''),
      ('transcription_results', 'lipika_worker', 'select'),
      ('transcription_answers', 'lipika_worker', 'select'),
      ('transcription_voters', 'lipika_worker', 'select'),
      ('transcription_flags', 'lipika_worker', ''),
      ('transcription_batches', 'lipika_worker', ''),
      ('quality_rollup', 'lipika_worker', ''),
      ('provider_spend', 'lipika_worker', 'select'),
      ('provider_budgets', 'lipika_worker', 'select'),
      ('lipika_migrations', 'lipika_worker', 'select'),
      ('calibrations', 'lipika_worker', 'select'),
      ('calibration_turns', 'lipika_worker', ''),
      ('datasets', 'lipika_worker', ''),
      ('saved_filters', 'lipika_worker', ''),
      ('audits', 'lipika_worker', ''),
      ('audit_clips', 'lipika_worker', ''),
      ('audit_judgements', 'lipika_worker', ''),
      ('transcription_edits', 'lipika_worker', ''),
      -- All but who the people are.
      ('edited_clips', 'lipika_worker', 'select (video_id, segment_file, audio_digest, edit_id, word, model)'),
      ('notices', 'lipika_worker', ''),
      ('redos', 'lipika_worker', ''),
      ('redo_clips', 'lipika_worker', ''),
      ('redo_turns', 'lipika_worker', ''),
      ('comparisons', 'lipika_worker', ''),
      ('comparison_clips', 'lipika_worker', ''),
      ('comparison_votes', 'lipika_worker', ''),
      ('erasures', 'lipika_worker', ''),
      ('erasure_targets', 'lipika_worker', ''),
      ('erasure_salt', 'lipika_worker', ''),
      ('erased_audio', 'lipika_worker', ''),
      ('erased_names', 'lipika_worker', ''),
      -- What people do from the board.
      ('video_queue', 'lipika_dashboard',
        'select, update (status, held, priority, attempts, claim_token, lease_expires_at, completed_at, error_code, '
        'error_message)'),
      ('workers', 'lipika_dashboard', 'select, update (drain_requested_at)'),
      ('provider_budgets', 'lipika_dashboard', 'select, insert, update'),
      ('transcription_flags', 'lipika_dashboard', 'select, update (resolved, resolved_at, resolved_by, note)'),
      ('saved_filters', 'lipika_dashboard', 'select, insert, update, delete'),
      -- A worker's panel reads how far the queue is.
      ('queue_counts', 'lipika_worker', 'select'),
      -- Everything, to be read. The dashboard is a reader, too.
      ('video_queue', 'lipika_reader', 'select'),
      ('workers', 'lipika_reader', 'select'),
      ('worker_errors', 'lipika_reader', 'select'),
      ('worker_minutes', 'lipika_reader', 'select'),
      ('transcription_results', 'lipika_reader', 'select'),
      ('transcription_answers', 'lipika_reader', 'select'),
      ('transcription_voters', 'lipika_reader', 'select'),
      ('transcription_flags', 'lipika_reader', 'select'),
      ('transcription_batches', 'lipika_reader', 'select'),
      ('quality_rollup', 'lipika_reader', 'select'),
      ('provider_spend', 'lipika_reader', 'select'),
      ('provider_budgets', 'lipika_reader', 'select'),
      ('lipika_migrations', 'lipika_reader', 'select'),
      ('calibrations', 'lipika_reader', 'select'),
      ('calibration_turns', 'lipika_reader', 'select'),
      ('datasets', 'lipika_reader', 'select'),
      ('saved_filters', 'lipika_reader', 'select'),
      ('audits', 'lipika_reader', 'select'),
      ('audit_clips', 'lipika_reader', 'select'),
      ('audit_judgements', 'lipika_reader', 'select'),
      ('transcription_edits', 'lipika_reader', 'select'),
      ('edited_clips', 'lipika_reader', 'select'),
      ('notices', 'lipika_reader', 'select'),
      ('redos', 'lipika_reader', 'select'),
      ('redo_clips', 'lipika_reader', 'select'),
      ('redo_turns', 'lipika_reader', 'select'),
      ('comparisons', 'lipika_reader', 'select'),
      ('comparison_clips', 'lipika_reader', 'select'),
      ('comparison_votes', 'lipika_reader', 'select'),
      -- What is erased; what its names are digested with is the owner's alone.
      ('erasures', 'lipika_reader', 'select'),
      ('erasure_targets', 'lipika_reader', 'select'),
      ('erased_audio', 'lipika_reader', 'select'),
      ('erased_names', 'lipika_reader', 'select'),
      ('queue_counts', 'lipika_reader', 'select'),
      ('clip_counts', 'lipika_reader', 'select'),
      ('tier_counts', 'lipika_reader', 'select'),
      ('token_counts', 'lipika_reader', 'select'),
      ('way_counts', 'lipika_reader', 'select'),
      ('flag_counts', 'lipika_reader', 'select'),
      ('batch_hours', 'lipika_reader', 'select'),
      ('model_hours', 'lipika_reader', 'select'),
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
    writes := wanted.rights like '%update%';
    execute format('revoke all on %s from %I', wanted.relation, wanted.role);
    if wanted.relation = 'video_queue'::regclass and wanted.role = 'lipika_worker' then
      -- All but the tokens: whoever knows one may write for its video.
      select format('select (%s)', string_agg(quote_ident(attname), ', ' order by attnum)) into wanted.rights
      from pg_attribute
      where attrelid = wanted.relation and attnum > 0 and not attisdropped and attname <> 'claim_token';
    end if;
    if wanted.rights <> '' then
      execute format('grant %s on %s to %I', wanted.rights, wanted.relation, wanted.role);
    end if;
    if (select relkind from pg_class where oid = wanted.relation) in ('r', 'p') then
      execute format('alter table %s enable row level security', wanted.relation);
      execute format('drop policy if exists %I on %s', wanted.role, wanted.relation);
      continue when wanted.rights = '';
      execute format(
        'create policy %I on %s for %s to %I using (true)%s', wanted.role, wanted.relation,
        case when writes then 'all' else 'select' end, wanted.role, case when writes then ' with check (true)' else '' end
      );
    end if;
  end loop;

  -- Functions are nobody's but their owner's, save these. Those that count would count, and run, what they are given.
  for function in
    select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace and proname like 'lipika\_%'
  loop
    execute format('revoke all on function %s from public, lipika_worker, lipika_dashboard, lipika_reader', function);
  end loop;
  for function in
    select oid::regprocedure from pg_proc
    where pronamespace = 'public'::regnamespace and proname = any(array[
      'lipika_claim', 'lipika_renew', 'lipika_start', 'lipika_progress', 'lipika_finish', 'lipika_fail',
      'lipika_release', 'lipika_put_aside', 'lipika_found_language',
      'lipika_write_results', 'lipika_write_clips', 'lipika_write_discards', 'lipika_remove_clips', 'lipika_write_batch',
      'lipika_write_window', 'lipika_keep_answers',
      'lipika_keep_opinions', 'lipika_write_voters', 'lipika_way',
      'lipika_register', 'lipika_heartbeat', 'lipika_live', 'lipika_offline', 'lipika_record_error', 'lipika_reserve',
      'lipika_grant',
      'lipika_calibration_turn', 'lipika_end_calibration', 'lipika_claim_notices', 'lipika_end_notices',
      'lipika_erased_of', 'lipika_erased_videos', 'lipika_erased_audio', 'lipika_erased_since'
    ])
  loop
    execute format('grant execute on function %s to lipika_worker', function);
  end loop;
  -- What people hear of an audit, given to them and written by functions that see to it that nobody hears it twice.
  if to_regprocedure('lipika_take_audit_clips(bigint, text, text[], integer)') is not null then
    grant execute on function lipika_take_audit_clips(bigint, text, text[], integer),
      lipika_judge_audit_clip(bigint, integer, text, boolean, text, real) to lipika_dashboard;
  end if;
  -- Blind votes: who votes is told by a function what to hear, and not which text is whose.
  if to_regprocedure('lipika_vote(bigint, integer, text, text)') is not null then
    grant execute on function lipika_start_comparison(text, text, text, text, bigint, text),
      lipika_add_comparison_clips(bigint, jsonb, text), lipika_take_comparison_clips(bigint, text, text[], integer),
      lipika_vote(bigint, integer, text, text), lipika_take_vote_back(bigint, text) to lipika_dashboard;
  end if;
  -- People's words, written by a function that keeps the history.
  if to_regprocedure('lipika_edit_clip(text, text, text, jsonb, bigint, jsonb)') is not null then
    grant execute on function lipika_edit_clip(text, text, text, jsonb, bigint, jsonb) to lipika_dashboard;
    grant execute on function lipika_clip_version(bigint, text, text) to lipika_reader;
  end if;
  -- Clips to be asked for again: by functions that settle which.
  if to_regprocedure('lipika_order_redo(jsonb, text[], text[])') is not null then
    grant execute on function lipika_order_redo(jsonb, text[], text[]), lipika_drop_redo(bigint) to lipika_dashboard;
  end if;
  -- The board tells people, too: it is there when all workers are dead.
  for function in
    select oid::regprocedure from pg_proc
    where pronamespace = 'public'::regnamespace and proname in ('lipika_claim_notices', 'lipika_end_notices', 'lipika_erased_videos', 'lipika_erased_audio')
  loop
    execute format('grant execute on function %s to lipika_dashboard', function);
  end loop;
  -- An index of the queue calls it for whoever changes a row.
  if to_regprocedure('lipika_object(text)') is not null then
    grant execute on function lipika_object(text) to lipika_worker, lipika_dashboard, lipika_reader;
  end if;
  -- The index of marks calls them for whoever writes results, and the board by name.
  for function in
    select oid::regprocedure from pg_proc
    where pronamespace = 'public'::regnamespace
      and proname = any(array['lipika_clip_marks', 'lipika_clip_place', 'lipika_words'])
  loop
    execute format('grant execute on function %s to lipika_worker, lipika_dashboard, lipika_reader', function);
  end loop;
  -- A view calls it for whoever may read the view.
  grant execute on function lipika_worker_state(workers) to lipika_worker, lipika_reader;

  grant lipika_reader to lipika_dashboard;

  -- A role may set things for itself, such as to be read only from its next login on.
  alter role lipika_worker reset all;
  execute format('alter role lipika_worker in database %I reset all', current_database());
  -- A query that hangs lets go of its connection; the longest of a worker's takes seconds.
  alter role lipika_worker set statement_timeout = '60s';
  alter role lipika_worker set idle_in_transaction_session_timeout = '60s';
  alter role lipika_dashboard set statement_timeout = '30s';
  alter role lipika_reader set statement_timeout = '60s';
end
$$;
