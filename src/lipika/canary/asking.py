"""Ask every clip in every arm, within the fleet's budgets and the canary's own dollars."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from lipika.canary.arms import Arm
from lipika.canary.dollar_cap import LOOK_EVERY_S, DollarCap
from lipika.canary.records import Asked, Stopped
from lipika.canary.sample import SampledClip
from lipika.engine.engine import Engine
from lipika.engine.outcome import Circumstances, EngineOptions, Outcome, Review
from lipika.engine.pacing import Probing
from lipika.engine.route import Reserve, Route
from lipika.errors import Draining, WorkerStop
from lipika.llm.capabilities import Capabilities
from lipika.llm.provider import BaseProvider, TranscriptionRequest, TranscriptionResponse
from lipika.log import get_logger
from lipika.models import Failure, Judged, Usage
from lipika.pipeline import question
from lipika.validation.bands import Bands
from lipika.wording import duration, money

log = get_logger(__name__)

_CLIPS_AT_ONCE = 256
"""Their audio is in memory; of each, one request an arm is out or waits."""
_CAP_REACHED_AFTER_S = 3.0
"""Slots that were reserved and not used come back within two seconds: only then is the cap known to be reached."""


@dataclass(frozen=True, slots=True)
class Way:
    """An arm with what it needs: its provider, prices, and the fleet's ledger under a name of its own."""

    arm: Arm
    provider: BaseProvider
    capabilities: Capabilities
    reserve: Reserve


@dataclass(frozen=True, slots=True)
class AskOptions:
    """Bounds of a canary."""

    max_usd: float
    max_seconds: float
    engine: EngineOptions
    probing: Probing
    max_in_flight: int
    bands: Bands


@dataclass(slots=True)
class Standing:
    """How far it is; for a display."""

    clips: int
    answers: int = 0
    wanted: int = 0
    usd: float = 0.0
    waits_for: str = ""


@dataclass(frozen=True, slots=True)
class AskedAll:
    """Everything that was asked, in the order of clips and arms, and what ended early."""

    asked: tuple[Asked, ...]
    stopped: tuple[Stopped, ...]
    ended_early: str
    lag_ms: float
    usd: float  # of all requests, those of clips that did not end too


async def ask_all(
    clips: Sequence[SampledClip],
    ways: Sequence[Way],
    options: AskOptions,
    on_change: Callable[[Standing], object] = lambda _standing: None,
    stop_signal: asyncio.Event | None = None,
) -> AskedAll:
    """Ask each clip in all arms side by side; providers are opened and closed here.

    Whatever ends it early (dollars, time, a refused key, a person), what has been answered is returned.
    """
    dollar_cap = DollarCap(options.max_usd)
    async with AsyncExitStack() as stack:
        desks = [await _open(stack, way, dollar_cap, options) for way in ways]
        watch = _CanaryWatch(
            desks, dollar_cap, options, on_change, len(clips), stop_signal or asyncio.Event()
        )
        asking = asyncio.create_task(_ask_in_turn(clips, desks, watch))
        watching = asyncio.create_task(watch.watch_until_over())
        try:
            await asking
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    stopped = tuple(Stopped(desk.way.arm.name, desk.stopped) for desk in desks if desk.stopped)
    order = {desk.way.arm.name: place for place, desk in enumerate(desks)}
    asked = sorted(
        (one for desk in desks for one in desk.ended), key=lambda one: (one.number, order[one.row.arm])
    )
    usd = sum(desk.recorder.usd for desk in desks)
    return AskedAll(tuple(one.row for one in asked), stopped, watch.reason, watch.lag_ms, usd)


# ----------------------------------------------------------------------------- one arm


@dataclass(frozen=True, slots=True)
class _Ended:
    number: int
    row: Asked


@dataclass(slots=True)
class _Desk:
    """One arm at work."""

    way: Way
    recorder: Recorder
    engine: Engine
    bands: Bands
    ended: list[_Ended] = field(default_factory=list)
    stopped: str = ""

    async def ask(self, number: int, sampled: SampledClip, audio: bytes) -> None:
        """Bring one clip to its end in this arm."""
        if self.stopped:
            return
        request = question.request_for(
            sampled.video_id,
            sampled.clip,
            sampled.language,
            audio,
            sampled.sent_format,
            form=self.way.arm.answer,
        )
        view = _View(sampled, self.bands)
        try:
            outcome = await self.engine.transcribe(request, view.review)
        except WorkerStop as reason:
            self.stopped = str(reason)
            return
        except Draining:
            return
        attempts = self.recorder.attempts_at(request.clip_id)
        self.ended.append(_Ended(number, _row(self.way.arm, sampled, outcome, view, attempts)))


