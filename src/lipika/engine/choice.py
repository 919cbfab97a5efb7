"""The choice of a provider: which of them a clip may be sent to now, and when, if to none.

The first is asked while it can be. The second takes over when the first is closed or parked, or in a flood of 429s; a
probe finds out when the first is well again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from lipika.engine.batches import Batch, Windows
from lipika.engine.route import Route

IDLE_S = 0.5
"""With nothing to launch, how often to look for batches to close and slots to ask for."""


class RouteChoice:
    """The providers in order of preference. `refused_by` names those that would not or could not answer a clip."""

    def __init__(self, routes: Sequence[Route], windows: Windows):
        self.routes = tuple(routes)
        self._windows = windows

    def __iter__(self) -> Iterator[Route]:
        return iter(self.routes)

    @property
    def first(self) -> Route:
        return self.routes[0]

    @property
    def preferred(self) -> Route:
        """The one that is asked at the moment."""
        return next((route for route in self.routes if route.usable), self.first)

    # ------------------------------------------------------------------------- for one clip

    def soonest(
        self, refused_by: Set[str], now: float, *, escalated: bool = False
    ) -> tuple[float, Route | None]:
        """The provider to send a clip to now; else how long to wait for one."""
        wait_s = IDLE_S
        for route in self._order(refused_by, now):
            delay = route.delay(now, escalated=escalated)
            if delay <= 0:
                return 0.0, route
            wait_s = min(wait_s, delay)
        return wait_s, None

    def answers_soon(self, refused_by: Set[str], now: float) -> bool:
        """True if one that the clip may go to can be asked, or will be within a minute as far as one can tell."""
        return any(route.answers_soon(now) for route in self._order(refused_by, now))

    def has_another(self, route: Route, refused_by: Set[str], now: float) -> bool:
        """True if the clip could still be sent to another provider than this one."""
        return any(
            other is not route and other.answers_soon(now) and other.name not in refused_by
            for other in self.routes
        )

    def _order(self, refused_by: Set[str], now: float) -> list[Route]:
        """Providers that the clip may go to, preferred first; a probe to the first goes before the second."""
        open_to = [route for route in self.routes if route.name not in refused_by and not route.closed]
        if len(open_to) < 2:
            return open_to
        first = open_to[0]
        if first.storming and self._windows.is_flooded(first.name, now):
            return open_to[1:] if first.usable else open_to  # only a probe may still go there
        if first.parked_kind is not None or first.storming:
            return open_to
        return open_to[:1]

    # ------------------------------------------------------------------------- for all

    def note_flood(self, route: Route, batch: Batch) -> bool:
        """Send a window's rest to the other provider once over a tenth of it was answered 429. Returns True if that
        is news and the route is the first."""
        if route.storming or not batch.is_flooded(route.name):
            return False
        route.storming = True
        return route is self.first

    def has_open_beside(self, route: Route) -> bool:
        """True if another provider than this one is not closed."""
        return any(other is not route and not other.closed for other in self.routes)

    @property
    def in_flight(self) -> int:
        """Requests on the wire."""
        return sum(route.in_flight for route in self.routes)

    def live(self, now: float) -> tuple[int, int]:
        """Requests and prompt tokens of the last minute."""
        return (
            round(sum(route.rpm.total(now) for route in self.routes)),
            round(sum(route.tpm.total(now) for route in self.routes)),
        )

    def limited_by(self, now: float) -> str:
        """The reasons that hold every provider back now; empty when one is held back by nothing."""
        reasons = [reason for route in self.routes if (reason := route.limited_by(now))]
        return "; ".join(reasons) if len(reasons) == len(self.routes) else ""
