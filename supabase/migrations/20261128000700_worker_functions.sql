-- What a worker's role may do, as functions that check. A worker writes nothing by itself: it shows the token of the claim,
-- or the key of its own process life, and the function writes with its owner's rights. A rented machine whose password
-- got out can so neither void a cap, nor touch a video that another worker holds or that is done. Idempotent.

-- ------------------------------------------------------------------------------------------------ who asks

create table if not exists worker_keys (
  worker_id  text primary key,
  key_digest text not null,
  made_at    timestamptz not null default now()
);
comment on table worker_keys is
  'SHA-256 of the key that each process life made for itself: only who knows it speaks for that worker. No role reads it.';
alter table worker_keys enable row level security;

create or replace function lipika_is_worker(p_worker_id text, p_key text) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- The first who speaks for a worker is that worker; ids end in random letters, made with the process. The tables' owner
-- may speak for all: it could write the tables as well.
declare
  given text := encode(sha256(convert_to(p_key, 'UTF8')), 'hex');
  known text;
begin
  if coalesce(length(p_key), 0) < 16 or coalesce(p_worker_id, '') = '' or length(p_worker_id) > 300 then
    return false;
  end if;
  select key_digest into known from worker_keys where worker_id = p_worker_id;
  if not found then
    insert into worker_keys (worker_id, key_digest) values (p_worker_id, given) on conflict do nothing;
    select key_digest into known from worker_keys where worker_id = p_worker_id;
  end if;
  return known = given or pg_has_role(session_user, current_user, 'member');
end
$$;

create or replace function lipika_shard() returns smallint
language plpgsql volatile set search_path = pg_catalog, public, pg_temp as $$
-- A row of counters that is ours until the transaction ends: nobody waits for anybody, and nothing can deadlock. Where
-- all are taken (anybody who may connect may take such locks) it is a row of this connection's own.
declare
  shard integer;
begin
  for shard in 0..31 loop
    if pg_try_advisory_xact_lock(780963642, shard) then
      return shard;
    end if;
  end loop;
  return 1000 + pg_backend_pid() % 30000;
end
$$;

-- ------------------------------------------------------------------------------------------------ the queue

-- One statement, so that no two workers meet: expired leases and the front of the queue are locked with SKIP LOCKED,
-- an attempt is charged before any work is done, and what has none left is failed by whoever comes across it.
-- A crash charges all videos of its worker. So that the guilty one does not take the others along, a video's last
-- attempt after a crash is made alone: by a worker with empty hands, one at a time.
create or replace function lipika_claim(
  p_worker_id text,
  p_lease_seconds double precision,
  p_limit integer,
  p_max_bytes bigint,
  p_only text[],
  p_alone boolean,
  p_without text[] default '{}'
) returns table (
  video_id text, claim_token text, source_key text, output_key text, language text, attempt integer, source_bytes bigint,
  alone boolean
)
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan
set enable_seqscan = off as $$
#variable_conflict use_column
begin
  if (p_limit between 1 and 10000 and p_lease_seconds between 0 and 86400) is not true then
    raise check_violation using message = 'a claim is of 1 to 10000 videos, for a day at most';
  end if;
  return query
  with expired as materialized (
    select video_id, attempts, max_attempts, priority, arrival, source_bytes, output_key from video_queue
    where status in ('claimed', 'processing') and lease_expires_at < now() and not held
      and (p_only is null or video_id = any(p_only))
      and (p_alone or attempts = 0 or attempts <> max_attempts - 1)
      and video_id <> all (p_without)
    limit p_limit
    for update skip locked
  ), waiting as materialized (
    select video_id, attempts, max_attempts, priority, arrival, source_bytes, output_key from video_queue
    where status = 'pending' and not held
      and (p_only is null or video_id = any(p_only))
      and (p_alone or attempts = 0 or attempts <> max_attempts - 1)
      and video_id <> all (p_without)
    order by priority desc, arrival
    limit p_limit
    for update skip locked
  ), unfit as materialized (
    -- Nothing is paid for what could not be stored, or would be stored over something else. Of two videos with one output
    -- the later one is refused, and the earlier one, too, where the later one has been worked on already.
    select l.video_id, found.code, found.message
    from (select * from expired union all select * from waiting) l
    cross join lateral (
      select 'name_too_long' as code, 'a name of more than 250 bytes: no file system holds it' as message
      where greatest(octet_length(l.video_id), octet_length(regexp_replace(l.output_key, '^.*/', ''))) > 250
      union all
      (select 'output_taken', format('its result would be written over that of video %s', o.video_id)
      from video_queue o
      where lipika_object(o.output_key) = lipika_object(l.output_key) and o.video_id <> l.video_id
        and (o.arrival < l.arrival or o.status in ('claimed', 'processing', 'done'))
      limit 1)
      union all
      (select 'output_is_input', format('its result would be written over the archive of video %s', o.video_id)
      from video_queue o
      where lipika_object(o.source_key) = lipika_object(l.output_key) and lipika_object(l.output_key) ~ '^/|://'
      limit 1)
      limit 1
    ) found
  ), refused as (
    update video_queue q
    set status = 'failed', claim_token = null, lease_expires_at = null, error_code = u.code, error_message = u.message
    from unfit u
    where q.video_id = u.video_id
  ), candidate as (
    select video_id, attempts >= max_attempts as exhausted, last_chance,
      row_number() over front as place,
      first_value(last_chance) over front as led_by_last_chance,
      sum(coalesce(source_bytes, 0)) over front as bytes_so_far
    from (
      select *, attempts > 0 and attempts = max_attempts - 1 as last_chance
      from (select * from expired union all select * from waiting) locked
      where not exists (select from unfit u where u.video_id = locked.video_id)
    ) known
    window front as (partition by attempts >= max_attempts order by last_chance, priority desc, arrival)
  ), given_up as (
    update video_queue q
    set status = 'failed', claim_token = null, lease_expires_at = null, error_code = 'attempts_exhausted',
      error_message = concat(
        'gave up after ', q.attempts, ' attempts',
        '; worker ' || q.claimed_by || ' had it last and stopped renewing its lease',
        '; error before that: ' || q.error_message
      )
    from candidate c
    where q.video_id = c.video_id and c.exhausted
  ), claimed as (
    update video_queue q
    set status = 'claimed', claimed_by = p_worker_id, claim_token = gen_random_uuid(), claimed_at = now(),
      lease_expires_at = now() + make_interval(secs => p_lease_seconds), attempts = q.attempts + 1
    from candidate c
    where q.video_id = c.video_id and not c.exhausted and c.place <= p_limit
      and (c.place = 1 or not c.last_chance and not c.led_by_last_chance)
      and (c.place = 1 or p_max_bytes is null or c.bytes_so_far <= p_max_bytes)
    returning q.*, c.last_chance
  )
  select video_id, claim_token::text, source_key, output_key, language, attempts as attempt, source_bytes,
    last_chance as alone
  from claimed
  order by priority desc, arrival;
