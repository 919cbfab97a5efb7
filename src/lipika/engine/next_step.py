"""The next step of a clip after an attempt: the pure table's word (`retries`), told how its clip and others fare."""

from __future__ import annotations

import random
from collections.abc import Callable

from lipika.engine.choice import RouteChoice
from lipika.engine.retries import Decision, History, RetryPolicy, Step, decide, wait_s
from lipika.engine.route import Route
from lipika.engine.tickets import Ticket
from lipika.llm.transport import NEVER_SENT
from lipika.models import Advice, Effect, Failure, FailureKind, InVain, ServiceTier, Stops

_AGAIN = Decision(Step.RETRY, counts=False)


class NextStep:
    """Decides whether a clip is asked again, and of whom. `jitter` is the chance in a wait, from 0 to 1."""

    def __init__(
        self, choice: RouteChoice, policy: RetryPolicy, *, jitter: Callable[[], float] = random.random
    ):
        self._choice = choice
        self._policy = policy
        self._jitter = jitter

    def decide_on_answer(self, ticket: Ticket, route: Route, advice: Advice, now: float) -> Decision | None:
        """Ask once more, where that promises a better answer than the one that is there."""
        if advice is Advice.VARY and not ticket.varied:
            return Decision(Step.RETRY, varied=True)
        if advice is Advice.KEEP or not self._choice.has_another(route, ticket.refused_by, now):
            return None
        return Decision(Step.ELSEWHERE)

    def decide_on_failure(self, ticket: Ticket, route: Route, failure: Failure, now: float) -> Decision:
        """Decide what follows from a failure, which is noted on the ticket."""
        ticket.failures += 1
        rule = failure.follows(answered=route.answers > 0)
        if route.closed:
            # A closed second provider stops nobody, nor does a first one without credit or with a wrong address.
            stops_first = route is self._choice.first and rule.stops is Stops.FIRST
            if self._choice.has_open_beside(route) and not stops_first:
                return _AGAIN
            return Decision(Step.STOP) if rule.closes else _AGAIN
        if rule.closes and ticket.best is not None:
            return Decision(Step.FINAL)
        if ticket.refused_by and not route.answers_soon(now):  # one try elsewhere, not a wait of hours
            return Decision(Step.FINAL)
        given_up, jitter = self._is_in_vain(ticket, route, failure), self._jitter()
        is_outage = rule.effect is Effect.SUSPECT and (route.is_down or failure.code in NEVER_SENT)
        if is_outage and not given_up:
            wait = wait_s(failure, ticket.waits + 1, self._policy, jitter)
            return Decision(Step.RETRY, wait, counts=False)  # an outage is nobody's third attempt
        history = History(
            ticket.counted,
            ticket.waits,
            ticket.varied,
            given_up=given_up,
            elsewhere=self._choice.has_another(route, ticket.refused_by, now),
        )
        return decide(failure, history, self._policy, jitter)

    def _is_in_vain(self, ticket: Ticket, route: Route, failure: Failure) -> bool:
        """True if it has been shown that this clip waits in vain, however long it waits."""
        in_vain = failure.rule.in_vain
        if in_vain is InVain.PROBES:
            if failure.code in NEVER_SENT or not route.is_down:
                return False
            ticket.in_vain += failure.http_status is not None or failure.kind is FailureKind.TIMEOUT
            return ticket.in_vain > self._policy.probes_in_vain
        refused = ticket.refused.get(route.name)
        if in_vain is InVain.NEVER or refused is None:
            return False
        refused.again(route.answers, route.put_off, for_everybody=route.fails_for_everybody)
        if route.tier is ServiceTier.FLEX and not ticket.escalated:
            if refused.is_the_clips:  # Flex will not have it: nothing is proved against it but that
                ticket.escalated = True
                del ticket.refused[route.name]
            return False
        alone = in_vain is InVain.ALONE and refused.in_vain_alone
        return alone or refused.is_the_clips
