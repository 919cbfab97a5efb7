"""A provider that answers as a test says, and an engine in virtual time: an hour in a hundredth of a second."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from asking import MODEL, a_request, accept
from benchmarks.virtual import run
from lipika.engine.engine import Engine
from lipika.engine.outcome import Accept, Alert, EngineOptions, Events, OnDoubt, Outcome
from lipika.engine.route import Reserve, Route, reserve_unlimited
from lipika.errors import LipikaError
from lipika.llm.capabilities import load_capabilities
from lipika.llm.provider import BaseProvider, TranscriptionRequest, TranscriptionResponse
from lipika.models import Failure, FailureKind, Usage

GOOD = (
    '{"transcription": "ठीक है", "tagged": "ठीक है", "detected_language": "hi", "speaker_emotion": "neutral",'
    ' "speaker_style": "conversational", "speaker_pace": "moderate", "speaker_accent": "unknown"}'
)
METERED = Usage(prompt=500, prompt_text=400, prompt_audio=100, output=100)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the service sees it."""

    clip: int
    asks: int  # of this clip, with this one
    now: float  # seconds since the beginning
    before: int  # requests so far, of all clips


Says = Callable[[Asked], Failure | str | Usage | None]
"""A failure, the text of an answer, what a good answer costs, or None for a good answer."""


class Scripted(BaseProvider):
    """Notes what it is asked, and when."""

    def __init__(self, says: Says, *, name: str = "aistudio", latency_s: float = 0.5) -> None:
        self.says = says
        self.asked: list[Asked] = []
        self.most_at_once = self._out = 0
        self._name = name
        self._latency_s = latency_s
        self._asks: Counter[int] = Counter()

    async def transcribe(self, request: TranscriptionRequest) -> TranscriptionResponse:
        clip = int(request.clip_id.rpartition("/")[2])
        self._asks[clip] += 1
        asked = Asked(clip, self._asks[clip], asyncio.get_running_loop().time(), len(self.asked))
        self.asked.append(asked)
        self._out += 1
        self.most_at_once = max(self.most_at_once, self._out)
        said = self.says(asked)
        timed_out = isinstance(said, Failure) and said.kind is FailureKind.TIMEOUT
        try:
            await asyncio.sleep(120.0 if timed_out else self._latency_s)
        finally:
            self._out -= 1
        if isinstance(said, Failure):
            return TranscriptionResponse(request, self._name, "", said, Usage(), "", self._latency_s * 1000)
        usage = said if isinstance(said, Usage) else METERED
        text = said if isinstance(said, str) else GOOD
        return TranscriptionResponse(request, self._name, text, None, usage, "m", self._latency_s * 1000)

    def get_provider_name(self) -> str:
        return self._name


@dataclass(slots=True)
class Told:
    """How clips ended, by number: an outcome, or why the engine stopped; and what was said meanwhile."""

    ends: dict[int, Outcome | LipikaError]
    alerts: list[Alert]
    seconds: float
    engine: Engine

    def failed(self) -> dict[int, str]:
        return {
            number: str(end.failure.kind)
            for number, end in self.ends.items()
            if isinstance(end, Outcome) and end.failure is not None
        }


def ask(
    providers: Scripted | Sequence[Scripted],
    clips: Iterable[int],
    *,
    options: EngineOptions | None = None,
    reserve: Reserve = reserve_unlimited,
    every_s: float = 0.0,
    within_s: float = 86_400.0,
    accept_for: Mapping[int, Accept] | None = None,
    on_doubt: OnDoubt = lambda _outcome: None,
    events: Events | None = None,
    give_up_at_s: float | None = None,
    linger_s: float = 0.0,
) -> Told:
    """Ask for clips, one after another or all at once, and see how they end; raises TimeoutError if they do not.

    `give_up_at_s`: nobody waits for them from then on; the engine goes on for `linger_s` after the last has ended.
    """
    routes = [
        Route(provider, load_capabilities(MODEL), max_in_flight=2000, reserve=reserve)
        for provider in ([providers] if isinstance(providers, Scripted) else providers)
    ]

    async def job() -> Told:
        loop = asyncio.get_running_loop()
        alerts: list[Alert] = []
        ends: dict[int, Outcome | LipikaError] = {}
        engine = Engine(
            routes,
            worker_id="w",
            options=options or EngineOptions(),
            events=events or Events(on_alert=alerts.append),
            clock=loop.time,
        )

        async def one(number: int) -> None:
            request = replace(a_request(0), clip_id=f"v/{number}")
            try:
                review = (accept_for or {}).get(number, accept)
                ends[number] = await engine.transcribe(request, review, on_doubt)
            except LipikaError as error:
                ends[number] = error

        async with engine, asyncio.timeout(within_s):
            async with asyncio.TaskGroup() as group:
                for number in clips:
                    task = group.create_task(one(number))
                    if give_up_at_s is not None:
                        loop.call_at(give_up_at_s, task.cancel)
                    await asyncio.sleep(every_s)
            seconds = loop.time()
            await asyncio.sleep(linger_s)
        return Told(ends, alerts, seconds, engine)

    return virtually(job)


def virtually(job: Callable[[], Awaitable[Told]]) -> Told:
    """Run in virtual time."""
    return run(job, 1_790_000_000.0)


def http(status: int, kind: FailureKind, retry_after_s: float | None = None, code: str = "") -> Failure:
    return Failure(kind, f"HTTP {status}", retry_after_s, status, code)
