"""Results that are there already, held against a second recogniser: archives and rows aligned after the fact.

An archive is read in parts of some clips, which may go to listeners anywhere; what they heard comes back in small
pieces, and is written when all of an archive's parts have come. What carries the current version is passed over, so
that a run that was stopped goes on where it was, and a second one changes nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lipika.alignment.listener import Task
from lipika.alignment.voters import apply_alignment
from lipika.archive.curator import CURATOR_KEYS
from lipika.archive.metadata import Metadata
from lipika.archive.results import Block, ResultArchive, foreign_archive_error, parse_result, read_files
from lipika.archive.rewrite import ChangedKeys, compose_again, read_contents
from lipika.archive.spool import Spool
from lipika.models import Alignment, ClipResult
from lipika.storage import ObjectInfo, Store, StoreSettings

PART_CLIPS = 64  # 10 MB of audio at 16 kHz, more of studio audio
_CHANGES = ChangedKeys(
    document=(
        *("quality_score", "score_parts", "lanes", "findings", "alignment_score", "alignment", "agreement"),
        *CURATOR_KEYS,
    ),
    summary=("quality_score", "lanes", "findings", "agreements", "tiers"),
    versions=("aligner", "voting"),
)


@dataclass(frozen=True, slots=True)
class RealignPlan:
    """Settings for aligning again. `version` is the listener's."""

    settings: StoreSettings
    version: str
    spool_dir: Path | None = None  # for archives being composed; None: the system's


@dataclass(frozen=True, slots=True)
class ArchivePart:
    """Some clips of an archive, with the names of their documents. `parts` is how many the archive has."""

    archive: ResultArchive
    number: int
    parts: int
    stems: tuple[str, ...]
    tasks: tuple[Task, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PartAlignments:
    """The alignments of a part."""

    archive: ResultArchive
    number: int
    parts: int
    alignments: Mapping[str, Alignment]  # by the document's stem
    problem: str = ""  # why the archive has to stay as it is


@dataclass(frozen=True, slots=True)
class Realigned:
    """An archive that got its alignments. `results` are all of its clips, as they are now."""

    video_id: str
    size: int
    sha256: str
    results: tuple[ClipResult, ...] = field(repr=False)
    aligned: int


def is_current(block: Block, version: str) -> bool:
    """True if every clip of an archive that has an answer carries this version."""
    return block.aligner_versions.get(version, 0) == block.answered


def read_parts(archive: ResultArchive, plan: RealignPlan, clips: int = PART_CLIPS) -> Iterator[ArchivePart]:
    """The clips of an archive that have an answer and no current alignment, a part at a time. Blocks.

    The audio of one part is held at a time. An archive without any such clip has one empty part.

    Raises:
        ArchiveError: it is damaged.
    """
    wanted = _select_results(archive, plan)
    stems = sorted(wanted)
    groups = [tuple(stems[start : start + clips]) for start in range(0, len(stems), clips)] or [()]
    place = {stem: number for number, group in enumerate(groups) for stem in group}
    gathered: list[dict[str, Task]] = [{} for _ in groups]
    for stem, audio in read_files(archive, plan.settings, "segments"):
        if stem not in place:
            continue
        number, result = place[stem], wanted[stem]
        if result.answer is not None:
            gathered[number][stem] = Task(audio, result.answer, result.clip, result.language_hint)
        if len(gathered[number]) == len(groups[number]):
            full, gathered[number] = gathered[number], {}
            yield ArchivePart(archive, number, len(groups), tuple(full), tuple(full.values()))
    if groups == [()]:
        yield ArchivePart(archive, 0, 1, (), ())
    elif any(gathered):
        raise foreign_archive_error(f"the audio of {next(iter(next(filter(None, gathered))))} is missing")


def _select_results(archive: ResultArchive, plan: RealignPlan) -> dict[str, ClipResult]:
    return {
        stem: result
        for stem, document in read_files(archive, plan.settings, "transcriptions")
        if (result := parse_result(document)).answer is not None
        and (result.alignment is None or result.alignment.version != plan.version)
    }


# ----------------------------------------------------------------------------- writing back


async def write_back(
    archive: ResultArchive, before: ObjectInfo, alignments: Mapping[str, Alignment], plan: RealignPlan
) -> Realigned:
    """Put what was heard into an archive: a new one takes its place in a single step.

    Audio and whatever else stands in the documents stay byte for byte. `before` is what the archive was before it was
    read for listening.

    Raises:
        ArchiveError: it is damaged, or holds what no run has written and a rewriting would lose.
        StorageError: it was replaced since, and the newer one stays; or the store refuses.
    """
    store = Store.open(archive.root, plan.settings)
    with Spool(plan.spool_dir or Path(tempfile.gettempdir())) as spool:
        old = read_contents(store, archive.key, spool)
        results = [apply_alignment(one.result, alignments.get(one.stem)) for one in old.documents]
        tar = compose_again(old, results, spool, _CHANGES)
        stored = await store.replace_stream(before, tar.chunks(), tar.size)
    video_id = str(Metadata(old.metadata).fields()["transcription"]["video_id"])
    aligned = sum(one.stem in alignments for one in old.documents)
    return Realigned(video_id, stored.size, stored.sha256, tuple(results), aligned)