end
$$;

-- The leases of these claims at once, by their tokens, which only their owner knows; what does not come back has been
-- lost to another.
create or replace function lipika_renew(p_claim_tokens uuid[], p_lease_seconds double precision) returns setof text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan
set enable_seqscan = off as $$
#variable_conflict use_column
begin
  if (p_lease_seconds between 0 and 86400) is not true then
    raise check_violation using message = 'a lease is for a day at most';
  end if;
  return query
  update video_queue
  set lease_expires_at = now() + make_interval(secs => p_lease_seconds)
  where claim_token = any(p_claim_tokens) and status in ('claimed', 'processing')
  returning video_id;
end
$$;

create or replace function lipika_start(p_video_id text, p_claim_token uuid) returns setof text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
begin
  return query
  update video_queue set status = 'processing'
  where video_id = p_video_id and claim_token = p_claim_token and status in ('claimed', 'processing')
  returning video_id;
end
$$;

-- The counters of any number of videos; those that are no longer the caller's are passed over. Touches no indexed
-- column: a heap-only update, as often as one likes.
create or replace function lipika_progress(p_videos jsonb) returns setof text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
begin
  return query
  update video_queue q
  set segment_count = n.segments, segments_polished = n.segments_polished,
    segments_discarded = n.segments_discarded, parts_discarded = n.parts_discarded, clip_count = n.clips,
    segments_transcribed = n.transcribed, segments_no_speech = n.no_speech, segments_failed = n.failed,
    discard_reasons = n.discard_reasons
  from jsonb_to_recordset(p_videos) as n (
    video_id text, claim_token uuid, segments int, segments_polished int, segments_discarded int, parts_discarded int,
    clips int, transcribed int, no_speech int, failed int, discard_reasons jsonb
  )
  where q.video_id = n.video_id and q.claim_token = n.claim_token and q.status in ('claimed', 'processing')
  returning q.video_id;
end
$$;

-- The token outlives the claim, so that a repeat after a lost reply finds its own work and not a lost lease.
create or replace function lipika_finish(
  p_video_id text,
  p_claim_token uuid,
  p_output_bytes bigint,
  p_output_digest text,
  p_segments integer,
  p_segments_polished integer,
  p_segments_discarded integer,
  p_parts_discarded integer,
  p_clips integer,
  p_transcribed integer,
  p_no_speech integer,
  p_failed integer,
  p_discard_reasons jsonb
) returns setof text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
begin
  return query
  update video_queue
  set status = 'done', lease_expires_at = null, completed_at = coalesce(completed_at, now()),
    error_code = null, error_message = null,
    output_bytes = p_output_bytes, output_digest = p_output_digest,
    segment_count = p_segments, segments_polished = p_segments_polished,
    segments_discarded = p_segments_discarded, parts_discarded = p_parts_discarded, clip_count = p_clips,
    segments_transcribed = p_transcribed, segments_no_speech = p_no_speech, segments_failed = p_failed,
    discard_reasons = p_discard_reasons
  where video_id = p_video_id and claim_token = p_claim_token and status in ('claimed', 'processing', 'done')
  returning video_id;
end
$$;

-- The attempt stays charged; with attempts left and a cause that may pass, the video waits for the next claim.
create or replace function lipika_fail(
  p_video_id text,
  p_claim_token uuid,
  p_retry boolean,
  p_error_code text,
  p_error_message text
) returns setof text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
begin
  return query
  update video_queue
  set status = case when p_retry and attempts < max_attempts then 'pending' else 'failed' end,
    claim_token = null, lease_expires_at = null, error_code = p_error_code, error_message = p_error_message
  where video_id = p_video_id and claim_token = p_claim_token and status in ('claimed', 'processing')
  returning status;
end
$$;

-- A graceful end is no failed attempt: it is given back.
create or replace function lipika_release(p_video_id text, p_claim_token uuid) returns setof text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
begin
  return query
  update video_queue
  set status = 'pending', claim_token = null, lease_expires_at = null, attempts = greatest(attempts - 1, 0)
  where video_id = p_video_id and claim_token = p_claim_token and status in ('claimed', 'processing')
  returning video_id;
end
$$;


-- ------------------------------------------------------------------------------------------------ results

-- One statement per batch of one video. The claim row is locked FOR KEY SHARE: it keeps a reclaim (FOR UPDATE SKIP
-- LOCKED) out until the rows are in, and never holds up the renewal of the lease. Without the claim nothing is
-- written. quality_rollup moves by the difference to what was there before, so that repeating a batch adds nothing.
create or replace function lipika_write_results(p_video_id text, p_claim_token uuid, p_rows jsonb, p_flags jsonb) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
  owned boolean;
