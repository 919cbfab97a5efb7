"""Result archives that say what people have said since they were written: only those that lack something.

The rows are the truth: a clip's document takes over what its row says, and keeps the model's own answer beside it. An
archive is written whole and replaces the old one in a single step; the queue learns of it, and with it that it is
current, in one statement. Whoever is killed in between finds the archive as it should be, and puts it on record.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lipika.archive.curator import CURATOR_KEYS
from lipika.archive.results import archive_on_record, block_of, sha256_of
from lipika.archive.rewrite import ChangedKeys, compose_again, read_contents
from lipika.archive.spool import Spool
from lipika.db.connection import Database
from lipika.db.edits import DecidedClip, EditTable, StaleArchive
from lipika.errors import ArchiveError, StorageError, VideoError
from lipika.models import ClipResult, ClipStatus, TextSource
from lipika.storage import Store, StoreSettings

_CHANGES = ChangedKeys(
    document=(
        *("status", "transcription", "tagged", "text_source", "detected_language", "quality_score"),
        *(
            "score_parts",
            "alignment_score",
            "alignment",
            "agreement",
            "lanes",
            "findings",
            "checks",
            "failure",
        ),
        *("model_answer", *CURATOR_KEYS),
    ),
    summary=(
        *("statuses", "detected_languages", "quality_score", "lanes", "findings", "failures", "agreements"),
        "tiers",
    ),
    versions=("validator", "aligner", "voting"),
)


@dataclass(frozen=True, slots=True)
class RepackPlan:
    """Settings for repacking. `dry_run` changes nothing; `videos` None: all of them."""

    settings: StoreSettings
    output_url: str = ""
    spool_dir: Path | None = None
    dry_run: bool = False
    videos: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Repacked:
    """An archive that was looked at. `clips`: documents that change; none where it said so already."""

    video_id: str
    url: str
    clips: tuple[str, ...]
    missing: tuple[str, ...] = ()  # edited clips that the archive does not hold, or with other audio
    size: int = 0
    sha256: str = ""
    problem: str = ""  # why it is as it was


@dataclass(slots=True)
class RepackReport:
    """The outcome for all archives that lacked something."""

    dry_run: bool
    archives: list[Repacked] = field(default_factory=list)

    @property
    def rewritten(self) -> list[Repacked]:
        return [one for one in self.archives if one.clips and not one.problem]

    @property
    def problems(self) -> list[Repacked]:
        return [one for one in self.archives if one.problem]

    def document(self) -> dict[str, object]:
        """For `--json`."""
        current = len(self.archives) - len(self.rewritten) - len(self.problems)
        return {
            "dry_run": self.dry_run,
            "rewritten": len(self.rewritten),
            "clips": sum(len(one.clips) for one in self.rewritten),
            "current": current,
            "problems": len(self.problems),
            "archives": self.archives,
        }


async def repack(database: Database, plan: RepackPlan) -> AsyncIterator[Repacked]:
    """Archives that lack what people have said, one after the other; each is done when it comes."""
    table = EditTable(database)
    async for stale in table.stale_archives(plan.videos):
        yield await _repack_one(table, stale, plan)


async def _repack_one(table: EditTable, stale: StaleArchive, plan: RepackPlan) -> Repacked:
    archive = archive_on_record(stale.output_key, plan.output_url)
    decided = await table.decided_clips(stale.video_id)
    try:
        store = Store.open(archive.root, plan.settings)
        before = await store.head(archive.key)
        with Spool(plan.spool_dir or Path(tempfile.gettempdir())) as spool:
            old = await asyncio.to_thread(read_contents, store, archive.key, None if plan.dry_run else spool)
            video_id = block_of(old.metadata).video_id
            if video_id != stale.video_id:
                raise ArchiveError("other_video", f"it is the archive of video {video_id}")
            former = [document.result for document in old.documents]
            results, missing = _take_over(former, {row.segment_file: row for row in decided})
            changed = tuple(
                new.segment_file for new, was in zip(results, former, strict=True) if new is not was
            )
            if plan.dry_run:
                return Repacked(stale.video_id, archive.url, changed, missing)
            if changed:
                tar = compose_again(old, results, spool, _CHANGES)
                stored = await store.replace_stream(before, tar.chunks(), tar.size)
                size, sha256 = stored.size, stored.sha256
            else:
                size, sha256 = await asyncio.to_thread(sha256_of, archive, plan.settings)
        await table.note_packed(stale, size, sha256, decided)
    except (VideoError, StorageError) as error:
        return Repacked(stale.video_id, archive.url, (), problem=str(error))
    return Repacked(stale.video_id, archive.url, changed, missing, size, sha256)


def _take_over(
    former: Sequence[ClipResult], decided: Mapping[str, DecidedClip]
) -> tuple[list[ClipResult], tuple[str, ...]]:
    """The results as rows have them, those in which nothing changes as they are; and rows without a document."""
    results = []
    found = set()
    for result in former:
        row = decided.get(result.segment_file)
        if row is None or row.audio_digest != result.clip.audio_digest:
            results.append(result)
            continue
        found.add(row.segment_file)
        results.append(take_over(result, row))
    return results, tuple(sorted(set(decided) - found))


def take_over(result: ClipResult, row: DecidedClip) -> ClipResult:
    """A result of an archive as the row of its clip has it; the same object where that says the same.

    What a clip cost and who was asked stay the archive's. Once nobody's word stands, its own answer comes back.
    """
    source = TextSource(row.text_source)
    if row.edit_id is None and result.text_source is not TextSource.PERSON:
        return result
    answer = row.answer
    if answer is not None and result.answer is not None:
        heard = result.answer  # the speaker is as the archive's answer has it
        answer = replace(
            heard,
            transcription=answer.transcription,
            tagged=answer.tagged,
            detected_language=answer.detected_language,
        )
    same_text = (
        result.answer is not None
        and answer is not None
        and (answer.transcription == result.answer.transcription)
    )
    own = result.model_answer if result.text_source is TextSource.PERSON else result.answer
    verdict = row.verdict()
    new = replace(
        result,
        status=ClipStatus(row.status),
        answer=answer,
        verdict=verdict,
        failure=row.failure,
        text_source=source,
        model_answer=own if source is TextSource.PERSON else None,
        consensus=row.read_consensus(),
        alignment=result.alignment if same_text else None,
    )
    return result if _says_the_same(new, result) else new


def _says_the_same(new: ClipResult, old: ClipResult) -> bool:
    """Numbers of rows have fewer digits than those of documents."""
    if new.verdict is None or old.verdict is None:
        return new == old
    parts = {name: round(share, 4) for name, share in old.verdict.score_parts.items()}
    verdict = replace(
        old.verdict,
        score_parts=parts,
        quality_score=round(old.verdict.quality_score, 4),
        text_length_per_sec=round(old.verdict.text_length_per_sec, 4),
    )
    rounded = replace(
        new.verdict, score_parts={name: round(share, 4) for name, share in new.verdict.score_parts.items()}
    )
    return replace(new, verdict=rounded) == replace(old, verdict=verdict)
