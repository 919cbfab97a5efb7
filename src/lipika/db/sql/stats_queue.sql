-- name: languages
-- From the counters: some hundred rows, however long the queue is.
select language,
  sum(videos)::bigint as videos,
  coalesce(sum(videos) filter (where state = 'pending'), 0)::bigint as pending,
  coalesce(sum(videos) filter (where state = 'held'), 0)::bigint as held,
  coalesce(sum(videos) filter (where state = 'claimed'), 0)::bigint as claimed,
  coalesce(sum(videos) filter (where state = 'processing'), 0)::bigint as processing,
  coalesce(sum(videos) filter (where state = 'done'), 0)::bigint as done,
  coalesce(sum(videos) filter (where state = 'failed'), 0)::bigint as failed,
  sum(segments)::bigint as segments, sum(discarded)::bigint as discarded,
  sum(parts_discarded)::bigint as parts_discarded, sum(clips)::bigint as clips,
  sum(transcribed)::bigint as transcribed, sum(no_speech)::bigint as no_speech,
  sum(queue_counts.failed)::bigint as failed_clips
from queue_counts
group by language
having sum(videos) > 0
order by language

-- name: reasons
select reason, sum(videos)::bigint as videos
from queue_counts
where state = 'failed'
group by reason
having sum(videos) > 0
order by 2 desc, 1

-- name: held
select reason, sum(videos)::bigint as videos
from queue_counts
where state = 'held'
group by reason
having sum(videos) > 0
order by 2 desc, 1

-- name: outlook
-- What is left, and what a video comes to: from the counters, and the clips of the last ten whole minutes.
select
  coalesce(sum(videos) filter (where state in ('pending', 'claimed', 'processing')), 0)::bigint as videos_left,
  coalesce(sum(videos - sized) filter (where state = 'pending'), 0)::bigint as videos_left_unsized,
  coalesce(sum(segments) filter (where state = 'pending'), 0)::bigint as segments_left,
  coalesce(sum(videos) filter (where state in ('claimed', 'processing')), 0)::bigint as videos_at_work,
  coalesce(sum(transcribed + no_speech + failed) filter (where state in ('claimed', 'processing')), 0)::bigint
    as clips_at_work_ended,
  coalesce(sum(videos) filter (where state = 'done'), 0)::bigint as videos_done,
  coalesce(sum(segments) filter (where state = 'done'), 0)::bigint as segments_done,
  coalesce(sum(clips) filter (where state = 'done'), 0)::bigint as clips_done,
  (
    select coalesce(sum(clips), 0)::bigint from worker_minutes
    where minute >= date_trunc('minute', now()) - interval '10 minutes' and minute < date_trunc('minute', now())
  ) as clips_lately,
  (
    select count(distinct minute) from worker_minutes
    where minute >= date_trunc('minute', now()) - interval '10 minutes' and minute < date_trunc('minute', now())
  ) as minutes_lately,
  (
    select coalesce(sum(active_clips), 0)::bigint from workers w
    where status = 'online' and lipika_worker_state(w) in ('live', 'draining')
  ) as clips_last_minute,
  exists (
    select from workers w
    where status = 'online' and lipika_worker_state(w) in ('live', 'draining')
      and greatest(requests_in_flight, active_rpm, active_clips) > 0
  ) as sending,
  (
    select coalesce(sum(usd), 0)::double precision from worker_minutes
    where minute >= date_trunc('minute', now()) - interval '10 minutes' and minute < date_trunc('minute', now())
  ) as usd_lately,
  max(day.usd_day_cap) as usd_day_cap,
  coalesce(max(day.usd_day_left), 0) as usd_day_left,
  extract(epoch from now() at time zone 'utc' - date_trunc('day', now() at time zone 'utc'))::double precision
    as second_of_day
from queue_counts, (
  -- Of the providers that cost something today or yesterday, if each of them has a cap; and of all together. The lesser
  -- of two caps, where there are both: `least` passes over what is null.
  select least(own.cap, whole.cap) as usd_day_cap,
    least(case when own.cap is not null then own.usd_left end, whole.usd_left) as usd_day_left
  from (
    select case when bool_and(b.spend_day_usd is not null) then sum(b.spend_day_usd) end::double precision as cap,
      sum(greatest(b.spend_day_usd - spent.usd_today, 0))::double precision as usd_left
    from (
      select provider, project, coalesce(sum(usd) filter (where day = (now() at time zone 'utc')::date), 0) as usd_today
      from provider_spend
      where day >= (now() at time zone 'utc')::date - 1
      group by provider, project
      having sum(usd) > 0
    ) spent
    left join provider_budgets b using (provider, project)
  ) own
  left join (
    select b.spend_day_usd as cap, greatest(b.spend_day_usd - (
      select coalesce(sum(usd), 0) from provider_spend
      where provider <> 'simulator' and day = (now() at time zone 'utc')::date
    ), 0) as usd_left
    from provider_budgets b
    where b.provider = 'all' and b.project = '' and b.spend_day_usd is not null
  ) whole on true
) day

-- name: slowest
-- Videos that are held the longest. The index on claimed_by holds active videos only: some ten thousand at most.
select video_id, status, language, claimed_by, claimed_at, lease_expires_at,
  lease_expires_at < now() as expired,
  extract(epoch from now() - claimed_at)::double precision as held_s,
  attempts, max_attempts, segment_count, clip_count,
  segments_transcribed + segments_no_speech + segments_failed as clips_ended
from video_queue
where status in ('claimed', 'processing')
  and (%(after_at)s::timestamptz is null or (claimed_at, video_id) > (%(after_at)s::timestamptz, %(after_id)s::text))
order by claimed_at, video_id
limit %(limit)s

-- name: failed
-- One page by id, of all reasons or of one.
select video_id, language, claimed_by, claimed_at, attempts, max_attempts, segment_count, clip_count,
  segments_transcribed + segments_no_speech + segments_failed as clips_ended, error_code, error_message
from video_queue
where status = 'failed' and video_id > %(after)s
  and (%(reason)s::text is null or error_code = %(reason)s)
order by video_id
limit %(limit)s

-- name: nothing_left
-- Done videos without a transcript; an index holds them and no others.
select count(*)::bigint as videos
from video_queue
where nothing_left

-- name: list_held
-- Videos that nobody may claim; an index holds them and no others.
select video_id, status, held, priority, language, language_from, source_key, output_key, claimed_by, lease_expires_at, attempts,
  max_attempts, segment_count, clip_count, segments_transcribed, error_code, error_message, created_at, completed_at
from video_queue
where status = 'pending' and held and video_id > %(after)s
order by video_id
limit %(limit)s

-- name: search
-- Videos with a piece of their id: one pass over the primary key, which is all that is read (0.1 s for a million of them). The
-- rows are looked up by key afterwards.
select video_id, status, held, priority, language, language_from, source_key, output_key, claimed_by, lease_expires_at, attempts,
  max_attempts, segment_count, clip_count, segments_transcribed, error_code, error_message, created_at, completed_at
from video_queue
where video_id = any(array(
  select video_id from video_queue where video_id like %(pattern)s order by video_id limit %(limit)s
))
order by video_id
