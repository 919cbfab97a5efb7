"""What the tests of the board share: a board on loopback over a database, and a browser's part without a browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from lipika.config import load_settings
from lipika.dashboard.app import create_app
from lipika.dashboard.people import Access, Person
from lipika.dashboard.serve import Listen, make_board, serve
from lipika.dashboard.signing import Signer
from lipika.db import Database

TOKEN = "a-token-that-is-long-enough"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; `text` is its body with entities as they are."""

    status: int
    text: str
    headers: Mapping[str, str]
    data: bytes

    @property
    def plain(self) -> str:
        """The page's text, without tags."""
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", self.text)).split())


class Visitor:
    """A browser's part: keeps cookies, sends forms with the page's token."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.csrf = ""
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(
        self, method: str, path: str, *, follow: bool = True, html: bool = True, **options: object
    ) -> Answer:
        headers = {"accept": "text/html" if html else "*/*"} | dict(options.pop("headers", {}))  # type: ignore[call-overload]
        async with self._session.request(
            method,
            self.url + path,
            allow_redirects=follow,
            headers=headers,
            **options,  # type: ignore[arg-type]
        ) as reply:
            data = await reply.read()
            text = data.decode("utf-8", "replace")
            found = re.search(r'name="csrf" value="([^"]+)"|X-CSRF-Token": "([^"]+)"', text)
            if found:
                self.csrf = found[1] or found[2]
            return Answer(reply.status, text, reply.headers, data)

    async def get(self, path: str, **options: object) -> Answer:
        return await self.ask("GET", path, **options)  # type: ignore[arg-type]

    async def send(self, path: str, csrf: str | None = None, **fields: str) -> Answer:
        """A form, with the token of the last page unless another is given."""
        token = self.csrf if csrf is None else csrf
        return await self.ask("POST", path, data={"csrf": token, **fields})

    async def enter(self, token: str = TOKEN) -> Answer:
        """Show the token at the login page."""
        await self.get("/login")
        return await self.send("/login", token=token, next="/")


@asynccontextmanager
async def a_board(
    database_url: str,
    *,
    token: str = "",
    people: tuple[Person, ...] = (),
    read_only: bool = False,
    signer: Signer | None = None,
    tls: tuple[Path | None, Path | None] = (None, None),
    output_url: str = "",
    live_s: float = 2.0,
    trusted: tuple[str, ...] = (),
) -> AsyncIterator[str]:
    """The URL of a board that runs in this loop."""
    settings = load_settings(database_url=database_url, output_url=output_url)
    access = Access(people, read_only) if people else Access.from_token(token, read_only=read_only)
    async with Database(database_url, wait_seconds=1.0) as database:
        board = make_board(settings, database, access)
        board = replace(board, live_s=live_s, signer=signer or board.signer)
        listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(
            serve(create_app(board), Listen("127.0.0.1", 0, *tls, trusted), listening.set_result)
        )
        try:
            yield await listening
        finally:
            running.cancel()
            await asyncio.wait([running])


@asynccontextmanager
async def a_visitor(
    database_url: str,
    *,
    token: str = "",
    people: tuple[Person, ...] = (),
    read_only: bool = False,
    signer: Signer | None = None,
) -> AsyncIterator[Visitor]:
    """A visitor at a board of its own."""
    async with (
        a_board(database_url, token=token, people=people, read_only=read_only, signer=signer) as url,
        Visitor(url) as visitor,
    ):
        yield visitor