begin
  with claim as materialized (
    select 1 from video_queue
    where video_id = p_video_id and claim_token = p_claim_token and status in ('claimed', 'processing')
    for key share
  ), incoming as materialized (
    select r.* from claim, jsonb_to_recordset(p_rows) as r (
      segment_file text, source_segment text, speaker_id text, status text,
      original_start_ms int, original_end_ms int, trimmed_start_ms int, trimmed_end_ms int,
      leading_pad_ms int, trailing_pad_ms int, duration_ms int, flags text[], boundary_score real, audio_digest text,
      audio_facts jsonb,
      expected_language_hint text, detected_language text, lang_mismatch_flag boolean,
      transcription text, tagged text,
      speaker_emotion text, speaker_style text, speaker_pace text, speaker_accent text,
      num_unk int, num_inaudible int, num_event_tags int, text_length_per_sec real, overlap_suspected boolean,
      quality_score real, score_parts jsonb, alignment_score real, alignment jsonb,
      asr_eligible boolean, tts_clean_eligible boolean, tts_expressive_eligible boolean,
      lane_reasons jsonb, findings jsonb,
      failure_kind text, failure_code text, failure_message text,
      prompt_version text, schema_version text, trimmer_version text, validator_version text,
      provider text, model_id text, model_version text, temperature real, thinking_level text,
      worker_id text, batch_id text, attempts int, latency_ms int,
      cache_hit boolean, token_usage_json jsonb, cost_usd double precision
    )
  ), previous as materialized (
    select segment_file, r.created_at, r.expected_language_hint, r.detected_language, r.worker_id, r.status,
      r.asr_eligible, r.tts_clean_eligible, r.tts_expressive_eligible, r.lang_mismatch_flag, r.quality_score,
      r.duration_ms, r.cost_usd
    from transcription_results r join incoming using (segment_file)
    where r.video_id = p_video_id
  ), written as (
    insert into transcription_results as r (
      video_id,
      segment_file, source_segment, speaker_id, status,
      original_start_ms, original_end_ms, trimmed_start_ms, trimmed_end_ms,
      leading_pad_ms, trailing_pad_ms, duration_ms, flags, boundary_score, audio_digest, audio_facts,
      expected_language_hint, detected_language, lang_mismatch_flag,
      transcription, tagged,
      speaker_emotion, speaker_style, speaker_pace, speaker_accent,
      num_unk, num_inaudible, num_event_tags, text_length_per_sec, overlap_suspected,
      quality_score, score_parts, alignment_score, alignment,
      asr_eligible, tts_clean_eligible, tts_expressive_eligible,
      lane_reasons, findings,
      failure_kind, failure_code, failure_message,
      prompt_version, schema_version, trimmer_version, validator_version,
      provider, model_id, model_version, temperature, thinking_level,
      worker_id, batch_id, attempts, latency_ms,
      cache_hit, token_usage_json, cost_usd
    )
    select p_video_id, i.* from incoming i
    on conflict (video_id, segment_file) do update set
      source_segment = excluded.source_segment, speaker_id = excluded.speaker_id, status = excluded.status,
      original_start_ms = excluded.original_start_ms, original_end_ms = excluded.original_end_ms,
      trimmed_start_ms = excluded.trimmed_start_ms, trimmed_end_ms = excluded.trimmed_end_ms,
      leading_pad_ms = excluded.leading_pad_ms, trailing_pad_ms = excluded.trailing_pad_ms,
      duration_ms = excluded.duration_ms, flags = excluded.flags, boundary_score = excluded.boundary_score,
      audio_digest = excluded.audio_digest, audio_facts = excluded.audio_facts,
      expected_language_hint = excluded.expected_language_hint,
      detected_language = excluded.detected_language, lang_mismatch_flag = excluded.lang_mismatch_flag,
      transcription = excluded.transcription, tagged = excluded.tagged,
      speaker_emotion = excluded.speaker_emotion, speaker_style = excluded.speaker_style,
      speaker_pace = excluded.speaker_pace, speaker_accent = excluded.speaker_accent,
      num_unk = excluded.num_unk, num_inaudible = excluded.num_inaudible, num_event_tags = excluded.num_event_tags,
      text_length_per_sec = excluded.text_length_per_sec, overlap_suspected = excluded.overlap_suspected,
      quality_score = excluded.quality_score, score_parts = excluded.score_parts,
      alignment_score = excluded.alignment_score, alignment = excluded.alignment, asr_eligible = excluded.asr_eligible,
      tts_clean_eligible = excluded.tts_clean_eligible, tts_expressive_eligible = excluded.tts_expressive_eligible,
      lane_reasons = excluded.lane_reasons, findings = excluded.findings,
      failure_kind = excluded.failure_kind, failure_code = excluded.failure_code,
      failure_message = excluded.failure_message, prompt_version = excluded.prompt_version,
      schema_version = excluded.schema_version, trimmer_version = excluded.trimmer_version,
      validator_version = excluded.validator_version, provider = excluded.provider, model_id = excluded.model_id,
      model_version = excluded.model_version, temperature = excluded.temperature,
      thinking_level = excluded.thinking_level, worker_id = excluded.worker_id, batch_id = excluded.batch_id,
      attempts = excluded.attempts, latency_ms = excluded.latency_ms, cache_hit = excluded.cache_hit,
      token_usage_json = excluded.token_usage_json, cost_usd = excluded.cost_usd
    -- A resumed video hands in its paid answers again: rows that say the same already are left alone.
    where (
      r.audio_digest, r.batch_id, r.latency_ms, r.attempts, r.status, r.transcription, r.tagged, r.detected_language,
      r.quality_score, r.findings, r.lane_reasons, r.flags, r.failure_message, r.trimmer_version, r.prompt_version,
      r.validator_version, r.cost_usd, r.alignment
    ) is distinct from (
      excluded.audio_digest, excluded.batch_id, excluded.latency_ms, excluded.attempts, excluded.status,
      excluded.transcription, excluded.tagged, excluded.detected_language, excluded.quality_score, excluded.findings,
      excluded.lane_reasons, excluded.flags, excluded.failure_message, excluded.trimmer_version,
      excluded.prompt_version, excluded.validator_version, excluded.cost_usd, excluded.alignment
    )
  ), counted as (
    insert into quality_rollup as q (
      hour, language, worker_id, clips, transcribed, no_speech, failed, asr_eligible, tts_clean, tts_expressive,
      lang_mismatch, scored, score_sum, duration_ms, cost_usd
    )
    select date_trunc('hour', created_at), coalesce(nullif(expected_language_hint, ''), detected_language, 'unknown'),
      worker_id, sum(sign), sum(sign * (status = 'transcribed')::int), sum(sign * (status = 'no_speech')::int),
      sum(sign * (status = 'failed')::int), sum(sign * asr_eligible::int), sum(sign * tts_clean_eligible::int),
      sum(sign * tts_expressive_eligible::int), sum(sign * coalesce(lang_mismatch_flag, false)::int),
      sum(sign * (quality_score is not null)::int), sum(sign * coalesce(quality_score, 0)),
      sum(sign * duration_ms), sum(sign * cost_usd)
    from (
      select 1 as sign, coalesce(p.created_at, now()) as created_at, i.expected_language_hint, i.detected_language,
        i.worker_id, i.status, i.asr_eligible, i.tts_clean_eligible, i.tts_expressive_eligible, i.lang_mismatch_flag,
        i.quality_score, i.duration_ms, i.cost_usd
      from incoming i left join previous p using (segment_file)
      union all
      select -1, created_at, expected_language_hint, detected_language,
        worker_id, status, asr_eligible, tts_clean_eligible, tts_expressive_eligible, lang_mismatch_flag,
        quality_score, duration_ms, cost_usd
      from previous
    ) change
    group by 1, 2, 3
    order by 1, 2, 3
    on conflict (hour, language, worker_id) do update set
      clips = q.clips + excluded.clips, transcribed = q.transcribed + excluded.transcribed,
      no_speech = q.no_speech + excluded.no_speech, failed = q.failed + excluded.failed,
      asr_eligible = q.asr_eligible + excluded.asr_eligible, tts_clean = q.tts_clean + excluded.tts_clean,
      tts_expressive = q.tts_expressive + excluded.tts_expressive,
      lang_mismatch = q.lang_mismatch + excluded.lang_mismatch, scored = q.scored + excluded.scored,
      score_sum = q.score_sum + excluded.score_sum, duration_ms = q.duration_ms + excluded.duration_ms,
      cost_usd = q.cost_usd + excluded.cost_usd
  ), incoming_flag as materialized (
    select f.* from claim, jsonb_to_recordset(p_flags) as f (
      segment_file text, flag_type text, start_ms int, end_ms int, severity text, details text
    )
  ), flagged as (
    insert into transcription_flags as f (video_id, segment_file, flag_type, start_ms, end_ms, severity, details)
    select p_video_id, i.* from incoming_flag i
    on conflict (video_id, segment_file, flag_type, start_ms) do update set
      severity = excluded.severity, details = excluded.details, end_ms = excluded.end_ms,
      resolved = f.resolved and f.resolved_by is distinct from 'lipika',
      resolved_at = case when f.resolved_by is distinct from 'lipika' then f.resolved_at end,
      resolved_by = case when f.resolved_by is distinct from 'lipika' then f.resolved_by end
    where (f.severity, f.details, f.end_ms) is distinct from (excluded.severity, excluded.details, excluded.end_ms)
      or f.resolved_by = 'lipika'
  ), settled as (
    update transcription_flags f
    set resolved = true, resolved_at = now(), resolved_by = 'lipika', note = coalesce(note, 'no longer found')
    from incoming i
    where f.video_id = p_video_id and f.segment_file = i.segment_file and not f.resolved
      and f.flag_type not like 'discard:%'
      and not exists (
        select from incoming_flag n
        where (n.segment_file, n.flag_type, n.start_ms) = (f.segment_file, f.flag_type, f.start_ms)
      )
  )
  select exists (select from claim) into owned;
  return owned;
