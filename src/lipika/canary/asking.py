"""Ask every clip in every arm, within the fleet's budgets and the canary's own dollars."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from lipika.canary.arms import Arm, ArmKind
from lipika.canary.desks import ArmDesk, JointDesk, ReadingDesk
from lipika.canary.dollar_cap import LOOK_EVERY_S, DollarCap
from lipika.canary.readings import Voice, Voices
from lipika.canary.recording import Recorder
from lipika.canary.records import Asked, Stopped
from lipika.canary.sample import SampledClip
from lipika.canary.together import Circles, ClipToAsk
from lipika.engine.engine import Engine
from lipika.engine.outcome import EngineOptions
from lipika.engine.pacing import Probing
from lipika.engine.route import Reserve, Route
from lipika.llm.capabilities import Capabilities
from lipika.llm.provider import BaseProvider
from lipika.log import get_logger
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
    above: tuple[Way, ...] = ()  # of a cascade, the models after it


@dataclass(frozen=True, slots=True)
class AskOptions:
    """Bounds of a canary."""

    max_usd: float
    max_seconds: float
    engine: EngineOptions
    probing: Probing
    max_in_flight: int
    bands: Bands
    voices: Mapping[str, Voices] = field(default_factory=dict)  # on record, by the audio's digest


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
        desks = [await _open(stack, way, clips, dollar_cap, options) for way in ways]
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
    stopped = tuple(Stopped(desk.arm.name, desk.stopped) for desk in desks if desk.stopped)
    order = {desk.arm.name: place for place, desk in enumerate(desks)}
    asked = sorted(
        (one for desk in desks for one in desk.ended), key=lambda one: (one.number, order[one.row.arm])
    )
    usd = sum(desk.engine.totals.cost_usd for desk in desks)
    return AskedAll(tuple(one.row for one in asked), stopped, watch.reason, watch.lag_ms, usd)


# ----------------------------------------------------------------------------- one arm


async def _open(
    stack: AsyncExitStack,
    way: Way,
    clips: Sequence[SampledClip],
    dollar_cap: DollarCap,
    options: AskOptions,
) -> ArmDesk:
    recorder, route = await _open_route(stack, way, dollar_cap, options, None)
    above = [[(await _open_route(stack, one, dollar_cap, options, recorder))[1]] for one in way.above]
    engine = Engine([route], worker_id=f"canary {way.arm.name}", options=options.engine, above=above)
    await stack.enter_async_context(engine)
    if way.arm.kind is ArmKind.READING:
        return ReadingDesk(way.arm, recorder, engine, options.bands, options.voices)
    if way.arm.clips > 1:
        return JointDesk(way.arm, recorder, engine, options.bands, Circles(clips, way.arm.clips))
    return ArmDesk(way.arm, recorder, engine, options.bands)


async def _open_route(
    stack: AsyncExitStack, way: Way, dollar_cap: DollarCap, options: AskOptions, beside: Recorder | None
) -> tuple[Recorder, Route]:
    """One model of an arm; `beside` is the recorder of the first."""
    recorder = Recorder(await stack.enter_async_context(way.provider), way.capabilities, beside)
    model_id = way.capabilities.model_id
    name = f"{way.arm.name} {model_id}" if way.arm.above else way.arm.name
    route = Route(
        recorder,
        way.capabilities,
        max_in_flight=options.max_in_flight,
        reserve=dollar_cap.guard(name, way.reserve, lambda: recorder.usd),
        probing=options.probing,
        tier=way.arm.tier,
        label=f"{recorder.get_provider_name()} for {model_id}" if way.arm.above else "",
    )
    return recorder, route


async def _ask_in_turn(clips: Sequence[SampledClip], desks: Sequence[ArmDesk], watch: _CanaryWatch) -> None:
    room = asyncio.Semaphore(_CLIPS_AT_ONCE)
    readers = [desk for desk in desks if isinstance(desk, ReadingDesk)]
    first = [desk for desk in desks if not isinstance(desk, ReadingDesk)]

    async def one(number: int, sampled: SampledClip) -> None:
        try:
            clip = ClipToAsk(number, sampled, await asyncio.to_thread(sampled.audio.read_bytes))
            async with asyncio.TaskGroup() as arms:
                for desk in first:
                    arms.create_task(desk.ask(clip))
            baseline = desks[0].rows.get(number)
            for desk in readers:
                if baseline is not None and not watch.reason:
                    await desk.read_again(clip, baseline, _other_voices(desks, number))
        finally:
            room.release()

    async with asyncio.TaskGroup() as group:
        for number, sampled in enumerate(clips):
            await room.acquire()
            if watch.reason or all(desk.stopped for desk in desks):
                return
            group.create_task(one(number, sampled))


def _other_voices(desks: Sequence[ArmDesk], number: int) -> list[Voice]:
    """Texts of a clip in arms that another model or provider has answered, those of other models first."""
    base = desks[0].arm
    others = [
        desk
        for desk in desks[1:]
        if desk.arm.clips == 1
        and not isinstance(desk, ReadingDesk)
        and (desk.arm.model_id, desk.arm.provider) != (base.model_id, base.provider)
    ]
    others.sort(key=lambda desk: desk.arm.model_id == base.model_id)
    found = [(desk.arm.name, desk.rows.get(number)) for desk in others]
    return [
        Voice(name, row.transcription) for name, row in found if row is not None and row.status != "failed"
    ]


# ----------------------------------------------------------------------------- when it is over


class _CanaryWatch:
    """Ends a canary when its dollars or its time are used up."""

    def __init__(
        self,
        desks: Sequence[ArmDesk],
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
                usd=sum(desk.engine.totals.cost_usd for desk in self._desks),
                waits_for=self._waits_for(),
            )
        )

    def _waits_for(self) -> str:
        reasons = {desk.engine.limited_by() for desk in self._desks} - {""}
        return "; ".join(sorted(reasons))
