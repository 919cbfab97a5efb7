"""Read-only questions, shared by the command line, the dashboard and the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lipika.db.connection import Database
from lipika.db.queries import load
from lipika.db.workers import FRESH_SECONDS

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


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker. `state` is live, silent (online, but no heartbeat), offline or error."""

    worker_id: str
    state: str
    provider: str
    current_video_id: str | None
    segments_remaining: int | None
    active_rpm: int
    active_tpm: int
    requests_in_flight: int
    limited_by: str | None
    total_segments_sent: int
    total_segments_completed: int
    total_segments_failed: int
    total_segments_429: int
    spend_usd: float
    last_error: str | None
    silent_s: float  # since the last sign of life


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One exception or alert of a worker."""

    occurred_at: datetime
    worker_id: str
    video_id: str | None
    exception_type: str
    message: str


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

    async def workers(self) -> list[WorkerRow]:
        """Who is online, and who was in the last hour."""
        return await self._database.rows(_QUERIES["workers"], {"fresh_seconds": FRESH_SECONDS}, WorkerRow)

    async def errors(self, limit: int = 10) -> list[ErrorRow]:
        """The last exceptions and alerts of the fleet, newest first."""
        return await self._database.rows(_QUERIES["errors"], {"limit": limit}, ErrorRow)
