"""`lipika export` killed at random moments and run again: are its bytes those of one that nobody disturbed?

    python -m benchmarks.export_kills --kills 20     # ten minutes
    python -m benchmarks.export_kills --seed 7       # the same moments again

A corpus of some thousand clips, in jobs of a few hundred, by several processes, all of which get `kill -9` at once,
be it while results are read, while shards are written or at the end. Some exports are killed once, others up to three
times, and then run to their end. `SHA256SUMS` must be the same, and fit the files; exit code 1 where that is not so,
or where no kill fell while shards were written.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.result_corpus import ResultCorpus, tiny_stock
from benchmarks.setting import Machine, machine, save, scratch_folder

_VIDEOS, _CLIPS, _A_SHARD, _JOBS = 60, 100, 50, 3
_MOST = 3  # kills of one export
FORMATS = ("nemo", "parquet", "shar", "kaldi", "webdataset")


@dataclass(frozen=True, slots=True)
class KillsResult:
    """`fell` are kills by what was seen of the export: nothing yet, its plan, some shards, all of them."""

    machine: Machine
    clips: int
    exports: int
    kills: int
    fell: dict[str, int]
    jobs_kept: int  # that later runs found done
    problems: tuple[str, ...]


def measure(kills: int, seed: int) -> KillsResult:
    load, lot = os.getloadavg()[0], random.Random(seed)
    fell, problems, exports, kept = Counter[str](), list[str](), 0, 0
    with scratch_folder() as folder:
        results = ResultCorpus(_VIDEOS, _CLIPS, tiny_stock(), ("hi", "ta")).write(folder / "results")
        whole = {name: _whole(name, results, folder / f"whole-{name}") for name in FORMATS}
        while fell.total() < kills:
            name = FORMATS[exports % len(FORMATS)]
            sums, took_s = whole[name]
            dest = folder / f"{name}-{exports}"
            for _ in range(min(1 + exports % _MOST, kills - fell.total())):
                if (seen := _killed(name, results, dest, took_s * lot.uniform(0.1, 1.0))) is None:
                    break
                fell[seen] += 1
            kept += len(list((dest / ".lipika" / "jobs").glob("*.json")))
            _run(name, results, dest).wait()
            problems += [f"{name}, export {exports}: {problem}" for problem in _problems(dest, sums)]
            shutil.rmtree(dest)
            exports += 1
            print(f"{exports} exports, {fell.total()} kills, {len(problems)} problems", flush=True)
    if not fell.keys() - {"nothing yet", "all"}:
        problems.append("no kill fell while shards were written")
    return KillsResult(
        machine(load), _VIDEOS * _CLIPS, exports, fell.total(), dict(fell), kept, tuple(problems)
    )


def _whole(name: str, results: Path, dest: Path) -> tuple[bytes, float]:
    started = time.monotonic()
    child = _run(name, results, dest)
    if child.wait():
        raise RuntimeError(f"lipika export {name} ended with {child.returncode}")
    sums = (dest / "SHA256SUMS").read_bytes()
    if problems := _problems(dest, sums):
        raise RuntimeError(f"undisturbed: {problems[0]}")
    shutil.rmtree(dest)
    return sums, time.monotonic() - started


def _run(name: str, results: Path, dest: Path) -> subprocess.Popen[bytes]:
    arguments = (name, dest, "--from", results, "--lane", "any", "--split", "train=.7,dev=.2,test=.1")
    more = ("--clips-per-shard", _A_SHARD, "--jobs", _JOBS, "--title", "one", "--audio-root", "/data")
    return subprocess.Popen(
        [sys.executable, "-m", "lipika", "export", *map(str, (*arguments, *more))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _killed(name: str, results: Path, dest: Path, after_s: float) -> str | None:
    """Run it, and kill it with all its processes; what was seen of it then. None if it ended before."""
    child = _run(name, results, dest)
    try:
        child.wait(after_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return _seen(dest)
    return None


def _seen(dest: Path) -> str:
    if not (dest / "plan.parquet").exists():
        return "nothing yet"
    if (dest / "SHA256SUMS").exists():
        return "all"
    return "some shards" if list((dest / ".lipika" / "jobs").glob("*.json")) else "its plan"


def _problems(dest: Path, sums: bytes) -> list[str]:
    """Whatever makes an export another one than it should be."""
    found = dest / "SHA256SUMS"
    if not found.exists() or found.read_bytes() != sums:
        return ["SHA256SUMS is another, or not there"]
    there = {
        path.relative_to(dest).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in dest.rglob("*")
        if path.is_file() and path != found
    }
    listed = {path: digest for digest, path in (line.split("  ", 1) for line in sums.decode().splitlines())}
    return [f"{path} is not as it is listed" for path in sorted(dict(there.items() ^ listed.items()))]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.export_kills",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    result = measure(given.kills, given.seed)
    save("export_kills", result)
    print(
        f"{result.kills} kills of {result.exports} exports: {result.fell}; {result.jobs_kept} jobs were kept"
    )
    for problem in result.problems:
        print(problem)
    return int(bool(result.problems))


if __name__ == "__main__":
    raise SystemExit(main())
