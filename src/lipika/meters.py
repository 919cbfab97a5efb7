"""Meters: sums over the last minute, and latencies as counts over fixed bounds."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lipika.models import RATE_KINDS


@dataclass(frozen=True, slots=True)
class Sums:
    """Running sums of a process life at one moment."""

    clips: int = 0  # ended
    usd: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)  # attempts, by kind
    latency_counts: Sequence[int] = ()  # attempts, by place (`place`)

    def minus(self, before: Sums) -> Sums:
        """The figures added since."""
        failures = {kind: count - before.failures.get(kind, 0) for kind, count in self.failures.items()}
        earlier = before.latency_counts or (0,) * len(self.latency_counts)
        return Sums(
            self.clips - before.clips,
            self.usd - before.usd,
            self.prompt_tokens - before.prompt_tokens,
            self.cached_tokens - before.cached_tokens,
            {kind: count for kind, count in failures.items() if count},
            [now - then for now, then in zip(self.latency_counts, earlier, strict=True)],
        )

    @property
    def rate_limited(self) -> int:
        return sum(count for kind, count in self.failures.items() if kind in RATE_KINDS)

    @property
    def errors(self) -> int:
        return sum(count for kind, count in self.failures.items() if kind not in RATE_KINDS)


class LastMinute:
    """Differences over a sliding `span_s`; times are seconds on one monotonic clock."""

    def __init__(self, now: float, *, span_s: float = 60.0) -> None:
        self._span_s = span_s
        self._seen: deque[tuple[float, Sums]] = deque([(now, Sums())])

    def note(self, now: float, sums: Sums) -> Sums:
        """Look at the sums as they are; returns what was added in the last `span_s`.

        Compared with the last look that is at least `span_s` old: looks 5 s apart make a span of 60 to 65 s.
        """
        self._seen.append((now, sums))
        while len(self._seen) > 1 and self._seen[1][0] <= now - self._span_s:
            self._seen.popleft()
        return sums.minus(self._seen[0][1])


class RateMeter:
    """The sum over the last `span_s`, sliding by whole `step_s` slots. Memory is constant."""

    def __init__(self, span_s: float = 60.0, step_s: float = 1.0):
        self._span_s = span_s
        self._step_s = step_s
        self._slots: deque[tuple[int, float]] = deque()
        self._sum = 0.0

    def add(self, amount: float, now: float) -> None:
        slot = int(now // self._step_s)
        if self._slots and self._slots[-1][0] == slot:
            self._slots[-1] = (slot, self._slots[-1][1] + amount)
        else:
            self._slots.append((slot, amount))
        self._sum += amount

    def total(self, now: float) -> float:
        """The sum over the last `span_s`, rounded up to a whole slot."""
        oldest = int((now - self._span_s) // self._step_s)
        while self._slots and self._slots[0][0] <= oldest:
            self._sum -= self._slots.popleft()[1]
        return max(self._sum, 0.0) if self._slots else 0.0


# ----------------------------------------------------------------------------- latencies
# Sums of counts are exact, and the percentiles of a fleet are those of its sum.

BOUNDS_MS = tuple(50.0 * 1.2**power for power in range(47))
"""Upper ends of all places but the last, which has none: 50 ms to 219 s, each a fifth above the one before."""
PLACES = len(BOUNDS_MS) + 1


def count(latencies_ms: Sequence[float]) -> list[int]:
    """The number in each place."""
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
