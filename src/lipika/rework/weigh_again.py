"""Stored results weighed against what others say of the same clips, and written back with their tiers.

Nothing is listened to or asked: a clip's voters are its own answer, what a second recogniser heard before, what its
document holds of others, and folders of texts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lipika.alignment.romanise import Romaniser
from lipika.alignment.voters import ballot_of, weigh
from lipika.archive.curator import CURATOR_KEYS
from lipika.archive.hypotheses import Hypotheses
from lipika.archive.references import open_references
from lipika.archive.results import ResultArchive, block_of
from lipika.archive.rewrite import ChangedKeys, compose_again, read_contents
from lipika.archive.spool import Spool
from lipika.models import ClipResult, Voter
from lipika.storage import ObjectInfo, Store, StoreSettings

_CHANGES = ChangedKeys(
    document=("voters", "agreement", *CURATOR_KEYS), summary=("tiers",), versions=("voting",)
)


@dataclass(frozen=True, slots=True)
class WeighPlan:
    """Settings for weighing again."""

    settings: StoreSettings
    romaniser: Romaniser
    folders: Sequence[Hypotheses] = ()
    references: bool = False  # texts that came with the recordings vote, too
    spool_dir: Path | None = None  # for archives being composed; None: the system's


@dataclass(frozen=True, slots=True)
class Weighed:
    """An archive with the tiers of its clips. `stored`: what was written; None where all was so already."""

    video_id: str
    results: tuple[ClipResult, ...] = field(repr=False)
    stored: ObjectInfo | None


Ask = Callable[[ResultArchive, Sequence[ClipResult]], Awaitable[Mapping[str, Voter]]]
"""Asks somebody for clips of an archive; voters by segment file."""


def weigh_results(
    results: Sequence[ClipResult],
    video_id: str,
    plan: WeighPlan,
    asked: Mapping[str, Voter] | None = None,
    people: Mapping[str, Sequence[Voter]] | None = None,
) -> list[ClipResult]:
    """The results with voters and tier; those in which nothing changes are the very same objects. Those `asked` join,
    by segment file, and `people` who have read the clip before, by the digest of its audio.

    Raises:
        UsageError: a clip's file in one of the folders is no text.
    """
    others, readers = asked or {}, people or {}
    heard = [
        replace(
            result,
            voters=_voters(
                _join(result, readers.get(result.clip.audio_digest, ())),
                video_id,
                plan,
                others.get(result.segment_file),
            ),
        )
        for result in results
    ]
    weighed = [
        replace(result, consensus=consensus)
        for result, consensus in zip(heard, weigh(list(map(ballot_of, heard)), plan.romaniser), strict=True)
    ]
    return [old if new == old else new for old, new in zip(results, weighed, strict=True)]


def _join(result: ClipResult, people: Sequence[Voter]) -> ClipResult:
    """The result with those who are not among its voters."""
    known = {voter.digest for voter in result.voters}
    missing = tuple(voter for voter in people if voter.digest not in known)
    return replace(result, voters=(*result.voters, *missing)) if missing else result


def _voters(result: ClipResult, video_id: str, plan: WeighPlan, asked: Voter | None) -> tuple[Voter, ...]:
    """Those of before, whose places the folders' and the one who was asked take, and the new ones."""
    if result.answer is None:
        return result.voters
    stem = result.clip.name.stem
    digest = result.clip.audio_digest
    fresh = {folder.digest: folder.voter(video_id, stem, digest) for folder in plan.folders}
    if asked is not None:
        fresh[asked.digest] = asked
    kept = [voter for voter in result.voters if voter.digest not in fresh]
    return (*kept, *(voter for voter in fresh.values() if voter is not None))


async def weigh_archive(
    archive: ResultArchive,
    before: ObjectInfo,
    plan: WeighPlan,
    ask: Ask | None = None,
    people: Mapping[str, Sequence[Voter]] | None = None,
) -> Weighed:
    """Weigh an archive's clips; where something changes, a new archive takes its place in a single step.

    Whoever is to be asked is asked first; `people` are those who have read its clips before, by audio digest.

    Raises:
        ArchiveError: it is damaged, or holds what no run has written and a rewriting would lose.
        StorageError: it was replaced since `before`, and the newer one stays; or the store refuses.
    """
    store = Store.open(archive.root, plan.settings)
    with Spool(plan.spool_dir or Path(tempfile.gettempdir())) as spool:
        old = read_contents(store, archive.key, spool)
        video_id = block_of(old.metadata).video_id
        former = [document.result for document in old.documents]
        if plan.references:
            theirs = open_references(old.metadata, video_id, former)
            plan = replace(plan, folders=(*plan.folders, theirs))
        asked = await ask(archive, former) if ask else {}
        results = weigh_results(former, video_id, plan, asked, people)
        stored = None
        if any(new is not was for new, was in zip(results, former, strict=True)):
            tar = compose_again(old, results, spool, _CHANGES)
            stored = await store.replace_stream(before, tar.chunks(), tar.size)
    return Weighed(video_id, tuple(results), stored)
