"""More processes on one machine, and more workers on one Postgres.

    python -m benchmarks.scaling processes fleet

*processes*: 1, 2 and 4 `lipika worker` processes empty the same queue on this machine, simulator (light, over TLS)
and Postgres beside them.

*fleet*: 10, 50 and 200 simulated workers on one Postgres, each with a connection of its own. They claim, reserve
launch slots, beat, write live figures, renew leases, write results and finish, in the rhythm of real ones; only audio
and answers are made up. First they share the pace of a whole fleet, 20,000 clips a minute; then they write results as
fast as they can. CPU is Postgres' own, all of its processes together; times are those of whole calls.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil
from pydantic import TypeAdapter

from benchmarks.end_to_end import many
from benchmarks.setting import REPOSITORY, RESULTS, Machine, in_child, machine, save, scratch_folder, setting
from lipika.db.admin import fresh_database
from lipika.db.budgets import Budgets, Limits
from lipika.db.connection import Database
from lipika.db.migrate import migrate
from lipika.db.queue import Queue
from lipika.embedded.postgres import EmbeddedPostgres
from lipika.models import NewVideo

PARTS = ("processes", "fleet")
PROCESSES = (1, 2, 4)
CLIPS = 2000
FLEETS = (10, 50, 200)
CLIPS_A_MINUTE = 20_000
_SEGMENTS = 40
_LATENCY_S = 2.0

_PACED_S, _FLAT_OUT_S = 30.0, 10.0
_QUEUED = 20_000  # videos
_SERVER = {"max_connections": "300", "shared_buffers": "512MB"}


@dataclass(frozen=True, slots=True)
class Processes:
    """That many workers on one queue. `cpu_ms` is per clip, of all of them together, start included."""

    processes: int
    clips: int
    seconds: float
    clips_per_minute: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """That many simulated workers on one Postgres. `p99_ms` is of each kind of call."""

    workers: int
    paced: bool
    seconds: float
    rows_per_s: float
    database_cores: float
    database_ms_per_row: float
    p50_ms: dict[str, float]
    p99_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class ScalingResult:
    machine: Machine
    processes: tuple[Processes, ...]
    fleets: tuple[Fleet, ...]


# ----------------------------------------------------------------------------- processes on one machine


async def processes(counts: Sequence[int] = PROCESSES, clips: int = CLIPS) -> list[Processes]:
    with scratch_folder() as folder:
        tar_files = many(folder / "in", -(-clips // _SEGMENTS))
        return [await _processes(folder, tar_files, count) for count in counts]


async def _processes(folder: Path, tar_files: Sequence[Path], count: int) -> Processes:
    out, around = folder / "out", folder / f"{count}"
    around.mkdir()
    async with (
        setting(around, latency_s=_LATENCY_S) as place,
        Database(place.database_url) as db,
    ):
        await Queue(db).add(
            NewVideo(path.stem, str(path), str(out / f"{path.stem}.tar")) for path in tar_files
        )
        environment = place.child_environment(WORKER_PROCESSES=0)  # each does all of its work itself
        used, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        workers = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "lipika", "worker", "--until-empty"),
                env=environment,
                stderr=asyncio.subprocess.DEVNULL,
            )
            for _ in range(count)
        ]
        codes = [await worker.wait() for worker in workers]
        seconds, now = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        if any(codes):
            raise RuntimeError(f"workers ended with {codes}")
        accepted = (await place.simulator.stats())["accepted"]
    if not isinstance(accepted, int):
        raise TypeError("the simulator counts no answers")
    shutil.rmtree(out)
    cpu_s = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return Processes(
        count, accepted, round(seconds, 1), round(accepted / seconds * 60), cpu_s / accepted * 1000
    )


# ----------------------------------------------------------------------------- workers on one Postgres


async def fleets(
    counts: Sequence[int] = FLEETS, seconds: Sequence[float] = (_PACED_S, _FLAT_OUT_S)
) -> list[Fleet]:
    done = []
    with scratch_folder() as folder:
        async with EmbeddedPostgres(folder / "postgres", settings=_SERVER) as server:
            postmaster = _postmaster(folder / "postgres")
            for count in counts:
                for paced, lasts_s in zip((True, False), seconds, strict=True):
                    async with _filled(server.url, count) as url:
                        done.append(await _fleet(url, folder, postmaster, count, lasts_s, paced=paced))
    return done


@asynccontextmanager
async def _filled(server: str, workers: int) -> AsyncIterator[str]:
    """A database with a long queue and a budget."""
    url = await fresh_database(server, f"fleet{workers}")
    async with Database(url) as database:
        await migrate(database)
        await Budgets(database).set_limits("aistudio", Limits(requests_per_minute=CLIPS_A_MINUTE))
        await Queue(database).add(
            NewVideo(f"video{number:08}", "in.tar", f"out{number}.tar") for number in range(_QUEUED)
        )
    yield url


async def _fleet(
    url: str, folder: Path, postmaster: psutil.Process, workers: int, seconds: float, *, paced: bool
) -> Fleet:
    printed = await in_child(
        *(
            "benchmarks.simulated_fleet",
            url,
            postmaster.pid,
            workers,
            seconds,
            CLIPS_A_MINUTE if paced else 0,
        ),
        environment={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
        folder=folder,
    )
    told = orjson.loads(printed)
    cpu_s = told["cpu_s"]
    return Fleet(
        workers=workers,
        paced=paced,
        seconds=round(told["seconds"], 1),
        rows_per_s=round(told["rows"] / told["seconds"], 1),
        database_cores=round(cpu_s / told["seconds"], 2),
        database_ms_per_row=round(cpu_s / max(told["rows"], 1) * 1000, 3),
        p50_ms={name: _quantile(times, 0.5) for name, times in told["times"].items()},
        p99_ms={name: _quantile(times, 0.99) for name, times in told["times"].items()},
    )


def _postmaster(data_dir: Path) -> psutil.Process:
    (pid_file,) = data_dir.rglob("postmaster.pid")
    return psutil.Process(int(pid_file.read_text().split()[0]))


def _quantile(values: Sequence[float], share: float) -> float:
    return round(sorted(values)[int(share * (len(values) - 1))], 1)


# ----------------------------------------------------------------------------- all of it


async def measure(parts: Sequence[str]) -> ScalingResult:
    load_before = os.getloadavg()[0]
    former = _former()
    on_one_machine = await processes() if "processes" in parts else former.processes if former else ()
    on_one_database = await fleets() if "fleet" in parts else former.fleets if former else ()
    return ScalingResult(machine(load_before), tuple(on_one_machine), tuple(on_one_database))


def _former() -> ScalingResult | None:
    """What has been measured before, so that one part can be measured anew."""
    path = RESULTS / "scaling.json"
    return TypeAdapter(ScalingResult).validate_json(path.read_bytes()) if path.exists() else None


def main(parts: Sequence[str] = PARTS) -> None:
    result = asyncio.run(measure(parts))
    save("scaling", result)
    print(processes_table(result), fleets_table(result), sep="\n\n")


def command() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    main(parser.parse_args().parts or PARTS)


def processes_table(result: ScalingResult) -> str:
    """The first part as Markdown."""
    lines = ["| processes | clips | seconds | clips per minute | CPU ms per clip |", "|---:" * 5 + "|"]
    lines += [
        f"| {each.processes} | {each.clips:,} | {each.seconds:,.0f} | {each.clips_per_minute:,.0f}"
        f" | {each.cpu_ms:.2f} |"
        for each in result.processes
    ]
    return "\n".join(lines)


def fleets_table(result: ScalingResult) -> str:
    """The second part as Markdown."""
    calls = ("claim", "slots", "heartbeat", "live", "results", "finish")
    heads = (
        "workers",
        "pace",
        "rows/s",
        "Postgres, cores",
        "ms of it per row",
        *(f"{name}, p99 ms" for name in calls),
    )
    lines = [f"| {' | '.join(heads)} |", "|---:" * len(heads) + "|"]
    for each in result.fleets:
        cells = (
            f"{each.workers}",
            f"{CLIPS_A_MINUTE:,} a minute" if each.paced else "flat out",
            f"{each.rows_per_s:,.0f}",
            f"{each.database_cores:.2f}",
            f"{each.database_ms_per_row:.2f}",
            *(f"{each.p99_ms[name]:,.0f}" if name in each.p99_ms else "–" for name in calls),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    command()
