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
