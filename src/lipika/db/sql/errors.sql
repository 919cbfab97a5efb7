-- name: errors
-- Newest first, one page by id; each filter has an index.
select id, occurred_at, worker_id, video_id, exception_type, message
from worker_errors
where (%(before)s::bigint is null or id < %(before)s)
  and (%(worker_id)s::text is null or worker_id = %(worker_id)s)
  and (%(video_id)s::text is null or video_id = %(video_id)s)
  and (%(exception_type)s::text is null or exception_type = %(exception_type)s)
order by id desc
limit %(limit)s

-- name: error
select id, occurred_at, worker_id, video_id, exception_type, message, traceback
from worker_errors
where id = %(id)s

-- name: error_types
select exception_type, count(*) as errors, max(occurred_at) as last_at
from worker_errors
where occurred_at > now() - make_interval(hours => %(hours)s)
group by exception_type
order by 2 desc, 1
