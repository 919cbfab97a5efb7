"""The door: every request passes here before any page sees it.

Who the board is asked as (against DNS rebinding), who asks (session or token), whether a change is meant (CSRF token,
origin), how large it may be, and the headers that every answer carries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lipika.dashboard.people import Access, Role, User
from lipika.dashboard.signing import Attempts, Session, Signer

COOKIE = "lipika_board"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
MAX_BODY = 64 << 10
_BODY_S = 30.0  # for all of it

_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_OPEN_PATHS = ("/static/", "/healthz")
_ENTRY_PATHS = ("/login", "/logout")
_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " media-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


_REVIEWERS_PATHS = ("/review/", "/clips/", "/audit/", "/compare/")
"""Changes below these need a reviewer; all others need an operator."""


class Guard:
    """ASGI middleware. Puts `session`, `csrf` and `user` into the request's state.

    `user` is None where nobody has shown a token yet: pages for which one is needed are never reached like that.
    """

    def __init__(self, app: ASGIApp, access: Access, signer: Signer, attempts: Attempts) -> None:
        self._app = app
        self._access = access
        self._signer = signer
        self._attempts = attempts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            raise RuntimeError(f"the board speaks no {scope['type']}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        session = self._session(headers)
        new = session is None
        if session is None:
            session = self._signer.new_session("")
        state = scope.setdefault("state", {})
        state["session"], state["csrf"] = session, self._signer.csrf(session)
        user = state["user"] = self._access.find_user(session.user)
        cookie = self._cookie(scope, session) if new and not scope["path"].startswith(_OPEN_PATHS) else None

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    answer.setdefault(name, value)
                if cookie is not None and "set-cookie" not in answer:
                    answer.append("set-cookie", cookie)
            await send(message)

        refusal = self._stranger(scope, headers) or self._outsider(scope, headers, user)
        if refusal is None and scope["method"] in _CHANGES:
            body = await _body(receive, headers)
            refusal = self._unmeant(scope, headers, session, body) or self._not_yours(scope, user)
            receive = _again(body or b"", receive)
        await (refusal or self._app)(scope, receive, send_guarded)

    # ------------------------------------------------------------------------- who

    def _session(self, headers: Headers) -> Session | None:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        return self._signer.session(morsel.value) if morsel is not None else None

    def _cookie(self, scope: Scope, session: Session) -> str:
        return session_cookie(self._signer, session, secure=scope["scheme"] == "https")

    def _stranger(self, scope: Scope, headers: Headers) -> Response | None:
        """Without a token, only names of this machine: a page elsewhere may have its own name lead here."""
        del scope
        if self._access.needs_token or _host_name(headers.get("host", "")) in LOOPBACK:
            return None
        return PlainTextResponse("The board answers to 127.0.0.1 and localhost only.\n", 421)

    def _outsider(self, scope: Scope, headers: Headers, user: User | None) -> Response | None:
        """With a token: whoever has not shown it is sent to the login page."""
        path: str = scope["path"]
        if user is not None or path.startswith((*_OPEN_PATHS, *_ENTRY_PATHS)):
            return None
        if path == "/metrics":
            return self._bearer(scope, headers)
        if "hx-request" in headers:
            return Response(status_code=401, headers={"hx-redirect": "/login"})
        if scope["method"] not in ("GET", "HEAD") or "text/html" not in headers.get("accept", ""):
            return PlainTextResponse("The token is needed: open /login.\n", 401)
        query = scope["query_string"].decode("latin-1")
        return RedirectResponse(f"/login?next={quote(path + (f'?{query}' if query else ''), safe='')}", 303)

    def _bearer(self, scope: Scope, headers: Headers) -> Response | None:
        """A scraper shows the token with each request."""
        client = client_of(scope)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._access.find_owner(given.strip()) is not None:
            return None  # whoever has it is never kept out by others' tries
        wait_s = self._attempts.wait_s(client)
        if wait_s:
            return PlainTextResponse("Too many tries.\n", 429, {"retry-after": f"{wait_s:.0f}"})
        if given:
            self._attempts.note_failure(client)
        return PlainTextResponse("The token is needed.\n", 401, {"www-authenticate": "Bearer"})

    # ------------------------------------------------------------------------- what

    def _unmeant(
        self, scope: Scope, headers: Headers, session: Session, body: bytes | None
    ) -> Response | None:
        """A change must come from our own pages, bring the session's token, and be allowed at all."""
        if body is None:
            return PlainTextResponse("That is too much, or took too long.\n", 413)
        if self._access.read_only and not scope["path"].startswith(_ENTRY_PATHS):
            return PlainTextResponse("This board is read-only.\n", 403)
        if not _own_origin(headers) or not self._signer.csrf_holds(session, _csrf_in(headers, body)):
            return PlainTextResponse("This form is out of date: load the page again.\n", 403)
        return None

    def _not_yours(self, scope: Scope, user: User | None) -> Response | None:
        """A change needs its role."""
        if scope["path"].startswith(_ENTRY_PATHS):
            return None
        needed = role_needed(scope["path"])
        if user is not None and user.role >= needed:
            return None
        who = f"{user.name} is a {user.role.word} here" if user is not None else "Nobody has signed in"
        return PlainTextResponse(f"{who}: this takes {_WITH_ARTICLE[needed]}.\n", 403)


_WITH_ARTICLE = {Role.READER: "a reader", Role.REVIEWER: "a reviewer", Role.OPERATOR: "an operator"}


def role_needed(path: str) -> Role:
    """The least role for a change at `path`."""
    return Role.REVIEWER if path.startswith(_REVIEWERS_PATHS) else Role.OPERATOR


def session_cookie(signer: Signer, session: Session, *, secure: bool) -> str:
    """The Set-Cookie header of a session."""
    flags = "; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")
    return f"{COOKIE}={signer.cookie(session)}{flags}"


def client_of(scope: Scope) -> str:
    """The address that asks."""
    return scope["client"][0] if scope.get("client") else "unknown"


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _own_origin(headers: Headers) -> bool:
    """Browsers say where a form was sent from; what says nothing still needs the CSRF token."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _csrf_in(headers: Headers, body: bytes) -> str:
    given = headers.get("x-csrf-token")
    if given is not None:
        return given
    if not headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return ""
    return parse_qs(body.decode("utf-8", "replace"), max_num_fields=1000).get("csrf", [""])[0]


async def _body(receive: Receive, headers: Headers) -> bytes | None:
    """The whole body; None if it is too large or does not come."""
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit() and len(length) < 20 and int(length) <= MAX_BODY):
        return None
    body = b""
    try:
        async with asyncio.timeout(_BODY_S):
            while True:
                message = await receive()
                body += bytes(message.get("body", b""))
                if len(body) > MAX_BODY:
                    return None
                if not message.get("more_body", False):
                    return body
    except TimeoutError:
        return None


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that has been read already."""
    first = True

    async def replay() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay
