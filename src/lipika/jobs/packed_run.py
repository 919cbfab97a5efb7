"""Sources that are packed while a run works on them: a few archives ahead, removed when their results are there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from lipika.config import Settings
from lipika.db.queue import Queue
from lipika.errors import LipikaError, ObjectMissing, Unavailable, UsageError
from lipika.fleet.worker import Worker
from lipika.jobs.pack import Packing, PackOrder, PackReport
from lipika.jobs.packed_queue import AddVideo, as_video
from lipika.log import get_logger
from lipika.models import NewVideo, VideoStatus
from lipika.packing.journal import FOLDER, PackedVideo

log = get_logger(__name__)

_AHEAD = 4
"""Archives that wait for a worker, at most: then nothing more is packed until one is taken."""

_LOOK_EVERY_S = 0.5
_TIDY_EVERY = 10  # looks


@dataclass(slots=True)
class PackedSources:
    """Sources on their way into a run.

    Args:
        packings: one for each source, of which nothing is packed yet.
        out: where results go.
        hint: puts a person's word on languages on videos.
        keep: whether archives stay when their results are there.
        limit: videos at most.
    """

    packings: list[Packing]
    out: str
    hint: Callable[[Iterable[NewVideo]], list[NewVideo]]
    keep: bool
    limit: int | None
    more: bool = True  # archives are still to come
    _waiting: dict[str, tuple[Packing, PackedVideo]] = field(default_factory=dict)  # whose archive is there
    _count: int = 0

    @classmethod
    async def open(
        cls,
        settings: Settings,
        orders: Sequence[PackOrder],
        hint: Callable[[Iterable[NewVideo]], list[NewVideo]],
        *,
        keep: bool,
        limit: int | None,
    ) -> PackedSources:
        """Raises UsageError: nothing is there that can be packed."""
        packings = [Packing(settings, order) for order in orders]
        for packing in packings:
            await packing.load()
        return cls(packings, settings.output_url, hint, keep, limit)

    def known_videos(self) -> list[NewVideo]:
        """The videos of archives that earlier packings have made; whether these are still there or not."""
        return [
            self._video(packing, packed) for packing in self.packings for packed in packing.packed_before()
        ]

    async def forget_lost(self, todo: Iterable[NewVideo]) -> None:
        """Take archives out of the journal that have work left and are gone: they are packed again."""
        wanted = {video.video_id for video in todo}
        for packing in self.packings:
            lost = [
                packed
                for packed in packing.packed_before()
                if packed.video_id in wanted and not await _is_there(packing, packed)
            ]
            for packed in lost:
                await packing.store.delete(f"{FOLDER}/{packed.video_id}.jsonl")
            if lost:
                await packing.load()

    async def feed(self, add: AddVideo, queue: Queue) -> None:
        """Pack all of it, a few archives ahead of the work; `add` puts each into the queue and the run.

        Raises:
            LipikaError: as `Packing.archives`, or whatever `add` raises.
        """
        try:
            for packing in self.packings:
                self._waiting |= {packed.video_id: (packing, packed) for packed in packing.packed_before()}
            self._count = len(self._waiting)
            for packing in self.packings:
                async for packed in packing.archives():
                    if self.limit is not None and self._count >= self.limit:
                        break
                    self._count += 1
                    self._waiting[packed.video_id] = packing, packed
                    await add(*self.hint([self._video(packing, packed)]))
                    await self._hold_back(queue)
        finally:
            self.more = False

    async def _hold_back(self, queue: Queue) -> None:
        """Wait while enough archives lie ready; remove those whose results are there."""
        looks = 0
        while True:
            with suppress(Unavailable):
                if looks % _TIDY_EVERY == 0:
                    await self.tidy(queue)
                counts = await queue.counts(list(self._waiting))
                if counts.pending < _AHEAD:
                    return
            looks += 1
            await asyncio.sleep(_LOOK_EVERY_S)

    async def tidy(self, queue: Queue) -> None:
        """Remove archives whose videos are done."""
        if self.keep:
            return
        for row in await queue.find(list(self._waiting)):
            packing, packed = self._waiting[row.video_id]
            if row.status != VideoStatus.DONE or row.source_key != self._video(packing, packed).source_key:
                continue
            del self._waiting[row.video_id]
            try:
                await packing.store.delete(f"{packed.video_id}.tar")
            except LipikaError as error:
                log.warning("packed_not_removed", video=packed.video_id, reason=str(error))

    def reports(self) -> tuple[PackReport, ...]:
        return tuple(packing.report() for packing in self.packings)

    def _video(self, packing: Packing, packed: PackedVideo) -> NewVideo:
        return as_video(packing, packed, self.out)


def refuse_empty(reports: Sequence[PackReport]) -> None:
    """Raises UsageError: not one recording could be packed, and none was before."""
    if not reports or any(report.archives + report.archives_before for report in reports):
        return
    told = "; ".join(_empty_reason(report) for report in reports)
    raise UsageError(f"{told}. lipika doctor SOURCE says what it sees")


def _empty_reason(report: PackReport) -> str:
    told = ", ".join(
        f"{count:,} {reason} ({report.examples[reason]})" for reason, count in report.refused.items()
    )
    if report.skipped:
        told = f"{told}{', ' * bool(told)}{report.skipped:,} skipped by the source"
    return f"{report.source}: none of {report.recordings:,} recordings could be packed: {told or 'it names none'}"


def say_refused(reports: Sequence[PackReport]) -> Iterator[str]:
    """A line for each reason for which something was not packed."""
    for report in reports:
        for reason, count in report.refused.items():
            yield f"NOT PACKED  {count:,} {reason}, such as {report.examples[reason]} ({report.refused_list})"


async def _is_there(packing: Packing, packed: PackedVideo) -> bool:
    try:
        await packing.store.head(f"{packed.video_id}.tar")
    except ObjectMissing:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Feed:
    """Sources that are packed beside the work, if there are any, and what becomes of each archive."""

    packed: PackedSources | None
    add: AddVideo
    queue: Queue

    @property
    def more(self) -> bool:
        return self.packed is not None and self.packed.more

    async def run(self) -> None:
        if self.packed is not None:
            await self.packed.feed(self.add, self.queue)


async def run_to_the_end(worker: Worker, todo: list[str], feed: Feed) -> LipikaError | None:
    """Work until all is done; returns why it ended before, be it provider, database or a source that refuses."""
    feeding = asyncio.create_task(feed.run(), name="pack")

    def end(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            worker.drain()

    feeding.add_done_callback(end)
    try:
        if todo or feed.more:
            await worker.run(only=todo, until_empty=True, more=lambda: feed.more)
    except LipikaError as error:
        return error
    finally:
        feeding.cancel()
        await asyncio.wait({feeding})
    try:
        await feeding
    except LipikaError as error:
        return error
    except asyncio.CancelledError:  # the work ended first: a cap, or a person
        return None
    return None
