-- What was paid for is not paid for again unasked: a worker holds such a video until a person has decided. And where a
-- video's language hint comes from, since a default gives way to what the archive itself says. Idempotent.

alter table video_queue add column if not exists language_from text
  check (language_from in ('forced', 'row', 'archive', 'default'));
comment on column video_queue.language_from is
  'Who gave the language: forced (a person, whatever else says) | row (a list or table; so is null) | archive (its own '
  'metadata, written back by a worker) | default (a person, where neither says). The last two give way to the archive.';

-- Nothing is wrong with the video, and nothing is done with it until a person has decided; the attempt is given back.
create or replace function lipika_put_aside(
  p_video_id text, p_claim_token uuid, p_error_code text, p_error_message text
) returns setof text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
begin
  return query
  update video_queue
  set status = 'pending', held = true, claim_token = null, lease_expires_at = null,
    attempts = greatest(attempts - 1, 0), error_code = p_error_code, error_message = p_error_message
  where video_id = p_video_id and claim_token = p_claim_token and status in ('claimed', 'processing')
  returning video_id;
end
$$;

-- What the archive says of itself, so that everybody who looks at the queue knows it, too. A person's word stands.
create or replace function lipika_found_language(p_video_id text, p_claim_token uuid, p_language text) returns setof text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
begin
  if (length(p_language) between 1 and 16) is not true then
    raise check_violation using message = 'a language is a code of its registry';
  end if;
  return query
  update video_queue
  set language = case when language is null or language_from in ('archive', 'default') then p_language else language end,
    language_from = case when language is null or language_from in ('archive', 'default') then 'archive' else language_from end
  where video_id = p_video_id and claim_token = p_claim_token and status in ('claimed', 'processing')
  returning video_id;
  if found then -- flags go by their video's language
    update transcription_flags f set language = q.language
    from video_queue q
    where q.video_id = p_video_id and f.video_id = p_video_id and f.language is distinct from q.language;
  end if;
end
$$;

do $$
declare
  function regprocedure;
  grantee text;
begin
  for function in
    select oid::regprocedure from pg_proc
    where pronamespace = 'public'::regnamespace and proname in ('lipika_put_aside', 'lipika_found_language')
  loop
    execute format('revoke all on function %s from public', function);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on function %s from %I', function, grantee);
    end loop;
  end loop;
end
$$;

insert into lipika_migrations (version, name) values ('20261128000800', 'paid_once') on conflict do nothing;
