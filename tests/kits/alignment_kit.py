"""A clip, its answer, and a stage that listens."""

from __future__ import annotations

import asyncio

from lipika.alignment.stage import AlignmentStage
from lipika.models import Answer, AudioFacts, Clip, SegmentName

NAME = SegmentName("speaker0", 0, 500)


CLIP = Clip(
    name=NAME,
    segment=NAME,
    original_start_ms=0,
    original_end_ms=5_000,
    trimmed_start_ms=0,
    trimmed_end_ms=5_000,
    leading_pad_ms=150,
    trailing_pad_ms=150,
    duration_ms=5_300,
    sample_rate_hz=16_000,
    bit_depth=16,
    boundary_score=1.0,
    flags=(),
    audio=AudioFacts(4_000, -22.0, -3.0, 35.0, 0.0, 8_000),
    audio_digest="0" * 64,
    trimmer_version="1",
)


HINDI = "मैं कल बाज़ार गया था और वहाँ से सब्ज़ी लाया।"


def answer(text: str, language: str = "hi") -> Answer:
    return Answer(text, text, language, "neutral", "conversational", "moderate", "")


async def opened(stage: AlignmentStage) -> None:
    async with asyncio.timeout(60):
        while stage.opened is None:
            await asyncio.sleep(0.02)
