"""How much of a quota is used and how many calls are wasted, by real worker processes on one ledger.

    python -m benchmarks.quota steady fleet storm day cap small rates

The simulator enforces the quota itself and counts at the socket. Each scenario starts from an empty database.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from benchmarks.setting import RESULTS, machine, save, scratch_folder
from benchmarks.speech_corpus import CorpusPlan, make_corpus
from lipika.db.admin import fresh_database
from lipika.db.budgets import Budgets, Limits
from lipika.db.connection import Database
from lipika.db.migrate import migrate
from lipika.db.queue import Queue
from lipika.db.stats import Stats
from lipika.embedded.postgres import EmbeddedPostgres
from lipika.jobs.demo import sample_folder
from lipika.models import NewVideo
from lipika.simulator import Handle, Latency, Quotas, SimulatorConfig, spawn

RPM = 1200
RATES = {1_000: 1, 5_000: 1, 20_000: 2}
"""Quotas, and how many worker processes use each."""
_DISTINCT = 16  # archives


@dataclass(frozen=True, slots=True)
class Sample:
    """The simulator's counters at one moment, seconds since the scenario began."""

    at_s: float
    accepted: int
    refused: int  # 429
    repeats: int
    dollars: float
    in_flight: int


@dataclass(slots=True)
class Stage:
    """One scenario's parts."""

    folder: Path
    simulator: Handle
    database: Database
    environment: dict[str, str]
    started: float
    workers: list[asyncio.subprocess.Process] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    async def worker(self, **settings: object) -> asyncio.subprocess.Process:
        """Start one `lipika worker`; its log goes to a file of its own."""
        log = self.folder / f"worker{len(self.workers)}.log"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "lipika",
            "worker",
            env=self.environment | {name: str(value) for name, value in settings.items()},
            stderr=log.open("wb"),
            stdout=asyncio.subprocess.DEVNULL,
        )
        self.workers.append(process)
        return process

    async def queue(self, videos: int, segments: int) -> None:
        """Fill the queue with archives of short segments."""
        name = f"in-{videos}-{segments}"
        plan = CorpusPlan(videos=videos, segments=segments, seconds=(2.1, 2.6))
        paths = await asyncio.to_thread(make_corpus, self.folder / name, plan, sample_folder())
        out = self.folder / "out"
        await Queue(self.database).add(
            NewVideo(path.stem, str(path), str(out / f"{path.stem}_transcribed.tar")) for path in paths
        )

    async def queue_links(self, videos: int, segments: int) -> None:
        """As `queue`, but most archives are the same ones under other names."""
        plan = CorpusPlan(videos=_DISTINCT, segments=segments, seconds=(2.1, 2.6))
        made = await asyncio.to_thread(make_corpus, self.folder / "in", plan, sample_folder())
        out = self.folder / "out"
        await Queue(self.database).add(
            NewVideo(f"{path.stem}-{number}", str(path), str(out / f"{path.stem}-{number}.tar"))
            for number, path in zip(range(videos), itertools.cycle(made), strict=False)
        )

    async def drain(self, limit_s: float = 90.0) -> None:
        """Tell all workers to end, and wait until they have."""
        for process in self.workers:
            process.terminate()
        await asyncio.wait_for(asyncio.gather(*(process.wait() for process in self.workers)), limit_s)

    async def rows(self) -> int:
        """Results in the database."""
        async with self.database.connection() as connection:
            cursor = await connection.execute("select count(*) from transcription_results")
            row = await cursor.fetchone()
            return int(row[0]) if row else 0

    async def watch(self, seconds: float, every_s: float = 0.5) -> None:
        """Sample the simulator's counters for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            await self.look()
            await asyncio.sleep(every_s)

    async def watch_until(self, done: Callable[[], Awaitable[bool]], limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            await self.look()
            if await done():
                return True
            await asyncio.sleep(0.5)
        return False

    async def look(self) -> Sample:
        stats: Any = await self.simulator.stats()
        statuses = stats["by_status"]
        sample = Sample(
            at_s=time.monotonic() - self.started,
            accepted=stats["accepted"],
            refused=statuses.get("429", 0),
            repeats=stats["digests"]["repaid"],
            dollars=stats["cost_usd"],
            in_flight=stats["in_flight"],
        )
        self.samples.append(sample)
        return sample

    async def control(self, what: str, body: object) -> None:
        url = f"{self.simulator.url}/control/{what}"
        async with aiohttp.ClientSession() as session, session.post(url, data=orjson.dumps(body)) as reply:
            reply.raise_for_status()


@asynccontextmanager
async def stage(config: SimulatorConfig, limits: Limits | None, **settings: object) -> AsyncIterator[Stage]:
    """A simulator, an empty ledger with a budget, and workers that are stopped at the end."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        simulator = await stack.enter_async_context(spawn(config))
        server = await stack.enter_async_context(EmbeddedPostgres(folder / "postgres"))
        url = await fresh_database(server.url, "quota")
        database = await stack.enter_async_context(Database(url))
        await migrate(database)
        if limits is not None:
            await Budgets(database).set_limits("aistudio", limits)
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "DATABASE_URL": url,
            "GEMINI_BASE_URL": simulator.url,
            "GEMINI_API_KEY": "a-key-of-the-benchmark",
            "OUTPUT_URL": str(folder / "out"),
            "WORKER_BATCH_SIZE": "20000",  # the quota is to bind, not the pace
            "HEARTBEAT_SECONDS": "5",
            "LEASE_SECONDS": "20",
            **{name: str(value) for name, value in settings.items()},
        }
        place = Stage(folder, simulator, database, environment, time.monotonic())
        try:
            yield place
        finally:
            for process in place.workers:
                if process.returncode is None:
                    process.kill()
                await process.wait()


