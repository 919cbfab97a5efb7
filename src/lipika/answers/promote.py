"""Answers that are kept aside made the results again: rows, flags, sums and result archives. Nothing is asked.

A video is done from start to end: its archive first, its rows after it, all of them in one transaction. What stopped
half way is found again by its rows, and its archive is then as it shall be.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lipika.alignment.voters import apply_alignment
from lipika.answers.pairing import best_of, is_asked_in, language_of_row
from lipika.answers.ways import WayOfAnswers
from lipika.archive.curator import CURATOR_KEYS
from lipika.archive.results import ResultArchive, archive_on_record, sha256_of
from lipika.archive.rewrite import ChangedKeys, Contents, compose_again, read_contents
from lipika.archive.spool import Spool
from lipika.db.connection import Database
from lipika.db.paid import PaidAnswers
from lipika.db.result_rows import StoredAnswer, read_alignment
from lipika.db.stored import Stored
from lipika.db.ways import Promotion, SeenClip, Ways
from lipika.errors import ArchiveError, ObjectMissing, StorageError
from lipika.llm import transcript
from lipika.models import (
    Answer,
    AudioFacts,
    Clip,
    ClipResult,
    ClipStatus,
    Finding,
    Judged,
    SegmentName,
    TextSource,
    Verdict,
    is_made_up,
)
from lipika.pipeline.question import NOT_ASKED
from lipika.processes import group_items, spread
from lipika.rework.stored_rows import segments_of
from lipika.storage import ObjectInfo, Store, StoreSettings
from lipika.validation import Bands
from lipika.validation.again import JudgedAnswer, judge_again
from lipika.validation.compare import ComparedVerdict

_VIDEOS_PER_UNIT = 20
_DIGESTS = 500
_ATTEMPTS = 3  # where rows are written while they are read
_SUMMARY = (
    *("clips", "audio_ms", "reused", "not_asked", "usage", "cost_usd", "quality_score", "lanes", "statuses"),
    *("detected_languages", "findings", "failures", "clip_flags", "agreements", "tiers"),
)
_CHANGES = ChangedKeys(
    document=(
        *("status", "transcription", "tagged", "text_source", "detected_language", "speaker"),
        *("quality_score", "score_parts", "alignment_score", "alignment", "agreement", "lanes", "findings"),
        *("checks", "trim", "provenance", "usage", "cost_usd", "reused", "failure"),
        *CURATOR_KEYS,
    ),
    summary=_SUMMARY,
    versions=("models", "prompt", "schema", "validator", "aligner", "voting"),
    endings=True,
)


@dataclass(frozen=True, slots=True)
class PromotePlan:
    """Settings of a promotion. `dry_run` changes nothing; `rows_only` leaves archives as they are.

    `only` these segment files, and `better_only` where the answer is better than the one that it would replace, both
    judged by the same rules.
    """

    way: WayOfAnswers
    bands: Bands
    settings: StoreSettings
    language: str | None = None  # a code
    dry_run: bool = False
    rows_only: bool = False
    spool_dir: Path | None = None  # for archives being composed; None: the system's
    database_url: str = field(default="", repr=False)
    output_url: str = ""  # where result archives are whose keys in the queue are no URLs
    only: frozenset[str] | None = None
    better_only: bool = False


COUNTS = (
    *("videos", "clips", "already", "persons", "other_hint", "made_up", "without_audio", "not_better"),
    "unaligned",
)


@dataclass(slots=True)
class PromoteReport:
    """Counts over videos. Reports of parts add up to that of the whole."""

    videos: int = 0  # with clips that were promoted
    clips: int = 0  # promoted
    already: int = 0  # clips whose result was asked for in this way
    persons: int = 0  # clips whose text a person has written: left alone
    other_hint: int = (
        0  # clips whose kept answer was asked for under another hint, and heard in another language
    )
    made_up: int = 0  # clips whose kept answer is a simulator's, and whose result is none
    without_audio: int = 0  # clips of which neither row nor archive says how they sound
    not_better: int = 0  # clips whose result is as good, or better
    unaligned: int = 0  # clips whose alignment was of the text that was replaced
    usd: float = 0.0  # that the promoted answers cost when they were asked for
    archives: list[str] = field(default_factory=list)  # rewritten; with `dry_run` or `rows_only` out of date
    left_alone: list[tuple[str, str]] = field(default_factory=list)  # video, and why

    def add(self, other: PromoteReport) -> None:
        for name in (*COUNTS, "usd"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.archives += other.archives
        self.left_alone += other.left_alone


def promote(
    plan: PromotePlan, database: Database, jobs: int, videos: Sequence[str] = ()
) -> AsyncGenerator[PromoteReport, None]:
    """Reports of some videos each, as they come; of `videos`, else of all that have such answers.

    Raises:
        DatabaseUnavailable, StorageUnavailable: what has been done stays done.
    """
    return spread(_promote_unit, _units(plan, database, videos), jobs)


async def _units(
    plan: PromotePlan, database: Database, videos: Sequence[str]
) -> AsyncIterator[tuple[PromotePlan, list[str]]]:
    async for group in group_items(_find_videos(plan, database, videos), _VIDEOS_PER_UNIT):
        yield plan, group


async def _find_videos(plan: PromotePlan, database: Database, videos: Sequence[str]) -> AsyncIterator[str]:
    """Videos that may have clips of kept answers, each once: by the index on the audio, where there is one."""
    if videos:
        for video_id in dict.fromkeys(videos):
            yield video_id
        return
    if not await PaidAnswers(database).is_indexed():
        async for video in Stored(database).videos(""):
            yield video.video_id
        return
    known: set[str] = set()
    ways = Ways(database)
    async for digests in ways.audios(plan.way.name):
        for video_id in sorted(set(await ways.videos(digests)) - known):
            known.add(video_id)
            yield video_id


def _promote_unit(unit: tuple[PromotePlan, list[str]]) -> PromoteReport:
    return asyncio.run(_promote_videos(*unit))


async def _promote_videos(plan: PromotePlan, video_ids: Sequence[str]) -> PromoteReport:
    total = PromoteReport()
    async with Database(plan.database_url, max_size=1) as database:
        for video_id in video_ids:
            try:
                total.add(await promote_video(plan, database, video_id))
            except (ArchiveError, StorageError, ValueError) as error:
                total.add(PromoteReport(left_alone=[(video_id, str(error))]))
    return total


# ----------------------------------------------------------------------------- one video


async def promote_video(plan: PromotePlan, database: Database, video_id: str) -> PromoteReport:
    """One video, in this process.

    Raises:
        ArchiveError, StorageError: its archive is damaged or cannot be written; nothing was changed.
    """
    for _attempt in range(_ATTEMPTS):
        report, outcome = await _try_video(plan, database, video_id)
        if outcome in (None, Promotion.WRITTEN):
            return report
        if outcome is not Promotion.CHANGED:
            break
    return PromoteReport(left_alone=[(video_id, "somebody else was writing it: call this again later")])


async def _try_video(
    plan: PromotePlan, database: Database, video_id: str
) -> tuple[PromoteReport, Promotion | None]:
    """The report, and the outcome of writing the rows; None: there was nothing to write."""
    ways, stored = Ways(database), Stored(database)
    record = await stored.record(video_id)
    if record is None or record.busy:
        why = "it is not in the queue" if record is None else "a worker holds it: call this again later"
        return PromoteReport(left_alone=[(video_id, why)]), None
    rows = await ways.rows(video_id)
    report, chosen = _choose(plan, rows, await _read_kept(plan, database, rows))
    if not chosen:
        return report, None
    key = await stored.output_key(video_id)  # None: it is not done, and has no archive
    names = segments_of((row.name for row in rows), await stored.list_discarded(video_id))
    with Spool(plan.spool_dir or Path(tempfile.gettempdir())) as spool:
        archive = None if key is None or plan.rows_only else await _open_archive(plan, key, spool)
        facts = archive.facts() if archive else {}
        results = _new_results(plan, video_id, rows, chosen, names, facts, report)
        if results and key is not None:
            report.archives.append(archive.archive.url if archive else key)
        if plan.dry_run or not results:
            return report, None
        output = await archive.rewrite(results, plan) if archive else None
    written = {result.segment_file for result in results}
    seen = [row for row in rows if row.segment_file in written]
    return report, await ways.promote(video_id, results, seen, output)


async def _read_kept(
    plan: PromotePlan, database: Database, rows: Sequence[SeenClip]
) -> dict[str, list[StoredAnswer]]:
    """Kept answers of the way by the digest of their audio."""
    digests = sorted({row.audio_digest for row in rows if not is_asked_in(row, plan.way.settings)})
    found: dict[str, list[StoredAnswer]] = {}
    for start in range(0, len(digests), _DIGESTS):
        page = digests[start : start + _DIGESTS]
        for one in await PaidAnswers(database).list_kept(page, plan.way.name):
            found.setdefault(one.audio_digest, []).append(one)
    return found


def _choose(
    plan: PromotePlan, rows: Sequence[SeenClip], kept: Mapping[str, Sequence[StoredAnswer]]
) -> tuple[PromoteReport, dict[str, StoredAnswer]]:
    """The answers to promote by segment file; what is left alone is counted."""
    report, chosen = PromoteReport(), dict[str, StoredAnswer]()
    for row in rows:
        if plan.language not in (None, language_of_row(row)) or (
            plan.only is not None and row.segment_file not in plan.only
        ):
            continue
        if is_asked_in(row, plan.way.settings) and row.transcription is not None:
            report.already += 1
            continue
        there = kept.get(row.audio_digest)
        if not there:
            continue
        answer = best_of(there, row.language_hint)
        if row.text_source != TextSource.MODEL:
            report.persons += 1
        elif answer is None:
            report.other_hint += 1
        elif (
            is_made_up(answer.provenance.model_version) and row.attempts and not is_made_up(row.model_version)
        ):
            report.made_up += 1
        else:
            chosen[row.segment_file] = answer
    return report, chosen


def _new_results(
    plan: PromotePlan,
    video_id: str,
    rows: Sequence[SeenClip],
    chosen: Mapping[str, StoredAnswer],
    names: Iterable[SegmentName],
    facts: Mapping[str, AudioFacts],
    report: PromoteReport,
) -> list[ClipResult]:
    """Results as a worker would write them; judged with the whole video's names, among which overlap is found."""
    clips: list[tuple[SeenClip, Clip]] = []
    for row in rows:
        known = row.facts() or facts.get(row.segment_file)
        if row.segment_file in chosen and known is not None:
            clips.append((row, _asked_clip(row.clip(known))))
    names = list(names)
    held = [_to_judge(row.language_hint, clip, chosen[row.segment_file].answer) for row, clip in clips]
    judged = list(zip(clips, held, judge_again(held, names, plan.bands), strict=True))
    if plan.better_only:
        kept = [
            one for one, better in zip(judged, _are_better(judged, names, plan.bands), strict=True) if better
        ]
        report.not_better, judged = len(judged) - len(kept), kept
    results = [
        _result(video_id, row, one, verdict, chosen[row.segment_file]) for (row, _), one, verdict in judged
    ]
    clips = [one for one, _, _ in judged]
    report.without_audio = len(chosen) - len(results) - report.not_better
    report.videos, report.clips = int(bool(results)), len(results)
    report.usd = sum(result.cost_usd for result in results)
    report.unaligned = sum(
        row.alignment is not None and result.alignment is None
        for (row, _), result in zip(clips, results, strict=True)
    )
    return results


