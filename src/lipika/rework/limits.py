"""The rate limits in force, as a fleet has them in common: read from its database, and learned from its rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lipika.config import Settings
from lipika.db.calibrations import CalibrationRow, Calibrations, NewCalibration
from lipika.db.clip_samples import ClipSamples, SampleClip
from lipika.db.connection import Database
from lipika.errors import UsageError
from lipika.rework.calibrate import load_bands
from lipika.validation import DEFAULT_BANDS, Bands
from lipika.validation.calibrate import (
    NOTHING_LEARNED,
    Calibration,
    Observation,
    Samples,
    calibrate,
    collect,
    from_json,
    merge,
    observe,
)

Item = TypeVar("Item")

SAMPLE = 5_000
"""Clips of a language that its limits are learned from, at most."""

_VIDEOS, _EACH = 1_000, 20  # looked at, at most; clips of each, where there are enough videos
_CLIPS_A_READ = 500  # or those of one video: what the driver unpacks in one go, while nothing else runs
_CLIPS_AT_A_TIME = 20  # about 13 ms of CPU, which hold up whoever shares the interpreter
_REST = 3.0  # times as long as the work took: a quarter of a core at most


@dataclass(frozen=True, slots=True)
class InForce:
    """The newest calibration that can be read, with its row; none: the registry's limits are in force.

    `newest` is the id of the newest of all; those that are `unreadable` are passed over, each with the reason.
    """

    calibration: Calibration = NOTHING_LEARNED
    row: CalibrationRow | None = None
    newest: int | None = None
    unreadable: tuple[tuple[int, str], ...] = ()

    @property
    def bands(self) -> Bands:
        return self.calibration.as_bands() if self.row else DEFAULT_BANDS


async def read_in_force(calibrations: Calibrations, *, simulated: bool) -> InForce:
    """The calibration in force for real answers, or for made-up ones."""
    rows = await calibrations.newest(simulated=simulated)
    unreadable: list[tuple[int, str]] = []
    for row in rows:
        try:
            return InForce(from_json(row.content), row, rows[0].id, tuple(unreadable))
        except UsageError as error:
            unreadable.append((row.id, str(error)))
    return InForce(newest=rows[0].id if rows else None, unreadable=tuple(unreadable))


async def read_for_people(database: Database) -> InForce:
    """The calibration in force for real answers; that for made-up ones only if there is no other."""
    calibrations = Calibrations(database)
    real = await read_in_force(calibrations, simulated=False)
    return real if real.row else await read_in_force(calibrations, simulated=True)


async def find_bands(settings: Settings, database: Database | None, file: Path | None = None) -> Bands:
    """The limits in force: of `file`, else of CALIBRATION_FILE, else what the fleet has learned, else the registry's.

    Raises:
        UsageError: the file is no calibration.
    """
    chosen = file or settings.calibration_file
    if chosen is not None or database is None or settings.calibrate == "off":
        return load_bands(chosen)
    return (await read_for_people(database)).bands


def as_new(calibration: Calibration) -> NewCalibration:
    """A calibration as it is stored."""
    return NewCalibration(calibration.version, calibration.clips, calibration.to_json())


async def learn_language(stored: ClipSamples, language: str, least: int, *, simulated: bool) -> Calibration:
    """Limits of one language, from a sample of what the database holds; empty with fewer than `least` sound clips.

    Reads some thousand rows and works on them in small pieces with rests in between: it shares its process with the
    asking.
    """
    videos = await stored.videos(language, _VIDEOS)
    each = max(_EACH, -(-SAMPLE // max(len(videos), 1)))
    samples: Samples = {}
    for group in _split(videos, max(_CLIPS_A_READ // each, 1)):
        clips = await stored.clips(group, language, each, simulated=simulated)
        for few in _split(clips, _CLIPS_AT_A_TIME):
            started = time.monotonic()
            merge(samples, await asyncio.to_thread(_observe, few))
            await asyncio.sleep(_REST * (time.monotonic() - started))
        if language in samples and samples[language].clips >= SAMPLE:
            break
    return calibrate({code: samples[code] for code in samples if code == language}, least, unattended=True)


def _split(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _observe(clips: Sequence[SampleClip]) -> Samples:
    return collect(_observations(clips))


def _observations(clips: Sequence[SampleClip]) -> Iterator[Observation]:
    """Rates are the same under any limits, and so is what else is wrong with a transcript."""
    for row in clips:
        try:
            answer, facts = row.answer, row.facts()
            seen = observe(answer, row.clip(facts), row.language_hint) if answer and facts else None
        except ValueError:  # a row that no run has written
            continue
        if seen is not None:
            yield seen
