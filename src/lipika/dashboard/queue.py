"""Pages on the queue: its progress, videos by state, one video, and what a person may do with them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

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
from lipika.dashboard.review import flag_url
from lipika.dashboard.sound import MAX_MS
from lipika.db.flags import FlagRow, count_left_out
from lipika.db.queue import Queue
from lipika.db.stats_queue import ActiveKey
from lipika.models import VideoStatus

ROWS = 50
CLIP_ROWS = 100
_MAX_PRIORITY = 1_000_000
_MOST_READ = 2_000_000  # ids that one search reads; of more only beginnings are looked for
_LONGEST_PART = 300

_SAID_OF = {"requeue": "requeued", "hold": "held", "release": "released", "take-back": "released"}
_TABS = (
    *(
        ("active", "At work"),
        ("failed", "Failed"),
        ("pending", "Waiting"),
        ("held", "Held"),
        ("done", "Done"),
    ),
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
    part = (text_of(request, "find") or "").strip()
    if part and await board_of(request).queue.find([part]):
        return RedirectResponse(f"/queue/video?{urlencode({'video': part})}", 303)
    show = request.query_params.get("show", "active")
    if show not in dict(_TABS):
        show = "active"
    reason = text_of(request, "reason")
    languages = await stats.queue.languages()
    few = sum(row.videos for row in languages) <= _MOST_READ
    look = _search(request, part, few=few) if part else _list_videos(request, show, reason)
    videos, held, reasons, outlook, empty, flags = await asyncio.gather(
        look,
        stats.queue.count_held(),
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
        "held": held,
        "part": part,
        "only_beginnings": not few,
        "outlook": outlook,
        "empty_videos": empty,
        "left_out": count_left_out(flags),
        "tabs": _TABS,
        "show": "" if part else show,
        "reasons": reasons,
        "reason": reason,
        "videos": videos,
        "back": changed_url(request, {}),
    }
    return render(request, "queue.html", context)


async def _search(request: Request, part: str, *, few: bool) -> _List:
    found = await board_of(request).stats.queue.search(part[:_LONGEST_PART], limit=ROWS, beginning=not few)
    return _List(tuple(found), "")


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
    if show == "held":
        kept = await board.stats.queue.list_held(limit=ROWS, after=start)
        return _List(tuple(kept), pack((kept[-1].video_id,)) if len(kept) == ROWS else "")
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
    discards, next_discards = await _page_of_discards(request, video_id)
    if not found and not clips and not discards:
        return problem(
            request,
            404,
            "There is no such video",
            "Neither the queue nor the results know it. It may have been erased.",
        )
    context = {
        "title": video_id,
        "here": "/queue",
        "video_id": video_id,
        "row": found[0] if found else None,
        "clips": clips,
        "left_out": await board.stats.list_left_out([video_id]),
        "discards": discards,
        "discards_after": request.query_params.get("discards", ""),
        "discards_next": next_discards,
        "flag_url": flag_url,
        "next": pack((clips[-1].segment_file,)) if len(clips) == CLIP_ROWS else "",
        "back": changed_url(request, {}),
    }
    return render(request, "video.html", context)


async def _page_of_discards(request: Request, video_id: str) -> tuple[list[FlagRow], str]:
    """Discards of the video, and the parameter of the page after it."""
    last = unpack(request.query_params.get("discards", ""), (int, str, str))
    after = (whole(last[0], -MAX_MS, MAX_MS), str(last[1]), str(last[2])) if last else None
    rows = await board_of(request).stats.flags.left_out(video_id, limit=ROWS, after=after)
    more = len(rows) == ROWS
    return rows, pack((rows[-1].start_ms, rows[-1].segment_file, rows[-1].flag_type)) if more else ""


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
            also_done = form.get("also_done") == "yes"
            count = await queue.requeue(ids, also_done=also_done)
            if also_done:
                return redirect_with_message(request, back, "again", count, len(ids))
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
