"""The work of `lipika align`: archives read, listened to, written back, and their rows with them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from lipika.alignment.listener import listener_version
from lipika.archive.results import (
    ResultArchive,
    archive_on_record,
    find_results,
    peek,
    read_archive,
    sha256_of,
)
from lipika.config import Settings, load_settings
from lipika.db.stored import Record, Stored
from lipika.errors import ArchiveError, StorageError
from lipika.jobs.wiring import listener_options
from lipika.models import Agreement, Alignment, ClipResult
from lipika.rework.listeners import Actors, listen_here, listen_on_ray
from lipika.rework.realign import PartAlignments, RealignPlan, is_current, write_back
from lipika.services import open_database, store_settings
from lipika.storage import ObjectInfo, Store, split_url

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AlignOrder:
    """The order given on the command line."""

    sources: Sequence[str]
    rows: bool
    actors: Actors | None  # None: one listener in this process
    data_dir: Path | None


@dataclass(frozen=True, slots=True)
class Rows:
    """The database's side. Keys in its queue that are no URLs belong to `output_url`."""

    stored: Stored
    output_url: str


@dataclass(frozen=True, slots=True)
class _Held:
    """An archive, and what it was before anything was read of it."""

    archive: ResultArchive
    video_id: str
    before: ObjectInfo


@dataclass(slots=True)
class AlignCounts:
    """Counts of what became of archives and rows."""

    version: str
    archives: int = 0
    current: int = 0  # passed over
    written: int = 0
    clips: int = 0  # listened to, or found not to be comparable
    rows: int = 0
    busy: int = 0  # videos that a worker holds
    agreements: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """For `--json`."""
        names = ("version", "archives", "current", "written", "clips", "rows", "busy", "problems")
        return {name: getattr(self, name) for name in names} | {"agreements": dict(self.agreements)}


async def align_stored(order: AlignOrder) -> AlignCounts:
    """Listen to whatever has not been listened to by this version."""
    settings = load_settings(lipika_data_dir=order.data_dir)
    options = listener_options(settings)
    version = await asyncio.to_thread(listener_version, options)
    plan = RealignPlan(store_settings(settings), version, settings.spool_dir)
    done = AlignCounts(version)
    async with _rows(order, settings) as rows:
        todo = {held.archive: held async for held in _todo(order, plan, rows, done)}
        if not todo:
            return done
        archives, actors = list(todo), order.actors
        heard = (
            listen_on_ray(archives, plan, options, actors) if actors else listen_here(archives, plan, options)
        )
        async for archive, alignments in _whole(_iterate_in_thread(heard), done):
            try:
                await _write(todo[archive], alignments, plan, rows, done)
            except (ArchiveError, StorageError) as error:
                done.problems.append((archive.url, str(error)))
    return done


async def _todo(
    order: AlignOrder, plan: RealignPlan, rows: Rows | None, done: AlignCounts
) -> AsyncIterator[_Held]:
    """Archives to listen to. Of the others rows and record are brought up, where a run was stopped in between."""
    async for archive in find_results(order.sources, plan.settings):
        done.archives += 1
        try:
            before = await Store.open(archive.root, plan.settings).head(archive.key)
            block = await asyncio.to_thread(peek, archive, plan.settings)
            held = _Held(archive, block.video_id, before)
            if not is_current(block, plan.version):
                yield held
                continue
            done.current += 1
            if rows is not None:
                await _bring_up(held, plan, rows, done)
        except (ArchiveError, StorageError) as error:
            done.problems.append((archive.url, str(error)))


async def _write(
    held: _Held, alignments: dict[str, Alignment], plan: RealignPlan, rows: Rows | None, done: AlignCounts
) -> None:
    """Write what was heard into archive, record and rows, unless a worker holds the video: it may write all three.

    The rows come last: while they lag behind, the next run knows that it has to bring up the record as well.
    """
    record = await rows.stored.record(held.video_id) if rows else None
    if record is not None and record.busy:
        done.busy += 1
        return
    new = await write_back(held.archive, held.before, alignments, plan)
    _count(done, alignments)
    if rows is not None:
        if record is not None and _is_of(record, held.archive, rows.output_url):
            await rows.stored.record_rewrite(
                held.video_id, old_size=held.before.size, size=new.size, sha256=new.sha256
            )
        await _write_rows(rows.stored, held.video_id, new.results, done)


