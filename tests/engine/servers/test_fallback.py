"""Two providers, quotas, floods, parks and caps: the engine against the simulator and the fleet's ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from asking import MODEL, a_request, a_route, accept, aistudio, quick
from lipika.db import Database
from lipika.db.budgets import Budgets, Limits
from lipika.db.reservations import Reservations
from lipika.engine.engine import Engine
from lipika.engine.outcome import Alert, EngineOptions, Events, Outcome
from lipika.engine.route import Reserve, reserve_unlimited
from lipika.errors import WorkerStop
from lipika.jobs.wiring import fleet_ledger
from lipika.llm import prompt, transcript
from lipika.llm.capabilities import load_capabilities
from lipika.llm.openrouter import OpenRouterProvider
from lipika.llm.provider import ModelOptions
from lipika.models import BatchReport
from lipika.simulator import (
    FaultKind,
    FaultPlan,
    FaultRule,
    Latency,
    Listening,
    Quotas,
    SimulatorConfig,
    Wire,
    running,
)

GEMINI, ROUTER = Wire.GEMINI, Wire.OPENROUTER


def config(*rules: FaultRule, quotas: Quotas | None = None, latency_s: float = 0.02) -> SimulatorConfig:
    return SimulatorConfig(
        latency=Latency(latency_s, 0.1), faults=FaultPlan(rules), quotas=quotas or Quotas(), light=True
    )


def openrouter(url: str) -> OpenRouterProvider:
    return OpenRouterProvider(
        base_url=url,
        api_key="router-key",
        options=ModelOptions(MODEL, 0.0, "low", 30.0),
        capabilities=load_capabilities(MODEL),
        response_schema=transcript.response_schema(),
        prompt_version=prompt.PROMPT_VERSION,
        routed=True,
    )


class Seen:
    """What the engine told."""

    def __init__(self) -> None:
        self.batches: list[BatchReport] = []
        self.alerts: list[Alert] = []

    @property
    def codes(self) -> list[str]:
        return [alert.code for alert in self.alerts]


@asynccontextmanager
async def both(
    sim: Listening, *, options: EngineOptions | None = None, reserve: Reserve = reserve_unlimited
) -> AsyncIterator[tuple[Engine, Seen]]:
    """An engine with both providers, AI Studio first."""
    seen = Seen()
    async with aistudio(sim.url) as first, openrouter(sim.openrouter_url) as second:
        routes = [a_route(first, reserve), a_route(second, reserve)]
        events = Events(on_batch=seen.batches.append, on_alert=seen.alerts.append)
        async with Engine(routes, worker_id="w", options=options or quick(), events=events) as engine:
            yield engine, seen


@asynccontextmanager
async def alone(
    sim: Listening, *, options: EngineOptions | None = None, reserve: Reserve = reserve_unlimited
) -> AsyncIterator[tuple[Engine, Seen]]:
    seen = Seen()
    async with aistudio(sim.url) as first:
        events = Events(on_batch=seen.batches.append, on_alert=seen.alerts.append)
        routes = [a_route(first, reserve)]
        async with Engine(routes, worker_id="w", options=options or quick(), events=events) as engine:
            yield engine, seen


async def ask(engine: Engine, count: int, first: int = 0) -> list[Outcome]:
    numbers = range(first, first + count)
    return await asyncio.gather(*(engine.transcribe(a_request(number % 40), accept) for number in numbers))


def providers(outcomes: list[Outcome]) -> set[str]:
    return {outcome.provider for outcome in outcomes}


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


# ----------------------------------------------------------------------------- one provider is well


async def test_while_the_first_is_well_the_second_is_never_asked() -> None:
    async with running(config()) as sim, both(sim) as (engine, seen):
        outcomes = await ask(engine, 60)
    assert providers(outcomes) == {"aistudio"}
    assert {report.provider_used for report in seen.batches} == {"aistudio"}
    assert seen.alerts == []


# ----------------------------------------------------------------------------- floods


async def test_a_flood_of_429s_sends_the_rest_of_the_window_to_the_second_and_comes_back() -> None:
    storm = FaultRule(FaultKind.RATE_BARE, wire=GEMINI)
    options = quick(batch_size=200, interval_s=1.0)
    async with running(config(storm)) as sim, both(sim, options=options) as (engine, seen):
        stormy = await ask(engine, 150)
        assert providers(stormy) == {"openrouter"}
        assert engine.provider_in_use == "openrouter"
        sim.simulation.set_faults(FaultPlan())
        calm = await ask(engine, 300)
        for _ in range(9):  # on a busy machine the probe's answer may take longer than all of these
            if calm[-1].provider != "aistudio":
                calm += await ask(engine, 300)
        assert calm[-1].provider == "aistudio"
        assert engine.provider_in_use == "aistudio"
    assert all(outcome.judged for outcome in stormy + calm)
    assert "mixed" in {report.provider_used for report in seen.batches}
    assert seen.codes.count("flood") == 1
    assert engine.totals.failed == 0


async def test_a_tenth_of_a_few_answers_is_no_flood() -> None:
    """Two 429s in ten answers are over 10 %, but prove nothing."""
    few = FaultRule(FaultKind.RATE_BARE, count=2, wire=GEMINI)
    async with running(config(few)) as sim, both(sim) as (engine, seen):
        outcomes = await ask(engine, 10)
    assert providers(outcomes) == {"aistudio"}
    assert "flood" not in seen.codes


async def test_after_a_storm_the_full_rate_is_back_and_nobody_failed() -> None:
    """429s without a delay for two seconds; the probe interval here is a tenth of a second."""
    storm = FaultRule(FaultKind.RATE_BARE, until_s=2.0)
    options = quick(batch_size=100, interval_s=1.0)
    async with running(config(storm)) as sim, alone(sim, options=options) as (engine, _seen):
        outcomes = await ask(engine, 350)
        stats = json.loads(sim.simulation.ledger.as_json({}))
    assert all(outcome.judged for outcome in outcomes)
    assert engine.totals.failed == 0
    # The burst that met the storm, then one probe every tenth of a second.
    assert stats["by_status"]["429"] < 100


# ----------------------------------------------------------------------------- parks


async def test_a_daily_quota_parks_the_first_and_the_work_moves_on_at_once() -> None:
    gone = FaultRule(FaultKind.RATE_DAY, wire=GEMINI)
    async with running(config(gone)) as sim, both(sim) as (engine, seen):
        outcomes = await ask(engine, 50)
        refused = engine.totals.rate_limited
        more = await ask(engine, 50)
        assert engine.totals.rate_limited == refused, "a parked provider is not asked"
    assert providers(outcomes) == providers(more) == {"openrouter"}
    assert "provider_parked" in seen.codes
    assert "daily quota" in seen.alerts[0].message


async def test_without_a_second_provider_a_daily_quota_means_waiting_and_saying_why() -> None:
    gone = FaultRule(FaultKind.RATE_DAY, retry_after_s=4000)
    async with running(config(gone)) as sim, alone(sim) as (engine, seen):
        asking = asyncio.create_task(ask(engine, 10))
        await until(lambda: seen.alerts)
        requests = engine.totals.requests
        await asyncio.sleep(0.5)
        assert not asking.done()
        assert engine.totals.requests == requests
        assert engine.limited_by().startswith("aistudio: daily quota used up, for 1 h 7 min more")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert seen.codes.count("provider_parked") == 1


async def test_a_429_that_names_nothing_and_does_not_clear_is_taken_for_spend() -> None:
    bare = FaultRule(FaultKind.RATE_BARE)
    clock = Clock()
    async with running(config(bare)) as sim, aistudio(sim.url) as provider:
        route = a_route(provider, probe_s=8)
        async with Engine([route], worker_id="w", options=quick(), clock=clock) as engine:
            asking = asyncio.create_task(ask(engine, 1))
            while route.parked_kind is None:
                clock.offset += 4.0  # nine seconds of storm each few hundredths
                await asyncio.sleep(0.03)
            assert route.parked_kind == "spend"
            assert "does not clear" in engine.limited_by()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def test_no_credit_closes_the_first_and_the_second_takes_over() -> None:
    async with running(config(FaultRule(FaultKind.PAYMENT, wire=GEMINI))) as sim, both(sim) as (engine, seen):
        outcomes = await ask(engine, 20)
    assert providers(outcomes) == {"openrouter"}
    assert "provider_closed" in seen.codes


async def test_no_credit_anywhere_stops_the_worker() -> None:
    async with running(config(FaultRule(FaultKind.PAYMENT))) as sim, both(sim) as (engine, _seen):
        ends = await asyncio.gather(
            *(engine.transcribe(a_request(number), accept) for number in range(10)), return_exceptions=True
        )
    assert all(isinstance(end, WorkerStop) for end in ends)


async def test_a_refused_key_of_the_second_stops_nobody() -> None:
    rules = (
        FaultRule(FaultKind.RATE_DAY, wire=GEMINI, count=5, retry_after_s=3),
        FaultRule(FaultKind.KEY_INVALID, wire=ROUTER),
    )
    async with running(config(*rules)) as sim, both(sim) as (engine, seen):
        outcomes = await ask(engine, 20)
    assert providers(outcomes) == {"aistudio"}
    assert "provider_closed" in seen.codes


# ----------------------------------------------------------------------------- content


async def test_a_blocked_clip_gets_one_try_at_the_other_provider() -> None:
    async with running(config(FaultRule(FaultKind.RECITATION, wire=GEMINI))) as sim, both(sim) as (engine, _):
        (outcome,) = await ask(engine, 1)
    assert (outcome.provider, outcome.attempts) == ("openrouter", 2)
    assert outcome.judged


async def test_blocked_by_both_is_final() -> None:
    async with running(config(FaultRule(FaultKind.SAFETY))) as sim, both(sim) as (engine, _seen):
        (outcome,) = await ask(engine, 1)
    assert outcome.attempts == 2
    assert outcome.failure is not None
    assert outcome.failure.kind == "blocked"


async def test_a_loop_is_varied_first_then_tried_elsewhere_then_given_up() -> None:
    async with running(config(FaultRule(FaultKind.MALFORMED))) as sim, both(sim) as (engine, _seen):
        (outcome,) = await ask(engine, 1)
        assert engine.totals.providers == {"aistudio": 2, "openrouter": 1}
    assert outcome.attempts == 3
    assert outcome.failure is not None


# ----------------------------------------------------------------------------- overload


async def test_overload_fails_nobody_and_cuts_nothing() -> None:
    busy = FaultRule(FaultKind.OVERLOADED, probability=0.3, until_s=1.5)
    async with running(config(busy)) as sim, alone(sim) as (engine, _seen):
        outcomes = await ask(engine, 200)
        assert engine.routes[0].concurrency.limit == 2000
    assert all(outcome.judged for outcome in outcomes)


# ----------------------------------------------------------------------------- versions and windows


async def test_a_change_of_the_models_version_is_an_alert() -> None:
    drift = FaultRule(FaultKind.VERSION_DRIFT, skip=10)
    async with running(config(drift)) as sim, alone(sim) as (engine, seen):
        await ask(engine, 20)
    assert seen.codes == ["model_changed"]


async def test_a_retry_goes_to_a_later_window_and_is_counted_there() -> None:
    broken = FaultRule(FaultKind.INTERNAL, attempts=1, probability=0.5)
    options = quick(batch_size=50, interval_s=0.6)
    async with running(config(broken)) as sim, alone(sim, options=options) as (engine, seen):
        outcomes = await ask(engine, 120)
    assert all(outcome.judged for outcome in outcomes)
    first, *later = seen.batches
    assert first.segments_retried == 0
    assert sum(report.segments_retried for report in later) == engine.totals.retries > 10
    assert sum(report.segments_sent for report in seen.batches) == engine.totals.requests
    assert all(report.segments_sent - report.segments_retried <= 50 for report in seen.batches)


# ----------------------------------------------------------------------------- the fleet's ledger


async def test_the_rpm_of_the_budget_is_kept_and_used(database: Database) -> None:
    await Budgets(database).set_limits("aistudio", Limits(requests_per_minute=1200))
    started: list[float] = []
    quotas = Quotas(rpm=1200)
    async with running(config(quotas=quotas)) as sim:
        async with alone(sim, reserve=fleet_ledger(database, "w")) as (engine, _seen):
            loop = asyncio.get_running_loop()

            async def one(number: int) -> None:
                await engine.transcribe(a_request(number % 40), accept)
                started.append(loop.time())

            asking = asyncio.gather(*(one(number) for number in range(160)))
            await until(lambda: "requests per minute" in engine.limited_by())
            await asking
    assert engine.totals.rate_limited == 0
    seconds = max(started) - min(started)
    assert 130 / seconds <= 1200 / 60 * 1.15


async def test_a_spend_cap_stops_within_two_percent_and_resumes_when_raised(database: Database) -> None:
    budgets = Budgets(database)
    await budgets.set_limits("aistudio", Limits(spend_total_usd=0.10))
    async with running(config()) as sim:
        ledger = fleet_ledger(database, "w")
        async with alone(sim, reserve=ledger, options=quick(batch_size=300)) as (engine, _seen):
            asking = asyncio.create_task(ask(engine, 260))
            await until(lambda: engine.totals.cost_usd >= 0.098, 30)
            await asyncio.sleep(3.0)  # reservations of the last answers are settled and used
            assert "dollar cap" in engine.limited_by()
            assert not engine.in_flight
            assert 0.098 <= engine.totals.cost_usd <= 0.102
            assert not asking.done()
            await budgets.set_limits("aistudio", Limits(spend_total_usd=10.0))
            outcomes = await asyncio.wait_for(asking, 20)
        assert all(outcome.judged for outcome in outcomes)
        (spent,) = await Reservations(database).list_spending()
    assert spent.usd_total == pytest.approx(engine.totals.cost_usd)
    assert spent.usd_reserved == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("good_first", [0, 25])
async def test_a_cap_holds_though_answers_run_on_to_their_limit(
    database: Database, workers: int, good_first: int
) -> None:
    """$0.10 let $0.45 through: all of a burst was sent at the price of a usual answer."""
    await Budgets(database).set_limits("aistudio", Limits(spend_total_usd=0.10))
    runaway = FaultRule(FaultKind.RUNAWAY, skip=0, probability=1.0)
    options = quick(batch_size=1000, interval_s=60, burst=True)
    faults = () if good_first else (runaway,)
    async with running(config(*faults, latency_s=0.1)) as sim, AsyncExitStack() as stack:
        engines = []
        for number in range(workers):
            reserve = fleet_ledger(database, f"w{number}")
            engine, _seen = await stack.enter_async_context(alone(sim, reserve=reserve, options=options))
            engines.append(engine)
        asking = [asyncio.create_task(ask(engine, 100)) for engine in engines]
        if good_first:
            await until(lambda: sum(engine.totals.returned for engine in engines) >= good_first, 20)
            sim.simulation.set_faults(FaultPlan((runaway,)))
        quiet_since = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - quiet_since < 3.0:
            await asyncio.sleep(0.05)
            if any(engine.in_flight for engine in engines):
                quiet_since = asyncio.get_running_loop().time()
        spent = sum(engine.totals.cost_usd for engine in engines)
        assert sim.simulation.ledger.cost_usd == pytest.approx(spent)
        assert 0.085 <= spent <= 0.11
        assert all("dollar cap" in engine.limited_by() for engine in engines)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_pause_and_resume_are_obeyed_within_seconds(database: Database) -> None:
    budgets = Budgets(database)
    async with (
        running(config()) as sim,
        alone(sim, reserve=fleet_ledger(database, "w"), options=quick(batch_size=20)) as (
            engine,
            _seen,
        ),
    ):
        asking = asyncio.create_task(ask(engine, 400))
        await until(lambda: engine.totals.returned > 10)
        await budgets.pause("aistudio", "a person said so")
        await until(lambda: "paused" in engine.limited_by() and not engine.in_flight, 6)
        before = engine.totals.requests
        await asyncio.sleep(0.5)
        assert engine.totals.requests == before
        await budgets.resume("aistudio")
        await until(lambda: engine.totals.requests > before, 6)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_while_the_ledger_is_away_nothing_is_sent_and_nothing_fails() -> None:
    from lipika.engine.route import Need, Slots
    from lipika.errors import DatabaseUnavailable

    away = True

    async def reserve(need: Need) -> Slots:
        if away:
            raise DatabaseUnavailable("gone fishing")
        return Slots(need.wanted)

    async with running(config()) as sim, alone(sim, reserve=reserve) as (engine, _seen):
        asking = asyncio.create_task(ask(engine, 5))
        await asyncio.sleep(0.3)
        assert engine.totals.requests == 0
        away = False
        outcomes = await asyncio.wait_for(asking, 10)
    assert all(outcome.judged for outcome in outcomes)


async def test_a_ledger_that_refuses_stops_the_worker_and_says_what_to_do(empty_database_url: str) -> None:
    """A database that nobody has migrated."""
    async with (
        Database(empty_database_url) as database,
        running(config()) as sim,
        alone(sim, reserve=fleet_ledger(database, "w")) as (engine, _seen),
    ):
        with pytest.raises(WorkerStop, match="lipika db migrate"):
            await engine.transcribe(a_request(), accept)


class Clock:
    """Real time plus an offset that the test moves."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.offset
