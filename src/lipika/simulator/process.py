"""The simulator as a child process that lives no longer than its parent."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aiohttp
import orjson

from lipika.errors import LipikaError
from lipika.models import JsonObject
from lipika.simulator.config import SimulatorConfig, write_json

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Handle:
    """A simulator in another process. `url` is the base for GEMINI_BASE_URL."""

    url: str
    port: int
    pid: int

    @property
    def openrouter_url(self) -> str:
        return f"{self.url}/api/v1"

    async def stats(self) -> JsonObject:
        """The figures of `/stats`."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/stats", ssl=False, raise_for_status=True) as reply,
        ):
            body: JsonObject = orjson.loads(await reply.read())
            return body


@asynccontextmanager
async def spawn(config: SimulatorConfig) -> AsyncIterator[Handle]:
    """Start `python -m lipika.simulator` and stop it at the end of the context.

    The child reads its configuration from its standard input and ends when that pipe closes: also when this
    process is killed.

    Raises:
        LipikaError: it did not start; holds what it printed.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "lipika.simulator",
        "--config-from-stdin",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield await asyncio.wait_for(_await_start(process, config), _START_TIMEOUT_S)
    finally:
        await _stop(process)


async def _await_start(process: asyncio.subprocess.Process, config: SimulatorConfig) -> Handle:
    if not (process.stdin and process.stdout):
        raise LipikaError("the simulator was started without pipes")  # asyncio gave what was asked for
    with suppress(ConnectionError):  # it ended at once: what it said is below
        process.stdin.write(write_json(config) + b"\n")
        await process.stdin.drain()
    facts = orjson.loads(await process.stdout.readline() or b'{"error": "see its standard error"}')
    if "error" in facts:
        raise LipikaError(f"the simulator did not start: {facts['error']}")
    return Handle(facts["url"], facts["port"], facts["pid"])


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
