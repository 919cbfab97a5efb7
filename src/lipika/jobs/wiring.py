"""The composition root: settings in, running parts out. The only place that knows how everything is put together."""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lipika import __version__, validation
from lipika.alignment.listener import ListenerOptions
from lipika.alignment.romanise import open_romaniser
from lipika.alignment.stage import AlignmentStage
from lipika.audio import polish
from lipika.config import SIMULATED_KEY, Settings, read_deadline, require_key
from lipika.db.calibrations import Calibrations
from lipika.db.clip_samples import ClipSamples
from lipika.db.connection import Database
from lipika.db.paid import PaidAnswers
from lipika.db.queue import Queue
from lipika.db.reservations import OPINIONS, Demand, Reservations, step_suffix
from lipika.db.results import Results
from lipika.db.tombstones import Tombstones
from lipika.db.voters import Voters
from lipika.db.workers import WorkerInfo, Workers
from lipika.engine.engine import Engine
from lipika.engine.escalation import Escalation
from lipika.engine.outcome import Alert, EngineOptions, Events
from lipika.engine.pacing import Backoff, Probing
from lipika.engine.retries import RetryPolicy
from lipika.engine.route import Need, Reserve, Route, Slots
from lipika.errors import DatabaseUnavailable, SettingsError
from lipika.fleet.calibrating import Calibrating, CalibratingOptions
from lipika.fleet.finishing import Finishing
from lipika.fleet.lease import Lease
from lipika.fleet.notifying import open_notifier
from lipika.fleet.worker import Worker, WorkerOptions
from lipika.jobs.run_cap import RunCap
from lipika.llm import prompt, transcript
from lipika.llm.aistudio import AIStudioProvider
from lipika.llm.capabilities import Capabilities, cache_note, load_capabilities
from lipika.llm.openrouter import OpenRouterProvider
from lipika.llm.own_prompt import load_own_prompt
from lipika.llm.provider import BaseProvider, ModelOptions, text_tokens
from lipika.log import get_logger
from lipika.machine import SPARE_FILES, allow_open_files, gpu_type, instance_name
from lipika.models import AnswerForm, SendFormat, ServiceTier
from lipika.network import Network
from lipika.pipeline.byte_budget import ByteBudget
from lipika.pipeline.known_answers import KnownAnswers
from lipika.pipeline.opinion_cap import OpinionsCap
from lipika.pipeline.opinion_desk import OpinionDesk
from lipika.pipeline.opinions import OpinionPlan, settings_of_opinions
from lipika.pipeline.polishers import Polishers, polish_members
from lipika.pipeline.reuse import AskedAs
from lipika.pipeline.saved_answers import Partials
from lipika.pipeline.sink import ResultSink
from lipika.pipeline.tombstones import ErasedAudio
from lipika.pipeline.tools import Counts, RateLimits, Tools
from lipika.pipeline.troubles import Troubles
from lipika.processes import give_memory_back
from lipika.rework.calibrate import load_bands
from lipika.services import Stores, saved_answers_folder, store_settings
from lipika.simulator.config import SimulatorConfig
from lipika.simulator.faults import FaultKind, FaultPlan, FaultRule
from lipika.simulator.process import spawn
from lipika.storage import Store
from lipika.storage.store import Place
from lipika.validation.bands import DEFAULT_BANDS

_LAST_FLUSH_S = 5.0
_LONGEST_RETRY, _LONGEST_LEAST_WAIT = 30, 60  # times the first wait
_HEARTBEATS_TO_CALIBRATE = 6
_OPINIONS_IN_FLIGHT = 100
_MOST_PROCESSES = 16  # unless told otherwise: they polish more than one event loop sends, even of 48 kHz


ReserveStep = Callable[[int], Reserve]
"""The ledger of each model of a cascade; of a single one, of step 0."""

Said = Mapping[str, bool | None]
"""Of each provider, whether its model says that it makes answers up; None: it says nothing of itself."""

log = get_logger(__name__)

# ----------------------------------------------------------------------------- parts


