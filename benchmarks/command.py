"""A real `lipika run` in a process of its own, and what it took: CPU, memory over time, requests in flight."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil

from benchmarks.setting import Setting
from lipika.models import JsonObject

_EVERY_S = 0.25
_CURVE_POINTS = 48


@dataclass(frozen=True, slots=True)
class Sample:
    """The command's processes at one moment. `answered` and `in_flight` are the simulator's count."""

    at_s: float
    rss_mb: float
    answered: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Ran:
    """One finished command. CPU is of the command and its own children: not of Postgres, not of the simulator.

    `cpu_s_by_process` is what was seen of it, by kind, up to the last sample. `sent_bytes` is the size of a request.
    """

    clips: int
    discarded: int
    wall_s: float
    user_s: float
    system_s: float
    peak_rss_mb: float
    max_in_flight: int
    sent_bytes: int
    cpu_s_by_process: dict[str, float]
    samples: tuple[Sample, ...]

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s

    def steady_clips_per_minute(self) -> float:
        """The pace of answers from the first to the last quarter: without start, ramp and tail."""
        middle = [sample for sample in self.samples if 0.25 <= sample.answered / self.clips <= 0.75]
        if len(middle) < 2:
            return self.clips / self.wall_s * 60
        first, last = middle[0], middle[-1]
        return (last.answered - first.answered) / (last.at_s - first.at_s) * 60

    def rss_curve(self) -> tuple[Sample, ...]:
        """Some of the samples, evenly spread, and always the highest."""
        step = max(1, len(self.samples) // _CURVE_POINTS)
        top = max(self.samples, key=lambda sample: sample.rss_mb)
        return tuple(
            sample for place, sample in enumerate(self.samples) if place % step == 0 or sample is top
        )


async def lipika_run(place: Setting, sources: Sequence[Path], out: Path, **settings: object) -> Ran:
    """Run the command to its end; every video must be done.

    CPU is what our ended children used meanwhile; no other child of this process may end during the call.
    """
    before, used_before = await place.simulator.stats(), resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = place.folder / "summary.json"
    with printed.open("wb") as file:
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "lipika", "run", *map(str, sources), "--out", str(out), "--json", "--quiet"),
            stdout=file,
            env=place.child_environment(**settings),
            cwd=place.folder,
        )
        samples, used_by = list[Sample](), dict[int, tuple[str, float]]()
        try:
            while process.returncode is None:
                stats = await place.simulator.stats()
                answered = _number(stats, "accepted") - _number(before, "accepted")
                memory_mb, at_s = _tree_rss_mb(process.pid, used_by), time.monotonic() - started
                if memory_mb:  # else it has just ended
                    samples.append(
                        Sample(round(at_s, 2), round(memory_mb, 1), answered, _number(stats, "in_flight"))
                    )
                await asyncio.sleep(_EVERY_S)
        except BaseException:
            process.kill()
            await process.wait()
            raise
    wall_s, used = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise RuntimeError(f"lipika run ended with {process.returncode}: {printed.read_text()[-2000:]}")
    summary, after = orjson.loads(printed.read_bytes()), await place.simulator.stats()
    return Ran(
        clips=summary["clips"],
        discarded=summary["discarded"],
        wall_s=wall_s,
        user_s=used.ru_utime - used_before.ru_utime,
        system_s=used.ru_stime - used_before.ru_stime,
        peak_rss_mb=max(sample.rss_mb for sample in samples),
        max_in_flight=max(sample.in_flight for sample in samples),
        sent_bytes=_sent_bytes(before, after),
        cpu_s_by_process=_by_kind(used_by),
        samples=tuple(samples),
    )


def _number(stats: object, name: str) -> int:
    value = stats.get(name) if isinstance(stats, dict) else None
    if not isinstance(value, int):
        raise TypeError(f"the simulator's statistics have no number {name!r}")
    return value


def _sent_bytes(before: JsonObject, after: JsonObject) -> int:
    """The mean size of a request's body."""
    sizes = [
        _number(stats["bytes"], "in") if isinstance(stats["bytes"], dict) else 0 for stats in (before, after)
    ]
    return (sizes[1] - sizes[0]) // max(_number(after, "requests") - _number(before, "requests"), 1)


def _tree_rss_mb(pid: int, used_by: dict[int, tuple[str, float]]) -> float:
    """Resident memory of a process and all its descendants; notes what CPU each has used so far."""
    total = 0.0
    try:
        main = psutil.Process(pid)
        processes = [main, *main.children(recursive=True)]
    except psutil.NoSuchProcess:  # it has just ended
        return 0.0
    for process in processes:
        try:
            with process.oneshot():
                total += process.memory_info().rss / 1e6
                times = process.cpu_times()
                kind = "main" if process.pid == pid else _kind(process)
        except psutil.NoSuchProcess:
            continue
        used_by[process.pid] = (kind, times.user + times.system)
    return total


def _kind(process: psutil.Process) -> str:
    """What a child of the command is for, by its command line."""
    line = " ".join(process.cmdline())
    return "audio" if "multiprocessing" in line or "polish" in line else "others"


def _by_kind(used_by: Mapping[int, tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for kind, seconds in used_by.values():
        sums[kind] = round(sums.get(kind, 0.0) + seconds, 2)
    return sums