def _result(
    video_id: str, row: SeenClip, judged: JudgedAnswer, verdict: Verdict, former: StoredAnswer
) -> ClipResult:
    result = ClipResult(
        video_id=video_id,
        clip=judged.clip,
        language_hint=row.language_hint,
        status=ClipStatus.NO_SPEECH if judged.answer.no_speech else ClipStatus.TRANSCRIBED,
        answer=judged.answer,
        verdict=verdict,
        failure=None,
        usage=former.usage,
        cost_usd=former.cost_usd,
        provenance=former.provenance,
        reused=True,
    )
    same_text = row.transcription == judged.answer.transcription
    heard = read_alignment(row.alignment) if same_text and row.alignment is not None else None
    return apply_alignment(result, heard)


def _asked_clip(clip: Clip) -> Clip:
    """The clip as one that somebody was asked for."""
    return replace(clip, flags=tuple(flag for flag in clip.flags if flag != NOT_ASKED))


def _to_judge(
    hint: str, clip: Clip, answer: Answer | None, findings: tuple[Finding, ...] = ()
) -> JudgedAnswer:
    if answer is None:
        raise ValueError(f"{clip.name.stem}: an answer without a text is kept aside")
    nothing = ComparedVerdict(lanes=(), codes=frozenset(), quality_score=0.0)
    return JudgedAnswer(transcript.tidy_answer(answer), clip, hint, findings, nothing)


