"""Results on their way to the database: gathered, written in batches, kept while Postgres is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lipika.db.results import Results
from lipika.errors import LeaseLost, Unavailable
from lipika.log import get_logger
from lipika.models import BatchReport, ClaimedVideo, ClipResult

log = get_logger(__name__)

_WRITE_AT = 500
"""Rows that are worth a write of their own."""
_HOLD_AT = 5000
"""Rows at which whoever brings more must wait: some 20 MB."""


class ResultSink:
    """Buffers clip results and batch reports. A row is lost only with the process, and then its video is redone.

    `on_lost` is told of a video whose lease another worker holds; its rows are dropped.
    """

    def __init__(self, results: Results):
        self.on_lost: Callable[[ClaimedVideo], None] = lambda video: log.warning(
            "lease_lost", video=video.video_id
        )
        self._results = results
        self._rows: dict[str, tuple[ClaimedVideo, list[ClipResult]]] = {}
        self._batches: list[BatchReport] = []
        self._count = 0
        self._writing = asyncio.Lock()
        self._room = asyncio.Event()
        self._room.set()

    async def keep(self, video: ClaimedVideo, result: ClipResult) -> None:
        """Take one result; writes when enough have gathered, waits while far too many have."""
        self._rows.setdefault(video.video_id, (video, []))[1].append(result)
        self._count += 1
        if self._count >= _HOLD_AT:
            self._room.clear()
            await self._room.wait()
        elif self._count % _WRITE_AT == 0:
            await self.flush()

    def keep_batch(self, report: BatchReport) -> None:
        """Take one batch report, to be written with the next flush."""
        self._batches.append(report)

    async def flush(self) -> bool:
        """Write everything there is; False when Postgres is away and it must be tried again."""
        async with self._writing:
            try:
                for video_id in list(self._rows):
                    await self._write(video_id)
                while self._batches:
                    await self._results.write_batch(self._batches[0])
                    self._batches.pop(0)
            except Unavailable as error:
                log.warning("results_wait", rows=self._count, reason=str(error))
                return False
            return True

    async def flush_all(self, retry_s: float = 2.0) -> None:
        """Write everything there is, however long Postgres is away."""
        while True:
            if await self.flush():
                return
            await asyncio.sleep(retry_s)

    def drop(self, video_id: str) -> None:
        """Forget the rows of a video that is no longer ours."""
        _, rows = self._rows.pop(video_id, (None, []))
        self._taken_away(len(rows))

    async def _write(self, video_id: str) -> None:
        video, rows = self._rows[video_id]
        count = len(rows)
        try:
            # A clip whose verdict was amended is there twice: the later one counts.
            latest = {result.segment_file: result for result in rows[:count]}
            await self._results.write(video, list(latest.values()))
        except LeaseLost:
            self.drop(video_id)
            self.on_lost(video)
            return
        del rows[:count]
        if not rows:
            self._rows.pop(video_id, None)
        self._taken_away(count)

    def _taken_away(self, count: int) -> None:
        self._count -= count
        if self._count < _HOLD_AT:
            self._room.set()
