"""Flex in virtual time: a queue that has to be done by a deadline, a fifth of it shed, each answer minutes late.

    python -m benchmarks.flex [--clips 9000] [--rpm 600] [--within 1800]

Engine, routes, client, forecast, the arithmetic of the governor and the simulator are the real ones; only clocks
jump and no sockets are between them. The oracle knows the share that is shed and the longest wait beforehand, as the
engine does not, and gives no request up that is under way.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from unittest import mock

from benchmarks.setting import machine, save
from benchmarks.virtual import MODEL, Population, _Direct, numbered, review, run
from lipika import log
from lipika.db.connection import Database
from lipika.engine.engine import Engine
from lipika.engine.escalation import Escalation
from lipika.engine.outcome import EngineOptions, Outcome
from lipika.engine.route import Need, Reserve, Route, Slots
from lipika.fleet.finishing import Finishing
from lipika.forecast.budget import SAFETY, Ask, Budget, Ledger, grant
from lipika.llm.capabilities import load_capabilities
from lipika.models import ServiceTier
from lipika.simulator import FlexQueue, Latency, Quotas, SimulatorConfig
from lipika.simulator.simulation import Simulation

_START = 1_795_305_600.0
_LOOK_EVERY_S = 10.0
_QUEUE = FlexQueue(shed=0.2)


@dataclass(frozen=True, slots=True)
class FlexRun:
    """A queue that was worked off. Dollars are ours and the simulator's; `quota_used` is of the requests that the
    limit allowed while clips waited to be sent."""

    clips: int
    rpm: int
    within_s: float
    failed: int
    seconds: float
    standard: int
    oracle_standard: float
    usd: float
    billed_usd: float
    usd_by_tier: dict[str, float]
    shed: int
    rate_limited: int
    most_in_flight: int
    quota_used: float
    cpu_s: float


def oracle_standard(clips: int, rpm: int, within_s: float, queue: FlexQueue = _QUEUE) -> float:
    """The fewest clips at the standard tier: all slots until the last moment of Flex go there, and what they do not
    answer is left."""
    per_s = rpm * SAFETY / 60
    answered = per_s * max(within_s - queue.most_s * queue.scale, 0.0) * (1 - queue.shed)
    return max(clips - answered, 0.0)


def _ledger(rpm: int, now: Callable[[], float]) -> Reserve:
    """The governor's arithmetic, as one process has it."""
    state = Ledger()

    async def reserve(need: Need) -> Slots:
        nonlocal state
        ask = Ask(need.wanted, need.tokens_each, need.usd_each)
        got, state = grant(Budget(rpm=rpm), state, ask, now())
        return Slots(got.requests, max(got.start - now(), 0.0), got.step_s, got.binds, got.retry_in_s)

    return reserve


@dataclass(frozen=True, slots=True)
class Asked:
    """A queue and its deadline; CPU seconds when it began."""

    clips: int
    rpm: int
    within_s: float
    began: float


@dataclass(frozen=True, slots=True)
class Seen:
    """The end, the most requests in flight, and requests so far at each look while clips waited to be sent."""

    ended: float
    most: int
    launched: list[tuple[float, int]]


def _describe(
    asked: Asked, engine: Engine, simulation: Simulation, outcomes: list[Outcome], seen: Seen
) -> FlexRun:
    busy_s, requests = seen.launched[-1]
    return FlexRun(
        clips=asked.clips,
        rpm=asked.rpm,
        within_s=asked.within_s,
        failed=sum(outcome.failure is not None for outcome in outcomes),
        seconds=seen.ended,
        standard=sum(outcome.tier is ServiceTier.STANDARD for outcome in outcomes),
        oracle_standard=oracle_standard(asked.clips, asked.rpm, asked.within_s),
        usd=engine.totals.cost_usd,
        billed_usd=simulation.ledger.cost_usd,
        usd_by_tier={str(tier): sums.usd for tier, sums in engine.totals.tiers.items()},
        shed=simulation.ledger.shed,
        rate_limited=engine.totals.rate_limited,
        most_in_flight=seen.most,
        quota_used=requests / (asked.rpm / 60 * busy_s),
        cpu_s=time.process_time() - asked.began,
    )


def work_off(clips: int, rpm: int, within_s: float) -> FlexRun:
    """Ask for all clips at Flex, with a deadline."""
    began = time.process_time()

    async def job() -> FlexRun:
        loop = asyncio.get_running_loop()
        simulator = SimulatorConfig(
            light=True, latency=Latency(1.0, 0.3), flex=_QUEUE, quotas=Quotas(rpm=rpm)
        )
        simulation = Simulation(simulator, clock=loop.time)
        launched: list[tuple[float, int]] = []
        outcomes: list[Outcome] = []
        most = 0

        async def one(engine: Engine, number: int) -> None:
            request = Population().request(number)
            outcomes.append(await engine.transcribe(request, review(request)))

        async with _Direct(simulation) as provider:
            route = Route(
                provider,
                load_capabilities(MODEL),
                max_in_flight=15_000,
                tier=ServiceTier.FLEX,
                reserve=_ledger(rpm, loop.time),
            )
            escalation = Escalation()
            engine = Engine(
                [route],
                worker_id="w",
                options=EngineOptions(2 * rpm),
                clock=loop.time,
                escalation=escalation,
            )
            finishing = Finishing(
                _START + within_s, engine, Database("postgresql://nobody@127.0.0.1/none"), clock=loop.time
            )

            async def look() -> None:
                nonlocal most
                while True:
                    left = clips - len(outcomes) - engine.in_flight
                    finishing.follow(left, rpm * SAFETY / 60)
                    most = max(most, engine.in_flight)
                    if engine.queued > clips // 50:  # there is enough to launch
                        launched.append((loop.time(), engine.totals.requests))
                    await asyncio.sleep(_LOOK_EVERY_S)

            def unix_s() -> float:
                return _START + loop.time()

            with mock.patch("lipika.fleet.finishing.time.time", unix_s):
                async with engine:
                    looking = asyncio.create_task(look())
                    async with asyncio.TaskGroup() as group:
                        for number in numbered(clips):
                            group.create_task(one(engine, number))
                    ended = loop.time()
                    looking.cancel()
            return _describe(
                Asked(clips, rpm, within_s, began), engine, simulation, outcomes, Seen(ended, most, launched)
            )

    return run(job, _START)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flex", description=__doc__)
    parser.add_argument("--clips", type=int, default=9000)
    parser.add_argument("--rpm", type=int, default=600)
    parser.add_argument("--within", type=float, default=1800)
    options = parser.parse_args()
    log.configure(level="error", json_logs=False)
    load_before = os.getloadavg()[0]
    one = work_off(options.clips, options.rpm, options.within)
    save("flex", {"machine": machine(load_before), "run": asdict(one)})
    print(
        f"{one.clips:,} clips in {one.seconds:,.0f} of {one.within_s:,.0f} s, {one.failed} failed; at the standard"
        f" tier {one.standard:,} (oracle {one.oracle_standard:,.0f}); ${one.usd:.6f}, billed ${one.billed_usd:.6f};"
        f" {one.shed:,} shed, {one.rate_limited} 429s, {one.most_in_flight:,} in flight at most,"
        f" {one.quota_used:.1%} of the quota, {one.cpu_s:.0f} s of CPU"
    )


if __name__ == "__main__":
    main()
