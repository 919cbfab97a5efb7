"""Exports made: their plan, how far they are, and whether they were read back whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from starlette.requests import Request
from starlette.responses import Response

from lipika.dashboard.board import board_of, problem, render, whole
from lipika.db.datasets import ExportRecord, TarsetRecord
from lipika.wording import most_first

ROWS = 100
_MAX_ID = 1 << 62


@dataclass(slots=True)
class LanguageRow:
    """One language of an export: seconds and clips of each split."""

    language: str
    clips: int = 0
    seconds: float = 0.0
    splits: dict[str, TarsetRecord] = field(default_factory=dict)

    @classmethod
    def from_tarsets(cls, tarsets: Sequence[TarsetRecord]) -> list[Self]:
        """Most hours first."""
        rows: dict[str, Self] = {}
        for tarset in tarsets:
            row = rows.setdefault(tarset.language, cls(tarset.language))
            row.clips += tarset.clips
            row.seconds += tarset.seconds
            row.splits[tarset.split] = tarset
        return sorted(rows.values(), key=lambda row: (-row.seconds, row.language))


async def page(request: Request) -> Response:
    """Newest first; `id` shows one."""
    if "id" in request.query_params:
        return await _one(request, request.query_params["id"])
    rows = await board_of(request).stats.datasets.list_exports(ROWS)
    return render(request, "datasets.html", {"title": "Datasets", "rows": rows})


async def _one(request: Request, export_id: str) -> Response:
    row = await board_of(request).stats.datasets.one(whole(export_id, 0, _MAX_ID))
    if row is None:
        return problem(request, 404, "There is no such dataset", "It may have been taken off the record.")
    context = {
        "title": row.dest,
        "row": row,
        "languages": LanguageRow.from_tarsets(row.tarsets),
        "splits": list_splits(row.tarsets),
        "dropped": most_first(row.counts.dropped),
        "unaccounted": count_unaccounted(row),
    }
    return render(request, "dataset.html", context)


def list_splits(tarsets: Sequence[TarsetRecord]) -> list[str]:
    """The splits, the one with most audio first."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for tarset in tarsets:
        seconds[tarset.split] += tarset.seconds
    return sorted(seconds, key=lambda split: (-seconds[split], split))


def count_unaccounted(row: ExportRecord) -> int:
    """Candidates that were neither exported nor dropped for a reason: 0, or something is wrong."""
    return row.counts.candidates - row.counts.exported - sum(row.counts.dropped.values())
