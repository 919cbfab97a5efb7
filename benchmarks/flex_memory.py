"""Memory and CPU of a worker whose requests wait at Flex: a real one, over TLS, with thousands of them in flight.

    python -m benchmarks.flex_memory [--requests 15000] [--watch 30]

Every clip has other audio. Nobody answers before all requests are in flight; then the worker is watched while it
does nothing but wait, and ended.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.setting import EIGHT_SECONDS, Setting, machine, save, scratch_folder, setting
from benchmarks.speech_corpus import CorpusPlan, make_corpus
from lipika import machine as this_machine
from lipika.jobs.demo import sample_folder
from lipika.simulator import FlexQueue

_CLIPS_A_VIDEO = 50
_NEVER = FlexQueue(least_s=7200.0, most_s=7200.0, shed=0.0)
_FEW = 100
"""In flight: all that a worker needs once is there by then."""
_PATIENCE_S = 900.0


@dataclass(frozen=True, slots=True)
class FlexMemory:
    """Resident memory with few and with all requests in flight, of the worker's main process and of all of its; MB.
    `waiting_cores` is the CPU that all of them used while nothing was left to do but wait."""

    requests: int
    in_flight: int
    main_few_mb: float
    main_mb: float
    all_mb: float
    launched_in_s: float
    watched_s: float
    waiting_cores: float

    @property
    def kb_per_request(self) -> float:
        return (self.main_mb - self.main_few_mb) * 1000 / (self.in_flight - _FEW)


async def measure(requests: int, watch_s: float) -> FlexMemory:
    """Let a worker launch so many requests, and watch it wait."""
    this_machine.allow_open_files(requests + this_machine.SPARE_FILES)  # the simulator inherits it
    with scratch_folder() as folder:
        plan = CorpusPlan(-(-requests // _CLIPS_A_VIDEO), _CLIPS_A_VIDEO, EIGHT_SECONDS)
        await asyncio.to_thread(make_corpus, folder / "in", plan, sample_folder())
        async with setting(folder, latency_s=0.1, flex=_NEVER) as place:
            return await _watch(place, requests, watch_s)


async def _watch(place: Setting, requests: int, watch_s: float) -> FlexMemory:
    worker = await _start(place, requests)
    try:
        began, main = time.monotonic(), psutil.Process(worker.pid)
        await _until_in_flight(place, worker, _FEW)
        few = main.memory_info().rss
        in_flight = await _until_in_flight(place, worker, requests)
        launched_in = time.monotonic() - began
        before, since = _cpu_s(main), time.monotonic()
        await asyncio.sleep(watch_s)
        watched = time.monotonic() - since
        used = _cpu_s(main) - before
        rss = main.memory_info().rss
        family = sum(one.memory_info().rss for one in (main, *main.children(recursive=True)))
    finally:
        if worker.returncode is None:
            worker.kill()
        await worker.wait()
    return FlexMemory(
        requests=requests,
        in_flight=in_flight,
        main_few_mb=round(few / 1e6, 1),
        main_mb=round(rss / 1e6, 1),
        all_mb=round(family / 1e6, 1),
        launched_in_s=round(launched_in, 1),
        watched_s=round(watched, 1),
        waiting_cores=round(used / watched, 4),
    )


async def _start(place: Setting, requests: int) -> asyncio.subprocess.Process:
    asked = {
        "SERVICE_TIER": "flex",
        "MAX_IN_FLIGHT": requests,
        "FLEX_TIMEOUT_SECONDS": 7200,
        "MAX_VIDEOS": 1000,
        "SPOOL_DIR": place.folder / "spool",
    }
    (place.folder / "spool").mkdir()
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "lipika", "run", str(place.folder / "in"), "--out", str(place.folder / "out"), "--quiet"),
        env=place.child_environment(**asked),
        cwd=place.folder,
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )


async def _until_in_flight(place: Setting, worker: asyncio.subprocess.Process, wanted: int) -> int:
    """The requests in flight, once there are so many or no more come."""
    most, grown = 0, time.monotonic()
    while most < wanted:
        found = (await place.simulator.stats())["in_flight"]
        now = time.monotonic()
        if isinstance(found, int) and found > most:
            most, grown = found, now
        if worker.returncode is not None or (now - grown > 60 and most) or now - grown > _PATIENCE_S:
            raise RuntimeError(f"{most:,} of {wanted:,} requests were in flight, and no more came")
        await asyncio.sleep(0.25)
    return most


def _cpu_s(main: psutil.Process) -> float:
    """Of all its processes so far."""
    times = [one.cpu_times() for one in (main, *main.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def describe(run: FlexMemory) -> str:
    return (
        f"{run.in_flight:,} requests in flight: {run.all_mb:,.0f} MB in all, {run.main_mb:,.0f} in the main process,"
        f" {run.kb_per_request:.1f} KB for each; waiting took {run.waiting_cores:.1%} of a core over"
        f" {run.watched_s:.0f} s; launched in {run.launched_in_s:.0f} s"
    )


def main() -> Path:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flex_memory", description=__doc__)
    parser.add_argument("--requests", type=int, default=15_000)
    parser.add_argument("--watch", type=float, default=30.0, metavar="SECONDS")
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    run = asyncio.run(measure(options.requests, options.watch))
    print(describe(run))
    return save("flex_memory", {"machine": asdict(machine(load_before)), "run": asdict(run)})


if __name__ == "__main__":
    main()
