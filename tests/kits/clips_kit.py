"""Clips of every kind, made up by SQL: for lists, filters and counts."""

from __future__ import annotations

from typing import LiteralString

CLIPS: LiteralString = """
    insert into transcription_results (
      video_id, segment_file, source_segment, speaker_id, status, original_start_ms,
      original_end_ms, trimmed_start_ms, trimmed_end_ms, leading_pad_ms, trailing_pad_ms,
      duration_ms, audio_digest, expected_language_hint, detected_language, transcription, tagged,
      quality_score, asr_eligible, tts_clean_eligible, tts_expressive_eligible, findings,
      failure_kind, text_source, prompt_version, schema_version, trimmer_version, provider,
      model_id, model_version, temperature, thinking_level, worker_id, batch_id, attempts,
      latency_ms, cache_hit, token_usage_json, cost_usd
    )
    select 'v' || n / 40, lpad(n::text, 6, '0') || '.flac', 's', 'speaker' || n % 7,
      case when n % 31 = 0 then 'failed' when n % 17 = 0 then 'no_speech' else 'transcribed' end,
      n, 1, 0, 1, 0, 0, 1, n,
      (array['hi', 'ta', ''])[1 + n % 3], (array['hi', 'ta', 'en', 'hi'])[1 + n % 4],
      case when n % 31 > 0 then 'यह शब्द' || n % 5 || ' है, 100% Sure_' || n % 3 end, '',
      case when n % 31 > 0 then (n % 101) / 100.0 end, n % 2 = 0, n % 3 = 0, n % 1000 = 7,
      case when n % 13 = 0 then '[{"code": "loop", "severity": "fail"}, {"code": "loop", "severity": "fail"}]'
        when n % 5 = 0 then '[{"code": "rate_high", "severity": "warn"}, {"code": "boundary", "severity": "info"}]'
        else '[]' end::jsonb,
      case when n % 31 = 0 then 'blocked' end, case when n % 50 = 3 then 'person' else 'model' end, 'p1', 's1', '4',
      'aistudio', case when n % 9 = 0 then 'other' else 'gemini' end, 'm', 0, 'low', 'w', 'b', 1, 1, false, '{}', 0
    from generate_series(1, 4000) n
"""
"""Four thousand; where a number divides theirs, a clip is of that kind."""
