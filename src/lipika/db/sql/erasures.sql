-- name: begin
-- The same order again goes on with the one that was stopped.
with known as (
  select id from erasures where wanted_key = lipika_video_key(%(wanted)s::text) and state = 'removing'
  order by id limit 1
), made as (
  insert into erasures (wanted_key, requested_by, scope)
  select lipika_video_key(%(wanted)s::text), %(by)s, %(scope)s::jsonb where not exists (select from known)
  returning id
)
select id, false as resumed from made union all select id, true from known

-- name: rehearse
-- One that is rolled back, and takes no number from those that are not.
insert into erasures (id, wanted_key, requested_by) overriding system value values (0, '', '')

-- name: former
-- Done erasures of the same names.
select id from erasures where wanted_key = lipika_video_key(%(wanted)s::text) and state = 'done' order by id desc

-- name: videos_of
-- Reads all rows: a name is no key.
select distinct video_id from transcription_results where speaker_id = %(speaker)s order by 1

-- name: list
select id, state, requested_by, started_at, finished_at, scope, found, certificate from erasures
order by id desc limit %(limit)s

-- name: one
select id, state, requested_by, started_at, finished_at, scope, found, certificate from erasures where id = %(id)s

-- name: keep_scope
update erasures set scope = %(scope)s::jsonb, found = case when found = '{}' then %(found)s::jsonb else found end
where id = %(id)s and state = 'removing'

-- name: finish
update erasures set state = 'done', finished_at = now(), scope = null, certificate = %(certificate)s::jsonb where id = %(id)s

-- name: forget_targets
delete from erasure_targets where erasure_id = %(id)s

-- name: entomb_names
insert into erased_names (video_key, speaker_key, start_ms, end_ms, erasure_id)
select distinct on (1, 2, 3, 4) k.key, case when n.speaker is null then '' else lipika_speaker_key(k.key, n.speaker) end,
  coalesce(n.start_ms, 0), coalesce(n.end_ms, 2147483647), %(id)s::bigint
from jsonb_to_recordset(%(names)s::jsonb) as n (video_id text, speaker text, start_ms int, end_ms int)
cross join lateral (select lipika_video_key(n.video_id) as key) k
on conflict do nothing

-- name: target_videos
insert into erasure_targets (erasure_id, video_id, segment_file)
select distinct %(id)s::bigint, n.video_id, '' from jsonb_to_recordset(%(names)s::jsonb) as n (video_id text, speaker text)
where n.speaker is null
on conflict do nothing

-- name: target_clips
-- Of one table, whose name is a quoted identifier: the clips of the names, by what their files are called.
insert into erasure_targets (erasure_id, video_id, segment_file)
select distinct %(id)s::bigint, t.video_id, t.segment_file
from jsonb_to_recordset(%(names)s::jsonb) as n (video_id text, speaker text, start_ms int, end_ms int)
join {table} t on t.video_id = n.video_id
where (n.speaker is null or lipika_is_of(t.segment_file, n.speaker, n.start_ms, n.end_ms)) and t.segment_file <> ''
on conflict do nothing

-- name: entomb_audio
-- Digests that a table knows of the targets; silence that nobody was asked for is nobody's voice.
insert into erased_audio (audio_digest, erasure_id)
select distinct t.audio_digest, %(id)s::bigint
from erasure_targets e join {table} t on t.video_id = e.video_id and t.segment_file = e.segment_file
where e.erasure_id = %(id)s and t.audio_digest <> '' and not exists (
  select from transcription_results r
  where r.video_id = t.video_id and r.segment_file = t.segment_file and r.audio_digest = t.audio_digest
    and r.status = 'no_speech' and r.attempts = 0
)
on conflict do nothing

-- name: target_equal_audio
-- The same audio under other names, and what it is called there.
with equal as (
  insert into erasure_targets (erasure_id, video_id, segment_file)
  select distinct %(id)s::bigint, r.video_id, r.segment_file
  from erased_audio a
  join transcription_results r
    on hashtextextended(r.audio_digest, 0) = hashtextextended(a.audio_digest, 0) and r.audio_digest = a.audio_digest
  where a.erasure_id = %(id)s
    and not exists (
      select from erasure_targets e where e.erasure_id = %(id)s and e.video_id = r.video_id and e.segment_file in ('', r.segment_file)
    )
  on conflict do nothing
  returning video_id, segment_file
), named as (
  insert into erased_names (video_key, speaker_key, start_ms, end_ms, erasure_id)
  select distinct on (1, 2, 3, 4) k.key, lipika_speaker_key(k.key, lipika_speaker_of(q.segment_file)), c.cut[1]::int * 10,
    c.cut[2]::int * 10, %(id)s::bigint
  from equal q
  cross join lateral (select lipika_video_key(q.video_id) as key) k
  cross join lateral (select regexp_match(q.segment_file, '_([0-9]{5,9})_([0-9]{5,9})\.[^.]*$') as cut) c
  where c.cut is not null
  on conflict do nothing
)
select video_id, segment_file from equal

