"""In and out: the token for a session, and the session's end."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from lipika.dashboard.board import Board, board_of, fragment, local_path
from lipika.dashboard.guard import client_of, session_cookie
from lipika.wording import duration


async def login(request: Request) -> Response:
    """The login page; a POST shows the token."""
    board = board_of(request)
    if not board.access.needs_token or (request.method == "GET" and request.state.user is not None):
        return RedirectResponse("/", 303)
    if request.method == "GET":
        return _form(request, request.query_params.get("next", "/"))
    form = await request.form(max_files=0, max_fields=10)
    to = local_path(str(form.get("next", "/")))
    user = board.access.find_owner(str(form.get("token", "")).strip())
    if user is not None:
        # First of all: whoever has the token is never kept out by others' tries.
        return _start_session(board, request, RedirectResponse(to, 303), user.name)
    client = client_of(request.scope)
    wait_s = board.attempts.wait_s(client)
    if wait_s:
        response = _form(request, to, f"Too many tries: wait {duration(wait_s)}.", 429)
        response.headers["retry-after"] = f"{wait_s:.0f}"
        return response
    board.attempts.note_failure(client)
    return _form(request, to, "That is not the token of anybody here.", 401)


async def logout(request: Request) -> Response:
    """Redirect to the login page, with a new and empty session."""
    board = board_of(request)
    board.signer.end(request.state.session)
    return _start_session(board, request, RedirectResponse("/login", 303), "")


def _start_session(board: Board, request: Request, response: Response, user: str) -> Response:
    """A new session at every change of rights: nobody can have planted it before."""
    session = board.signer.new_session(user)
    response.headers["set-cookie"] = session_cookie(
        board.signer, session, secure=request.url.scheme == "https"
    )
    return response


def _form(request: Request, to: str, problem: str = "", status: int = 200) -> Response:
    context = {"csrf": request.state.csrf, "next": local_path(to), "problem": problem}
    return HTMLResponse(fragment("login.html", context), status)
