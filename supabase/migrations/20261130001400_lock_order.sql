-- The queue's rows are locked in the order of their names, by whoever writes many of them: a worker renews its leases and
-- counts its videos on two connections, and each of two statements held a row that the other waited for. Idempotent.

create or replace function lipika_renew(p_claim_tokens uuid[], p_lease_seconds double precision) returns setof text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan
set enable_seqscan = off as $$
#variable_conflict use_column
begin
  if (p_lease_seconds between 0 and 86400) is not true then
    raise check_violation using message = 'a lease is for a day at most';
  end if;
  return query
  with mine as materialized (
    select video_id from video_queue
    where claim_token = any(p_claim_tokens) and status in ('claimed', 'processing')
    order by video_id
    for no key update
  )
  update video_queue
  set lease_expires_at = now() + make_interval(secs => p_lease_seconds)
  from mine
  where video_queue.video_id = mine.video_id
  returning video_queue.video_id;
end
$$;

create or replace function lipika_progress(p_videos jsonb) returns setof text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
begin
  return query
  with n as materialized (
    select * from jsonb_to_recordset(p_videos) as n (
      video_id text, claim_token uuid, segments int, segments_polished int, segments_discarded int,
      parts_discarded int, clips int, transcribed int, no_speech int, failed int, discard_reasons jsonb
    )
  ), mine as materialized (
    select q.video_id from video_queue q join n using (video_id)
    where q.claim_token = n.claim_token and q.status in ('claimed', 'processing')
    order by q.video_id
    for no key update of q
  )
  update video_queue q
  set segment_count = n.segments, segments_polished = n.segments_polished,
    segments_discarded = n.segments_discarded, parts_discarded = n.parts_discarded, clip_count = n.clips,
    segments_transcribed = n.transcribed, segments_no_speech = n.no_speech, segments_failed = n.failed,
    discard_reasons = n.discard_reasons
  from mine join n using (video_id)
  where q.video_id = mine.video_id
  returning q.video_id;
end
$$;

insert into lipika_migrations (version, name) values ('20261130001400', 'lock_order') on conflict do nothing;