end
$$;

-- Under the same guard as results.
create or replace function lipika_write_discards(p_video_id text, p_claim_token uuid, p_flags jsonb) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
  owned boolean;
begin
  with claim as materialized (
    select 1 from video_queue
    where video_id = p_video_id and claim_token = p_claim_token and status in ('claimed', 'processing')
    for key share
  ), flagged as (
    insert into transcription_flags as f (video_id, segment_file, flag_type, start_ms, end_ms, severity, details)
    select p_video_id, d.*
    from claim, jsonb_to_recordset(p_flags) as d (
      segment_file text, flag_type text, start_ms int, end_ms int, severity text, details text
    )
    on conflict (video_id, segment_file, flag_type, start_ms) do update set
      details = excluded.details, end_ms = excluded.end_ms
    where (f.details, f.end_ms) is distinct from (excluded.details, excluded.end_ms)
  )
  select exists (select from claim) into owned;
  return owned;
end
$$;

-- Another version of the trimmer cuts other clips: what the old one left is no part of the video any more.
create or replace function lipika_remove_clips(p_video_id text, p_claim_token uuid, p_segment_files text[]) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
declare
  owned boolean;
begin
  with claim as materialized (
    select 1 from video_queue
    where video_id = p_video_id and claim_token = p_claim_token and status in ('claimed', 'processing')
    for key share
  ), removed as (
    delete from transcription_results r
    using claim
    where r.video_id = p_video_id and r.segment_file = any(p_segment_files)
    returning r.*
  ), unflagged as (
    delete from transcription_flags f
    using claim
    where f.video_id = p_video_id and f.segment_file = any(p_segment_files) and f.flag_type not like 'discard:%'
  ), counted as (
    insert into quality_rollup as q (
      hour, language, worker_id, clips, transcribed, no_speech, failed, asr_eligible, tts_clean, tts_expressive,
      lang_mismatch, scored, score_sum, duration_ms, cost_usd
    )
    select date_trunc('hour', created_at), coalesce(nullif(expected_language_hint, ''), detected_language, 'unknown'),
      worker_id, -count(*), -sum((status = 'transcribed')::int), -sum((status = 'no_speech')::int),
      -sum((status = 'failed')::int), -sum(asr_eligible::int), -sum(tts_clean_eligible::int),
      -sum(tts_expressive_eligible::int), -sum(coalesce(lang_mismatch_flag, false)::int),
      -sum((quality_score is not null)::int), -sum(coalesce(quality_score, 0)), -sum(duration_ms), -sum(cost_usd)
    from removed
    group by 1, 2, 3
    order by 1, 2, 3
    on conflict (hour, language, worker_id) do update set
      clips = q.clips + excluded.clips, transcribed = q.transcribed + excluded.transcribed,
      no_speech = q.no_speech + excluded.no_speech, failed = q.failed + excluded.failed,
      asr_eligible = q.asr_eligible + excluded.asr_eligible, tts_clean = q.tts_clean + excluded.tts_clean,
      tts_expressive = q.tts_expressive + excluded.tts_expressive,
      lang_mismatch = q.lang_mismatch + excluded.lang_mismatch, scored = q.scored + excluded.scored,
      score_sum = q.score_sum + excluded.score_sum, duration_ms = q.duration_ms + excluded.duration_ms,
      cost_usd = q.cost_usd + excluded.cost_usd
  )
  select exists (select from claim) into owned;
  return owned;
