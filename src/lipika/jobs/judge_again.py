"""The work of `lipika calibrate` and `lipika revalidate`: settings in, stored answers read, tables out."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from getpass import getuser
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lipika.config import Settings, load_settings
from lipika.db.calibrations import REGISTRY, Calibrations
from lipika.db.connection import Database
from lipika.db.migrate import migrate
from lipika.db.stored import Stored
from lipika.embedded.postgres import EmbeddedPostgres
from lipika.jobs.rate_limits import LIMITS, figures
from lipika.rework.calibrate import CalibrationScope, Seen, look_at_archives, look_at_rows, save
from lipika.rework.limits import as_new, find_bands, read_for_people
from lipika.rework.revalidate import COUNTS, RejudgePlan, RejudgeReport, revalidate_archives, revalidate_rows
from lipika.services import store_settings
from lipika.validation import LaneName
from lipika.validation.calibrate import LEAST_CLIPS, SCORE_SHARES, Calibration, Change, calibrate, changes
from lipika.validation.compare import DECILES, Confusion
from lipika.wording import NONE, percent

_MOVES = ("stays_open", "closes", "opens", "stays_closed")


@dataclass(frozen=True, slots=True)
class JudgeOrder:
    """The order given on the command line. No sources: the rows of the database."""

    sources: Sequence[str]
    calibration: Path | None  # the limits in force
    jobs: int | None  # None: one for each core
    data_dir: Path | None

    @property
    def processes(self) -> int:
        return self.jobs or os.cpu_count() or 1


# ----------------------------------------------------------------------------- calibrate


@dataclass(frozen=True, slots=True)
class Learned:
    """New limits, and what they would change."""

    calibration: Calibration
    changes: tuple[Change, ...]
    too_few: dict[str, int]  # language -> sound clips
    before: str  # version of the limits in force
    seen: Seen
    stored: str = ""  # version that the fleet judges by now, where it was stored

    def document(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "version": self.calibration.version,
            "before": self.before,
            "stored": self.stored,
            "changes": [asdict(change) for change in self.changes],
            "too_few": self.too_few,
            "units": self.seen.units,
            "without_audio": self.seen.without_audio,
            "problems": self.seen.problems,
        }


async def learn(
    order: JudgeOrder, languages: frozenset[str], out_file: Path | None, *, store: bool = False
) -> Learned:
    """Learn limits from what is stored. Any that are learned are written to `out_file`, and with `store` put in force
    for all who work on the database.
    """
    settings = load_settings(lipika_data_dir=order.data_dir)
    needs_database = store or not order.sources
    async with _database(settings, order, needed=needs_database) as (database, url):
        look = CalibrationScope(
            await find_bands(settings, database, order.calibration),
            store_settings(settings),
            languages,
            output_url=settings.output_url,
        )
        if order.sources or database is None:
            seen = await _sum(look_at_archives(look, order.sources, order.processes))
        else:
            seen = await _sum(look_at_rows(replace(look, database_url=url), database, order.processes))
        calibration = calibrate(seen.samples)
        if out_file is not None and calibration.bands:
            save(calibration, out_file)
        stored = await _store(database, calibration) if store and database and calibration.bands else ""
    return Learned(
        calibration,
        tuple(changes(seen.samples, calibration, look.before)),
        {
            code: sample.clips
            for code, sample in sorted(seen.samples.items())
            if code not in calibration.bands
        },
        look.before.version or REGISTRY,
        seen,
        stored,
    )


async def _store(database: Database, calibration: Calibration) -> str:
    """Put the limits in force for the fleet; languages that they say nothing of keep theirs. Returns the version."""
    in_force = await read_for_people(database)
    new = in_force.calibration.renew(calibration)
    simulated = in_force.row is not None and in_force.row.simulated
    await Calibrations(database).put(as_new(new), f"calibrate by {getuser()}", simulated=simulated)
    return new.version


async def _sum(parts: AsyncGenerator[Seen, None]) -> Seen:
    total = Seen()
    async with aclosing(parts):
        async for part in parts:
            total.add(part)
    return total


def print_learned(learned: Learned, file: Path | None, out: Console) -> None:
    """One table of limits, one of consequences."""
    if learned.changes:
        out.print(
            f"Syllables/s of speech and characters/s now ({learned.before}) and learned"
            f" ({learned.calibration.version}):"
        )
        out.print(_limits(learned.changes))
        out.print("\nWhat the learned ones would change:")
        out.print(_consequences(learned.changes))
        for change in learned.changes:
            if change.short:
                out.print(
                    f"{change.language}: {change.short:,} texts ({_share(change.short, change.taught)}) are short"
                    " for this corpus and taught nothing: they may be cut.",
                    soft_wrap=True,
                )
        out.print("\nQuality scores by share of the clips:")
        out.print(_scores(learned.changes))
    for code, clips in learned.too_few.items():
        out.print(f"{code}: {clips:,} sound clips; {LEAST_CLIPS:,} are needed. Its limits stay as they are.")
    if not learned.seen.samples:
        out.print("nothing to learn from: no transcripts there")
    if learned.seen.without_audio:
        out.print(
            f"{learned.seen.without_audio:,} rows do not say how their audio sounds: name their archives instead"
        )
    _print_problems(learned.seen.problems, out)
    if learned.stored:
        out.print(
            f"Stored: every worker judges by {learned.stored} within a minute. Then `lipika revalidate --rows`.",
            soft_wrap=True,
        )
    if learned.changes and file is not None:
        out.print(f"Written to {file}. Set CALIBRATION_FILE to it, then `lipika revalidate`.", soft_wrap=True)
    elif learned.changes and not learned.stored:
        out.print("Nothing was written: --out FILE does that, or --store for the whole fleet.")
    elif file is not None:
        out.print(f"{file} was not written: no language has new limits.", soft_wrap=True)


def _limits(learned: Sequence[Change]) -> Table:
    table = Table("language", "", *LIMITS, box=None)
    for change in learned:
        table.add_row(change.language, "now", *(f"{limit:g}" for limit in figures(change.old)))
        table.add_row("", "learned", *(f"{limit:g}" for limit in figures(change.new)))
    return table


def _consequences(learned: Sequence[Change]) -> Table:
    table = Table("language", "learned from", "other verdict", "odd rate", "rate closes asr", box=None)
    for change in learned:
        table.add_row(
            change.language,
            f"{change.taught:,} clips",
            f"{change.changed:,} of {change.clips:,} ({_share(change.changed, change.clips)})",
            f"{change.odd_before:,} -> {change.odd_after:,}",
            f"{change.closed_before:,} -> {change.closed_after:,}",
        )
    return table


def _scores(learned: Sequence[Change]) -> Table:
    table = Table("language", *(percent(share) for share in SCORE_SHARES), "odd below", box=None)
    for change in learned:
        scores = (*change.score_quantiles, change.odd_score)
        table.add_row(change.language, *(f"{score:.2f}" for score in scores))
    return table


# ----------------------------------------------------------------------------- revalidate


@dataclass(frozen=True, slots=True)
class Redone:
    """Reports on archives and rows; None for what was not asked for."""

    version: str
    dry_run: bool
    archives: RejudgeReport | None
    rows: RejudgeReport | None

    @property
    def problems(self) -> list[tuple[str, str]]:
        return [problem for report in (self.archives, self.rows) if report for problem in report.problems]

    def document(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "version": self.version,
            "dry_run": self.dry_run,
            "archives": self.archives and _report(self.archives),
            "rows": self.rows and _report(self.rows),
        }


async def redo(order: JudgeOrder, *, rows: bool, dry_run: bool) -> Redone:
    """Judge archives again, or rows, or both. With both, the queue learns of the archives' new size and digest."""
    settings = load_settings(lipika_data_dir=order.data_dir)
    async with _database(settings, order, needed=rows) as (database, url):
        plan = RejudgePlan(
            await find_bands(settings, database, order.calibration),
            store_settings(settings),
            dry_run=dry_run,
            spool_dir=settings.spool_dir,
            output_url=settings.output_url,
        )
        if not rows or database is None:
            return Redone(plan.version, dry_run, await _redo_archives(plan, order, None), None)
        archives = await _redo_archives(plan, order, Stored(database)) if order.sources else None
        parts = revalidate_rows(replace(plan, database_url=url), database, order.processes)
        return Redone(plan.version, dry_run, archives, await _total(parts))


