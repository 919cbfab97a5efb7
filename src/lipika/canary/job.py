"""A canary from its order to its report: choose, ask, measure, judge, keep. The canary on a page."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lipika import __version__
from lipika.archive.sources import find_videos, object_url
from lipika.canary.arms import Arm, ArmKind, Skipped, plan_arms
from lipika.canary.asking import AskedAll, AskOptions, Standing, Way, ask_all
from lipika.canary.judgement import GoLimits, judge
from lipika.canary.keeping import FOLDER, open_shelf
from lipika.canary.measures import mean_latency_s, measure, units
from lipika.canary.records import Asked, CanaryRun
from lipika.canary.report import CanaryReport
from lipika.canary.sample import ClipSample, Desk, SampleArchive, take_sample
from lipika.config import SIMULATED_KEY, Settings, require_key
from lipika.db.canary import Canaries
from lipika.db.connection import Database
from lipika.engine.route import Reserve, reserve_unlimited
from lipika.errors import LipikaError, UsageError
from lipika.forecast.workload import Counted
from lipika.jobs.outlook import ForecastQuestion, MeasuredSample, Prediction, outlook, sample_to_json
from lipika.jobs.wiring import ask_who_answers, engine_options, fleet_ledger, make_provider, probing
from lipika.llm import prompt
from lipika.llm.capabilities import Capabilities, cache_note, load_capabilities
from lipika.llm.provider import text_tokens
from lipika.models import AnswerForm, HintFrom, SendFormat, is_made_up
from lipika.processes import stop_signals
from lipika.rework.limits import find_bands
from lipika.services import Stores, store_settings
from lipika.simulator import SimulatorConfig, spawn

_CANDIDATES_EACH = 60
"""Archives looked at for each language, at most: some may be damaged or hold nothing usable."""


@dataclass(frozen=True, slots=True)
class CanaryOrder:
    """A canary as ordered on the command line. Empty `sources`: archives of the queue."""

    sources: Sequence[str] = ()
    clips: int = 1000
    seed: int = 0
    kinds: Sequence[ArmKind] = tuple(ArmKind)
    levels: Sequence[str] | None = None  # thinking levels to compare; None: the usual ones
    max_usd: float = 10.0
    max_minutes: float = 60.0
    limits: GoLimits = field(default_factory=GoLimits)
    queue_clips: float | None = None  # for the forecast; None: counted
    workers: int | None = None
    out: str = ""  # empty: OUTPUT_URL, else the working folder


@dataclass(frozen=True, slots=True)
class FinishedCanary:
    """A report, where it lies, and what could not be kept as it should be."""

    report: CanaryReport
    files: tuple[str, ...]
    troubles: tuple[str, ...] = ()


async def run_canary(
    settings: Settings,
    database: Database,
    order: CanaryOrder,
    on_change: Callable[[Standing], object] = lambda _standing: None,
) -> FinishedCanary:
    """The whole canary. It spends at most `order.max_usd`, within the fleet's budgets.

    Raises:
        UsageError: there are no archives, or none with a known language.
        SettingsError: the primary provider has no key.
        StorageError: nothing can be written where the report shall go; nothing has been asked then.
    """
    require_key(settings)
    started_at, started = datetime.now(UTC), time.monotonic()
    run_id = f"{started_at:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    model = load_capabilities(settings.model_id, settings.models_file)
    arms, skipped = _arms(settings, model, order)
    root = object_url(order.out or settings.output_url or str(Path.cwd()), f"{FOLDER}/{run_id}")
    shelf = await open_shelf(settings, database, run_id, root)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(_scratch(settings.spool_dir)))
        clips = await _choose(settings, database, order, folder)
        await Canaries(database).start(run_id, _config(settings, order, arms), shelf.url)
        asked = await _ask(settings, database, order, arms, model, clips, run_id, on_change)
    run = CanaryRun(
        run_id=run_id,
        started_at=started_at,
        seconds=time.monotonic() - started,
        model_id=settings.model_id,
        simulated=settings.provider == "simulator" or _any_made_up(asked.asked),
        seed=order.seed,
        clips_wanted=order.clips,
        max_usd=order.max_usd,
        videos=tuple(clips.videos),
        asked=asked.asked,
        stopped=asked.stopped,
        ended_early=asked.ended_early,
        usd=asked.usd,
        lag_ms=asked.lag_ms,
    )
    await shelf.keep_answers(run.asked)
    report = await _report(settings, database, order, run, arms, skipped, model)
    files = await shelf.keep_report(report, run.asked)
    return FinishedCanary(report, files, tuple(shelf.troubles))


def _arms(settings: Settings, model: Capabilities, order: CanaryOrder) -> tuple[list[Arm], list[Skipped]]:
    other = settings.other_provider
    return plan_arms(
        provider=settings.real_provider,
        other_provider=other if settings.key_of(other) or settings.provider == "simulator" else None,
        temperature=settings.temperature,
        thinking_level=settings.thinking_level,
        model=model,
        answer=AnswerForm(settings.answer),
        kinds=order.kinds,
        levels=order.levels,
    )


def _config(settings: Settings, order: CanaryOrder, arms: Sequence[Arm]) -> dict[str, object]:
    return {
        "model_id": settings.model_id,
        "arms": [asdict(arm) for arm in arms],
        "seed": order.seed,
        "clips": order.clips,
        "max_usd": order.max_usd,
        "sources": list(order.sources),
        "lipika_version": __version__,
        "prompt_version": prompt.prompt_version(AnswerForm(settings.answer)),
    }


def _scratch(parent: Path | None) -> tempfile.TemporaryDirectory[str]:
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="lipika-canary-", dir=parent)


def _any_made_up(asked: Sequence[Asked]) -> bool:
    return any(is_made_up(one.model_version) for one in asked)


# ----------------------------------------------------------------------------- choose


async def _choose(settings: Settings, database: Database, order: CanaryOrder, folder: Path) -> ClipSample:
    stores = Stores(store_settings(settings))
    if order.sources:
        videos = await find_videos(order.sources, "unused", store_settings(settings))
        candidates = [
            SampleArchive(one.video_id, one.source_key, one.language, one.source_bytes) for one in videos
        ]
    else:
        queued = await Canaries(database).candidates(order.seed, _CANDIDATES_EACH)
        candidates = [
            SampleArchive(
                one.video_id, one.source_key, one.language, one.source_bytes, HintFrom(one.language_from)
            )
            for one in queued
        ]
    if not candidates:
        raise UsageError(
            "the queue is empty: fill it (lipika queue add), or name archives: lipika canary my_tars/"
        )
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="canary") as threads:
        desk = Desk(
            lambda key: stores.place(key, settings.store_url),
            threads,
            folder,
            SendFormat(settings.send_format),
        )
        return await take_sample(candidates, order.clips, order.seed, desk)


# ----------------------------------------------------------------------------- ask


async def _ask(
    settings: Settings,
    database: Database,
    order: CanaryOrder,
    arms: Sequence[Arm],
    model: Capabilities,
    clips: ClipSample,
    run_id: str,
    on_change: Callable[[Standing], object],
) -> AskedAll:
    options = AskOptions(
        max_usd=order.max_usd,
        max_seconds=order.max_minutes * 60,
        # All arms together ask as much as one worker does: more would measure this machine, not the service.
        engine=engine_options(settings, shares=len(arms)),
        probing=probing(settings),
        max_in_flight=settings.max_in_flight,
        bands=await find_bands(settings, database),
    )
    async with _reachable(settings) as reachable:
        # The simulator understands all of OpenRouter's fields.
        routed = True if any((await ask_who_answers(reachable)).values()) else None
        ways = [
            Way(
                arm,
                make_provider(_settings_of_arm(reachable, arm), arm.provider, routed=routed),
                model,
                _ledger(settings, database, f"canary-{run_id}-{number}"),
            )
            for number, arm in enumerate(arms)
        ]
        stop = asyncio.Event()  # the first Ctrl-C ends the asking and still gives a report
        with stop_signals(stop.set, _end_at_once):
            return await ask_all(clips.clips, ways, options, on_change, stop)


@asynccontextmanager
async def _reachable(settings: Settings) -> AsyncIterator[Settings]:
    """The settings as they are; with PROVIDER=simulator one is started that speaks for both providers."""
    if settings.provider != "simulator":
        yield settings
        return
    async with spawn(SimulatorConfig(models=(settings.model_id,))) as simulator:
        yield settings.model_copy(
            update={
                "provider": "aistudio",
                "gemini_base_url": simulator.url,
                "gemini_api_key": SIMULATED_KEY,
                "openrouter_base_url": simulator.openrouter_url,
                "openrouter_api_key": SIMULATED_KEY,
            }
        )


def _settings_of_arm(settings: Settings, arm: Arm) -> Settings:
    asked = {"temperature": arm.temperature, "thinking_level": arm.thinking_level, "answer": str(arm.answer)}
    return settings.model_copy(update=asked)


def _ledger(settings: Settings, database: Database, name: str) -> Reserve:
    """The fleet's, under a name for each arm; made-up answers of our own simulator cost nothing and nobody."""
    if settings.provider == "simulator":
        return reserve_unlimited
    return fleet_ledger(database, name)


