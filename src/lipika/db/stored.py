"""Result rows as they are stored, read whole and given new verdicts; for `calibrate` and `revalidate`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from lipika.db.columns import AnswerColumns, ClipColumns, CutColumns, JudgementColumns
from lipika.db.connection import Database
from lipika.db.payload import to_json
from lipika.db.queries import load
from lipika.db.result_rows import FlagColumns, JudgedRow, distinct_flags, flag_row
from lipika.models import AudioFacts, Clip, ClipResult, Finding, SegmentName, Severity, Verdict

_QUERIES = load("stored")
_PAGE_VIDEOS = 500
_PAGE_ROWS = 1_000  # of a read and of a write: about 2 MB


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A video with results. `stale`: some of them were judged by another validator version."""

    video_id: str
    stale: bool


@dataclass(frozen=True, kw_only=True)
class AnsweredClip(ClipColumns, CutColumns, AnswerColumns):
    """The part of a row that an answer is judged by."""

    __slots__ = ()

    @property
    def name(self) -> SegmentName:
        return SegmentName.parse(self.segment_file.removesuffix(".flac"))

    def clip(self, facts: AudioFacts) -> Clip:
        """The clip, as far as a row knows it: rate and depth of the packed audio are 0."""
        return Clip(
            name=self.name,
            segment=SegmentName.parse(self.source_segment.rpartition(".")[0]),
            original_start_ms=self.original_start_ms,
            original_end_ms=self.original_end_ms,
            trimmed_start_ms=self.trimmed_start_ms,
            trimmed_end_ms=self.trimmed_end_ms,
            leading_pad_ms=self.leading_pad_ms,
            trailing_pad_ms=self.trailing_pad_ms,
            duration_ms=self.duration_ms,
            sample_rate_hz=0,
            bit_depth=0,
            boundary_score=_round_to_stored(self.boundary_score),
            flags=tuple(self.flags),
            audio=facts,
            audio_digest=self.audio_digest,
            trimmer_version=self.trimmer_version,
        )

    def facts(self) -> AudioFacts | None:
        return None if self.audio_facts is None else _FACTS.validate_python(self.audio_facts)

    def known_facts(self) -> AudioFacts:
        """The facts of its audio; of a row of an early release such as say nothing against it."""
        return self.facts() or AudioFacts(self.duration_ms, -20.0, -3.0, 40.0, 0.0, 8_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredClip(AnsweredClip, JudgementColumns):
    """One row, by column. `seen` changes with every write to it."""

    seen: str

    def old_findings(self) -> tuple[Finding, ...]:
        return _FINDINGS.validate_python(self.findings)

    @property
    def old_score(self) -> float:
        return _round_to_stored(self.quality_score)


_FACTS = TypeAdapter(AudioFacts)
_FINDINGS = TypeAdapter(tuple[Finding, ...])


def _round_to_stored(value: float | None) -> float:
    """Round a number that was stored as `real`, which keeps six digits and shows more."""
    return round(value or 0.0, 6)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Rows that got their new verdict; `busy`: none, because a worker holds the video."""

    written: int
    busy: bool


@dataclass(frozen=True, slots=True)
class Record:
    """A video's row in the queue. `busy`: a worker holds it, and may be writing its archive."""

    busy: bool
    output_key: str
    output_bytes: int | None


class Stored:
    """`transcription_results` as a holding rather than a stream."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def videos(self, version: str) -> AsyncIterator[StoredVideo]:
        """All videos with results, by id. `version` is the validator's that is current."""
        after = ""
        while True:
            params = {"after": after, "version": version, "limit": _PAGE_VIDEOS}
            page = await self._database.rows(_QUERIES["videos"], params, StoredVideo)
            for video in page:
                yield video
            if len(page) < _PAGE_VIDEOS:
                return
            after = page[-1].video_id

    async def clips(self, video_id: str) -> list[StoredClip]:
        """All rows of a video, by file name: some 3 KB a clip."""
        rows: list[StoredClip] = []
        while True:
            after = rows[-1].segment_file if rows else ""
            params = {"video_id": video_id, "after": after, "limit": _PAGE_ROWS}
            page = await self._database.rows(_QUERIES["clips"], params, StoredClip)
            rows += page
            if len(page) < _PAGE_ROWS:
                return rows

    async def list_discarded(self, video_id: str) -> list[str]:
        """File names of members that went no further, as a whole or in part."""
        found = await self._database.rows(_QUERIES["discarded"], {"video_id": video_id}, _Member)
        return [member.segment_file for member in found]

    async def output_key(self, video_id: str) -> str | None:
        """The key of the result archive of a video that is done."""
        found = await self._database.rows(_QUERIES["output_key"], {"video_id": video_id}, _Output)
        return found[0].output_key if found else None

    async def rewrite(
        self,
        video_id: str,
        judged: Sequence[tuple[StoredClip, Verdict]],
        heard: Mapping[str, ClipResult] | None = None,
    ) -> Rewritten:
        """Store new verdicts with their flags. Rows that were written anew since they were read stay as they are.

        Alignments of the results `heard`, by segment file, go with them; rows without one keep what they have.
        """
        heard = heard or {}
        written = 0
        for start in range(0, len(judged), _PAGE_ROWS):
            page = judged[start : start + _PAGE_ROWS]
            params = {
                "video_id": video_id,
                "rows": to_json(
                    [_verdict_row(row, verdict, heard.get(row.segment_file)) for row, verdict in page]
                ),
                "flags": to_json(
                    distinct_flags(flag for row, verdict in page for flag in _flags(row, verdict))
                ),
            }
            outcome = await self._database.row(_QUERIES["rewrite"], params, Rewritten)
            if outcome.busy:
                return Rewritten(written, busy=True)
            written += outcome.written
        return Rewritten(written, busy=False)

    async def count_unaligned(self, video_id: str, version: str) -> int:
        """The number of rows of a video with an answer and without an alignment of this version."""
        params = {"video_id": video_id, "version": version}
        return (await self._database.row(_QUERIES["unaligned"], params, _Count)).rows

    async def record(self, video_id: str) -> Record | None:
        """The queue's record of a video's result archive; None for a video that is not in the queue."""
        found = await self._database.rows(_QUERIES["record"], {"video_id": video_id}, Record)
        return found[0] if found else None

    async def record_rewrite(self, video_id: str, *, old_size: int, size: int, sha256: str) -> None:
        """Put the new size and digest of a video's result archive on record."""
        params = {"video_id": video_id, "old_size": old_size, "size": size, "sha256": sha256}
        await self._database.execute(_QUERIES["archive_rewritten"], params)


@dataclass(frozen=True, slots=True)
class _Member:
    segment_file: str


@dataclass(frozen=True, slots=True)
class _Count:
    rows: int


@dataclass(frozen=True, slots=True)
class _Output:
    output_key: str


@dataclass(slots=True, kw_only=True)
class _VerdictRow(JudgedRow):
    """The columns that `rewrite` reads, by name."""

    seen: str


def _verdict_row(row: StoredClip, verdict: Verdict, heard: ClipResult | None) -> _VerdictRow:
    judged = _VerdictRow(segment_file=row.segment_file, seen=row.seen)
    judged.put_verdict(verdict)
    if heard is not None and heard.alignment is not None:
        judged.put_alignment(heard.alignment, heard.consensus)
    return judged


def _flags(row: StoredClip, verdict: Verdict) -> list[FlagColumns]:
    """Failures need a person's attention, as when results are written first."""
    span = (row.segment_file, row.original_start_ms, row.original_end_ms)
    return [
        flag_row(span, found.code, found.severity, found.evidence)
        for found in verdict.findings
        if found.severity is Severity.FAIL
    ]
