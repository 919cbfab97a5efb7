"""The time for which a worker may act as owner of its videos, by its own clock from the last renewal that succeeded.

Nothing else is asked: a process that was stopped for an hour, or whose database hangs, knows it the moment it looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_MARGIN_S = 5.0


class Lease:
    """One for a worker: all its videos are renewed in one statement, and each was claimed after the last renewal.

    Args:
        lease_s: what the database was told; from then on another worker may own the videos.
    """

    def __init__(self, lease_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.lease_s = lease_s
        self._margin_s = min(_MARGIN_S, lease_s / 4)
        self._clock = clock
        self.hold = ""  # why nothing may be sent though the videos are ours: results cannot be written
        self._renewed_at = clock()

    def now(self) -> float:
        """The clock; to be read before the database is asked for a renewal."""
        return self._clock()

    def note_renewal(self, asked_at: float) -> None:
        """The database has renewed all leases, some time after `asked_at`."""
        self._renewed_at = max(self._renewed_at, asked_at)

    @property
    def age_s(self) -> float:
        """Seconds since the last renewal."""
        return self._clock() - self._renewed_at

    @property
    def holds(self) -> bool:
        """True if something new may be sent: the videos are ours, for a moment yet."""
        return self.age_s < self.lease_s - self._margin_s

    @property
    def is_over(self) -> bool:
        """True if it is time to stop waiting: renewals have failed for well over the whole lease."""
        return self.age_s > 1.5 * self.lease_s

    def restraint(self) -> str:
        """The reason that nothing new may be sent, in words; empty while it may."""
        if self.hold:
            return f"nothing is asked while results cannot be written: {self.hold}"
        return (
            ""
            if self.holds
            else "nothing is sent without a lease, and no renewal reached the database for a while"
        )