def _end_at_once() -> None:
    raise KeyboardInterrupt


# ----------------------------------------------------------------------------- measure, judge


async def _report(
    settings: Settings,
    database: Database,
    order: CanaryOrder,
    run: CanaryRun,
    arms: Sequence[Arm],
    skipped: Sequence[Skipped],
    model: Capabilities,
) -> CanaryReport:
    measures = measure(run, arms)
    sample = _sample(run, arms[0])
    ahead, because = await _look_ahead(settings, database, order, sample)
    note = cache_note(model, text_tokens(prompt.system_prompt("hi", arms[0].answer)))
    return CanaryReport(
        run_id=run.run_id,
        lipika_version=__version__,
        prompt_version=prompt.prompt_version(arms[0].answer),
        started_at=run.started_at,
        seconds=run.seconds,
        model_id=run.model_id,
        simulated=run.simulated,
        seed=run.seed,
        clips_wanted=run.clips_wanted,
        videos=len(run.videos),
        max_usd=run.max_usd,
        usd=run.usd,
        ended_early=run.ended_early,
        arms=tuple(arms),
        skipped=tuple(skipped),
        measures=measures,
        judgement=judge(run, measures, skipped, ahead.forecast if ahead else None, order.limits, note),
        limits=order.limits,
        outlook=ahead,
        no_outlook_because=because,
        cache_reason=note,
        forecast_sample=sample_to_json(sample) if sample.units else None,
    )


def _sample(run: CanaryRun, baseline: Arm) -> MeasuredSample:
    found = units(run, baseline.name)
    return MeasuredSample(
        source=f"canary {run.run_id}, {sum(one.clips for one in found):,.0f} clips",
        units=tuple(found),
        counted=tuple(
            Counted(one.language, one.clips_estimated, one.source_bytes) for one in run.videos if one.segments
        ),
        latency_s=mean_latency_s(run, baseline.name),
        simulated=run.simulated,
    )


async def _look_ahead(
    settings: Settings, database: Database, order: CanaryOrder, sample: MeasuredSample
) -> tuple[Prediction | None, str]:
    if not sample.units:
        return None, "no clip was answered"
    question = ForecastQuestion(
        settings.real_provider, order.queue_clips, order.workers, order.limits.hours_at_most
    )
    try:
        return await outlook(database, settings, question, sample), ""
    except LipikaError as reason:  # what was asked is paid for: it gets its report, database or not
        return None, str(reason)