async def _open(stack: AsyncExitStack, way: Way, dollar_cap: DollarCap, options: AskOptions) -> _Desk:
    recorder = Recorder(await stack.enter_async_context(way.provider), way.capabilities)
    route = Route(
        recorder,
        way.capabilities,
        max_in_flight=options.max_in_flight,
        reserve=dollar_cap.guard(way.arm.name, way.reserve, lambda: recorder.usd),
        probing=options.probing,
        tier=way.arm.tier,
    )
    engine = Engine([route], worker_id=f"canary {way.arm.name}", options=options.engine)
    return _Desk(way, recorder, await stack.enter_async_context(engine), options.bands)


async def _ask_in_turn(clips: Sequence[SampledClip], desks: Sequence[_Desk], watch: _CanaryWatch) -> None:
    room = asyncio.Semaphore(_CLIPS_AT_ONCE)

    async def one(number: int, sampled: SampledClip) -> None:
        try:
            audio = await asyncio.to_thread(sampled.audio.read_bytes)
            async with asyncio.TaskGroup() as arms:
                for desk in desks:
                    arms.create_task(desk.ask(number, sampled, audio))
        finally:
            room.release()

    async with asyncio.TaskGroup() as group:
        for number, sampled in enumerate(clips):
            await room.acquire()
            if watch.reason or all(desk.stopped for desk in desks):
                return
            group.create_task(one(number, sampled))


# ----------------------------------------------------------------------------- what came back


@dataclass(frozen=True, slots=True)
class _Attempt:
    failure: Failure | None
    usage: Usage
    latency_ms: float


class Recorder(BaseProvider):
    """A provider that remembers every attempt; it changes nothing. Its provider is opened and closed elsewhere."""

    def __init__(self, provider: BaseProvider, capabilities: Capabilities) -> None:
        self._provider = provider
        self._capabilities = capabilities
        self._attempts: dict[str, list[_Attempt]] = {}
        self.usd = 0.0

    async def transcribe(self, request: TranscriptionRequest) -> TranscriptionResponse:
        response = await self._provider.transcribe(request)
        self.usd += self._capabilities.cost_usd(response.usage, response.tier)
        attempt = _Attempt(response.failure, response.usage, response.latency_ms)
        self._attempts.setdefault(request.clip_id, []).append(attempt)
        return response

    def attempts_at(self, clip_id: str) -> Sequence[_Attempt]:
        """The attempts at one clip, which is over."""
        return self._attempts.pop(clip_id, ())

    def get_provider_name(self) -> str:
        return self._provider.get_provider_name()


@dataclass(slots=True)
class _View:
    """Reviews the answers to one clip as the pipeline does, and keeps the first one as it was."""

    sampled: SampledClip
    bands: Bands
    first: Judged | Failure | None = None
    unreadable: list[str] = field(default_factory=list)  # kinds of answers that the parser refused

    def review(self, text: str, asked: Circumstances) -> Review | Failure:
        """An arm has one provider: no other can be asked."""
        alone = replace(asked, switched=True)
        found = question.review(text, self.sampled.clip, self.sampled.language, self.bands, alone)
        self.first = self.first or (found if isinstance(found, Failure) else found.judged)
        if isinstance(found, Failure):
            self.unreadable.append(str(found.kind))
        return found


