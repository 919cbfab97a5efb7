-- An exception that may have been written already, because the answer to its statement was lost: written once. The function
-- without `p_again` stays beside it, for workers that were started before the upgrade. Idempotent.

create or replace function lipika_record_error(
  p_worker_id text, p_key text, p_video_id text, p_exception_type text, p_message text, p_traceback text,
  p_summary text, p_again boolean
) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  if not lipika_is_worker(p_worker_id, p_key) then
    return false;
  end if;
  if p_again and exists (
    select from worker_errors
    where worker_id = p_worker_id and video_id is not distinct from p_video_id
      and exception_type = p_exception_type and message = p_message and traceback = p_traceback
  ) then
    return true;
  end if;
  return lipika_record_error(p_worker_id, p_key, p_video_id, p_exception_type, p_message, p_traceback, p_summary);
end
$$;

do $$
declare
  grantee text;
  written constant text := 'lipika_record_error(text, text, text, text, text, text, text, boolean)';
begin
  execute format('revoke all on function %s from public', written);
  for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
    execute format('revoke all on function %s from %I', written, grantee);
  end loop;
  -- Whose workers may call the one may call the other; roles.sql need not be run again for it.
  if exists (select from pg_roles where rolname = 'lipika_worker') and has_function_privilege(
    'lipika_worker', 'lipika_record_error(text, text, text, text, text, text, text)', 'execute'
  ) then
    execute format('grant execute on function %s to lipika_worker', written);
  end if;
end
$$;

insert into lipika_migrations (version, name) values ('20261129000200', 'error_once') on conflict do nothing;