def accepted_between(samples: list[Sample], start_s: float, end_s: float) -> int:
    inside = [sample for sample in samples if start_s <= sample.at_s <= end_s]
    return inside[-1].accepted - inside[0].accepted if inside else 0


def first_answer_s(samples: list[Sample]) -> float:
    return next((sample.at_s for sample in samples if sample.accepted), 0.0)


def usage(samples: list[Sample], minutes: float) -> dict[str, float]:
    """Share of the quota that was used over `minutes` from the first answer on, and wasted calls."""
    start = first_answer_s(samples)
    accepted = accepted_between(samples, start, start + minutes * 60)
    last = samples[-1]
    return {
        "minutes": minutes,
        "accepted": accepted,
        "percent_of_quota": round(100 * accepted / (RPM * minutes), 2),
        "refused_429": last.refused,
        "repeated": last.repeats,
        "wasted_per_1000": round(1000 * (last.refused + last.repeats) / max(last.accepted, 1), 2),
    }


def simulator(latency_s: float = 1.0, rpm: int | None = None) -> SimulatorConfig:
    return SimulatorConfig(light=True, latency=Latency(latency_s, 0.2), quotas=Quotas(rpm=rpm))


# ----------------------------------------------------------------------------- scenarios


async def steady(minutes: float) -> dict[str, object]:
    """One worker on a quota of 1,200 a minute."""
    async with stage(simulator(rpm=RPM), Limits(requests_per_minute=RPM)) as place:
        await place.queue(round(RPM * (minutes + 1) / 100), 100)
        place.started = time.monotonic()
        await place.worker()
        await place.watch(minutes * 60 + 12)
        return dict(usage(place.samples, minutes))


async def fleet(minutes: float) -> dict[str, object]:
    """Three workers, started 20 s apart; one is killed (SIGKILL) half-way."""
    async with stage(simulator(rpm=RPM), Limits(requests_per_minute=RPM)) as place:
        await place.queue(round(RPM * (minutes + 1) / 100), 100)
        place.started = time.monotonic()
        for _ in range(3):
            await place.worker()
            await place.watch(20)
        await place.watch(minutes * 30 - 60)
        place.workers[1].send_signal(signal.SIGKILL)
        killed_at = time.monotonic() - place.started
        await place.watch(minutes * 60 + 12 - killed_at)
        return {**usage(place.samples, minutes), "killed_at_s": round(killed_at)}


async def storm(_minutes: float) -> dict[str, object]:
    """A minute of nothing but 429s without a delay, then clear: how soon is the full rate back?"""
    async with stage(simulator(rpm=6000), Limits(requests_per_minute=RPM)) as place:
        await place.queue(40, 100)
        place.started = time.monotonic()
        await place.worker()
        await place.watch(30)
        before = place.samples[-1]
        await place.control("faults", {"faults": [{"kind": "rate_bare", "until_s": 60}]})
        await place.watch(60)
        cleared = place.samples[-1]
        await place.watch(45)
        after = [sample for sample in place.samples if sample.at_s > cleared.at_s]
        full = next(
            (
                later.at_s - 5 - cleared.at_s
                for later in after
                if later.at_s > cleared.at_s + 5
                and accepted_between(after, later.at_s - 5, later.at_s) >= 0.95 * RPM / 60 * 4.5
            ),
            None,
        )
        async with place.database.connection() as connection:
            cursor = await connection.execute(
                "select count(*) filter (where status = 'failed'), coalesce(max(attempts), 0)"
                " from transcription_results"
            )
            row = await cursor.fetchone()
        return {
            "refused_in_the_storm": place.samples[-1].refused - before.refused,
            "full_rate_after_s": None if full is None else round(full, 1),
            "clips_failed": row[0] if row else None,
        }


