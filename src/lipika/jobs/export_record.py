"""The course of an export: for whoever called, and on record in the database, where there is one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from lipika.dataset.model import Tarset
from lipika.dataset.plan import PlanReport
from lipika.dataset.vocabulary import Misfits
from lipika.db.connection import Database
from lipika.db.datasets import Datasets, ExportCounts, PlannedExport, TarsetRecord
from lipika.errors import LipikaError
from lipika.log import get_logger

log = get_logger(__name__)

_EVERY_S = 2.0


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
    quieter: int = 0  # clips that resampling would have clipped
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
            "quieter": self.quieter,
            "was_complete": self.was_complete,
            "took_s": round(self.seconds, 3),
            "plan": self.report.document(),
            "problems": self.noticed.problems,
            "misfits": self.noticed.misfits.lines(),
        }


class ExportOnRecord:
    """The row of an export; without a database nothing happens. Trouble with it is logged: the export goes on."""

    def __init__(self, datasets: Datasets | None) -> None:
        self._datasets = datasets
        self._id = self._jobs = self._bytes = 0
        self._seconds = 0.0
        self._began = self._told = time.monotonic()

    async def start(self, done: ExportDone, digest: str) -> None:
        report = done.report
        if self._datasets is None:
            return
        planned = PlannedExport(
            dest=done.dest,
            format=str(report.options["format"]),
            options=report.options,
            plan_digest=digest,
            counts=_counts(report),
            tarsets=[
                TarsetRecord(one.language, one.split, one.shards, one.clips, one.duration_ms / 1000)
                for one in report.tarsets
            ],
            jobs_total=report.jobs,
        )
        try:
            row = await self._datasets.start(planned)
            self._id, self._seconds = row.id, row.seconds
        except LipikaError as error:
            self._give_up(error)

    async def progress(self, done: ExportDone) -> None:
        """Say how far it is, now and then."""
        now = time.monotonic()
        if self._datasets is None or now < self._told + _EVERY_S:
            return
        self._told = now
        try:
            seconds = self._seconds + now - self._began
            await self._datasets.progress(
                self._id, jobs_done=done.jobs_done, size=done.bytes, seconds=seconds
            )
        except LipikaError as error:
            self._give_up(error)

    async def finish(self, done: ExportDone, tarsets: Sequence[Tarset]) -> None:
        if self._datasets is None:
            return
        rows = [TarsetRecord(one.language, one.split, one.shards, one.clips, one.seconds) for one in tarsets]
        try:
            seconds = self._seconds + time.monotonic() - self._began
            await self._datasets.finish(
                self._id, _counts(done.report), rows, size=done.bytes, seconds=seconds
            )
        except LipikaError as error:
            self._give_up(error)

    async def fail(self, reason: str) -> None:
        if self._datasets is None:
            return
        try:
            await self._datasets.fail(self._id, reason)
        except LipikaError as error:
            self._give_up(error)

    def _give_up(self, error: LipikaError) -> None:
        log.warning("export_not_on_record", reason=str(error))
        self._datasets = None


@asynccontextmanager
async def on_record(
    database: Database | None, done: ExportDone, digest: str
) -> AsyncIterator[ExportOnRecord]:
    """An export on record from here on; one that raises has failed, with its reason."""
    record = ExportOnRecord(None if database is None else Datasets(database))
    await record.start(done, digest)
    try:
        yield record
    except asyncio.CancelledError:
        await record.fail("interrupted; the same command goes on where it was")
        raise
    except Exception as error:
        await record.fail(
            str(error) if isinstance(error, LipikaError) else f"{type(error).__name__}: {error}"
        )
        raise


def _counts(report: PlanReport) -> ExportCounts:
    dropped = {reason: clips for reason, (clips, _) in report.dropped.items()}
    return ExportCounts(report.candidates, report.clips, dropped)