async def _bring_up(held: _Held, plan: RealignPlan, rows: Rows, done: AlignCounts) -> None:
    """Record and rows of an archive that is current, where they are not."""
    record = await rows.stored.record(held.video_id)
    if record is not None and not _is_of(record, held.archive, rows.output_url):
        record = None
    stale = record is not None and record.output_bytes not in (None, held.before.size)
    if not stale and not await rows.stored.count_unaligned(held.video_id, plan.version):
        return
    results = await asyncio.to_thread(read_archive, held.archive, plan.settings)
    if record is not None and record.output_bytes is not None:
        size, sha256 = await asyncio.to_thread(sha256_of, held.archive, plan.settings)
        await rows.stored.record_rewrite(
            held.video_id, old_size=record.output_bytes, size=size, sha256=sha256
        )
    await _write_rows(rows.stored, held.video_id, results, done)


def _is_of(record: Record, archive: ResultArchive, output_url: str) -> bool:
    """True if it is this archive that the queue names, and no copy of it."""
    return archive_on_record(record.output_key, output_url) == ResultArchive(*split_url(archive.url))


async def _whole(
    parts: AsyncIterator[PartAlignments], done: AlignCounts
) -> AsyncIterator[tuple[ResultArchive, dict[str, Alignment]]]:
    """Archives with all that was heard in them, each as soon as its last part has come."""
    gathered: dict[ResultArchive, dict[int, PartAlignments]] = {}
    async for heard in parts:
        if heard.problem:
            done.problems.append((heard.archive.url, heard.problem))
            continue
        mine = gathered.setdefault(heard.archive, {})
        mine[heard.number] = heard
        if len(mine) == heard.parts:
            del gathered[heard.archive]
            yield (
                heard.archive,
                {stem: one for part in mine.values() for stem, one in part.alignments.items()},
            )


def _count(done: AlignCounts, alignments: dict[str, Alignment]) -> None:
    done.written += 1
    done.clips += len(alignments)
    done.agreements.update(alignment.agreement.value for alignment in alignments.values())


async def _write_rows(
    stored: Stored, video_id: str, results: Sequence[ClipResult], done: AlignCounts
) -> None:
    """Alignments and verdicts of an archive in the video's rows, as far as these are of the same audio and answer."""
    heard = {result.segment_file: result for result in results if result.alignment is not None}
    judged = [
        (row, result.verdict)
        for row in await stored.clips(video_id)
        if (result := heard.get(row.segment_file)) is not None
        and result.verdict is not None
        and (row.audio_digest, row.answer) == (result.clip.audio_digest, result.answer)
    ]
    outcome = await stored.rewrite(video_id, judged, heard)
    done.rows += outcome.written
    done.busy += outcome.busy


async def _iterate_in_thread(items: Iterator[T]) -> AsyncIterator[T]:
    """Items of an iterator that blocks."""
    while (item := await asyncio.to_thread(next, items, None)) is not None:
        yield item


@asynccontextmanager
async def _rows(order: AlignOrder, settings: Settings) -> AsyncIterator[Rows | None]:
    async with AsyncExitStack() as stack:
        if order.rows:
            database = await stack.enter_async_context(open_database(settings))
            yield Rows(Stored(database), settings.output_url)
        else:
            yield None


def print_done(done: AlignCounts, out: Console) -> None:
    """Counts, classes, problems."""
    out.print(
        f"{done.archives:,} archives, {done.current:,} current already, {done.written:,} rewritten;"
        f" {done.clips:,} clips aligned by {done.version}",
        soft_wrap=True,
    )
    if done.agreements:
        shown = (f"{agreement} {done.agreements[agreement.value]:,}" for agreement in Agreement)
        out.print(f"  {', '.join(shown)}")
    if done.rows or done.busy:
        out.print(
            f"  {done.rows:,} rows; {done.busy:,} videos are held by workers: call this again when they are done"
        )
    for name, message in done.problems:
        out.print(f"LEFT AS IT IS  {name}: {message}", markup=False, soft_wrap=True)