def _are_better(
    judged: Sequence[tuple[tuple[SeenClip, Clip], JudgedAnswer, Verdict]],
    names: Sequence[SegmentName],
    bands: Bands,
) -> list[bool]:
    """True for each that is better than what its clip has, both judged as when they came: nobody has listened to the
    new one yet. A clip without an answer takes any.
    """
    answered = [(row, clip) for (row, clip), _, _ in judged if row.answer is not None]
    former = [
        _to_judge(row.language_hint, _asked_clip(clip), row.answer, _find_agreed(row))
        for row, clip in answered
    ]
    ranks = {
        row.segment_file: Judged(one.answer, verdict).rank
        for (row, _), one, verdict in zip(answered, former, judge_again(former, names, bands), strict=True)
    }
    return [
        row.segment_file not in ranks or ranks[row.segment_file] < Judged(one.answer, verdict).rank
        for (row, _), one, verdict in judged
    ]


def _find_agreed(row: SeenClip) -> tuple[Finding, ...]:
    """That the model had said the same twice: found when it came, and part of how it is judged."""
    return tuple(one for one in row.old_findings() if one.code == "repetition_agreed")


# ----------------------------------------------------------------------------- its archive


@dataclass(frozen=True, slots=True)
class _OpenArchive:
    """A result archive as it was read, with its audio in a spool."""

    archive: ResultArchive
    store: Store
    before: ObjectInfo
    contents: Contents
    spool: Spool

    def facts(self) -> dict[str, AudioFacts]:
        """The facts of the clips' audio by segment file."""
        return {
            document.result.segment_file: document.result.clip.audio for document in self.contents.documents
        }

    async def rewrite(self, results: Sequence[ClipResult], plan: PromotePlan) -> tuple[int, str]:
        """Put these results in the places of others; returns size and SHA-256, also where they are there already.

        Raises:
            StorageError: it was replaced meanwhile, and the newer one stays; or the store refuses.
        """
        fresh = {result.segment_file: result for result in results}
        former = [document.result for document in self.contents.documents]
        now = [_amend_result(old, fresh.get(old.segment_file)) for old in former]
        if all(new is old for new, old in zip(now, former, strict=True)):
            return await asyncio.to_thread(sha256_of, self.archive, plan.settings)
        tar = await asyncio.to_thread(compose_again, self.contents, now, self.spool, _CHANGES)
        stored = await self.store.replace_stream(self.before, tar.chunks(), tar.size)
        return stored.size, stored.sha256


async def _open_archive(plan: PromotePlan, key: str, spool: Spool) -> _OpenArchive:
    archive = archive_on_record(key, plan.output_url)
    store = Store.open(archive.root, plan.settings)
    try:
        before = await store.head(archive.key)
    except ObjectMissing as error:
        raise StorageError(f"{error}; --rows-only promotes its rows without it") from None
    contents = await asyncio.to_thread(read_contents, store, archive.key, None if plan.dry_run else spool)
    return _OpenArchive(archive, store, before, contents, spool)


def _amend_result(old: ClipResult, new: ClipResult | None) -> ClipResult:
    """The result as the archive shall have it; the same object where it has it already, or has other audio."""
    if new is None or new.clip.audio_digest != old.clip.audio_digest:
        return old
    same_text = old.answer is not None and new.answer == old.answer
    changed = replace(
        new,
        clip=_asked_clip(old.clip),
        voters=old.voters,
        alignment=None,
        consensus=None,
    )
    changed = apply_alignment(changed, old.alignment) if same_text and new.alignment is not None else changed
    return old if changed == old else changed
