-- name: add
-- Adding again changes nothing; what is there already is compared, so that a moved archive is noticed. The outer
-- select sees the table as it was before the insert. Its lateral limit keeps the planner to one look-up by key for
-- each row: a hash join would read the whole queue for every few thousand rows of a million.
with given as (
  select *
  from unnest(
    %(video_ids)s::text[], %(source_keys)s::text[], %(output_keys)s::text[], %(languages)s::text[],
    %(priorities)s::int[], %(segment_counts)s::int[], %(source_bytes)s::bigint[]
  ) with ordinality as g (
    video_id, source_key, output_key, language, priority, segment_count, source_bytes, place
  )
), added as (
  insert into video_queue (
    video_id, source_key, output_key, language, priority, segment_count, source_bytes, max_attempts
  )
  select video_id, source_key, output_key, language, priority, segment_count, source_bytes, %(max_attempts)s
  from given
  order by place
  on conflict (video_id) do nothing
  returning video_id
)
select
  (select count(*) from added) as added,
  coalesce(array_agg(g.video_id order by g.place), '{}') as conflicts
from given g
left join added a using (video_id)
cross join lateral (
  select source_key, output_key from video_queue where video_id = g.video_id limit 1
) q
where a.video_id is null and (q.source_key, q.output_key) is distinct from (g.source_key, g.output_key)

-- name: claim
-- One statement, so that no two workers meet: expired leases and the front of the queue are locked with SKIP LOCKED,
-- an attempt is charged before any work is done, and what has none left is failed by whoever comes across it.
-- A crash charges all videos of its worker. So that the guilty one does not take the others along, a video's last
-- attempt after a crash is made alone: by a worker with empty hands, one at a time.
with expired as materialized (
  select video_id, attempts, max_attempts, priority, arrival, source_bytes from video_queue
  where status in ('claimed', 'processing') and lease_expires_at < now() and not held
    and (%(only)s::text[] is null or video_id = any(%(only)s))
    and (%(alone)s or attempts = 0 or attempts <> max_attempts - 1)
  limit %(limit)s
  for update skip locked
), waiting as materialized (
  select video_id, attempts, max_attempts, priority, arrival, source_bytes from video_queue
  where status = 'pending' and not held
    and (%(only)s::text[] is null or video_id = any(%(only)s))
    and (%(alone)s or attempts = 0 or attempts <> max_attempts - 1)
  order by priority desc, arrival
  limit %(limit)s
  for update skip locked
), candidate as (
  select video_id, attempts >= max_attempts as exhausted, last_chance,
    row_number() over front as place,
    first_value(last_chance) over front as led_by_last_chance,
    sum(coalesce(source_bytes, 0)) over front as bytes_so_far
  from (
    select *, attempts > 0 and attempts = max_attempts - 1 as last_chance
    from (select * from expired union all select * from waiting) locked
  ) known
  window front as (partition by attempts >= max_attempts order by last_chance, priority desc, arrival)
), given_up as (
  update video_queue q
  set status = 'failed', claim_token = null, lease_expires_at = null, error_code = 'attempts_exhausted',
    error_message = concat(
      'gave up after ', q.attempts, ' attempts',
      '; worker ' || q.claimed_by || ' had it last and stopped renewing its lease',
      '; error before that: ' || q.error_message
    )
  from candidate c
  where q.video_id = c.video_id and c.exhausted
), claimed as (
  update video_queue q
  set status = 'claimed', claimed_by = %(worker_id)s, claim_token = gen_random_uuid(), claimed_at = now(),
    lease_expires_at = now() + make_interval(secs => %(lease_seconds)s), attempts = q.attempts + 1
  from candidate c
  where q.video_id = c.video_id and not c.exhausted and c.place <= %(limit)s
    and (c.place = 1 or not c.last_chance and not c.led_by_last_chance)
    and (c.place = 1 or %(max_bytes)s::bigint is null or c.bytes_so_far <= %(max_bytes)s)
  returning q.*, c.last_chance
)
select video_id, claim_token::text, source_key, output_key, language, attempts as attempt, source_bytes,
  last_chance as alone
from claimed
order by priority desc, arrival

-- name: extend
-- All leases of a worker at once; what does not come back has been lost to another.
update video_queue
set lease_expires_at = now() + make_interval(secs => %(lease_seconds)s)
where claimed_by = %(worker_id)s and status in ('claimed', 'processing')
returning video_id

-- name: start
update video_queue set status = 'processing'
where video_id = %(video_id)s and claim_token = %(claim_token)s::uuid and status in ('claimed', 'processing')

-- name: progress
-- The counters of any number of videos; those that are no longer the caller's are passed over. Touches no indexed
-- column: a heap-only update, as often as one likes.
update video_queue q
set segment_count = n.segments, segments_polished = n.segments_polished,
  segments_discarded = n.segments_discarded, parts_discarded = n.parts_discarded, clip_count = n.clips,
  segments_transcribed = n.transcribed, segments_no_speech = n.no_speech, segments_failed = n.failed,
  discard_reasons = n.discard_reasons
from jsonb_to_recordset(%(videos)s::jsonb) as n (
  video_id text, claim_token uuid, segments int, segments_polished int, segments_discarded int, parts_discarded int,
  clips int, transcribed int, no_speech int, failed int, discard_reasons jsonb
)
where q.video_id = n.video_id and q.claim_token = n.claim_token and q.status in ('claimed', 'processing')

