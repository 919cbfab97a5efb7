"""The application: routes, the door before them, and what is said when something is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from lipika.dashboard import (
    audit,
    clips,
    compare,
    correct,
    datasets,
    entry,
    errors,
    fleet,
    quality,
    queue,
    redos,
    review,
    sound,
    spend,
)
from lipika.dashboard.board import STATIC, Board, board_of, problem
from lipika.dashboard.guard import Guard
from lipika.dashboard.metrics import fleet_exposition
from lipika.errors import DatabaseError, LipikaError, Unavailable
from lipika.fleet.exposition import CONTENT_TYPE
from lipika.log import redact

Page = Callable[[Request], Awaitable[Response]]


def create_app(board: Board) -> Starlette:
    """The ASGI application of a board."""
    app = Starlette(
        routes=[
            Route("/", fleet.page),
            Route("/fleet/live", fleet.live),
            Route("/fleet/drain", fleet.drain, methods=["POST"]),
            Route("/fleet/pause", fleet.pause, methods=["POST"]),
            Route("/fleet/resume", fleet.resume, methods=["POST"]),
            Route("/fleet/budget", fleet.budget, methods=["GET", "POST"]),
            Route("/queue", queue.page),
            Route("/queue/video", queue.video),
            Route("/queue/of-clips/{verb}", clips.change_videos, methods=["POST"]),
            Route("/queue/{verb}", queue.change, methods=["POST"]),
            Route("/quality", quality.page),
            Route("/spend", spend.page),
            Route("/clips", clips.page),
            Route("/clips/count", clips.count),
            Route("/clips/clip", correct.clip),
            Route("/clips/check", correct.check, methods=["POST"]),
            Route("/clips/edit", correct.edit, methods=["POST"]),
            Route("/clips/all", clips.everything),
            Route("/clips/filters", clips.save_filter, methods=["POST"]),
            Route("/clips/resolve", clips.resolve_all, methods=["POST"]),
            Route("/redos", redos.page),
            Route("/redos/order", redos.order, methods=["POST"]),
            Route("/redos/drop", redos.drop, methods=["POST"]),
            Route("/review", review.page),
            Route("/review/clip", review.clip),
            Route("/review/wave", sound.wave),
            Route("/review/audio", sound.audio),
            Route("/review/resolve", review.resolve, methods=["POST"]),
            Route("/audit", audit.page),
            Route("/audit/hear", audit.hear),
            Route("/audit/take", audit.take, methods=["POST"]),
            Route("/audit/judge", audit.judge, methods=["POST"]),
            Route("/compare", compare.page),
            Route("/compare/draw", compare.draw, methods=["POST"]),
            Route("/compare/hear", compare.hear),
            Route("/compare/take", compare.take, methods=["POST"]),
            Route("/compare/vote", compare.vote, methods=["POST"]),
            Route("/compare/undo", compare.undo, methods=["POST"]),
            Route("/compare/figures", compare.figures),
            Route("/datasets", datasets.page),
            Route("/errors", errors.page),
            Route("/login", entry.login, methods=["GET", "POST"]),
            Route("/logout", entry.logout, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/metrics", metrics),
            Route("/favicon.ico", favicon),
            Mount("/static", _Static(directory=STATIC)),
        ],
        exception_handlers={
            HTTPException: _answer_refusal,
            LipikaError: _away,
            Exception: _answer_defect,
        },
        middleware=[Middleware(Guard, board.access, board.signer, board.attempts)],
    )
    app.state.board = board
    app.state.lookout = fleet.SharedLook()
    return app


async def healthz(request: Request) -> Response:
    """Tell if the board and its database answer, and nothing else."""
    try:
        await board_of(request).stats.ping()
    except LipikaError:
        return PlainTextResponse("the database is away\n", 503)
    return PlainTextResponse("ok\n")


async def metrics(request: Request) -> Response:
    """The fleet for Prometheus; a scraper shows the token as `Authorization: Bearer`."""
    board = board_of(request)
    return Response(await fleet_exposition(board.stats), headers={"content-type": CONTENT_TYPE})


async def favicon(request: Request) -> Response:
    """Browsers ask for it whatever the page says."""
    del request
    return RedirectResponse("/static/mark.svg", 308)


class _Static(StaticFiles):
    """Files whose URL holds their digest may be kept for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if b"v=" in scope["query_string"]:
            response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


async def _answer_refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 404:
        return problem(
            request, 404, "There is nothing here", error.detail if error.detail != "Not Found" else ""
        )
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)


async def _away(request: Request, error: Exception) -> Response:
    """Our own errors: what is away comes back; what is refused a person must change."""
    if isinstance(error, Unavailable):
        return problem(
            request,
            503,
            "The database is away",
            redact(str(error)),
            "Workers keep what they have. Load again.",
        )
    hint = "The log of the board says more." if isinstance(error, DatabaseError) else ""
    return problem(request, 500, "That did not work", redact(str(error)), hint)


async def _answer_defect(request: Request, error: Exception) -> Response:
    """A defect: no detail leaves the process; the server logs the traceback."""
    del request, error
    return PlainTextResponse("Something broke in the board itself; its log says what.\n", 500)
