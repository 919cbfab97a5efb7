"""People's words on clips: the history, what stands, and which result archives do not say so yet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pydantic import TypeAdapter

from lipika.db.columns import AnswerColumns, ClipColumns, FailureColumns, JudgementColumns
from lipika.db.connection import Database
from lipika.db.payload import clean_text, to_json
from lipika.db.queries import load
from lipika.db.result_rows import JudgedRow
from lipika.db.stored import AnsweredClip
from lipika.models import LANES, Answer, ClipStatus, Consensus, Finding, Lane, TextSource, Verdict

_QUERIES = load("edits")
_PAGE_ROWS = 500
_FINDINGS = TypeAdapter(tuple[Finding, ...])
_CONSENSUS = TypeAdapter(Consensus)
Past = TypeVar("Past")


@dataclass(frozen=True, slots=True, kw_only=True)
class EditableClip(AnsweredClip, JudgementColumns):
    """A clip as a person has it before them. `version` is what an edit of it is made against."""

    video_id: str
    speaker_id: str
    failure_kind: str | None
    failure_message: str | None
    version: str
    edit_id: int | None  # in force
    edited_by: str | None
    changed_at: datetime | None
    model_transcription: str | None
    model_tagged: str | None

    def old_findings(self) -> tuple[Finding, ...]:
        return _FINDINGS.validate_python(self.findings)


@dataclass(frozen=True, slots=True)
class EditEntry:
    """One row of the history, as it is written. `request` makes a repeat of the call harmless."""

    kind: str
    edited_by: str
    request: str
    of_edit: int | None = None
    transcription: str | None = None
    tagged: str | None = None
    language: str | None = None
    reason: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class EditOutcome:
    """The outcome of an edit. Not `saved`: somebody else has changed the clip, and `version` is that of now."""

    saved: bool
    edit_id: int
    version: str
    changed_by: str | None
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class TwinClip:
    """Another clip of the same audio."""

    video_id: str
    segment_file: str
    transcription: str | None
    text_source: str


@dataclass(frozen=True, slots=True)
class ClipFilter:
    """A choice of clips for people to look at; None: any."""

    video_id: str | None = None
    language: str | None = None
    finding: str | None = None
    below: float | None = None  # quality score
    edited: bool | None = None


@dataclass(frozen=True, slots=True)
class StaleArchive:
    """A result archive that lacks what people have said since."""

    video_id: str
    output_key: str
    output_bytes: int | None
    output_digest: str | None
    clips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedClip(ClipColumns, AnswerColumns, JudgementColumns, FailureColumns):
    """The row of a clip that people have touched. `model` is what an undo brings back."""

    last_id: int
    edit_id: int | None
    model: Mapping[str, object]
    lang_mismatch_flag: bool | None
    num_unk: int | None
    num_inaudible: int | None
    num_event_tags: int | None
    text_length_per_sec: float | None
    overlap_suspected: bool | None
    score_parts: Mapping[str, float] | None
    lane_reasons: Mapping[str, Sequence[str]] | None
    consensus: Mapping[str, object] | None

    def read_consensus(self) -> Consensus | None:
        return None if self.consensus is None else _CONSENSUS.validate_python(self.consensus)

    def verdict(self) -> Verdict | None:
        """None where the clip failed."""
        if self.transcription is None or self.quality_score is None:
            return None
        reasons = self.lane_reasons or {}
        opened = (self.asr_eligible, self.tts_clean_eligible, self.tts_expressive_eligible)
        lanes = {
            name: Lane(eligible, tuple(reasons.get(name, ())))
            for name, eligible in zip(LANES, opened, strict=True)
        }
        return Verdict(
            findings=_FINDINGS.validate_python(self.findings),
            quality_score=round(self.quality_score, 4),
            score_parts=dict(self.score_parts or {}),
            **lanes,
            lang_mismatch=bool(self.lang_mismatch_flag),
            overlap_suspected=bool(self.overlap_suspected),
            num_unk=self.num_unk or 0,
            num_inaudible=self.num_inaudible or 0,
            num_event_tags=self.num_event_tags or 0,
            text_length_per_sec=round(self.text_length_per_sec or 0.0, 4),
            validator_version=self.validator_version or "",
        )

    def model_answer(self) -> Answer | None:
        """The model's own, where a person's word stands in its place."""
        if self.edit_id is None or self.model.get("transcription") is None:
            return None
        values = {name: str(self.model.get(name) or "") for name in _TEXTS}
        return Answer(
            **values,
            speaker_emotion=self.speaker_emotion or "",
            speaker_style=self.speaker_style or "",
            speaker_pace=self.speaker_pace or "",
            speaker_accent=self.speaker_accent or "",
        )


_TEXTS = ("transcription", "tagged", "detected_language")


@dataclass(slots=True, kw_only=True)
class _WordRow(JudgedRow):
    """The columns that an edit decides, by name."""

    status: str
    transcription: str | None = None
    tagged: str | None = None
    detected_language: str | None = None
    text_source: str = TextSource.PERSON
    failure_kind: str | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    tier: str | None = None
    consensus: Consensus | None = None


_NOT_DECIDED = ("segment_file", "alignment", "alignment_score")
_OF_FAILURE = ("failure_kind", "failure_code", "failure_message")


def word_columns(
    status: ClipStatus,
    answer: Answer | None,
    verdict: Verdict | None,
    consensus: Consensus | None,
    refusal: Finding | None = None,
) -> dict[str, object]:
    """The columns that an edit decides, as the database takes them. `refusal`: why a failed clip is unusable, too."""
    row = _WordRow(segment_file="", status=status, consensus=consensus)
    if answer is not None:
        row.transcription, row.tagged = answer.transcription, answer.tagged
        row.detected_language = answer.detected_language
    if verdict is not None:
        row.put_verdict(verdict)
    if refusal is not None:
        row.findings = (refusal,)
        row.lane_reasons = dict.fromkeys(LANES, (refusal.code,))
    if consensus is not None:
        row.tier = consensus.tier
    columns = {name: getattr(row, name) for name in row.__dataclass_fields__ if name not in _NOT_DECIDED}
    if status is ClipStatus.FAILED:  # why it failed stays
        columns = {name: value for name, value in columns.items() if name not in _OF_FAILURE}
    return columns


class EditTable:
    """`transcription_edits` and `edited_clips`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def clip(self, video_id: str, segment_file: str) -> EditableClip | None:
        """A clip as it stands; None where there is none of that name."""
        params = {"video_id": video_id, "segment_file": segment_file}
        found = await self._database.rows(_QUERIES["clip"], params, EditableClip)
        return found[0] if found else None

    async def history(self, video_id: str, segment_file: str, kind: type[Past]) -> list[Past]:
        """All that was said of a clip, in order, refused edits among them."""
        params = {"video_id": video_id, "segment_file": segment_file}
        return await self._database.rows(_QUERIES["of_clip"], params, kind)

    async def newest(
        self,
        row: type[Past],
        *,
        video_id: str | None = None,
        by: str | None = None,
        kind: str | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> list[Past]:
        """One page of what was said, newest first."""
        params = {"video_id": video_id, "by": by, "kind": kind, "limit": limit, "before": before}
        return await self._database.rows(_QUERIES["newest"], params, row)

    async def twins(self, video_id: str, segment_file: str, limit: int = 50) -> list[TwinClip]:
        """Other clips of the same audio, of whatever video: an edit does not spread to them by itself."""
        params = {"video_id": video_id, "segment_file": segment_file, "limit": limit}
        return await self._database.rows(_QUERIES["same_audio"], params, TwinClip)

    async def save(
        self,
        video_id: str,
        segment_file: str,
        expected: str | None,
        entry: EditEntry,
        word: Mapping[str, object] | None,
        in_force: int | None = None,
    ) -> EditOutcome | None:
        """Write one edit, in force or refused. `word` None: the model's text stands again. None: no such clip."""
        params = {
            "video_id": video_id,
            "segment_file": segment_file,
            "expected": None if expected is None else clean_text(expected),
            "entry": to_json(entry),
            "in_force": in_force,
            "word": None if word is None else to_json(word),
        }
        found = await self._database.rows(_QUERIES["save"], params, EditOutcome)
        return found[0] if found else None

    async def select(self, wanted: ClipFilter, limit: int) -> AsyncIterator[EditableClip]:
        """Clips by video and file name, in pages; at most `limit`."""
        after = ("", "")
        while limit > 0:
            params = {
                "after_video": after[0],
                "after_file": after[1],
                "video_id": wanted.video_id,
                "language": wanted.language,
                "finding": wanted.finding,
                "below": wanted.below,
                "edited": wanted.edited,
                "limit": min(limit, _PAGE_ROWS),
            }
            page = await self._database.rows(_QUERIES["selected"], params, EditableClip)
            for clip in page:
                yield clip
            limit -= len(page)
            if len(page) < _PAGE_ROWS:
                return
            after = (page[-1].video_id, page[-1].segment_file)

    async def stale_archives(self, videos: Sequence[str] | None = None) -> AsyncIterator[StaleArchive]:
        """Result archives that do not say what people have said, by video."""
        after = ""
        while True:
            params = {
                "after": after,
                "videos": None if videos is None else list(videos),
                "limit": _PAGE_ROWS,
            }
            page = await self._database.rows(_QUERIES["stale_archives"], params, StaleArchive)
            for archive in page:
                yield archive
            if len(page) < _PAGE_ROWS:
                return
            after = page[-1].video_id

    async def decided_clips(self, video_id: str) -> list[DecidedClip]:
        """Clips of a video that people have touched, as their rows are now."""
        return await self._database.rows(_QUERIES["of_video"], {"video_id": video_id}, DecidedClip)

    async def note_packed(
        self,
        archive: StaleArchive,
        size: int,
        sha256: str,
        clips: Sequence[DecidedClip],
    ) -> int:
        """Put the archive on record, and that it says what these clips' rows said; returns how many do."""
        params = {
            "video_id": archive.video_id,
            "old_digest": archive.output_digest,
            "size": size,
            "sha256": sha256,
            "clips": to_json([{"segment_file": one.segment_file, "last_id": one.last_id} for one in clips]),
        }
        return await self._database.execute(_QUERIES["packed"], params)
