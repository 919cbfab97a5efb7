"""Clips as real recordings have them, for texts of a known length."""

from __future__ import annotations

import random
from dataclasses import dataclass

from lipika.models import AudioFacts, Clip, SegmentName


@dataclass(frozen=True, slots=True)
class Range:
    """A quantity in 158 recordings of the RESPIN corpus, trimmed as lipika trims: least, median, most."""

    least: float
    median: float
    most: float

    def draw(self, chance: random.Random) -> float:
        """Around the median with a third of each side as the deviation, and never outside."""
        side = (self.most if chance.random() < 0.5 else self.least) - self.median
        return self.median + side * min(abs(chance.gauss(0, 0.4)), 1.0)


CHARS_PER_SECOND = Range(6.8, 10.1, 15.6)  # of the clip, spaces counted
SPEECH_SHARE = Range(0.59, 0.73, 0.83)  # of the clip
SYLLABLES_PER_SECOND = (3.8, 10.1)  # of speech
LEAST_MS = 1_500


def clip_for(chars: int, syllables: float, chance: random.Random) -> Clip:
    """A clip in which so many characters are spoken at an ordinary rate."""
    slowest, fastest = SYLLABLES_PER_SECOND
    for _ in range(50):
        span_s = max(chars / CHARS_PER_SECOND.draw(chance), LEAST_MS / 1000)
        speech_s = span_s * SPEECH_SHARE.draw(chance)
        if slowest <= syllables / speech_s <= fastest:
            break
    return clip_of(round(span_s * 1000), round(speech_s * 1000), chance)


def clip_of(span_ms: int, speech_ms: int, chance: random.Random) -> Clip:
    """A clean clip of that length, with that much active audio."""
    facts = AudioFacts(
        speech_ms=speech_ms,
        rms_dbfs=chance.gauss(-24, 3),
        peak_dbfs=chance.uniform(-9, -1),
        snr_db=chance.uniform(18, 50),
        clipped_share=0.0,
        bandwidth_hz=chance.randrange(7_100, 8_000),
    )
    name = SegmentName("speaker0", 0, max(span_ms // 10, 1))
    return Clip(
        name=name,
        segment=name,
        original_start_ms=0,
        original_end_ms=span_ms,
        trimmed_start_ms=0,
        trimmed_end_ms=span_ms,
        leading_pad_ms=150,
        trailing_pad_ms=150,
        duration_ms=span_ms + 300,
        sample_rate_hz=16_000,
        bit_depth=16,
        boundary_score=1.0,
        flags=(),
        audio=facts,
        audio_digest="0" * 64,
        trimmer_version="benchmark",
    )
