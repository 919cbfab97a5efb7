"""Exceptions and alerts of the fleet: which, how often, and one with its traceback."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from lipika.dashboard.board import board_of, problem, render, text_of, whole
from lipika.dashboard.cursor import pack, unpack
from lipika.db.errors import ErrorFilter

ROWS = 50
HOURS = 24
_MAX_ID = 1 << 62


async def page(request: Request) -> Response:
    """Newest first; `id` shows one."""
    of_errors = board_of(request).stats.errors
    if "id" in request.query_params:
        return await _one(request, request.query_params["id"])
    wanted = ErrorFilter(
        worker_id=text_of(request, "worker"),
        video_id=text_of(request, "video"),
        exception_type=text_of(request, "type"),
    )
    held = unpack(request.query_params.get("after", ""), (int,))
    before = whole(held[0], 0, _MAX_ID) if held else None
    rows = await of_errors.page(wanted, limit=ROWS, before=before)
    context = {
        "title": "Errors",
        "now": datetime.now(UTC),
        "wanted": wanted,
        "types": await of_errors.types(HOURS),
        "hours": HOURS,
        "rows": rows,
        "next": pack((rows[-1].id,)) if len(rows) == ROWS else "",
    }
    return render(request, "errors.html", context)


async def _one(request: Request, error_id: str) -> Response:
    row = await board_of(request).stats.errors.one(whole(error_id, 0, _MAX_ID))
    if row is None:
        return problem(request, 404, "There is no such error", "It may have been cleared away.")
    return render(request, "error.html", {"title": row.exception_type, "row": row})
