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

-- name: sample_videos
-- Videos that were worked on, of the language or of none that is known beforehand, in the order of an index that knows
-- nothing of what they are. So many are looked at, at most, and so many taken.
select video_id from (
  select video_id, language, left(md5(video_id), 8) as place from video_queue
  where claimed_by is not null
  order by left(md5(video_id), 8)
  limit %(looked_at)s
) worked_on
where language = %(language)s or language is null
order by language nulls last, place
limit %(limit)s

-- name: sample_clips
-- Some of each video's clips, spread over all of it. An archive of 100,000 clips is not sorted for that.
select sample.*
from unnest(%(video_ids)s::text[]) as v (video_id)
cross join lateral (
  select {{r.clip.*}}, {{r.cut.*}}, {{r.answer.*}}
  from (select * from transcription_results where video_id = v.video_id order by segment_file limit 2000) r
  where r.status = 'transcribed' and r.audio_facts is not null
    and coalesce(nullif(r.expected_language_hint, ''), r.detected_language) = %(language)s
    and starts_with(r.model_version, %(made_up)s) = %(simulated)s
  order by md5(r.segment_file)
  limit %(each)s
) sample
