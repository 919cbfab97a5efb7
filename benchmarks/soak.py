"""A worker at a steady 5,000 clips a minute for half an hour: does anything grow?

    python -m benchmarks.soak                # 30 minutes
    python -m benchmarks.soak --minutes 2

One worker process with everything it has (lease, ledger, spool, Postgres, store), simulator and Postgres beside it;
the pace is a budget of 5,000 requests a minute. Every two seconds the worker's process is looked at: memory of it and
its children, file descriptors, asyncio tasks, TCP connections. Slopes are those of straight lines through the last
four fifths of the samples, and through the last third: what a heap grows to, it comes to ever more slowly.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil
import uvloop

from benchmarks.end_to_end import many
from benchmarks.setting import Machine, Setting, machine, save, scratch_folder, setting
from lipika import log, services
from lipika.config import load_settings
from lipika.db.budgets import Budgets, Limits
from lipika.db.connection import Database
from lipika.db.queue import Queue
from lipika.jobs import wiring
from lipika.models import NewVideo
from lipika.processes import settle_in

CLIPS_A_MINUTE = 5000
MINUTES = 30.0
_SEGMENTS = 40
_LATENCY_S = 2.0
_EVERY_S = 2.0
_SETTLED = 0.2  # of the time: then caches are warm and connections are made
_LAST = 2 / 3
_RESULT_KEPT_S = 60.0
_STOP_S = 90.0


@dataclass(frozen=True, slots=True)
class Look:
    """The worker's process at one moment. `answered` and `in_flight` are its own count."""

    at_s: float
    rss_mb: float
    open_files: int
    tasks: int
    connections: int
    answered: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Course:
    """How one figure went, after the start: its middle, its range, how much it rose an hour, in all and at last."""

    median: float
    least: float
    most: float
    per_hour: float
    last_per_hour: float


@dataclass(frozen=True, slots=True)
class SoakResult:
    machine: Machine
    minutes: float
    clips: int
    clips_per_minute: float  # of the settled time
    cpu_ms: float  # per clip, start included
    rss_mb: Course
    open_files: Course
    tasks: Course
    connections: Course
    in_flight: Course
    looks: tuple[Look, ...]


# ----------------------------------------------------------------------------- from outside


async def measure(minutes: float = MINUTES) -> SoakResult:
    load_before = os.getloadavg()[0]
    with scratch_folder() as folder:
        videos = round(CLIPS_A_MINUTE * (minutes + 2) / _SEGMENTS)
        tar_files = await asyncio.to_thread(many, folder / "in", videos)
        async with setting(folder, latency_s=_LATENCY_S) as place:
            await _fill(place, tar_files)
            looks, cpu_s = await _watched(place, minutes)
    return result_of(looks, cpu_s, minutes, machine(load_before))


async def _fill(place: Setting, tar_files: Sequence[Path]) -> None:
    async with Database(place.database_url) as database:
        await Budgets(database).set_limits("aistudio", Limits(requests_per_minute=CLIPS_A_MINUTE))
        await Queue(database).add(
            NewVideo(path.stem, str(path), str(place.folder / "out" / path.name)) for path in tar_files
        )


