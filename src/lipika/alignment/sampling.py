"""The share of clips listened to: every k-th, k following the measured speed. Pure, with the clock passed in."""

from __future__ import annotations

import math
from dataclasses import dataclass

MOST_EVERY = 64  # beyond one clip in 64 a sample says too little for what it costs
LOAD = 0.8  # of a window's time that may be planned for
BAD_WINDOWS = 3  # in a row, then it is switched off
FIRST_BATCH = 8  # clips that may wait before the speed is known
_SMOOTHING = 0.4


@dataclass(slots=True)
class _Window:
    began: float
    offered: int = 0
    late: int = 0
    slipped: bool = False


class Sampler:
    """Decides, clip by clip. Times are seconds of one monotonic clock.

    A window is as long as the deadline. When it ends, k becomes what the clips of the window and the seconds a clip
    takes ask for: at once upwards, by halves downwards. Clips that came too late, or a loop held up, double it.
    """

    def __init__(self, deadline_s: float, now: float) -> None:
        self.every = 1
        self.off_because = ""
        self._deadline_s = deadline_s
        self._each_s = 0.0
        self._waiting = 0
        self._turn = 0
        self._bad = 0
        self._window = _Window(now)

    @property
    def each_s(self) -> float:
        """Seconds a clip takes, smoothed; 0 while unknown."""
        return self._each_s

    def wants(self, now: float) -> bool:
        """True if it is time to listen to the clip that is offered now."""
        self._roll(now)
        if self.off_because:
            return False
        self._window.offered += 1
        self._turn += 1
        if self._turn < self.every or not self._has_room():
            return False
        self._turn = 0
        self._waiting += 1
        return True

    def note_batch(self, clips: int, busy_s: float, now: float, *, late: int = 0) -> None:
        """So many clips were listened to, in one go; so many of them too late."""
        self._waiting -= clips
        each_s = busy_s / clips
        self._each_s += (each_s - self._each_s) * (_SMOOTHING if self._each_s else 1.0)
        self._roll(now)
        self._window.late += late

    def late(self, now: float) -> None:
        """A clip waited in vain and was let go."""
        self._waiting -= 1
        self._roll(now)
        self._window.late += 1

    def note_slip(self, now: float) -> None:
        """Note that other work of this process was held up."""
        self._roll(now)
        self._window.slipped = True

    def switch_off(self, reason: str) -> None:
        """For good."""
        self.off_because = self.off_because or reason

    def _has_room(self) -> bool:
        """True if a clip more would have its turn before its deadline."""
        if not self._each_s:
            return self._waiting < FIRST_BATCH
        return (self._waiting + 1) * self._each_s <= self._deadline_s * LOAD

    def _roll(self, now: float) -> None:
        while now >= self._window.began + self._deadline_s and not self.off_because:
            window = self._window
            self._window = _Window(max(window.began + self._deadline_s, now - self._deadline_s))
            self._adapt(window)

    def _adapt(self, window: _Window) -> None:
        wanted = max(self._choose_every(window.offered), math.ceil(self.every / 2))
        bad = bool(window.late) or window.slipped
        if bad:
            wanted = max(wanted, 2 * self.every)
        self._bad = self._bad + 1 if bad else 0
        if self._each_s > self._deadline_s * LOAD:
            self.switch_off(f"a clip takes {self._each_s:.1f} s, longer than the deadline leaves room for")
        elif self._bad >= BAD_WINDOWS and wanted > MOST_EVERY:
            what = "requests were held up" if window.slipped else "clips were not heard in time"
            self.switch_off(f"{what}, even with one clip in {self.every}")
        self.every = min(wanted, MOST_EVERY)

    def _choose_every(self, offered: int) -> int:
        """k for a window with so many clips."""
        if not self._each_s or not offered:
            return self.every
        capacity = max(self._deadline_s * LOAD / self._each_s, 1.0)
        return max(math.ceil(offered / capacity), 1)
