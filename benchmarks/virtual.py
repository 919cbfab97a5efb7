"""A fleet in virtual time: the real engine, routes and client, the real governor in Postgres, the real simulator.

Only clocks and sockets are left out: the event loop's time jumps to the next thing to happen, and a request goes from
the client's bytes to the simulator's reader and back without a connection. A day takes a minute or two.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest import mock

import numpy as np
import psycopg
from psycopg.rows import class_row

from lipika import validation
from lipika.audio.codec import Audio, encode_flac
from lipika.db.queries import load
from lipika.db.reservations import FRESH_S, LEASE_S, Reservation
from lipika.engine.engine import Engine
from lipika.engine.outcome import Accept, Circumstances, EngineOptions, Outcome, Review
from lipika.engine.route import Need, Reserve, Route, Slots
from lipika.forecast.budget import GRANT_HORIZON_S, SAFETY
from lipika.languages import FIRST_CLASS
from lipika.llm import prompt, transcript
from lipika.llm.aistudio import AIStudioProvider
from lipika.llm.capabilities import load_capabilities
from lipika.llm.provider import Body, ModelOptions, TranscriptionRequest
from lipika.llm.replies import Reply
from lipika.models import AudioFacts, Clip, Failure, Judged, SegmentName
from lipika.simulator import SimulatorConfig, gemini
from lipika.simulator.audio import glance
from lipika.simulator.simulation import Simulation

MODEL = "gemini-3-flash-preview"
_TEMPLATES = 60
T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: time moves on instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is not None and timeout > 0:
            self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def run(work: Callable[[], Awaitable[T]], start_unix_s: float) -> T:
    """Run a coroutine in virtual time that begins at this Unix time."""

    async def job() -> T:
        return await work()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        clock = SimpleNamespace(
            time=lambda: start_unix_s + loop.time(), monotonic=loop.time, perf_counter=loop.time
        )
        with mock.patch("lipika.engine.engine.time", clock), mock.patch("lipika.llm.provider.time", clock):
            return runner.run(job())


# ----------------------------------------------------------------------------- clips


@dataclass(frozen=True, slots=True)
class Population:
    """Made-up clips: number n is always the same one. Lengths in seconds lie between the two, evenly."""

    seconds: tuple[float, float] = (2.5, 9.5)

    def request(self, number: int) -> TranscriptionRequest:
        language = FIRST_CLASS[number % len(FIRST_CLASS)]
        template = number % _TEMPLATES
        audio, seconds = _flac(template, *self.seconds)
        ms = round(seconds * 1000)
        return TranscriptionRequest(
            clip_id=f"clips/{number}",
            video_id=f"video{number // 25}",
            language=language,
            system_prompt=prompt.system_prompt(language),
            clip_prompt=prompt.clip_prompt(ms),
            # The simulator's light ear tells clips apart by the digest in the header.
            audio=audio[:26] + number.to_bytes(16, "big") + audio[42:],
            audio_ms=ms,
            max_output_tokens=prompt.max_output_tokens(ms, language),
            varied_prompt=prompt.clip_prompt(ms, varied=True),
        )


@functools.cache
def _flac(template: int, low_s: float, high_s: float) -> tuple[bytes, float]:
    chance = np.random.default_rng(template)
    seconds = low_s + (high_s - low_s) * (template + 0.5) / _TEMPLATES
    noise = chance.normal(0, 3000, int(seconds * 16_000)).clip(-32768, 32767).astype(np.int16)
    return encode_flac(Audio(noise, 16_000, 16)), seconds


def review(request: TranscriptionRequest) -> Accept:
    """As the pipeline reviews, for a clip of which only the length is known; what is doubted is kept."""
    name = SegmentName("speaker0", 0, max(request.audio_ms // 10, 1))
    facts = AudioFacts(int(request.audio_ms * 0.8), -20.0, -3.0, 30.0, 0.0, 7000)
    clip = Clip(
        name,
        name,
        0,
        request.audio_ms,
        0,
        request.audio_ms,
        0,
        0,
        request.audio_ms,
        16_000,
        16,
        1.0,
        (),
        facts,
        "",
        "0",
    )

    def accept(text: str, _asked: Circumstances) -> Review | Failure:
        answer = transcript.read_answer(text)
        if isinstance(answer, Failure):
            return answer
        return Review(Judged(answer, validation.validate(answer, clip, request.language)))

    return accept


# ----------------------------------------------------------------------------- the fleet


class _Direct(AIStudioProvider):
    """The real client, its bytes handed to the simulator without a socket."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._model = load_capabilities(MODEL)
        super().__init__(
            base_url="http://127.0.0.1",
            api_key="virtual",
            options=ModelOptions(MODEL, 0.0, "low", 1e9),
            capabilities=self._model,
            response_schema=transcript.response_schema(),
        )

    async def _send(
        self,
        method: str,
        url: str,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        deadline_s: float | None = None,
    ) -> Reply | Failure:
        del method, url, deadline_s
        ledger = self._simulation.ledger
        told = (headers or {}).get("X-Server-Timeout")
        question = gemini.read(
            body.make() if body else b"",
            model=self._model,
            project="p",
            hear=glance,
            server_timeout_s=None if told is None else float(told),
        )
        ledger.begin(0)
        reply = self._simulation.ask(question)
        page = gemini.page(reply.outcome, MODEL)
        await asyncio.sleep(reply.delivery.delay_s)
        ledger.end(page.status)
        return Reply(
            page.status,
            page.body,
            page.headers.get("Retry-After"),
            service_tier=page.headers.get("x-gemini-service-tier"),
        )


