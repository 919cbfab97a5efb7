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
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from lipika import __version__
from lipika.archive.sources import find_videos, object_url
from lipika.canary.arms import USUAL_KINDS, Arm, ArmKind, Skipped, plan_arms
from lipika.canary.asking import AskedAll, AskOptions, Standing, Way, ask_all
from lipika.canary.judgement import GoLimits
from lipika.canary.keeping import FOLDER, open_shelf
from lipika.canary.listening import hear
from lipika.canary.measures import measure
from lipika.canary.planning import CanaryPlan, design_of, plan_clips, usual_clip
from lipika.canary.readings import Voice, Voices
from lipika.canary.recommendation import Margins
from lipika.canary.records import Asked, CanaryRun
from lipika.canary.report import CanaryReport
from lipika.canary.reporting import Asking, Wanted, make_report
from lipika.canary.sample import ClipSample, Desk, SampleArchive, take_sample
from lipika.canary.tried import plan_tried, settings_of_arm
from lipika.config import SIMULATED_KEY, Settings, require_key
from lipika.db.canary import Canaries
from lipika.db.connection import Database
from lipika.db.tombstones import Tombstones
from lipika.db.voters import Voters
from lipika.engine.route import Reserve, reserve_unlimited
from lipika.errors import UsageError
from lipika.jobs.wiring import (
    ask_who_answers,
    engine_options,
    fleet_ledger,
    make_provider,
    probing,
    prompt_version_of,
    simulator_of,
)
from lipika.languages import FIRST_CLASS, find_language
from lipika.llm.capabilities import Capabilities, load_capabilities
from lipika.models import AnswerForm, HintFrom, SendFormat, ServiceTier, VoterKind, is_made_up
from lipika.pipeline.tombstones import ErasedAudio
from lipika.processes import stop_signals
from lipika.rework.limits import find_bands
from lipika.services import Stores, store_settings
from lipika.simulator import spawn

_MAY_GO_UP = 0.5
_CANDIDATES_EACH = 60
"""Archives looked at for each language, at most: some may be damaged or hold nothing usable."""


