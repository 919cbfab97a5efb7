-- name: videos
-- Videos first..last of videos: most are done, some failed for several reasons, the workers hold twenty each.
insert into video_queue (
  video_id, status, held, language, source_key, output_key, claimed_by, claimed_at, claim_token, lease_expires_at,
  attempts, segment_count, segments_polished, segments_discarded, clip_count, segments_transcribed, segments_no_speech,
  segments_failed, error_code, error_message, completed_at, output_bytes, output_digest
)
select
  'v' || lpad(n::text, 8, '0'), state, state = 'pending' and n %% 50 = 0,
  (array['as', 'bn', 'gu', 'hi', 'hi', 'hi', 'kn', 'ml', 'mr', 'or', 'pa', 'ta', 'ta', 'te', 'ur', null])[1 + n %% 16],
  'raw/v' || n || '.tar', 'out/v' || n || '_transcribed.tar',
  case when state <> 'pending' then 'worker-' || n %% %(workers)s end,
  case when state <> 'pending' then now() - (n %% 7200) * interval '1 second' end,
  case when state = 'processing' then gen_random_uuid() end,
  case when state = 'processing' then now() + interval '2 minutes' end,
  (state <> 'pending')::int,
  case when ended then %(clips)s + 1 end, case when ended then %(clips)s else 0 end, ended::int,
  case when ended then %(clips)s else 0 end, case when ended then %(clips)s - 1 else 0 end, ended::int, 0,
  case when state = 'failed' then (array['bad_tar', 'source_missing', 'attempts_exhausted'])[1 + n %% 3] end,
  case when state = 'failed' then 'v' || n || ': made up for a benchmark' end,
  case when ended then now() - (n %% 96) * interval '1 hour' end, case when ended then 1000000 end,
  case when ended then repeat('0', 64) end
from (
  select n, state, state = 'done' as ended
  from generate_series(%(first)s::int, %(last)s::int) n
  cross join lateral (
    select case
      when n < %(workers)s * 20 then 'processing'
      when n < %(videos)s * 0.62 then case when n %% 60 = 0 then 'failed' else 'done' end
      else 'pending'
    end as state
  ) s
) made

-- name: results
-- clips clips each of the videos first..last.
insert into transcription_results (
  video_id, segment_file, source_segment, speaker_id, status, original_start_ms, original_end_ms, trimmed_start_ms,
  trimmed_end_ms, leading_pad_ms, trailing_pad_ms, duration_ms, flags, boundary_score, audio_digest,
  expected_language_hint, detected_language, lang_mismatch_flag, transcription, tagged, speaker_emotion, speaker_style,
  speaker_pace, speaker_accent, num_unk, num_inaudible, num_event_tags, text_length_per_sec, overlap_suspected,
  quality_score, score_parts, asr_eligible, tts_clean_eligible, tts_expressive_eligible, lane_reasons, findings,
  failure_kind, prompt_version, schema_version, trimmer_version, validator_version, provider, model_id, model_version,
  temperature, thinking_level, worker_id, batch_id, attempts, latency_ms, cache_hit, token_usage_json, cost_usd,
  created_at
)
select
  video_id, segment_file, segment_file, 'speaker0', status, k * 8000, k * 8000 + 7700, k * 8000, k * 8000 + 7700, 150,
  150, 8000, '{}', 0.9, md5(video_id || k) || md5(k::text), hint, heard, heard <> hint,
  case when status = 'transcribed' then text when status = 'no_speech' then 'NO_SPEECH' end,
  case when status = 'transcribed' then text || ' [breath]' end, 'neutral', 'conversational', 'normal', 'standard',
  0, 0, 1, 12, false, case when status <> 'failed' then score end, '{"rate": 1, "script": 1}', score > 0.5, score > 0.7,
  score > 0.6, '{"asr": [], "tts_clean": [], "tts_expressive": []}', findings,
  case when status = 'failed' then 'blocked' end, '1', '1', '1', '1', 'aistudio', 'gemini-3-flash-preview', 'simulated',
  0, 'low', 'worker-' || seed %% %(workers)s, 'b', 1, 900 + seed %% 3000, false,
  '{"prompt": 700, "prompt_text": 430, "prompt_audio": 270, "cached": 0, "output": 90, "thoughts": 30}', 0.0006,
  now() - (seed %% 345600) * interval '1 second'
from (
  select *,
    case when seed %% 100 = 0 then 'failed' when seed %% 25 = 0 then 'no_speech' else 'transcribed' end as status,
    case when seed %% 40 = 0 then 'en' else hint end as heard,
    1 - power((seed %% 997) / 997.0, 3) as score,
    case
      when seed %% 30 = 0 then '[{"code": "repetition", "severity": "fail", "evidence": "made up", "span": null}]'
      when seed %% 11 = 0 then '[{"code": "rate_high", "severity": "warn", "evidence": "made up", "span": null}]'
      when seed %% 7 = 0 then '[{"code": "boundary", "severity": "info", "evidence": "made up", "span": null}]'
      else '[]'
    end::jsonb as findings,
    'यह एक बनाया हुआ वाक्य है जो किसी ने नहीं कहा ' || md5(seed::text) as text
  from (
    select q.video_id, q.language as hint, k,
      abs(hashint4((substr(q.video_id, 2)::int * 131 + k)::int)) as seed,
      'speaker0_' || lpad((k * 800)::text, 5, '0') || '_' || lpad((k * 800 + 770)::text, 5, '0') || '.flac'
        as segment_file
    from video_queue q
    cross join generate_series(0, %(clips)s - 1) k
    where q.video_id between 'v' || lpad(%(first)s::text, 8, '0') and 'v' || lpad(%(last)s::text, 8, '0')
      and q.status = 'done'
  ) clip
) made

