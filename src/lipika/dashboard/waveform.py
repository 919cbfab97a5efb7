"""The shape of one clip's sound. Apart from the pages, since it is all of the board that needs numpy and `audio`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lipika.audio.codec import decode


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
