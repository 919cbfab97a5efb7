"""Who polishes: processes beside the one that asks, or threads of it.

Half of polishing holds Python's lock, and so does most of the asking; side by side in one process they stand in each
other's way. A process that dies of a segment takes nothing with it: whatever it had in hand is tried again, one
segment at a time, and the one that kills again is a discard with its reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor
from types import TracebackType
from typing import Self, TypeAlias

from lipika.errors import SegmentError
from lipika.log import get_logger
from lipika.models import Discard, SendFormat
from lipika.polish import PolishedSegment, polish_segment
from lipika.spread import executor
from lipika.tars import BadMember, Member

log = get_logger(__name__)

KILLED = "kills_polishing"


def polished(
    members: Sequence[Member | BadMember], send_format: SendFormat = SendFormat.FLAC
) -> list[PolishedSegment]:
    """What becomes of each member, whatever is in it."""
    return [_polished(member, send_format) for member in members]


def _polished(member: Member | BadMember, send_format: SendFormat) -> PolishedSegment:
    try:
        if isinstance(member, BadMember):
            raise SegmentError(member.code, member.message)
        return polish_segment(member.segment, member.data, send_format)
    except SegmentError as error:
        return _discarded(member, error.code, error.message)


def _discarded(member: Member | BadMember, code: str, message: str) -> PolishedSegment:
    return PolishedSegment((), (Discard(member.name, code, message, whole_segment=True),))


WORTH_PROCESSES = 500
"""Segments that are polished in threads first: starting a process costs as much as half a hundred of them."""

Work: TypeAlias = Callable[[Sequence[Member | BadMember]], list[PolishedSegment]]


class Polishers:
    """Use as an async context manager. With no `processes`, all is done in `threads`, which are the caller's.

    Whoever brings segments takes one of the `turns` first and gives it back when it has used up what became of them:
    that bounds what is in memory, over all videos.
    """

    def __init__(
        self,
        threads: Executor,
        processes: int,
        turns: int,
        *,
        after: int = WORTH_PROCESSES,
        work: Work = polished,
    ) -> None:
        self.turns = asyncio.Semaphore(turns)
        self._threads = threads
        self._processes = processes
        self._in_threads_yet = after
        self._work = work
        self._pool: Executor | None = None
        self._one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            await asyncio.shield(_closed(self._pool))

    def polish(self, members: Sequence[Member | BadMember]) -> asyncio.Task[list[PolishedSegment]]:
        """Begin with some segments. What cannot be used is a discard with its reason, never an exception."""
        return asyncio.create_task(self._polish(members))

    async def _polish(self, members: Sequence[Member | BadMember]) -> list[PolishedSegment]:
        pool = self._chosen(len(members))
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, self._work, members)
        except BrokenExecutor:
            if self._pool is pool:  # whoever notices first puts another in its place
                log.warning(
                    "polishing_killed", reason="a process that polishes died; its segments are tried again"
                )
                self._pool = None
        async with self._one_at_a_time:
            return [await self._alone(member) for member in members]

    def _chosen(self, segments: int) -> Executor:
        """Threads for a start, then processes."""
        if not self._processes or self._in_threads_yet > 0:
            self._in_threads_yet -= segments
            return self._threads
        if self._pool is None:
            self._pool = executor(self._processes)
        return self._pool

    async def _alone(self, member: Member | BadMember) -> PolishedSegment:
        """One segment in a process of its own."""
        alone = executor(1)
        try:
            (outcome,) = await asyncio.get_running_loop().run_in_executor(alone, self._work, [member])
        except BrokenExecutor:
            log.warning("segment_kills", segment=member.name)
            return _discarded(member, KILLED, "polishing it kills the process that does it")
        else:
            return outcome
        finally:
            await asyncio.shield(_closed(alone))


async def _closed(pool: Executor) -> None:
    await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)
