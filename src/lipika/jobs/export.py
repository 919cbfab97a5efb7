"""The work of `lipika export`: candidates found, planned, written by jobs, finished; and what is said of it."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from lipika.config import Settings, load_settings
from lipika.dataset.finish import SUMS, Words, finish
from lipika.dataset.model import AudioForm
from lipika.dataset.place import WORK, ExportPlace
from lipika.dataset.plan import (
    DROPPED,
    PLAN,
    CandidateFile,
    PlanOptions,
    PlanReport,
    UserFiles,
    make_plan,
    read_report,
)
from lipika.dataset.shards import JobDone, JobOrder, record_path, write_job
from lipika.dataset.sources import CandidateBatch, candidates_of_archives, candidates_of_rows
from lipika.dataset.vocabulary import Misfits
from lipika.dataset.wanted import TextRules
from lipika.errors import UsageError
from lipika.log import get_logger
from lipika.processes import spread, spread_on_ray
from lipika.services import open_database, store_settings

log = get_logger(__name__)

_CLIPS_A_PROCESS = 2_000  # to start one costs as much as these


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOrder:
    """The order given on the command line. No sources: the rows of the database."""

    sources: Sequence[str]
    options: PlanOptions
    rules: TextRules
    user: UserFiles
    title: str = ""
    licence: str = ""
    again: bool = False
    actors: int = 0  # on Ray; 0: processes on this machine
    address: str = ""
    jobs: int | None = None  # None: one for each core
    memory: str = "2GB"
    data_dir: Path | None = None

    @property
    def processes(self) -> int:
        return self.jobs or os.cpu_count() or 1


@dataclass(slots=True)
class Noticed:
    """Things noticed while results were read: archives that cannot be, characters that a model does not know."""

    problems: list[tuple[str, str]] = field(default_factory=list)
    misfits: Misfits = field(default_factory=Misfits)


@dataclass(slots=True)
class ExportDone:
    """How an export ended."""

    dest: str
    report: PlanReport
    jobs_done: int = 0
    clips: int = 0
    bytes: int = 0
    files: int = 0
    hours: float = 0.0
    seconds: float = 0.0  # that it took
    resumed: int = 0  # jobs that were done before
    was_complete: bool = False
    noticed: Noticed = field(default_factory=Noticed)

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "dest": self.dest,
            "clips": self.clips,
            "hours": round(self.hours, 6),
            "bytes": self.bytes,
            "files": self.files,
            "jobs": self.jobs_done,
            "resumed_jobs": self.resumed,
            "was_complete": self.was_complete,
            "took_s": round(self.seconds, 3),
            "plan": self.report.document(),
            "problems": self.noticed.problems,
            "misfits": self.noticed.misfits.lines(),
        }


async def plan_export(order: ExportOrder) -> ExportDone:
    """Only the plan: nothing is written."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lipika-plan-") as folder:
        noticed = Noticed()
        report = await _plan(order, load_settings(lipika_data_dir=order.data_dir), Path(folder), noticed)
    return ExportDone("", report, seconds=time.monotonic() - started, noticed=noticed)


async def export(order: ExportOrder, dest: str) -> ExportDone:
    """Plan and write, or go on where an earlier call of the same export was stopped.

    Raises:
        UsageError: `dest` holds something else, nothing is left to export, or an archive has changed meanwhile.
    """
    started = time.monotonic()
    settings = load_settings(lipika_data_dir=order.data_dir)
    place = _place(dest, settings)
    noticed = Noticed()
    with tempfile.TemporaryDirectory(prefix="lipika-export-", dir=settings.spool_dir) as name:
        folder = Path(name)
        report = await asyncio.to_thread(_earlier, place, order)
        if report is not None and await asyncio.to_thread(place.get, SUMS) is not None:
            return await asyncio.to_thread(_complete, place, report)
        if report is None:
            report = await _plan(order, settings, folder, noticed)
            if not report.clips:
                why = ", ".join(f"{reason} {clips:,}" for reason, (clips, _) in report.dropped.items())
                raise UsageError(f"nothing is left to export of {report.candidates:,} clips: {why}")
            await asyncio.to_thread(_keep_plan, place, folder)
        done = ExportDone(place.url, report, noticed=noticed)
        await _write(order, settings, place, done)
        words = Words(order.title or _title(dest), order.licence, _source_words(order))
        summary = await asyncio.to_thread(finish, place, report, words, folder, order.processes)
        done.hours = summary.hours
        done.seconds = time.monotonic() - started
    return done


def _place(dest: str, settings: Settings) -> ExportPlace:
    url = (
        dest
        if "://" in dest and not dest.startswith("file://")
        else str(Path(dest.removeprefix("file://")).resolve())
    )
    place = ExportPlace(url, store_settings(settings), settings.spool_dir)
    place.store()
    return place


# ----------------------------------------------------------------------------- plan


