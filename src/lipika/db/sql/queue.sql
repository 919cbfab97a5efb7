-- name: add
-- A language may carry who gave it, as in `hi@default`; without that it is a row's.
-- Adding again changes nothing; what is there already is compared, so that a moved archive is noticed. The outer
-- select sees the table as it was before the insert. Its lateral limit keeps the planner to one look-up by key for
-- each row: a hash join would read the whole queue for every few thousand rows of a million.
with given as (
  select *
  from unnest(
    %(video_ids)s::text[], %(source_keys)s::text[], %(output_keys)s::text[], %(languages)s::text[],
    %(priorities)s::int[], %(segment_counts)s::int[], %(source_bytes)s::bigint[]
  ) with ordinality as g (
    video_id, source_key, output_key, hint, priority, segment_count, source_bytes, place
  )
), added as (
  insert into video_queue (
    video_id, source_key, output_key, language, language_from, priority, segment_count, source_bytes, max_attempts
  )
  select video_id, source_key, output_key, split_part(hint, '@', 1),
    case when hint is not null then coalesce(nullif(split_part(hint, '@', 2), ''), 'row') end,
    priority, segment_count, source_bytes, %(max_attempts)s
  from given
  order by place
  on conflict do nothing
  returning video_id
)
select
  (select count(*) from added) as added,
  coalesce(array_agg(g.video_id order by g.place), '{}') as conflicts
from given g
left join added a using (video_id)
left join lateral (
  select source_key, output_key from video_queue where video_id = g.video_id limit 1
) q on true
where a.video_id is null and (q.source_key, q.output_key) is distinct from (g.source_key, g.output_key)

-- name: clashes
-- A function, since it must never read the whole queue: see the migration outputs.
select video_id, output_key, other, what
from lipika_clashes(
  %(video_ids)s::text[], %(source_keys)s::text[], %(output_keys)s::text[], %(source_root)s::text, %(output_root)s::text
)

-- name: claim
-- The verbs of a worker are functions of the database (the migration worker_functions says what each does and why): its
-- role may write nothing by itself.
select video_id, claim_token, source_key, output_key, language, attempt, source_bytes, alone
from lipika_claim(
  %(worker_id)s::text, %(lease_seconds)s::float8, %(limit)s::int, %(max_bytes)s::bigint, %(only)s::text[],
  %(alone)s::boolean, %(without)s::text[]
)

-- name: hints_from
-- Who gave the languages of videos that have been claimed: asked apart, so that the claim need not know.
select video_id, coalesce(language_from, 'row') as language_from from video_queue where video_id = any(%(video_ids)s)

-- name: found_language
select video_id
from lipika_found_language(%(video_id)s::text, %(claim_token)s::uuid, %(language)s::text) as ours (video_id)

-- name: hint
-- A person's word: forced it goes before everything, as a default it fills what nobody has said. An archive's own word is
-- taken back by `archive`, so that the next worker reads it anew. Flags go by their video's language.
with changed as (
  update video_queue q
  set language = case when %(language_from)s = 'archive' then null else %(language)s end,
    language_from = case when %(language_from)s = 'archive' then null else %(language_from)s end
  where q.video_id = any(%(video_ids)s) and q.status not in ('claimed', 'processing')
    and (%(language_from)s <> 'default' or q.language is null or q.language_from = 'default')
    and (%(language_from)s = 'archive' or (q.language, q.language_from) is distinct from (%(language)s, %(language_from)s))
  returning q.video_id, q.language
), flags as (
  update transcription_flags f set language = coalesce(c.language, 'unknown')
  from changed c
  where f.video_id = c.video_id and f.language is distinct from coalesce(c.language, 'unknown')
)
select count(*) as videos from changed

-- name: extend
-- The leases of the claims that a worker carries, by their tokens and all at once; what does not come back has been
-- lost. Not by the worker's name: it may have claimed a video that it does not know of, when a reply was lost.
select video_id from lipika_renew(%(claim_tokens)s::uuid[], %(lease_seconds)s::float8) as ours (video_id)

