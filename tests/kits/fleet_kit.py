"""What the tests of workers share: a corpus, a simulator, workers in this process, a line to Postgres that breaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import orjson
import psycopg
from psycopg.rows import namedtuple_row

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from lipika.archive import documents
from lipika.config import Settings, load_settings
from lipika.db import Database, Queue
from lipika.jobs.demo import sample_folder
from lipika.jobs.wiring import Running, open_worker
from lipika.models import ClipResult, NewVideo
from lipika.simulator import Latency, SimulatorConfig, running


def rows(url: str, query: LiteralString, *parameters: object) -> list[Any]:
    """What a query gives, as named tuples."""
    with psycopg.connect(url, row_factory=namedtuple_row) as connection:
        return list(connection.execute(query, parameters).fetchall())


def change(url: str, statement: LiteralString, *parameters: object) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement, parameters)


def results_of(tar: Path) -> list[ClipResult]:
    with tar.open("rb") as stream:
        return list(documents.read_results(stream))


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 20) -> None:
    """Wait for something that should happen soon."""
    async with asyncio.timeout(seconds):
        while True:
            outcome = condition()
            if outcome if isinstance(outcome, bool) else await outcome:
                return
            await asyncio.sleep(0.02)


@dataclass(slots=True)
class Stage:
    """A simulator, a migrated database, archives in `in/`, results in `out/`."""

    folder: Path
    url: str  # of the simulator
    database_url: str
    defaults: dict[str, Any] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def settings(self, **changes: Any) -> Settings:
        given = {
            "gemini_base_url": self.url,
            "gemini_api_key": "a-key",
            "database_url": self.database_url,
            "output_url": str(self.out),
            "batch_interval_seconds": 1.0,
            "live_seconds": 0.2,
            "heartbeat_seconds": 0.3,
            "lease_seconds": 20.0,
            "drain_seconds": 5.0,
        }
        return load_settings(**(given | self.defaults | changes))

    async def queue(self, videos: int = 1, segments: int = 10, **changes: Any) -> list[str]:
        """Make archives of short segments and put them into the queue."""
        plan = CorpusPlan(videos, segments, (2.2, 2.8))
        paths = await asyncio.to_thread(make_corpus, self.folder / "in", plan, sample_folder())
        async with Database(self.database_url) as database:
            await Queue(database).add(
                [NewVideo(path.stem, str(path), f"{self.out}/{path.stem}_transcribed.tar") for path in paths],
                **changes,
            )
        return [path.stem for path in paths]

    @asynccontextmanager
    async def worker(self, database_url: str = "", **changes: Any) -> AsyncIterator[Running]:
        """A worker that is ready to run."""
        async with Database(database_url or self.database_url) as database:
            async with open_worker(self.settings(**changes), database) as worker:
                yield worker

    async def work(self, **changes: Any) -> Running:
        """One worker's life until the queue is empty."""
        async with self.worker(**changes) as found:
            await found.worker.run(until_empty=True)
            return found

    async def work_until(self, answers: int, **changes: Any) -> Running:
        """A worker that is told to go after so many answers, and leaves the rest."""
        async with self.worker(worker_batch_size=max(answers, 1), **changes) as found:
            task = asyncio.create_task(found.worker.run())
            await until(lambda: found.engine.totals.returned >= answers)
            found.worker.drain()
            await task
            return found

    async def asked(self) -> dict[str, Any]:
        """The simulator's counters."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/stats") as reply:
            found: dict[str, Any] = orjson.loads(await reply.read())
            return found

    async def repaid(self) -> int:
        """Answers given for audio that had been answered before."""
        return int((await self.asked())["digests"]["repaid"])

    async def control(self, what: str, body: object) -> None:
        url = f"{self.url}/control/{what}"
        async with aiohttp.ClientSession() as session, session.post(url, data=orjson.dumps(body)) as reply:
            reply.raise_for_status()

    def parts(self) -> list[Path]:
        """The partial objects there are."""
        return sorted(self.out.rglob("*.jsonl"))


@asynccontextmanager
async def a_stage(
    folder: Path, database_url: str, latency_s: float = 0.02, **config: Any
) -> AsyncIterator[Stage]:
    simulator = SimulatorConfig(latency=Latency(latency_s, 0.1), **config)
    async with running(simulator) as listening:
        yield Stage(folder, listening.url, database_url)


async def start_worker(
    stage: Stage, log: Path, *options: str, **environment: str
) -> asyncio.subprocess.Process:
    """`lipika worker` in a process of its own, which finds in its environment what it is told and reads no settings
    besides; its log goes to a file."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
    told = {
        "DATABASE_URL": stage.database_url,
        "GEMINI_BASE_URL": stage.url,
        "GEMINI_API_KEY": "a-key",
        "OUTPUT_URL": str(stage.out),
        "HEARTBEAT_SECONDS": "0.5",
        "LIVE_SECONDS": "0.2",
        "LEASE_SECONDS": "2",
        "BATCH_INTERVAL_SECONDS": "1",
        "RETRY_SECONDS": "0.1",
        "LEAST_WAIT_SECONDS": "0.05",
    }
    with log.open("wb") as file:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lipika", "worker", "--json-logs", *options),
            env=kept | told | environment,
            stderr=file,
        )


def logged(log: Path, event: str) -> list[dict[str, Any]]:
    """The lines of a worker's log that tell of this event."""
    lines = (orjson.loads(line) for line in log.read_bytes().splitlines() if line.startswith(b"{"))
    return [line for line in lines if line.get("event") == event]


class Line:
    """A TCP line to a server that can be cut (refused and dropped) or stalled (open, but nothing comes through)."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._flows: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._refusing = False
        self.port = 0

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()
        if self._flows:
            await asyncio.wait(self._flows)

    def cut(self) -> None:
        """Drop every connection and refuse new ones."""
        self._refusing = True
        for flow in self._flows:
            flow.cancel()

    def stall(self) -> None:
        """Keep connections and take new ones, and let nothing through."""
        self._open.clear()

    def mend(self) -> None:
        self._refusing = False
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._flows.add(task)
        try:
            if not self._refusing:
                far_reader, far_writer = await asyncio.open_connection(*self._target)
                try:
                    async with asyncio.TaskGroup() as both:
                        both.create_task(self._pump(reader, far_writer))
                        both.create_task(self._pump(far_reader, writer))
                finally:
                    far_writer.close()
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            self._flows.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            await self._open.wait()
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError  # one side has closed: so does the other


@asynccontextmanager
async def a_line(database_url: str) -> AsyncIterator[tuple[Line, str]]:
    """A line to the database, and the URL that goes through it."""
    parts = urlsplit(database_url)
    async with Line(parts.hostname or "", parts.port or 5432) as line:
        netloc = f"{parts.username}:{parts.password}@127.0.0.1:{line.port}"
        yield line, urlunsplit(parts._replace(netloc=netloc))
