"""Packed clips as 16-bit WAV or FLAC, for trainers that read nothing else. Pure and thread-safe.

16 bits throughout: Kaldi reads no other, and text-to-speech trainers gain nothing from more. Rounded without
dither, which would put noise into silence and make other bytes each time.

Measured on one core, a clip of 8 s: from 48 to 24 kHz 3.9 ms of CPU, at its own rate 3.1 ms; decoding is 2.3 of
either, soxr 1.0. soxr's "VHQ" computes in double, so that how a processor rounds hardly ever reaches 16 bits, and is
0.2 ms dearer than "HQ".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from lipika.audio.codec import Audio, decode, encode_flac, encode_wav

LOWEST, HIGHEST = -32_768, 32_767


@dataclass(frozen=True, slots=True)
class Converted:
    """A WAV or FLAC file: mono, 16 bits. `gain` is what its samples were multiplied by: 1.0, or a little less where
    they would have been clipped otherwise."""

    data: bytes
    sample_rate_hz: int
    num_samples: int
    gain: float


def to_wav(data: bytes, sample_rate_hz: int | None = None) -> Converted:
    """FLAC (or whatever `audio` reads) as WAV, at its own rate or the one that is asked for.

    The same bytes give the same bytes; 16-bit samples at the rate that they have already are kept as they are.
    Resampled audio swings wider than its source where that is loud. It is not clipped then: the whole clip is made
    quieter by just as much as it takes, and `gain` says so.

    Raises:
        SegmentError: as `codec.decode` does.
        ValueError: the rate is not positive.
    """
    if sample_rate_hz is not None and sample_rate_hz < 1:
        raise ValueError(f"a sample rate of {sample_rate_hz} Hz; give one such as 24000, or none")
    audio = decode(data)
    rate = sample_rate_hz or audio.sample_rate_hz
    samples, gain = _quantise(audio, rate)
    return Converted(encode_wav(Audio(samples, rate, 16)), rate, len(samples), gain)


def to_flac(data: bytes) -> Converted:
    """FLAC of more than 16 bits as FLAC of 16, with the samples that `to_wav` gives.

    Raises:
        SegmentError: as `codec.decode` does.
    """
    audio = decode(data)
    samples, gain = _quantise(audio, audio.sample_rate_hz)
    flac = encode_flac(Audio(samples, audio.sample_rate_hz, 16))
    return Converted(flac, audio.sample_rate_hz, len(samples), gain)


def _quantise(audio: Audio, rate_hz: int) -> tuple[NDArray[np.int16], float]:
    """Samples at the rate, and the gain."""
    if audio.sample_rate_hz == rate_hz and audio.samples.dtype == np.int16:
        return audio.samples.astype(np.int16, copy=False), 1.0
    samples = audio.samples.astype(np.float32)
    if audio.samples.dtype == np.int32:
        samples /= 65_536  # left-justified
    if audio.sample_rate_hz != rate_hz:
        samples = soxr.resample(samples, audio.sample_rate_hz, rate_hz, "VHQ")
    gain = _gain(samples)
    if gain < 1:
        samples *= np.float32(gain)
    return np.clip(np.rint(samples), LOWEST, HIGHEST).astype(np.int16), gain


def _gain(samples: NDArray[np.float32]) -> float:
    """The greatest factor, at most 1, with which nothing rounds beyond 16 bits."""
    if not len(samples):
        return 1.0
    top, bottom = float(samples.max()), float(samples.min())
    return min(
        HIGHEST / top if top > HIGHEST + 0.5 else 1.0, LOWEST / bottom if bottom < LOWEST - 0.5 else 1.0
    )
