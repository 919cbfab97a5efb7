"""Rows of results as text, page by page, for an export: no Python object is made of a row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from lipika.db.connection import Database, translate_driver_errors
from lipika.db.queries import load

_QUERIES = load("candidates")
_PAGE_ROWS = 30_000  # some 25 MB of text


@dataclass(frozen=True, slots=True)
class _PageEnd:
    video_id: str
    videos: int


@dataclass(frozen=True, slots=True)
class CandidatePage:
    """CSV with a header; null is nothing, an empty text is `""`."""

    csv: bytes
    videos: int
    last: str


class Candidates:
    """`transcription_results` with what queue and voters know of each clip."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pages(self, rows: int = _PAGE_ROWS, *, after: str = "") -> AsyncIterator[CandidatePage]:
        """All rows, or those of videos behind `after`, by video and file name; about so many to a page.

        A page is of whole videos: the last one may go beyond.
        """
        while True:
            end = await self._database.row(_QUERIES["last_of_page"], {"after": after, "rows": rows}, _PageEnd)
            if not end.videos:
                return
            yield CandidatePage(await self._copy(after, end.video_id), end.videos, end.video_id)
            after = end.video_id

    async def page_end(self, rows: int = _PAGE_ROWS, *, after: str = "") -> str:
        """The last video of a page that begins behind `after`; empty: there are no more."""
        end = await self._database.row(_QUERIES["last_of_page"], {"after": after, "rows": rows}, _PageEnd)
        return end.video_id if end.videos else ""

    async def _copy(self, after: str, last: str) -> bytes:
        query, page = _QUERIES["candidates"], {"after": after, "last": last}
        with translate_driver_errors(query.name):
            async with (
                self._database.connection() as connection,
                connection.cursor() as cursor,
                cursor.copy(query.sql, page) as copy,
            ):
                return b"".join([bytes(piece) async for piece in copy])