@asynccontextmanager
async def open_routes(
    settings: Settings, reserve: ReserveStep, lease: Lease
) -> AsyncIterator[list[list[Route]]]:
    """For each model that is asked, the providers that can be asked while the lease holds, the primary first; the
    second one if its key is set. `reserve` gives the ledger of each: every model accounts under a name of its own.

    Raises:
        SettingsError: there is no key, or a model of the cascade is unknown or has no such tier.
    """
    check_cascade(settings)
    async with AsyncExitStack() as stack:
        url = ""
        if settings.provider == "simulator":
            simulator = await stack.enter_async_context(
                spawn(simulator_of(settings.models, settings.models[:-1]))
            )
            url = simulator.url
        yield [
            await stack.enter_async_context(_open_routes(settings, step, url, reserve(step), lease))
            for step in range(len(settings.models))
        ]


@asynccontextmanager
async def _open_routes(
    whole: Settings, step: int, simulator_url: str, reserve: Reserve, lease: Lease
) -> AsyncIterator[list[Route]]:
    """The providers of one model."""
    settings = at_step(whole, step)
    async with AsyncExitStack() as stack:
        if simulator_url:
            providers: list[BaseProvider] = [
                _aistudio(settings, simulator_url, SIMULATED_KEY.get_secret_value(), "simulator")
            ]
        else:
            require_key(settings)
            providers = _make_configured(settings)
        capabilities = load_capabilities(settings.model_id, settings.models_file)
        check_tier(settings, capabilities)
        note = cache_note(capabilities, text_tokens(system_prompt_of(settings, "hi")))
        if note is not None:
            log.info("no_cache_hits_expected", reason=note)
        yield [
            Route(
                await stack.enter_async_context(provider),
                capabilities,
                max_in_flight=settings.max_in_flight,
                reserve=reserve,
                probing=probing(settings),
                restraint=lease.restraint,
                tier=_tier(settings, provider),
                label=f"{provider.get_provider_name()} for {settings.model_id}" if whole.cascade else "",
            )
            for provider in providers
        ]


def at_step(settings: Settings, step: int) -> Settings:
    """The settings with one model of a cascade alone."""
    return settings.model_copy(update={"model_id": settings.models[step], "cascade": ""})


def check_cascade(settings: Settings) -> None:
    """Refuse models whose prices are not known: a cascade is for the sake of a price.

    Raises:
        SettingsError: one of them is unknown, and the way out.
    """
    for name in settings.models if settings.cascade else ():
        if not load_capabilities(name, settings.models_file).known:
            raise SettingsError(
                f"CASCADE: {name} is no model whose prices are known (lipika models lists them): mend the name, or"
                " give its prices in MODELS_FILE"
            )


_DOUBTED_IN_A_REHEARSAL = 0.15


def simulator_of(models: tuple[str, ...], cheaper: tuple[str, ...]) -> SimulatorConfig:
    """A simulator of these models; one answer in seven of the `cheaper` ones of a cascade is doubted."""
    doubted = FaultRule(
        FaultKind.INVENTED_SPEECH, name="cheaper", models=cheaper, probability=_DOUBTED_IN_A_REHEARSAL
    )
    return SimulatorConfig(models=models, faults=FaultPlan((doubted,) if cheaper else ()))


def check_tier(settings: Settings, capabilities: Capabilities) -> None:
    """Refuse a tier that the model has no price at.

    Raises:
        SettingsError: it has none, and the way out.
    """
    if settings.service_tier == "flex" and capabilities.flex_factor == 1.0:
        raise SettingsError(
            f"SERVICE_TIER: 'flex' will not do with MODEL_ID={settings.model_id}, which has no price at that"
            " tier: name a model that has one, or give it a row with flex_factor (MODELS_FILE)"
        )


def _tier(settings: Settings, provider: BaseProvider) -> ServiceTier:
    """The tier that this provider is asked at."""
    return ServiceTier(settings.service_tier) if provider.has_tiers else ServiceTier.STANDARD


def _make_configured(settings: Settings) -> list[BaseProvider]:
    """Both providers where both keys are set, PROVIDER first."""
    names = (settings.provider, settings.other_provider)
    return [make_provider(settings, name) for name in names if settings.key_of(name) is not None]


async def ask_who_answers(settings: Settings) -> Said:
    """Ask each provider that may be used one free question: whether its model says that it makes answers up.

    It comes before the first decision about earlier answers. Where a provider listens tells nothing: a gateway on
    this machine gives real answers, and those were paid for.
    """
    if settings.provider == "simulator":
        return {"simulator": True}
    said: dict[str, bool | None] = {}
    for provider in _make_configured(settings):
        async with provider:
            said[provider.get_provider_name()] = await provider.says_simulated()
    return said