-- name: finish
-- The token outlives the claim, so that a repeat after a lost reply finds its own work and not a lost lease.
update video_queue
set status = 'done', lease_expires_at = null, completed_at = coalesce(completed_at, now()),
  error_code = null, error_message = null,
  output_bytes = %(output_bytes)s, output_digest = %(output_digest)s,
  segment_count = %(segments)s, segments_polished = %(segments_polished)s,
  segments_discarded = %(segments_discarded)s, parts_discarded = %(parts_discarded)s, clip_count = %(clips)s,
  segments_transcribed = %(transcribed)s, segments_no_speech = %(no_speech)s, segments_failed = %(failed)s,
  discard_reasons = %(discard_reasons)s::jsonb
where video_id = %(video_id)s and claim_token = %(claim_token)s::uuid and status in ('claimed', 'processing', 'done')

-- name: fail
-- The attempt stays charged; with attempts left and a cause that may pass, the video waits for the next claim.
update video_queue
set status = case when %(retry)s and attempts < max_attempts then 'pending' else 'failed' end,
  claim_token = null, lease_expires_at = null, error_code = %(error_code)s, error_message = %(error_message)s
where video_id = %(video_id)s and claim_token = %(claim_token)s::uuid and status in ('claimed', 'processing')
returning status

-- name: release
-- A graceful end is no failed attempt: it is given back.
update video_queue
set status = 'pending', claim_token = null, lease_expires_at = null, attempts = greatest(attempts - 1, 0)
where video_id = %(video_id)s and claim_token = %(claim_token)s::uuid and status in ('claimed', 'processing')

-- name: take_back
-- For a person who knows that the worker is gone; whatever it may still send is refused, since its token is.
update video_queue
set status = 'pending', claim_token = null, lease_expires_at = null, attempts = greatest(attempts - 1, 0)
where video_id = any(%(video_ids)s) and status in ('claimed', 'processing')

-- name: requeue
-- Starts over with all attempts; counters are written anew by the next worker.
update video_queue
set status = 'pending', attempts = 0, claim_token = null, completed_at = null, error_code = null, error_message = null
where (%(video_ids)s::text[] is null or video_id = any(%(video_ids)s))
  and (status = 'failed' or (%(also_done)s and status = 'done'))

-- name: redo
-- For `lipika run`: the same archives again, perhaps with results in another place. Live claims are left alone.
update video_queue q
set status = 'pending', output_key = g.output_key, attempts = 0, claim_token = null, completed_at = null,
  error_code = null, error_message = null
from unnest(%(video_ids)s::text[], %(output_keys)s::text[]) as g (video_id, output_key)
where q.video_id = g.video_id
  and (q.status in ('done', 'failed') or (q.status = 'pending' and q.output_key <> g.output_key))

-- name: remove
-- Not while a worker has it; result rows stay.
delete from video_queue
where video_id = any(%(video_ids)s) and status not in ('claimed', 'processing')

-- name: find
select video_id, status, held, priority, language, source_key, output_key, claimed_by, lease_expires_at, attempts,
  max_attempts, segment_count, clip_count, segments_transcribed, error_code, error_message, created_at, completed_at
from video_queue
where video_id = any(%(video_ids)s)

-- name: hold
update video_queue set held = %(held)s
where video_id = any(%(video_ids)s) and held is distinct from %(held)s

-- name: prioritise
-- Of those that wait; an archive at work has been taken already.
update video_queue set priority = %(priority)s
where video_id = any(%(video_ids)s) and status = 'pending' and priority <> %(priority)s

-- name: list_of_status
-- Pages by key, not by offset: the last page costs what the first does. Written as a range over (status, video_id), since
-- the planner would else go through the primary key, past all videos of other states that come first.
select video_id, status, held, priority, language, source_key, output_key, claimed_by, lease_expires_at, attempts,
  max_attempts, segment_count, clip_count, segments_transcribed, error_code, error_message, created_at, completed_at
from video_queue
where (status, video_id) > (%(status)s, %(after)s) and status <= %(status)s
order by status, video_id
limit %(limit)s

-- name: list
-- The same of all states.
select video_id, status, held, priority, language, source_key, output_key, claimed_by, lease_expires_at, attempts,
  max_attempts, segment_count, clip_count, segments_transcribed, error_code, error_message, created_at, completed_at
from video_queue
where video_id > %(after)s
order by video_id
limit %(limit)s

-- name: counts
-- Of these videos.
select
  count(*) filter (where status = 'pending' and not held) as pending,
  count(*) filter (where status = 'pending' and held) as held,
  count(*) filter (where status = 'claimed') as claimed,
  count(*) filter (where status = 'processing') as processing,
  count(*) filter (where status = 'done') as done,
  count(*) filter (where status = 'failed') as failed
from video_queue
where video_id = any(%(only)s)

-- name: counts_of_all
-- From the counters, which the statement that changes a video keeps.
select
  coalesce(sum(videos) filter (where state = 'pending'), 0)::bigint as pending,
  coalesce(sum(videos) filter (where state = 'held'), 0)::bigint as held,
  coalesce(sum(videos) filter (where state = 'claimed'), 0)::bigint as claimed,
  coalesce(sum(videos) filter (where state = 'processing'), 0)::bigint as processing,
  coalesce(sum(videos) filter (where state = 'done'), 0)::bigint as done,
  coalesce(sum(videos) filter (where state = 'failed'), 0)::bigint as failed
from queue_counts
