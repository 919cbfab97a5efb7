-- name: in_places
-- A page of clips from some of the places, in the order of their ranks. Nothing is read but clips with these marks there.
with found as materialized (
  select r.video_id, r.segment_file,
    %(first)s + array_position(%(places)s::text[], 'p:' || lipika_clip_place(r.id)) - 1 as rank
  from transcription_results r
  where {{marks}} @> %(marks)s::text[] and {{marks}} && %(places)s::text[]
    and (%(scores)s::text[] is null or {{marks}} && %(scores)s::text[])
    and {{wanted}}
), page as (
  {{page}}
)
{{shown}}

-- name: everywhere
-- The same where few clips have these marks: all of them are looked at.
with found as materialized (
  select r.video_id, r.segment_file, coalesce((%(ranks)s::int[])[lipika_clip_place(r.id) + 1], lipika_clip_place(r.id)) as rank
  from transcription_results r
  where {{marks}} @> %(marks)s::text[]
    and (%(scores)s::text[] is null or {{marks}} && %(scores)s::text[])
    and {{wanted}}
), page as (
  {{page}}
)
{{shown}}

-- name: of_video
-- Of one video, in the order of its clock, by key.
with found as materialized (
  select r.video_id, r.segment_file, 0 as rank
  from transcription_results r
  where r.video_id = %(video)s and {{marks}} @> %(marks)s::text[]
    and (%(scores)s::text[] is null or {{marks}} && %(scores)s::text[])
    and {{wanted}}
), page as (
  {{page}}
)
{{shown}}

-- name: candidates
-- How many clips have these marks in some of the places; what no index knows is not looked at.
select count(*) as clips from transcription_results r
where {{marks}} @> %(marks)s::text[] and {{marks}} && %(places)s::text[]
  and (%(scores)s::text[] is null or {{marks}} && %(scores)s::text[])

-- name: count
-- All of them, and no further than a page says.
select count(*) as clips
from (
  select from transcription_results r
  where {{marks}} @> %(marks)s::text[]
    and (%(scores)s::text[] is null or {{marks}} && %(scores)s::text[])
    and {{wanted}}
  limit %(most)s
) few

-- name: count_of_video
select count(*) as clips
from (
  select from transcription_results r
  where r.video_id = %(video)s and {{marks}} @> %(marks)s::text[]
    and (%(scores)s::text[] is null or {{marks}} && %(scores)s::text[])
    and {{wanted}}
  limit %(most)s
) few

-- name: keys
-- Names of clips for a change of all of them.
select r.video_id, r.segment_file from transcription_results r
where {{marks}} @> %(marks)s::text[]
  and (%(scores)s::text[] is null or {{marks}} && %(scores)s::text[])
  and {{wanted}}
limit %(most)s

-- name: keys_of_video
select r.video_id, r.segment_file from transcription_results r
where r.video_id = %(video)s and {{marks}} @> %(marks)s::text[]
  and (%(scores)s::text[] is null or {{marks}} && %(scores)s::text[])
  and {{wanted}}
limit %(most)s

-- name: corpus
-- Clips in all, from the counters; which of the indexes are there.
select coalesce((select sum(clips) from clip_counts where kind = 'status'), 0)::bigint as clips,
  coalesce((select indisvalid from pg_index where indexrelid = to_regclass('transcription_results_marks')), false) as marked,
  coalesce((select indisvalid from pg_index where indexrelid = to_regclass('transcription_results_words')), false) as worded

-- name: choices
-- What a form offers: kinds of clips that there are.
select kind, key, sum(clips)::bigint as clips
from (
  select case kind when 'status' then 'language' else kind end as kind,
    case kind when 'status' then language else key end as key, clips
  from clip_counts
  where kind in ('status', 'failure', 'finding:info', 'finding:warn', 'finding:fail')
  union all
  select 'tier', tier, clips from tier_counts
) counted
group by kind, key
having sum(clips) > 0
order by kind, 3 desc, key

-- name: resolve_flags
-- Of these clips, all that are open.
update transcription_flags f
set resolved = true, resolved_at = now(), resolved_by = %(by)s, note = nullif(%(note)s, '')
from unnest(%(videos)s::text[], %(clips)s::text[]) as u (video_id, segment_file)
where f.video_id = u.video_id and f.segment_file = u.segment_file and not f.resolved

-- name: saved
select name, query, saved_by, saved_at from saved_filters where page = 'clips' order by name limit 200

-- name: save
insert into saved_filters (page, name, query, saved_by) values ('clips', %(name)s, %(query)s, %(by)s)
on conflict (page, name) do update set query = excluded.query, saved_by = excluded.saved_by, saved_at = now()

-- name: forget
delete from saved_filters where page = 'clips' and name = %(name)s

-- name: index_words
-- Beside the work: nobody who writes results waits for it.
create index concurrently if not exists transcription_results_words
on transcription_results using gin (lipika_words(transcription)) with (gin_pending_list_limit = 256)

-- name: drop_words
drop index concurrently if exists transcription_results_words
