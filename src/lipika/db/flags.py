"""Flags of clips: pages by key, newest or serious ones first, counts, and the verbs `resolve` and `reopen`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lipika.db.connection import Database
from lipika.db.payload import clean_text
from lipika.db.queries import load

_WEIGHT = "(case severity when 'fail' then 2 when 'warn' then 1 else 0 end)"  # as the indexes have it
_QUERIES = load("flags", weight=_WEIGHT)
_WEIGHTS = {"fail": 2, "warn": 1, "info": 0}
DISCARD = "discard:"


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
    severity: str = ""  # where serious ones go first


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

    @property
    def is_discard(self) -> bool:
        """True if it tells why audio went no further."""
        return self.flag_type.startswith(DISCARD)


@dataclass(frozen=True, slots=True)
class FlagCount:
    """Flags of one language and type."""

    language: str
    flag_type: str
    severity: str
    open: int
    resolved: int

    @property
    def is_discard(self) -> bool:
        """True if it counts audio that went no further."""
        return self.flag_type.startswith(DISCARD)


_ANY_FLAG = FlagFilter()


def count_left_out(counts: Sequence[FlagCount]) -> dict[str, int]:
    """Audio that went no further, by reason, the most frequent first: flags `discard:<reason>`, resolved or not."""
    found: Counter[str] = Counter()
    for row in counts:
        if row.is_discard:
            found[row.flag_type.removeprefix(DISCARD)] += row.open + row.resolved
    return dict(found.most_common())


class FlagQueries:
    """Lists and counts of flags, and what a person decides about one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, wanted: FlagFilter = _ANY_FLAG, *, limit: int = 50, after: FlagRow | FlagKey | None = None
    ) -> list[FlagRow]:
        """One page, newest first; `after` is the last flag of the page before."""
        params = {**_page_of(wanted, limit, after), "flag_type": wanted.flag_type}
        name = "resolved_flags" if wanted.resolved else "open_flags"
        return await self._database.rows(_QUERIES[name], params, FlagRow)

    async def weighty(
        self, wanted: FlagFilter = _ANY_FLAG, *, limit: int = 50, after: FlagRow | FlagKey | None = None
    ) -> list[FlagRow]:
        """One page of open flags of any type, serious ones first, without what was left out."""
        params = _page_of(wanted, limit, after)
        params["after_weight"] = _WEIGHTS.get(after.severity) if after else None
        return await self._database.rows(_QUERIES["weighty_flags"], params, FlagRow)

    async def left_out(
        self, video_id: str, *, limit: int = 50, after: tuple[int, str, str] | None = None
    ) -> list[FlagRow]:
        """One page of what was left out of a video, resolved or not, in the order of its clock.

        `after` is the last one's start in ms, its file and its type.
        """
        start_ms, segment_file, flag_type = after or (None, None, None)
        params = {
            "video_id": video_id,
            "limit": limit,
            "after_ms": start_ms,
            "after_segment": segment_file,
            "after_type": flag_type,
        }
        return await self._database.rows(_QUERIES["left_out_of_video"], params, FlagRow)

    async def counts(self) -> list[FlagCount]:
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

    async def list_of_clip(self, video_id: str, segment_file: str) -> list[FlagRow]:
        """All flags of one clip, open ones first."""
        params = {"video_id": video_id, "segment_file": segment_file}
        return await self._database.rows(_QUERIES["clip_flags"], params, FlagRow)


def _page_of(wanted: FlagFilter, limit: int, after: FlagRow | FlagKey | None) -> dict[str, object]:
    return {
        "language": wanted.language,
        "severity": wanted.severity,
        "video_id": wanted.video_id,
        "limit": limit,
        "at": after.created_at if after else None,
        "after_video": after.video_id if after else None,
        "after_segment": after.segment_file if after else None,
        "after_type": after.flag_type if after else None,
        "after_ms": after.start_ms if after else None,
    }


def _flag_key(
    video_id: str, segment_file: str, flag_type: str | None, start_ms: int | None
) -> dict[str, object]:
    return {"video_id": video_id, "segment_file": segment_file, "flag_type": flag_type, "start_ms": start_ms}
