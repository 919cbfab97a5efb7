"""Exceptions and alerts of the workers: pages by key, newest first, and single ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lipika.db.connection import Database
from lipika.db.queries import load

_QUERIES = load("errors")


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


_ANY_ERROR = ErrorFilter()


class ErrorQueries:
    """Lists, counts and single looks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
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

    async def one(self, error_id: int) -> ErrorDetail | None:
        found = await self._database.rows(_QUERIES["error"], {"id": error_id}, ErrorDetail)
        return found[0] if found else None

    async def types(self, hours: int = 24) -> list[ErrorType]:
        """Errors of the last hours by type, the commonest first."""
        return await self._database.rows(_QUERIES["error_types"], {"hours": hours}, ErrorType)
