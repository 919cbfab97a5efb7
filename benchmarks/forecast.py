"""Is the forecast right? 20,000 clips under each limit, forecast from a thousand, then worked off in virtual time.

    python -m benchmarks.forecast [rpm tpm spend_10min spend_day workers]

See `virtual` for what is real in it: engine, client, governor (SQL) and simulator are.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import orjson
import psycopg

from benchmarks.setting import RESULTS, machine, save, scratch_folder
from benchmarks.virtual import Population, Ran, governed, numbered, run, work_off
from lipika import log
from lipika.db.admin import fresh_database
from lipika.db.connection import Database
from lipika.db.migrate import migrate
from lipika.embedded.postgres import EmbeddedPostgres
from lipika.engine.route import reserve_unlimited
from lipika.forecast.budget import Budget
from lipika.forecast.days import DAY_S, MoneySoFar
from lipika.forecast.forecast import Crew, Forecast, Unit, forecast
from lipika.forecast.shares import Estimate
from lipika.simulator import FaultKind, FaultPlan, FaultRule, Latency, SimulatorConfig

CLIPS, SAMPLE, PER_VIDEO = 20_000, 1000, 25
_MIDNIGHT = 1_795_305_600.0  # 2026-11-22 00:00 UTC
_POPULATION = Population()
_SIMULATOR = SimulatorConfig(
    light=True,
    latency=Latency(1.0, 0.3),
    faults=FaultPlan((FaultRule(FaultKind.MALFORMED, probability=0.03),)),  # some clips take two requests
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One limit that binds. `second_of_day` is when the run begins, UTC."""

    name: str
    budget: Budget
    workers: int = 3
    second_of_day: float = 0.0


SCENARIOS = (
    Scenario("rpm", Budget(rpm=1200)),
    Scenario("tpm", Budget(tpm=500_000)),
    Scenario("spend_10min", Budget(usd_per_10min=4.0)),
    Scenario("spend_day", Budget(rpm=3000, usd_per_day=12.0), second_of_day=DAY_S - 1800),
    Scenario("workers", Budget(rpm=100_000), workers=2),
)


@dataclass(frozen=True, slots=True)
class Compared:
    """Forecast and run. Errors are shares: (forecast - run) / run."""

    scenario: str
    clips: int
    binds: str
    forecast_seconds: Estimate
    seconds: float
    error_seconds: float
    forecast_usd: Estimate
    usd: float
    error_usd: float
    rate_limited: int
    cpu_s: float

    @property
    def inside(self) -> bool:
        return self.forecast_usd.low <= self.usd <= self.forecast_usd.high


def sample(population: Population, simulator: SimulatorConfig, count: int) -> tuple[list[Unit], Ran]:
    """What a canary would measure: clips of other numbers than the queue's, a few for each video."""
    ran = run(
        lambda: work_off(
            numbered(count, 10_000_000), population, simulator, [reserve_unlimited], batch_size=60_000
        ),
        _MIDNIGHT,
    )
    units = []
    for start in range(0, count, PER_VIDEO):
        part = ran.outcomes[start : start + PER_VIDEO]
        units.append(
            Unit(
                clips=len(part),
                requests=sum(one.attempts for one in part),
                prompt_tokens=sum(one.usage.prompt for one in part),
                output_tokens=sum(one.usage.output for one in part),
                usd=sum(one.cost_usd for one in part),
            )
        )
    return units, ran


def compare(
    scenario: Scenario,
    units: Sequence[Unit],
    latency_s: float,
    url: str,
    *,
    clips: int = CLIPS,
    population: Population = _POPULATION,
    simulator: SimulatorConfig = _SIMULATOR,
) -> Compared:
    """Forecast one queue, then work it off."""
    crew = Crew(scenario.workers, 1000, 2000, latency_s)
    told: Forecast = forecast(
        units, Estimate.exact(clips), scenario.budget, crew, MoneySoFar(second_of_day=scenario.second_of_day)
    )
    _set_budget(url, scenario.budget)
    start = _MIDNIGHT + scenario.second_of_day
    began = time.process_time()
    with governed(url) as governors:
        governor = governors(start)
        reserves = [governor.reserve_for(f"{scenario.name}{number}") for number in range(scenario.workers)]
        ran = run(
            lambda: work_off(
                numbered(clips),
                population,
                simulator,
                reserves,
            ),
            start,
        )
    return Compared(
        scenario=scenario.name,
        clips=clips,
        binds=told.binds,
        forecast_seconds=told.seconds,
        seconds=ran.seconds,
        error_seconds=told.seconds.value / ran.seconds - 1,
        forecast_usd=told.usd,
        usd=ran.usd,
        error_usd=told.usd.value / ran.usd - 1,
        rate_limited=ran.rate_limited,
        cpu_s=time.process_time() - began,
    )


def _set_budget(url: str, budget: Budget) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("delete from provider_budgets")
        connection.execute("delete from provider_spend")
        connection.execute(
            "insert into provider_budgets (provider, requests_per_minute, tokens_per_minute, spend_10min_usd,"
            " spend_day_usd) values ('aistudio', %s, %s, %s, %s)",
            (budget.rpm, budget.tpm, budget.usd_per_10min, budget.usd_per_day),
        )


async def prepared(server: EmbeddedPostgres) -> str:
    """A migrated database of its own."""
    url = await fresh_database(server.url, "forecast")
    async with Database(url) as database:
        await migrate(database)
    return url


def _save(one: Compared, load_before: float) -> None:
    """Put one result among those that are there."""
    path = RESULTS / "forecast.json"
    found = orjson.loads(path.read_bytes())["scenarios"] if path.exists() else []
    kept = {entry["scenario"]: entry for entry in found} | {one.scenario: asdict(one)}
    order = [scenario.name for scenario in SCENARIOS if scenario.name in kept]
    save("forecast", {"machine": machine(load_before), "scenarios": [kept[name] for name in order]})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecast", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="scenario")
    log.configure(level="error", json_logs=False)
    names = parser.parse_args().names or [scenario.name for scenario in SCENARIOS]
    load_before = os.getloadavg()[0]
    with scratch_folder() as folder, EmbeddedPostgres(folder / "postgres") as server:
        url = asyncio.run(prepared(server))
        units, ran = sample(_POPULATION, _SIMULATOR, SAMPLE)
        for scenario in SCENARIOS:
            if scenario.name not in names:
                continue
            one = compare(scenario, units, ran.latency_s, url)
            _save(one, load_before)
            print(
                f"{one.scenario:12} binds {one.binds:12} forecast {one.forecast_seconds.value:10,.1f} s"
                f" ({one.forecast_seconds.low:,.0f} to {one.forecast_seconds.high:,.0f}), ran {one.seconds:10,.1f} s:"
                f" {one.error_seconds:+.2%}; ${one.forecast_usd.value:.3f} ({one.forecast_usd.low:.3f} to"
                f" {one.forecast_usd.high:.3f}), was ${one.usd:.3f}: {one.error_usd:+.2%};"
                f" {one.rate_limited} 429s; {one.cpu_s:.0f} s of CPU",
                flush=True,
            )


if __name__ == "__main__":
    main()
