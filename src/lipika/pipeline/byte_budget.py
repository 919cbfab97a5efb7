"""A budget in bytes: how much polished audio may be in memory at once, over all videos of a worker."""

from __future__ import annotations

import asyncio
from collections import deque


class ByteBudget:
    """First come, first served. An item larger than the whole budget is let in alone rather than never."""

    def __init__(self, limit: int):
        self.limit = limit
        self._used = 0
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        return self._used

    async def acquire(self, size: int) -> None:
        """Wait until `size` bytes fit."""
        if not self._waiters and self._fits(size):
            self._take(size)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(size)  # it was let in at the very moment it gave up
            raise

    def release(self, size: int) -> None:
        """Give `size` bytes back and let in who fits now."""
        self._used -= size
        while self._waiters and (self._waiters[0][1].done() or self._fits(self._waiters[0][0])):
            waiting, turn = self._waiters.popleft()
            if not turn.done():
                self._take(waiting)
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return self._used == 0 or self._used + size <= self.limit

    def _take(self, size: int) -> None:
        self._used += size
