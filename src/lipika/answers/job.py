"""The work of `lipika answers`: settings in, answers listed, compared, voted on or made the results again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from lipika.alignment.romanise import open_romaniser
from lipika.answers.compare import ComparisonOfWays, compare
from lipika.answers.pairing import read_pairs
from lipika.answers.promote import PromotePlan, PromoteReport, promote
from lipika.answers.votes import VotesBeside, sum_up, turn_round
from lipika.answers.ways import WayOfAnswers, find_way, group_ways
from lipika.config import load_settings
from lipika.db.votes import Votes
from lipika.db.ways import Ways
from lipika.errors import UsageError
from lipika.rework.limits import find_bands
from lipika.services import open_database, store_settings


async def list_ways(data_dir: Path | None, language: str | None = None) -> list[WayOfAnswers]:
    """The ways of asking that have answers, of one language (a code) or of all."""
    async with open_database(load_settings(lipika_data_dir=data_dir)) as database:
        return group_ways(await Ways(database).counts(), language)


@dataclass(frozen=True, slots=True)
class ComparedWays:
    """Two ways of asking and what their answers say of each other."""

    first: WayOfAnswers
    second: WayOfAnswers
    comparison: ComparisonOfWays


async def compare_ways(
    data_dir: Path | None, names: tuple[str, str], clips: int, language: str | None = None
) -> ComparedWays:
    """Compare the answers of two ways over up to `clips` clips that have both.

    Raises:
        UsageError: a name means no way, or both mean the same; or no clip has both.
    """
    settings = load_settings(lipika_data_dir=data_dir)
    async with open_database(settings) as database:
        ways = group_ways(await Ways(database).counts())
        first, second = (find_way(ways, name) for name in names)
        if first.name == second.name:
            raise UsageError(f"both mean one way, {first.name} ({first.settings.words}): name two")
        bands = await find_bands(settings, database)
        found = await read_pairs(database, (first, second), bands, clips, language)
    if not found.pairs:
        raise UsageError(
            f"no clip has answers of {first.name} and of {second.name}: `lipika run --again` with other"
            " settings asks for them, and keeps the answers that it replaces"
        )
    romaniser = open_romaniser(settings.align_romaniser)
    comparison = compare((first.name, second.name), found.pairs, romaniser, all_looked_at=found.all_there)
    return ComparedWays(first, second, comparison)


@dataclass(frozen=True, slots=True)
class VotedWays:
    """Two ways of asking and what people prefer. The first is the one that was named first."""

    first: WayOfAnswers
    second: WayOfAnswers
    comparison: int  # its number on the board
    lines: list[VotesBeside]


async def list_votes(data_dir: Path | None, names: tuple[str, str]) -> VotedWays:
    """The blind votes on two ways.

    Raises:
        UsageError: a name means no way; or nobody has compared these two.
    """
    async with open_database(load_settings(lipika_data_dir=data_dir)) as database:
        ways = group_ways(await Ways(database).counts())
        first, second = (find_way(ways, name) for name in names)
        if first.name == second.name:
            raise UsageError(f"both are one way, {first.name}: name two")
        votes = Votes(database)
        comparison = await votes.find_of_ways(first.name, second.name)
        if comparison is None:
            raise UsageError(
                f"nobody has compared {first.name} and {second.name} by ear: `lipika dashboard`, page Compare,"
                " draws clips to vote on"
            )
        lines = sum_up(await votes.clips(comparison.id))
    if comparison.first_way != first.name:
        lines = [turn_round(line) for line in lines]
    return VotedWays(first, second, comparison.id, lines)


@dataclass(frozen=True, slots=True)
class PromoteOrder:
    """A promotion as ordered on the command line. No `videos`: all that have answers of that way."""

    way: str
    language: str | None = None  # a code
    videos: Sequence[str] = ()
    dry_run: bool = False
    rows_only: bool = False
    jobs: int | None = None  # None: one for each core
    data_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class Promoted:
    """A way of asking, and what became of its answers."""

    way: WayOfAnswers
    dry_run: bool
    rows_only: bool
    report: PromoteReport


async def promote_way(order: PromoteOrder) -> Promoted:
    """Make kept answers of one way the results again.

    Raises:
        UsageError: the name means no way.
    """
    settings = load_settings(lipika_data_dir=order.data_dir)
    async with open_database(settings) as database:
        way = find_way(group_ways(await Ways(database).counts()), order.way)
        plan = PromotePlan(
            way,
            await find_bands(settings, database),
            store_settings(settings),
            language=order.language,
            dry_run=order.dry_run,
            rows_only=order.rows_only,
            spool_dir=settings.spool_dir,
            database_url=database.url,
            output_url=settings.output_url,
        )
        total = PromoteReport()
        jobs = order.jobs or os.cpu_count() or 1
        async with aclosing(promote(plan, database, jobs, order.videos)) as parts:
            async for part in parts:
                total.add(part)
    return Promoted(way, order.dry_run, order.rows_only, total)