end
$$;

create or replace function lipika_write_batch(p_key text, p_batch jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- A repeat after a lost reply writes the same row again. Each worker writes its own rows only.
begin
  if not lipika_is_worker(p_batch ->> 'worker_id', p_key) then
    raise insufficient_privilege using message = format('the batch is of worker %s', p_batch ->> 'worker_id');
  end if;
  if exists (
    select from jsonb_each(p_batch) figure
    where case when jsonb_typeof(figure.value) = 'number' then figure.value::numeric < 0 end
  ) then
    raise check_violation using message = 'a batch holds no negative figures';
  end if;
  insert into transcription_batches as known (
    batch_id, worker_id, video_ids, started_at, segments_sent, segments_returned, segments_429, segments_error,
    segments_retried, provider_used, cache_hits, cached_tokens, prompt_tokens, output_tokens, thought_tokens, cost_usd,
    avg_latency_ms, p95_latency_ms, batch_duration_ms, failure_kinds, validation_scores_summary, audio_tokens,
    latency_counts
  )
  select batch_id, worker_id, video_ids, to_timestamp(started_at), segments_sent, segments_returned, segments_429,
    segments_error, segments_retried, provider_used, cache_hits, cached_tokens, prompt_tokens, output_tokens,
    thought_tokens, cost_usd, avg_latency_ms, p95_latency_ms, batch_duration_ms, failure_kinds,
    validation_scores_summary, audio_tokens, latency_counts
  from jsonb_to_record(p_batch) as b (
    batch_id text, worker_id text, video_ids text[], started_at double precision, segments_sent int,
    segments_returned int, segments_429 int, segments_error int, segments_retried int, provider_used text,
    cache_hits int, cached_tokens bigint, prompt_tokens bigint, output_tokens bigint, thought_tokens bigint,
    cost_usd double precision, avg_latency_ms double precision, p95_latency_ms double precision,
    batch_duration_ms int, failure_kinds jsonb, validation_scores_summary jsonb, audio_tokens bigint,
    latency_counts int[]
  )
  on conflict (batch_id) do update set
    video_ids = excluded.video_ids, segments_sent = excluded.segments_sent,
    segments_returned = excluded.segments_returned, segments_429 = excluded.segments_429,
    segments_error = excluded.segments_error, segments_retried = excluded.segments_retried,
    provider_used = excluded.provider_used, cache_hits = excluded.cache_hits, cached_tokens = excluded.cached_tokens,
    prompt_tokens = excluded.prompt_tokens, output_tokens = excluded.output_tokens,
    thought_tokens = excluded.thought_tokens, cost_usd = excluded.cost_usd, avg_latency_ms = excluded.avg_latency_ms,
    p95_latency_ms = excluded.p95_latency_ms, batch_duration_ms = excluded.batch_duration_ms,
    failure_kinds = excluded.failure_kinds, validation_scores_summary = excluded.validation_scores_summary,
    audio_tokens = excluded.audio_tokens, latency_counts = excluded.latency_counts
  where known.worker_id = excluded.worker_id;
end
$$;

-- ------------------------------------------------------------------------------------------------ the fleet

create or replace function lipika_register(
  p_worker_id text, p_key text, p_instance_id text, p_provider text, p_gpu_type text, p_config jsonb
) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- History is kept for a month: whoever comes takes away what is older, by the front of the index.
begin
  if not lipika_is_worker(p_worker_id, p_key) then
    return false;
  end if;
  delete from worker_minutes where minute < now() - interval '30 days';
  insert into workers (worker_id, instance_id, provider, gpu_type, config_json)
  values (p_worker_id, p_instance_id, p_provider, p_gpu_type, p_config)
  on conflict (worker_id) do nothing;
  return true;
end
$$;

create or replace function lipika_heartbeat(p_worker_id text, p_key text, p_told jsonb) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- False: the worker has been given up, or is somebody else's. No column of it is indexed: a heap-only update.
begin
  if not lipika_is_worker(p_worker_id, p_key) then
    return false;
  end if;
  update workers w
  set last_heartbeat_at = now(), current_video_id = t.current_video_id, segments_remaining = t.segments_remaining,
    total_segments_sent = t.segments_sent, total_segments_completed = t.segments_completed,
    total_segments_failed = t.segments_failed, total_segments_429 = t.segments_429,
    total_cache_hits = t.cache_hits, batches_completed = t.batches_completed,
    avg_batch_latency_ms = t.avg_batch_latency_ms, spend_usd = t.spend_usd, provider = t.provider,
    total_prompt_tokens = t.prompt_tokens, total_cached_tokens = t.cached_tokens,
    total_output_tokens = t.output_tokens, total_failures = t.failures, alignment = nullif(t.alignment, 'null')
  from jsonb_to_record(p_told) as t (
    provider text, current_video_id text, segments_remaining int, segments_sent bigint, segments_completed bigint,
    segments_failed bigint, segments_429 bigint, cache_hits bigint, batches_completed bigint,
    avg_batch_latency_ms double precision, spend_usd double precision, prompt_tokens bigint, cached_tokens bigint,
    output_tokens bigint, failures jsonb, alignment jsonb
  )
  where w.worker_id = p_worker_id and w.status = 'online';
  return found;
end
$$;

-- Says what this worker does and learns what the fleet does, and whether it is to stop, in one round trip. The sums are
-- those of the others before this statement plus our own new figures. The last of each minute stays as its history.
create or replace function lipika_live(p_worker_id text, p_key text, p_told jsonb, p_within_seconds double precision)
returns table (
  registered boolean, drain boolean, workers bigint, active_rpm bigint, active_tpm bigint, requests_in_flight bigint
)
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
begin
  return query
  with told as materialized (
    select * from jsonb_to_record(p_told) as t (
      active_rpm int, active_tpm bigint, requests_in_flight int, limited_by text, draining boolean,
      usd double precision, clips int, prompt_tokens bigint, cached_tokens bigint, failures jsonb,
      latency_counts int[], rate_limited int, errors int
    )
    where lipika_is_worker(p_worker_id, p_key)
  ), own as (
    update workers w
    set live_at = now(), active_rpm = t.active_rpm, active_tpm = t.active_tpm,
      requests_in_flight = t.requests_in_flight, limited_by = t.limited_by, draining = t.draining,
      active_usd = t.usd, active_clips = t.clips, active_prompt_tokens = t.prompt_tokens,
      active_cached_tokens = t.cached_tokens, active_failures = t.failures, active_latency = t.latency_counts
    from told t
    where w.worker_id = p_worker_id and w.status = 'online'
    returning w.worker_id, w.provider, w.drain_requested_at is not null as drain
  ), history as (
    insert into worker_minutes (
      minute, worker_id, provider, rpm, tpm, usd, clips, rate_limited, errors, in_flight
    )
    select date_trunc('minute', now()), own.worker_id, own.provider, t.active_rpm, t.active_tpm, t.usd, t.clips,
      t.rate_limited, t.errors, t.requests_in_flight
    from own, told t
    on conflict (minute, worker_id) do update set
      provider = excluded.provider, rpm = excluded.rpm, tpm = excluded.tpm, usd = excluded.usd,
      clips = excluded.clips, rate_limited = excluded.rate_limited, errors = excluded.errors,
      in_flight = excluded.in_flight
  )
  select
    exists (select from own),
    coalesce((select own.drain from own), false),
    count(*) + 1,
    coalesce(sum(o.active_rpm), 0)::bigint + coalesce((p_told ->> 'active_rpm')::bigint, 0),
    coalesce(sum(o.active_tpm), 0)::bigint + coalesce((p_told ->> 'active_tpm')::bigint, 0),
    coalesce(sum(o.requests_in_flight), 0)::bigint + coalesce((p_told ->> 'requests_in_flight')::bigint, 0)
  from workers o
  where o.status = 'online' and o.worker_id <> p_worker_id and o.provider = (select own.provider from own)
    and greatest(o.last_heartbeat_at, o.live_at) > now() - make_interval(secs => p_within_seconds);
end
$$;

create or replace function lipika_offline(p_worker_id text, p_key text, p_status text) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
-- A worker that stops because of an error says so; either way it counts no more.
begin
  if not lipika_is_worker(p_worker_id, p_key) then
    return false;
  end if;
  update workers
  set status = p_status, stopped_at = now(), last_heartbeat_at = now(), current_video_id = null,
    segments_remaining = null, active_rpm = 0, active_tpm = 0, requests_in_flight = 0,
    limited_by = null, draining = false, active_usd = 0, active_clips = 0, active_prompt_tokens = 0,
    active_cached_tokens = 0, active_failures = '{}', active_latency = '{}'
  where worker_id = p_worker_id;
  return found;
end
$$;

create or replace function lipika_record_error(
  p_worker_id text, p_key text, p_video_id text, p_exception_type text, p_message text, p_traceback text,
  p_summary text
) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  if not lipika_is_worker(p_worker_id, p_key) then
    return false;
  end if;
  update workers set last_error = p_summary, last_error_at = now() where worker_id = p_worker_id;
  insert into worker_errors (worker_id, video_id, exception_type, message, traceback)
  values (p_worker_id, p_video_id, p_exception_type, p_message, p_traceback);
  return true;
end
$$;

-- ------------------------------------------------------------------------------------------------ the ledger

-- Whoever writes it: a sum below nothing would raise a cap, and one that is no number would void it.
do $$
begin
  if not exists (select from pg_constraint where conname = 'provider_spend_is_a_sum') then
    alter table provider_spend add constraint provider_spend_is_a_sum check (
      usd >= 0 and usd < 'infinity' and reserved_usd >= 0 and reserved_usd < 'infinity'
    ) not valid;
  end if;
end
$$;

drop function if exists lipika_reserve(
  text, text, text, integer, double precision, double precision, double precision, double precision,
  double precision, double precision, double precision, double precision, double precision, double precision,
  double precision
);

create or replace function lipika_check_question(
  p_provider text, p_project text, p_wanted integer, p_tokens_each double precision, p_usd_each double precision,
  p_usd_most double precision, p_tokens_over double precision, p_usd_over double precision, p_usd_today double precision,
  p_reserved double precision, p_horizon double precision, p_safety double precision, p_fresh double precision,
  p_lease double precision
) returns void
language plpgsql immutable set search_path = pg_catalog, public, pg_temp as $$
-- Figures that no worker of ours ever says, each of which would bend the ledger. NaN is above infinity here.
declare
  top constant double precision := 'infinity';
begin
  if p_usd_today >= 0 and p_usd_today < top and p_reserved >= 0 and p_reserved < top
    and p_usd_each >= 0 and p_usd_each <= p_usd_most and p_usd_most < top and p_tokens_each >= 0 and p_tokens_each < top
    and p_tokens_over > -top and p_tokens_over < top and p_usd_over > -top and p_usd_over < top
    and p_horizon > 0 and p_horizon <= 60 and p_safety > 0 and p_safety <= 1
    and p_fresh >= 5 and p_fresh <= 3600 and p_lease >= 60 and p_lease < top
    and p_wanted is not null and length(p_provider) between 1 and 64 and length(p_project) <= 64
  then
    return;
  end if;
  raise check_violation using message = 'the ledger takes no sums below nothing, no sizes beyond bounds, and no NaN';
end
$$;

-- The same as lipika.limits.affordable: each request may cost the most there is, and all together no more than what is
-- left of a cap. With nothing else on its way one may go whose usual cost is left, if it cannot take more than a tenth
-- over the cap: else the last dollars of a small cap could not be spent.
create or replace function lipika_affordable(
  p_cap double precision, p_spent double precision, p_reserved double precision, p_each double precision,
  p_most double precision
) returns integer language sql immutable set search_path = pg_catalog, public, pg_temp as $$
  select case
    when p_cap - p_spent - p_reserved <= 0 then 0
    when p_most <= 0 then 1000000000
    when p_cap - p_spent - p_reserved < p_most and p_reserved < 1e-7 and p_each <= p_cap - p_spent - p_reserved
      and p_spent + p_most <= 1.1 * p_cap then 1
    else trunc(least((p_cap - p_spent - p_reserved) / p_most, 1e9))::integer
  end
$$;

-- The same arithmetic as lipika.limits.grant, which a test holds against it. One statement for the caller, so that
-- the row is locked for one round trip's work on the server only, however far away the worker is.
create or replace function lipika_reserve(
  p_key text,                 -- of the worker: it speaks for itself only
  p_provider text,
  p_project text,
  p_worker text,
  p_wanted integer,           -- requests the worker would like to launch soon
  p_tokens_each double precision,
  p_usd_each double precision,
  p_usd_most double precision,     -- of one request whose answer runs on to its limit: what is reserved of a cap
  p_tokens_over double precision,  -- metered minus guessed, of what has ended since the last question
  p_usd_over double precision,
  p_usd_today double precision,    -- metered by this worker on this UTC day
  p_reserved double precision,     -- granted to this worker, not yet metered
  p_horizon double precision,
  p_safety double precision,
  p_fresh double precision,        -- a worker silent for longer (s) holds no share
  p_lease double precision,        -- and for longer than this (s) no money
  p_at double precision default null
) returns table (
  granted integer,
  start_in_s double precision,
  step_s double precision,
  binds text,
  retry_in_s double precision,
  live_workers integer,
  pause_reason text,
  unlimited boolean
) language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
declare
  -- What was metered beyond its guess moves a cursor so far ahead at most: one worker's word stops nobody for good.
  c_ahead_s constant double precision := 1200;
  b provider_budgets;
  at_s double precision := coalesce(p_at, extract(epoch from clock_timestamp()));
  today date := (to_timestamp(at_s) at time zone 'utc')::date;
  spent_total double precision;
  spent_today double precision;
  reserved double precision;
  rpm_s double precision;
  tpm_s double precision;
  usd_s double precision;
  own_today double precision;
  n integer := greatest(p_wanted, 0);
  room integer;
  affordable integer;
  start_s double precision := at_s;
begin
  if not lipika_is_worker(p_worker, p_key) then
    raise insufficient_privilege using message = format('worker %s is somebody else''s', p_worker);
  end if;
  perform lipika_check_question(
    p_provider, p_project, p_wanted, p_tokens_each, p_usd_each, p_usd_most, p_tokens_over, p_usd_over, p_usd_today,
    p_reserved, p_horizon, p_safety, p_fresh, p_lease
  );
  -- Only who owns the ledger may move its clock, for tests: tomorrow has a cap of its own.
  if abs(at_s - extract(epoch from clock_timestamp())) > 300 and not pg_has_role(session_user, current_user, 'member') then
    raise insufficient_privilege using message = 'the clock of the ledger is the server''s';
  end if;
  -- All workers wait for this one row, and none of them for a disk: a server that crashes forgets grants of half a
  -- second at most, and what was spent is told again.
  perform set_config('synchronous_commit', 'off', true);
  insert into provider_budgets (provider, project) values (p_provider, p_project) on conflict do nothing;
  select * into b from provider_budgets where provider = p_provider and project = p_project for update;

  select coalesce(sum(s.usd), 0), coalesce(sum(s.usd) filter (where s.day = today), 0),
    coalesce(sum(s.reserved_usd) filter (where s.asked_at > at_s - p_lease), 0),
    1 + count(distinct s.worker_id) filter (where s.asked_at > at_s - p_fresh and s.worker_id <> p_worker)
  into spent_total, spent_today, reserved, live_workers
  from provider_spend s
  where s.provider = p_provider and s.project = p_project
    and not (s.worker_id = p_worker and s.day = today);
  -- What a worker has said it spent it cannot take back.
  select greatest(p_usd_today, max(s.usd)) into own_today
  from provider_spend s
  where s.provider = p_provider and s.project = p_project and s.worker_id = p_worker and s.day = today;
  spent_total := spent_total + own_today;
  spent_today := spent_today + own_today;
  reserved := reserved + p_reserved;

  tpm_s := greatest(b.tokens_per_minute * p_safety, b.tokens_per_minute / 2.0) / 60;
  usd_s := greatest(b.spend_10min_usd * p_safety, b.spend_10min_usd / 2) / 600;
  if tpm_s > 0 then
    b.tokens_until := least(b.tokens_until + p_tokens_over / tpm_s, greatest(b.tokens_until, at_s + c_ahead_s));
  end if;
  if usd_s > 0 then
    b.usd_until := least(b.usd_until + p_usd_over / usd_s, greatest(b.usd_until, at_s + c_ahead_s));
  end if;

  step_s := 0;
  binds := '';
  retry_in_s := 0;
  if b.paused then
    n := 0;
    binds := 'paused';
    retry_in_s := 1;
    pause_reason := b.pause_reason;
  elsif n > 0 then
    if b.spend_total_usd is not null then
      affordable := lipika_affordable(b.spend_total_usd, spent_total, reserved, p_usd_each, p_usd_most);
      if affordable < n then
        n := affordable;
        binds := 'spend_total';
      end if;
    end if;
    if b.spend_day_usd is not null then
      affordable := lipika_affordable(b.spend_day_usd, spent_today, reserved, p_usd_each, p_usd_most);
      if affordable < n then
        n := affordable;
        binds := 'spend_day';
      end if;
    end if;
    if n = 0 then  -- what is on its way may turn out to cost less than it may at most
      retry_in_s := case when reserved > 1e-7 then 0.5 else 5 end;
    else
      rpm_s := greatest(b.requests_per_minute * p_safety, b.requests_per_minute / 2.0) / 60;
      tpm_s := greatest(b.tokens_per_minute * p_safety - p_tokens_each, b.tokens_per_minute / 2.0) / 60;
      usd_s := greatest(b.spend_10min_usd * p_safety - p_usd_each, b.spend_10min_usd / 2) / 600;
      if rpm_s is not null then
        room := lipika_room(b.requests_until, rpm_s, 1, p_horizon, live_workers, at_s);
        if room < n then
          n := room;
          binds := 'rpm';
        end if;
        start_s := greatest(start_s, b.requests_until);
        step_s := greatest(step_s, 1 / nullif(rpm_s, 0));
      end if;
      if tpm_s is not null and p_tokens_each > 0 then
        room := lipika_room(b.tokens_until, tpm_s, p_tokens_each, p_horizon, live_workers, at_s);
        if room < n then
          n := room;
          binds := 'tpm';
        end if;
        start_s := greatest(start_s, b.tokens_until);
        step_s := greatest(step_s, p_tokens_each / nullif(tpm_s, 0));
      end if;
      if usd_s is not null and p_usd_each > 0 then
        room := lipika_room(b.usd_until, usd_s, p_usd_each, p_horizon, live_workers, at_s);
        if room < n then
          n := room;
          binds := 'spend_10min';
        end if;
        start_s := greatest(start_s, b.usd_until);
        step_s := greatest(step_s, p_usd_each / nullif(usd_s, 0));
      end if;
      if n < 1 then
        n := 0;
        retry_in_s := greatest(least(start_s - at_s, p_horizon) / 2, 0.05);
      else
        if rpm_s > 0 then
          b.requests_until := greatest(b.requests_until, at_s) + n / rpm_s;
        end if;
        if tpm_s > 0 and p_tokens_each > 0 then
          b.tokens_until := greatest(b.tokens_until, at_s) + n * p_tokens_each / tpm_s;
        end if;
        if usd_s > 0 and p_usd_each > 0 then
          b.usd_until := greatest(b.usd_until, at_s) + n * p_usd_each / usd_s;
        end if;
      end if;
    end if;
  end if;

  update provider_budgets
  set requests_until = b.requests_until, tokens_until = b.tokens_until, usd_until = b.usd_until
  where provider = p_provider and project = p_project;
  insert into provider_spend as s (provider, project, worker_id, day, usd, reserved_usd, asked_at)
  values (p_provider, p_project, p_worker, today, own_today, p_reserved + n * p_usd_most, at_s)
  on conflict (provider, project, worker_id, day) do update
  set usd = greatest(s.usd, excluded.usd), reserved_usd = excluded.reserved_usd, asked_at = excluded.asked_at;
  -- Money that was reserved yesterday is said again with today's row.
  update provider_spend s set reserved_usd = 0
  where s.provider = p_provider and s.project = p_project and s.worker_id = p_worker and s.day < today
    and s.reserved_usd <> 0;

  unlimited := not b.paused and num_nonnulls(
    b.requests_per_minute, b.tokens_per_minute, b.spend_10min_usd, b.spend_day_usd, b.spend_total_usd
  ) = 0;
  granted := n;
  start_in_s := start_s - at_s;
  return next;
end
$$;

-- ------------------------------------------------------------------------------------------------ rights

-- Nothing of ours is the public's, nor that of Supabase's public keys, whatever the platform gives to them by default:
-- tables, the sequences behind them, functions.
do $$
declare
  thing record;
  grantee text;
begin
  for thing in
    select case c.relkind when 'S' then 'sequence' else 'table' end as kind, format('%I', c.relname) as name
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and (
      c.oid = 'worker_keys'::regclass
      or c.relkind = 'S' and exists (
        select from pg_depend d
        where d.objid = c.oid and d.deptype in ('a', 'i')
          and d.refobjid in ('video_queue'::regclass, 'worker_errors'::regclass)
      )
    )
    union all
    select 'function', p.oid::regprocedure::text
    from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname like 'lipika\_%'
  loop
    execute format('revoke all on %s %s from public', thing.kind, thing.name);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on %s %s from %I', thing.kind, thing.name, grantee);
    end loop;
  end loop;
end
$$;

insert into lipika_migrations (version, name) values ('20261128000700', 'worker_functions') on conflict do nothing;
