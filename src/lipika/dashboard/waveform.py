"""The shape of one clip's sound, and sound that a browser plays. Apart from the pages, since that is all of the board
that needs numpy and `audio`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lipika.audio.codec import Samples, decode, encode_flac
from lipika.audio.recording import Recording, read, to_ms
from lipika.errors import SegmentError

MAX_HEARD_MS = 600_000


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """Highest and lowest sample of each of some stretches of equal length, -1..1."""

    highs: NDArray[np.float64]
    lows: NDArray[np.float64]
    duration_ms: int


def waveform(flac: bytes, stretches: int = 480) -> Waveform:
    """Decode a clip and look at its peaks. Blocks.

    Raises:
        SegmentError: it cannot be decoded.
    """
    audio = decode(flac)
    full = float(np.iinfo(audio.samples.dtype).max)
    edges = np.linspace(0, len(audio.samples), min(stretches, len(audio.samples)) + 1).astype(np.int64)[:-1]
    highs = np.maximum.reduceat(audio.samples, edges) / full
    lows = np.minimum.reduceat(audio.samples, edges) / full
    return Waveform(highs, lows, audio.duration_ms)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some of a segment as FLAC, whatever it came as. Milliseconds from the segment's beginning."""

    flac: bytes
    start_ms: int
    end_ms: int
    whole_ms: int  # of the segment


def excerpt(data: bytes, start_ms: int = 0, end_ms: int | None = None) -> Excerpt:
    """A segment from `start_ms` to `end_ms`, ten minutes at most; no more than that is held. Blocks.

    Raises:
        SegmentError: it cannot be read, or nothing lies there.
    """
    recording = read(data)
    rate = recording.sample_rate_hz
    last_ms = min(recording.duration_ms if end_ms is None else end_ms, start_ms + MAX_HEARD_MS)
    first, last = (min(max(ms, 0) * rate // 1000, recording.frames) for ms in (start_ms, last_ms))
    if end_ms is None and last_ms == recording.duration_ms:
        last = recording.frames
    if first >= last:
        raise SegmentError("empty_audio", "no audio lies there")
    flac = encode_flac(recording.audio(_samples(recording, first, last)))
    return Excerpt(flac, to_ms(first, rate), to_ms(last, rate), recording.duration_ms)


def _samples(recording: Recording, first: int, last: int) -> Samples:
    pieces, at = [], 0
    for block in recording.blocks():
        if at < last and at + len(block) > first:
            pieces.append(block[max(first - at, 0) : last - at])
        at += len(block)
        if at >= last:
            break
    return np.concatenate(pieces)