def _row(
    arm: Arm, sampled: SampledClip, outcome: Outcome, view: _View, attempts: Sequence[_Attempt]
) -> Asked:
    judged = outcome.judged
    verdict = judged.verdict if judged else None
    lanes = (
        {}
        if verdict is None
        else {"asr": verdict.asr, "tts_clean": verdict.tts_clean, "tts_expressive": verdict.tts_expressive}
    )
    answered = [one for one in attempts if one.failure is None or one.failure.http_status == 200]
    return Asked(
        arm=arm.name,
        video_id=sampled.video_id,
        segment_file=f"{sampled.clip.name.stem}.flac",
        language=sampled.language,
        duration_ms=sampled.clip.duration_ms,
        status=str(question.status_of(judged)),
        provider=outcome.provider,
        model_version=outcome.model_version,
        requests=outcome.attempts,
        rate_limited=sum(one.failure is not None and one.failure.rule.is_429 for one in attempts),
        failure_kinds=(
            *(
                str(one.failure.kind)
                for one in attempts
                if one.failure is not None and not one.failure.rule.is_429
            ),
            *view.unreadable,
        ),
        latencies_ms=tuple(round(one.latency_ms, 1) for one in answered),
        cache_hits=sum(one.usage.cached > 0 for one in answered),
        usage=outcome.usage,
        cost_usd=outcome.cost_usd,
        first_findings=_codes(view.first),
        first_failure=_first_failure(view.first, answered),
        quality_score=verdict.quality_score if verdict else None,
        findings=_codes(judged),
        lanes=tuple(name for name, lane in lanes.items() if lane.eligible),
        detected_language=judged.answer.detected_language if judged else "",
        transcription=judged.answer.transcription if judged else "",
    )


def _codes(seen: Judged | Failure | None) -> tuple[str, ...]:
    return tuple(found.code for found in seen.verdict.findings) if isinstance(seen, Judged) else ()


def _first_failure(first: Judged | Failure | None, answered: Sequence[_Attempt]) -> str:
    """Why the first answer could not be read: the provider's word, or the parser's."""
    if answered and answered[0].failure is not None:
        return str(answered[0].failure.kind)
    return str(first.kind) if isinstance(first, Failure) else ""


# ----------------------------------------------------------------------------- when it is over


class _CanaryWatch:
    """Ends a canary when its dollars or its time are used up."""

    def __init__(
        self,
        desks: Sequence[_Desk],
        dollar_cap: DollarCap,
        options: AskOptions,
        on_change: Callable[[Standing], object],
        clips: int,
        stop_signal: asyncio.Event,
    ) -> None:
        self._desks = desks
        self._dollar_cap = dollar_cap
        self._options = options
        self._on_change = on_change
        self._clips = clips
        self._stop_signal = stop_signal
        self._lags_s: list[float] = []
        self.reason = ""

    @property
    def lag_ms(self) -> float:
        """How late the event loop came back to us: the 95th percentile."""
        lags = sorted(self._lags_s)
        return 1000 * lags[int(len(lags) * 0.95)] if lags else 0.0

    def end(self, reason: str) -> None:
        """Launch nothing more; what is in flight comes back."""
        self.reason = self.reason or reason
        for desk in self._desks:
            desk.engine.drain()

    async def watch_until_over(self) -> None:
        deadline = time.monotonic() + self._options.max_seconds
        idle_since = time.monotonic()
        while not self.reason:
            looked = time.monotonic()
            await asyncio.sleep(LOOK_EVERY_S)
            now = time.monotonic()
            self._lags_s.append(max(now - looked - LOOK_EVERY_S, 0.0))
            self._tell()
            if any(desk.engine.in_flight for desk in self._desks):
                idle_since = now
            refused = now - self._dollar_cap.refused_at < 2 * LOOK_EVERY_S + 1
            if self._stop_signal.is_set():
                self.end("interrupted")
            elif refused and now - idle_since > _CAP_REACHED_AFTER_S:
                self.end(f"the cap of {money(self._options.max_usd)} is reached (--max-usd)")
            elif now > deadline:
                waits = self._waits_for()
                because = f"; it waited for: {waits}" if waits else ""
                self.end(f"{duration(self._options.max_seconds)} are over (--max-minutes){because}")
        self._tell()

    def _tell(self) -> None:
        self._on_change(
            Standing(
                clips=self._clips,
                answers=sum(len(desk.ended) for desk in self._desks),
                wanted=self._clips * len(self._desks),
                usd=sum(desk.recorder.usd for desk in self._desks),
                waits_for=self._waits_for(),
            )
        )

    def _waits_for(self) -> str:
        reasons = {desk.engine.limited_by() for desk in self._desks} - {""}
        return "; ".join(sorted(reasons))
