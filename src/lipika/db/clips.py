"""Clips that people look into: one with all that is known of it, or a page of a video's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lipika.db.columns import (
    AnswerColumns,
    ClipColumns,
    CutColumns,
    FailureColumns,
    JudgementColumns,
    ProvenanceColumns,
)
from lipika.db.connection import Database
from lipika.db.queries import load

_QUERIES = load("clips")


@dataclass(frozen=True, slots=True)
class ClipRow:
    """A clip in a list. `text`: the first 300 characters of its transcript, or why it failed."""

    segment_file: str
    status: str
    original_start_ms: int
    duration_ms: int
    detected_language: str | None
    quality_score: float | None
    asr_eligible: bool
    tts_clean_eligible: bool
    tts_expressive_eligible: bool
    findings: int
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipDetail(ClipColumns, CutColumns, AnswerColumns, JudgementColumns, FailureColumns, ProvenanceColumns):
    """All that is known of one clip."""

    video_id: str
    speaker_id: str
    lang_mismatch_flag: bool | None
    num_unk: int | None
    num_inaudible: int | None
    num_event_tags: int | None
    text_length_per_sec: float | None
    overlap_suspected: bool | None
    score_parts: Mapping[str, float] | None
    alignment_score: float | None
    lane_reasons: Mapping[str, Sequence[str]] | None
    cache_hit: bool
    created_at: datetime
    video_status: str | None  # None: the video is in the queue no more
    source_key: str | None
    output_key: str | None
    tier: str | None  # None: not weighed against anybody
    consensus: Mapping[str, object] | None  # distance, and between whom, of the two who disagree most
    voters: Sequence[Mapping[str, str]]  # others who have said what they hear: name, kind, text
    heard: str | None  # by a second recogniser


class ClipQueries:
    """Single looks and lists."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def one(self, video_id: str, segment_file: str) -> ClipDetail | None:
        found = await self._database.rows(
            _QUERIES["clip"], {"video_id": video_id, "segment_file": segment_file}, ClipDetail
        )
        return found[0] if found else None

    async def page(self, video_id: str, *, limit: int = 100, after: str = "") -> list[ClipRow]:
        """One page of a video's clips by file name."""
        params = {"video_id": video_id, "limit": limit, "after": after}
        return await self._database.rows(_QUERIES["clips"], params, ClipRow)
