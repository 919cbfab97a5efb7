"""Stored answers under the present rules: result archives and rows judged again. No provider is asked, no cent spent.

A unit (an archive, some videos of the database) is done from start to end by one process. What carries the current
validator version is passed over, so that a run that was stopped goes on where it was. An archive is written whole and
replaces the old one in a single step; rows change in one statement a thousand.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lipika.archive.curator import CURATOR_KEYS
from lipika.archive.results import Block, ResultArchive, block_of, find_results, peek
from lipika.archive.rewrite import ChangedKeys, compose_again, read_contents
from lipika.archive.spool import Spool
from lipika.db.connection import Database
from lipika.db.stored import Stored, StoredVideo
from lipika.errors import StorageError, VideoError
from lipika.models import ClipResult
from lipika.processes import group_items, spread
from lipika.rework.stored_rows import judged_answer_of, read_rows, segments_of
from lipika.storage import Store, StoreSettings
from lipika.validation import Bands, validator_version
from lipika.validation.again import judge_again
from lipika.validation.compare import ComparedVerdict, Confusion

_VIDEOS_PER_UNIT = 20
_CHANGES = ChangedKeys(
    document=(
        "quality_score",
        "score_parts",
        "lanes",
        "findings",
        "checks",
        *CURATOR_KEYS,
    ),  # other tiers' scores stay
    summary=("quality_score", "lanes", "findings"),
    versions=("validator",),
)


@dataclass(frozen=True, slots=True)
class RejudgePlan:
    """Settings for judging again. `dry_run` changes nothing."""

    bands: Bands
    settings: StoreSettings
    dry_run: bool = False
    spool_dir: Path | None = None  # for archives being composed; None: the system's
    database_url: str = field(default="", repr=False)
    output_url: str = ""  # where result archives are whose keys in the queue are no URLs

    @property
    def version(self) -> str:
        return validator_version(self.bands)


@dataclass(frozen=True, slots=True)
class Replaced:
    """An archive that took another's place."""

    video_id: str
    old_size: int
    size: int
    sha256: str


COUNTS = ("units", "rewritten", "current", "busy", "clips", "changed_meanwhile", "without_audio")
"""The numbers of a report."""


@dataclass(slots=True)
class RejudgeReport:
    """Counts over archives or over videos in the database. Reports of parts add up to that of the whole."""

    units: int = 0  # archives or videos looked at
    rewritten: int = 0
    current: int = 0  # passed over: judged by this version already
    busy: int = 0  # videos that a worker holds: their new answers will be judged as they come
    clips: int = 0  # judged again
    changed_meanwhile: int = 0  # rows that a worker wrote anew in between
    without_audio: int = 0  # clips of which neither row nor archive says how they sound
    confusion: Confusion = field(default_factory=Confusion)
    problems: list[tuple[str, str]] = field(default_factory=list)  # archive or video, and why it is as it was
    replaced: list[Replaced] = field(default_factory=list)  # not part of sums: there may be millions

    def add(self, other: RejudgeReport) -> None:
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.confusion.merge([other.confusion])
        self.problems += other.problems


# ----------------------------------------------------------------------------- archives


def revalidate_archives(
    plan: RejudgePlan, sources: Sequence[str], jobs: int
) -> AsyncGenerator[RejudgeReport, None]:
    """One report an archive, as they come.

    Raises:
        UsageError: a source names nothing.
        StorageUnavailable: a store is away; what has been done stays done.
    """
    return spread(_archive_unit, _archive_units(plan, sources), jobs)


async def _archive_units(
    plan: RejudgePlan, sources: Sequence[str]
) -> AsyncIterator[tuple[RejudgePlan, ResultArchive]]:
    async for archive in find_results(sources, plan.settings):
        yield plan, archive


def _archive_unit(unit: tuple[RejudgePlan, ResultArchive]) -> RejudgeReport:
    plan, archive = unit
    try:
        report = asyncio.run(_redo_archive(plan, archive))
    except (VideoError, StorageError) as error:
        report = RejudgeReport(problems=[(archive.url, str(error))])
    report.units = 1
    return report


