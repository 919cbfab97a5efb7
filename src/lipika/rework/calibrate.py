"""Rate limits learned from what is stored: read from archives or rows, kept in a file, used by every validation.

The arithmetic is `validation.calibrate`'s; here are its inputs and outputs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lipika.archive.results import ResultArchive, find_results, read_archive
from lipika.db.connection import Database
from lipika.db.stored import Stored
from lipika.errors import StorageError, UsageError, VideoError
from lipika.processes import group_items, spread
from lipika.rework.stored_rows import judged_answer_of, read_rows
from lipika.storage import StoreSettings
from lipika.validation import DEFAULT_BANDS, Bands
from lipika.validation.again import JudgedAnswer
from lipika.validation.calibrate import Calibration, Samples, collect, from_json, merge, observe

_VIDEOS_PER_UNIT = 20


def load_bands(file: Path | None) -> Bands:
    """The limits in force: of a calibration file, or the registry's own without one.

    Raises:
        UsageError: the file cannot be read, or is none that `lipika calibrate` wrote for this version.
    """
    if file is None:
        return DEFAULT_BANDS
    try:
        return from_json(file.read_text("utf-8")).as_bands()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"calibration file {file}: {error}; write one with `lipika calibrate --out`"
        ) from None
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None


def save(calibration: Calibration, file: Path) -> None:
    """Write the file; readers see the old one or the new one, never a part.

    Raises:
        UsageError: it cannot be written there.
    """
    half = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        half.write_text(calibration.to_json() + "\n", "utf-8")
        half.replace(file)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise UsageError(f"cannot write {file}: {error.strerror or error}") from None


@dataclass(frozen=True, slots=True)
class CalibrationScope:
    """The choice of what to look at, and the limits in force while looking. An empty `languages` means all."""

    before: Bands
    settings: StoreSettings
    languages: frozenset[str] = frozenset()
    database_url: str = field(default="", repr=False)
    output_url: str = ""  # where result archives are whose keys in the queue are no URLs


@dataclass(slots=True)
class Seen:
    """Observations in archives or videos. Those of parts add up to that of the whole."""

    units: int = 0
    without_audio: int = 0  # clips of which neither row nor archive says how they sound
    samples: Samples = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: Seen) -> None:
        self.units += other.units
        self.without_audio += other.without_audio
        merge(self.samples, other.samples)
        self.problems += other.problems


def look_at_archives(look: CalibrationScope, sources: Sequence[str], jobs: int) -> AsyncGenerator[Seen, None]:
    """Observations in result archives, one after the other. Raises UsageError if a source names nothing."""
    return spread(_archive_unit, _archive_units(look, sources), jobs)


async def _archive_units(
    look: CalibrationScope, sources: Sequence[str]
) -> AsyncIterator[tuple[CalibrationScope, ResultArchive]]:
    async for archive in find_results(sources, look.settings):
        yield look, archive


def _archive_unit(unit: tuple[CalibrationScope, ResultArchive]) -> Seen:
    look, archive = unit
    try:
        results = read_archive(archive, look.settings)
    except (VideoError, StorageError) as error:
        return Seen(units=1, problems=[(archive.url, str(error))])
    held = (one for result in results if (one := judged_answer_of(result)) is not None)
    return Seen(units=1, samples=_samples(look, held))


def look_at_rows(look: CalibrationScope, database: Database, jobs: int) -> AsyncGenerator[Seen, None]:
    """Observations in the rows of the database, some videos at a time."""
    return spread(_rows_unit, _row_units(look, Stored(database)), jobs)


async def _row_units(
    look: CalibrationScope, stored: Stored
) -> AsyncIterator[tuple[CalibrationScope, list[str]]]:
    ids = (video.video_id async for video in stored.videos(version=""))
    async for group in group_items(ids, _VIDEOS_PER_UNIT):
        yield look, group


def _rows_unit(unit: tuple[CalibrationScope, list[str]]) -> Seen:
    look, video_ids = unit
    return asyncio.run(_look_at_videos(look, video_ids))


async def _look_at_videos(look: CalibrationScope, video_ids: Sequence[str]) -> Seen:
    total = Seen(units=len(video_ids))
    async with Database(look.database_url, max_size=1) as database:
        stored = Stored(database)
        for video_id in video_ids:
            try:
                video = await read_rows(stored, video_id, look.settings, look.output_url)
            except ValueError as error:  # a row that no run has written
                total.problems.append((video_id, str(error)))
                continue
            total.without_audio += video.silent
            merge(total.samples, _samples(look, (one.held for one in video.held)))
    return total


def _samples(look: CalibrationScope, held: Iterable[JudgedAnswer]) -> Samples:
    observed = (observe(one.answer, one.clip, one.language_hint, look.before) for one in held)
    return collect(
        seen
        for seen in observed
        if seen is not None and (not look.languages or seen.language in look.languages)
    )
