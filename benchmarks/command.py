"""A real `lipika run` in a process of its own, and what it took: CPU, memory over time, requests in flight."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.setting import Setting

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
    """One finished command. CPU is of the command and its own children: not of Postgres, not of the simulator."""

    clips: int
    discarded: int
    wall_s: float
    user_s: float
    system_s: float
    peak_rss_mb: float
    max_in_flight: int
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
        samples = []
        try:
            while process.returncode is None:
                stats = await place.simulator.stats()
                answered = _number(stats, "accepted") - _number(before, "accepted")
                memory_mb, at_s = _tree_rss_mb(process.pid), time.monotonic() - started
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
    summary = orjson.loads(printed.read_bytes())
    return Ran(
        clips=summary["clips"],
        discarded=summary["discarded"],
        wall_s=wall_s,
        user_s=used.ru_utime - used_before.ru_utime,
        system_s=used.ru_stime - used_before.ru_stime,
        peak_rss_mb=max(sample.rss_mb for sample in samples),
        max_in_flight=max(sample.in_flight for sample in samples),
        samples=tuple(samples),
    )


def _number(stats: object, name: str) -> int:
    value = stats.get(name) if isinstance(stats, dict) else None
    if not isinstance(value, int):
        raise TypeError(f"the simulator's statistics have no number {name!r}")
    return value


def _tree_rss_mb(pid: int) -> float:
    """Resident memory of a process and all its descendants."""
    total = 0.0
    waiting = [pid]
    while waiting:
        one = Path(f"/proc/{waiting.pop()}")
        try:
            pages = int((one / "statm").read_text().split()[1])
            children = [task.read_text() for task in (one / "task").glob("*/children")]
        except (OSError, IndexError):  # it has just ended
            continue
        total += pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        waiting += [int(child) for text in children for child in text.split()]
    return total