@dataclass(frozen=True, slots=True)
class CanaryOrder:
    """A canary as ordered on the command line. Empty `sources`: archives of the queue."""

    sources: Sequence[str] = ()
    clips: int | None = (
        None  # over all languages; None: as many as a recommendation takes and `max_usd` pays for
    )
    seed: int = 0
    kinds: Sequence[ArmKind] = USUAL_KINDS
    levels: Sequence[str] | None = None  # thinking levels to compare; None: the usual ones
    tried: Sequence[str] = ()  # arms by their settings, `NAME=value NAME=value`
    max_usd: float = 25.0
    max_minutes: float = 60.0
    limits: GoLimits = field(default_factory=GoLimits)
    margins: Margins = field(default_factory=Margins)  # how much worse an arm may be and still be recommended
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
    on_plan: Callable[[CanaryPlan], object] = lambda _plan: None,
) -> FinishedCanary:
    """The whole canary. It spends at most `order.max_usd`, within the fleet's budgets.

    `on_plan` hears how many clips are asked, and what they can tell, before the first one is.

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
    archives = await _find_archives(settings, database, order)
    plan = _plan(settings, order, arms, archives)
    on_plan(plan)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(_scratch(settings.spool_dir)))
        chosen = await _choose(settings, archives, plan.clips, order.seed, folder)
        clips = await _without_erased(chosen, database)
        await Canaries(database).start(run_id, _config(settings, order, plan, arms), shelf.url)
        asked = await _ask(settings, database, order, arms, clips, run_id, on_change)
        run = CanaryRun(
            run_id=run_id,
            started_at=started_at,
            seconds=time.monotonic() - started,
            model_id=settings.model_id,
            simulated=settings.provider == "simulator" or _any_made_up(asked.asked),
            seed=order.seed,
            clips_wanted=plan.clips,
            max_usd=order.max_usd,
            videos=tuple(clips.videos),
            asked=asked.asked,
            stopped=asked.stopped,
            ended_early=asked.ended_early,
            usd=asked.usd,
            not_asked=clips.not_asked,
            lag_ms=asked.lag_ms,
        )
        await shelf.keep_answers(run.asked)
        measures = measure(run, arms)
        heard = hear(measures, clips.clips)
    wanted = Wanted(order.limits, order.margins, order.queue_clips, order.workers)
    asking = Asking(arms, skipped, model, plan)
    report = await make_report(settings, database, wanted, run, asking, measures)
    files = await shelf.keep_report(report, run.asked, heard)
    return FinishedCanary(report, files, tuple(shelf.troubles))


def _arms(settings: Settings, model: Capabilities, order: CanaryOrder) -> tuple[list[Arm], list[Skipped]]:
    other = settings.other_provider
    arms, skipped = plan_arms(
        provider=settings.real_provider,
        other_provider=other if settings.key_of(other) or settings.provider == "simulator" else None,
        temperature=settings.temperature,
        thinking_level=settings.thinking_level,
        model=model,
        answer=AnswerForm(settings.answer),
        model_id=settings.model_id,
        above=settings.models[1:],
        tier=ServiceTier(settings.service_tier),
        kinds=order.kinds,
        levels=order.levels,
        prompt_file=str(settings.prompt_file or ""),
    )
    return [*arms, *plan_tried(settings, order.tried, arms)], skipped


def _model_of(settings: Settings, arm: Arm) -> Capabilities:
    return load_capabilities(arm.model_id, settings.models_file)


def _usual_usd(settings: Settings, arm: Arm) -> float:
    """Dollars of a clip in this arm, before anything is measured; of a cascade, as if half of the clips went up."""
    clip = usual_clip(arm.thinking_level, arm.answer, arm.clips)
    each = [load_capabilities(name, settings.models_file).cost_usd(clip, arm.tier) for name in arm.models]
    return sum(usd * _MAY_GO_UP**step for step, usd in enumerate(each))


def _plan(
    settings: Settings, order: CanaryOrder, arms: Sequence[Arm], archives: Sequence[SampleArchive]
) -> CanaryPlan:
    """For the languages that archives name; where none is known, for all."""
    named = {found.code for one in archives if (found := find_language(one.language)) is not None}
    design = design_of(order.margins, _count_compared(arms), len(named or FIRST_CLASS))
    usd_each = sum(_usual_usd(settings, arm) for arm in arms)
    return plan_clips(design, order.clips, usd_each, order.max_usd)


def _count_compared(arms: Sequence[Arm]) -> int:
    """Arms whose p-values are adjusted to each other: experimental ones are tested apart."""
    experimental = sum(arm.is_experimental for arm in arms)
    return max(len(arms) - 1 - experimental, experimental)


def _config(
    settings: Settings, order: CanaryOrder, plan: CanaryPlan, arms: Sequence[Arm]
) -> dict[str, object]:
    return {
        "model_id": settings.model_id,
        "arms": [asdict(arm) for arm in arms],
        "seed": order.seed,
        "clips": plan.clips,
        "max_usd": order.max_usd,
        "sources": list(order.sources),
        "lipika_version": __version__,
        "prompt_version": prompt_version_of(settings),
    }


def _scratch(parent: Path | None) -> tempfile.TemporaryDirectory[str]:
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="lipika-canary-", dir=parent)


def _any_made_up(asked: Sequence[Asked]) -> bool:
    return any(is_made_up(one.model_version) for one in asked)


# ----------------------------------------------------------------------------- choose


async def _find_archives(settings: Settings, database: Database, order: CanaryOrder) -> list[SampleArchive]:
    if order.sources:
        videos = await find_videos(order.sources, "unused", store_settings(settings))
        found = [
            SampleArchive(one.video_id, one.source_key, one.language, one.source_bytes) for one in videos
        ]
    else:
        queued = await Canaries(database).candidates(order.seed, _CANDIDATES_EACH)
        found = [
            SampleArchive(
                one.video_id, one.source_key, one.language, one.source_bytes, HintFrom(one.language_from)
            )
            for one in queued
        ]
    if not found:
        raise UsageError(
            "the queue is empty: fill it (lipika queue add), or name archives: lipika canary my_tars/"
        )
    return found


async def _choose(
    settings: Settings, archives: Sequence[SampleArchive], clips: int, seed: int, folder: Path
) -> ClipSample:
    stores = Stores(store_settings(settings))
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="canary") as threads:
        desk = Desk(
            lambda key: stores.place(key, settings.store_url),
            threads,
            folder,
            SendFormat(settings.send_format),
            settings.ask_silence,
        )
        return await take_sample(archives, clips, seed, desk)


async def _without_erased(sample: ClipSample, database: Database) -> ClipSample:
    """Nobody is asked about erased clips."""
    erased = ErasedAudio(Tombstones(database))
    names = {video: await erased.look_up(video) for video in {clip.video_id for clip in sample.clips}}
    gone = await erased.find(
        [one.clip.audio_digest for one in sample.clips if erased.may_be(one.clip.audio_digest)]
    )
    sample.clips = [
        one
        for one in sample.clips
        if one.clip.audio_digest not in gone and not names[one.video_id].covers(one.clip.name)
    ]
    return sample


# ----------------------------------------------------------------------------- ask


async def _ask(
    settings: Settings,
    database: Database,
    order: CanaryOrder,
    arms: Sequence[Arm],
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
        voices=await _find_voices(database, arms, clips),
    )
    async with _reachable(settings, arms) as reachable:
        # The simulator understands all of OpenRouter's fields.
        routed = True if any((await ask_who_answers(reachable)).values()) else None
        numbers = count()

        def way_of(arm: Arm, model_id: str, above: tuple[Way, ...] = ()) -> Way:
            made = settings_of_arm(reachable, replace(arm, model_id=model_id, above=()))
            return Way(
                arm,
                make_provider(made, arm.provider, routed=routed),
                load_capabilities(model_id, settings.models_file),
                _ledger(settings, database, f"canary-{run_id}-{next(numbers)}"),
                above,
            )

        ways = [way_of(arm, arm.model_id, tuple(way_of(arm, name) for name in arm.above)) for arm in arms]
        stop = asyncio.Event()  # the first Ctrl-C ends the asking and still gives a report
        with stop_signals(stop.set, _end_at_once):
            return await ask_all(clips.clips, ways, options, on_change, stop)


async def _find_voices(database: Database, arms: Sequence[Arm], clips: ClipSample) -> dict[str, Voices]:
    """The texts on record of clips that are read again, where archives have been transcribed before."""
    if not any(arm.kind is ArmKind.READING for arm in arms):
        return {}
    found = await Voters(database).find_voices(sorted({one.video_id for one in clips.clips}))
    voices = {}
    for digest, (voters, heard) in found.items():
        people = [one.text for one in voters if one.kind is VoterKind.PERSON]
        others = [Voice(one.name, one.text) for one in voters if one.kind is not VoterKind.PERSON]
        recogniser = [Voice("second recogniser", heard)] if heard else []
        voices[digest] = Voices((*others, *recogniser), people[0] if len(set(people)) == 1 else "")
    return voices


@asynccontextmanager
async def _reachable(settings: Settings, arms: Sequence[Arm]) -> AsyncIterator[Settings]:
    """The settings as they are; with PROVIDER=simulator one is started that speaks for both providers."""
    if settings.provider != "simulator":
        yield settings
        return
    models = tuple(dict.fromkeys(name for arm in arms for name in arm.models))
    cheaper = tuple(dict.fromkeys(name for arm in arms for name in arm.models[:-1]))
    async with spawn(simulator_of(models, cheaper)) as simulator:
        yield settings.model_copy(
            update={
                "provider": "aistudio",
                "gemini_base_url": simulator.url,
                "gemini_api_key": SIMULATED_KEY,
                "openrouter_base_url": simulator.openrouter_url,
                "openrouter_api_key": SIMULATED_KEY,
            }
        )


def _ledger(settings: Settings, database: Database, name: str) -> Reserve:
    """The fleet's, under a name for each arm; made-up answers of our own simulator cost nothing and nobody."""
    if settings.provider == "simulator":
        return reserve_unlimited
    return fleet_ledger(database, name)


def _end_at_once() -> None:
    raise KeyboardInterrupt