async def _redo_archives(plan: RejudgePlan, order: JudgeOrder, stored: Stored | None) -> RejudgeReport:
    return await _total(revalidate_archives(plan, order.sources, order.processes), stored)


async def _total(parts: AsyncGenerator[RejudgeReport, None], stored: Stored | None = None) -> RejudgeReport:
    """The sum; with `stored`, archives that were replaced are put on record as they come."""
    total = RejudgeReport()
    async with aclosing(parts):
        async for part in parts:
            total.add(part)
            for new in part.replaced:
                if stored is not None:
                    await stored.record_rewrite(
                        new.video_id, old_size=new.old_size, size=new.size, sha256=new.sha256
                    )
    return total


def _report(report: RejudgeReport) -> dict[str, object]:
    confusion = report.confusion
    return {
        **{name: getattr(report, name) for name in COUNTS},
        "lanes": {name.value: dict(zip(_MOVES, _moves(confusion, name), strict=True)) for name in LaneName},
        "score_deciles": _deciles(confusion),
        "score_rose": confusion.score_rose,
        "score_fell": confusion.score_fell,
        "gained": dict(confusion.gained.most_common()),
        "lost": dict(confusion.lost.most_common()),
        "problems": report.problems,
    }


def _moves(confusion: Confusion, name: LaneName) -> tuple[int, int, int, int]:
    counts = confusion.lanes[name]
    return counts[True, True], counts[True, False], counts[False, True], counts[False, False]


