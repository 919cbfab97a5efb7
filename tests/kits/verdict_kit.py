"""Clips and answers to judge."""

from __future__ import annotations

from lipika.models import Answer, AudioFacts, Clip, SegmentName, Verdict

HINDI = "भारत में आज 25 लोग आए और उन्होंने कहा कि meeting कल 3 बजे होगी।"


def clip(
    duration_ms: int = 5_000, *, flags: tuple[str, ...] = (), boundary: float = 1.0, **facts: float
) -> Clip:
    name = SegmentName("speaker0", 0, duration_ms // 10)
    audio = {
        "speech_ms": int(duration_ms * 0.8),
        "rms_dbfs": -22.0,
        "peak_dbfs": -3.0,
        "snr_db": 35.0,
        "clipped_share": 0.0,
        "bandwidth_hz": 8000,
    } | facts
    return Clip(
        name=name,
        segment=name,
        original_start_ms=0,
        original_end_ms=duration_ms,
        trimmed_start_ms=0,
        trimmed_end_ms=duration_ms,
        leading_pad_ms=150,
        trailing_pad_ms=150,
        duration_ms=duration_ms + 300,
        sample_rate_hz=16_000,
        bit_depth=16,
        boundary_score=boundary,
        flags=flags,
        audio=AudioFacts(**audio),  # type: ignore[arg-type]
        audio_digest="0" * 64,
        trimmer_version="1",
    )


def answer(text: str, tagged: str | None = None, language: str = "hi") -> Answer:
    return Answer(
        text, text if tagged is None else tagged, language, "neutral", "news", "moderate", "unknown"
    )


def codes(verdict: Verdict) -> set[str]:
    return {found.code for found in verdict.findings}
