"""`lipika export`: CPU a clip of writing each format on one core, beside lhotse's own writer and the bare bytes.

    python -m benchmarks.export                             # three minutes, 1 GB of disk
    python -m benchmarks.export --lhotse VENV/bin/python    # with lhotse's `SharWriter` beside it
    python -m benchmarks.export_scale                       # a million clips: memory over time, and planning
    python -m benchmarks.export_kills                       # killed at random moments, and run again

What is measured is the product's own job, from result tars to shards that were read again and are in their place.
The formats, lhotse and the floor take turns; each counts at its best of several rounds, since other load only ever
adds. The floor reads the result tars and writes their clips to one file, with plain `read` and `write`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.memory import segments
from benchmarks.result_corpus import ResultCorpus, paths
from benchmarks.setting import REPOSITORY, Machine, machine, save, scratch_folder
from lipika.dataset.formats import FORMATS
from lipika.dataset.model import AudioForm
from lipika.dataset.place import ExportPlace
from lipika.dataset.plan import PLAN, CandidateFile, PlanOptions, make_plan
from lipika.dataset.selection import Selection
from lipika.dataset.shards import JobOrder, write_job
from lipika.dataset.sources import candidates_of_archives
from lipika.dataset.user_files import UserFiles
from lipika.dataset.views import View, ViewKind
from lipika.dataset.wanted import TextRules
from lipika.storage import StoreSettings

VIDEOS, CLIPS, SECONDS = 20, 100, 5.15
_STOCK, _ROUNDS = 100, 5
_LHOTSE_CLIPS = 200
_WRITTEN = ("nemo", "shar", "webdataset", "parquet", "kaldi")  # as packed, without decoding


@dataclass(frozen=True, slots=True)
class ExportCost:
    """CPU milliseconds a clip, each the best of its rounds. `lhotse` is None where it was not at hand."""

    machine: Machine
    clips: int
    clip_bytes: int
    rounds: int
    formats: Mapping[str, float]
    floor: float
    lhotse: float | None
    lhotse_version: str
    read: float  # candidates of archives
    planned: float


def measure(lhotse: Path | None, rounds: int = _ROUNDS) -> ExportCost:
    load = os.getloadavg()[0]
    with scratch_folder() as folder:
        stock = segments(_STOCK, SECONDS)
        results = ResultCorpus(VIDEOS, CLIPS, stock, ("hi",)).write(folder / "results")
        clips = VIDEOS * CLIPS
        read, planned = min(_plan(results, folder / f"plan-{turn}") for turn in range(rounds))
        formats = {name: _writing(name, folder / "plan-0", folder / "out") for name in _WRITTEN}
        tasks: dict[str, Callable[[], float]] = {"floor": lambda: _floor(results, folder / "bare"), **formats}
        taken: dict[str, list[float]] = {name: [] for name in tasks}
        version, theirs = "", list[float]()
        for _ in range(rounds):
            for name, task in tasks.items():
                taken[name].append(task() * 1000 / clips)
            if lhotse is not None:
                version, ms = _lhotse(lhotse, next(paths(results)), folder / "lhotse")
                theirs.append(ms)
    best = {name: round(min(found), 4) for name, found in taken.items()}
    return ExportCost(
        machine=machine(load),
        clips=clips,
        clip_bytes=sum(map(len, stock)) // len(stock),
        rounds=rounds,
        floor=best.pop("floor"),
        formats=best,
        lhotse=round(min(theirs), 3) if theirs else None,
        lhotse_version=version,
        read=round(read * 1000 / clips, 4),
        planned=round(planned * 1000 / clips, 4),
    )


RULES = TextRules(View(ViewKind.VERBATIM))
SETTINGS = StoreSettings()


def _plan(results: Path, folder: Path) -> tuple[float, float]:
    """CPU seconds of reading candidates, and of planning."""
    folder.mkdir()
    held = CandidateFile(folder / "candidates.parquet")

    async def read() -> None:
        async with aclosing(candidates_of_archives([str(results)], SETTINGS, RULES, 1)) as batches:
            async for batch in batches:
                held.add(batch.table)

    started = time.process_time()
    asyncio.run(read())
    held.close()
    between = time.process_time()
    make_plan(held.path, folder, options("nemo"), UserFiles(), threads=1)
    return between - started, time.process_time() - between


def options(name: str) -> PlanOptions:
    return PlanOptions(
        selection=Selection(lane=""), format=name, view={"view": "verbatim"}, keep_duplicates=True
    )


def _writing(name: str, plan: Path, dest: Path) -> Callable[[], float]:
    """CPU seconds of the job that writes it all."""

    def write() -> float:
        shutil.rmtree(dest, ignore_errors=True)
        place = ExportPlace(str(dest), SETTINGS)
        with (plan / PLAN).open("rb") as file:
            place.put_stream(PLAN, iter([file.read()]))
        order = JobOrder(0, place, SETTINGS, name, AudioForm.FLAC, 0, {("hi", "train"): 1})
        started = time.process_time()
        done = write_job(order)
        taken = time.process_time() - started
        assert done.clips == VIDEOS * CLIPS
        return taken

    assert AudioForm.FLAC in FORMATS[name].forms
    return write


def _floor(results: Path, out: Path) -> float:
    sizes = [path.stat().st_size for path in paths(results)]
    started = time.process_time()
    with out.open("wb") as writer:
        for path, size in zip(paths(results), sizes, strict=True):
            with path.open("rb", buffering=0) as reader:
                for _ in range(CLIPS):
                    writer.write(reader.read(size // CLIPS))
    return time.process_time() - started


def _lhotse(python: Path, archive: Path, out: Path) -> tuple[str, float]:
    """Its version, and CPU milliseconds a clip of its own writer."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    script = REPOSITORY / "benchmarks" / "lhotse_writer.py"
    printed = subprocess.run(
        [python, script, archive, out, str(_LHOTSE_CLIPS)], check=True, capture_output=True
    ).stdout
    found = orjson.loads(printed.splitlines()[-1])
    return str(found["version"]), float(found["ms"])


def table(result: ExportCost) -> str:
    """The result as Markdown."""
    lines = ["| | CPU ms a clip | times the bytes alone |", "|---|---:|---:|"]
    rows = {
        f"plain `read` and `write` of {result.clip_bytes / 1000:.0f} KB": result.floor,
        **{f"`lipika export {name}`": ms for name, ms in result.formats.items()},
    }
    if result.lhotse is not None:
        rows[f"lhotse {result.lhotse_version}, `SharWriter` (decodes and encodes)"] = result.lhotse
    lines += [f"| {name} | {ms:.2f} | {ms / result.floor:.1f} |" for name, ms in rows.items()]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--lhotse", type=Path, help="a Python that has lhotse; else LHOTSE_PYTHON, or .loaders"
    )
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    given = parser.parse_args(argv)
    lhotse = given.lhotse or _find_lhotse()
    if lhotse is None:
        print("lhotse is not at hand: name a Python that has it with --lhotse or LHOTSE_PYTHON")
    result = measure(lhotse, given.rounds)
    save("export", result)
    print(table(result))
    print(f"from archives: {result.read:.3f} ms a clip to read, {result.planned:.3f} to plan")


def _find_lhotse() -> Path | None:
    named = os.environ.get("LHOTSE_PYTHON")
    there = REPOSITORY / ".loaders" / "training" / "bin" / "python"
    return Path(named) if named else there if there.exists() else None


if __name__ == "__main__":
    main()