def _deciles(confusion: Confusion) -> list[list[int]]:
    """[old][new] -> clips."""
    return [[confusion.deciles[old, new] for new in range(DECILES)] for old in range(DECILES)]


def print_redone(done: Redone, out: Console) -> None:
    """For archives and for rows: counts, the lanes and scores old against new, what is found now and no longer."""
    for title, unit, report in (("Archives", "archives", done.archives), ("Rows", "videos", done.rows)):
        if report is not None:
            _print_report(title, unit, done, report, out)
    if done.dry_run:
        out.print("Nothing was changed: --dry-run.")


def _print_report(title: str, unit: str, done: Redone, report: RejudgeReport, out: Console) -> None:
    stale = report.units - report.current - report.busy - len(report.problems)
    written = "to be rewritten" if done.dry_run else "rewritten"
    out.print(
        f"{title}: {report.units:,} {unit}, {report.current:,} current already, {stale:,} {written};"
        f" {report.clips:,} clips judged by validator {done.version}",
        soft_wrap=True,
    )
    left_alone = (
        (report.busy, "videos are held by workers: call this again when they are done"),
        (report.changed_meanwhile, "rows were written anew in between: call this again for those"),
        (report.without_audio, "rows left alone: neither they nor an archive say how their audio sounds"),
    )
    for count, why in left_alone:
        if count:
            out.print(f"  {count:,} {why}", soft_wrap=True)
    _print_confusion(report.confusion, out)
    _print_problems(report.problems, out)


def _print_confusion(confusion: Confusion, out: Console) -> None:
    if not confusion.clips:
        return
    if confusion.is_unchanged:
        out.print("  every verdict is as it was")
        return
    lanes = Table("lane", "stays open", "closes", "opens", "stays closed", "share open", box=None)
    for name in LaneName:
        stays, closes, opens, shut = _moves(confusion, name)
        old, new = (_share(count, confusion.clips) for count in (stays + closes, stays + opens))
        lanes.add_row(name, f"{stays:,}", f"{closes:,}", f"{opens:,}", f"{shut:,}", f"{old} -> {new}")
    out.print(lanes)
    scores = Table("score, old by new", *(f"{low / DECILES:.1f}" for low in range(DECILES)), box=None)
    for low, row in enumerate(_deciles(confusion)):
        if any(row):
            scores.add_row(f"{low / DECILES:.1f}", *(f"{count:,}" if count else "" for count in row))
    out.print(scores)
    out.print(f"  scores rose on {confusion.score_rose:,} clips, fell on {confusion.score_fell:,}")
    for title, counts in (("found now", confusion.gained), ("no longer found", confusion.lost)):
        if counts:
            told = ", ".join(f"{code} {clips:,}" for code, clips in counts.most_common())
            out.print(f"  {title}: {told}", soft_wrap=True)


# ----------------------------------------------------------------------------- shared


@asynccontextmanager
async def _database(
    settings: Settings, order: JudgeOrder, *, needed: bool
) -> AsyncIterator[tuple[Database | None, str]]:
    """DATABASE_URL or the embedded Postgres, and its URL: every process opens a connection of its own.

    Where it is not `needed`, it is asked only for the limits in force, and not made for that.
    """
    embedded = EmbeddedPostgres(settings.lipika_data_dir)
    told = order.calibration or settings.calibration_file or settings.calibrate == "off"
    if not needed and (told or (settings.database_url is None and not embedded.is_made)):
        yield None, ""
        return
    async with AsyncExitStack() as stack:
        if settings.database_url is not None:
            url = settings.database_url.get_secret_value()
            yield await stack.enter_async_context(Database(url)), url
            return
        server = await stack.enter_async_context(embedded)
        database = await stack.enter_async_context(Database(lambda: server.url))
        await migrate(database)
        yield database, server.url


def _print_problems(problems: Sequence[tuple[str, str]], out: Console) -> None:
    for name, message in problems:
        out.print(f"LEFT AS IT IS  {name}: {message}", markup=False, soft_wrap=True)


def _share(part: int, whole: int) -> str:
    return percent(part / whole) if whole else NONE
