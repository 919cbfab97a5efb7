"""Signatures of the board: its sessions, the token of every change, links to audio. Pure, but for the key."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, unquote

SESSION_S = 12 * 3600.0
LINK_S = 900.0
_MAX_CLIENTS = 10_000

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Session:
    """One browser. `user` is the name of the person whose token it has shown; nothing: none yet."""

    sid: str
    expires: int  # Unix time, seconds
    user: str


class Signer:
    """HMAC-SHA256 under a key of this process: a restart ends sessions and links."""

    def __init__(self, key: bytes | None = None, clock: Clock = time.time) -> None:
        self._key = key or secrets.token_bytes(32)
        self._clock = clock
        self._ended: dict[str, int] = {}  # sessions that were signed out, until they would expire

    # ---- sessions

    def new_session(self, user: str) -> Session:
        return Session(secrets.token_urlsafe(18), int(self._clock() + SESSION_S), user)

    def cookie(self, session: Session) -> str:
        value = f"{session.sid}.{session.expires}.{quote(session.user, safe='')}"
        return f"{value}.{self._mac('session', value)}"

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie that is ours and has not expired."""
        value, _, mac = cookie.rpartition(".")
        if not value or not self._is(mac, "session", value):
            return None
        sid, expires, user = value.split(".", 2)
        if int(expires) <= self._clock() or sid in self._ended:
            return None
        return Session(sid, int(expires), unquote(user))

    def session_is_open(self, session: Session) -> bool:
        """True if it still counts: for answers that last."""
        return session.expires > self._clock() and session.sid not in self._ended

    def end(self, session: Session) -> None:
        """Its cookie is worth nothing from now on, whoever holds it."""
        now = self._clock()
        self._ended = {sid: expires for sid, expires in self._ended.items() if expires > now}
        self._ended[session.sid] = session.expires

    def csrf(self, session: Session) -> str:
        """The token that every change must bring along; no other site can read it."""
        return self._mac("csrf", session.sid)

    def csrf_holds(self, session: Session, given: str) -> bool:
        return self._is(given, "csrf", session.sid)

    # ---- links

    def link(self, *names: str) -> tuple[int, str]:
        """(expiry as Unix time, signature) of a link to the thing that `names` name."""
        # Rounded up to a minute: a page that is loaded again finds its audio in the browser's cache.
        expires = (int(self._clock() + LINK_S) // 60 + 1) * 60
        return expires, self._mac("link", str(expires), *names)

    def link_holds(self, expires: str, given: str, *names: str) -> bool:
        if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
            return False
        return self._is(given, "link", expires, *names) and int(expires) > self._clock()

    def _mac(self, purpose: str, *values: str) -> str:
        # Lengths keep ("ab", "c") apart from ("a", "bc").
        parts = [value.encode("utf-8", "surrogatepass") for value in (purpose, *values)]
        message = b"".join(len(part).to_bytes(4) + part for part in parts)
        digest = hmac.new(self._key, message, hashlib.sha256).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()

    def _is(self, given: str, purpose: str, *values: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._mac(purpose, *values).encode())


class Attempts:
    """A limit on tries with a wrong token: `limit` times per `per_s` from one address, ten times that from all.

    The right one is looked at first: it is long enough not to be guessed, and nobody can shut its owner out.
    """

    def __init__(self, limit: int = 5, per_s: float = 60.0, clock: Clock = time.monotonic) -> None:
        self._limit = limit
        self._per_s = per_s
        self._clock = clock
        self._failed: dict[str, list[float]] = {}

    def wait_s(self, client: str) -> float:
        """Seconds until the next try; 0: now."""
        now = self._clock()
        return max(
            self._wait_left_s(self._failed.get(client, []), self._limit, now),
            self._wait_left_s(self._failed.get("", []), 10 * self._limit, now),
        )

    def note_failure(self, client: str) -> None:
        if len(self._failed) > _MAX_CLIENTS:
            self._failed = {"": self._failed.get("", [])}
        now = self._clock()
        for name, limit in ((client, self._limit), ("", 10 * self._limit)):
            self._failed[name] = [*self._failed.get(name, []), now][-limit:]

    def _wait_left_s(self, times: list[float], limit: int, now: float) -> float:
        return max(0.0, times[-limit] + self._per_s - now) if len(times) >= limit else 0.0
