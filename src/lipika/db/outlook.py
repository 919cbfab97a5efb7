"""Read-only questions behind a forecast: what is left, what was measured, how fast it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lipika.db.connection import Database
from lipika.db.queries import load
from lipika.db.workers import FRESH_SECONDS
from lipika.forecast.workload import Counted, Remaining

_QUERIES = load("outlook")
_FINISHED, _BATCHES = 2000, 5000


@dataclass(frozen=True, slots=True)
class BatchSums:
    """One window of one worker."""

    clips: int
    requests: int
    prompt_tokens: int
    output_tokens: int
    cost_usd: float
    avg_latency_ms: float
    started_at: datetime
    went_up: int = 0  # clips for which the next model of a cascade was asked


@dataclass(frozen=True, slots=True)
class Pace:
    """Answers of the last minutes, and how long these were."""

    clips: int
    seconds: float

    @property
    def clips_per_s(self) -> float:
        return self.clips / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Remaining:
    language: str
    videos: int
    videos_with_bytes: int
    source_bytes: int
    clips_ended: int


@dataclass(frozen=True, slots=True)
class _Counted:
    language: str
    clips: int
    source_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Workers:
    workers: int


@dataclass(frozen=True, slots=True)
class _Clock:
    second_of_day: float


class OutlookQueries:
    """Aggregates; nothing here reads result rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remaining(self) -> list[Remaining]:
        """The rest of the queue, by language; an unknown one is empty."""
        rows = await self._database.rows(_QUERIES["remaining"], {}, _Remaining)
        return [
            Remaining(row.language, row.videos, row.videos_with_bytes, row.source_bytes, row.clips_ended)
            for row in rows
        ]

    async def list_finished(self) -> list[Counted]:
        """Some finished videos with their clips."""
        rows = await self._database.rows(_QUERIES["finished"], {"limit": _FINISHED}, _Counted)
        return [Counted(row.language, row.clips, row.source_bytes) for row in rows]

    async def batches(self, window_s: float, providers: Sequence[str]) -> list[BatchSums]:
        """Batch windows of the last `window_s` with one of these providers, newest first."""
        params = {"window_s": window_s, "limit": _BATCHES, "providers": list(providers)}
        return await self._database.rows(_QUERIES["batches"], params, BatchSums)

    async def pace(self) -> Pace:
        return await self._database.row(_QUERIES["pace"], {}, Pace)

    async def workers(self) -> int:
        """Live ones."""
        row = await self._database.row(_QUERIES["workers"], {"fresh_seconds": FRESH_SECONDS}, _Workers)
        return row.workers

    async def second_of_day(self) -> float:
        """Seconds since midnight UTC by the database's clock, which is the ledger's."""
        return (await self._database.row(_QUERIES["clock"], {}, _Clock)).second_of_day
