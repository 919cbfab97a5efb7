"""The work of `lipika export`: candidates found, planned, written by jobs, finished; and what is said of it."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from lipika.config import Settings, load_settings
from lipika.dataset.finish import Words, finish
from lipika.dataset.model import AudioForm
from lipika.dataset.packed import SomeArchives
from lipika.dataset.place import WORK, ExportPlace
from lipika.dataset.plan import (
    PLAN,
    CandidateFile,
    PlanOptions,
    PlanReport,
    make_plan,
)
from lipika.dataset.shards import JobDone, JobFailed, JobOrder, record_path, try_job
from lipika.dataset.sources import CandidateBatch, candidates_of_archives, candidates_of_rows
from lipika.dataset.user_files import UserFiles
from lipika.dataset.wanted import TextRules
from lipika.db.connection import Database
from lipika.db.tombstones import Tombstones
from lipika.errors import DiskFull, SettingsError, Unavailable, UsageError
from lipika.jobs.export_audit import find_audit
from lipika.jobs.export_place import alone, earlier_plan, find_finished, keep_plan, open_place
from lipika.jobs.export_record import ExportDone, ExportOnRecord, Noticed, on_record
from lipika.jobs.progress_bar import progress_bar
from lipika.log import get_logger
from lipika.processes import spread, spread_on_ray
from lipika.services import open_database, store_settings

log = get_logger(__name__)

FROM_ROWS = "the database and its results"
"""The source, in the words of a card."""

_MOST_FAILED = 20  # jobs: then it is not a few archives
_TOLD = 3
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


async def plan_export(order: ExportOrder) -> ExportDone:
    """Only the plan: nothing is written."""
    started = time.monotonic()
    settings = load_settings(lipika_data_dir=order.data_dir)
    noticed = Noticed()
    with tempfile.TemporaryDirectory(prefix="lipika-plan-", dir=settings.spool_dir) as folder:
        async with _database(order, settings) as database:
            report = await _plan(order, settings, database, Path(folder), noticed)
    return ExportDone("", report, seconds=time.monotonic() - started, noticed=noticed)


async def export(order: ExportOrder, dest: str) -> ExportDone:
    """Plan and write, or go on where an earlier call of the same export was stopped.

    Raises:
        UsageError: `dest` holds something else, nothing is left to export, or an archive has changed meanwhile.
    """
    settings = load_settings(lipika_data_dir=order.data_dir)
    place = open_place(dest, settings)
    with (
        _room(place),
        alone(place),
        tempfile.TemporaryDirectory(prefix="lipika-export-", dir=settings.spool_dir) as name,
    ):
        async with _database(order, settings) as database:
            return await _export(order, settings, database, place, Path(name))


@contextmanager
def _room(place: ExportPlace) -> Iterator[None]:
    """A disk without room is called that."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = error.filename or place.url
        raise DiskFull(
            f"{where}: {error.strerror}. What was written stays: make room, for {place.url} or for temporary files"
            " (SPOOL_DIR), and run the same command again"
        ) from error


async def _export(
    order: ExportOrder, settings: Settings, database: Database | None, place: ExportPlace, folder: Path
) -> ExportDone:
    started, noticed = time.monotonic(), Noticed()
    report = await asyncio.to_thread(earlier_plan, place, order.options, again=order.again)
    whole = (
        None if report is None else await asyncio.to_thread(find_finished, place, order.title, order.licence)
    )
    if report is None:
        report = await _plan(order, settings, database, folder, noticed)
        if not report.clips:
            why = ", ".join(f"{reason} {clips:,}" for reason, (clips, _) in report.dropped.items())
            raise UsageError(f"nothing is left to export of {report.candidates:,} clips: {why}")
        await asyncio.to_thread(keep_plan, place, folder)
    noticed.problems = list(report.left_out)  # whichever call has made the plan
    done = ExportDone(place.url, report, noticed=noticed, was_complete=whole is not None)
    plan = (await asyncio.to_thread(place.look_at, PLAN)).sha256
    async with on_record(database, done, plan) as record:
        if whole is not None:
            done.jobs_done, done.clips, done.files, done.hours = (
                report.jobs,
                report.clips,
                whole.files,
                whole.hours,
            )
            await record.finish(done, whole.tarsets)
            return done
        await _write(order, settings, place, done, record, plan)
        audit = await find_audit(database, order.options.selection.lane, settings)
        words = Words(order.title or _title(place.url), order.licence, _source_words(order), audit)
        summary = await asyncio.to_thread(finish, place, report, plan, words, folder, order.processes)
        done.hours = summary.hours
        done.seconds = time.monotonic() - started
        await record.finish(done, summary.tarsets)
    return done


@asynccontextmanager
async def _database(order: ExportOrder, settings: Settings) -> AsyncIterator[Database | None]:
    """The database that rows come from, or that the settings name; of archives alone none is needed."""
    if order.sources and settings.database_url is None:
        yield None
        return
    async with AsyncExitStack() as stack:
        try:
            database = await stack.enter_async_context(open_database(settings))
        except (Unavailable, SettingsError) as error:
            if not order.sources:
                raise
            log.warning("export_not_on_record", reason=str(error))  # archives are there without it
            yield None
            return
        yield database


