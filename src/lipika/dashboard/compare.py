"""Two ways of asking on the same clips: people hear them and vote without knowing which text is whose."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lipika.answers.ballot import MOST_CLIPS, BallotOrder
from lipika.answers.votes import SAME, VotesBeside, sum_up
from lipika.answers.ways import WayOfAnswers, find_way
from lipika.dashboard.board import board_of, problem, redirect_with_message, render, text_of, user_of, whole
from lipika.db.votes import CHOICES, BlindClip, ComparisonRecord, VoteProgress
from lipika.errors import UsageError
from lipika.languages import LANGUAGES

ROWS = 20
CLIPS = 50
_AHEAD = 2  # clips at a time: the one that plays, and the next
_MAX_ID = 1 << 62
_MAX_PLACE = 1 << 30


@dataclass(frozen=True, slots=True)
class _ComparisonLine:
    """One comparison in the list."""

    comparison: ComparisonRecord
    progress: Sequence[VoteProgress]

    @property
    def made(self) -> int:
        return sum(one.made for one in self.progress)

    @property
    def wanted(self) -> int:
        return sum(one.wanted for one in self.progress)

    @property
    def mine(self) -> int:
        return sum(one.mine for one in self.progress)


async def page(request: Request) -> Response:
    """Two ways to choose, and what is being compared, the newest first."""
    ballots, name = board_of(request).ballots, user_of(request).name
    ways = await ballots.list_ways()
    lines = [
        _ComparisonLine(one, await ballots.votes.progress(one.id, name))
        for one in await ballots.votes.list_comparisons(ROWS)
    ]
    context = {
        "title": "Compare",
        "ways": ways,
        "languages": sorted({code for way in ways for code in way.languages}),
        "clips": CLIPS,
        "most": MOST_CLIPS,
        "lines": lines,
    }
    return render(request, "compare.html", context)


async def draw(request: Request) -> Response:
    """Draw clips that have answers of both ways, and go to hear them."""
    form = await request.form(max_files=0, max_fields=10)
    ballots = board_of(request).ballots
    seed = _text(form, "seed")
    try:
        first, second = _two(await ballots.list_ways(), _text(form, "first"), _text(form, "second"))
        order = BallotOrder(
            first,
            second,
            whole(_text(form, "clips"), 1, MOST_CLIPS),
            user_of(request).name,
            whole(seed, 0, _MAX_ID) if seed else secrets.randbelow(1 << 31),
            _text(form, "language")[:20] or None,
            same_words_too=bool(_text(form, "same")),
        )
        drawn = await ballots.draw(order)
    except UsageError as error:
        return problem(request, 422, "Nothing was drawn", str(error))
    if not drawn.clips:
        return redirect_with_message(request, "/compare", "none-drawn", 0, drawn.looked_at)
    query = {"comparison": drawn.comparison.id, "language": order.language or ""}
    return redirect_with_message(request, f"/compare/hear?{urlencode(query)}", "drawn", drawn.clips)


def _two(ways: Sequence[WayOfAnswers], first: str, second: str) -> tuple[WayOfAnswers, WayOfAnswers]:
    return find_way(ways, first), find_way(ways, second)


async def hear(request: Request) -> Response:
    """A session: its clips come by `take`, one after the other. The ways are not named in it."""
    comparison = await _find(request, text_of(request, "comparison") or "")
    if comparison is None:
        return problem(request, 404, "There is no such comparison", "The page Compare lists those there are.")
    language = text_of(request, "language") or ""
    context = {
        "title": f"Comparison {comparison.id}",
        "here": "/compare",
        "number": comparison.id,
        "language": language if language in LANGUAGES or language == "unknown" else "",
    }
    return render(request, "compare_hear.html", context)


async def take(request: Request) -> Response:
    """The clips that this person is to vote on next."""
    votes, form = board_of(request).ballots.votes, await request.form(max_files=0, max_fields=10)
    comparison, language = await _known_comparison(request, form), _text(form, "language")
    name = user_of(request).name
    clips = await votes.take(comparison.id, name, [language] if language else None, _AHEAD)
    return await _answer(request, comparison.id, language, {"clips": [_document(clip) for clip in clips]})


async def vote(request: Request) -> Response:
    """Keep this person's word on a clip that they have before them: left, right, equal, bad or skip."""
    votes, form = board_of(request).ballots.votes, await request.form(max_files=0, max_fields=10)
    comparison, choice = await _known_comparison(request, form), _text(form, "choice")
    if choice not in CHOICES:
        raise HTTPException(400, f"choice is one of {', '.join(CHOICES)}")
    place = whole(_text(form, "place"), 0, _MAX_PLACE)
    if not await votes.vote(comparison.id, place, user_of(request).name, choice):
        raise HTTPException(
            409, "this clip is not before you, or you have voted on it already, or both texts are the same"
        )
    return await _answer(request, comparison.id, _text(form, "language"), {"kept": True})


async def undo(request: Request) -> Response:
    """Take this person's last vote back; its clip is before them again."""
    votes, form = board_of(request).ballots.votes, await request.form(max_files=0, max_fields=10)
    comparison = await _known_comparison(request, form)
    clip = await votes.take_back(comparison.id, user_of(request).name)
    clips = [_document(clip)] if clip else []
    return await _answer(request, comparison.id, _text(form, "language"), {"clips": clips})


async def figures(request: Request) -> Response:
    """The votes on two ways: by language, with intervals."""
    comparison = await _find(request, text_of(request, "comparison") or "")
    if comparison is None:
        return problem(request, 404, "There is no such comparison", "The page Compare lists those there are.")
    lines = sum_up(await board_of(request).ballots.votes.clips(comparison.id))
    context = {
        "title": f"Comparison {comparison.id}",
        "here": "/compare",
        "comparison": comparison,
        "lines": lines,
        "metered": any(sum(line.usd_per_hour) for line in lines),
        "name_of": _name_line,
    }
    return render(request, "compare_figures.html", context)


def _name_line(line: VotesBeside) -> str:
    if line.language == SAME:
        return "The same words"
    return LANGUAGES[line.language].name if line.language in LANGUAGES else line.language or "All"


async def _answer(
    request: Request, comparison_id: int, language: str, document: dict[str, object]
) -> JSONResponse:
    progress = [
        one
        for one in await board_of(request).ballots.votes.progress(comparison_id, user_of(request).name)
        if not language or one.language == language
    ]
    sums = {name: sum(getattr(one, name) for one in progress) for name in ("wanted", "made", "mine")}
    return JSONResponse(document | {"progress": sums})


def _document(clip: BlindClip) -> dict[str, object]:
    query = urlencode({"video": clip.video_id, "clip": clip.segment_file})
    return {
        "place": clip.place,
        "wave": f"/review/wave?{query}",
        "seconds": clip.duration_ms / 1000,
        "language": clip.language,
        "name": LANGUAGES[clip.language].name if clip.language in LANGUAGES else clip.language,
        "left": clip.left_text,
        "right": clip.right_text,
    }


async def _known_comparison(request: Request, form: FormData) -> ComparisonRecord:
    comparison = await _find(request, _text(form, "comparison"))
    if comparison is None:
        raise HTTPException(404, "there is no such comparison")
    return comparison


async def _find(request: Request, number: str) -> ComparisonRecord | None:
    return await board_of(request).ballots.votes.one(whole(number, 0, _MAX_ID))


def _text(form: FormData, name: str) -> str:
    return str(form.get(name, "")).replace("\0", "")
