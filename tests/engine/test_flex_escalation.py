"""Flex in virtual time: shed, kept waiting, on at the standard tier; the real engine, client and simulator."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest

from benchmarks.virtual import MODEL, Population, _Direct, numbered, review, run
from lipika.engine.engine import Engine
from lipika.engine.escalation import Escalation, FlexRecord
from lipika.engine.outcome import EngineOptions, Outcome
from lipika.engine.route import Route
from lipika.llm.capabilities import load_capabilities
from lipika.models import ServiceTier
from lipika.simulator import FaultKind, FaultPlan, FaultRule, FlexQueue, Latency, SimulatorConfig
from lipika.simulator.simulation import Simulation

FLASH = load_capabilities(MODEL)


class Ran:
    """What came of a queue at Flex."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.ended: list[float] = []
        self.engine: Engine
        self.simulation: Simulation


def work(
    clips: int,
    escalation: Escalation,
    *,
    per_minute: int = 600,
    queue: FlexQueue | None = None,
    faults: tuple[FaultRule, ...] = (),
    each: Callable[[Ran, float], None] = lambda _ran, _now: None,
    within_s: float = 40_000.0,
) -> Ran:
    """All clips at once into one engine; `each` is called every 15 s."""
    ran = Ran()

    async def job() -> Ran:
        loop = asyncio.get_running_loop()
        config = SimulatorConfig(
            light=True, latency=Latency(1.0, 0.3), flex=queue or FlexQueue(), faults=FaultPlan(faults)
        )
        ran.simulation = Simulation(config, clock=loop.time)

        async def one(number: int) -> None:
            request = Population().request(number)
            ran.outcomes.append(await ran.engine.transcribe(request, review(request)))
            ran.ended.append(loop.time())

        async def look() -> None:
            while True:
                each(ran, loop.time())
                await asyncio.sleep(15)

        async with _Direct(ran.simulation) as provider:
            route = Route(provider, FLASH, max_in_flight=15_000, tier=ServiceTier.FLEX)
            ran.engine = Engine(
                [route],
                worker_id="w",
                options=EngineOptions(per_minute),
                clock=loop.time,
                escalation=escalation,
            )
            async with ran.engine, asyncio.timeout(within_s):
                looking = asyncio.create_task(look())
                async with asyncio.TaskGroup() as group:
                    for number in numbered(clips):
                        group.create_task(one(number))
                looking.cancel()
        return ran

    return run(job, 1_795_305_600.0)


def test_a_fifth_is_shed_and_the_pace_is_kept_from_the_first_minute_on() -> None:
    """Answers take minutes: until the first comes, nothing but 503 is heard, and that shuts nothing."""
    ran = work(1500, Escalation())
    assert len(ran.outcomes) == 1500
    assert all(outcome.failure is None and outcome.tier is ServiceTier.FLEX for outcome in ran.outcomes)
    assert ran.simulation.ledger.shed > 250
    bill = sum(outcome.cost_usd for outcome in ran.outcomes)
    assert bill == pytest.approx(ran.simulation.ledger.cost_usd, abs=1e-9)
    # 1,500 first attempts take 150 s, and the last of those shed some minutes more; then a quarter of an hour.
    assert max(ran.ended) < 150 + 600 + 900


def test_where_flex_takes_nothing_one_probe_goes_at_a_time_and_nothing_fails() -> None:
    closed = FaultRule(FaultKind.OVERLOADED, tiers=("flex",), until_s=1800)
    ran = work(200, Escalation(), faults=(closed,))
    assert all(outcome.failure is None for outcome in ran.outcomes)
    assert min(ran.ended) > 1800
    assert ran.engine.totals.failure_kinds["overloaded"] < 200 + 1800 / 8 + 400


def test_patience_that_ends_goes_on_at_the_standard_tier() -> None:
    """Also for clips that were never asked, since Flex takes nothing."""
    closed = FaultRule(FaultKind.OVERLOADED, tiers=("flex",))
    ran = work(100, Escalation(patience_s=600), faults=(closed,))
    assert all(outcome.failure is None and outcome.tier is ServiceTier.STANDARD for outcome in ran.outcomes)
    assert min(ran.ended) >= 600
    assert max(ran.ended) < 1200


def test_a_wait_in_flight_that_is_too_long_is_ended_by_the_service_and_not_billed() -> None:
    ran = work(60, Escalation(patience_s=300), queue=FlexQueue(least_s=700, most_s=900, shed=0.0))
    assert all(outcome.failure is None and outcome.tier is ServiceTier.STANDARD for outcome in ran.outcomes)
    assert max(ran.ended) < 700
    assert set(ran.simulation.ledger.answers_by_tier) == {"standard"}


def test_a_share_is_a_share_of_the_launches() -> None:
    ran = work(1000, Escalation(share=0.25), queue=FlexQueue(shed=0.0))
    at_standard = sum(outcome.tier is ServiceTier.STANDARD for outcome in ran.outcomes)
    assert at_standard == pytest.approx(250, abs=2)
    assert ran.engine.totals.escalated == at_standard


def test_after_the_last_moment_of_flex_everything_goes_at_the_standard_tier() -> None:
    ran = work(600, Escalation(flex_until=30.0), queue=FlexQueue(shed=0.0))
    at_standard = sum(outcome.tier is ServiceTier.STANDARD for outcome in ran.outcomes)
    assert at_standard == pytest.approx(300, abs=5)


def test_early_answers_do_not_make_flex_seem_quick() -> None:
    record = FlexRecord()
    record.note_launch(0.0)
    for number in range(200):
        record.note_answer(60.0 + number / 10)
    assert record.longest_s(200.0) == 900
    assert 79 < record.longest_s(1000.0) < 80
    assert math.isclose(record.requests_per_clip, 1.0)
