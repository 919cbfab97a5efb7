"""Results, reports of batches, and the sums that are kept of them."""

from __future__ import annotations

import dataclasses
import time

import psycopg
from psycopg.rows import dict_row

from lipika.models import (
    Answer,
    AudioFacts,
    BatchReport,
    Clip,
    ClipResult,
    ClipStatus,
    Failure,
    FailureKind,
    Finding,
    Lane,
    Provenance,
    SegmentName,
    Severity,
    Usage,
    Verdict,
)

USAGE = Usage(prompt=700, prompt_text=440, prompt_audio=260, cached=0, output=90, thoughts=20)


ANSWER = Answer("नमस्ते दुनिया", "नमस्ते [laugh] दुनिया", "hi", "happy", "conversational", "normal", "Awadhi")


VERDICT = Verdict(
    findings=(Finding("short_pause", Severity.WARN, "0.2 s", (0, 3)),),
    quality_score=0.75,
    score_parts={"rate": 0.5, "script": 1.0},
    asr=Lane(eligible=True),
    tts_clean=Lane(eligible=False, reasons=("events",)),
    tts_expressive=Lane(eligible=True),
    lang_mismatch=False,
    overlap_suspected=False,
    num_unk=0,
    num_inaudible=1,
    num_event_tags=1,
    text_length_per_sec=12.5,
    validator_version="1",
)


FAILURE = Failure(FailureKind.BLOCKED, "SAFETY", code="SAFETY")


def clip(number: int) -> Clip:
    """Clips of 8 s in a row, cut from segments of 16 s."""
    start = number * 800
    return Clip(
        name=SegmentName("speaker0", start, start + 800),
        segment=SegmentName("speaker0", start // 1600 * 1600, start // 1600 * 1600 + 1600),
        original_start_ms=start * 10,
        original_end_ms=start * 10 + 8000,
        trimmed_start_ms=start * 10 + 50,
        trimmed_end_ms=start * 10 + 7900,
        leading_pad_ms=150,
        trailing_pad_ms=150,
        duration_ms=8150,
        sample_rate_hz=16000,
        bit_depth=16,
        boundary_score=0.5,
        flags=("forced_cut",),
        audio=AudioFacts(7000, -20.0, -3.0, 30.0, 0.0, 7000),
        audio_digest=f"{number:064x}",
        trimmer_version="1",
    )


def result(number: int, status: ClipStatus = ClipStatus.TRANSCRIBED, worker: str = "w1") -> ClipResult:
    failed = status is ClipStatus.FAILED
    return ClipResult(
        video_id="v",
        clip=clip(number),
        language_hint="hi",
        status=status,
        answer=None if failed else ANSWER,
        verdict=None if failed else VERDICT,
        failure=FAILURE if failed else None,
        usage=USAGE,
        cost_usd=0.0005,
        provenance=Provenance(
            provider="aistudio",
            model_id="gemini-3-flash-preview",
            model_version="gemini-3-flash-preview-001",
            prompt_version="p1",
            schema_version="s1",
            temperature=0.0,
            thinking_level="low",
            worker_id=worker,
            batch_id="b1",
            attempts=2,
            latency_ms=1234,
        ),
    )


def table(url: str, query: str) -> list[dict[str, object]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query.encode()).fetchall()


ROLLUP = "select * from quality_rollup order by hour, language, worker_id"


def sums_of_rollup(url: str) -> list[dict[str, object]]:
    return table(
        url,
        "select language, worker_id, sum(clips)::int as clips, sum(transcribed)::int as transcribed,"
        " sum(no_speech)::int as no_speech, sum(failed)::int as failed, sum(asr_eligible)::int as asr,"
        " sum(scored)::int as scored, round(sum(score_sum)::numeric, 6) as score_sum,"
        " sum(duration_ms)::bigint as duration_ms, round(sum(cost_usd)::numeric, 9) as cost_usd"
        " from quality_rollup group by 1, 2 having sum(clips) > 0 order by 1, 2",
    )


def sums_from_scratch(url: str) -> list[dict[str, object]]:
    return table(
        url,
        "select coalesce(expected_language_hint, detected_language) as language, worker_id, count(*)::int as clips,"
        " (count(*) filter (where status = 'transcribed'))::int as transcribed,"
        " (count(*) filter (where status = 'no_speech'))::int as no_speech,"
        " (count(*) filter (where status = 'failed'))::int as failed,"
        " (count(*) filter (where asr_eligible))::int as asr, count(quality_score)::int as scored,"
        " round(coalesce(sum(quality_score), 0)::numeric, 6) as score_sum,"
        " sum(duration_ms)::bigint as duration_ms, round(sum(cost_usd)::numeric, 9) as cost_usd"
        " from transcription_results group by 1, 2 order by 1, 2",
    )


def report(**changes: object) -> BatchReport:
    batch = BatchReport(
        batch_id="b1",
        worker_id="w1",
        video_ids=("v",),
        started_at=time.time(),
        segments_sent=110,
        segments_returned=100,
        segments_429=7,
        segments_error=3,
        segments_retried=10,
        provider_used="aistudio",
        cache_hits=5,
        usage=USAGE,
        cost_usd=0.5,
        avg_latency_ms=2000.0,
        p95_latency_ms=4000.0,
        batch_duration_ms=61000,
        failure_kinds={"rate_minute": 7},
        validation_scores={"count": 100, "mean": 0.8},
    )
    return dataclasses.replace(batch, **changes)  # type: ignore[arg-type]
