"""Clips by any filter: to browse, to listen to, and what is done with all that a filter finds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from lipika.dashboard import clip_filters
from lipika.dashboard.board import (
    board_of,
    changed_url,
    fragment,
    local_path,
    problem,
    redirect_with_message,
    render,
    user_of,
)
from lipika.dashboard.cursor import pack, unpack
from lipika.dashboard.redos import names_of_models
from lipika.dashboard.review import clip_url
from lipika.db.clip_search import COUNTED, PLACES, Choice, ClipCount, ClipPlace, ClipSelection
from lipika.models import LANES, ClipStatus, TextSource, Tier
from lipika.wording import number

ROWS = 50
_MAX_NAME = 80
_KINDS = ("language", "failure", "finding:fail", "finding:warn", "finding:info")


async def page(request: Request) -> Response:
    """One page of clips, beside the clip that is being looked at."""
    search = board_of(request).stats.search
    wanted = clip_filters.read_filter(request.query_params)
    corpus, found, choices, saved = await asyncio.gather(
        search.corpus(),
        search.page(wanted, limit=ROWS, after=_read_place(request)),
        search.choices(),
        search.list_saved(),
    )
    query = clip_filters.filter_query(wanted)
    context = {
        "title": "Clips",
        "wanted": wanted,
        "query": query,
        "said_of": clip_filters.describe(wanted),
        "clips": found.clips,
        "next": pack((found.next.rank, found.next.video_id, found.next.segment_file)) if found.next else "",
        "looked_at": found.looked_at,
        "corpus": corpus,
        "choices": _group_choices(choices),
        "lanes": LANES,
        "tiers": tuple(Tier),
        "statuses": tuple(ClipStatus),
        "sources": tuple(TextSource),
        "saved": [(one, _is_same(one.query, query)) for one in saved],
        "clip_url": clip_url,
        "back": changed_url(request, {"after": None}),
        "models": names_of_models(),
    }
    return render(request, "clips.html", context)


def _read_place(request: Request) -> ClipPlace | None:
    held = unpack(request.query_params.get("after", ""), (int, str, str))
    if held is None or not 0 <= int(str(held[0])) <= PLACES:
        return None
    return ClipPlace(int(str(held[0])), str(held[1]), str(held[2]))


def _group_choices(choices: list[Choice]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for choice in choices:
        if choice.kind in found:
            found[choice.kind].append(choice.key)
    return found


def _is_same(query: str, other: str) -> bool:
    return sorted(parse_qsl(query)) == sorted(parse_qsl(other))


async def count(request: Request) -> Response:
    """The number of clips that pass: a piece of the page, which does not wait for it."""
    wanted = clip_filters.read_filter(request.query_params)
    found = await board_of(request).stats.search.count(wanted)
    return HTMLResponse(fragment("clips_count.html", {"said": say_count(found)}))


def say_count(found: ClipCount) -> str:
    """`312 clips`, `more than 10,000 clips`."""
    if found.clips is None:
        return "not counted: each would have to be read"
    if found.more:
        return f"more than {number(found.clips)} clips"
    return f"{number(found.clips)} {'clip' if found.clips == 1 else 'clips'}"


# ----------------------------------------------------------------------------- filters with a name


async def save_filter(request: Request) -> Response:
    """Give the filter of a page a name, or forget one."""
    search = board_of(request).stats.search
    form = await request.form(max_files=0, max_fields=10)
    name = str(form.get("name", "")).replace("\0", "").strip()[:_MAX_NAME]
    back = local_path(str(form.get("back") or "/clips"))
    if not name:
        return problem(request, 400, "That filter has no name", "Any text of up to 80 characters is one.")
    if form.get("do") == "forget":
        forgotten = await search.forget(name)
        return redirect_with_message(request, back, "forgotten", forgotten, 1)
    wanted = clip_filters.read_filter(dict(parse_qsl(str(form.get("query", "")))))
    await search.save(name, clip_filters.filter_query(wanted), by=_name_of(request))
    return redirect_with_message(request, back, "saved-filter")


# ----------------------------------------------------------------------------- all that a filter finds


async def everything(request: Request) -> Response:
    """The page of all clips that pass: their number, and the verbs for them."""
    wanted = replace(clip_filters.read_filter(request.query_params), seed=None)
    keys = await board_of(request).stats.search.keys(wanted)
    command, unsaid = clip_filters.export_command(wanted)
    context = {
        "title": "All clips of a filter",
        "query": clip_filters.filter_query(wanted),
        "said_of": clip_filters.describe(wanted),
        "clips": None if keys is None else len(keys),
        "videos": 0 if keys is None else len({key.video_id for key in keys}),
        "most": COUNTED,
        "command": command,
        "unsaid": unsaid,
        "models": names_of_models(),
        "back": f"/clips?{clip_filters.filter_query(wanted)}",
    }
    return render(request, "clips_all.html", context)


async def resolve_all(request: Request) -> Response:
    """Close the open flags of all clips that pass."""
    return await _change_all(request, "resolve")


async def change_videos(request: Request) -> Response:
    """requeue | hold the videos of all clips that pass."""
    return await _change_all(request, request.path_params["verb"])


async def _change_all(request: Request, verb: str) -> Response:
    board = board_of(request)
    form = await request.form(max_files=0, max_fields=20)
    wanted: ClipSelection = clip_filters.read_filter(dict(parse_qsl(str(form.get("query", "")))))
    keys = await board.stats.search.keys(replace(wanted, seed=None))
    here = f"/clips/all?{clip_filters.filter_query(wanted)}"
    if keys is None or str(len(keys)) != str(form.get("clips", "")):
        # What was looked at is not what there is: nothing is changed that nobody has seen.
        return redirect_with_message(request, here, "others", 0, 1)
    if verb == "resolve":
        note = str(form.get("note", "")).replace("\0", "")[:2000]
        done = await board.stats.search.resolve_flags(keys, by=_name_of(request), note=note)
        return redirect_with_message(request, here, "resolved-all", done, done)
    videos = sorted({key.video_id for key in keys})
    match verb:
        case "requeue":
            done = await board.queue.requeue(videos, also_done=True)
        case "hold" | "release":
            done = await board.queue.hold(videos, held=verb == "hold")
        case _:
            return problem(request, 404, "There is no such verb", "")
    said = {"requeue": "requeued", "hold": "held", "release": "released"}[verb]
    return redirect_with_message(request, here, said, done, len(videos))


def _name_of(request: Request) -> str:
    """The name of whoever asks, as it stands beside what is changed."""
    return user_of(request).name
