"""Counts of the queue's videos by status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lipika.db.connection import Database
from lipika.db.queries import load

_QUERIES = load("queue_counts")


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """Videos by status; `pending` can be claimed, `held` cannot."""

    pending: int
    held: int
    claimed: int
    processing: int
    done: int
    failed: int

    @property
    def total(self) -> int:
        return self.pending + self.held + self.claimed + self.processing + self.done + self.failed


async def count_videos(database: Database, only: Sequence[str] | None = None) -> QueueCounts:
    """Of all videos, or of these."""
    if only is None:
        return await database.row(_QUERIES["counts_of_all"], {}, QueueCounts)
    return await database.row(_QUERIES["counts"], {"only": list(only)}, QueueCounts)
