"""Listening beside the batch cycle: a process of its own, a bounded queue, a deadline for every clip.

Nothing here can hold up a request: what does not fit is not taken, what takes too long is let go, and the process has
a low priority and its own share of the CPU. When even a thin sample is too much, it is switched off and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Self, TypeVar

from lipika.alignment.compare import excluded_alignment, language_of, reason_not_to_listen
from lipika.alignment.listener import Listener, ListenerOptions, Task
from lipika.alignment.sampling import Sampler
from lipika.errors import LipikaError
from lipika.log import get_logger
from lipika.models import Agreement, Alignment
from lipika.processes import end_with_parent

T = TypeVar("T")
R = TypeVar("R")

log = get_logger(__name__)

BATCH = 16  # clips handed over at a time
NICE = 10
_LAG_EVERY_S = 0.1
_LAG_S = 0.15  # mean lateness of the loop over ten looks; requests are paced in hundredths


@dataclass(frozen=True, slots=True)
class Opened:
    """Facts that a listener tells about itself."""

    device: str
    front_end: str
    version: str


Open = Callable[[ListenerOptions], Opened]
Align = Callable[[Sequence[Task]], list[Alignment]]


@dataclass(slots=True)
class Listened:
    """Counters since the start; for heartbeats and the board."""

    offered: int = 0  # worth hearing
    sampled: int = 0
    late: int = 0
    excluded: int = 0
    agreements: Counter[str] = field(default_factory=Counter)

    @property
    def compared(self) -> int:
        return sum(self.agreements.values())


@dataclass(slots=True, eq=False)
class _Waiting:
    task: Task
    done: asyncio.Future[Alignment | None]
    timer: asyncio.TimerHandle


class AlignmentStage:
    """Offers clips to a listener in a process of its own. Use as an async context manager.

    `on_off` is told once, in words, when it switches itself off. `open_` and `align` are what the process runs:
    functions of a module.
    """

    def __init__(
        self,
        options: ListenerOptions,
        *,
        deadline_s: float = 15.0,
        on_off: Callable[[str], object] = lambda _reason: None,
        open_: Open | None = None,
        align: Align | None = None,
    ) -> None:
        self.counts = Listened()
        self.opened: Opened | None = None
        self._options = options
        self._deadline_s = deadline_s
        self._on_off = on_off
        self._open, self._align = open_ or open_listener, align or align_tasks
        self._sampler = Sampler(deadline_s, time.monotonic())
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._said_off = False

    async def __aenter__(self) -> Self:
        # Not forked: event loops and threads do not survive that.
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_begin)
        self._tasks = [
            asyncio.create_task(self._listen(), name="listen"),
            asyncio.create_task(self._watch_lag()),
        ]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._let_go()
        _terminate(self._pool)
        await asyncio.to_thread(self._pool.shutdown)

    # ------------------------------------------------------------------------- offering

    def offer(self, task: Task) -> asyncio.Future[Alignment | None] | None:
        """Hand a clip over; None when it is not its turn, or the model is still being loaded.

        The future is done by the deadline, perhaps with None.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Alignment | None] = loop.create_future()
        if reason := reason_not_to_listen(task.answer, task.clip, task.language_hint):
            self.counts.excluded += 1
            if self.opened is None or self._sampler.off_because:
                return None
            done.set_result(
                excluded_alignment(reason, language_of(task.answer, task.language_hint), self.opened.version)
            )
            return done
        self.counts.offered += 1
        wanted = self.opened is not None and self._sampler.wants(time.monotonic())
        self._say_off()
        if not wanted:
            return None
        self.counts.sampled += 1
        timer = loop.call_later(self._deadline_s, self._too_late, done)
        self._queue.append(_Waiting(task, done, timer))
        self._wake.set()
        return done

    def figures(self) -> dict[str, str | int | float | None]:
        """The counts so far, for a heartbeat."""
        return {
            "every": self._sampler.every,
            "seconds_per_clip": round(self._sampler.each_s, 4),
            "offered": self.counts.offered,
            "sampled": self.counts.sampled,
            "compared": self.counts.compared,
            "late": self.counts.late,
            "not_worth_hearing": self.counts.excluded,
            **{agreement.value: self.counts.agreements[agreement.value] for agreement in Agreement},
            "off_because": self._sampler.off_because or None,
            "device": self.opened.device if self.opened else None,
            "version": self.opened.version if self.opened else None,
        }

    def words(self) -> str:
        """The same in a few words, for people."""
        if self._sampler.off_because:
            return f"alignment is off: {self._sampler.off_because}"
        if self.opened is None:
            return "alignment: the model is being loaded"
        counts = self.counts
        doubtful = counts.agreements[Agreement.FLAG] + counts.agreements[Agreement.REJECT]
        share = "every clip" if self._sampler.every == 1 else f"1 clip in {self._sampler.every}"
        return f"alignment: {share}, {counts.compared:,} compared, {doubtful:,} in doubt, {counts.late:,} too late"

    def _too_late(self, done: asyncio.Future[Alignment | None]) -> None:
        if not done.done():
            done.set_result(None)
            self.counts.late += 1

    # ------------------------------------------------------------------------- listening

    async def _listen(self) -> None:
        """One batch after the other, until it is off."""
        try:
            self.opened = await self._run_in_process(self._open, self._options)
            log.info("alignment_opened", device=self.opened.device, front_end=self.opened.front_end)
            while not self._sampler.off_because:
                self._wake.clear()
                batch = self._next_batch()
                if batch:
                    await self._hear(batch)
                else:
                    await self._wake.wait()
        except (LipikaError, BrokenExecutor) as error:
            self._sampler.switch_off(str(error) or "its process ended")
        except Exception as error:  # the boundary of a stage that is best effort: the run goes on without it
            self._sampler.switch_off(f"{type(error).__name__}: {error}")
        self._say_off()
        self._let_go()

    def _next_batch(self) -> list[_Waiting]:
        """Clips that are still in time; the others have gone already."""
        batch: list[_Waiting] = []
        while self._queue and len(batch) < BATCH:
            waiting = self._queue.popleft()
            if waiting.done.done():
                self._sampler.late(time.monotonic())
            else:
                batch.append(waiting)
        return batch

    async def _hear(self, batch: Sequence[_Waiting]) -> None:
        started = time.monotonic()
        alignments = await self._run_in_process(self._align, [waiting.task for waiting in batch])
        now = time.monotonic()
        late = sum(waiting.done.done() for waiting in batch)
        self._sampler.note_batch(len(batch), now - started, now, late=late)
        for waiting, alignment in zip(batch, alignments, strict=True):
            waiting.timer.cancel()
            if not waiting.done.done():
                self.counts.agreements[alignment.agreement.value] += 1
                waiting.done.set_result(alignment)

    async def _run_in_process(self, work: Callable[[T], R], argument: T) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, argument)

    async def _watch_lag(self) -> None:
        """Measure the delay of the event loop, which delays requests as much."""
        lag_s = 0.0
        while not self._sampler.off_because:
            before = time.monotonic()
            await asyncio.sleep(_LAG_EVERY_S)
            now = time.monotonic()
            lag_s += (now - before - _LAG_EVERY_S - lag_s) / 10
            if lag_s > _LAG_S and self.opened is not None:
                self._sampler.note_slip(now)
                self._say_off()

    # ------------------------------------------------------------------------- ending

    def _let_go(self) -> None:
        """Nobody waits for what will not be heard."""
        while self._queue:
            waiting = self._queue.popleft()
            waiting.timer.cancel()
            if not waiting.done.done():
                waiting.done.set_result(None)

    def _say_off(self) -> None:
        reason = self._sampler.off_because
        if reason and not self._said_off:
            self._said_off = True
            log.warning("alignment_off", reason=reason)
            self._on_off(f"{reason}; the run goes on without it, `lipika align` does it later")
            self._wake.set()


def _terminate(pool: ProcessPoolExecutor) -> None:
    """End its processes at once: a model in full swing ends no other way."""
    if sys.version_info >= (3, 14):
        pool.terminate_workers()
        return
    processes = list((pool._processes or {}).values())  # noqa: SLF001 - before 3.14 there is no public way
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


# ----------------------------------------------------------------------------- in the process

_listener: Listener | None = None


def open_listener(options: ListenerOptions) -> Opened:
    """Load the model; once in a process."""
    global _listener  # noqa: PLW0603 - a process of the pool has no other place
    _listener = Listener(options)
    return Opened(_listener.device, _listener.front_end, _listener.version)


def align_tasks(tasks: Sequence[Task]) -> list[Alignment]:
    """Listen with the model that `open_listener` loaded."""
    if _listener is None:
        raise RuntimeError("no listener has been opened in this process")
    return _listener.align(tasks)


def _begin() -> None:
    """In the new process: give way to everything else, leave Ctrl-C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.nice(NICE)
    end_with_parent()
