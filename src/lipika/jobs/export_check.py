"""The work of `lipika export verify`: an export read again, and the outcome put on record where it is known."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from lipika.config import Settings, load_settings
from lipika.dataset.place import ExportPlace
from lipika.dataset.verify import FACTS, FIRST, Verification, verify
from lipika.db.connection import Database
from lipika.db.datasets import Datasets, DefectRecord, VerificationRecord
from lipika.embedded.postgres import EmbeddedPostgres
from lipika.errors import LipikaError, ObjectMissing, UsageError
from lipika.jobs.export import FROM_ROWS
from lipika.jobs.export_place import open_place
from lipika.jobs.progress_bar import progress_bar
from lipika.log import get_logger
from lipika.services import open_database
from lipika.storage import Store
from lipika.wording import most_first

log = get_logger(__name__)


async def verify_export(
    dest: str, format_name: str | None, jobs: int | None, data_dir: Path | None, *, listen: bool = True
) -> Verification:
    """Read an export again, anybody's.

    Raises:
        UsageError: nothing is there, or it looks like no format.
    """
    settings = load_settings(lipika_data_dir=data_dir)
    place = open_place(dest, settings)
    store = Store.open(place.url, place.settings)
    paths = {info.key: info.size async for info in store.list()}
    if not paths:
        raise UsageError(f"{place.url}: nothing is there")
    with progress_bar("Reading", total=sum(paths.values())) as advance:
        report = await verify(
            store,
            place.settings,
            paths,
            format_name,
            processes=jobs or os.cpu_count() or 1,
            listen=listen,
            scratch=settings.spool_dir,
            advance=lambda clips, size: advance(size, f"{clips:,} clips"),
        )
    await _put_on_record(place, store, settings, report)
    return report


async def _put_on_record(place: ExportPlace, store: Store, settings: Settings, report: Verification) -> None:
    """Where the export came out of a database of ours; trouble with that is logged."""
    try:
        async with _database(store, settings) as database:
            if database is not None:
                defects = tuple(DefectRecord(one.place, one.code, one.message) for one in report.defects)
                found = VerificationRecord(
                    "good" if report.is_sound else "bad", report.clips, report.counts.total(), defects
                )
                await Datasets(database).put_verification(place.url, found)
    except LipikaError as error:
        log.warning("verification_not_on_record", reason=str(error))


@asynccontextmanager
async def _database(store: Store, settings: Settings) -> AsyncIterator[Database | None]:
    """DATABASE_URL; or the embedded one, if there is one and the export says that it came out of it."""
    if settings.database_url is None and not (
        EmbeddedPostgres(settings.lipika_data_dir).is_made and await _is_from_rows(store)
    ):
        yield None
        return
    async with open_database(settings) as database:
        yield database


async def _is_from_rows(store: Store) -> bool:
    try:
        facts = orjson.loads(await store.get_bytes(FACTS))
    except (ObjectMissing, orjson.JSONDecodeError):
        return False
    return isinstance(facts, dict) and facts.get("source") == FROM_ROWS


def print_verified(report: Verification, out: Console) -> None:
    """Hours and clips, and each defect with its place."""
    table = Table("language", "split", "clips", "hours", box=None)
    for (language, split), amount in sorted(report.amounts.items()):
        table.add_row(language or "-", split or "-", f"{amount.clips:,}", f"{amount.hours:,.2f}")
    out.print(table)
    for defect in report.defects:
        out.print(f"{defect.code}  {defect.place}: {defect.message}", markup=False, soft_wrap=True)
    for code, count in most_first(report.counts):
        if count > FIRST:
            out.print(f"{code}: {count:,} in all, the first {FIRST} are told", markup=False)
    clips = (
        f"{report.clips:,} clips, {report.seconds / 3600:,.2f} h in {report.files:,} files of {report.format}"
    )
    if report.is_sound:
        out.print(f"{report.url} is sound: {clips} were read to the end", soft_wrap=True)
    else:
        out.print(f"{report.url}: {report.counts.total():,} defects; {clips}", soft_wrap=True)
