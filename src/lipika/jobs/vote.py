"""The work of `lipika vote`: archives read, weighed and written back, and their rows with them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console

from lipika.alignment.romanise import open_romaniser
from lipika.alignment.voters import voting_version
from lipika.archive.hypotheses import Hypotheses, open_hypotheses
from lipika.archive.readings import open_readings
from lipika.archive.results import ResultArchive, archive_on_record, find_results, peek
from lipika.config import load_settings
from lipika.db.stored import Record, Stored
from lipika.db.voters import Voters
from lipika.errors import ArchiveError, SegmentError, StorageError
from lipika.models import Tier, VoterKind
from lipika.rework.weigh_again import Ask, Weighed, WeighPlan, weigh_archive
from lipika.services import open_database, store_settings
from lipika.storage import ObjectInfo, Store, split_url
from lipika.wording import money


@dataclass(frozen=True, slots=True)
class VoteOrder:
    """The order given on the command line."""

    sources: Sequence[str]
    folders: Sequence[Path]
    rows: bool
    data_dir: Path | None
    people: Sequence[Path] = ()  # tables and folders of what a person read
    references: bool = False  # texts that came with the recordings


@dataclass(frozen=True, slots=True)
class _Rows:
    stored: Stored
    voters: Voters
    output_url: str


@dataclass(slots=True)
class OpinionCounts:
    """Counts of what was asked of another model, and why no more was."""

    asked: int = 0
    answered: int = 0
    stored_before: int = 0  # paid for by an earlier call
    usd: float = 0.0
    ended: str = ""


@dataclass(slots=True)
class VoteCounts:
    """Counts of what became of archives, clips and rows."""

    version: str
    archives: int = 0
    written: int = 0
    clips: int = 0
    rows: int = 0
    busy: int = 0  # videos that a worker holds
    tiers: Counter[str] = field(default_factory=Counter)  # of those that could be weighed
    pairs: Counter[str] = field(default_factory=Counter)  # who disagrees most, below gold
    people: Counter[str] = field(default_factory=Counter)  # clips by who has read them
    problems: list[tuple[str, str]] = field(default_factory=list)
    opinions: OpinionCounts | None = None  # where another model was asked

    def document(self) -> dict[str, object]:
        """For `--json`."""
        names = ("version", "archives", "written", "clips", "rows", "busy", "problems")
        counts: dict[str, object] = {
            "tiers": dict(self.tiers),
            "pairs": dict(self.pairs.most_common()),
            "people": dict(self.people),
        }
        if self.opinions is not None:
            counts["opinions"] = asdict(self.opinions)
        return {name: getattr(self, name) for name in names} | counts

    def add(self, weighed: Weighed) -> None:
        self.written += weighed.stored is not None
        self.clips += len(weighed.results)
        for result in weighed.results:
            self.people.update(voter.name for voter in result.voters if voter.kind is VoterKind.PERSON)
            if result.consensus is not None:
                self.tiers[result.consensus.tier.value] += 1
                if result.consensus.tier is not Tier.GOLD:
                    self.pairs[" / ".join(result.consensus.between)] += 1


async def vote_on_stored(order: VoteOrder, ask: Ask | None = None) -> VoteCounts:
    """Weigh the clips of all archives; whoever is to be asked is asked first."""
    settings = load_settings(lipika_data_dir=order.data_dir)
    folders = await asyncio.to_thread(_open_texts, order)
    romaniser = open_romaniser(settings.align_romaniser)
    plan = WeighPlan(store_settings(settings), romaniser, folders, order.references, settings.spool_dir)
    done = VoteCounts(voting_version(romaniser))
    done.people.update(dict.fromkeys((one.name for one in folders if one.kind is VoterKind.PERSON), 0))
    async with AsyncExitStack() as stack:
        rows = None
        if order.rows:
            database = await stack.enter_async_context(open_database(settings))
            rows = _Rows(Stored(database), Voters(database), settings.output_url)
        async for archive in find_results(order.sources, plan.settings):
            done.archives += 1
            try:
                await _vote(archive, plan, rows, done, ask)
            except (ArchiveError, SegmentError, StorageError) as error:
                done.problems.append((archive.url, str(error)))
    return done


def _open_texts(order: VoteOrder) -> list[Hypotheses]:
    return [*map(open_hypotheses, order.folders), *map(open_readings, order.people)]


async def _vote(
    archive: ResultArchive, plan: WeighPlan, rows: _Rows | None, done: VoteCounts, ask: Ask | None
) -> None:
    """Archive, record and rows of one video, unless a worker holds it: it may write all three."""
    before = await Store.open(archive.root, plan.settings).head(archive.key)
    record, people = None, None
    if rows is not None:
        block = await asyncio.to_thread(peek, archive, plan.settings)
        record = await rows.stored.record(block.video_id)
        if record is not None and record.busy:
            done.busy += 1
            return
        people = await rows.voters.find_people(block.video_id)  # an archive that was made anew has none
    weighed = await weigh_archive(archive, before, plan, ask, people)
    done.add(weighed)
    if rows is not None:
        await _write_rows(archive, before, record, weighed, rows, done)


async def _write_rows(
    archive: ResultArchive,
    before: ObjectInfo,
    record: Record | None,
    weighed: Weighed,
    rows: _Rows,
    done: VoteCounts,
) -> None:
    """The rows come even where the archive was as it should be: an earlier run may have been stopped in between."""
    named = record is not None and archive_on_record(record.output_key, rows.output_url) == ResultArchive(
        *split_url(archive.url)
    )
    if weighed.stored is not None and named:
        await rows.stored.record_rewrite(
            weighed.video_id, old_size=before.size, size=weighed.stored.size, sha256=weighed.stored.sha256
        )
    outcome = await rows.voters.write(weighed.video_id, weighed.results)
    done.rows += outcome.written
    done.busy += outcome.busy


def print_votes(done: VoteCounts, out: Console) -> None:
    """Counts, tiers, who disagrees, problems."""
    out.print(
        f"{done.archives:,} archives, {done.written:,} rewritten; {done.clips:,} clips,"
        f" {done.tiers.total():,} of them with voters to weigh, by {done.version}",
        soft_wrap=True,
    )
    if done.tiers:
        out.print("  " + ", ".join(f"{tier.value} {done.tiers[tier.value]:,}" for tier in Tier))
    for pair, clips in done.pairs.most_common(5):
        out.print(f"  below gold {pair} disagree most: {clips:,} clips", markup=False, soft_wrap=True)
    for person, clips in done.people.items():
        told = f"{clips:,} clips" if clips else "no clip of these archives: see how its rows name them"
        out.print(f"  read by {person}: {told}", markup=False, soft_wrap=True)
    if done.opinions is not None:
        asked = done.opinions
        out.print(
            f"  {asked.answered:,} second opinions for {money(asked.usd)}, {asked.stored_before:,} more were there"
            + (f"; no more: {asked.ended}" if asked.ended else ""),
            markup=False,
            soft_wrap=True,
        )
    if done.rows or done.busy:
        out.print(
            f"  {done.rows:,} rows; {done.busy:,} videos are held by workers: call this again when they are done"
        )
    for name, message in done.problems:
        out.print(f"LEFT AS IT IS  {name}: {message}", markup=False, soft_wrap=True)
