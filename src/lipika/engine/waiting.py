"""The clips that wait to be sent, and the one of them that goes next."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from lipika.engine.batches import Windows
from lipika.engine.choice import IDLE_S, RouteChoice
from lipika.engine.escalation import Escalation
from lipika.engine.route import Route
from lipika.engine.tickets import Ticket
from lipika.models import ServiceTier

_Lot = tuple[frozenset[str], bool]
"""Who has refused a clip, and whether it goes on at the standard tier."""
_LOOK_EVERY_S = 1.0
_ELSEWHERE_WITHIN_S = 600.0
"""A clip that is sent to another provider is asked there within this time, or not at all."""


class _Queue:
    """Tickets that wait for another attempt, those that are due first. Some that are due are put off to the end of a
    window: they count as waiting until then, and may be called back before."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Ticket]] = []
        self._put_off: deque[tuple[float, float, Ticket]] = deque()  # until when, when it was due
        self._sequence = itertools.count()

    def __len__(self) -> int:
        return len(self._heap) + len(self._put_off)

    def __iter__(self) -> Iterator[Ticket]:
        return (entry[2] for entry in (*self._heap, *self._put_off))

    @property
    def is_ready(self) -> bool:
        """True if any ticket is not put off."""
        return bool(self._heap)

    @property
    def first(self) -> tuple[float, Ticket]:
        """When it is due, and the ticket."""
        due, _, ticket = self._heap[0]
        return due, ticket

    def push(self, due: float, ticket: Ticket) -> None:
        heapq.heappush(self._heap, (due, next(self._sequence), ticket))

    def pop(self) -> None:
        heapq.heappop(self._heap)

    def put_off(self, until: float) -> None:
        """Let the first one wait until then."""
        due, _, ticket = heapq.heappop(self._heap)
        self._put_off.append((until, due, ticket))

    def call_back(self, now: float, *, all_of_them: bool) -> None:
        """Let those that were put off go, if their time has come or there is nothing left to wait for."""
        while self._put_off and (all_of_them or self._put_off[0][0] <= now):
            _, due, ticket = self._put_off.popleft()
            self.push(due, ticket)

    def due_by(self, when: float) -> int:
        """How many are due by then; of a long queue, as far as it is looked at."""
        later = sum(until <= when for until, _, _ in itertools.islice(self._put_off, 1000))
        return later + sum(due <= when for due, _, _ in self._heap[:1000])

    def least_failed(self, now: float) -> Ticket:
        """Of those that are due, the one with the least failures: the best probe."""
        due = (entry for entry in self._heap if entry[0] <= now and not entry[2].is_over)
        return min(due, key=lambda entry: (entry[2].failures, entry[:2]), default=self._heap[0])[2]

    def remove(self, ticket: Ticket) -> None:
        if self._heap and self._heap[0][2] is ticket:
            heapq.heappop(self._heap)
            return
        self._put_off = deque(entry for entry in self._put_off if entry[2] is not ticket)
        self._heap = [entry for entry in self._heap if entry[2] is not ticket]
        heapq.heapify(self._heap)


@dataclass(frozen=True, slots=True)
class Turn:
    """A clip that may go now, and where to."""

    ticket: Ticket
    route: Route
    escalated: bool = False  # at the standard tier, where Flex is asked else

    @property
    def is_probe(self) -> bool:
        return not self.route.is_open(escalated=self.escalated)


