"""Escalation: clips go on at the standard tier where Flex has kept them waiting or would miss a deadline.

Arithmetic with the clock passed in. Nothing here asks anybody.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from lipika.engine.pacing import Gate, Probing

USUAL_LONGEST_S = 900.0
"""Google's own word for how long Flex takes, 1 to 15 minutes: it holds until that long has been watched."""
_ANSWERS_KEPT = 2000
_ANSWERS_THAT_TELL = 100
_LAST = 0.995
_LEAST_S = 10.0
_TAKEN_AFTER_S = 10.0
"""What Flex has not refused by then waits for its turn there: it does not want room."""
_FEW_TAKEN = 0.25


@dataclass(slots=True)
class Escalation:
    """The rules in force. `flex_until` is on the engine's clock: what is launched later goes at the standard tier;
    before that `share` of the launches does, spread evenly."""

    patience_s: float = math.inf
    flex_until: float = math.inf
    share: float = 0.0
    ends_at: float = math.inf  # from when on an answer of Flex would come too late
    _owed: float = field(default=0.0, init=False)

    def is_due(self, now: float, waited_s: float) -> bool:
        """True if a clip that has waited for Flex so long goes on at the standard tier, were it launched now."""
        return waited_s >= self.patience_s or now >= self.flex_until or self._owed >= 1.0

    def left_s(self, now: float, waited_s: float) -> float | None:
        """Seconds that a request at Flex may take, before its clip goes on at the standard tier. None: as any."""
        left = min(self.patience_s - waited_s, self.ends_at - now)
        return None if math.isinf(left) else max(left, _LEAST_S)

    def note_launch(self, *, flex: bool) -> None:
        """One launch at either tier has been made."""
        if self.share <= 0:
            self._owed = 0.0
            return
        self._owed = min(self._owed + self.share, 2.0) - (0.0 if flex else 1.0)


class FlexRecord:
    """The answers of Flex: latencies, and the share of requests that it had no room for."""

    def __init__(self) -> None:
        self._latencies_s: deque[float] = deque(maxlen=_ANSWERS_KEPT)
        self._shed: deque[bool] = deque(maxlen=_ANSWERS_KEPT)
        self._first_launch = math.inf

    def note_launch(self, now: float) -> None:
        self._first_launch = min(self._first_launch, now)

    def note_answer(self, latency_s: float) -> None:
        self._latencies_s.append(latency_s)
        self._shed.append(False)

    def note_shed(self) -> None:
        self._shed.append(True)

    def longest_s(self, now: float) -> float:
        """The latency that hardly any answer exceeds. Early answers are the quick ones: until a quarter of an hour
        has been watched they do not count for less than that."""
        if len(self._latencies_s) < _ANSWERS_THAT_TELL:
            return USUAL_LONGEST_S
        ordered = sorted(self._latencies_s)
        seen = ordered[min(int(_LAST * len(ordered)), len(ordered) - 1)]
        return seen if now - self._first_launch >= USUAL_LONGEST_S else max(seen, USUAL_LONGEST_S)

    @property
    def mean_s(self) -> float:
        """Of an answer; zero before there is any."""
        return sum(self._latencies_s) / len(self._latencies_s) if self._latencies_s else 0.0

    @property
    def requests_per_clip(self) -> float:
        """Requests for an answer, those that were shed included."""
        answered = len(self._shed) - sum(self._shed)
        return len(self._shed) / answered if answered >= _ANSWERS_THAT_TELL else 1.25


class FlexLane:
    """The way into Flex: a gate of its own, and the launches that Flex may still refuse."""

    def __init__(self, probing: Probing | None = None) -> None:
        self.gate = Gate(probing)
        self.shut_since = math.inf
        self.record = FlexRecord()
        self._untaken: dict[int, float] = {}  # launch -> when, in order

    def note_launch(self, key: int, now: float) -> None:
        self.gate.note_launch(now)
        self.record.note_launch(now)
        self._untaken[key] = now

    def note_end(self, key: int) -> None:
        """A launch has been answered or refused."""
        self._untaken.pop(key, None)

    def take(self, now: float) -> float | None:
        """The time of a launch that has not been refused for a while: answers take minutes, and this is the good sign
        that there is meanwhile. None: there is no other."""
        key, launched_at = next(iter(self._untaken.items()), (0, math.inf))
        if now - launched_at < _TAKEN_AFTER_S:
            return None
        del self._untaken[key]
        return launched_at

    def note_good_reply(self, launched_at: float) -> None:
        self.gate.note_good_reply(launched_at)
        if self.gate.is_open:
            self.shut_since = math.inf

    def takes_none(self, refused: int) -> bool:
        """True if hardly any of the launches since the first of so many refusals in a row was taken."""
        return len(self._untaken) <= _FEW_TAKEN * refused

    def shut(self, now: float, wait_s: float | None, launched_at: float) -> None:
        """One probe goes at a time from now on."""
        self.shut_since = min(self.shut_since, now)
        self.gate.shut(now, wait_s, "Flex has no room", launched_at)
