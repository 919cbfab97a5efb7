"""A server on loopback that writes down what reaches it, and answers from a script or as another server would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from http_kit import listening


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in. `target` is path and query; `port` the client's, one for each connection."""

    method: str
    target: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    port: int

    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: object, status: int = 200, **headers: str) -> Page:
        """A page of JSON; bytes go as they are. `Retry_After` in `headers` is `Retry-After`."""
        body = value if isinstance(value, bytes) else orjson.dumps(value)
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        return cls(status, body, {"Content-Type": "application/json"} | names)


@dataclass(slots=True)
class Recorder:
    """`requests` in order of arrival, `pages` as they were answered. Once set, `replay` answers everything."""

    url: str = ""
    replay: Page | None = None
    requests: list[Request] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)


Answer = Callable[[Request], Awaitable[Page]]


@asynccontextmanager
async def recording(answer: Page | Answer) -> AsyncIterator[Recorder]:
    """A server that answers every request with one page, or as a function says."""

    async def reply(request: Request) -> Page:
        return answer if isinstance(answer, Page) else await answer(request)

    async with _serving(reply) as recorder:
        yield recorder


@asynccontextmanager
async def recording_before(upstream: str) -> AsyncIterator[Recorder]:
    """A server that passes every request on to `upstream` and its replies back."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def reply(request: Request) -> Page:
            kept = ("authorization", "x-goog-api-key", "content-type")
            headers = {name: request.headers[name] for name in kept if name in request.headers}
            async with session.request(
                request.method, upstream + request.target, data=request.body, headers=headers
            ) as page:
                back = {name: page.headers[name] for name in _PASSED_BACK if name in page.headers}
                return Page(page.status, await page.read(), back)

        async with _serving(reply) as recorder:
            yield recorder


_PASSED_BACK = ("Content-Type", "Retry-After", "X-RateLimit-Reset")


@asynccontextmanager
async def _serving(reply: Answer) -> AsyncIterator[Recorder]:
    recorder = Recorder()

    async def handle(incoming: web.Request) -> web.Response:
        peer = incoming.transport.get_extra_info("peername") if incoming.transport else ("", 0)
        request = Request(
            incoming.method,
            incoming.raw_path,
            {name.lower(): text for name, text in incoming.headers.items()},
            await incoming.read(),
            peer[1],
        )
        recorder.requests.append(request)
        page = recorder.replay or await reply(request)
        recorder.pages.append(page)
        return web.Response(status=page.status, body=page.body, headers=page.headers)

    app = web.Application(client_max_size=32 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", handle)
    async with listening(app) as recorder.url:
        yield recorder
