-- Rows that are written anew are locked before they are read: what a person's edit has made of one, while its writer waited
-- for it, is counted off again. Idempotent.

create or replace function lipika_write_clips(p_video_id text, p_claim_token uuid, p_rows jsonb, p_flags jsonb) returns boolean
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
      transcription text, tagged text, text_source text,
      speaker_emotion text, speaker_style text, speaker_pace text, speaker_accent text,
      num_unk int, num_inaudible int, num_event_tags int, text_length_per_sec real, overlap_suspected boolean,
      quality_score real, score_parts jsonb, alignment_score real, alignment jsonb,
      asr_eligible boolean, tts_clean_eligible boolean, tts_expressive_eligible boolean,
      lane_reasons jsonb, findings jsonb,
      failure_kind text, failure_code text, failure_message text,
      prompt_version text, schema_version text, trimmer_version text, validator_version text,
      provider text, model_id text, model_version text, temperature real, thinking_level text,
      worker_id text, batch_id text, attempts int, latency_ms int,
      cache_hit boolean, token_usage_json jsonb, cost_usd double precision, service_tier text,
      cascade jsonb
    )
  ), previous as materialized (
    select segment_file, r.created_at, r.expected_language_hint, r.detected_language, r.worker_id, r.status,
      r.asr_eligible, r.tts_clean_eligible, r.tts_expressive_eligible, r.lang_mismatch_flag, r.quality_score,
      r.duration_ms, r.cost_usd
    from transcription_results r join incoming using (segment_file)
    where r.video_id = p_video_id
    order by r.segment_file
    for update of r
  ), written as (
    insert into transcription_results as r (
      video_id,
      segment_file, source_segment, speaker_id, status,
      original_start_ms, original_end_ms, trimmed_start_ms, trimmed_end_ms,
      leading_pad_ms, trailing_pad_ms, duration_ms, flags, boundary_score, audio_digest, audio_facts,
      expected_language_hint, detected_language, lang_mismatch_flag,
      transcription, tagged, text_source,
      speaker_emotion, speaker_style, speaker_pace, speaker_accent,
      num_unk, num_inaudible, num_event_tags, text_length_per_sec, overlap_suspected,
      quality_score, score_parts, alignment_score, alignment,
      asr_eligible, tts_clean_eligible, tts_expressive_eligible,
      lane_reasons, findings,
      failure_kind, failure_code, failure_message,
      prompt_version, schema_version, trimmer_version, validator_version,
      provider, model_id, model_version, temperature, thinking_level,
      worker_id, batch_id, attempts, latency_ms,
      cache_hit, token_usage_json, cost_usd, service_tier, cascade
    )
    -- Those of before first: what is counted off is then what is replaced.
    select p_video_id, i.* from incoming i where (select count(*) from previous) >= 0
    on conflict (video_id, segment_file) do update set
      source_segment = excluded.source_segment, speaker_id = excluded.speaker_id, status = excluded.status,
      original_start_ms = excluded.original_start_ms, original_end_ms = excluded.original_end_ms,
      trimmed_start_ms = excluded.trimmed_start_ms, trimmed_end_ms = excluded.trimmed_end_ms,
      leading_pad_ms = excluded.leading_pad_ms, trailing_pad_ms = excluded.trailing_pad_ms,
      duration_ms = excluded.duration_ms, flags = excluded.flags, boundary_score = excluded.boundary_score,
      audio_digest = excluded.audio_digest, audio_facts = excluded.audio_facts,
      expected_language_hint = excluded.expected_language_hint,
      detected_language = excluded.detected_language, lang_mismatch_flag = excluded.lang_mismatch_flag,
      transcription = excluded.transcription, tagged = excluded.tagged, text_source = excluded.text_source,
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
      token_usage_json = excluded.token_usage_json, cost_usd = excluded.cost_usd,
      service_tier = excluded.service_tier, cascade = excluded.cascade
    -- A resumed video hands in its paid answers again: rows that say the same already are left alone.
    where (
      r.audio_digest, r.batch_id, r.latency_ms, r.attempts, r.status, r.transcription, r.tagged, r.detected_language,
      r.quality_score, r.findings, r.lane_reasons, r.flags, r.failure_message, r.trimmer_version, r.prompt_version,
      r.validator_version, r.cost_usd, r.alignment, r.text_source, r.service_tier, r.cascade
    ) is distinct from (
      excluded.audio_digest, excluded.batch_id, excluded.latency_ms, excluded.attempts, excluded.status,
      excluded.transcription, excluded.tagged, excluded.detected_language, excluded.quality_score, excluded.findings,
      excluded.lane_reasons, excluded.flags, excluded.failure_message, excluded.trimmer_version,
      excluded.prompt_version, excluded.validator_version, excluded.cost_usd, excluded.alignment,
      excluded.text_source, excluded.service_tier, excluded.cascade
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

insert into lipika_migrations (version, name) values ('20261130001010', 'locked_rows') on conflict do nothing;
