"""A pool of processes that polish segments, beside the one that asks; or that one itself.

Half of polishing holds Python's lock, and so does most of the asking; side by side in one process they stand in each
other's way. A process that dies of a segment takes nothing with it: whatever it had in hand is tried again, one
segment at a time, and the one that kills again is a discard with its reason.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self, TypeAlias

from lipika.archive.members import BadMember, Member
from lipika.audio.flac import StreamInfo
from lipika.audio.polish import PolishedSegment, polish_segment
from lipika.errors import SegmentError
from lipika.log import get_logger
from lipika.models import Discard, SendFormat
from lipika.pipeline.shared_memory import SharedPlaces, Side, answer_in_process, take_over
from lipika.pipeline.troubles import mishap_of
from lipika.processes import executor

log = get_logger(__name__)

KILLED = "kills_polishing"
DEFECT = "defect"


def polish_members(members: Members, send_format: SendFormat = SendFormat.FLAC) -> list[PolishedSegment]:
    """The outcome of each member, whatever is in it."""
    return [_polish_member(member, send_format) for member in members]


def _polish_member(member: Member | BadMember, send_format: SendFormat) -> PolishedSegment:
    try:
        if isinstance(member, BadMember):
            raise SegmentError(member.code, member.message)
        return polish_segment(member.segment, member.data, send_format)
    except SegmentError as error:
        return _discard_member(member, error.code, error.message)
    except Exception as error:  # the boundary of a segment: what is wrong with it is wrong with no other
        trouble = mishap_of(error)
        return replace(_discard_member(member, DEFECT, f"{trouble.kind}: {trouble.message}"), trouble=trouble)


def _discard_member(member: Member | BadMember, code: str, message: str) -> PolishedSegment:
    return PolishedSegment((), (Discard(member.name, code, message, whole_segment=True),))


WORTH_A_PROCESS = 50
"""Segments that are polished in threads first, for each process: starting one costs as much as so many of them."""

READERS_PER_TURN = 2
"""Archives open at a time: enough that one which waits for its store, or is at its end, leaves no turn unused."""

_LARGE_BYTES = 8 << 20
"""Of sound in one handful. Decoded and cut it is several times that, and comes back as clips: one at a time."""

_HALF_PLACE_BYTES = 4 << 20
"""A handful is a megabyte and its last segment."""

_SHORT_BYTES = 1 << 20
_SHORT_MS = 60_000
"""Of a segment that takes some milliseconds."""

Members: TypeAlias = Sequence[Member | BadMember]
Work: TypeAlias = Callable[[Members], list[PolishedSegment]]


class Polishers:
    """Use as an async context manager. The first segments, as many as `after` says, are polished in `threads`, which
    are the caller's, the others in `processes`.

    With no processes there is a worker for each core. Short segments are then polished in the event loop's own
    thread, which gives the loop its turn after each: a thread beside it would only wait for Python's lock. Long ones
    go to `threads`.

    Whoever brings segments takes one of the `turns` first and gives it back when it has used up what became of them;
    and whoever reads an archive is one of the `readers` while it does. That bounds what is in memory over all videos,
    and videos end one after the other instead of all at last.
    """

    def __init__(
        self,
        threads: Executor,
        processes: int,
        turns: int,
        *,
        after: int | None = None,
        work: Work = polish_members,
    ) -> None:
        self.turns = asyncio.Semaphore(turns)
        self.readers = asyncio.Semaphore(READERS_PER_TURN * turns)
        self._threads = threads
        self._processes = processes
        self._places = turns
        self._in_threads_yet = WORTH_A_PROCESS * processes if after is None else after
        self._work = work
        self._crew: _Crew | None = None
        self._one_at_a_time = asyncio.Lock()
        self._one_large = asyncio.Lock()
        self._large: set[asyncio.Task[list[PolishedSegment]]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._crew is not None:
            await asyncio.shield(self._crew.close())

    def polish(self, members: Members) -> asyncio.Task[list[PolishedSegment]]:
        """Begin with some segments. What cannot be used is a discard with its reason, never an exception."""
        large = sum(len(member.data) for member in members if isinstance(member, Member)) > _LARGE_BYTES
        work = asyncio.create_task(self._polish_large(members) if large else self._polish(members))
        if large:
            self._large.add(work)
            work.add_done_callback(self._large.discard)
        return work

    @property
    def has_large(self) -> bool:
        """True if minutes of audio in one piece are under way: to save memory, nothing more is brought meanwhile."""
        return bool(self._large)

    async def _polish_large(self, members: Members) -> list[PolishedSegment]:
        async with self._one_large:
            return await self._polish(members)

    async def _polish(self, members: Members) -> list[PolishedSegment]:
        if not self._processes and all(map(_is_short, members)):
            return [outcome async for outcome in self._polish_here(members)]
        crew = self._choose_crew(len(members))
        if crew is None:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._work, members)
        try:
            return await crew.do(self._work, members)
        except BrokenExecutor:
            if self._crew is crew:  # whoever notices first puts another in its place
                log.warning(
                    "polishing_killed", reason="a process that polishes died; its segments are tried again"
                )
                self._crew = None
        async with self._one_at_a_time:
            return [await self._alone(member) for member in members]

    async def _polish_here(self, members: Members) -> AsyncIterator[PolishedSegment]:
        """In the event loop's own thread, which others get back after each segment."""
        for member in members:
            for outcome in self._work([member]):
                yield outcome
            await asyncio.sleep(0)

    def _choose_crew(self, segments: int) -> _Crew | None:
        """Threads (None) for a start, then processes."""
        if not self._processes or self._in_threads_yet > 0:
            self._in_threads_yet -= segments
            return None
        if self._crew is None:
            self._crew = _Crew(self._processes, self._places)
        return self._crew

    async def _alone(self, member: Member | BadMember) -> PolishedSegment:
        """One segment in a process of its own."""
        alone = executor(1)
        try:
            (outcome,) = await asyncio.get_running_loop().run_in_executor(alone, self._work, [member])
        except BrokenExecutor:
            log.warning("segment_kills", segment=member.name)
            return _discard_member(member, KILLED, "polishing it kills the process that does it")
        else:
            return outcome
        finally:
            await asyncio.shield(_shut_down_pool(alone))


