"""How long the pages of the board take, from the request to the last byte, over HTTP on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from lipika.config import load_settings
from lipika.dashboard.app import create_app
from lipika.dashboard.people import Access
from lipika.dashboard.serve import Listen, make_board, serve
from lipika.db.connection import Database

PAGES = (
    "/",
    "/queue",
    "/queue?show=failed",
    "/queue?show=pending",
    "/queue?show=done",
    "/queue?show=held",
    "/queue?find=zzz",
    "/queue/video?video=v00000300",
    "/quality",
    "/quality?language=hi",
    "/spend",
    "/clips",
    "/clips?language=hi",
    "/clips?language=hi&finding=repetition",
    "/clips?language=as&finding=repetition&status=failed",
    "/clips?lane=asr&status=failed",
    "/clips?from=0&to=0.15&seed=7",
    "/clips?hint=hi&heard=en",
    "/clips?finding=none_has_this",
    "/clips?text=a1b2",
    "/clips?words=%E0%A4%B5%E0%A4%BE%E0%A4%95%E0%A5%8D%E0%A4%AF&language=ta",
    "/clips/count?language=hi&finding=repetition",
    "/clips/count?language=as&finding=repetition&status=failed",
    "/review",
    "/review?severity=fail&language=hi",
    "/review?state=resolved",
    "/review?type=discard:too_short",
    "/fleet/budget?provider=aistudio",
    "/datasets",
    "/errors",
    "/metrics",
)


@asynccontextmanager
async def a_board(database: Database) -> AsyncIterator[str]:
    """The URL of a board over `database`."""
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    app = create_app(make_board(load_settings(), database, Access()))
    serving = asyncio.create_task(serve(app, Listen(port=0), listening.set_result))
    try:
        yield await listening
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def load(session: aiohttp.ClientSession, page: str) -> None:
    """One page, to its last byte."""
    async with session.get(page, raise_for_status=True) as reply:
        await reply.read()
