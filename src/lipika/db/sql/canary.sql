-- name: candidates
-- Some archives of each language in an order of chance that the seed decides. Reads the whole queue, once a canary.
select video_id, source_key, language, source_bytes, language_from
from (
  select video_id, source_key, language, source_bytes, language_from, mixed,
    row_number() over (partition by coalesce(language, '') order by mixed) as place
  from (
    select video_id, source_key, language, source_bytes, coalesce(language_from, 'row') as language_from,
      md5(%(seed)s::text || video_id) as mixed from video_queue
  ) shuffled
) ranked
where place <= %(each)s
order by mixed

-- name: start
insert into canary_runs (run_id, config, output_url) values (%(run_id)s, %(config)s::jsonb, %(output_url)s)

-- name: add_clips
insert into canary_clips (
  run_id, arm, video_id, segment_file, language, status, requests, cost_usd, quality_score, transcription, details
)
select %(run_id)s, r.arm, r.video_id, r.segment_file, r.language, r.status, r.requests, r.cost_usd, r.quality_score,
  r.transcription, r.details
from jsonb_to_recordset(%(rows)s::jsonb) as r (
  arm text, video_id text, segment_file text, language text, status text, requests integer,
  cost_usd double precision, quality_score real, transcription text, details jsonb
)
on conflict do nothing

-- name: finish
update canary_runs
set finished_at = now(), verdict = %(verdict)s, usd = %(usd)s, report = %(report)s::jsonb
where run_id = %(run_id)s

-- name: move
update canary_runs set output_url = %(output_url)s where run_id = %(run_id)s

-- name: list
select r.run_id, r.started_at, r.finished_at, r.verdict, r.usd, r.output_url,
  (select count(*) from canary_clips c where c.run_id = r.run_id) as rows
from canary_runs r
order by r.started_at desc

-- name: latest
-- The last run that came to its end, with what a forecast needs of it; one with made-up answers only if there is no other.
select run_id, started_at, report -> 'forecast_sample' as sample,
  coalesce((report ->> 'simulated')::boolean, false) as simulated
from canary_runs
where report -> 'forecast_sample' is not null
order by simulated, started_at desc
limit 1

-- name: reports
select run_id, report -> 'measures' -> 'arms' as arms,
  report -> 'advice' -> 'recommendation' -> 'standings' as standings
from canary_runs r
where report -> 'measures' is not null
  and coalesce((report ->> 'simulated')::boolean, false) = not exists (
    select from canary_runs where report -> 'measures' is not null
      and not coalesce((report ->> 'simulated')::boolean, false)
  )
order by started_at desc
limit 10

-- name: remove
delete from canary_runs where run_id = any(%(run_ids)s)