-- name: equal_files
-- Clips of videos that are not named: they are there for their audio.
select video_id, segment_file from erasure_targets e
where e.erasure_id = %(id)s and e.segment_file <> '' and not exists (
  select from jsonb_to_recordset(%(names)s::jsonb) as n (video_id text, speaker text, start_ms int, end_ms int)
  where n.video_id = e.video_id and (n.speaker is null or lipika_is_of(e.segment_file, n.speaker, n.start_ms, n.end_ms))
)
order by 1, 2

-- name: tombstones_of
select video_key, speaker_key, start_ms, end_ms from lipika_erased_of(%(video_id)s::text)

-- name: target_files
select segment_file from erasure_targets
where erasure_id = %(id)s and video_id = %(video_id)s and segment_file <> ''
order by 1

-- name: videos
-- Every video with something to erase, whether the queue knows it or not.
select t.video_id, t.whole, q.status, q.source_key, q.output_key, q.held,
  q.status in ('claimed', 'processing') as busy, q.lease_expires_at
from (
  select video_id, bool_or(segment_file = '') as whole from erasure_targets where erasure_id = %(id)s group by video_id
) t
left join video_queue q on q.video_id = t.video_id
order by t.video_id

-- name: take_videos
-- From whoever is at work on them: the token goes, and no write of theirs is taken any more. Held until it is done.
update video_queue q
set status = case when q.status in ('claimed', 'processing') then 'pending' else q.status end,
  attempts = case when q.status in ('claimed', 'processing') then greatest(q.attempts - 1, 0) else q.attempts end,
  claim_token = case when q.status in ('claimed', 'processing') then null else q.claim_token end,
  lease_expires_at = null, held = true
where q.video_id in (select video_id from erasure_targets where erasure_id = %(id)s)

-- name: release_videos
update video_queue set held = false where video_id = any(%(video_ids)s)

-- name: count_clips
-- Of one table by clip; its name is a quoted identifier.
select count(*) as rows from (
  select distinct t.ctid from erasure_targets e
  join {table} t on t.video_id = e.video_id and e.segment_file in ('', t.segment_file)
  where e.erasure_id = %(id)s
) found

-- name: erase_clips
delete from {table} t using erasure_targets e
where e.erasure_id = %(id)s and t.video_id = e.video_id and e.segment_file in ('', t.segment_file)

-- name: count_transcription_results
select count(*) as rows from (
  select distinct t.ctid from erasure_targets e
  join transcription_results t on t.video_id = e.video_id and e.segment_file in ('', t.segment_file)
  where e.erasure_id = %(id)s
) found

-- name: erase_transcription_results
select lipika_erase_results(array_agg(video_id), array_agg(segment_file)) from (
  select distinct t.video_id, t.segment_file from erasure_targets e
  join transcription_results t on t.video_id = e.video_id and e.segment_file in ('', t.segment_file)
  where e.erasure_id = %(id)s
) found
having count(*) > 0

-- name: count_transcription_answers
-- Those of erased audio; and those that belong to no clip any more of windows with such a video, or of no window: nobody can
-- tell whose they are.
select count(*) as rows from transcription_answers a where {{of_answers}}

-- name: erase_transcription_answers
delete from transcription_answers a where {{of_answers}}

-- name: count_worker_errors
select count(*) as rows from worker_errors t where {{of_errors}}

-- name: erase_worker_errors
delete from worker_errors t where {{of_errors}}

-- name: count_workers
select count(*) as rows from workers t where {{of_workers}}

-- name: erase_workers
update workers t set
  current_video_id = case
    when current_video_id in (select video_id from erasure_targets where erasure_id = %(id)s and segment_file = '') then null
    else current_video_id
  end,
  last_error = case when {{of_last_error}} then '(erased)' else last_error end
where {{of_workers}}

-- name: count_notices
select count(*) as rows from notices t where t.message ~ %(mention)s or t.event ~ %(mention)s

-- name: erase_notices
update notices t set message = '(erased)', event = 'erased:' || md5(event)
where t.message ~ %(mention)s or t.event ~ %(mention)s

-- name: count_saved_filters
select count(*) as rows from saved_filters t where t.query ~ %(mention)s or t.name ~ %(mention)s

-- name: erase_saved_filters
delete from saved_filters t where t.query ~ %(mention)s or t.name ~ %(mention)s