class Waiting:
    """Clips that were never asked, in the order they came, and retries, each from the time it is due.

    Retries wait apart by the providers that have refused them, and by whether they go on at the standard tier, since
    each of these lots has routes of its own. `give_up` ends a clip that nobody will be asked about any more;
    `any_fresh` tells whether clips that were never asked wait here, or for another model of a cascade.
    """

    def __init__(
        self,
        choice: RouteChoice,
        windows: Windows,
        give_up: Callable[[Ticket], None],
        escalation: Escalation | None = None,
        any_fresh: Callable[[], bool] | None = None,
    ):
        self.escalation = escalation or Escalation()
        self._any_fresh = any_fresh or (lambda: self.fresh > 0)
        self._looked_at = -math.inf  # for clips whose patience is at its end
        self._choice = choice
        self._windows = windows
        self._give_up = give_up
        self._fresh: deque[Ticket] = deque()
        self._retries: dict[_Lot, _Queue] = {}

    def __len__(self) -> int:
        return len(self._fresh) + sum(map(len, self._retries.values()))

    @property
    def fresh(self) -> int:
        """Clips that were never asked."""
        return len(self._fresh)

    def due_by(self, when: float) -> int:
        """Retries that are due by then."""
        return sum(queue.due_by(when) for queue in self._retries.values())

    def has_refused(self, provider: str) -> bool:
        """True if a clip waits for somebody else than this provider."""
        return any(provider in refused_by for refused_by, _ in self._retries)

    def add(self, ticket: Ticket) -> None:
        """Put a clip last of those that were never asked."""
        self._fresh.append(ticket)

    def add_again(self, ticket: Ticket, due: float) -> None:
        """Let a clip wait for another attempt."""
        self._retries.setdefault((ticket.refused_by, ticket.escalated), _Queue()).push(due, ticket)

    def take_all(self) -> list[Ticket]:
        """Take everything out."""
        tickets = [*self._fresh, *(ticket for queue in self._retries.values() for ticket in queue)]
        self._fresh.clear()
        self._retries.clear()
        return tickets

    def take_next(self, now: float) -> tuple[float, Turn | None]:
        """Take the clip out that may go now, if one may; else the seconds until the next look."""
        self._escalate_impatient(now)
        wait_s, turn, queue = self._next_retry(now)
        if turn is None or turn.is_probe:  # a probe is a fresh clip where there is one
            fresh_s, fresh = self._next_fresh(now)
            wait_s = min(wait_s, fresh_s)
            if fresh is not None:
                self._fresh.popleft()
                self._windows.use_slot(now)
                return wait_s, fresh
        if turn is not None and queue is not None:
            queue.remove(turn.ticket)
        return wait_s, turn

    def _next_retry(self, now: float) -> tuple[float, Turn | None, _Queue | None]:
        """A retry that may go now and the queue that it waits in, else the seconds until one may."""
        wait_s = IDLE_S
        for lot, queue in list(self._retries.items()):
            refused_by, escalated = lot
            due_s, ticket = self._due(queue, now)
            if ticket is not None and not escalated and self._is_due(ticket, now):
                queue.pop()
                self._escalate(ticket, now)
                due_s, ticket = 0.0, None
            if ticket is not None:
                due_s, route = self._choice.soonest(refused_by, now, escalated=escalated)
                if route is not None:
                    turn = Turn(ticket, route, escalated)
                    if turn.is_probe:
                        turn = replace(turn, ticket=queue.least_failed(now))
                    return 0.0, turn, queue
                if refused_by:
                    due_s = min(due_s, self._give_up_elsewhere(queue, ticket, now))
            if not queue:
                del self._retries[lot]
            wait_s = min(wait_s, due_s)
        return wait_s, None, None

    def _due(self, queue: _Queue, now: float) -> tuple[float, Ticket | None]:
        """The queue's first ticket if it is due, else the seconds until it is. A retry goes to a later window than
        its last attempt; as soon as no first attempts wait, the window is ended early for it."""
        queue.call_back(now, all_of_them=not self._any_fresh())
        while queue.is_ready:
            due, ticket = queue.first
            if ticket.is_over:  # the video was given up meanwhile
                queue.pop()
                continue
            if due > now:
                return due - now, None
            current = self._windows.current(now)
            if current is not None and ticket.last_batch is current:
                if self._any_fresh():
                    queue.put_off(current.window_end)
                    continue
                current.window_end = now
            return 0.0, ticket
        return IDLE_S, None

    def _next_fresh(self, now: float) -> tuple[float, Turn | None]:
        """A first attempt that may go now, else the seconds until one may."""
        while self._fresh and self._fresh[0].is_over:
            self._fresh.popleft()
        if not self._fresh:
            return IDLE_S, None
        ticket = self._fresh[0]
        escalated = ticket.escalated or self._is_due(ticket, now)
        wait_s, route = self._choice.soonest(ticket.refused_by, now, escalated=escalated)
        wait_s = max(wait_s, self._windows.slot_delay(now))
        if route is None or wait_s > 0:
            return wait_s, None
        return 0.0, Turn(ticket, route, escalated)

    # ------------------------------------------------------------------------- on at the standard tier

    def _is_due(self, ticket: Ticket, now: float) -> bool:
        """True if it goes on at the standard tier from now on."""
        first = self._choice.first
        if first.tier is not ServiceTier.FLEX or first.name in ticket.refused_by:
            return False
        return self.escalation.is_due(now, self._waited_s(ticket, now))

    def _waited_s(self, ticket: Ticket, now: float) -> float:
        """For Flex, not for our own quotas: since it was asked there, or since Flex takes nothing."""
        since = ticket.first_asked_at
        return max(now - (self._choice.first.flex.shut_since if since is None else since), 0.0)

    def _escalate(self, ticket: Ticket, now: float) -> None:
        ticket.escalated = True
        self.add_again(ticket, now)

    def _escalate_impatient(self, now: float) -> None:
        """Of clips that wait to be asked again, those that have waited for too long, due or not."""
        if math.isinf(self.escalation.patience_s) or now - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = now
        for (_, escalated), queue in list(self._retries.items()):
            if escalated:
                continue
            for ticket in [one for one in queue if self._waited_s(one, now) >= self.escalation.patience_s]:
                queue.remove(ticket)
                self._escalate(ticket, now)

    def _give_up_elsewhere(self, queue: _Queue, ticket: Ticket, now: float) -> float:
        """Nobody waits for ever for another provider's one try: then the first one's word stands. Returns the seconds
        until then."""
        left_s = (ticket.elsewhere_since or 0.0) + _ELSEWHERE_WITHIN_S - now
        if left_s > 0 and self._choice.answers_soon(ticket.refused_by, now):
            return left_s
        queue.remove(ticket)
        self._give_up(ticket)
        return 0.0
