"""Pages on the queue: its progress, videos by state, one video, and what a person may do with them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lipika.dashboard.board import (
    board_of,
    changed_url,
    local_path,
    problem,
    redirect_with_message,
    render,
    text_of,
    whole,
)
from lipika.dashboard.cursor import pack, unpack
from lipika.db.flags import count_left_out
from lipika.db.queue import Queue
from lipika.db.stats_queue import ActiveKey
from lipika.models import VideoStatus

ROWS = 50
CLIP_ROWS = 100
_MAX_PRIORITY = 1_000_000

_SAID_OF = {"requeue": "requeued", "hold": "held", "release": "released", "take-back": "released"}
_TABS = (
    *(("active", "At work"), ("failed", "Failed"), ("pending", "Waiting"), ("done", "Done")),
    ("empty", "Nothing left"),
)


@dataclass(frozen=True, slots=True)
class _List:
    """One page of videos; `next` is the parameter of the page after it, empty at the end."""

    rows: tuple[object, ...]
    next: str


async def page(request: Request) -> Response:
    """Progress by language, and one list of videos."""
    stats = board_of(request).stats
    show = request.query_params.get("show", "active")
    if show not in dict(_TABS):
        show = "active"
    reason = text_of(request, "reason")
    videos, languages, reasons, outlook, empty, flags = await asyncio.gather(
        _list_videos(request, show, reason),
        stats.queue.languages(),
        stats.queue.reasons(),
        stats.queue.outlook(),
        stats.queue.nothing_left(),
        stats.flags.counts(),
    )
    context = {
        "title": "Queue",
        "languages": languages,
        "total": {
            name: sum(getattr(row, name) for row in languages)
            for name in (
                "videos",
                "pending",
                "held",
                "claimed",
                "processing",
                "done",
                "failed",
                "clips",
            )
        },
        "outlook": outlook,
        "empty_videos": empty,
        "left_out": count_left_out(flags),
        "tabs": _TABS,
        "show": show,
        "reasons": reasons,
        "reason": reason,
        "videos": videos,
        "back": changed_url(request, {}),
    }
    return render(request, "queue.html", context)


async def _list_videos(request: Request, show: str, reason: str | None) -> _List:
    board = board_of(request)
    after = request.query_params.get("after", "")
    if show == "active":
        held = unpack(after, (datetime, str))
        key = ActiveKey(*held) if held else None  # type: ignore[arg-type]  # `unpack` has looked at the types
        active = await board.stats.queue.slowest(limit=ROWS, after=key)
        return _List(
            tuple(active), pack((active[-1].claimed_at, active[-1].video_id)) if len(active) == ROWS else ""
        )
    last = unpack(after, (str,))
    start = str(last[0]) if last else ""
    if show == "failed":
        failed = await board.stats.queue.list_failed(limit=ROWS, after=start, reason=reason)
        return _List(tuple(failed), pack((failed[-1].video_id,)) if len(failed) == ROWS else "")
    if show == "empty":
        left = await board.queue.list_empty(limit=ROWS, after=start)
        return _List(tuple(left), pack((left[-1].video_id,)) if len(left) == ROWS else "")
    videos = await board.queue.list_videos(VideoStatus(show), limit=ROWS, after=start)
    return _List(tuple(videos), pack((videos[-1].video_id,)) if len(videos) == ROWS else "")


async def video(request: Request) -> Response:
    """One video: where it is, why it is there, its clips."""
    board = board_of(request)
    video_id = text_of(request, "video") or ""
    found = await board.queue.find([video_id])
    last = unpack(request.query_params.get("after", ""), (str,))
    clips = await board.stats.clips.page(video_id, limit=CLIP_ROWS, after=str(last[0]) if last else "")
    if not found and not clips:
        return problem(request, 404, "There is no such video", "Neither the queue nor the results know it.")
    context = {
        "title": video_id,
        "here": "/queue",
        "video_id": video_id,
        "row": found[0] if found else None,
        "clips": clips,
        "left_out": await board.stats.list_left_out([video_id]),
        "next": pack((clips[-1].segment_file,)) if len(clips) == CLIP_ROWS else "",
        "back": changed_url(request, {}),
    }
    return render(request, "video.html", context)


async def change(request: Request) -> Response:
    """requeue | requeue-failed | release | take-back | hold | priority, of the videos named."""
    queue = board_of(request).queue
    verb = request.path_params["verb"]
    form = await request.form(max_files=0, max_fields=1000)
    ids = [value for value in map(str, form.getlist("video")) if value and "\0" not in value]
    back = local_path(str(form.get("back") or "/queue"))
    if verb == "requeue-failed":
        count = await queue.requeue(None)
        return redirect_with_message(request, back, "requeued", count, count)
    if verb == "priority":
        return await _prioritise(request, queue, ids, str(form.get("priority", "")), back)
    match verb:
        case "requeue":
            count = await queue.requeue(ids, also_done=form.get("also_done") == "yes")
        case "hold" | "release":
            count = await queue.hold(ids, held=verb == "hold")
        case "take-back":
            count = await queue.take_back(ids)
        case _:
            return problem(request, 404, "There is no such verb", "")
    return redirect_with_message(request, back, _SAID_OF[verb], count, len(ids))


async def _prioritise(request: Request, queue: Queue, ids: list[str], text: str, back: str) -> Response:
    try:
        priority = whole(text, -_MAX_PRIORITY, _MAX_PRIORITY)
    except HTTPException:
        return problem(
            request, 400, "That is no priority", "A whole number is: higher goes first, 0 is usual."
        )
    return redirect_with_message(request, back, "priority", await queue.prioritise(ids, priority), len(ids))