async def _watched(place: Setting, minutes: float) -> tuple[list[Look], float]:
    """Run the worker for so long; what it said of itself, and its CPU seconds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.soak", "--inside"),
        stdout=asyncio.subprocess.PIPE,
        env=place.child_environment(WORKER_BATCH_SIZE=2 * CLIPS_A_MINUTE),
        cwd=place.folder,
    )
    tidying = asyncio.create_task(_tidy(place.folder / "out"))
    looks: list[Look] = []
    reading = asyncio.create_task(_read(process, looks))
    try:
        await asyncio.wait([reading], timeout=minutes * 60)
        if reading.done():
            raise RuntimeError("the worker ended early; what it said is above")
        cpu_s = _cpu_s(process.pid)
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), _STOP_S)
    finally:
        tidying.cancel()
        reading.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    return looks, cpu_s


async def _read(process: asyncio.subprocess.Process, looks: list[Look]) -> None:
    if process.stdout is None:
        raise RuntimeError("the worker has no standard output")
    async for line in process.stdout:
        looks.append(Look(**orjson.loads(line)))  # noqa: PERF401 - others look at the list meanwhile


async def _tidy(out: Path) -> None:
    """Half an hour leaves 20 GB of results: those that are done go."""
    while True:
        await asyncio.sleep(10)
        await asyncio.to_thread(_remove_old, out)


def _remove_old(out: Path) -> None:
    for path in out.glob("*.tar"):
        if time.time() - path.stat().st_mtime > _RESULT_KEPT_S:
            path.unlink()


def _cpu_s(pid: int) -> float:
    """Of a process and its children, the ended ones too."""
    process = psutil.Process(pid)
    own = process.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in process.children(recursive=True):
        times = child.cpu_times()
        total += times.user + times.system
    return float(total)


def result_of(looks: Sequence[Look], cpu_s: float, minutes: float, where: Machine) -> SoakResult:
    settled = [look for look in looks if look.at_s >= _SETTLED * minutes * 60]
    first, last = settled[0], settled[-1]
    return SoakResult(
        machine=where,
        minutes=minutes,
        clips=looks[-1].answered,
        clips_per_minute=round((last.answered - first.answered) / (last.at_s - first.at_s) * 60, 1),
        cpu_ms=round(cpu_s / max(looks[-1].answered, 1) * 1000, 3),
        rss_mb=_course(settled, [look.rss_mb for look in settled]),
        open_files=_course(settled, [float(look.open_files) for look in settled]),
        tasks=_course(settled, [float(look.tasks) for look in settled]),
        connections=_course(settled, [float(look.connections) for look in settled]),
        in_flight=_course(settled, [float(look.in_flight) for look in settled]),
        looks=tuple(looks[:: max(1, len(looks) // 300)]),
    )


def _course(looks: Sequence[Look], values: Sequence[float]) -> Course:
    at_s = [look.at_s for look in looks]
    late = sum(moment < _LAST * at_s[-1] for moment in at_s)
    return Course(
        round(statistics.median(values), 1),
        round(min(values), 1),
        round(max(values), 1),
        _per_hour(at_s, values),
        _per_hour(at_s[late:], values[late:]),
    )


def _per_hour(at_s: Sequence[float], values: Sequence[float]) -> float:
    return round(statistics.linear_regression(at_s, values).slope * 3600, 1)


# ----------------------------------------------------------------------------- inside the worker's process


async def _inside() -> None:
    """A worker, and somebody who looks at its process."""
    settings = load_settings(output_url="out")
    async with (
        services.open_database(settings) as database,
        wiring.open_worker(settings, database) as running,
    ):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.worker.drain)
        looking = asyncio.create_task(_look(running, time.monotonic()))
        try:
            await running.worker.run()
        finally:
            looking.cancel()


async def _look(running: wiring.Running, started: float) -> None:
    process = psutil.Process()
    while True:
        counts = running.worker.counts
        look = Look(
            at_s=round(time.monotonic() - started, 1),
            rss_mb=round(sum(_rss(each) for each in (process, *process.children(recursive=True))) / 1e6, 1),
            open_files=process.num_fds(),
            tasks=len(asyncio.all_tasks()),
            connections=len(process.net_connections("tcp")),
            answered=counts.transcribed + counts.no_speech,
            in_flight=running.engine.in_flight,
        )
        sys.stdout.buffer.write(orjson.dumps(look) + b"\n")
        sys.stdout.buffer.flush()
        await asyncio.sleep(_EVERY_S)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:  # it has just ended
        return 0


# ----------------------------------------------------------------------------- all of it


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        log.configure(level="warning")
        settle_in()  # as `lipika worker` does
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_inside())
        return
    result = asyncio.run(measure(options.minutes))
    save("soak", result)
    print(table(result))


def table(result: SoakResult) -> str:
    """The result as Markdown."""
    lines = [
        "| | median | least | most | slope, per hour | of the last third |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, course in (
        ("memory, MB", result.rss_mb),
        ("file descriptors", result.open_files),
        ("asyncio tasks", result.tasks),
        ("TCP connections", result.connections),
        ("requests in flight", result.in_flight),
    ):
        lines.append(
            f"| {name} | {course.median:,.0f} | {course.least:,.0f} | {course.most:,.0f}"
            f" | {course.per_hour:+,.1f} | {course.last_per_hour:+,.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
