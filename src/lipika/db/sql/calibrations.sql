-- name: turn
-- Asked about once a minute by each worker: which calibration is the newest, and what is this worker's to learn.
-- Counters, and one row that is written only where something is due.
select (select max(id) from calibrations where simulated = %(simulated)s) as newest, t.language, t.token::text
from (select) always
left join lipika_calibration_turn(
  %(worker_id)s::text, %(key)s::text, %(simulated)s::boolean, %(languages)s::text[], %(least)s::bigint,
  %(lease_seconds)s::float8
) t on true

-- name: end_turn
select lipika_end_calibration(
  %(simulated)s::boolean, %(token)s::uuid, %(after)s::bigint, %(version)s::text, %(clips)s::jsonb, %(content)s::text
) as stored

-- name: newest
-- The first that can be read is in force; more than a few that cannot be there are none.
select id, simulated, version, made_by, clips, content, created_at from calibrations
where simulated = %(simulated)s
order by id desc
limit 10

-- name: put
-- By a person, as the tables' owner. What its limits are for counts as learned now, from all clips there are.
with put as (
  insert into calibrations (simulated, version, made_by, clips, content)
  values (%(simulated)s, %(version)s, %(made_by)s, %(clips)s::jsonb, %(content)s)
), counted as (
  select language, sum(clips)::bigint as clips from clip_counts
  where language = any(%(languages)s::text[]) and kind = 'status' and key = 'transcribed'
  group by language
)
insert into calibration_turns as t (simulated, looks)
select %(simulated)s, coalesce(jsonb_object_agg(
  language, jsonb_build_object('clips', clips, 'at', now(), 'learned', true)
), '{}') from counted
on conflict (simulated) do update set looks = t.looks || excluded.looks
