"""What is polished keeps its bytes: digests of what this code made before it read long segments in pieces.

A new digest here means that clips which were paid for are asked again: raise `TRIMMER_VERSION` with it. The codecs
are part of it (the lock file pins them), so another libsndfile may say otherwise.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from foreign_audio import written
from lipika.audio.codec import Audio, encode_flac
from lipika.audio.polish import PolishedSegment, polish_segment
from lipika.models import SegmentName, SendFormat

needs_the_pinned_codec = pytest.mark.skipif(
    soundfile.__libsndfile_version__ != "1.2.2", reason="the digests are those of libsndfile 1.2.2"
)


def speech(seconds: float, rate: int, seed: int, depth: int = 16) -> NDArray[np.int32]:
    """Noise in syllables, words and pauses, of integers alone: the same on every machine."""
    chance = np.random.default_rng(seed)
    frames = int(seconds * rate)
    syllable = rate // 8
    count = -(-frames // syllable)
    loud = chance.integers(0, 9, count) * (chance.integers(0, 7, count) > 0)
    loud[chance.integers(0, count, count // 20)[:, None] + np.arange(4) - count] = 0
    wave = chance.integers(-900, 900, frames).astype(np.int32) * np.repeat(loud, syllable)[:frames]
    wave += chance.integers(-3, 4, frames, np.int32)
    low = chance.integers(0, 256, frames, np.int32) if depth == 24 else 0
    return (wave.astype(np.int32) << 16) + (low << 8)


def flac(wide: NDArray[np.int32], rate: int, depth: int = 16) -> bytes:
    return encode_flac(Audio(wide if depth == 24 else (wide >> 16).astype(np.int16), rate, depth))


def digest(made: PolishedSegment) -> str:
    """Of all that is kept of a segment: the audio to the byte, and where it was cut."""
    sha = hashlib.sha256()
    for polished in made.clips:
        clip = polished.clip
        facts = (clip.audio.speech_ms, clip.audio.rms_dbfs, clip.audio.peak_dbfs, clip.audio.snr_db)
        times = (clip.original_start_ms, clip.original_end_ms, clip.trimmed_start_ms, clip.trimmed_end_ms)
        sha.update(repr((clip.name.stem, times, clip.flags, clip.boundary_score, facts)).encode())
        sha.update(polished.packed)
        sha.update(polished.other_digest.encode())
    for discard in made.discards:
        sha.update(repr((discard.reason, discard.message, discard.start_ms, discard.end_ms)).encode())
    return f"{len(made.clips)} {sha.hexdigest()[:24]}"


CASES: dict[str, tuple[Callable[[], bytes], SendFormat, str]] = {
    "short": (lambda: flac(speech(8, 16_000, 1), 16_000), SendFormat.FLAC, "1 2d842a47ea09acb5dadeb18b"),
    "split": (lambda: flac(speech(47, 16_000, 2), 16_000), SendFormat.FLAC, "6 8dcd90f90c4ace27f09dd69e"),
    "wide": (
        lambda: flac(speech(33, 48_000, 3, 24), 48_000, 24),
        SendFormat.FLAC,
        "4 0afaa4bfa18b3872d1528416",
    ),
    "narrow": (lambda: flac(speech(21, 8_000, 4), 8_000), SendFormat.FLAC, "2 f250161749319703f24973ed"),
    "odd rate": (lambda: flac(speech(25, 22_050, 5), 22_050), SendFormat.FLAC, "3 1e4d77e132a2760f41c31a5e"),
    "ogg": (lambda: flac(speech(12, 44_100, 6), 44_100), SendFormat.OGG, "2 f8bc440be088e0955854de91"),
    "wav": (
        lambda: written(speech(30, 16_000, 7), 16_000, "WAV", "PCM_16"),
        SendFormat.FLAC,
        "4 9cd0ea2b4dc2c23578bb36a5",
    ),
    "wav 24": (
        lambda: written(speech(9, 32_000, 8, 24), 32_000, "WAV", "PCM_24"),
        SendFormat.FLAC,
        "1 da057b22a74ac2d295d8db4f",
    ),
    "stereo": (
        lambda: written(
            np.stack((speech(19, 16_000, 9), speech(19, 16_000, 10)), axis=1), 16_000, "FLAC", "PCM_16"
        ),
        SendFormat.FLAC,
        "2 11e1f6a2f313e7d1004bef99",
    ),
    "ten minutes": (
        lambda: flac(speech(600, 16_000, 11), 16_000),
        SendFormat.FLAC,
        "72 4dc656cb0026ece8c4ddbcaa",
    ),
    "ten minutes of stereo": (
        lambda: written(
            np.stack((speech(600, 8_000, 12), speech(600, 8_000, 13)), axis=1), 8_000, "WAV", "PCM_16"
        ),
        SendFormat.FLAC,
        "60 eabddf6e69556b9963c4231c",
    ),
    "an hour": (
        lambda: flac(np.concatenate([speech(900, 16_000, 14)] * 4), 16_000),
        SendFormat.FLAC,
        "423 27ac71397dd662769814467d",
    ),
    "an hour of silence": (
        lambda: flac(np.zeros(3_600 * 16_000, np.int32), 16_000, 24),
        SendFormat.FLAC,
        "327 f74715b8f2d42cf4d4a0354b",
    ),
}


@needs_the_pinned_codec
@pytest.mark.parametrize("case", CASES)
def test_clips_keep_their_bytes(case: str) -> None:
    make, send_format, expected = CASES[case]
    data = make()
    frames = soundfile.info(io.BytesIO(data))
    name = SegmentName("speaker0", 0, round(frames.duration * 100))
    assert digest(polish_segment(name, data, send_format)) == expected