# ----------------------------------------------------------------------------- plan


async def _plan(
    order: ExportOrder, settings: Settings, database: Database | None, folder: Path, noticed: Noticed
) -> PlanReport:
    held = CandidateFile(folder / "candidates.parquet")
    packed, some = False, SomeArchives()
    with progress_bar("Reading results") as advance:
        async with aclosing(_candidates(order, settings, database)) as batches:
            async for batch in batches:
                await asyncio.to_thread(held.add, await _drop_erased(batch.table, database))
                packed |= batch.packed
                some.add(batch.table.column("archive").unique().to_pylist())
                noticed.problems += batch.problems
                noticed.misfits.join(batch.misfits)
                advance(batch.videos, f"{held.clips:,} clips")
    held.close()
    if not held.clips:
        where = ", ".join(order.sources) or "the database"
        raise UsageError(
            f"{where}: there are no results to export yet; `lipika demo` or `lipika run` makes some"
        )
    if not order.sources:
        packed = await asyncio.to_thread(some.any_packed, store_settings(settings))
    return await asyncio.to_thread(
        make_plan,
        held.path,
        folder,
        order.options,
        order.user,
        threads=order.processes,
        memory=order.memory,
        left_out=noticed.problems,
        packed=packed,
    )


async def _drop_erased(table: pa.Table, database: Database | None) -> pa.Table:
    """Candidates without erased audio, which archives from elsewhere may hold yet."""
    if database is None or not table.num_rows:
        return table
    digests = table.column("audio_digest").to_pylist()
    erased = await Tombstones(database).audio([digest for digest in digests if digest])
    if not erased:
        return table
    log.warning("erased_clips_left_out", clips=sum(digest in erased for digest in digests))
    return table.filter([digest not in erased for digest in digests])


def _candidates(
    order: ExportOrder, settings: Settings, database: Database | None
) -> AsyncGenerator[CandidateBatch, None]:
    if database is None or order.sources:
        return candidates_of_archives(order.sources, store_settings(settings), order.rules, order.processes)
    return candidates_of_rows(database, settings.output_url, order.rules, order.processes)


# ----------------------------------------------------------------------------- jobs


async def _write(
    order: ExportOrder,
    settings: Settings,
    place: ExportPlace,
    done: ExportDone,
    record: ExportOnRecord,
    plan: str,
) -> None:
    options = order.options
    sizes = {(one.language, one.split): one.shards for one in done.report.tarsets}
    orders = (
        JobOrder(
            number, place, store_settings(settings), options.format, AudioForm(options.form),
            options.sample_rate_hz, sizes, plan,
        )
        for number in range(done.report.jobs)
    )  # fmt: skip
    ours = {record_path(number) for number in range(done.report.jobs)}
    done.resumed = len(await asyncio.to_thread(place.find, f"{WORK}/jobs", ours.__contains__))
    seconds, hours = done.report.duration_ms / 1000, 0.0
    failed: list[JobFailed] = []
    with progress_bar("Writing", total=seconds) as advance:
        async with aclosing(_spread(order, orders, done.report.clips)) as parts:
            async for part in parts:
                if isinstance(part, JobFailed):
                    failed.append(part)
                    if len(failed) == _MOST_FAILED:
                        break
                    continue
                done.jobs_done += 1
                done.quieter += part.quieter
                done.clips += part.clips
                done.bytes += part.bytes
                done.files += len(part.files)
                hours += part.seconds / 3600
                told = f"{done.clips:,} clips, {hours:,.1f} h, {done.bytes / 1e9:.2f} GB"
                advance(part.seconds, told)
                await record.progress(done)
    if failed:
        raise _unwritten(failed, done.report.jobs)


def _unwritten(failed: Sequence[JobFailed], jobs: int) -> UsageError:
    """What stands in the way of an export that is otherwise written."""
    first = sorted(failed, key=lambda one: one.number)[:_TOLD]
    reasons = "; ".join(dict.fromkeys(one.reason for one in first))
    more = f"; and {len(failed) - _TOLD} more" if len(failed) > _TOLD else ""
    return UsageError(
        f"{len(failed)} of {jobs} jobs could not be written: {reasons}{more}. What was written stays: mend these"
        " archives and run the same command again"
    )


def _spread(
    order: ExportOrder, orders: Iterator[JobOrder], clips: int
) -> AsyncGenerator[JobDone | JobFailed, None]:
    async def units() -> AsyncIterator[JobOrder]:
        for one in orders:
            yield one

    if order.actors:
        return spread_on_ray(try_job, units(), order.actors, order.address)
    return spread(try_job, units(), min(order.processes, -(-clips // _CLIPS_A_PROCESS)))


def _title(dest: str) -> str:
    return dest.rstrip("/").rpartition("/")[2] or "dataset"


def _source_words(order: ExportOrder) -> str:
    return f"{len(order.sources)} folders or archives of results" if order.sources else FROM_ROWS
