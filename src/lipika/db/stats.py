"""Read-only questions, shared by the command line, the dashboard and the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lipika.db.connection import Database
from lipika.db.queries import load

_QUERIES = load("stats")


@dataclass(frozen=True, slots=True)
class Totals:
    """What a set of videos came to. Segments are of the input, clips are what was asked and is packed."""

    videos: int
    videos_done: int
    videos_failed: int
    segments: int
    discarded: int  # whole segments
    parts_discarded: int
    clips: int
    transcribed: int
    no_speech: int
    failed: int
    requests: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class LanguageQuality:
    """One language's clips so far. Percentages and the mean score are None where nothing was scored."""

    language: str
    clips: int
    transcribed: int
    no_speech: int
    failed: int
    mean_quality: float | None
    percent_asr: float | None
    hours: float
    cost_usd: float


class Stats:
    """Aggregates only; nothing here reads more rows than it must."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def totals(self, video_ids: Sequence[str]) -> Totals:
        """The sums over these videos (thousands, not millions: it reads their result rows)."""
        return await self._database.row(_QUERIES["totals"], {"video_ids": list(video_ids)}, Totals)

    async def languages(self) -> list[LanguageQuality]:
        """Quality by language, from the rollup."""
        return await self._database.rows(_QUERIES["languages"], {}, LanguageQuality)