-- name: count_transcription_batches
select count(*) as rows from transcription_batches t where t.video_ids && {{whole_videos}}

-- name: erase_transcription_batches
update transcription_batches t
set video_ids = array(select id from unnest(t.video_ids) as v (id) where id <> all ({{whole_videos}}))
where t.video_ids && {{whole_videos}}

-- name: count_audit_judgements
select count(*) as rows from audit_judgements j where {{of_judgements}}

-- name: erase_audit_judgements
delete from audit_judgements j where {{of_judgements}}

-- name: count_redos
-- Orders about somebody, such as one clip, or a choice with a name; and notes that only tell of such a video.
select count(*) as rows from redos o where {{about_erased}} or {{of_notes}}

-- name: erase_redos
update redos o set note = '', query = case when a.it then '(erased)' else o.query end,
  state = case when a.it and o.state in ('queued', 'running') then 'dropped' else o.state end,
  ended_at = case when a.it then coalesce(o.ended_at, now()) else o.ended_at end
from (select o.id, {{about_erased}} as it from redos o where {{about_erased}} or {{of_notes}}) a
where o.id = a.id

-- name: count_redo_turns
select count(*) as rows from redo_turns t where t.audio_digest in (select audio_digest from erased_audio)

-- name: erase_redo_turns
delete from redo_turns t where t.audio_digest in (select audio_digest from erased_audio)

-- name: count_canary_runs
select count(*) as rows from canary_runs c where c.run_id = any(%(runs)s) and c.report is not null

-- name: erase_canary_runs
-- Figures of it stay: verdict and dollars. Its report quotes clips.
update canary_runs c set report = null, output_url = null where c.run_id = any(%(runs)s)

-- name: canary_runs
select distinct c.run_id, r.output_url from erasure_targets e
join canary_clips c on c.video_id = e.video_id and e.segment_file in ('', c.segment_file)
join canary_runs r using (run_id)
where e.erasure_id = %(id)s

-- name: count_datasets
-- Exports whose options or defects name somebody.
select count(*) as rows from datasets d
where concat(d.options, d.error, d.verification, d.dest) ~ %(mention)s

-- name: erase_datasets
delete from datasets d where concat(d.options, d.error, d.verification, d.dest) ~ %(mention)s

-- name: datasets
select id, dest, format, state from datasets order by dest, id

-- name: remake_datasets
update datasets set state = 'failed', error = %(error)s, verified_at = null, verification = null, updated_at = now()
where id = any(%(datasets)s)

-- name: count_video_queue
-- Whole videos; and errors of others that may quote somebody.
select count(*) as rows from video_queue q where {{of_queue}}

-- name: erase_video_queue
with gone as (
  delete from video_queue q
  where q.video_id in (select video_id from erasure_targets where erasure_id = %(id)s and segment_file = '')
)
update video_queue q set error_message = '(erased)'
where q.video_id in (select video_id from erasure_targets where erasure_id = %(id)s)
  and q.video_id not in (select video_id from erasure_targets where erasure_id = %(id)s and segment_file = '')
  and q.error_message <> '(erased)'

-- name: recount_video
-- What its result archive says of a done video after some clips have gone.
update video_queue set
  segments_polished = %(segments_polished)s, segments_discarded = %(segments_discarded)s, parts_discarded = %(parts_discarded)s,
  clip_count = %(clips)s, segments_transcribed = %(transcribed)s, segments_no_speech = %(no_speech)s,
  segments_failed = %(failed)s, segment_count = %(segments)s, discard_reasons = %(discard_reasons)s::jsonb,
  output_bytes = %(output_bytes)s, output_digest = %(output_digest)s
where video_id = %(video_id)s and status = 'done'

-- name: recount_lost_video
-- The same where no archive is left: by its rows.
update video_queue q set clip_count = r.transcribed + r.no_speech + r.failed, segments_transcribed = r.transcribed,
  segments_no_speech = r.no_speech, segments_failed = r.failed,
  parts_discarded = q.parts_discarded + q.clip_count - (r.transcribed + r.no_speech + r.failed)
from (
  select count(*) filter (where status = 'transcribed') as transcribed,
    count(*) filter (where status = 'no_speech') as no_speech, count(*) filter (where status = 'failed') as failed
  from transcription_results where video_id = %(video_id)s
) r
where q.video_id = %(video_id)s and q.status = 'done'

-- name: reset_counts
-- A video that was taken from a worker counts anew with whoever takes it next.
update video_queue set segments_transcribed = 0, segments_no_speech = 0, segments_failed = 0, clip_count = 0
where video_id = %(video_id)s and status = 'pending'
