"""Pacing, rates and back-off: arithmetic with the time passed in. Nothing here sleeps or looks at a clock.

All times are seconds on one monotonic clock, given by the caller as `now`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


class Pacer:
    """Launch slots inside batch windows: `size` first attempts per `interval_s`, spread evenly or at once.

    Paced, a slot opens every `interval_s / size`; a stalled caller may catch up at most `catch_up_s` of missed
    slots, so that a pause never turns into a burst. Burst, all slots of a window open at its start.
    """

    def __init__(self, size: int, interval_s: float, *, burst: bool, now: float, catch_up_s: float = 1.0):
        self._size = size
        self._interval_s = interval_s
        self._burst = burst
        self._catch_up_s = min(catch_up_s, interval_s)
        self._step_s = interval_s / size
        self._next_slot = now
        self._window_start = now
        self._used = 0

    def delay(self, now: float) -> float:
        """Seconds until the next launch is allowed; 0 when it is allowed now."""
        if self._burst:
            self._roll(now)
            return 0.0 if self._used < self._size else self._window_start + self._interval_s - now
        return max(self._next_slot - now, 0.0)

    def launched(self, now: float) -> None:
        """Use up one slot."""
        if self._burst:
            self._roll(now)
            self._used += 1
        else:
            self._next_slot = max(self._next_slot, now - self._catch_up_s) + self._step_s

    def _roll(self, now: float) -> None:
        if now - self._window_start >= self._interval_s:
            windows = int((now - self._window_start) // self._interval_s)
            self._window_start += windows * self._interval_s
            self._used = 0


class RateMeter:
    """What happened in the last `span_s`: a sliding sum over whole `step_s` slots. Memory is constant."""

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


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after the n-th failure in a row when the server names no time: `base_s` doubled, capped.

    The jitter is full above one half: waits fall in [w/2, w], so that a fleet does not return in step.
    """

    base_s: float = 10.0
    cap_s: float = 300.0

    def wait_s(self, failures: int, jitter: float) -> float:
        """Seconds to wait after `failures` >= 1 failures; `jitter` in 0..1."""
        full = min(self.base_s * 2.0 ** min(failures - 1, 30), self.cap_s)
        return full * (0.5 + 0.5 * jitter)
