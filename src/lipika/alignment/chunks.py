"""Long audio in parts that the recogniser does not lose words of: cut where it is quietest. Pure."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lipika.alignment.frontend import HOP, RATE_HZ, WINDOW

LONGEST_S = 15.5  # a polished clip has 15 s and its silence; beyond some 15 to 18 s words get lost
EARLIEST_S = 8.0
VALLEY_FRAMES = 15  # 150 ms

Samples = NDArray[np.int16]


def parts_of(samples: Samples) -> list[Samples]:
    """The audio, or consecutive parts of at most 15.5 s; none is shorter than a second unless the audio is."""
    parts = []
    while len(samples) > LONGEST_S * RATE_HZ:
        cut = _quietest(samples)
        parts.append(samples[:cut])
        samples = samples[cut:]
    return [*parts, samples]


def _quietest(samples: Samples) -> int:
    """The middle of the quietest 150 ms between 8 and 15.5 s, leaving a second to the rest."""
    first = int(EARLIEST_S * RATE_HZ)
    last = int(min(LONGEST_S * RATE_HZ, len(samples) - RATE_HZ))
    framed = sliding_window_view(samples[first:last].astype(np.float32), WINDOW)[::HOP]
    level = np.log(np.square(framed).mean(axis=1) + 1.0)
    mean = sliding_window_view(level, VALLEY_FRAMES).mean(axis=1)
    return first + (int(mean.argmin()) + VALLEY_FRAMES // 2) * HOP
