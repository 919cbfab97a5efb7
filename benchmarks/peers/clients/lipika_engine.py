"""lipika's engine and provider, on the ledger in Postgres as its workers are. It parses the answer, too."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack

import uvloop

from benchmarks.peers.drive import CLIP_PROMPT, MODEL, SYSTEM_PROMPT, TIMEOUT_S, Client, OneByOne, Task
from lipika.db.connection import Database
from lipika.db.workers import WorkerInfo, Workers, WorkerStats
from lipika.engine.engine import Engine
from lipika.engine.outcome import Circumstances, EngineOptions, Review
from lipika.engine.route import Route
from lipika.jobs import wiring
from lipika.llm import transcript
from lipika.llm.aistudio import AIStudioProvider
from lipika.llm.capabilities import load_capabilities
from lipika.llm.provider import ModelOptions, TranscriptionRequest
from lipika.models import Failure, Judged, Lane, Verdict
from lipika.processes import settle_in

_WORKER = "peers"
_NO_VERDICT = Verdict((), 1.0, {}, Lane(True), Lane(True), Lane(True), False, False, 0, 0, 0, 1.0, "")


class LipikaEngine(OneByOne):
    async def open(self) -> None:
        self._numbers = itertools.count()
        self._stack = AsyncExitStack()
        workers = Workers(database := await self._stack.enter_async_context(Database(self.task.database_url)))
        await workers.register(WorkerInfo(_WORKER, _WORKER, "aistudio", None, {}))
        beating = asyncio.create_task(_beat(workers))
        self._stack.callback(beating.cancel)
        provider = AIStudioProvider(
            base_url=self.task.url,
            api_key=self.task.key,
            options=ModelOptions(MODEL, 0.0, "low", TIMEOUT_S),
            capabilities=load_capabilities(MODEL),
            response_schema=transcript.response_schema(),
        )
        route = Route(
            await self._stack.enter_async_context(provider),
            load_capabilities(MODEL),
            max_in_flight=self.task.in_flight,
            reserve=wiring.fleet_ledger(database, _WORKER),
        )
        options = EngineOptions(batch_size=1_000_000)  # the quota is to bind, not the pace
        self._engine = await self._stack.enter_async_context(
            Engine([route], worker_id=_WORKER, options=options)
        )

    async def close(self) -> None:
        await self._stack.aclose()

    async def ask(self, flac: bytes) -> str:
        request = TranscriptionRequest(
            clip_id=str(next(self._numbers)),
            video_id="peers",
            language="hi",
            system_prompt=SYSTEM_PROMPT,
            clip_prompt=CLIP_PROMPT,
            audio=flac,
            audio_ms=8000,
            max_output_tokens=3000,
        )
        outcome = await self._engine.transcribe(request, _read)
        if outcome.judged is None:
            raise RuntimeError(str(outcome.failure))
        return outcome.judged.answer.transcription


def _read(text: str, _asked: Circumstances) -> Review | Failure:
    answer = transcript.parse_answer(text)
    return answer if isinstance(answer, Failure) else Review(Judged(answer, _NO_VERDICT))


async def _beat(workers: Workers) -> None:
    while True:
        await workers.heartbeat(_WORKER, WorkerStats("aistudio"))
        await asyncio.sleep(5)


def client(task: Task) -> Client:
    return LipikaEngine(task)


def runner() -> asyncio.Runner:
    """As the command line runs it."""
    settle_in()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
