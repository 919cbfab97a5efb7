"""Parts that all pages share: what they ask, and the making of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from lipika import __version__
from lipika.answers.ballot import Ballots
from lipika.dashboard import words
from lipika.dashboard.clip_audio import ClipAudio
from lipika.dashboard.clip_filters import clips_url
from lipika.dashboard.people import Access, Role, User
from lipika.dashboard.segment_audio import SegmentAudio
from lipika.dashboard.signing import Attempts, Signer
from lipika.db.audits import Audits
from lipika.db.budgets import Budgets
from lipika.db.queue import Queue
from lipika.db.stats import Stats
from lipika.db.workers import Workers
from lipika.people.edits import Edits

PAGES = (
    ("/", "Fleet"),
    ("/queue", "Queue"),
    ("/quality", "Quality"),
    ("/spend", "Spend"),
    ("/clips", "Clips"),
    ("/review", "Review"),
    ("/audit", "Audit"),
    ("/compare", "Compare"),
    ("/datasets", "Datasets"),
    ("/errors", "Errors"),
)
STATIC = Path(str(files("lipika.dashboard") / "static"))
_SAID = {
    "requeued": "{n} of {of} put back into the queue, with all attempts",
    "again": "{n} of {of} put back: stored answers are used again, and only clips without one are paid for",
    "released": "{n} of {of} let go",
    "held": "{n} of {of} held back",
    "priority": "Priority changed for {n} of {of}",
    "resolved": "Resolved",
    "resolved-all": "{n} flags resolved",
    "others": "Not done: these are other clips than those that were counted. Look again",
    "redo": "{n} clips to be asked for again: lipika redo --queued",
    "redo-dropped": "Nobody goes on with it",
    "saved-filter": "Filter saved",
    "forgotten": "Filter forgotten",
    "reopened": "Opened again",
    "drawn": "{n} clips drawn",
    "none-drawn": "Nothing drawn: among {of} audios there is no further clip that can be heard and has both answers",
    "draining": "Told to stop: it finishes what is on its way and gives its videos back",
    "paused": "Paused: nothing more is sent",
    "resumed": "Resumed",
    "budget": "Limits changed; workers follow within five seconds",
}

_LEFT_ALONE = {
    "requeued": " What waits or is at work is left alone; a done one starts over by “Do again” on its page.",
    "again": " Those that wait or are at work are left alone.",
    "held": " The others are held already, or are not in the queue.",
    "released": " The others needed no letting go, or are not in the queue.",
}
"""Said of those of several that a change has left alone."""


@dataclass(frozen=True, slots=True)
class Board:
    """The parts behind the pages."""

    stats: Stats
    queue: Queue
    budgets: Budgets
    workers: Workers
    audits: Audits
    edits: Edits
    ballots: Ballots
    audio: ClipAudio
    segments: SegmentAudio
    access: Access
    signer: Signer
    attempts: Attempts
    live_s: float = 2.0  # between two looks at the fleet, for all who watch


def board_of(request: Request) -> Board:
    board: Board = request.app.state.board
    return board


def render(
    request: Request, template: str, context: Mapping[str, object], *, status: int = 200, live: bool = False
) -> Response:
    """A page. `live`: it keeps itself up to date."""
    board = board_of(request)
    said, said_as = _done_message(request)
    shared: dict[str, object] = {
        "pages": PAGES,
        "here": "/" + request.url.path.split("/")[1],
        "csrf": request.state.csrf,
        "read_only": board.access.read_only,
        "user": request.state.user,
        "signed_in": board.access.needs_token and request.state.user is not None,
        **rights_of(request),
        "version": __version__,
        "live": live,
        "after": request.query_params.get("after", ""),
        "said": said,
        "said_as": said_as,
        "url": lambda **changes: changed_url(request, changes),
    }
    return HTMLResponse(_templates.get_template(template).render(shared | dict(context)), status)


def user_of(request: Request) -> User:
    """The user who asks, for a page that needs one."""
    user: User | None = request.state.user
    if user is None:
        raise HTTPException(401, "The token is needed: open /login.")
    return user


def rights_of(request: Request) -> dict[str, bool]:
    """The changes that a page may offer its reader: `may_review`, `may_operate`."""
    user: User | None = request.state.user
    role = Role.READER if user is None or board_of(request).access.read_only else user.role
    return {"may_review": role >= Role.REVIEWER, "may_operate": role >= Role.OPERATOR}


def fragment(template: str, context: Mapping[str, object]) -> str:
    """A piece of a page."""
    return _templates.get_template(template).render(context)


def problem(request: Request, status: int, title: str, message: str, hint: str = "") -> Response:
    """A page that says what is wrong."""
    return render(request, "problem.html", {"title": title, "message": message, "hint": hint}, status=status)


def redirect_with_message(request: Request, to: str, what: str, count: int = 1, of: int = 1) -> Response:
    """After a change: back to the page, which says what was done."""
    del request
    joint = "&" if "?" in to else "?"
    return RedirectResponse(f"{to}{joint}{urlencode({'did': what, 'n': count, 'of': of})}", 303)


def changed_url(request: Request, changes: Mapping[str, object]) -> str:
    """This page's URL with other parameters; None or "" takes one out."""
    given = {name: value for name, value in request.query_params.items() if name not in ("did", "n", "of")}
    wanted = {**given, **changes}
    query = urlencode({name: value for name, value in wanted.items() if value not in (None, "")})
    return request.url.path + (f"?{query}" if query else "")


def text_of(request: Request, name: str) -> str | None:
    """A parameter of the URL as Postgres takes text; None if it is not there."""
    value = request.query_params.get(name, "").replace("\0", "")
    return value or None


def whole(given: object, low: int, high: int) -> int:
    """A whole number that a request names. Anything else, and what no column holds, is answered with 400."""
    text = str(given).strip()
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) < 25 and low <= int(text) <= high:
        return int(text)
    raise HTTPException(400, f"{text[:40]!r} is no whole number from {low} to {high}")


def local_path(path: str) -> str:
    """`path` if it stays on this board, else the first page."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if plain and "\\" not in path else "/"


def _done_message(request: Request) -> tuple[str, str]:
    """The message on what has just been done, in our own words; never text from the URL."""
    query = request.query_params
    sentence = _SAID.get(query.get("did", ""), "")
    count, of = (query.get(name, "1") for name in ("n", "of"))
    if not sentence or not (count.isdecimal() and of.isdecimal() and len(count + of) < 20):
        return "", ""
    alone = _LEFT_ALONE.get(query["did"], "") if int(count) < int(of) else ""
    return f"{sentence.format(n=int(count), of=int(of))}.{alone}", "good" if int(count) else "warn"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lipika.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(words.FILTERS)
    environment.globals.update(words.GLOBALS)
    environment.globals["static"] = _static_url
    environment.globals["clips_url"] = clips_url
    return environment


def _static_url(name: str) -> str:
    """A static file's URL; the digest in it lets browsers keep the file for good."""
    if name not in _digests:
        _digests[name] = sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={_digests[name]}"


_digests: dict[str, str] = {}
_templates = _environment()
