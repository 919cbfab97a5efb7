"""Rows that people look into: flags, single clips, errors. Pages by key, newest first."""

from __future__ import annotations

from collections import Counter
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
from lipika.db.payload import clean_text
from lipika.db.queries import load

_QUERIES = load("review")


@dataclass(frozen=True, slots=True)
class FlagFilter:
    """A choice of flags; None: any."""

    resolved: bool = False
    language: str | None = None
    flag_type: str | None = None
    severity: str | None = None
    video_id: str | None = None


@dataclass(frozen=True, slots=True)
class FlagKey:
    """The place of a flag in the order of the lists."""

    created_at: datetime
    video_id: str
    segment_file: str
    flag_type: str
    start_ms: int


@dataclass(frozen=True, slots=True)
class FlagRow:
    """One flag and a glance at its clip. Discards are of members of the input, which have no clip."""

    video_id: str
    segment_file: str
    flag_type: str
    start_ms: int
    end_ms: int | None
    severity: str
    details: str
    language: str
    created_at: datetime
    resolved: bool
    resolved_at: datetime | None
    resolved_by: str | None
    note: str | None
    detected_language: str | None
    quality_score: float | None
    transcription: str | None  # its first 300 characters


@dataclass(frozen=True, slots=True)
class FlagCount:
    """Flags of one language and type."""

    language: str
    flag_type: str
    severity: str
    open: int
    resolved: int


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


@dataclass(frozen=True, slots=True)
class ErrorFilter:
    """A choice of errors; None: any."""

    worker_id: str | None = None
    video_id: str | None = None
    exception_type: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One exception or alert of a worker."""

    id: int
    occurred_at: datetime
    worker_id: str
    video_id: str | None
    exception_type: str
    message: str


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """The same with its traceback, which is empty for alerts."""

    id: int
    occurred_at: datetime
    worker_id: str
    video_id: str | None
    exception_type: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class ErrorType:
    """Errors of one type in the last hours."""

    exception_type: str
    errors: int
    last_at: datetime


_ANY_FLAG, _ANY_ERROR = FlagFilter(), ErrorFilter()


def count_left_out(counts: Sequence[FlagCount]) -> dict[str, int]:
    """Audio that went no further, by reason, the most frequent first: flags `discard:<reason>`, resolved or not."""
    found: Counter[str] = Counter()
    for row in counts:
        kind, _, reason = row.flag_type.partition(":")
        if kind == "discard":
            found[reason] += row.open + row.resolved
    return dict(found.most_common())


class ReviewQueries:
    """Flags, clips and errors, for lists and single looks; and the verbs `resolve` and `reopen`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ---- flags

    async def flags(
        self, wanted: FlagFilter = _ANY_FLAG, *, limit: int = 50, after: FlagRow | FlagKey | None = None
    ) -> list[FlagRow]:
        """One page, newest first; `after` is the last flag of the page before."""
        params = {
            "language": wanted.language,
            "flag_type": wanted.flag_type,
            "severity": wanted.severity,
            "video_id": wanted.video_id,
            "limit": limit,
            "at": after.created_at if after else None,
            "after_video": after.video_id if after else None,
            "after_segment": after.segment_file if after else None,
            "after_type": after.flag_type if after else None,
            "after_ms": after.start_ms if after else None,
        }
        name = "resolved_flags" if wanted.resolved else "open_flags"
        return await self._database.rows(_QUERIES[name], params, FlagRow)

    async def flag_counts(self) -> list[FlagCount]:
        """Open and resolved flags by language and type, most open ones first."""
        return await self._database.rows(_QUERIES["flag_counts"], {}, FlagCount)

    async def resolve(
        self,
        video_id: str,
        segment_file: str,
        *,
        by: str,
        note: str = "",
        flag_type: str | None = None,
        start_ms: int | None = None,
    ) -> int:
        """Close a flag, or all open flags of a clip; returns how many."""
        params = _flag_key(video_id, segment_file, flag_type, start_ms)
        return await self._database.execute(
            _QUERIES["resolve"], {**params, "by": clean_text(by), "note": clean_text(note)}
        )

    async def reopen(
        self, video_id: str, segment_file: str, *, flag_type: str | None = None, start_ms: int | None = None
    ) -> int:
        """Open a flag, or all flags of a clip, again; returns how many. Notes stay."""
        params = _flag_key(video_id, segment_file, flag_type, start_ms)
        return await self._database.execute(_QUERIES["reopen"], params)

    # ---- clips

    async def clip(self, video_id: str, segment_file: str) -> ClipDetail | None:
        found = await self._database.rows(
            _QUERIES["clip"], {"video_id": video_id, "segment_file": segment_file}, ClipDetail
        )
        return found[0] if found else None

    async def clip_flags(self, video_id: str, segment_file: str) -> list[FlagRow]:
        """All flags of one clip, open ones first."""
        params = {"video_id": video_id, "segment_file": segment_file}
        return await self._database.rows(_QUERIES["clip_flags"], params, FlagRow)

    async def clips(self, video_id: str, *, limit: int = 100, after: str = "") -> list[ClipRow]:
        """One page of a video's clips by file name."""
        params = {"video_id": video_id, "limit": limit, "after": after}
        return await self._database.rows(_QUERIES["clips"], params, ClipRow)

    # ---- errors

    async def errors(
        self, wanted: ErrorFilter = _ANY_ERROR, *, limit: int = 50, before: int | None = None
    ) -> list[ErrorRow]:
        """One page, newest first; `before` is the last id of the page before."""
        params = {
            "limit": limit,
            "before": before,
            "worker_id": wanted.worker_id,
            "video_id": wanted.video_id,
            "exception_type": wanted.exception_type,
        }
        return await self._database.rows(_QUERIES["errors"], params, ErrorRow)

    async def error(self, error_id: int) -> ErrorDetail | None:
        found = await self._database.rows(_QUERIES["error"], {"id": error_id}, ErrorDetail)
        return found[0] if found else None

    async def error_types(self, hours: int = 24) -> list[ErrorType]:
        """Errors of the last hours by type, the commonest first."""
        return await self._database.rows(_QUERIES["error_types"], {"hours": hours}, ErrorType)


def _flag_key(
    video_id: str, segment_file: str, flag_type: str | None, start_ms: int | None
) -> dict[str, object]:
    return {"video_id": video_id, "segment_file": segment_file, "flag_type": flag_type, "start_ms": start_ms}