async def day(_minutes: float) -> dict[str, object]:
    """The daily quota goes: how soon does the second provider answer? And alone: does the worker wait and say why?"""
    result: dict[str, object] = {}
    config = SimulatorConfig(light=True, latency=Latency(0.5, 0.2))
    async with stage(config, Limits(requests_per_minute=RPM)) as place:
        await place.queue(30, 100)
        place.started = time.monotonic()
        router = {"OPENROUTER_API_KEY": "another-key", "OPENROUTER_BASE_URL": f"{place.simulator.url}/api/v1"}
        await place.worker(**router)
        await place.watch(15)
        rule = {"kind": "rate_day", "wire": "gemini", "retry_after_s": 40000}
        await place.control("faults", {"faults": [rule]})
        gone = time.monotonic() - place.started
        await place.watch(10, every_s=0.1)
        moved = next(
            (
                later.at_s - gone
                for later in place.samples
                if later.at_s > gone + 0.7
                and accepted_between(place.samples, later.at_s - 0.5, later.at_s) >= 2
            ),
            None,
        )
        result["answers_from_the_second_after_s"] = None if moved is None else round(moved, 2)
    async with stage(config, Limits(requests_per_minute=RPM)) as place:
        await place.queue(10, 100)
        place.started = time.monotonic()
        await place.worker()
        await place.watch(10)
        await place.control("faults", {"faults": [{"kind": "rate_day", "retry_after_s": 40000}]})
        await place.watch(20)
        (row,) = await Stats(place.database).fleet.workers()
        result |= {"alone_state": row.state, "alone_waits_for": row.limited_by}
    return result


async def cap(_minutes: float) -> dict[str, object]:
    """A cap of one dollar on three workers, then raised."""
    async with stage(simulator(latency_s=1.0), Limits(spend_total_usd=1.0)) as place:
        await place.queue(30, 100)
        place.started = time.monotonic()
        for _ in range(3):
            await place.worker()

        async def still() -> bool:
            recent = [sample for sample in place.samples if sample.at_s > place.samples[-1].at_s - 12]
            return (
                len(place.samples) > 40
                and place.samples[-1].accepted > 100
                and recent[0].accepted == recent[-1].accepted
                and recent[-1].at_s - recent[0].at_s > 11
            )

        stopped = await place.watch_until(still, 180)
        at_cap = place.samples[-1]
        await Budgets(place.database).change("aistudio", {"spend_total_usd": 1.2})
        await place.watch(10)
        return {
            "stopped": stopped,
            "dollars_at_the_cap": round(at_cap.dollars, 4),
            "resumed": place.samples[-1].accepted > at_cap.accepted,
        }


async def small(minutes: float) -> dict[str, object]:
    """Videos of 20 clips against videos of 2,000: the same use of the quota?"""
    result: dict[str, object] = {}
    minutes = min(minutes, 2.0)
    for segments in (20, 2000):
        async with stage(simulator(rpm=RPM), Limits(requests_per_minute=RPM)) as place:
            await place.queue(-(-round(RPM * (minutes + 1)) // segments), segments)
            place.started = time.monotonic()
            await place.worker()
            await place.watch(minutes * 60 + 12)
            result[f"videos_of_{segments}"] = usage(place.samples, minutes)
    return result


async def rates(minutes: float) -> dict[str, object]:
    """Quotas of 1,000, 5,000 and 20,000 a minute: how much of each is used?"""
    minutes = min(minutes, 2.0)
    return {
        "minutes": minutes,
        "by_rpm": {f"{rpm}": await _rate(rpm, workers, minutes) for rpm, workers in RATES.items()},
    }


async def _rate(rpm: int, workers: int, minutes: float) -> dict[str, float]:
    settings = {"WORKER_BATCH_SIZE": 2 * rpm, "MAX_VIDEOS": 256, "MAX_BUFFER_MB": 512}
    if workers > 1:
        settings["WORKER_PROCESSES"] = 0  # a worker for each core needs no processes beside it
    async with stage(simulator(rpm=rpm), Limits(requests_per_minute=rpm), **settings) as place:
        await place.queue_links(-(-round(rpm * (minutes + 1)) // 100), 100)
        place.started = time.monotonic()
        for _ in range(workers):
            await place.worker()
        await place.watch_until(lambda: _has_begun(place), 60)
        await place.watch(minutes * 60)
        start = first_answer_s(place.samples)
        accepted = accepted_between(place.samples, start, start + minutes * 60)
        await place.drain()
        last, rows = await place.look(), await place.rows()
        return {
            "workers": workers,
            "percent_of_quota": round(100 * accepted / (rpm * minutes), 2),
            "clips_per_minute": round(accepted / minutes, 1),
            "refused_per_1000": round(1000 * last.refused / max(last.accepted, 1), 2),
            "asked_twice": last.accepted - rows,
        }


async def _has_begun(place: Stage) -> bool:
    return bool(place.samples[-1].accepted)


SCENARIOS: dict[str, Callable[[float], Coroutine[Any, Any, dict[str, object]]]] = {
    "steady": steady,
    "fleet": fleet,
    "storm": storm,
    "day": day,
    "cap": cap,
    "small": small,
    "rates": rates,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quota", description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], default=[])
    parser.add_argument("--minutes", type=float, default=5.0, help="length of steady and fleet")
    options = parser.parse_args()
    path = RESULTS / "quota.json"
    result = orjson.loads(path.read_bytes()) if path.exists() else {}
    for name in options.scenarios or SCENARIOS:
        load = os.getloadavg()[0]
        figures = asyncio.run(SCENARIOS[name](options.minutes))
        result[name] = {**figures, "machine": asdict(machine(load))}
        print(name, json.dumps(figures, indent=2), flush=True)
        save("quota", result)


if __name__ == "__main__":
    main()
