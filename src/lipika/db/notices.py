"""Events that a person is told of once, by whichever worker or board sees them first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lipika.db.connection import Database
from lipika.db.queries import load

_QUERIES = load("notices")


@dataclass(frozen=True, slots=True)
class Notice:
    """An event, and what a person should know of it. `event` is its key: `cap:total:aistudio::500`."""

    event: str
    message: str


@dataclass(frozen=True, slots=True)
class _Ended:
    ended: str | None


class Notices:
    """The table `notices`, as one teller of many."""

    def __init__(self, database: Database, worker_id: str) -> None:
        self._database = database
        self._worker_id = worker_id

    async def claim(self) -> list[Notice]:
        """Events that nobody has told: they are this teller's for two minutes."""
        params = {"worker_id": self._worker_id, "key": self._database.key}
        return await self._database.rows(_QUERIES["claim"], params, Notice)

    async def end(self, notices: Sequence[Notice], *, told: bool) -> None:
        """Remember that they were told; or give them back, to be tried again."""
        params = {
            "worker_id": self._worker_id,
            "key": self._database.key,
            "events": [notice.event for notice in notices],
            "told": told,
        }
        await self._database.rows(_QUERIES["end_claimed"], params, _Ended)
