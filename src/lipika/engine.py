"""The batch cycle: admission, pacing, one retry loop, deadlines, per-batch tracking.

A clip enters with `Engine.transcribe` and leaves with an `Outcome`. In between it waits for a launch slot of a
batch window, is sent, and on failure waits again: never both in flight and queued. Windows overlap: the next
starts on time whatever stragglers remain.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Self

from lipika.batches import Batch
from lipika.capabilities import Capabilities
from lipika.errors import Draining, WorkerStop
from lipika.limits import Pacer, RateMeter
from lipika.log import get_logger, redact
from lipika.models import BatchReport, Failure, FailureKind, Judged, Usage
from lipika.providers.base import BaseProvider, TranscriptionRequest, TranscriptionResponse
from lipika.retries import Decision, History, RetryPolicy, Step, decide

log = get_logger(__name__)

Accept = Callable[[str], Judged | Failure]
"""Turns an answer's text into an accepted answer, or says why it will not do."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine paces itself. Defaults are the plan's."""

    batch_size: int = 1000  # first attempts per window
    interval_s: float = 60.0
    burst: bool = False
    max_in_flight: int = 2000
    retry: RetryPolicy = RetryPolicy()
    bad_requests_in_a_row: int = 20  # then the worker stops: it is the request that is wrong, not the clip


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one clip. Exactly one of `judged` and `failure` is set; usage and cost sum all attempts."""

    judged: Judged | None
    failure: Failure | None
    usage: Usage
    cost_usd: float
    attempts: int
    provider: str
    model_version: str
    batch_id: str
    latency_ms: float  # of the last attempt


@dataclass(slots=True)
class Totals:
    """Counters since the start, for progress, heartbeats and summaries."""

    requests: int = 0
    returned: int = 0
    rate_limited: int = 0
    errors: int = 0
    retries: int = 0
    failed: int = 0
    cache_hits: int = 0
    batches: int = 0
    latency_ms: float = 0.0  # sum over all attempts
    usage: Usage = Usage()
    cost_usd: float = 0.0
    failure_kinds: Counter[str] = field(default_factory=Counter)
    model_versions: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Ticket:
    """One clip on its way."""

    request: TranscriptionRequest
    accept: Accept
    done: asyncio.Future[Outcome]
    attempts: int = 0
    counted: int = 0
    waits: int = 0
    varied: bool = False
    usage: Usage = Usage()
    cost_usd: float = 0.0


