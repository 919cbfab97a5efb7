"""The batch cycle: admission, pacing, one retry loop, fallback and return, per-batch tracking.

A clip enters with `Engine.transcribe` and leaves with an `Outcome`. In between it waits for a launch slot of a
batch window and for a route (a provider) that may be asked, is sent, and on failure waits again: never both in
flight and queued. Windows overlap: the next starts on time whatever stragglers remain.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from lipika.engine.batches import Batch
from lipika.engine.evidence import Refused
from lipika.engine.outcome import (
    Accept,
    Alert,
    Circumstances,
    EngineOptions,
    Events,
    OnDoubt,
    Outcome,
    Review,
    Totals,
)
from lipika.engine.pacing import Pacer
from lipika.engine.retries import Decision, History, Step, decide, wait_s
from lipika.engine.route import Permit, Route
from lipika.errors import Draining, LipikaError, Unavailable, WorkerStop
from lipika.llm.provider import TranscriptionRequest, TranscriptionResponse
from lipika.llm.transport import NEVER_SENT
from lipika.log import get_logger, redact
from lipika.meters import place
from lipika.models import Advice, Effect, Failure, FailureKind, InVain, Judged, Stops, Usage

T = TypeVar("T")

log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Ticket:
    """One clip on its way."""

    request: TranscriptionRequest
    accept: Accept
    on_doubt: OnDoubt
    done: asyncio.Future[Outcome]
    attempts: int = 0
    failures: int = 0  # of any kind
    counted: int = 0
    waits: int = 0
    in_vain: int = 0  # refused as a probe of a service that is down
    varied: bool = False
    refused_by: frozenset[str] = frozenset()  # providers that would not or could not answer this clip
    first_asked_at: float | None = None  # of the provider that is asked now
    refused: Refused | None = None  # likewise
    elsewhere_since: float | None = None
    refusal: Failure | None = None  # why it was sent elsewhere
    last_response: TranscriptionResponse | None = None
    last_batch: Batch | None = None
    best: _Answered | None = None  # paid for already, kept unless a better one comes
    usage: Usage = Usage()
    cost_usd: float = 0.0

    def sent_elsewhere(self, refused_by: str, failure: Failure | None, now: float) -> None:
        """From now on another provider is asked, whose patience is its own."""
        self.refused_by |= {refused_by}
        self.refusal, self.elsewhere_since = failure, now
        self.first_asked_at = self.refused = None
        self.counted = self.waits = self.in_vain = 0

    def remember(self, answered: _Answered) -> None:
        """Keep the better of two acceptable answers."""
        if self.best is None or answered.score > self.best.score:
            self.best = answered


class _Queue:
    """Tickets that wait for another attempt, those that are due first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _Ticket]] = []
        self._sequence = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[_Ticket]:
        return (ticket for _, _, ticket in self._heap)

    @property
    def first(self) -> tuple[float, _Ticket]:
        """When it is due, and the ticket."""
        due, _, ticket = self._heap[0]
        return due, ticket

    def push(self, due: float, ticket: _Ticket) -> None:
        heapq.heappush(self._heap, (due, next(self._sequence), ticket))

    def pop(self) -> None:
        heapq.heappop(self._heap)

    def due_by(self, when: float) -> int:
        """How many are due by then; of a long queue, as far as it is looked at."""
        return sum(due <= when for due, _, _ in self._heap[:1000])

    def least_failed(self, now: float) -> _Ticket:
        """Of those that are due, the one with the least failures: the best probe."""
        due = (entry for entry in self._heap if entry[0] <= now and not entry[2].done.done())
        return min(due, key=lambda entry: (entry[2].failures, entry[:2]), default=self._heap[0])[2]

    def remove(self, ticket: _Ticket) -> None:
        if self._heap[0][2] is ticket:
            heapq.heappop(self._heap)
            return
        self._heap = [entry for entry in self._heap if entry[2] is not ticket]
        heapq.heapify(self._heap)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A ticket that may go now, where to, and the queue that it waits in; None: with those that were never asked."""

    ticket: _Ticket
    route: Route
    queue: _Queue | None


@dataclass(frozen=True, slots=True)
class _Answered:
    """An acceptable answer and where it came from."""

    judged: Judged
    response: TranscriptionResponse
    batch: Batch

    @property
    def score(self) -> float:
        return self.judged.verdict.quality_score


class Engine:
    """Sends clips at the pace of the batch windows. Use as an async context manager.

    `routes` are the providers in order of preference: the first is asked while it can be, the second takes over
    when over a tenth of a window is answered 429 or the first is parked, until a probe finds the first well again.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        worker_id: str,
        options: EngineOptions | None = None,
        events: Events | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.routes = tuple(routes)
        self._worker_id = worker_id
        self._options = options or EngineOptions()
        self._events = events or Events()
        self._clock = clock
        self._origin = now = clock()
        self._pacer = Pacer(
            self._options.batch_size, self._options.interval_s, burst=self._options.burst, now=now
        )
        self._fresh: deque[_Ticket] = deque()
        self._retries: dict[frozenset[str], _Queue] = {}  # by the providers that have refused them
        self._wake = asyncio.Event()
        self._batches: list[Batch] = []
        self._bad_requests = 0
        self._stop: WorkerStop | Draining | None = None
        self._versions: dict[str, list[str]] = {}  # by provider
        self._said = ""
        self._say_again_at = now
        self._flying: Counter[str] = Counter()  # by video
        self._tasks = asyncio.TaskGroup()
        self._owned: set[asyncio.Task[None]] = set()
        self.totals = Totals()

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
        await self._settle()
        self.close_batches()

    def drain(self) -> None:
        """Launch nothing more: what waits ends with `Draining`, what is in flight may come back."""
        self._halt(Draining("the worker is stopping"))

    # ------------------------------------------------------------------------- asking

    async def transcribe(
        self, request: TranscriptionRequest, accept: Accept, on_doubt: OnDoubt = lambda _outcome: None
    ) -> Outcome:
        """Bring one clip to its end.

        An answer that could end it and is doubted is given to `on_doubt` at once: it is paid for, and the second
        attempt may wait for a window. So is one that comes when nobody waits any more, its caller being cancelled,
        and one that had ended the clip when the cancellation came before the caller was woken.

        Raises:
            Draining: the engine stopped launching before this clip had an answer.
            WorkerStop: the provider refused in a way that no other clip would survive either.
        """
        if self._stop is not None:
            raise _copy(self._stop)
        ticket = _Ticket(request, accept, on_doubt, asyncio.get_running_loop().create_future())
        for route in self.routes:
            route.expect(request)
        self._fresh.append(ticket)
        self._wake.set()
        try:
            return await ticket.done
        except asyncio.CancelledError:
            _hand_over(ticket)
            raise

    @property
    def queued(self) -> int:
        """Clips that wait for a slot or a retry."""
        return len(self._fresh) + sum(map(len, self._retries.values()))

    @property
    def in_flight(self) -> int:
        """Requests on the wire."""
        return sum(route.in_flight for route in self.routes)

    def live(self) -> tuple[int, int]:
        """Requests and prompt tokens of the last minute."""
        now = self._clock()
        return (
            round(sum(route.rpm.total(now) for route in self.routes)),
            round(sum(route.tpm.total(now) for route in self.routes)),
        )

    @property
    def provider_in_use(self) -> str:
        """Who is asked at the moment."""
        return self._preferred().name

    @property
    def binds(self) -> str:
        """Which of the fleet's limits decided last: rpm, tpm, spend_10min ... or empty."""
        return self._preferred().binds

    def limited_by(self) -> str:
        """What holds the queue back now, in words; empty when nothing waits or only the batch window does."""
        if not self.queued:
            return ""
        now = self._clock()
        reasons = [reason for route in self.routes if (reason := route.limited_by(now))]
        return "; ".join(reasons) if len(reasons) == len(self.routes) else ""

    def in_flight_of(self, video_id: str) -> int:
        """Requests of one video on the wire, whether anybody waits for them or not."""
        return self._flying[video_id]

    # ------------------------------------------------------------------------- launching

    async def _launch_forever(self) -> None:
        while True:
            self._wake.clear()
            now = self._clock()
            delay = self._launch_due(now)
            self._ask_ledger(now)
            delay = min(delay, *(route.asks_in_s(now) for route in self.routes))
            self._close_batches(now)
            self._say_why(now)
            timer = asyncio.get_running_loop().call_later(min(max(delay, _TICK_S), _IDLE_S), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
            # Answers wake us in crowds; one look for all that arrive within a tick is enough.
            await asyncio.sleep(_TICK_S)

    def _launch_due(self, now: float) -> float:
        """Launch everything that may go now; returns the seconds until the next look."""
        wait_s = _IDLE_S
        while self._stop is None:
            wait_s, turn = self._next_retry(now)
            if turn is None or not turn.route.gate.is_open:  # a probe is a fresh clip where there is one
                fresh_s, fresh = self._next_fresh(now)
                turn, wait_s = fresh or turn, min(wait_s, fresh_s)
            if turn is None:
                break
            self._take(turn, now)
            self._launch(turn.ticket, turn.route, now)
        return wait_s

    def _next_retry(self, now: float) -> tuple[float, _Turn | None]:
        """A retry that may go now, else the seconds until one may."""
        wait_s = _IDLE_S
        for refused_by, queue in list(self._retries.items()):
            due_s, ticket = self._due(queue, now)
            if ticket is not None:
                due_s, route = self._route_for(ticket, now)
                if route is not None:
                    if not route.gate.is_open:
                        ticket = queue.least_failed(now)
                    return 0.0, _Turn(ticket, route, queue)
                if refused_by:
                    due_s = min(due_s, self._give_up_elsewhere(queue, ticket, now))
            if not queue:
                del self._retries[refused_by]
            wait_s = min(wait_s, due_s)
        return wait_s, None

    def _due(self, queue: _Queue, now: float) -> tuple[float, _Ticket | None]:
        """The queue's first ticket if it is due, else the seconds until it is. A retry goes to a later window than
        its last attempt; with no first attempts waiting, the window is ended early for it."""
        while queue:
            due, ticket = queue.first
            if ticket.done.done():  # the video was given up meanwhile
                queue.pop()
                continue
            if due > now:
                return due - now, None
            current = self._current_batch(now)
            if current is not None and ticket.last_batch is current:
                if self._fresh:
                    queue.pop()
                    queue.push(current.window_end, ticket)
                    continue
                current.window_end = now
            return 0.0, ticket
        return _IDLE_S, None

    def _next_fresh(self, now: float) -> tuple[float, _Turn | None]:
        """A first attempt that may go now, else the seconds until one may."""
        while self._fresh and self._fresh[0].done.done():
            self._fresh.popleft()
        if not self._fresh:
            return _IDLE_S, None
        wait_s, route = self._route_for(self._fresh[0], now)
        wait_s = max(wait_s, self._slot_delay(now))
        if route is None or wait_s > 0:
            return wait_s, None
        return 0.0, _Turn(self._fresh[0], route, None)

    def _take(self, turn: _Turn, now: float) -> None:
        """Take a ticket out of the queue that it waits in."""
        if turn.queue is None:
            self._fresh.popleft()
            self._pacer.launched(now)
        else:
            turn.queue.remove(turn.ticket)

    def _route_for(self, ticket: _Ticket, now: float) -> tuple[float, Route | None]:
        """The route to send this clip to now; else how long to wait for one."""
        wait_s = _IDLE_S
        for route in self._order(ticket, now):
            delay = route.delay(now)
            if delay <= 0:
                return 0.0, route
            wait_s = min(wait_s, delay)
        return wait_s, None

    def _give_up_elsewhere(self, queue: _Queue, ticket: _Ticket, now: float) -> float:
        """Nobody waits for ever for another provider's one try: then the first one's word stands. Returns the seconds
        until then."""
        left_s = (ticket.elsewhere_since or 0.0) + _ELSEWHERE_WITHIN_S - now
        if left_s > 0 and any(route.answers_soon(now) for route in self._order(ticket, now)):
            return left_s
        queue.remove(ticket)
        self._end_as_it_stands(ticket)
        return 0.0

    def _order(self, ticket: _Ticket, now: float) -> list[Route]:
        """Routes that this clip may go to, preferred first. The second is there when the first cannot be asked:
        closed, parked, or in a flood of 429s; a probe to the first goes before it."""
        open_to = [route for route in self.routes if route.name not in ticket.refused_by and not route.closed]
        if len(open_to) < 2:
            return open_to
        first = open_to[0]
        if first.storming and self._flooded_now(first, now):
            return [*open_to[1:]] if first.usable else open_to  # only a probe may still go there
        if first.parked_kind is not None or first.storming:
            return open_to
        return open_to[:1]

    def _flooded_now(self, route: Route, now: float) -> bool:
        batch = self._current_batch(now)
        return batch is not None and batch.flooded(route.name)

    def _preferred(self) -> Route:
        return next((route for route in self.routes if route.usable), self.routes[0])

    def _slot_delay(self, now: float) -> float:
        """Seconds until a first attempt may be launched: the pacer's slot, and room in the window's batch."""
        batch = self._current_batch(now)
        if batch is not None and batch.first_attempts >= self._options.batch_size:
            return batch.window_end - now
        return self._pacer.delay(now)

    def _launch(self, ticket: _Ticket, route: Route, now: float) -> None:
        if ticket.done.done():  # the video was given up meanwhile
            return
        batch = self._batch(now)
        batch.launched(ticket.request.video_id, route.name, first=ticket.attempts == 0)
        ticket.last_batch = batch
        if ticket.first_asked_at is None:
            ticket.first_asked_at = now
            ticket.refused = Refused(route.answers, route.put_off)
        self.totals.requests += 1
        self.totals.retries += ticket.attempts > 0
        self.totals.providers[route.name] += 1
        ticket.attempts += 1
        permit = route.launch(ticket.request, now, first_asked_at=ticket.first_asked_at)
        self._own(self._flight(ticket, route, permit, batch))

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.create_task(work)
        self._owned.add(task)
        task.add_done_callback(self._owned.discard)

    def _current_batch(self, now: float) -> Batch | None:
        """The batch of the window that `now` lies in, if anything was launched in it."""
        return self._batches[-1] if self._batches and now < self._batches[-1].window_end else None

    def _batch(self, now: float) -> Batch:
        """The batch of the window that `now` lies in, opened at its first launch."""
        batch = self._current_batch(now)
        if batch is None:
            interval = self._options.interval_s
            start = self._origin + (now - self._origin) // interval * interval
            batch = Batch(self._worker_id, now, start + interval, time.time())
            self._batches.append(batch)
        return batch

    # ------------------------------------------------------------------------- the fleet's ledger

    def _ask_ledger(self, now: float) -> None:
        """Where slots run low and there is work, ask for more in the background."""
        for route in self.routes:
            if not route.may_ask(now) or not self._is_needed(route):
                continue
            demand = self._demand(now)
            if route.wants_slots(now, demand):
                self._own(self._ask(route, demand))

    def _is_needed(self, route: Route) -> bool:
        """The second route reserves nothing while the first does the work: its slots would be wasted."""
        first = self.routes[0]
        wanted_for_content = any(first.name in refused_by for refused_by in self._retries)
        return route is first or not first.usable or first.storming or first.closed or wanted_for_content

    def _demand(self, now: float) -> int:
        """Launches to be expected in the next seconds: what waits, as far as the pacer lets it, and a bit of flow."""
        pace = self._options.batch_size / self._options.interval_s
        flow = min(self.totals.requests, math.ceil(self.live()[0] / 60)) if self.in_flight else 0
        waiting = min(
            len(self._fresh), self._options.batch_size if self._options.burst else math.ceil(pace * 4)
        )
        due = sum(queue.due_by(now + 4) for queue in self._retries.values())
        return waiting + due + flow

    async def _ask(self, route: Route, demand: int) -> None:
        try:
            await route.ask(self._clock, demand)
        except Unavailable as error:
            log.warning("ledger_away", provider=route.name, reason=str(error))
        except LipikaError as error:
            self._halt(WorkerStop(f"the fleet's budget cannot be read: {error}"))
        finally:
            self._wake.set()

    async def _settle(self) -> None:
        """Tell the ledger the last of what was spent."""
        for route in self.routes:
            route.give_back()
            try:
                await route.ask(self._clock, 0)
            except LipikaError as error:
                log.warning("spending_not_settled", provider=route.name, reason=str(error))

    # ------------------------------------------------------------------------- one attempt

    async def _flight(self, ticket: _Ticket, route: Route, permit: Permit, batch: Batch) -> None:
        """One attempt, counted by its video until all that comes of it has been handed on."""
        video_id = ticket.request.video_id
        self._flying[video_id] += 1
        try:
            await self._attempt(ticket, route, permit, batch)
        finally:
            self._flying[video_id] -= 1
            if not self._flying[video_id]:
                del self._flying[video_id]

    async def _attempt(self, ticket: _Ticket, route: Route, permit: Permit, batch: Batch) -> None:
        """Ask once, and see to what comes of it. Nothing that a caller does, or a defect in a provider or in reading
        its answer, goes further than its clip."""
        try:
            response = await route.provider.transcribe(ticket.request)
        except asyncio.CancelledError:
            batch.cancelled(route.lost(permit, self._clock()))
            raise
        except Exception as error:  # the one broad net: a defect in a provider costs one clip, not the worker
            log.exception("attempt_crashed", clip=ticket.request.clip_id)
            failure = Failure(FailureKind.SERVER, redact(f"{type(error).__name__}: {error}"), code="defect")
            response = TranscriptionResponse(ticket.request, route.name, "", failure, Usage(), "", 0.0)
        self._wake.set()
        was_parked = route.parked_kind
        self._account(ticket, route, permit, batch, response)
        ticket.last_response = response
        review = response.failure or self._review(ticket, response)
        if isinstance(review, Failure):
            self._on_failure(ticket, route, batch, response, review)
        else:
            self._bad_requests = 0
            self._on_answer(ticket, route, batch, response, review)
        self._alert_parked(route, was_parked, response.failure)

    def _review(self, ticket: _Ticket, response: TranscriptionResponse) -> Review | Failure:
        """What the caller says of an answer. An exception is the clip's trouble, and no reason to buy it again."""
        try:
            return ticket.accept(
                response.text, Circumstances(ticket.varied, switched=bool(ticket.refused_by))
            )
        except Exception as error:  # the caller's trouble is the clip's, not the engine's
            log.exception("review_crashed", clip=ticket.request.clip_id)
            return Failure(
                FailureKind.DEFECT,
                f"the answer could not be judged: {type(error).__name__}: {error}",
                code=type(error).__name__,
            )

    def _doubted(self, ticket: _Ticket) -> None:
        """Give an answer that is paid for to its caller, who may have ended meanwhile."""
        if ticket.best is not None:
            best = ticket.best
            _give(ticket, _outcome(ticket, best.batch, best.response, best.judged, None))

    def _on_answer(
        self, ticket: _Ticket, route: Route, batch: Batch, response: TranscriptionResponse, review: Review
    ) -> None:
        """Take the answer, or ask once more where that promises a better one."""
        answered = _Answered(review.judged, response, batch)
        if review.acceptable:
            ticket.remember(answered)
        if ticket.done.done():  # its video was given up: what is paid for is kept, and nothing more is asked
            self._doubted(ticket)
            return
        again = self._once_more(ticket, route, review.advice)
        if again is not None and self._stop is None:
            batch.doubted()
            self._doubted(ticket)
            self._retry(ticket, route, again)
        elif ticket.best is not None:
            self._finish_well(ticket, ticket.best)
        else:
            worst = ", ".join(finding.code for finding in review.judged.verdict.findings)
            failure = Failure(FailureKind.MALFORMED, f"no acceptable answer: {worst}", code=worst)
            batch.failed(failure, route.name)
            self._fail(ticket, batch, response, failure)

    def _once_more(self, ticket: _Ticket, route: Route, advice: Advice) -> Decision | None:
        if advice is Advice.VARY and not ticket.varied:
            return Decision(Step.RETRY, varied=True)
        if advice is Advice.KEEP or not self._others(ticket, route):
            return None
        return Decision(Step.ELSEWHERE)

    def _finish_well(self, ticket: _Ticket, answered: _Answered) -> None:
        answered.batch.accepted(answered.judged)
        if (
            answered.batch not in self._batches
        ):  # its row is there already, from before a later attempt failed
            self._tell(self._events.on_batch, answered.batch.report())
        self.totals.returned += 1
        _finish(ticket, answered.batch, answered.response, answered.judged, None)

    def _fail(self, ticket: _Ticket, batch: Batch, response: TranscriptionResponse, failure: Failure) -> None:
        """The end of a clip without a new answer; one that was doubted before is better than none."""
        if ticket.best is not None:
            self._finish_well(ticket, ticket.best)
            return
        self.totals.failed += 1
        _finish(ticket, batch, response, None, failure)

    def _end_as_it_stands(self, ticket: _Ticket) -> None:
        """The end of a clip that nobody will be asked about any more."""
        if ticket.last_batch is not None and ticket.last_response is not None:
            failure = ticket.refusal or ticket.last_response.failure or _NOWHERE
            self._fail(ticket, ticket.last_batch, ticket.last_response, failure)

    def _others(self, ticket: _Ticket, route: Route) -> list[Route]:
        """Providers that this clip could still be sent to."""
        return [
            other
            for other in self.routes
            if other is not route
            and other.answers_soon(self._clock())
            and other.name not in ticket.refused_by
        ]

    def _account(
        self, ticket: _Ticket, route: Route, permit: Permit, batch: Batch, response: TranscriptionResponse
    ) -> None:
        """Meter the attempt, whatever came of it: a rejected answer is paid for too."""
        now = self._clock()
        cost = route.ended(permit, response, now, time.time())
        ticket.usage += response.usage
        ticket.cost_usd += cost
        batch.ended(now, response.latency_ms, response.usage, cost)
        self.totals.usage += response.usage
        self.totals.cost_usd += cost
        self.totals.cache_hits += response.usage.cached > 0
        self.totals.latency_ms += response.latency_ms
        self.totals.latency_counts[place(response.latency_ms)] += 1
        self._note_version(route, response)

    def _note_version(self, route: Route, response: TranscriptionResponse) -> None:
        """Alert when one provider begins to answer as another model than before."""
        version = response.model_version
        if not version:
            return
        known = self._versions.setdefault(route.name, [])
        if version not in known:
            if known:
                before = ", ".join(known)
                self._alert(
                    "model_changed",
                    f"{route.name} now answers as {version}, before as {before}: prices and quality may differ",
                )
            known.append(version)
        self.totals.model_versions[version] += 1

    def _on_failure(
        self, ticket: _Ticket, route: Route, batch: Batch, response: TranscriptionResponse, failure: Failure
    ) -> None:
        batch.failed(failure, route.name)
        rate_limited = failure.rule.is_429
        self.totals.rate_limited += rate_limited
        self.totals.errors += not rate_limited
        self.totals.failure_kinds[failure.kind] += 1
        self._count_bad_requests(failure)
        self._note_flood(route, batch)
        if ticket.done.done() and not route.closed:  # its video was given up: nobody is asked for it any more
            return
        decision = self._decide(ticket, route, failure)
        match decision.step:
            case Step.STOP:
                self._halt(WorkerStop(_stop_message(route.name, failure)))
                self._end(ticket, self._stop)
            case Step.FINAL:
                self._fail(ticket, batch, response, _reason(ticket, failure))
            case _ if self._stop is not None:
                self._end(ticket, self._stop)
            case _:
                self._retry(ticket, route, decision, failure)

    def _decide(self, ticket: _Ticket, route: Route, failure: Failure) -> Decision:
        """The pure table's word, told what speaks for and against this clip."""
        ticket.failures += 1
        rule = failure.follows(answered=route.answers > 0)
        if route.closed:
            # A closed second provider stops nobody, nor does a first one without credit or with a wrong address.
            open_routes = [other for other in self.routes if other is not route and not other.closed]
            if open_routes and (route is not self.routes[0] or rule.stops is not Stops.FIRST):
                return Decision(Step.RETRY, counts=False)
            return Decision(Step.STOP) if rule.closes else _AGAIN
        if rule.closes and ticket.best is not None:
            return Decision(Step.FINAL)
        if ticket.refused_by and not route.answers_soon(
            self._clock()
        ):  # one try elsewhere, not a wait of hours
            return Decision(Step.FINAL)
        given_up = self._given_up(ticket, route, failure)
        policy, jitter = self._options.retry, random.random()
        is_outage = rule.effect is Effect.SUSPECT and (route.is_down or failure.code in NEVER_SENT)
        if is_outage and not given_up:
            wait = wait_s(failure, ticket.waits + 1, policy, jitter)  # an outage is nobody's third attempt
            return Decision(Step.RETRY, wait, counts=False)
        history = History(
            ticket.counted,
            ticket.waits,
            ticket.varied,
            given_up=given_up,
            elsewhere=bool(self._others(ticket, route)),
        )
        return decide(failure, history, policy, jitter)

    def _given_up(self, ticket: _Ticket, route: Route, failure: Failure) -> bool:
        """Whether it has been shown that this clip waits in vain, however long it waits."""
        in_vain = failure.rule.in_vain
        if in_vain is InVain.PROBES:
            if failure.code in NEVER_SENT or not route.is_down:
                return False
            ticket.in_vain += failure.http_status is not None or failure.kind is FailureKind.TIMEOUT
            return ticket.in_vain > self._options.retry.probes_in_vain
        if in_vain is InVain.NEVER or ticket.refused is None:
            return False
        ticket.refused.again(route.answers, route.put_off, for_everybody=route.fails_for_everybody)
        alone = in_vain is InVain.ALONE and ticket.refused.in_vain_alone
        return alone or ticket.refused.is_the_clips

    def _retry(
        self, ticket: _Ticket, route: Route, decision: Decision, failure: Failure | None = None
    ) -> None:
        wait_s, now = decision.wait_s, self._clock()
        if decision.step is Step.ELSEWHERE:
            ticket.sent_elsewhere(route.name, failure, now)
        elif decision.counts:
            ticket.counted += 1
        else:
            ticket.waits += 1
            # The route's gate does the waiting, and the other route need not wait at all.
            wait_s = 0.0 if not route.usable else wait_s
        if decision.varied:
            ticket.varied = True
            ticket.request = replace(
                ticket.request,
                varied=True,
                clip_prompt=ticket.request.varied_prompt or ticket.request.clip_prompt,
            )
        self._retries.setdefault(ticket.refused_by, _Queue()).push(now + wait_s, ticket)

    def _note_flood(self, route: Route, batch: Batch) -> None:
        """Over a tenth of the window answered 429: its rest goes to the other provider, if there is one."""
        if not route.storming and batch.flooded(route.name):
            route.storming = True
            if route is self.routes[0]:
                rest = f"the rest goes to {self.routes[1].name}" if len(self.routes) > 1 else "waiting"
                self._alert("flood", f"{route.name}: over 10 % of the window answered 429; {rest}")

    def _count_bad_requests(self, failure: Failure) -> None:
        if failure.rule.stops is not Stops.MANY:
            return
        self._bad_requests += 1
        if self._bad_requests >= self._options.bad_requests_in_a_row:
            self._halt(
                WorkerStop(
                    f"{self._bad_requests} requests in a row were refused as malformed: {failure.message}. The"
                    " request itself is wrong (model, schema or parameter): check MODEL_ID and run lipika doctor"
                )
            )

    # ------------------------------------------------------------------------- saying so

    def _alert_parked(self, route: Route, before: FailureKind | None, failure: Failure | None) -> None:
        if route.parked_kind is None or route.parked_kind is before:
            return
        detail = f" ({failure.message})" if failure else ""
        if route.closed:
            self._alert("provider_closed", route.limited_by(self._clock()))
        else:
            self._alert("provider_parked", f"{route.limited_by(self._clock())}{detail}")

    def _alert(self, code: str, message: str) -> None:
        message = redact(message)
        log.warning(code, reason=message)
        self._tell(self._events.on_alert, Alert(code, message))

    def _tell(self, whom: Callable[[T], object], what: T) -> None:
        """Who listens may fail; the engine goes on."""
        try:
            whom(what)
        except Exception:  # as above
            log.exception("event_not_taken", what=type(what).__name__)

    def _say_why(self, now: float) -> None:
        """Log once what the queue waits for, when it changes."""
        if now < self._say_again_at:
            return
        self._say_again_at = now + _IDLE_S
        reason = self.limited_by()
        kind = "".join(character for character in reason if not character.isdigit())
        if kind != self._said:
            self._said = kind
            if reason:
                log.info("waiting", reason=reason, queued=self.queued)

    # ------------------------------------------------------------------------- stopping

    def _halt(self, reason: WorkerStop | Draining) -> None:
        if self._stop is None or isinstance(reason, WorkerStop):
            self._stop = reason
        self._end_waiting(reason)

    def _end_waiting(self, reason: WorkerStop | Draining) -> None:
        waiting = [*self._fresh, *(ticket for queue in self._retries.values() for ticket in queue)]
        self._fresh.clear()
        self._retries.clear()
        for ticket in waiting:
            self._end(ticket, reason)

    def _end(self, ticket: _Ticket, reason: WorkerStop | Draining | None) -> None:
        """Nothing more is asked for a clip: it ends with the answer that was doubted, or with the reason."""
        if ticket.done.done():
            return
        if ticket.best is not None:
            self._finish_well(ticket, ticket.best)
        else:
            ticket.done.set_exception(_copy(reason or Draining("the engine has been closed")))

    def close_batches(self) -> None:
        """Report every batch that has nothing in flight, its window over or not: the work has ended."""
        self._close_batches(math.inf)

    def _close_batches(self, now: float) -> None:
        for batch in [batch for batch in self._batches if batch.closable(now)]:
            self._batches.remove(batch)
            self.totals.batches += 1
            report = batch.report()
            self._tell(self._events.on_batch, report)
            log.info(
                "batch",
                batch=report.batch_id,
                videos=len(report.video_ids),
                sent=report.segments_sent,
                returned=report.segments_returned,
                rate_limited=report.segments_429,
                errors=report.segments_error,
                retried=report.segments_retried,
                provider=report.provider_used,
                cache_hit_rate=round(report.usage.cached / max(report.usage.prompt, 1), 3),
                cost_usd=round(report.cost_usd, 6),
                avg_latency_ms=round(report.avg_latency_ms),
                p95_latency_ms=round(report.p95_latency_ms),
                duration_ms=report.batch_duration_ms,
            )


_TICK_S = 0.004
"""Looks at the queue are at least this far apart: at 20,000 a minute that is one or two launches a look."""
_IDLE_S = 0.5
"""With nothing to launch, how often to look for batches to close and slots to ask for."""
_AGAIN = Decision(Step.RETRY, counts=False)
_ELSEWHERE_WITHIN_S = 600.0
"""A clip that is sent to another provider is asked there within this time, or not at all."""
_NOWHERE = Failure(FailureKind.SERVER, "no provider can be asked any more", code="nowhere")


def _finish(
    ticket: _Ticket,
    batch: Batch,
    response: TranscriptionResponse,
    judged: Judged | None,
    failure: Failure | None,
) -> None:
    if not ticket.done.done():
        ticket.done.set_result(_outcome(ticket, batch, response, judged, failure))


def _hand_over(ticket: _Ticket) -> None:
    """Give the answer that has ended a clip to a caller who was cancelled in the same turn of the event loop."""
    done = ticket.done
    if done.done() and not done.cancelled() and done.exception() is None and done.result().judged is not None:
        _give(ticket, done.result())


def _give(ticket: _Ticket, paid: Outcome) -> None:
    try:
        ticket.on_doubt(paid)
    except Exception:  # the caller's trouble is the clip's, not the engine's
        log.exception("doubted_answer_not_kept", clip=ticket.request.clip_id)


def _outcome(
    ticket: _Ticket,
    batch: Batch,
    response: TranscriptionResponse,
    judged: Judged | None,
    failure: Failure | None,
) -> Outcome:
    return Outcome(
        judged=judged,
        failure=failure,
        usage=ticket.usage,
        cost_usd=ticket.cost_usd,
        attempts=ticket.attempts,
        provider=response.provider,
        model_version=response.model_version,
        batch_id=batch.batch_id,
        latency_ms=response.latency_ms,
    )


def _copy(reason: WorkerStop | Draining) -> WorkerStop | Draining:
    """One for each waiter: one instance raised a thousand times would drag a thousand tracebacks along."""
    return type(reason)(*reason.args)


def _reason(ticket: _Ticket, failure: Failure) -> Failure:
    """Why a clip has failed: the first provider's word, where the other one spoke of itself and not of the clip."""
    return failure if ticket.refusal is None or failure.rule.is_the_clips else ticket.refusal


def _stop_message(provider: str, failure: Failure) -> str:
    if failure.stands:  # says itself what to do
        return f"{provider}: {redact(failure.message)}"
    status = f"HTTP {failure.http_status}" if failure.http_status else "the provider"
    if failure.kind is FailureKind.PAYMENT:
        return f"out of credit ({status}): {redact(failure.message)}. Add credit, then start again"
    return (
        f"the provider refused the key, model or region ({status}): {redact(failure.message)}."
        " Check the API key and MODEL_ID; lipika doctor tests both"
    )
