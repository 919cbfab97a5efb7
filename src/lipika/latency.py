"""Latencies as counts over fixed bounds: sums of them are exact, and percentiles of a fleet are those of its sum."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

BOUNDS_MS = tuple(50.0 * 1.2**power for power in range(47))
"""Upper ends of all places but the last, which has none: 50 ms to 219 s, each a fifth above the one before."""
PLACES = len(BOUNDS_MS) + 1


def count(latencies_ms: Sequence[float]) -> list[int]:
    """How many lie in each place."""
    counts = [0] * PLACES
    for latency in latencies_ms:
        counts[place(latency)] += 1
    return counts


def place(latency_ms: float) -> int:
    """The place that a latency is counted in."""
    return bisect_left(BOUNDS_MS, latency_ms)


def percentile(counts: Sequence[int], share: float) -> float | None:
    """The latency (ms) that `share` (0..1) of all lie below; None where nothing was counted.

    Straight between two bounds. What lies beyond the last bound is given as that bound.
    """
    wanted, below = share * sum(counts), 0.0
    if not any(counts):
        return None
    for number, within in enumerate(counts):
        if within and below + within >= wanted:
            if number >= len(BOUNDS_MS):
                return BOUNDS_MS[-1]
            low = BOUNDS_MS[number - 1] if number else 0.0
            return low + (BOUNDS_MS[number] - low) * max(wanted - below, 0.0) / within
        below += within
    return BOUNDS_MS[-1]