def _is_short(member: Member | BadMember) -> bool:
    """True if it is polished in milliseconds, by its bytes, its name and what its first bytes say."""
    if isinstance(member, BadMember):
        return True
    if len(member.data) > _SHORT_BYTES or member.segment.end_ms - member.segment.start_ms > _SHORT_MS:
        return False
    info = StreamInfo.read(member.data)
    return info is None or info.frames * 1000 <= _SHORT_MS * info.sample_rate_hz


class _Crew:
    """Processes, and the memory they share with this one.

    Both go together when a process dies: another one may still be writing there.
    """

    def __init__(self, processes: int, places: int) -> None:
        self._shared = SharedPlaces(places, _HALF_PLACE_BYTES) if SharedPlaces.possible() else None
        self._free = deque(range(places if self._shared else 0))
        self._pool = executor(processes, partial(take_over, self._shared) if self._shared else None)

    async def do(self, work: Work, members: Members) -> list[PolishedSegment]:
        """Raises BrokenExecutor when a process dies."""
        if self._shared is None or not self._free:  # a place is taken until its work ends, cancelled or not
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, members)
        place = self._free.popleft()
        try:
            message = self._shared.put(place, Side.QUESTION, members)
            answer = self._pool.submit(answer_in_process, work, place, message)
        except BaseException:
            self._free.append(place)
            raise
        try:
            outcome: list[PolishedSegment] = self._shared.take(await asyncio.wrap_future(answer))
        finally:
            answer.add_done_callback(lambda _answer: self._free.append(place))
        return outcome

    async def close(self) -> None:
        await _shut_down_pool(self._pool)
        if self._shared is not None:
            self._shared.close()


async def _shut_down_pool(pool: Executor) -> None:
    await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)