async def _plan(order: ExportOrder, settings: Settings, folder: Path, noticed: Noticed) -> PlanReport:
    held = CandidateFile(folder / "candidates.parquet")
    with _bar("Reading results") as advance:
        async with AsyncExitStack() as stack:
            batches = await _candidates(order, settings, stack)
            async for batch in batches:
                await asyncio.to_thread(held.add, batch.table)
                noticed.problems += batch.problems
                noticed.misfits.join(batch.misfits)
                advance(batch.videos, f"{held.clips:,} clips")
    held.close()
    if not held.clips:
        where = ", ".join(order.sources) or "the database"
        raise UsageError(
            f"{where}: there are no results to export yet; `lipika demo` or `lipika run` makes some"
        )
    return await asyncio.to_thread(
        make_plan, held.path, folder, order.options, order.user, threads=order.processes, memory=order.memory
    )


async def _candidates(
    order: ExportOrder, settings: Settings, stack: AsyncExitStack
) -> AsyncGenerator[CandidateBatch, None]:
    if order.sources:
        batches = candidates_of_archives(
            order.sources, store_settings(settings), order.rules, order.processes
        )
    else:
        database = await stack.enter_async_context(open_database(settings))
        batches = candidates_of_rows(database, settings.output_url, order.rules, order.processes)
    return await stack.enter_async_context(aclosing(batches))


def _earlier(place: ExportPlace, order: ExportOrder) -> PlanReport | None:
    """The plan that lies there already, if it is of this very export."""
    paths = {info.key for info in place.files()}
    if not paths or all(path == DROPPED or path.startswith(f"{WORK}/") for path in paths):
        return None  # stopped before its plan was there
    if order.again:
        _clear(place, paths)
        return None
    if PLAN not in paths:
        raise UsageError(f"{place.url} is not empty, and no export of lipika: name an empty or a new folder")
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        place.copy_to(PLAN, Path(file.name))
        report = read_report(file.name)
    asked = order.options.document()
    differing = [name for name, value in report.options.items() if _plain(asked.get(name)) != _plain(value)]
    if differing:
        first = differing[0]
        was, now = report.options[first], asked.get(first)
        raise UsageError(
            f"{place.url} holds an export with other options ({first}: {was}, now {now});"
            " name another folder, or --again to plan anew"
        )
    return report


def _clear(place: ExportPlace, paths: set[str]) -> None:
    """Remove an earlier export, and nothing that it did not write.

    Raises:
        UsageError: this is no export.
    """
    if PLAN not in paths:
        raise UsageError(f"{place.url}: --again replaces an export of lipika, and this is none")
    sums = place.get(SUMS)
    ours = {line.split("  ", 1)[1] for line in sums.decode().splitlines()} if sums else set()
    for path in sorted(ours | {SUMS, PLAN, DROPPED}):
        if path in paths:
            place.remove_file(path)
    place.remove(WORK)


def _plain(value: object) -> object:
    """As JSON would have it."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _keep_plan(place: ExportPlace, folder: Path) -> None:
    for name in (DROPPED, PLAN):  # the plan comes last: where it is, the rest is
        with (folder / name).open("rb") as file:
            place.put_stream(name, iter(lambda: file.read(1 << 20), b""))


# ----------------------------------------------------------------------------- jobs


async def _write(order: ExportOrder, settings: Settings, place: ExportPlace, done: ExportDone) -> None:
    options = order.options
    sizes = {(one.language, one.split): one.shards for one in done.report.tarsets}
    orders = (
        JobOrder(
            number, place, store_settings(settings), options.format, AudioForm(options.form),
            options.sample_rate_hz, sizes,
        )
        for number in range(done.report.jobs)
    )  # fmt: skip
    there = {info.key for info in await asyncio.to_thread(place.files, f"{WORK}/jobs")}
    done.resumed = sum(record_path(number) in there for number in range(done.report.jobs))
    seconds = done.report.duration_ms / 1000
    with _bar("Writing", total=seconds) as advance:
        async with aclosing(_spread(order, orders, done.report.clips)) as parts:
            async for part in parts:
                done.jobs_done += 1
                done.clips += part.clips
                done.bytes += part.bytes
                done.files += len(part.files)
                told = f"{done.clips:,} clips, {done.bytes / 1e9:.2f} GB"
                advance(part.seconds, told)


def _spread(order: ExportOrder, orders: Iterator[JobOrder], clips: int) -> AsyncGenerator[JobDone, None]:
    async def units() -> AsyncIterator[JobOrder]:
        for one in orders:
            yield one

    if order.actors:
        return spread_on_ray(write_job, units(), order.actors, order.address)
    return spread(write_job, units(), min(order.processes, -(-clips // _CLIPS_A_PROCESS)))


def _complete(place: ExportPlace, report: PlanReport) -> ExportDone:
    sums = (place.get(SUMS) or b"").decode()
    return ExportDone(
        place.url,
        report,
        jobs_done=report.jobs,
        clips=report.clips,
        files=sums.count("\n"),
        hours=report.duration_ms / 3_600_000,
        was_complete=True,
    )


@contextmanager
def _bar(what: str, total: float | None = None) -> Iterator[Any]:
    """A bar on stderr, where that is a terminal. Yields (advance, words) -> None."""
    console = Console(stderr=True)
    columns = (TextColumn(f"{what}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[told]}"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(what, total=total, told="")
        yield lambda step, told: progress.update(task, advance=step, told=told)


def _title(dest: str) -> str:
    return dest.rstrip("/").rpartition("/")[2] or "dataset"


def _source_words(order: ExportOrder) -> str:
    return (
        f"{len(order.sources)} folders or archives of results"
        if order.sources
        else "the database and its results"
    )
