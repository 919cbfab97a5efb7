"""Exports on record: their plan, how far they are, and whether they were read back whole.

Needs the rights of the tables' owner to write; a reader may list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from pydantic import TypeAdapter

from lipika.db.connection import Database
from lipika.db.payload import to_json
from lipika.db.queries import load

_QUERIES = load("datasets")
KEPT_DEFECTS = 100
"""Of a verification: the first ones; `VerificationRecord.defects_total` counts all."""

ExportState = Literal["planned", "writing", "done", "failed"]


@dataclass(frozen=True, slots=True)
class ExportCounts:
    """Clips. candidates = exported + all that were dropped."""

    candidates: int
    exported: int
    dropped: Mapping[str, int]  # by reason


@dataclass(frozen=True, slots=True)
class TarsetRecord:
    """All that is exported of one language and split. Seconds are of audio."""

    language: str
    split: str
    shards: int
    clips: int
    seconds: float


@dataclass(frozen=True, slots=True)
class DefectRecord:
    """Something wrong with an export, as verifying it found."""

    place: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class VerificationRecord:
    """The outcome of reading an export back. `defects` are the first ones of `defects_total`."""

    state: Literal["good", "bad"]
    clips: int
    defects_total: int
    defects: tuple[DefectRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedExport:
    """A plan and its place, before anything is written. `dest` is a folder or URL."""

    dest: str
    format: str
    options: Mapping[str, object]
    plan_digest: str
    counts: ExportCounts
    tarsets: Sequence[TarsetRecord]
    jobs_total: int


@dataclass(frozen=True, slots=True)
class StartedExport:
    """The row of an export, with what earlier runs of it have done."""

    id: int
    jobs_done: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecord(PlannedExport):
    """One export as a person sees it in a list. Seconds are those of writing, over all runs."""

    id: int
    state: ExportState
    jobs_done: int
    bytes: int
    seconds: float
    error: str | None
    created_at: datetime
    updated_at: datetime
    verified_at: datetime | None
    verification: VerificationRecord | None

    @property
    def hours(self) -> float:
        """Of audio."""
        return sum(tarset.seconds for tarset in self.tarsets) / 3600

    def document(self) -> dict[str, object]:
        """For machines."""
        return asdict(self)


class Datasets:
    """`datasets`. Every write may be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self, export: PlannedExport, *, state: ExportState = "writing") -> StartedExport:
        """Put an export on record, or go on with the one of the same plan at the same place.

        One that is only `planned` leaves the state of an export that was begun as it is.
        """
        params = {
            "dest": export.dest,
            "format": export.format,
            "options": to_json(export.options),
            "plan_digest": export.plan_digest,
            "state": state,
            "counts": to_json(export.counts),
            "tarsets": to_json(export.tarsets),
            "jobs_total": export.jobs_total,
        }
        return await self._database.row(_QUERIES["start"], params, StartedExport)

    async def progress(self, export_id: int, *, jobs_done: int, size: int, seconds: float) -> None:
        """Say how far it is: jobs done of all, bytes and seconds of writing so far. A verification is out of date."""
        params = {"id": export_id, "jobs_done": jobs_done, "bytes": size, "seconds": seconds}
        await self._database.execute(_QUERIES["progress"], params)

    async def finish(
        self,
        export_id: int,
        counts: ExportCounts,
        tarsets: Sequence[TarsetRecord],
        *,
        size: int,
        seconds: float,
    ) -> None:
        """All of it is written: what it came to."""
        params = {
            "id": export_id,
            "counts": to_json(counts),
            "tarsets": to_json(tarsets),
            "bytes": size,
            "seconds": seconds,
        }
        await self._database.execute(_QUERIES["finish"], params)

    async def fail(self, export_id: int, error: str) -> None:
        """It has stopped before its end, and why. One that is done stays so."""
        await self._database.execute(_QUERIES["fail"], {"id": export_id, "error": error})

    async def put_verification(self, dest: str, verification: VerificationRecord) -> bool:
        """Put on record how reading back went; of many defects the first. False: no export there is on record."""
        kept = asdict(verification) | {
            "defects": [asdict(one) for one in verification.defects[:KEPT_DEFECTS]]
        }
        params = {"dest": dest, "verification": to_json(kept)}
        return await self._database.execute(_QUERIES["verified"], params) > 0

    async def list_exports(self, limit: int = 100) -> list[ExportRecord]:
        """The newest first."""
        return [_record(row) for row in await self._database.rows(_QUERIES["list"], {"limit": limit}, _Row)]

    async def one(self, export_id: int) -> ExportRecord | None:
        """None: there is none with this id."""
        found = await self._database.rows(_QUERIES["one"], {"id": export_id}, _Row)
        return _record(found[0]) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    id: int
    dest: str
    format: str
    options: Mapping[str, object]
    plan_digest: str
    state: ExportState
    counts: Mapping[str, object]
    tarsets: Sequence[Mapping[str, object]]
    jobs_total: int
    jobs_done: int
    bytes: int
    seconds: float
    error: str | None
    created_at: datetime
    updated_at: datetime
    verified_at: datetime | None
    verification: Mapping[str, object] | None


_RECORD = TypeAdapter(ExportRecord)


def _record(row: _Row) -> ExportRecord:
    return _RECORD.validate_python(asdict(row))
