"""Orders to ask for clips again: given here, carried out by `lipika redo --queued`, and how far each of them is."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lipika.dashboard import clip_filters
from lipika.dashboard.board import (
    board_of,
    local_path,
    problem,
    redirect_with_message,
    render,
    user_of,
    whole,
)
from lipika.db.clip_search import ClipKey, ClipSelection
from lipika.db.redos import ERASED_CHOICE, RedoOrder, RedoProgress
from lipika.llm.capabilities import list_models

ROWS = 50
_PROBLEMS = 100
_MAX_ID = 1 << 62
_MAX_TEXT = 200


async def page(request: Request) -> Response:
    """Newest first; `id` shows one, with its clips that have no new answer."""
    redos = board_of(request).stats.redos
    chosen = whole(request.query_params["id"], 0, _MAX_ID) if "id" in request.query_params else None
    rows = await redos.list_progress(ROWS, chosen)
    if chosen is not None and not rows:
        return problem(request, 404, "There is no such redo", "It may have been taken off the record.")
    context = {
        "title": "Redos" if chosen is None else f"Redo {chosen}",
        "here": "/clips",
        "rows": rows,
        "say": say_order,
        "choice_url": find_choice_url,
        "chosen": chosen,
        "problems": [] if chosen is None else await redos.list_problems(chosen, _PROBLEMS),
        "is_moving": any(row.state == "running" for row in rows),
    }
    return render(request, "redos.html", context)


def say_order(row: RedoProgress) -> tuple[str, str]:
    """(which clips, asked how), in words."""
    if row.query.startswith("clip="):
        which = row.query.removeprefix("clip=")
    elif row.query == ERASED_CHOICE:
        which = "clips that were erased"
    else:
        told = clip_filters.describe(clip_filters.read_filter(dict(parse_qsl(row.query))))
        which = ", ".join(text for _, text in told) or "every clip"
    how = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in row.asked.items())
    return which, how or "as the settings are"


def find_choice_url(row: RedoProgress) -> str:
    """The page of the clips that an order chose, as they are now; of erased ones, the order's own."""
    if row.query == ERASED_CHOICE:
        return f"/redos?id={row.id}"
    if row.query.startswith("clip="):
        return f"/clips?{clip_filters.filter_query(ClipSelection(video=row.query[5:].rpartition('/')[0]))}"
    return f"/clips?{row.query}"


def names_of_models() -> list[str]:
    """Models whose prices are known, for a form."""
    return sorted(list_models())


async def order(request: Request) -> Response:
    """Order a redo: of one clip, or of all that a filter finds."""
    board = board_of(request)
    form = await request.form(max_files=0, max_fields=20)
    asked: dict[str, object] = {}
    if _text(form, "model"):
        asked["model_id"] = _text(form, "model")
    if _text(form, "temperature"):
        asked["temperature"] = _read_temperature(_text(form, "temperature"))
    back = local_path(_text(form, "back") or "/redos")
    if _text(form, "clip"):
        keys = [ClipKey(_text(form, "video"), _text(form, "clip"))]
        query = f"clip={keys[0].video_id}/{keys[0].segment_file}"
    else:
        wanted = replace(clip_filters.read_filter(dict(parse_qsl(str(form.get("query", ""))))), seed=None)
        found = await board.stats.search.keys(wanted)
        query = clip_filters.filter_query(wanted)
        if found is None or str(len(found)) != str(form.get("clips", "")):
            # What was looked at is not what there is: nothing is ordered that nobody has seen.
            return redirect_with_message(request, f"/clips/all?{query}", "others", 0, 1)
        keys = found
    new = await board.stats.redos.order(
        RedoOrder(query, asked, _text(form, "keep_both") == "yes", user_of(request).name), keys
    )
    if new is None:
        return problem(request, 404, "There is no such clip", "Nothing was ordered.")
    return redirect_with_message(request, back, "redo", new.clips, new.clips)


async def drop(request: Request) -> Response:
    """Nobody goes on with an order; what was answered stays."""
    form = await request.form(max_files=0, max_fields=10)
    done = await board_of(request).stats.redos.drop(whole(form.get("id", ""), 0, _MAX_ID))
    return redirect_with_message(request, "/redos", "redo-dropped", int(done), 1)


def _read_temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 2:
        raise HTTPException(400, f"{text[:40]!r} is no temperature from 0 to 2")
    return value


def _text(form: FormData, name: str) -> str:
    return str(form.get(name, "")).replace("\0", "").strip()[:_MAX_TEXT]
