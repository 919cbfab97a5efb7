-- name: start
-- The same plan at the same place goes on where it was: what it has written counts, and its last verification stands until
-- something is written anew.
insert into datasets as d (dest, format, options, plan_digest, state, counts, tarsets, jobs_total)
values (
  %(dest)s, %(format)s, %(options)s::jsonb, %(plan_digest)s, %(state)s, %(counts)s::jsonb, %(tarsets)s::jsonb,
  %(jobs_total)s
)
on conflict (dest, plan_digest) do update set
  format = excluded.format, options = excluded.options, counts = excluded.counts, tarsets = excluded.tarsets,
  jobs_total = excluded.jobs_total, jobs_done = least(d.jobs_done, excluded.jobs_total), error = null, updated_at = now(),
  state = case when excluded.state = 'planned' and d.state <> 'failed' then d.state else excluded.state end
returning id, jobs_done, bytes, seconds

-- name: progress
update datasets
set state = 'writing', jobs_done = %(jobs_done)s, bytes = %(bytes)s, seconds = %(seconds)s, updated_at = now(),
  verified_at = null, verification = null
where id = %(id)s and (state, jobs_done, bytes) is distinct from ('writing', %(jobs_done)s::integer, %(bytes)s::bigint)

-- name: finish
update datasets
set state = 'done', counts = %(counts)s::jsonb, tarsets = %(tarsets)s::jsonb, jobs_done = jobs_total, bytes = %(bytes)s,
  seconds = %(seconds)s, error = null, updated_at = now()
where id = %(id)s

-- name: fail
update datasets set state = 'failed', error = %(error)s, updated_at = now() where id = %(id)s and state <> 'done'

-- name: verified
-- By its place, as whoever verifies it knows it: the plan that was written there last.
update datasets
set verified_at = now(), verification = %(verification)s::jsonb
where id = (
  select id from datasets where dest = %(dest)s and state <> 'planned' order by updated_at desc, id desc limit 1
)

-- name: list
select id, dest, format, options, plan_digest, state, counts, tarsets, jobs_total, jobs_done, bytes, seconds, error,
  created_at, updated_at, verified_at, verification
from datasets
order by updated_at desc, id desc
limit %(limit)s

-- name: one
select id, dest, format, options, plan_digest, state, counts, tarsets, jobs_total, jobs_done, bytes, seconds, error,
  created_at, updated_at, verified_at, verification
from datasets
where id = %(id)s
