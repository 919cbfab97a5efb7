"""Pacing, rates and back-off: arithmetic with the time passed in. Nothing here sleeps or looks at a clock.

All times are seconds on one monotonic clock, given by the caller as `now`.
"""

from __future__ import annotations

import math
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

    def note_launch(self, now: float) -> None:
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


@dataclass(frozen=True, slots=True)
class Backoff:
    """The time to wait after the n-th failure in a row when the server names no time: `base_s` doubled, capped.

    The jitter is full above one half: waits fall in [w/2, w], so that a fleet does not return in step.
    """

    base_s: float = 10.0
    cap_s: float = 300.0

    def wait_s(self, failures: int, jitter: float) -> float:
        """Seconds to wait after `failures` >= 1 failures; `jitter` in 0..1."""
        full = min(self.base_s * 2.0 ** min(failures - 1, 30), self.cap_s)
        return full * (0.5 + 0.5 * jitter)


# ----------------------------------------------------------------------------- adaptive concurrency


class AdaptiveConcurrency:
    """The requests that may be in flight: grows on success, is cut once a burst of push-back, recovers by time.

    Growth doubles a round trip up to nine tenths of the level that was last refused (its memory), and creeps
    from there; the memory fades after `forget_s` without push-back. Overload (503) pauses growth, and only
    push-back (429) cuts. It never falls below `floor`, so it cannot stall, nor rises above `ceiling`.
    """

    def __init__(self, ceiling: int, *, floor: int = 8, start: int | None = None, forget_s: float = 30.0):
        self._ceiling = float(ceiling)
        self._floor = float(min(floor, ceiling))
        self._level = min(max(float(start or ceiling), self._floor), self._ceiling)
        self._refused_at_level = self._ceiling / 0.9
        self._cut_at = -math.inf
        self._growth_from = -math.inf
        self._forget_s = forget_s

    @property
    def limit(self) -> int:
        return int(self._level)

    def on_success(self, now: float) -> None:
        if now < self._growth_from:
            return
        if now - self._cut_at > self._forget_s:
            self._refused_at_level = self._ceiling / 0.9
        step = 1.0 if self._level < 0.9 * self._refused_at_level else 1.0 / self._level
        self._level = min(self._level + step, self._ceiling)

    def on_push_back(self, launched_at: float, now: float) -> bool:
        """A 429. Those launched before the last cut tell nothing new. Returns whether it was cut."""
        if launched_at <= self._cut_at:
            return False
        self._refused_at_level = self._level
        self._level = max(self._level * 0.7, self._floor)
        self._cut_at = now
        return True

    def on_overload(self, now: float, pause_s: float = 15.0) -> None:
        """A 503 or 529: the service is short of capacity, our share of it is not the cause."""
        self._growth_from = max(self._growth_from, now + pause_s)


# ----------------------------------------------------------------------------- parking and probing


@dataclass(frozen=True, slots=True)
class Probing:
    """The seconds between two looks at a provider that cannot be asked.

    `least_s` holds whatever the server says, and doubles with each probe that fails, up to `most_s`, until an answer
    comes.
    """

    probe_s: float = 8.0  # where the server names no time
    least_s: float = 1.0
    most_s: float = 60.0


class Gate:
    """The gate before a provider: open; or, after a refusal, ajar: closed until a time, then for one probe at a time.

    After a shut time only one probe goes; its success opens the gate, its failure shuts it again. The wait between
    probes stays short unless the server names a time, so that the end of a storm is seen soon; and it is never
    shorter than the least wait, whatever the server says.
    """

    def __init__(self, probing: Probing | None = None):
        self._probing = probing or Probing()
        self._least_s = self._probing.least_s
        self._shut_until = -math.inf
        self._ajar = False
        self._probe_at: float | None = None  # when the probe that is out was launched
        self.reason = ""

    def shut(self, now: float, wait_s: float | None, reason: str, launched_at: float = math.inf) -> None:
        """Refuse everything until the server's time, or for one probe interval, because of what came of a request.

        One that was launched before the probe that is out says nothing about that.
        """
        if self._is_probe(launched_at):
            self._probe_at = None
            self._least_s = min(2 * self._least_s, self._probing.most_s)
        wait_s = self._probing.probe_s if wait_s is None else wait_s
        self._shut_until = max(self._shut_until, now + max(wait_s, self._least_s))
        self._ajar, self.reason = True, reason

    def delay(self, now: float) -> float:
        """Seconds until a request may go; infinite while a probe is out."""
        if not self._ajar:
            return 0.0
        return math.inf if self._probe_at is not None else max(self._shut_until - now, 0.0)

    def note_launch(self, now: float) -> None:
        """A request goes: while the gate is ajar, that is the probe."""
        if self._ajar:
            self._probe_at = now

    def note_good_reply(self, launched_at: float) -> bool:
        """A request came back without push-back. Returns whether that opened the gate.

        One that was launched before the probe, or before the gate was shut, tells of the time before.
        """
        if not self._ajar:
            self._least_s = self._probing.least_s
            return False
        if not self._is_probe(launched_at):
            return False
        self._ajar, self._probe_at, self.reason = False, None, ""
        self._least_s = self._probing.least_s
        return True

    def probe_lost(self, now: float, launched_at: float = math.inf) -> None:
        """A request ended without telling either way (a reset, a time-out): if it was the probe, another may go."""
        if self._is_probe(launched_at):
            self._probe_at = None
            self._shut_until = max(self._shut_until, now + self._least_s)
            self._least_s = min(2 * self._least_s, self._probing.most_s)

    def _is_probe(self, launched_at: float) -> bool:
        return self._probe_at is not None and launched_at >= self._probe_at

    @property
    def is_open(self) -> bool:
        return not self._ajar

    @property
    def shut_until(self) -> float:
        return self._shut_until
