"""Evidence for whose fault a failure is, the service's or the clip's, and what it proves. Pure.

One clip proves nothing against a service, however often it fails; several that had no cause to fail do. A clip that
fails while others are answered is suspect itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SEVERAL = 3
"""Clips that fail without an answer in between, none of them suspect: then it is the service."""
CROWD = 10
"""So many are the service's, suspect or not: what was on its way when an outage began."""
_IN_VAIN_ALONE = 8
_PROOF = 25.0
"""Natural logarithm: one in 10^11 for a clip that has no more cause to be refused than others."""
_PROOF_REFUSALS = 6


class Evidence:
    """Clips that failed since the service last gave an answer. Times are seconds on one clock."""

    def __init__(self) -> None:
        self._clips: dict[str, bool] = {}  # by id: whether it is suspect
        self._answered_at = -math.inf
        self.failures = 0
        self.looked_again = False  # a clip that is not suspect failed, though asked after another failure
        self._first_failed_at = math.inf
        self.never_sent = 0  # failures to connect

    def note_answer(self, now: float) -> None:
        """The service has answered somebody."""
        self._answered_at = now
        if self.failures:
            self._clips.clear()
            self.failures = self.never_sent = 0
            self.looked_again, self._first_failed_at = False, math.inf

    def note_failure(self, clip_id: str, first_asked_at: float, asked_at: float, now: float) -> None:
        """A clip failed that was asked for the first time then, and the last time then."""
        suspect = self._answered_at >= first_asked_at
        self.looked_again |= not suspect and asked_at >= self._first_failed_at
        self._first_failed_at = min(self._first_failed_at, now)
        if len(self._clips) < CROWD:
            self._clips[clip_id] = suspect
        self.failures += 1

    def note_unsent(self) -> None:
        """There was no connection."""
        self.failures += 1
        self.never_sent += 1

    def quiet_s(self, now: float) -> float:
        """Seconds since the last answer; infinite when there was none."""
        return now - self._answered_at

    @property
    def innocent(self) -> int:
        """Clips that failed and are not suspect."""
        return sum(not suspect for suspect in self._clips.values())

    @property
    def is_the_services(self) -> bool:
        """True if it fails for everybody."""
        return bool(self.never_sent) or self.innocent >= SEVERAL or self.is_a_crowd

    @property
    def is_a_crowd(self) -> bool:
        """True if so many have failed that it does not matter which."""
        return len(self._clips) >= CROWD


@dataclass(slots=True)
class Refused:
    """Counts of how often one clip was put off (503, 429), and how others fared meanwhile."""

    answers_seen: int = 0  # the route's counters when the clip was last refused
    refusals_seen: int = 0
    refusals: int = 0
    alone: int = 0  # ... in a row, while nobody else was answered
    proof: float = 0.0  # minus the logarithm of the chance that this happens to a clip like any other

    def again(self, answers: int, refusals: int, *, for_everybody: bool) -> None:
        """It was refused once more; `answers` and `refusals` count all clips, this refusal included."""
        answered, refused = answers - self.answers_seen, max(refusals - self.refusals_seen, 1)
        self.answers_seen, self.refusals_seen = answers, refusals
        self.refusals += 1
        self.proof += math.log((answered + refused) / refused)
        self.alone = 0 if answered or for_everybody else self.alone + 1

    @property
    def is_the_clips(self) -> bool:
        """True if others were answered too often meanwhile for this to be chance."""
        return self.refusals >= _PROOF_REFUSALS and self.proof >= _PROOF

    @property
    def in_vain_alone(self) -> bool:
        """True if it has been refused often enough with nobody else there to be answered."""
        return self.alone >= _IN_VAIN_ALONE