async def _redo_archive(plan: RejudgePlan, archive: ResultArchive) -> RejudgeReport:
    if peek(archive, plan.settings).validator_versions <= {plan.version}:
        return RejudgeReport(current=1)
    store = Store.open(archive.root, plan.settings)
    before = await store.head(archive.key)
    with Spool(plan.spool_dir or Path(tempfile.gettempdir())) as spool:
        old = read_contents(store, archive.key, None if plan.dry_run else spool)
        block = block_of(old.metadata)
        report, results = _judge([document.result for document in old.documents], block, plan.bands)
        if plan.dry_run:
            return report
        tar = compose_again(old, results, spool, _CHANGES)
        now = await store.head(archive.key)
        if (now.size, now.etag) != (before.size, before.etag):
            raise StorageError("it was replaced while it was judged; run this again")
        stored = await store.put_stream(archive.key, tar.chunks(), tar.size)
    report.rewritten = 1
    report.replaced.append(Replaced(block.video_id, before.size, stored.size, stored.sha256))
    return report


def _judge(old: Sequence[ClipResult], block: Block, bands: Bands) -> tuple[RejudgeReport, list[ClipResult]]:
    """The results with their new verdicts, those of failed clips as they are."""
    held = [one for result in old if (one := judged_answer_of(result)) is not None]
    files = [*(f"{result.clip.segment.stem}.flac" for result in old), *block.discarded]
    segments = segments_of((result.clip.name for result in old), files)
    verdicts = list(judge_again(held, segments, bands))
    report = RejudgeReport(clips=len(held))
    for one, verdict in zip(held, verdicts, strict=True):
        report.confusion.add(one.before, ComparedVerdict.from_verdict(verdict))
    fresh = iter(verdicts)
    return report, [
        result if judged_answer_of(result) is None else replace(result, verdict=next(fresh)) for result in old
    ]


# ----------------------------------------------------------------------------- rows


def revalidate_rows(plan: RejudgePlan, database: Database, jobs: int) -> AsyncGenerator[RejudgeReport, None]:
    """Reports of some videos each, as they come. Every process has a connection of its own to `plan.database_url`.

    Raises:
        DatabaseUnavailable, StorageUnavailable: what has been done stays done.
    """
    return spread(_rows_unit, _row_units(plan, Stored(database)), jobs)


async def _row_units(
    plan: RejudgePlan, stored: Stored
) -> AsyncIterator[tuple[RejudgePlan, list[StoredVideo]]]:
    async for videos in group_items(stored.videos(plan.version), _VIDEOS_PER_UNIT):
        yield plan, videos


def _rows_unit(unit: tuple[RejudgePlan, list[StoredVideo]]) -> RejudgeReport:
    plan, videos = unit
    stale = [video.video_id for video in videos if video.stale]
    report = asyncio.run(_redo_videos(plan, stale)) if stale else RejudgeReport()
    report.current = len(videos) - len(stale)
    report.units = len(videos)
    return report


async def _redo_videos(plan: RejudgePlan, video_ids: Sequence[str]) -> RejudgeReport:
    total = RejudgeReport()
    async with Database(plan.database_url, max_size=1) as database:
        stored = Stored(database)
        for video_id in video_ids:
            try:
                report = await _redo_video(plan, stored, video_id)
            except ValueError as error:  # a row that no run has written
                report = RejudgeReport(problems=[(video_id, str(error))])
            total.add(report)
    return total


async def _redo_video(plan: RejudgePlan, stored: Stored, video_id: str) -> RejudgeReport:
    """Judge the stale rows of a video. All of its rows are read: who overlaps whom shows in them together."""
    video = await read_rows(stored, video_id, plan.settings, plan.output_url)
    report = RejudgeReport(without_audio=video.silent)
    verdicts = judge_again([one.held for one in video.held], video.segments, plan.bands)
    stale = [
        (one, verdict)
        for one, verdict in zip(video.held, verdicts, strict=True)
        if one.row.validator_version != plan.version
    ]
    if stale and not plan.dry_run:
        outcome = await stored.rewrite(video_id, [(one.row, verdict) for one, verdict in stale])
        report.busy = outcome.busy
        if outcome.busy:
            return report
        report.changed_meanwhile = len(stale) - outcome.written
        report.rewritten = 1
    report.clips = len(stale)
    for one, verdict in stale:
        report.confusion.add(one.held.before, ComparedVerdict.from_verdict(verdict))
    return report