-- name: flags
insert into transcription_flags (video_id, segment_file, flag_type, start_ms, end_ms, severity, details, resolved,
  created_at)
select video_id, segment_file, coalesce(findings -> 0 ->> 'code', 'failed:' || failure_kind), original_start_ms,
  original_end_ms, 'fail', 'made up for a benchmark', random() < 0.2, created_at
from transcription_results
where (status = 'failed' or findings -> 0 ->> 'severity' = 'fail')
  and video_id between 'v' || lpad(%(first)s::text, 8, '0') and 'v' || lpad(%(last)s::text, 8, '0')

-- name: discards
-- As in life, more of them than of anything else: two segments of each done video were too short, one in ten cannot be read.
insert into transcription_flags (video_id, segment_file, flag_type, start_ms, end_ms, severity, details, created_at)
select video_id, 'speaker9_' || lpad((k * 100)::text, 5, '0') || '_' || lpad((k * 100 + 30)::text, 5, '0') || '.flac',
  case when k = 0 and hashtext(video_id) %% 10 = 0 then 'discard:bad_audio' else 'discard:too_short' end, k * 1000,
  k * 1000 + 300, 'warn', 'made up for a benchmark', coalesce(completed_at, now())
from video_queue
cross join generate_series(0, 1) k
where status = 'done' and video_id between 'v' || lpad(%(first)s::text, 8, '0') and 'v' || lpad(%(last)s::text, 8, '0')

-- name: workers
-- Those at work, and three former lives of each.
insert into workers (
  worker_id, instance_id, status, provider, total_segments_sent, total_segments_completed, total_segments_429,
  total_prompt_tokens, total_cached_tokens, total_output_tokens, batches_completed, avg_batch_latency_ms, spend_usd,
  active_rpm, active_tpm, active_usd, active_clips, active_failures, active_latency, total_failures,
  requests_in_flight, limited_by, last_heartbeat_at, live_at, started_at, config_json
)
select 'worker-' || n || case when life > 0 then '-' || life else '' end, 'host-' || n,
  case when life = 0 then 'online' else 'offline' end, 'aistudio', 500000, 480000, 2000, 350000000, 0, 45000000, 1440,
  2100, 260, 100, 70000, 0.06, 98, '{"rate_minute": 2}', array_fill(3, array[48]), '{"rate_minute": 2000, "server": 30}',
  40, 'the budget: rpm', seen, seen, seen - interval '24 hours', '{"lipika_version": "0", "live_seconds": 5}'
from generate_series(0, %(workers)s - 1) n
cross join generate_series(0, 3) life
cross join lateral (select now() + interval '1 hour' * (case when life = 0 then 1 else -24 * life end) as seen) s

-- name: budgets
insert into provider_budgets (provider, requests_per_minute, tokens_per_minute, spend_day_usd, spend_total_usd)
values ('aistudio', 20000, 16000000, 30000, 100000), ('openrouter', 2000, null, null, 5000)
on conflict do nothing

-- name: spend
insert into provider_spend (provider, worker_id, day, usd, asked_at)
select 'aistudio', 'worker-' || n, current_date - day, 65, extract(epoch from now())
from generate_series(0, %(workers)s - 1) n cross join generate_series(0, 3) day

-- name: batches
-- One window a minute of each worker, for the hours first..last ago.
insert into transcription_batches (
  batch_id, worker_id, video_ids, started_at, segments_sent, segments_returned, segments_429, segments_error,
  segments_retried, provider_used, cache_hits, cached_tokens, prompt_tokens, audio_tokens, output_tokens,
  thought_tokens, cost_usd, avg_latency_ms, p95_latency_ms, batch_duration_ms, failure_kinds, latency_counts
)
select gen_random_uuid()::text, 'worker-' || n, array['v1', 'v2'], now() - minute * interval '1 minute', 100, 97, 2, 1, 3,
  'aistudio', 0, 0, 70000, 27000, 9000, 3000, 0.06, 2100, 4200, 64000, '{"rate_minute": 2, "server": 1}',
  array_fill(2, array[48])
from generate_series(%(first)s::int * 60, %(last)s::int * 60 - 1) minute
cross join generate_series(0, %(workers)s - 1) n

-- name: minutes
insert into worker_minutes (minute, worker_id, provider, rpm, tpm, usd, clips, rate_limited, errors, in_flight)
select date_trunc('minute', now()) - minute * interval '1 minute', 'worker-' || n, 'aistudio', 100, 70000, 0.06, 97, 2, 1, 40
from generate_series(%(first)s::int * 60, %(last)s::int * 60 - 1) minute
cross join generate_series(0, %(workers)s - 1) n
on conflict do nothing -- the clock may have gone on since the part before

-- name: rollup
insert into quality_rollup
select date_trunc('hour', now()) - h * interval '1 hour', language, 'worker-' || n, 30, 28, 1, 1, 25, 20, 22, 1, 29, 24, 240000, 0.02
from generate_series(0, %(hours)s - 1) h
cross join generate_series(0, %(workers)s - 1) n
cross join unnest(array['as', 'bn', 'gu', 'hi', 'kn', 'ml', 'mr', 'or', 'pa', 'ta', 'te', 'ur', 'unknown']) language

-- name: errors
insert into worker_errors (occurred_at, worker_id, video_id, exception_type, message, traceback)
select now() - (%(errors)s - n) * interval '3 seconds', 'worker-' || n %% %(workers)s,
  case when n %% 3 = 0 then 'v' || lpad(n::text, 8, '0') end,
  (array['SegmentError', 'StoreUnavailable', 'Alert:flood', 'VideoError'])[1 + n %% 4], 'made up for a benchmark',
  repeat('Traceback: made up' || chr(10), 20)
from generate_series(1, %(errors)s) n
