"""The batch cycle: admission, pacing, one retry loop, fallback and return, per-batch tracking.

A clip enters with `Engine.transcribe` and leaves with an `Outcome`. In between it waits for a launch slot of a
batch window and for a route (a provider) that may be asked, is sent, and on failure waits again: never both in
flight and queued.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from lipika.engine.alerts import Alerts
from lipika.engine.batches import Batch, Windows
from lipika.engine.choice import IDLE_S
from lipika.engine.endings import Endings, copy_of, hand_over_best, hand_over_end
from lipika.engine.escalation import Escalation
from lipika.engine.evidence import Refused
from lipika.engine.outcome import Accept, EngineOptions, Events, OnDoubt, Outcome, Review, Totals
from lipika.engine.retries import Decision, Step
from lipika.engine.route import Permit, Route
from lipika.engine.stages import Stage, StageParts, Stages
from lipika.engine.tickets import PaidAnswer, Ticket
from lipika.engine.waiting import Turn
from lipika.errors import Draining, WorkerStop
from lipika.llm.provider import TranscriptionRequest, TranscriptionResponse
from lipika.log import get_logger, redact
from lipika.models import (
    Advice,
    Failure,
    FailureKind,
    Judged,
    ModelSums,
    ServiceTier,
    Stops,
    Usage,
)

log = get_logger(__name__)

_TICK_S = 0.004
"""Looks at the queue are at least this far apart: at 20,000 a minute that is one or two launches a look."""


@dataclass(slots=True, eq=False)
class _Attempt:
    """One launch of a clip: where to, and the batch of the window that it is accounted to."""

    ticket: Ticket
    stage: Stage
    route: Route
    permit: Permit
    batch: Batch


class Engine:
    """Sends clips at the pace of the batch windows. Use as an async context manager.

    `routes` are the providers in order of preference: the first is asked while it can be, the second takes over
    when over a tenth of a window is answered 429 or the first is parked, until a probe finds the first well again.
    `above` makes a cascade: the providers of each better model, in order. A clip whose answer is doubted, or that has
    none, goes up to the next model; the last one is asked again as a single model is.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        worker_id: str,
        options: EngineOptions | None = None,
        events: Events | None = None,
        clock: Callable[[], float] = time.monotonic,
        escalation: Escalation | None = None,
        above: Sequence[Sequence[Route]] = (),
    ):
        self.routes = tuple(routes)
        self.escalation = escalation or Escalation()
        self.totals = Totals()
        self._options = options = options or EngineOptions()
        self._clock = clock
        now = clock()
        self._wake = asyncio.Event()
        self._windows = Windows(
            worker_id, options.batch_size, options.interval_s, burst=options.burst, now=now
        )
        self._alerts = Alerts(events or Events(), now=now)
        self._endings = Endings(self._windows, self.totals, self._alerts)
        self._stages = Stages(
            [self.routes, *map(tuple, above)],
            StageParts(
                self._windows,
                options,
                self.escalation,
                clock,
                give_up=self._endings.end_as_it_stands,
                on_answer=self._wake.set,
                on_broken=self._halt,
            ),
        )
        self._bad_requests = 0
        self._stop: WorkerStop | Draining | None = None
        self._flying: Counter[str] = Counter()  # by video
        self._tasks = asyncio.TaskGroup()
        self._owned: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------------- life

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._own(self._launch_forever())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._end_waiting(self._stop or Draining("the engine has been closed"))
        for task in self._owned:
            task.cancel()
        # The block's own error is not the group's business: it would come out wrapped.
        await self._tasks.__aexit__(None, None, None)
        for stage in self._stages:
            await stage.slots.settle()
        self.close_batches()

    @property
    def stopped(self) -> bool:
        """True from when nothing more is launched."""
        return self._stop is not None

    def drain(self) -> None:
        """Launch nothing more: what waits ends with `Draining`, what is in flight may come back."""
        self._halt(Draining("the worker is stopping"))

    def close_batches(self) -> None:
        """Report every batch that has nothing in flight, its window over or not: the work has ended."""
        self._close_batches(math.inf)

    # ------------------------------------------------------------------------- asking

    async def transcribe(
        self,
        request: TranscriptionRequest,
        accept: Accept,
        on_doubt: OnDoubt = lambda _outcome: None,
        *,
        step: int = 0,
        before: Judged | None = None,
    ) -> Outcome:
        """Bring one clip to its end.

        An answer that could end it and is doubted is given to `on_doubt` at once: it is paid for, and the second
        attempt may wait for a window. So is one that comes when nobody waits any more, its caller being cancelled,
        and one that had ended the clip when the cancellation came before the caller was woken. `step`: of a cascade,
        the model to begin with, where those before have been asked; `before` is what they have said.

        Raises:
            Draining: the engine stopped launching before this clip had an answer.
            WorkerStop: the provider refused in a way that no other clip would survive either.
        """
        if self._stop is not None:
            raise copy_of(self._stop)
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        ticket = Ticket(request, accept, on_doubt, done, step=step, before=before)
        ticket.varied = request.varied or request.several is not None  # then no other words are left for it
        for stage in self._stages:
            for route in stage.choice:
                route.expect(request)
        self._stages[step].waiting.add(ticket)
        self._wake.set()
        try:
            return await ticket.done
        except asyncio.CancelledError:
            hand_over_end(ticket)
            raise

    @property
    def models(self) -> tuple[str, ...]:
        """The models of a cascade, in order; none where there is but one."""
        return tuple(stage.model_id for stage in self._stages) if self._stages.is_cascade else ()

    @property
    def queued(self) -> int:
        """Clips that wait for a slot or a retry."""
        return len(self._stages)

    @property
    def in_flight(self) -> int:
        """Requests on the wire."""
        return self._stages.in_flight

    def live(self) -> tuple[int, int]:
        """Requests and prompt tokens of the last minute."""
        return self._stages.live(self._clock())

    @property
    def provider_in_use(self) -> str:
        """Who is asked at the moment."""
        return self._stages.first.choice.preferred.name

    @property
    def binds(self) -> str:
        """Which of the fleet's limits decided last: rpm, tpm, spend_10min ... or empty."""
        return self._stages.first.choice.preferred.binds

    def limited_by(self) -> str:
        """What holds the queue back now, in words; empty when nothing waits or only the batch window does."""
        return self._stages.limited_by(self._clock()) if self.queued else ""

    def in_flight_of(self, video_id: str) -> int:
        """Requests of one video on the wire, whether anybody waits for them or not."""
        return self._flying[video_id]

    # ------------------------------------------------------------------------- launching

    async def _launch_forever(self) -> None:
        while True:
            self._wake.clear()
            now = self._clock()
            delay = self._launch_due(now)
            for stage in self._stages:
                for question in stage.slots.questions(now, self.totals.requests):
                    self._own(question)
            delay = min(delay, self._stages.asks_in_s(now))
            self._close_batches(now)
            self._alerts.log_wait(now, self.limited_by, self._stages)
            timer = asyncio.get_running_loop().call_later(min(max(delay, _TICK_S), IDLE_S), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
            # Answers wake us in crowds; one look for all that arrive within a tick is enough.
            await asyncio.sleep(_TICK_S)

    def _launch_due(self, now: float) -> float:
        """Launch everything that may go now; returns the seconds until the next look."""
        wait_s = IDLE_S
        while self._stop is None:
            wait_s, turn = self._stages.take_next(now)
            if turn is None:
                break
            self._launch(turn, now)
        return wait_s

    def _launch(self, turn: Turn, now: float) -> None:
        ticket, route = turn.ticket, turn.route
        if ticket.is_over:  # the video was given up meanwhile
            return
        batch = self._windows.open(now, time.time())
        batch.note_launch(ticket.request.video_id, route.name, first=ticket.attempts == 0)
        ticket.last_batch = batch
        if ticket.first_asked_at is None:
            ticket.first_asked_at = now
        if route.name not in ticket.refused:
            ticket.refused[route.name] = Refused(route.answers, route.put_off)
        self.totals.requests += 1
        self.totals.retries += ticket.attempts > 0
        self.totals.providers[route.name] += 1
        ticket.attempts += 1
        ticket.escalated |= turn.escalated
        permit = route.launch(
            ticket.request, now, first_asked_at=ticket.first_asked_at, escalated=ticket.escalated
        )
        if route.tier is ServiceTier.FLEX:
            self.escalation.note_launch(flex=permit.tier is ServiceTier.FLEX)
            self.totals.escalated += permit.tier is ServiceTier.STANDARD
        self._own(self._flight(_Attempt(ticket, self._stages[ticket.step], route, permit, batch)))

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.create_task(work)
        self._owned.add(task)
        task.add_done_callback(self._owned.discard)

    def _close_batches(self, now: float) -> None:
        for batch in self._windows.close(now):
            self.totals.batches += 1
            self._alerts.report_closed(batch.report())

    # ------------------------------------------------------------------------- one attempt

    async def _flight(self, attempt: _Attempt) -> None:
        """One attempt, counted by its video until all that comes of it has been handed on."""
        video_id = attempt.ticket.request.video_id
        self._flying[video_id] += 1
        try:
            await self._try_once(attempt)
        finally:
            self._flying[video_id] -= 1
            if not self._flying[video_id]:
                del self._flying[video_id]

    async def _try_once(self, attempt: _Attempt) -> None:
        """Ask once, and see to what comes of it. Nothing that a caller does, or a defect in a provider or in reading
        its answer, goes further than its clip."""
        ticket, route = attempt.ticket, attempt.route
        try:
            response = await route.provider.transcribe(self._address(attempt))
        except asyncio.CancelledError:
            attempt.batch.note_cancellation(route.note_loss(attempt.permit, self._clock()))
            raise
        except Exception as error:  # the one broad net: a defect in a provider costs one clip, not the worker
            log.exception("attempt_crashed", clip=ticket.request.clip_id)
            failure = Failure(FailureKind.SERVER, redact(f"{type(error).__name__}: {error}"), code="defect")
            response = TranscriptionResponse(ticket.request, route.name, "", failure, Usage(), "", 0.0)
        self._wake.set()
        was_parked = route.parked_kind
        self._account(attempt, response)
        ticket.last_response = response
        review = response.failure or _review(ticket, response)
        if isinstance(review, Failure):
            self._on_failure(attempt, response, review)
        else:
            self._bad_requests = 0
            self._on_answer(attempt, response, review)
        if route.parked_kind is not was_parked:
            self._alerts.note_park(route, response.failure, self._clock())

    def _address(self, attempt: _Attempt) -> TranscriptionRequest:
        """The request as it is sent: its tier, and how long it may wait there before it goes on at another."""
        ticket, permit = attempt.ticket, attempt.permit
        if permit.tier is ticket.request.tier:
            return ticket.request
        left_s = self.escalation.left_s(permit.launched_at, permit.launched_at - permit.first_asked_at)
        return replace(ticket.request, tier=permit.tier, deadline_s=left_s)

    def _account(self, attempt: _Attempt, response: TranscriptionResponse) -> None:
        """Meter the attempt, whatever came of it: a rejected answer is paid for too."""
        now, ticket, totals = self._clock(), attempt.ticket, self.totals
        cost = attempt.route.note_end(attempt.permit, response, now, time.time())
        ticket.meter(attempt.stage.model_id, response, cost)
        attempt.batch.note_end(now, response.latency_ms, response.usage, cost, response.tier)
        totals.add(response.usage, cost, response.tier, response.latency_ms)
        if self._stages.is_cascade:
            for models in (totals.models, attempt.batch.models):
                models.setdefault(attempt.stage.model_id, ModelSums()).add(response.usage, cost)
        if response.model_version:
            self._alerts.note_model(attempt.route.label, response.model_version)
            totals.model_versions[response.model_version] += 1

    def _on_answer(self, attempt: _Attempt, response: TranscriptionResponse, review: Review) -> None:
        """Take the answer, or ask once more where that promises a better one."""
        ticket, batch = attempt.ticket, attempt.batch
        if review.acceptable:
            ticket.remember(PaidAnswer(review.judged, response, batch))
        if ticket.is_over:  # its video was given up: what is paid for is kept, and nothing more is asked
            hand_over_best(ticket)
            return
        doubted = not review.acceptable or review.advice is not Advice.KEEP
        if doubted and self._goes_up(attempt):
            self._step_up(attempt, _list_codes(review.judged))
            return
        again = attempt.stage.next_step.decide_on_answer(ticket, attempt.route, review.advice, self._clock())
        if again is not None and self._stop is None:
            batch.note_doubt()
            hand_over_best(ticket)
            self._again(attempt, again)
        elif ticket.best is not None:
            self._endings.end_well(ticket, ticket.best)
        else:
            failure = _no_answer(review.judged)
            batch.note_failure(failure, attempt.route.name)
            self._endings.fail(ticket, batch, response, failure)

    def _on_failure(self, attempt: _Attempt, response: TranscriptionResponse, failure: Failure) -> None:
        ticket, route, batch, stage = attempt.ticket, attempt.route, attempt.batch, attempt.stage
        batch.note_failure(failure, route.name)
        rate_limited = failure.rule.is_429
        self.totals.rate_limited += rate_limited
        self.totals.errors += not rate_limited
        self.totals.failure_kinds[failure.kind] += 1
        self._count_bad_requests(failure)
        if stage.choice.note_flood(route, batch):
            self._alerts.note_flood(route.label, next((one.name for one in stage.choice.routes[1:]), None))
        if ticket.is_over and not route.closed:  # its video was given up: nobody is asked for it any more
            return
        decision = stage.next_step.decide_on_failure(ticket, route, failure, self._clock())
        match decision.step:
            case Step.STOP:
                self._halt(WorkerStop(_stop_message(route, failure)))
                self._endings.stop(ticket, self._stop)
            case Step.FINAL if failure.kind is not FailureKind.DEFECT and self._goes_up(attempt):
                self._step_up(attempt, failure.code or str(failure.kind))
            case Step.FINAL:
                self._endings.fail(ticket, batch, response, ticket.decisive_failure(failure))
            case _ if self._stop is not None:
                self._endings.stop(ticket, self._stop)
            case _:
                self._again(attempt, decision, failure)

    def _goes_up(self, attempt: _Attempt) -> bool:
        """True if a better model can be asked for a clip that this one has no good answer for."""
        return not attempt.stage.is_last and self._stop is None

    def _step_up(self, attempt: _Attempt, because: str) -> None:
        """Ask the next model of the cascade. What is there is handed over: it is paid for."""
        ticket, model_id = attempt.ticket, attempt.stage.model_id
        attempt.batch.note_step_up()
        for models in (self.totals.models, attempt.batch.models):
            models.setdefault(model_id, ModelSums()).went_up += 1
        hand_over_best(ticket)
        ticket.step_up(because)
        self._stages[ticket.step].waiting.add_again(ticket, self._clock())

    def _again(self, attempt: _Attempt, decision: Decision, failure: Failure | None = None) -> None:
        """Let the clip wait for its next attempt."""
        ticket, route = attempt.ticket, attempt.route
        wait_s, now = decision.wait_s, self._clock()
        if decision.step is Step.ELSEWHERE:
            ticket.send_elsewhere(route.name, failure, now)
        elif decision.counts:
            ticket.counted += 1
        else:
            ticket.waits += 1
            # The route's gate does the waiting, and the other route need not wait at all.
            wait_s = 0.0 if not route.usable else wait_s
        if decision.varied:
            ticket.vary()
        attempt.stage.waiting.add_again(ticket, now + wait_s)

    def _count_bad_requests(self, failure: Failure) -> None:
        if failure.rule.stops is not Stops.MANY:
            return
        self._bad_requests += 1
        if self._bad_requests >= self._options.bad_requests_in_a_row:
            self._halt(WorkerStop(_malformed_message(self._bad_requests, failure)))

    # ------------------------------------------------------------------------- stopping

    def _halt(self, reason: WorkerStop | Draining) -> None:
        if self._stop is None or isinstance(reason, WorkerStop):
            self._stop = reason
        self._end_waiting(reason)

    def _end_waiting(self, reason: WorkerStop | Draining) -> None:
        for ticket in self._stages.take_all():
            self._endings.stop(ticket, reason)


def _review(ticket: Ticket, response: TranscriptionResponse) -> Review | Failure:
    """What the caller says of an answer. An exception is the clip's trouble, and no reason to buy it again."""
    try:
        return ticket.accept(response.text, ticket.circumstances)
    except Exception as error:  # the caller's trouble is the clip's, not the engine's
        log.exception("review_crashed", clip=ticket.request.clip_id)
        return Failure(
            FailureKind.DEFECT,
            f"the answer could not be judged: {type(error).__name__}: {error}",
            code=type(error).__name__,
        )


def _list_codes(judged: Judged) -> str:
    return ", ".join(found.code for found in judged.verdict.findings)


def _no_answer(judged: Judged) -> Failure:
    worst = _list_codes(judged)
    return Failure(FailureKind.MALFORMED, f"no acceptable answer: {worst}", code=worst)


def _malformed_message(requests: int, failure: Failure) -> str:
    return (
        f"{requests} requests in a row were refused as malformed: {failure.message}. The request itself is wrong"
        " (model, schema or parameter): check MODEL_ID and run lipika doctor"
    )


def _stop_message(route: Route, failure: Failure) -> str:
    if failure.stands:  # says itself what to do
        return f"{route.label}: {redact(failure.message)}"
    status = f"HTTP {failure.http_status}" if failure.http_status else "the provider"
    if failure.kind is FailureKind.PAYMENT:
        return f"out of credit ({status}): {redact(failure.message)}. Add credit, then start again"
    who = "the provider" if route.label == route.name else route.label
    return (
        f"{who} refused the key, model or region ({status}): {redact(failure.message)}."
        " Check the API key and MODEL_ID; lipika doctor tests both"
    )
