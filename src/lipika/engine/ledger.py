"""Asking the fleet's ledger: launch slots are reserved a little ahead of the work, and what was spent is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from lipika.engine.batches import Windows
from lipika.engine.choice import RouteChoice
from lipika.engine.route import Route
from lipika.engine.waiting import Waiting
from lipika.errors import LipikaError, Unavailable, WorkerStop
from lipika.log import get_logger

log = get_logger(__name__)

_AHEAD_S = 4


class SlotSupply:
    """The supply of launch slots: asks for more where they run low and there is work.

    `on_answer` is called after every question, `on_broken` when the ledger can be reached and not be read.
    """

    def __init__(
        self,
        choice: RouteChoice,
        waiting: Waiting,
        windows: Windows,
        *,
        clock: Callable[[], float],
        on_answer: Callable[[], object],
        on_broken: Callable[[WorkerStop], object],
    ):
        self._choice = choice
        self._waiting = waiting
        self._windows = windows
        self._clock = clock
        self._on_answer = on_answer
        self._on_broken = on_broken

    def asks_in_s(self, now: float) -> float:
        """Seconds until the ledger should be asked again because of a dollar cap; infinite without one."""
        return min(route.asks_in_s(now) for route in self._choice)

    def questions(self, now: float, requests: int) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield the questions that are due, to be run in the background. `requests`: sent since the start."""
        for route in self._choice:
            if not route.may_ask(now) or not self._is_needed(route):
                continue
            demand = self._demand(now, requests)
            if route.wants_slots(now, demand):
                yield self._ask(route, demand)

    async def settle(self) -> None:
        """Give back what will not be used, and tell the ledger the last of what was spent."""
        for route in self._choice:
            route.give_back()
            try:
                await route.ask(self._clock, 0)
            except LipikaError as error:
                log.warning("spending_not_settled", provider=route.name, reason=str(error))

    def _is_needed(self, route: Route) -> bool:
        """The second route reserves nothing while the first does the work: its slots would be wasted."""
        first = self._choice.first
        wanted_for_content = self._waiting.has_refused(first.name)
        return route is first or not first.usable or first.storming or first.closed or wanted_for_content

    def _demand(self, now: float, requests: int) -> int:
        """Launches to be expected in the next seconds: what waits, as far as the pacer lets it, and a bit of flow."""
        flow = min(requests, math.ceil(self._choice.live(now)[0] / 60)) if self._choice.in_flight else 0
        waiting = min(self._waiting.fresh, self._windows.most_slots(_AHEAD_S))
        return waiting + self._waiting.due_by(now + _AHEAD_S) + flow

    async def _ask(self, route: Route, demand: int) -> None:
        try:
            await route.ask(self._clock, demand)
        except Unavailable as error:
            log.warning("ledger_away", provider=route.name, reason=str(error))
        except LipikaError as error:
            self._on_broken(WorkerStop(f"the fleet's budget cannot be read: {error}"))
        finally:
            self._on_answer()
