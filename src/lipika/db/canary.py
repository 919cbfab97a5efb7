"""Canaries on record: apart from the queue and its results, so that nothing else counts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lipika.db.connection import Database
from lipika.db.payload import to_json
from lipika.db.queries import load
from lipika.models import JsonObject

_QUERIES = load("canary")
_ROWS = 2000  # per statement: 2 to 4 MB


@dataclass(frozen=True, slots=True)
class QueuedArchive:
    """An archive that clips may be taken from."""

    video_id: str
    source_key: str
    language: str | None
    source_bytes: int | None
    language_from: str  # a HintFrom


@dataclass(frozen=True, slots=True)
class CanaryRow:
    """One canary as a person sees it in a list. `verdict` is None for one that has not ended."""

    run_id: str
    started_at: datetime
    finished_at: datetime | None
    verdict: str | None
    usd: float
    output_url: str | None
    rows: int


@dataclass(frozen=True, slots=True)
class CanarySample:
    """Measurements of the last finished canary, for a forecast."""

    run_id: str
    started_at: datetime
    sample: JsonObject
    simulated: bool


@dataclass(frozen=True, slots=True)
class CanaryArms:
    """The arms of a canary as its report has them: measures, and what the recommendation found."""

    run_id: str
    arms: Sequence[JsonObject] | None
    standings: Sequence[JsonObject] | None


class Canaries:
    """`canary_runs` and `canary_clips`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def candidates(self, seed: int, each: int) -> list[QueuedArchive]:
        """Up to `each` archives of every language in the queue, in an order of chance."""
        return await self._database.rows(_QUERIES["candidates"], {"seed": seed, "each": each}, QueuedArchive)

    async def start(self, run_id: str, config: object, output_url: str | None) -> None:
        params = {"run_id": run_id, "config": to_json(config), "output_url": output_url}
        await self._database.execute(_QUERIES["start"], params)

    async def add_clips(self, run_id: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Rows with the columns of `canary_clips`; those that are there already stay."""
        for start in range(0, len(rows), _ROWS):
            params = {"run_id": run_id, "rows": to_json(rows[start : start + _ROWS])}
            await self._database.execute(_QUERIES["add_clips"], params)

    async def finish(self, run_id: str, verdict: str, usd: float, report: object) -> None:
        params = {"run_id": run_id, "verdict": verdict, "usd": usd, "report": to_json(report)}
        await self._database.execute(_QUERIES["finish"], params)

    async def move(self, run_id: str, output_url: str) -> None:
        """The files lie elsewhere than was meant."""
        await self._database.execute(_QUERIES["move"], {"run_id": run_id, "output_url": output_url})

    async def list_runs(self) -> list[CanaryRow]:
        """The newest first."""
        return await self._database.rows(_QUERIES["list"], {}, CanaryRow)

    async def latest(self) -> CanarySample | None:
        """A simulated one only if there is no other."""
        found = await self._database.rows(_QUERIES["latest"], {}, CanarySample)
        return found[0] if found else None

    async def reports(self) -> list[CanaryArms]:
        """The last ten that came to their end, the newest first; simulated ones only if there is no other."""
        return await self._database.rows(_QUERIES["reports"], {}, CanaryArms)

    async def remove(self, run_ids: Sequence[str]) -> int:
        """Take runs and their rows out; returns how many there were."""
        return await self._database.execute(_QUERIES["remove"], {"run_ids": list(run_ids)})
