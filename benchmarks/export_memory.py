"""A `lipika export` in a process of its own: its time, its CPU, and the memory of all its processes over time."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_EVERY_S = 0.5
_CURVE_POINTS = 60
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")


@dataclass(frozen=True, slots=True)
class Moment:
    """All processes of a command together: proportional set size, which counts shared memory once."""

    at_s: float
    pss_mb: float


@dataclass(frozen=True, slots=True)
class Watched:
    """A finished command. `phases` are the seconds at which each was seen to begin; `disk_mb` is the most that lay in
    its spool."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    disk_mb: float
    phases: Mapping[str, float]
    curve: tuple[Moment, ...]


def watch(arguments: Sequence[object], spool: Path, dest: Path | None, **env: str) -> Watched:
    """Run `lipika export ARGUMENTS` to its end; it must end well. No other child of ours may end meanwhile."""
    clean = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    spool.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "lipika", "export", *map(str, arguments)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    child = subprocess.Popen(
        command,
        env={**clean, **env, "SPOOL_DIR": str(spool)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    moments, phases, disk_mb = list[Moment](), {"reading": 0.0}, 0.0
    try:
        while child.poll() is None:
            at_s = round(time.monotonic() - started, 1)
            if pss_mb := tree_pss_mb(child.pid):
                moments.append(Moment(at_s, round(pss_mb, 1)))
            for name in _seen(spool, dest):
                phases.setdefault(name, at_s)
            disk_mb = max(disk_mb, _size_mb(spool))
            time.sleep(_EVERY_S)
    except BaseException:
        child.kill()
        child.wait()
        raise
    wall_s, used = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if child.returncode:
        assert child.stderr is not None
        raise RuntimeError(f"lipika export ended with {child.returncode}: {child.stderr.read()[-2000:]!r}")
    cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    peak_mb = max(moment.pss_mb for moment in moments)
    return Watched(round(wall_s, 1), round(cpu_s, 1), peak_mb, round(disk_mb, 1), phases, _thin(moments))


def _seen(spool: Path, dest: Path | None) -> list[str]:
    """The phases that have left something to see."""
    signs = {
        "planning": next(spool.glob("*/plan.duckdb"), None),
        "writing": dest and dest / "plan.parquet",
        "finishing": next(spool.glob("*/finish.duckdb"), None),
    }
    return [name for name, sign in signs.items() if sign is not None and sign.exists()]


def _size_mb(folder: Path) -> float:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total / 1e6


def tree_pss_mb(pid: int) -> float:
    """Memory of a process and all its descendants; 0 where it has just ended."""
    total = 0.0
    try:
        main = psutil.Process(pid)
        processes = [main, *main.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for process in processes:
        try:
            total += process.memory_full_info().pss / 1e6
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def _thin(moments: Sequence[Moment]) -> tuple[Moment, ...]:
    """Some of the moments, evenly spread, and always the highest."""
    step = max(1, len(moments) // _CURVE_POINTS)
    top = max(moments, key=lambda moment: moment.pss_mb)
    return tuple(one for place, one in enumerate(moments) if place % step == 0 or one is top)
