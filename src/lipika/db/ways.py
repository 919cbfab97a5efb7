"""The ways of asking that have answers; and answers that are kept aside, found by way and made results again."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from lipika.db.columns import JudgementColumns, ProvenanceColumns
from lipika.db.connection import Database
from lipika.db.payload import to_json
from lipika.db.queries import load
from lipika.db.result_rows import distinct_flags, result_flags, result_row
from lipika.db.stored import AnsweredClip
from lipika.models import ClipResult, Finding

_QUERIES = load("ways")
_FINDINGS = TypeAdapter(tuple[Finding, ...])
_PAGE = 1_000
_CLIPS_OF_AUDIO = 8


@dataclass(frozen=True, slots=True)
class WayCount:
    """Answers of one way in one place, language, provider and tier. `place`: result, or kept."""

    way: str
    place: str
    language: str
    provider: str
    service_tier: str
    made_up: bool
    model_id: str
    temperature: float | None
    thinking_level: str
    prompt_version: str
    schema_version: str
    clips: int
    cost_usd: float
    prompt_tokens: int
    audio_tokens: int
    output_tokens: int
    thought_tokens: int


@dataclass(frozen=True, kw_only=True)
class AskedRow(AnsweredClip, JudgementColumns, ProvenanceColumns):
    """A clip's row with its answer, verdict, and how it was asked."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRowOfVideo(AskedRow):
    """The same, of whatever video."""

    video_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenClip(AskedRow):
    """The same with what a second recogniser heard; `seen` changes with every write to it."""

    seen: str
    alignment: Mapping[str, object] | None

    def old_findings(self) -> tuple[Finding, ...]:
        return _FINDINGS.validate_python(self.findings)


class Promotion(enum.StrEnum):
    """The outcome of writing other answers as a video's results."""

    WRITTEN = "written"
    HELD = "held"  # a worker has it
    CHANGED = "changed"  # rows were written since they were read
    GONE = "gone"  # it is not in the queue


class Ways:
    """`way_counts`, and `transcription_answers` by their way."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def counts(self) -> list[WayCount]:
        """All ways of asking that have answers."""
        return await self._database.rows(_QUERIES["counts"], {}, WayCount)

    async def audios(self, way: str) -> AsyncIterator[list[str]]:
        """Pages of the audios whose answer in this way is kept aside, by digest: in an order of chance."""
        after = ""
        while True:
            params = {"way": way, "after": after, "limit": _PAGE}
            page = [row.audio_digest for row in await self._database.rows(_QUERIES["audios"], params, _Audio)]
            if page:
                yield page
            if len(page) < _PAGE:
                return
            after = page[-1]

    async def clips(self, digests: Sequence[str]) -> list[AskedRowOfVideo]:
        """Clips of these audios with an answer of a model, some of each audio."""
        params = {"digests": list(digests), "most": _CLIPS_OF_AUDIO}
        return await self._database.rows(_QUERIES["clips"], params, AskedRowOfVideo)

    async def videos(self, digests: Sequence[str]) -> list[str]:
        """Videos that have clips of these audios."""
        found = await self._database.rows(_QUERIES["videos"], {"digests": list(digests)}, _Video)
        return [row.video_id for row in found]

    async def rows(self, video_id: str) -> list[SeenClip]:
        """All rows of a video, by file name."""
        found: list[SeenClip] = []
        while True:
            after = found[-1].segment_file if found else ""
            params = {"video_id": video_id, "after": after, "limit": _PAGE}
            page = await self._database.rows(_QUERIES["rows"], params, SeenClip)
            found += page
            if len(page) < _PAGE:
                return found

    async def promote(
        self,
        video_id: str,
        results: Sequence[ClipResult],
        seen: Sequence[SeenClip],
        output: tuple[int, str] | None = None,
    ) -> Promotion:
        """Write other answers as results of a video, with flags, sums and counters: all of it or nothing.

        `seen` are their rows as they were read; `output` the size and SHA-256 of the archive that has them already.
        """
        params = {
            "video_id": video_id,
            "rows": to_json([result_row(result) for result in results]),
            "flags": to_json(distinct_flags(flag for result in results for flag in result_flags(result))),
            "seen": to_json([{"segment_file": row.segment_file, "seen": row.seen} for row in seen]),
            "output": to_json({"bytes": output[0], "digest": output[1]} if output else {}),
        }
        row = await self._database.row(_QUERIES["promote"], params, _Outcome)
        return Promotion(row.outcome)


@dataclass(frozen=True, slots=True)
class _Audio:
    audio_digest: str


@dataclass(frozen=True, slots=True)
class _Video:
    video_id: str


@dataclass(frozen=True, slots=True)
class _Outcome:
    outcome: str