-- name: start
-- Each of these gives the video's id, or no row where the token is no longer the claim's.
select video_id from lipika_start(%(video_id)s::text, %(claim_token)s::uuid) as ours (video_id)

-- name: progress
select video_id from lipika_progress(%(videos)s::jsonb) as ours (video_id)

-- name: finish
select video_id
from lipika_finish(
  %(video_id)s::text, %(claim_token)s::uuid, %(output_bytes)s::bigint, %(output_digest)s::text, %(segments)s::int,
  %(segments_polished)s::int, %(segments_discarded)s::int, %(parts_discarded)s::int, %(clips)s::int,
  %(transcribed)s::int, %(no_speech)s::int, %(failed)s::int, %(discard_reasons)s::jsonb
) as ours (video_id)

-- name: fail
-- Gives the video's new status.
select status
from lipika_fail(
  %(video_id)s::text, %(claim_token)s::uuid, %(retry)s::boolean, %(error_code)s::text, %(error_message)s::text
) as ours (status)

-- name: release
select video_id from lipika_release(%(video_id)s::text, %(claim_token)s::uuid) as ours (video_id)

-- name: put_aside
select video_id
from lipika_put_aside(
  %(video_id)s::text, %(claim_token)s::uuid, %(error_code)s::text, %(error_message)s::text
) as ours (video_id)

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
  held = q.held and q.error_code is distinct from 'would_pay_again', error_code = null, error_message = null
from unnest(%(video_ids)s::text[], %(output_keys)s::text[]) as g (video_id, output_key)
where q.video_id = g.video_id
  and (
    q.status in ('done', 'failed')
    or (q.status = 'pending' and (q.output_key <> g.output_key or q.held and q.error_code = 'would_pay_again'))
  )

-- name: remove
-- Not while a worker has it; result rows stay.
delete from video_queue
where video_id = any(%(video_ids)s) and status not in ('claimed', 'processing')

-- name: find
select video_id, status, held, priority, language, language_from, source_key, output_key, claimed_by, lease_expires_at, attempts,
  max_attempts, segment_count, clip_count, segments_transcribed, error_code, error_message, created_at, completed_at
from video_queue
where video_id = any(%(video_ids)s)

-- name: idle_outputs
-- Those of these results that nobody is at work on. Asked once in a worker's life, and only where something lies about.
select video_id, output_key from video_queue
where output_key = any(%(output_keys)s)
  and not (status in ('claimed', 'processing') and lease_expires_at > now())

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
select video_id, status, held, priority, language, language_from, source_key, output_key, claimed_by, lease_expires_at, attempts,
  max_attempts, segment_count, clip_count, segments_transcribed, error_code, error_message, created_at, completed_at
from video_queue
where (status, video_id) > (%(status)s, %(after)s) and status <= %(status)s
order by status, video_id
limit %(limit)s

-- name: list_put_aside
-- Videos that a worker holds until a person has decided.
select video_id, status, held, priority, language, language_from, source_key, output_key, claimed_by, lease_expires_at, attempts,
  max_attempts, segment_count, clip_count, segments_transcribed, error_code, error_message, created_at, completed_at
from video_queue
where status = 'pending' and held and error_message is not null
order by video_id
limit %(limit)s

-- name: list_empty
-- Done videos without a transcript; an index holds them and no others.
select video_id, status, held, priority, language, language_from, source_key, output_key, claimed_by,
  lease_expires_at, attempts, max_attempts, segment_count, clip_count, segments_transcribed, error_code, error_message, created_at, completed_at
from video_queue
where nothing_left and video_id > %(after)s
order by video_id
limit %(limit)s

-- name: list
-- The same of all states.
select video_id, status, held, priority, language, language_from, source_key, output_key, claimed_by, lease_expires_at, attempts,
  max_attempts, segment_count, clip_count, segments_transcribed, error_code, error_message, created_at, completed_at
from video_queue
where video_id > %(after)s
order by video_id
limit %(limit)s