class Engine:
    """Sends clips to one provider at the pace of the batch windows. Use as an async context manager.

    `on_batch` is called with each window's report once its last attempt has ended.
    """

    def __init__(
        self,
        provider: BaseProvider,
        capabilities: Capabilities,
        *,
        worker_id: str,
        options: EngineOptions | None = None,
        on_batch: Callable[[BatchReport], object] = lambda _report: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._provider = provider
        self._capabilities = capabilities
        self._worker_id = worker_id
        self._options = options or EngineOptions()
        self._on_batch = on_batch
        self._clock = clock
        now = clock()
        self._pacer = Pacer(
            self._options.batch_size, self._options.interval_s, burst=self._options.burst, now=now
        )
        self._origin = now
        self._fresh: deque[_Ticket] = deque()
        self._retries: list[tuple[float, int, _Ticket]] = []
        self._sequence = itertools.count()
        self._wake = asyncio.Event()
        self._batches: list[Batch] = []
        self._in_flight = 0
        self._paused_until = now
        self._bad_requests = 0
        self._stop: WorkerStop | Draining | None = None
        self._tasks = asyncio.TaskGroup()
        self._owned: set[asyncio.Task[None]] = set()
        self._rpm = RateMeter()
        self._tpm = RateMeter()
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
        self.close_batches()

    def drain(self) -> None:
        """Launch nothing more: what waits ends with `Draining`, what is in flight may come back."""
        self._halt(Draining("the worker is stopping"))

    # ------------------------------------------------------------------------- asking

    async def transcribe(self, request: TranscriptionRequest, accept: Accept) -> Outcome:
        """Bring one clip to its end.

        Raises:
            Draining: the engine stopped launching before this clip had an answer.
            WorkerStop: the provider refused in a way that no other clip would survive either.
        """
        if self._stop is not None:
            raise _fresh(self._stop)
        ticket = _Ticket(request, accept, asyncio.get_running_loop().create_future())
        self._fresh.append(ticket)
        self._wake.set()
        return await ticket.done

    @property
    def queued(self) -> int:
        """Clips that wait for a slot or a retry."""
        return len(self._fresh) + len(self._retries)

    @property
    def in_flight(self) -> int:
        """Requests on the wire."""
        return self._in_flight

    def live(self) -> tuple[int, int]:
        """Requests and prompt tokens launched in the last minute."""
        now = self._clock()
        return round(self._rpm.total(now)), round(self._tpm.total(now))

    # ------------------------------------------------------------------------- launching

    async def _launch_forever(self) -> None:
        while True:
            self._wake.clear()
            now = self._clock()
            delay = self._launch_due(now)
            self._close_batches(now)
            timer = asyncio.get_running_loop().call_later(max(delay, _TICK_S), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
            # Answers wake us in crowds; one look for all that arrive within a tick is enough.
            await asyncio.sleep(_TICK_S)

    def _launch_due(self, now: float) -> float:
        """Launch everything that may go now; returns the seconds until the next look."""
        while True:
            if self._in_flight >= self._options.max_in_flight:
                return _IDLE_S
            if now < self._paused_until:
                return self._paused_until - now
            if self._retries and self._retries[0][0] <= now:
                self._launch(heapq.heappop(self._retries)[2], now)
                continue
            next_retry_s = self._retries[0][0] - now if self._retries else _IDLE_S
            if not self._fresh:
                return min(next_retry_s, _IDLE_S)
            delay = self._slot_delay(now)
            if delay > 0:
                return min(delay, next_retry_s)
            self._pacer.launched(now)
            self._launch(self._fresh.popleft(), now)

    def _slot_delay(self, now: float) -> float:
        """Seconds until a first attempt may be launched: the pacer's slot, and room in the window's batch."""
        batch = self._batch(now)
        if batch.first_attempts >= self._options.batch_size:
            return batch.window_end - now
        return self._pacer.delay(now)

    def _launch(self, ticket: _Ticket, now: float) -> None:
        if ticket.done.done():  # the video was given up meanwhile
            return
        batch = self._batch(now)
        batch.launched(
            ticket.request.video_id, self._provider.get_provider_name(), first=ticket.attempts == 0
        )
        self.totals.requests += 1
        self.totals.retries += ticket.attempts > 0
        ticket.attempts += 1
        self._in_flight += 1
        self._rpm.add(1, now)
        self._own(self._attempt(ticket, batch))

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.create_task(work)
        self._owned.add(task)
        task.add_done_callback(self._owned.discard)

    def _batch(self, now: float) -> Batch:
        """The batch of the window that `now` lies in, opened at its first launch."""
        interval = self._options.interval_s
        if not self._batches or now >= self._batches[-1].window_end:
            start = self._origin + (now - self._origin) // interval * interval
            self._batches.append(Batch(self._worker_id, start, start + interval, time.time()))
        return self._batches[-1]

    # ------------------------------------------------------------------------- one attempt

    async def _attempt(self, ticket: _Ticket, batch: Batch) -> None:
        try:
            response = await self._provider.transcribe(ticket.request)
        except asyncio.CancelledError:
            batch.in_flight -= 1
            raise
        except Exception as error:  # the one broad net: a defect in a provider costs one clip, not the worker
            log.exception("attempt_crashed", clip=ticket.request.clip_id)
            failure = Failure(FailureKind.SERVER, redact(f"{type(error).__name__}: {error}"), code="defect")
            response = TranscriptionResponse(
                ticket.request, self._provider.get_provider_name(), "", failure, Usage(), "", 0.0
            )
        finally:
            self._in_flight -= 1
            self._wake.set()
        self._account(ticket, batch, response)
        judged = response.failure or ticket.accept(response.text)
        if isinstance(judged, Failure):
            self._on_failure(ticket, batch, response, judged)
        else:
            self._bad_requests = 0
            batch.accepted(judged)
            self.totals.returned += 1
            _finish(ticket, batch, response, judged, None)

    def _account(self, ticket: _Ticket, batch: Batch, response: TranscriptionResponse) -> None:
        """Meter the attempt, whatever came of it: a rejected answer is paid for too."""
        now = self._clock()
        cost = self._capabilities.cost_usd(response.usage)
        ticket.usage += response.usage
        ticket.cost_usd += cost
        batch.ended(now, response.latency_ms, response.usage, cost)
        self.totals.usage += response.usage
        self.totals.cost_usd += cost
        self.totals.cache_hits += response.usage.cached > 0
        self.totals.latency_ms += response.latency_ms
        if response.model_version:
            self.totals.model_versions[response.model_version] += 1
        self._tpm.add(response.usage.prompt, now)

    def _on_failure(
        self, ticket: _Ticket, batch: Batch, response: TranscriptionResponse, failure: Failure
    ) -> None:
        batch.failed(failure)
        rate_limited = failure.kind in {FailureKind.RATE_MINUTE, FailureKind.RATE_DAY, FailureKind.SPEND}
        self.totals.rate_limited += rate_limited
        self.totals.errors += not rate_limited
        self.totals.failure_kinds[failure.kind] += 1
        self._count_bad_requests(failure)
        decision = decide(
            failure,
            History(ticket.counted, ticket.waits, ticket.varied),
            self._options.retry,
            random.random(),
        )
        if decision.step is Step.RETRY and self._stop is None:
            self._retry(ticket, failure, decision)
        elif decision.step is Step.STOP:
            self._halt(WorkerStop(_stop_message(failure)))
            _fail_future(ticket, self._stop)
        elif decision.step is Step.RETRY:
            _fail_future(ticket, self._stop)
        else:
            self.totals.failed += 1
            _finish(ticket, batch, response, None, failure)

    def _retry(self, ticket: _Ticket, failure: Failure, decision: Decision) -> None:
        now = self._clock()
        if decision.counts:
            ticket.counted += 1
        else:
            ticket.waits += 1
            # Quota is a state of the project, not of the clip: nobody else should run into it either.
            self._paused_until = max(self._paused_until, now + decision.wait_s)
            log.info("quota_wait", kind=failure.kind, wait_s=round(decision.wait_s, 1))
        if decision.varied:
            ticket.varied = True
            ticket.request = replace(ticket.request, varied=True)
        heapq.heappush(self._retries, (now + decision.wait_s, next(self._sequence), ticket))

    def _count_bad_requests(self, failure: Failure) -> None:
        if failure.kind is not FailureKind.BAD_REQUEST:
            return
        self._bad_requests += 1
        if self._bad_requests >= self._options.bad_requests_in_a_row:
            self._halt(
                WorkerStop(
                    f"{self._bad_requests} requests in a row were refused as malformed: {failure.message}."
                    " The request itself is wrong (model, schema or parameter); check MODEL_ID and run lipika doctor"
                )
            )

    # ------------------------------------------------------------------------- stopping

    def _halt(self, reason: WorkerStop | Draining) -> None:
        if self._stop is None or isinstance(reason, WorkerStop):
            self._stop = reason
        self._end_waiting(reason)

    def _end_waiting(self, reason: WorkerStop | Draining) -> None:
        for ticket in itertools.chain(self._fresh, (entry[2] for entry in self._retries)):
            _fail_future(ticket, reason)
        self._fresh.clear()
        self._retries.clear()

    def close_batches(self) -> None:
        """Report every batch that has nothing in flight, its window over or not: the work has ended."""
        self._close_batches(math.inf)

    def _close_batches(self, now: float) -> None:
        for batch in [batch for batch in self._batches if batch.closable(now)]:
            self._batches.remove(batch)
            self.totals.batches += 1
            self._on_batch(batch.report())


_TICK_S = 0.004
"""Looks at the queue are at least this far apart: at 20,000 a minute that is one or two launches a look."""
_IDLE_S = 1.0
"""With nothing to launch, how often to look for batches to close."""


def _finish(
    ticket: _Ticket,
    batch: Batch,
    response: TranscriptionResponse,
    judged: Judged | None,
    failure: Failure | None,
) -> None:
    if ticket.done.done():
        return
    ticket.done.set_result(
        Outcome(
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
    )


def _fail_future(ticket: _Ticket, reason: WorkerStop | Draining | None) -> None:
    if not ticket.done.done():
        ticket.done.set_exception(_fresh(reason or Draining("the engine has been closed")))


def _fresh(reason: WorkerStop | Draining) -> WorkerStop | Draining:
    """A copy for each waiter: one instance raised a thousand times would drag a thousand tracebacks along."""
    return type(reason)(*reason.args)


def _stop_message(failure: Failure) -> str:
    status = f"HTTP {failure.http_status}" if failure.http_status else "the provider"
    if failure.kind is FailureKind.PAYMENT:
        return f"out of credit ({status}): {redact(failure.message)}. Add credit, then start again"
    return (
        f"the provider refused the key, model or region ({status}): {redact(failure.message)}."
        " Check the API key and MODEL_ID; lipika doctor tests both"
    )
