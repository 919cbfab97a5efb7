-- name: videos
-- One page of the videos that have results, by id: a loose scan of the index, some microseconds a video however many
-- rows it has. `stale` videos hold verdicts of another validator version than the one asked for.
with recursive id (video_id) as (
  select min(video_id) from transcription_results where video_id > %(after)s
  union all
  select (select min(r.video_id) from transcription_results r where r.video_id > id.video_id)
  from id
  where id.video_id is not null
)
select id.video_id,
  exists (
    select from transcription_results r
    where r.video_id = id.video_id and r.transcription is not null and r.validator_version is distinct from %(version)s
  ) as stale
from id
where id.video_id is not null
limit %(limit)s

-- name: clips
-- One page by key: no cursor survives a transaction pooler. xmin tells a row that is written anew from the one that was
-- read.
select {{clip.*}}, {{cut.*}}, {{answer.*}}, {{judgement.*}}, xmin::text as seen
from transcription_results
where video_id = %(video_id)s and segment_file > %(after)s
order by segment_file
limit %(limit)s

-- name: discarded
select distinct segment_file
from transcription_flags
where video_id = %(video_id)s and flag_type like 'discard:%%'

-- name: output_key
select output_key from video_queue where video_id = %(video_id)s and status = 'done'

-- name: rewrite
-- Verdicts of one video, under the lock that a claim has to wait for: while a worker holds the video it is left alone,
-- and none can take it until this is in. Rows that were written anew since they were read are left alone, too.
-- quality_rollup moves by the difference; its rows are locked in the order in which writes of results lock them.
with held as materialized (
  select status in ('claimed', 'processing') as busy from video_queue where video_id = %(video_id)s
  for key share
), incoming as materialized (
  select * from jsonb_to_recordset(%(rows)s::jsonb) as i (
    segment_file text, seen text, lang_mismatch_flag boolean, num_unk int, num_inaudible int, num_event_tags int,
    text_length_per_sec real, overlap_suspected boolean, quality_score real, score_parts jsonb,
    alignment_score real, alignment jsonb, asr_eligible boolean, tts_clean_eligible boolean, tts_expressive_eligible boolean,
    lane_reasons jsonb, findings jsonb, validator_version text
  )
), previous as materialized (
  select r.segment_file, r.created_at, r.expected_language_hint, r.detected_language, r.worker_id, r.asr_eligible,
    r.tts_clean_eligible, r.tts_expressive_eligible, r.lang_mismatch_flag, r.quality_score, r.findings, r.audio_digest,
    r.text_source
  from transcription_results r join incoming i using (segment_file)
  where r.video_id = %(video_id)s and r.xmin::text = i.seen and not exists (select from held where busy)
  order by r.segment_file
  for update of r
), written as (
  update transcription_results r set
    lang_mismatch_flag = i.lang_mismatch_flag, num_unk = i.num_unk, num_inaudible = i.num_inaudible,
    num_event_tags = i.num_event_tags, text_length_per_sec = i.text_length_per_sec,
    overlap_suspected = i.overlap_suspected, quality_score = i.quality_score, score_parts = i.score_parts,
    alignment_score = case when i.alignment is null then r.alignment_score else i.alignment_score end,
    alignment = coalesce(i.alignment, r.alignment),
    asr_eligible = i.asr_eligible, tts_clean_eligible = i.tts_clean_eligible,
    tts_expressive_eligible = i.tts_expressive_eligible, lane_reasons = i.lane_reasons, findings = i.findings,
    validator_version = i.validator_version
  from incoming i join previous p using (segment_file)
  where r.video_id = %(video_id)s and r.segment_file = i.segment_file
), words as (
  -- Of a person's word only the judgement changes; without this a trigger would put the former one back.
  update edited_clips e set word = e.word || (to_jsonb(i) - array['segment_file', 'seen', 'alignment', 'alignment_score'])
    || case when i.alignment is null then '{}' else jsonb_build_object('alignment_score', i.alignment_score, 'alignment',
      jsonb_build_object('agreement', i.alignment -> 'agreement', 'score', i.alignment -> 'score',
        'version', i.alignment -> 'version')) end
  from incoming i join previous p using (segment_file)
  where e.video_id = %(video_id)s and e.segment_file = i.segment_file and e.edit_id is not null
    and e.audio_digest = p.audio_digest
), counted as (
  insert into quality_rollup as q (
    hour, language, worker_id, clips, transcribed, no_speech, failed, asr_eligible, tts_clean, tts_expressive,
    lang_mismatch, scored, score_sum, duration_ms, cost_usd
  )
  select date_trunc('hour', created_at), coalesce(nullif(expected_language_hint, ''), detected_language, 'unknown'),
    worker_id, 0, 0, 0, 0, sum(sign * asr::int), sum(sign * clean::int), sum(sign * expressive::int),
    sum(sign * coalesce(mismatch, false)::int), sum(sign * (score is not null)::int), sum(sign * coalesce(score, 0)),
    0, 0
  from (
    select p.created_at, p.expected_language_hint, p.detected_language, p.worker_id, change.*
    from previous p join incoming i using (segment_file)
    cross join lateral (
      values
        (1, i.asr_eligible, i.tts_clean_eligible, i.tts_expressive_eligible, i.lang_mismatch_flag, i.quality_score),
        (-1, p.asr_eligible, p.tts_clean_eligible, p.tts_expressive_eligible, p.lang_mismatch_flag, p.quality_score)
    ) as change (sign, asr, clean, expressive, mismatch, score)
  ) moved
  group by 1, 2, 3
  order by 1, 2, 3
  on conflict (hour, language, worker_id) do update set
    asr_eligible = q.asr_eligible + excluded.asr_eligible, tts_clean = q.tts_clean + excluded.tts_clean,
    tts_expressive = q.tts_expressive + excluded.tts_expressive,
    lang_mismatch = q.lang_mismatch + excluded.lang_mismatch, scored = q.scored + excluded.scored,
    score_sum = q.score_sum + excluded.score_sum
), incoming_flag as materialized (
  select f.* from previous p join jsonb_to_recordset(%(flags)s::jsonb) as f (
    segment_file text, flag_type text, start_ms int, end_ms int, severity text, details text
  ) using (segment_file)
  where p.text_source <> 'person' -- who has decided
), flagged as (
  insert into transcription_flags as f (video_id, segment_file, flag_type, start_ms, end_ms, severity, details)
  select %(video_id)s, segment_file, flag_type, start_ms, end_ms, severity, details from incoming_flag
  on conflict (video_id, segment_file, flag_type, start_ms) do update set
    severity = excluded.severity, details = excluded.details, end_ms = excluded.end_ms,
    resolved = f.resolved and f.resolved_by is distinct from 'lipika',
    resolved_at = case when f.resolved_by is distinct from 'lipika' then f.resolved_at end,
    resolved_by = case when f.resolved_by is distinct from 'lipika' then f.resolved_by end
  where (f.severity, f.details, f.end_ms) is distinct from (excluded.severity, excluded.details, excluded.end_ms)
    or f.resolved_by = 'lipika'
), settled as (
  -- What the old verdict had raised and the new one has not; flags of discards and of people stay.
  update transcription_flags f
  set resolved = true, resolved_at = now(), resolved_by = 'lipika', note = coalesce(note, 'no longer found')
  from previous p
  where f.video_id = %(video_id)s and f.segment_file = p.segment_file and not f.resolved
    and exists (select from jsonb_array_elements(p.findings) e where e ->> 'code' = f.flag_type)
    and not exists (
      select from incoming_flag n
      where (n.segment_file, n.flag_type, n.start_ms) = (f.segment_file, f.flag_type, f.start_ms)
    )
)
select (select count(*) from previous)::int as written, exists (select from held where busy) as busy

-- name: unaligned
-- Rows that could carry this version of an alignment and do not.
select count(*)::int as rows from transcription_results
where video_id = %(video_id)s and transcription is not null and alignment ->> 'version' is distinct from %(version)s

-- name: record
select status in ('claimed', 'processing') as busy, output_key, output_bytes from video_queue
where video_id = %(video_id)s

-- name: archive_rewritten
-- Only if the archive there was the one on record.
update video_queue set output_bytes = %(size)s, output_digest = %(sha256)s
where video_id = %(video_id)s and status = 'done' and output_bytes = %(old_size)s
