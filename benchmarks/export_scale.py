"""`lipika export nemo` of many clips made small: time, and memory of all processes, which must not grow with them.

    python -m benchmarks.export_scale                            # 100,000, 300,000, a million: 20 minutes, 10 GB
    python -m benchmarks.export_scale --clips 20000 60000        # two minutes

Each clip is a true FLAC of 1 to 2 KB with its document, 200 to a result tar; what is written of it is read again as
ever. Everything is removed afterwards.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.export_memory import Watched, watch
from benchmarks.result_corpus import ResultCorpus, tiny_stock
from benchmarks.setting import Machine, machine, save, scratch_folder

CLIPS = (100_000, 300_000, 1_000_000)
_A_TAR = 200


@dataclass(frozen=True, slots=True)
class Scale:
    """One export. Bytes are of the result tars, of all that was written, and of its plan."""

    clips: int
    source_bytes: int
    written_bytes: int
    plan_bytes: int
    files: int
    ran: Watched


@dataclass(frozen=True, slots=True)
class ScaleResult:
    machine: Machine
    runs: tuple[Scale, ...]


def measure(counts: Sequence[int]) -> ScaleResult:
    load = os.getloadavg()[0]
    with scratch_folder() as folder:
        runs = tuple(_run(folder / str(clips), clips) for clips in counts)
    return ScaleResult(machine(load), runs)


def _run(folder: Path, clips: int) -> Scale:
    results = ResultCorpus(clips // _A_TAR, _A_TAR, tiny_stock()).write(folder / "results")
    dest = folder / "out"
    arguments = ("nemo", dest, "--from", results, "--lane", "any", "--title", "made up")
    ran = watch(arguments, folder / "spool", dest)
    written = [path.stat().st_size for path in dest.rglob("*") if path.is_file()]
    scale = Scale(
        clips=clips // _A_TAR * _A_TAR,
        source_bytes=sum(path.stat().st_size for path in results.rglob("*.tar")),
        written_bytes=sum(written),
        plan_bytes=(dest / "plan.parquet").stat().st_size,
        files=len(written),
        ran=ran,
    )
    print(
        f"{clips:,} clips: {ran.wall_s} s, {ran.cpu_s} s of CPU, {ran.peak_mb:,.0f} MB at most, {ran.phases}"
    )
    shutil.rmtree(folder)
    return scale


def table(result: ScaleResult) -> str:
    """The result as Markdown."""
    lines = [
        "| clips | reading, s | planning | writing | finishing | CPU ms a clip | MB, reading | planning | writing |",
        "|" + "---:|" * 9,
    ]
    for run in result.runs:
        begins = [*run.ran.phases.values(), run.ran.wall_s]
        spent = [f"{end - start:,.0f}" for start, end in pairwise(begins)]
        peaks = [f"{_peak(run.ran, start, end):,.0f}" for start, end in list(pairwise(begins))[:3]]
        lines.append(
            f"| {run.clips:,} | {' | '.join(spent)} | {run.ran.cpu_s * 1000 / run.clips:.2f} | {' | '.join(peaks)} |"
        )
    return "\n".join(lines)


def _peak(ran: Watched, start: float, end: float) -> float:
    return max(moment.pss_mb for moment in ran.curve if start <= moment.at_s < end)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.export_scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clips", type=int, nargs="+", default=CLIPS)
    result = measure(parser.parse_args(argv).clips)
    save("export_scale", result)
    print(table(result))


if __name__ == "__main__":
    main()