def make_provider(settings: Settings, name: str, *, routed: bool | None = None) -> BaseProvider:
    """`aistudio` or `openrouter` as the settings have it, its key among them. `routed` is OpenRouterProvider's."""
    given = settings.key_of(name)
    key = given.get_secret_value() if given else ""
    if name == "aistudio":
        return _aistudio(settings, settings.gemini_base_url, key, name)
    return OpenRouterProvider(
        base_url=settings.openrouter_base_url,
        api_key=key,
        options=model_options(settings),
        capabilities=load_capabilities(settings.model_id, settings.models_file),
        response_schema=transcript.response_schema(AnswerForm(settings.answer)),
        prompt_version=prompt_version_of(settings),
        routed=routed,
        network=Network.from_settings(settings),
    )


def _aistudio(settings: Settings, base_url: str, key: str, name: str) -> AIStudioProvider:
    return AIStudioProvider(
        base_url=base_url,
        api_key=key,
        options=model_options(settings),
        capabilities=load_capabilities(settings.model_id, settings.models_file),
        response_schema=transcript.response_schema(AnswerForm(settings.answer)),
        api_version=settings.gemini_api_version,
        models_path=settings.gemini_models_path,
        name=name,
        network=Network.from_settings(settings),
    )


def engine_options(settings: Settings, *, shares: int = 1) -> EngineOptions:
    """Options for launching clips and asking again; `shares` engines side by side ask as much as one worker does."""
    first_s, least_s = settings.retry_seconds, settings.least_wait_seconds
    return EngineOptions(
        batch_size=max(settings.worker_batch_size // shares, 1),
        interval_s=settings.batch_interval_seconds,
        burst=settings.batch_launch == "burst",
        retry=RetryPolicy(
            settings.max_retries,
            Backoff(first_s, _LONGEST_RETRY * first_s),
            Backoff(least_s, _LONGEST_LEAST_WAIT * least_s),
        ),
    )


def probing(settings: Settings) -> Probing:
    """Options for looking again at a service that cannot be asked."""
    least_s = settings.least_wait_seconds
    return Probing(settings.probe_seconds, least_s, _LONGEST_LEAST_WAIT * least_s)


def fleet_ledger(database: Database, worker_id: str, may_send: Callable[[], bool] = lambda: True) -> Reserve:
    """Launch slots out of the budget that all workers share, asked for only while this worker `may_send`."""
    reservations = Reservations(database)

    async def reserve(need: Need) -> Slots:
        if not may_send():
            raise DatabaseUnavailable("no renewal of the lease has reached Postgres for a while")
        got = await reservations.reserve(
            worker_id,
            Demand(
                provider=need.provider,
                wanted=need.wanted,
                tokens_each=need.tokens_each,
                usd_each=need.usd_each,
                tokens_over=need.tokens_over,
                usd_over=need.usd_over,
                usd_metered=need.usd_metered,
                reserved_usd=need.reserved_usd,
                usd_most=need.usd_most,
            ),
        )
        return Slots(got.granted, got.start_in_s, got.step_s, got.binds, got.retry_in_s, got.unlimited)

    return reserve


def reuse_conditions(settings: Settings, simulated: bool | None) -> AskedAs:
    """The facts that an earlier answer must share to be used again; `simulated` is the model's own word."""
    return AskedAs(
        settings.models[0],
        settings.temperature,
        settings.thinking_level,
        simulated,
        AnswerForm(settings.answer),
        settings.models[1:],
        load_own_prompt(settings.prompt_file),
    )


def system_prompt_of(settings: Settings, language: str | None) -> str:
    """The system prompt that clips of a language are asked with."""
    own = load_own_prompt(settings.prompt_file)
    return prompt.system_prompt(language, AnswerForm(settings.answer), own)


def prompt_version_of(settings: Settings, language: str | None = None) -> str:
    """The version of the prompt for a language, or of what goes for all of them."""
    own = load_own_prompt(settings.prompt_file)
    return prompt.prompt_version(AnswerForm(settings.answer), own=own, language=language)


def model_options(settings: Settings) -> ModelOptions:
    """Options for asking the model."""
    return ModelOptions(
        settings.model_id,
        settings.temperature,
        settings.thinking_level,
        settings.request_timeout_seconds,
        flex_timeout_s=settings.flex_timeout_seconds,
    )


def worker_info(
    settings: Settings, bands: validation.Bands = DEFAULT_BANDS, said: Said | None = None
) -> WorkerInfo:
    """The identity of this process life: the machine's name and a random suffix, so that a restart revives nobody."""
    instance = instance_name(settings.worker_instance_id)
    return WorkerInfo(
        worker_id=f"{instance}-{secrets.token_hex(3)}",
        instance_id=instance,
        provider=settings.provider,
        gpu_type=gpu_type(),
        config={
            "lipika_version": __version__,
            "prompt_version": prompt_version_of(settings),
            "schema_version": transcript.schema_version(AnswerForm(settings.answer)),
            "trimmer_version": polish.TRIMMER_VERSION,
            "validator_version": validation.validator_version(bands),
            "model_id": ", then ".join(settings.models),
            "temperature": settings.temperature,
            "thinking_level": settings.thinking_level,
            "service_tier": settings.service_tier,
            "batch_size": settings.worker_batch_size,
            "batch_interval_seconds": settings.batch_interval_seconds,
            "batch_launch": settings.batch_launch,
            "live_seconds": settings.live_seconds,
            "made_up_by": " ".join(sorted(name for name, made_up in (said or {}).items() if made_up)),
        },
    )


@dataclass(frozen=True, slots=True)
class Running:
    """A worker that is ready to run, and what to look at while it does."""

    worker_id: str
    worker: Worker
    tools: Tools

    @property
    def engine(self) -> Engine:
        return self.tools.engine

    @property
    def room(self) -> ByteBudget:
        return self.tools.room


@asynccontextmanager
async def open_worker(
    settings: Settings,
    database: Database,
    *,
    aligner: AlignmentStage | None = None,
    said: Said | None = None,
    cap: RunCap | None = None,
) -> AsyncIterator[Running]:
    """A worker with everything it needs; all of it is gone when the block ends.

    `aligner` listens in place of the one that the settings ask for. `said` is what the models say of themselves,
    where that has been asked already. `cap` stands before the fleet's ledger.
    """
    cap = cap or RunCap(None)
    allow_open_files(settings.max_in_flight + SPARE_FILES)
    bands = load_bands(settings.calibration_file)
    said = await ask_who_answers(settings) if said is None else said
    info = await asyncio.to_thread(worker_info, settings, bands, said)
    places = _StorePlaces(Stores(store_settings(settings)), settings)
    results, limits, lease = Results(database), RateLimits(bands), Lease(settings.lease_seconds)
    troubles, alerts = Troubles(), list[Alert]()
    async with AsyncExitStack() as stack:
        ledgers = _ledgers(database, info.worker_id, lease, cap)
        routes = await stack.enter_async_context(open_routes(settings, ledgers, lease))
        if settings.service_tier == "flex":
            stack.callback(asyncio.create_task(give_memory_back(), name="give memory back").cancel)
        executor = stack.enter_context(ThreadPoolExecutor(_audio_threads(), thread_name_prefix="audio"))
        polishers = await stack.enter_async_context(_polishers(settings, executor))
        spool_dir = Path(stack.enter_context(_spool_folder(settings.spool_dir)))
        answers = Partials(places.saved_answers, saved_answers_folder(settings))
        sink = stack.enter_context(ResultSink(results, answers, spool_dir, troubles=troubles))
        stack.push_async_callback(_flush_last, sink)
        events = Events(on_batch=sink.keep_batch, on_alert=alerts.append)
        engine = await stack.enter_async_context(_engine(settings, routes, info.worker_id, events))
        asked_as = reuse_conditions(settings, said.get(settings.provider))
        beside = _Beside(info.worker_id, lease, sink, alerts, troubles, cap)
        tools = Tools(
            worker_id=info.worker_id,
            engine=engine,
            keeper=sink,
            troubles=troubles,
            room=ByteBudget(settings.max_buffer_mb << 20),
            threads=executor,
            polishers=polishers,
            spool_dir=spool_dir,
            asked_as=asked_as,
            known=await stack.enter_async_context(KnownAnswers(PaidAnswers(database).find, asked_as)),
            limits=limits,
            counts=Counts(),
            aligner=aligner or await stack.enter_async_context(_aligner(settings, alerts)),
            opinions=await stack.enter_async_context(_opinions(settings, database, limits, beside)),
            erased=ErasedAudio(Tombstones(database)),
            tell_language=Queue(database).record_language,
            ask_silence=settings.ask_silence,
            pay_again=settings.pay_again,
        )
        worker = Worker(
            info,
            tools,
            queue=Queue(database),
            results=results,
            workers=Workers(database),
            sink=sink,
            places=places,
            alerts=alerts,
            lease=lease,
            calibrating=_calibrating(settings, info.worker_id, database, tools, alerts),
            finishing=_finishing(settings, engine, database, alerts),
            notifier=open_notifier(settings, database, info.worker_id),
            options=_worker_options(settings),
        )
        sink.on_lost = worker.forget
        yield Running(info.worker_id, worker, tools)


def _ledgers(database: Database, worker_id: str, lease: Lease, cap: RunCap) -> ReserveStep:
    """For each model of a cascade the ledger under a name of its own, behind the cap."""

    def reserve_for(step: int) -> Reserve:
        own = fleet_ledger(database, f"{worker_id}{step_suffix(step)}", lambda: lease.holds)
        return cap.guard(step_suffix(step), own)

    return reserve_for


@dataclass(frozen=True, slots=True)
class _StorePlaces:
    """Where the keys of queue rows lie."""

    stores: Stores
    settings: Settings

    def source(self, key: str) -> Place:
        return self.stores.place(key, self.settings.store_url)

    def target(self, key: str) -> Place:
        return self.stores.place(key, self.settings.output_url, create=True)

    def saved_answers(self, key: str) -> tuple[Store, str]:
        place = self.target(key)
        return place.store, place.key


def _engine(settings: Settings, routes: list[list[Route]], worker_id: str, events: Events) -> Engine:
    patience_s = math.inf if settings.flex_patience is None else settings.flex_patience
    return Engine(
        routes[0],
        worker_id=worker_id,
        options=engine_options(settings),
        events=events,
        escalation=Escalation(patience_s),
        above=routes[1:],
    )


def _finishing(
    settings: Settings, engine: Engine, database: Database, alerts: list[Alert]
) -> Finishing | None:
    """None where nothing has to be done by a time, or nothing is asked at Flex."""
    if settings.service_tier != "flex" or not settings.finish_by:
        return None
    return Finishing(
        read_deadline(settings.finish_by, time.time()),
        engine,
        database,
        clips_per_s=settings.worker_batch_size / settings.batch_interval_seconds,
        on_alert=alerts.append,
    )


def _calibrating(
    settings: Settings, worker_id: str, database: Database, tools: Tools, alerts: list[Alert]
) -> Calibrating | None:
    """None where the settings say what clips are judged by."""
    if settings.calibrate == "off" or settings.calibration_file is not None:
        return None
    options = CalibratingOptions(settings.calibrate_clips, simulated=bool(tools.asked_as.simulated))
    shared, clips = Calibrations(database), ClipSamples(database)
    return Calibrating(worker_id, shared, clips, tools.limits, alerts.append, options)


def _worker_options(settings: Settings) -> WorkerOptions:
    return WorkerOptions(
        heartbeat_s=settings.heartbeat_seconds,
        live_s=settings.live_seconds,
        calibrate_s=_HEARTBEATS_TO_CALIBRATE * settings.heartbeat_seconds,
        drain_s=settings.drain_seconds,
        max_videos=settings.max_videos,
        window=settings.worker_batch_size,
    )


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _audio_threads() -> int:
    """A core is left to the event loop: with more that run at a time, all wait for one another's turn of Python."""
    return max(_cores() - 1, 1)


def _polishers(settings: Settings, threads: ThreadPoolExecutor) -> Polishers:
    given = settings.worker_processes
    processes = min(_cores(), _MOST_PROCESSES) if given is None else given
    work = partial(polish_members, send_format=SendFormat(settings.send_format))
    return Polishers(threads, processes, turns=2 * max(processes, _cores()), work=work)


@asynccontextmanager
async def _aligner(settings: Settings, alerts: list[Alert]) -> AsyncIterator[AlignmentStage | None]:
    """A second recogniser that listens beside the work, where it is asked for."""
    if not settings.enable_gpu_validation:
        yield None
        return
    stage = AlignmentStage(
        listener_options(settings),
        deadline_s=settings.align_seconds,
        on_off=lambda reason: alerts.append(Alert("alignment_off", reason)),
    )
    async with stage:
        yield stage


@dataclass(frozen=True, slots=True)
class _Beside:
    """The worker that second opinions are asked beside."""

    worker_id: str
    lease: Lease
    sink: ResultSink
    alerts: list[Alert]
    troubles: Troubles
    cap: RunCap


@asynccontextmanager
async def _opinions(
    settings: Settings, database: Database, limits: RateLimits, beside: _Beside
) -> AsyncIterator[OpinionDesk | None]:
    """Another model that is asked for some clips, where one is named; it accounts under a name of its own.

    Raises:
        UsageError: it is the first model once more, or a romaniser is asked for that is not there.
        SettingsError: its provider has no key.
    """
    if not settings.second_opinion_model:
        yield None
        return
    chosen = settings_of_opinions(settings)
    plan = OpinionPlan(
        chosen.model_id,
        chosen.temperature,
        chosen.thinking_level,
        settings.second_opinion,
        answer=AnswerForm(chosen.answer),
    )
    name, alerts = f"{beside.worker_id}{OPINIONS}", beside.alerts
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(_provider_of_opinions(chosen, settings))
        cap = OpinionsCap(settings.second_opinion_usd, name, Reservations(database))
        route = Route(
            provider,
            load_capabilities(chosen.model_id, settings.models_file),
            max_in_flight=min(settings.max_in_flight, _OPINIONS_IN_FLIGHT),
            reserve=beside.cap.guard(
                OPINIONS, cap.guard(fleet_ledger(database, name, lambda: beside.lease.holds)), ends=False
            ),
            probing=probing(settings),
            restraint=beside.lease.restraint,
        )
        events = Events(beside.sink.keep_batch, lambda alert: alerts.append(_mark_alert(alert)))
        desk = OpinionDesk(
            plan,
            Engine([route], worker_id=name, options=engine_options(settings), events=events),
            Voters(database),
            await asyncio.to_thread(open_romaniser, settings.align_romaniser),
            worker_id=name,
            bands=lambda: limits.bands,
            wait_s=settings.second_opinion_seconds,
            grace_s=min(settings.drain_seconds, settings.second_opinion_seconds),
            troubles=beside.troubles,
            on_off=lambda reason: alerts.append(Alert("second_opinions_off", reason)),
        )
        cap.on_reached = desk.switch_off
        yield await stack.enter_async_context(desk)


@asynccontextmanager
async def _provider_of_opinions(chosen: Settings, settings: Settings) -> AsyncIterator[BaseProvider]:
    """The second model's provider; beside a simulator it is one, too: made-up answers are not worth a dollar."""
    async with AsyncExitStack() as stack:
        if settings.provider == "simulator":
            simulator = await stack.enter_async_context(spawn(SimulatorConfig(models=(chosen.model_id,))))
            key = SIMULATED_KEY.get_secret_value()
            provider: BaseProvider = _aistudio(chosen, simulator.url, key, "simulator")
        else:
            provider = make_provider(chosen, chosen.provider)
        yield await stack.enter_async_context(provider)


def _mark_alert(alert: Alert) -> Alert:
    return Alert(alert.code, f"second opinions: {alert.message}")


def listener_options(settings: Settings) -> ListenerOptions:
    """The model that listens, and its device."""
    return ListenerOptions(
        path=settings.indicconformer_path,
        revision=settings.indicconformer_revision,
        token=settings.hf_token.get_secret_value() if settings.hf_token else None,
        device=settings.align_device,
        threads=settings.align_threads or max((os.cpu_count() or 1) // 4, 1),
        romaniser=settings.align_romaniser,
    )


async def _flush_last(sink: ResultSink) -> None:
    """The last batch reports, which the engine gives when it ends. They are figures: no outage is waited out."""
    with suppress(TimeoutError):
        await asyncio.wait_for(sink.flush_all(), _LAST_FLUSH_S)


def _spool_folder(parent: Path | None) -> tempfile.TemporaryDirectory[str]:
    """A folder of our own for work in progress; its files have no names, so nothing is left after a kill."""
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="lipika-", dir=parent)