@dataclass(slots=True)
class Governor:
    """`lipika_grant` with the clock passed in, one connection for the whole fleet."""

    connection: psycopg.Connection[Any]
    unix_s: Callable[[], float]
    asked: int = 0
    binds: dict[str, int] = field(default_factory=dict)

    def reserve_for(self, worker_id: str) -> Reserve:
        query = load("reservations")["reserve"].sql

        async def reserve(need: Need) -> Slots:
            self.asked += 1
            params = {
                "key": "of a fleet in virtual time",
                "worker_id": worker_id,
                "provider": need.provider,
                "project": "",
                "wanted": need.wanted,
                "tokens_each": need.tokens_each,
                "usd_each": need.usd_each,
                "usd_most": need.usd_most,
                "tokens_over": need.tokens_over,
                "usd_over": need.usd_over,
                "usd_metered": need.usd_metered,
                "reserved_usd": need.reserved_usd,
                "horizon_s": GRANT_HORIZON_S,
                "safety": SAFETY,
                "fresh_s": FRESH_S,
                "lease_s": LEASE_S,
                "at": self.unix_s(),
            }
            with self.connection.cursor(row_factory=class_row(Reservation)) as cursor:
                got = cursor.execute(query, params).fetchone()
            assert got is not None
            self.binds[got.binds] = self.binds.get(got.binds, 0) + 1
            return Slots(got.granted, got.start_in_s, got.step_s, got.binds, got.retry_in_s, got.unlimited)

        return reserve


@dataclass(frozen=True, slots=True)
class Ran:
    """A queue that was worked off. Seconds are virtual: first request to last answer."""

    seconds: float
    outcomes: Sequence[Outcome]
    requests: int
    rate_limited: int
    usd: float
    latency_s: float  # mean of a request


async def work_off(
    numbers: Sequence[int],
    population: Population,
    simulator: SimulatorConfig,
    reserves: Sequence[Reserve],
    *,
    batch_size: int = 1000,
) -> Ran:
    """One worker for each reserve; they share the queue and the simulator."""
    loop = asyncio.get_running_loop()
    simulation = Simulation(simulator, clock=loop.time)
    queue: Iterator[int] = iter(numbers)
    outcomes: list[Outcome] = []
    ended = started = loop.time()

    async def one(engine: Engine, number: int, room: asyncio.Semaphore) -> None:
        nonlocal ended
        request = population.request(number)
        try:
            outcomes.append(await engine.transcribe(request, review(request)))
        finally:
            room.release()
        ended = loop.time()

    async def worker(engine: Engine) -> None:
        room = asyncio.Semaphore(batch_size)
        async with asyncio.TaskGroup() as clips:
            while True:
                await room.acquire()
                number = next(queue, None)
                if number is None:
                    return
                clips.create_task(one(engine, number, room))

    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(_worker(simulation, reserve, index, EngineOptions(batch_size)))
            for index, reserve in enumerate(reserves)
        ]
        async with asyncio.TaskGroup() as workers:
            for engine in engines:
                workers.create_task(worker(engine))
    requests = sum(engine.totals.requests for engine in engines)
    return Ran(
        seconds=ended - started,
        outcomes=outcomes,
        requests=requests,
        rate_limited=sum(engine.totals.rate_limited for engine in engines),
        usd=simulation.ledger.cost_usd,
        latency_s=sum(engine.totals.latency_ms for engine in engines) / 1000 / requests,
    )


@asynccontextmanager
async def _worker(
    simulation: Simulation, reserve: Reserve, index: int, options: EngineOptions
) -> AsyncIterator[Engine]:
    loop = asyncio.get_running_loop()
    async with _Direct(simulation) as provider:
        route = Route(provider, load_capabilities(MODEL), max_in_flight=2000, reserve=reserve)
        async with Engine([route], worker_id=f"w{index}", options=options, clock=loop.time) as engine:
            yield engine


@contextmanager
def governed(url: str) -> Iterator[Callable[[float], Governor]]:
    """Gives governors on a database with budgets; each begins at a Unix time of its own."""
    with psycopg.connect(url, autocommit=True) as connection:

        def at(start_unix_s: float) -> Governor:
            def unix_s() -> float:
                return start_unix_s + asyncio.get_running_loop().time()

            return Governor(connection, unix_s)

        yield at


def numbered(count: int, start: int = 0) -> Sequence[int]:
    """Clip numbers."""
    return list(itertools.islice(itertools.count(start), count))
