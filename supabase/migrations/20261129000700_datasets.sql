-- Datasets that were exported: what was planned, how far it is, and whether it was read back whole. And who wrote a clip's
-- text. Idempotent.

-- A table of somebody else under this name is left alone, and so is everything else.
do $$
begin
  if to_regclass('datasets') is not null and exists (
    select from unnest(array['id', 'dest', 'plan_digest', 'verification']) as wanted
    where not exists (
      select from pg_attribute a
      where a.attrelid = to_regclass('datasets') and a.attname = wanted and not a.attisdropped and a.attnum > 0
    )
  ) then
    raise duplicate_table using
      message = 'datasets is not a table of lipika: it lacks some of id, dest, plan_digest, verification',
      hint = 'Give lipika a database of its own, or rename that table.';
  end if;
end
$$;

create table if not exists datasets (
  id           bigint generated always as identity primary key,
  dest         text not null,
  format       text not null,
  options      jsonb not null,
  plan_digest  text not null,
  state        text not null check (state in ('planned', 'writing', 'done', 'failed')),
  counts       jsonb not null,
  tarsets      jsonb not null,
  jobs_total   integer not null check (jobs_total >= 0),
  jobs_done    integer not null default 0 check (jobs_done between 0 and jobs_total),
  bytes        bigint not null default 0 check (bytes >= 0),
  seconds      double precision not null default 0 check (seconds >= 0),
  error        text,
  created_at   timestamptz not null default now(),
  updated_at   timestamptz not null default now(),
  verified_at  timestamptz,
  verification jsonb,
  unique (dest, plan_digest)
);
comment on table datasets is 'One row per export: a plan, and the place it is written to.';
comment on column datasets.dest is 'Folder or URL.';
comment on column datasets.options is 'As given: selection, view, splits, seed, ...';
comment on column datasets.plan_digest is 'SHA-256 of the plan. The same plan at the same place is the same export, gone on with.';
comment on column datasets.counts is 'Clips: candidates, exported, and dropped by reason.';
comment on column datasets.tarsets is 'An array of language, split, shards, clips and seconds of audio.';
comment on column datasets.jobs_total is 'Batches of videos whose archives are read once.';
comment on column datasets.bytes is 'Written so far.';
comment on column datasets.seconds is 'That writing took, over all runs of the command.';
comment on column datasets.error is 'Why it failed.';
comment on column datasets.verification is 'Of the last reading: state (good, bad), clips, and defects with place, code and message.';
create index if not exists datasets_newest on datasets (updated_at desc);

alter table datasets enable row level security;

-- A constant default and `not null` take no look at rows that are there. A check would read them all, with the table locked
-- for everybody; a trigger looks at what is written, and rows from before hold the default.
alter table transcription_results add column if not exists text_source text not null default 'model';
comment on column transcription_results.text_source is
  'Who wrote the text: model | person (edited or approved) | reference (a transcript from elsewhere).';

create or replace function lipika_refuse_text_source() returns trigger
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
begin
  raise check_violation using
    message = format('text_source is model, person or reference, not %L', new.text_source), table = 'transcription_results',
    column = 'text_source';
end
$$;

do $$
begin
  if not exists (
    select from pg_trigger where tgrelid = 'transcription_results'::regclass and tgname = 'check_text_source'
  ) then
    create trigger check_text_source before insert or update of text_source on transcription_results
    for each row when (new.text_source not in ('model', 'person', 'reference'))
    execute function lipika_refuse_text_source();
  end if;
end
$$;

-- ------------------------------------------------------------------------------------------------ results

-- As lipika_write_results, which stays for workers that were started before the upgrade, and with the source of the text.
-- One statement per batch of one video. The claim row is locked FOR KEY SHARE: it keeps a reclaim (FOR UPDATE SKIP
-- LOCKED) out until the rows are in, and never holds up the renewal of the lease. Without the claim nothing is
-- written. quality_rollup moves by the difference to what was there before, so that repeating a batch adds nothing.
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
      token_usage_json = excluded.token_usage_json, cost_usd = excluded.cost_usd
    -- A resumed video hands in its paid answers again: rows that say the same already are left alone.
    where (
      r.audio_digest, r.batch_id, r.latency_ms, r.attempts, r.status, r.transcription, r.tagged, r.detected_language,
      r.quality_score, r.findings, r.lane_reasons, r.flags, r.failure_message, r.trimmer_version, r.prompt_version,
      r.validator_version, r.cost_usd, r.alignment, r.text_source
    ) is distinct from (
      excluded.audio_digest, excluded.batch_id, excluded.latency_ms, excluded.attempts, excluded.status,
      excluded.transcription, excluded.tagged, excluded.detected_language, excluded.quality_score, excluded.findings,
      excluded.lane_reasons, excluded.flags, excluded.failure_message, excluded.trimmer_version,
      excluded.prompt_version, excluded.validator_version, excluded.cost_usd, excluded.alignment,
      excluded.text_source
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

-- ------------------------------------------------------------------------------------------------ rights

do $$
declare
  thing text;
  grantee text;
begin
  foreach thing in array array[
    'table datasets', 'sequence datasets_id_seq', 'function lipika_write_clips(text, uuid, jsonb, jsonb)',
    'function lipika_refuse_text_source()'
  ] loop
    execute format('revoke all on %s from public', thing);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on %s from %I', thing, grantee);
    end loop;
  end loop;
  -- Whose workers may write results may write them in this way, and who may read results may read the list of exports, but
  -- no worker; roles.sql need not be run again for it.
  if exists (select from pg_roles where rolname = 'lipika_worker') and has_function_privilege(
    'lipika_worker', 'lipika_write_results(text, uuid, jsonb, jsonb)', 'execute'
  ) then
    grant execute on function lipika_write_clips(text, uuid, jsonb, jsonb) to lipika_worker;
  end if;
  if exists (select from pg_roles where rolname = 'lipika_reader') and has_table_privilege(
    'lipika_reader', 'transcription_results', 'select'
  ) then
    grant select on datasets to lipika_reader;
    if not exists (select from pg_policy where polrelid = 'datasets'::regclass and polname = 'lipika_reader') then
      create policy lipika_reader on datasets for select to lipika_reader using (true);
    end if;
  end if;
end
$$;

insert into lipika_migrations (version, name) values ('20261129000700', 'datasets') on conflict do nothing;
