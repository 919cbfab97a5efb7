"""Rows of Postgres and results of archives as they are judged again: read, never changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lipika.archive.results import archive_on_record, read_archive
from lipika.db.stored import Stored, StoredClip
from lipika.errors import ArchiveError, StorageError
from lipika.models import Answer, AudioFacts, ClipResult, SegmentName, TextSource
from lipika.storage import StoreSettings
from lipika.validation.again import JudgedAnswer
from lipika.validation.catalogue import LaneName
from lipika.validation.compare import ComparedVerdict


def segments_of(clips: Iterable[SegmentName], files: Iterable[str]) -> set[SegmentName]:
    """Names of a video's segments: `clips` and the file names `files`, as far as they are names of segments."""
    names = set(clips)
    for file in files:
        try:
            names.add(SegmentName.parse(file.rpartition(".")[0]))
        except ValueError:
            continue
    return names


def judged_answer_of(result: ClipResult) -> JudgedAnswer | None:
    """None for a clip that failed: nothing of it can be judged."""
    if result.answer is None or result.verdict is None:
        return None
    return JudgedAnswer(
        result.answer,
        result.clip,
        result.language_hint,
        result.verdict.findings,
        ComparedVerdict.from_verdict(result.verdict),
        by_person=result.text_source is TextSource.PERSON,
    )


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A row whose answer can be judged again."""

    row: StoredClip
    held: JudgedAnswer


@dataclass(frozen=True, slots=True)
class VideoRows:
    """A video's rows. `silent` clips cannot be judged: what their audio is like is neither in row nor archive."""

    held: tuple[HeldRow, ...]
    segments: frozenset[SegmentName]
    silent: int


async def read_rows(stored: Stored, video_id: str, settings: StoreSettings, output_url: str) -> VideoRows:
    """A video's rows with the facts of their audio: from the row, else from the video's result archive.

    `output_url` is where keys of archives belong that are no URLs.
    """
    rows = await stored.clips(video_id)
    answered = [(row, answer) for row in rows if (answer := row.answer) is not None]
    facts = {row.segment_file: row.facts() for row, _answer in answered}
    if None in facts.values():
        facts |= await _facts_from_archive(await stored.output_key(video_id), rows, settings, output_url)
    held = tuple(
        HeldRow(row, _judged_row(row, answer, known))
        for row, answer in answered
        if (known := facts[row.segment_file]) is not None
    )
    files = [*(row.source_segment for row in rows), *await stored.list_discarded(video_id)]
    segments = frozenset(segments_of((row.name for row in rows), files))
    return VideoRows(held, segments, silent=len(answered) - len(held))


async def _facts_from_archive(
    output_key: str | None, rows: Sequence[StoredClip], settings: StoreSettings, output_url: str
) -> dict[str, AudioFacts | None]:
    """By segment file; nothing where the archive is gone, damaged, or of other audio."""
    if output_key is None:
        return {}
    digests = {row.segment_file: row.audio_digest for row in rows}
    try:
        results = await asyncio.to_thread(read_archive, archive_on_record(output_key, output_url), settings)
    except (ArchiveError, StorageError):
        return {}
    return {
        result.segment_file: result.clip.audio
        for result in results
        if digests.get(result.segment_file) == result.clip.audio_digest
    }


def _judged_row(row: StoredClip, answer: Answer, facts: AudioFacts) -> JudgedAnswer:
    findings = row.old_findings()
    open_lanes = zip(
        LaneName, (row.asr_eligible, row.tts_clean_eligible, row.tts_expressive_eligible), strict=True
    )
    before = ComparedVerdict(
        lanes=tuple(name for name, eligible in open_lanes if eligible),
        codes=frozenset(found.code for found in findings),
        quality_score=row.old_score,
    )
    by_person = row.text_source == TextSource.PERSON
    return JudgedAnswer(answer, row.clip(facts), row.language_hint, findings, before, by_person=by_person)
