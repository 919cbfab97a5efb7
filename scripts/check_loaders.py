"""Do the loaders of others give every clip of an export? `python scripts/check_loaders.py [--light]`

Result archives are made (those of the demo, and a corpus of odd rates and names), exported in every format by
`lipika export`, and read by the loaders that trainers use, in environments of their own below `.loaders/`. What they
give is held, sample for sample, against the result archives themselves. Then the code of `docs/datasets.md` and of
each export's own README is run as it stands. `--light` needs no torch and takes a minute or two.

Exit code 1 if a loader misses a clip, gives another one, or other samples or text; what could not be run is said.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loaders import corpus, pages
from loaders.compare import Result
from loaders.environments import (
    CROISSANT,
    HERE,
    LHOTSE_NEXT,
    ROOT,
    TRAINING,
    Environment,
    NoEnvironment,
    make,
    start,
)
from loaders.readers.heard import CANNOT
from loaders.truth import Clip, clips_of, planned
from rich.console import Console
from rich.table import Table

_TOLD = 400  # characters of what a reader says when it fails
_F5 = "f5 --audio-root {out}"  # its script wants whole paths


@dataclass(frozen=True)
class Check:
    """One loader on one format, with its options. `way` is one of the reader's."""

    loader: str
    format: str
    environment: Environment
    reader: str
    way: str


CHECKS = (
    Check("webdataset", "webdataset", HERE, "read_webdataset", "tars"),
    Check("pyarrow", "parquet", HERE, "read_pyarrow", "tables"),
    Check("datasets, whole", "parquet", HERE, "read_datasets", "whole"),
    Check("datasets, stream", "parquet", HERE, "read_datasets", "streamed"),
    Check("mlcroissant", "parquet", CROISSANT, "read_croissant", "records"),
    Check("mlcroissant", "nemo", CROISSANT, "read_croissant", "records"),
    Check("NeMo, cuts", "nemo", TRAINING, "read_nemo", "tarred"),
    Check("NeMo, batches", "nemo", TRAINING, "read_nemo", "tarred_batches"),
    Check("NeMo, cuts", "parquet", TRAINING, "read_nemo", "parquet"),
    Check("NeMo, batches", "parquet", TRAINING, "read_nemo", "parquet_batches"),
    Check("NeMo, cuts", "nemo", LHOTSE_NEXT, "read_nemo", "tarred"),
    Check("NeMo, batches", "nemo", LHOTSE_NEXT, "read_nemo", "tarred_batches"),
    Check("Lhotse", "shar", TRAINING, "read_lhotse", "shar"),
    Check("Lhotse", "shar", LHOTSE_NEXT, "read_lhotse", "shar"),
    Check("Lhotse, at random", "shar", LHOTSE_NEXT, "read_lhotse", "indexed"),
    Check("datasets, decoded", "parquet", TRAINING, "read_datasets", "decoded"),
    Check("datasets, decoded", "webdataset", TRAINING, "read_datasets", "webdataset"),
    Check("Kaldi, validator", "kaldi", HERE, "read_kaldi", "validated"),
    Check("Lhotse", "kaldi", TRAINING, "read_lhotse", "kaldi"),
    Check("kaldiio", "kaldi", TRAINING, "read_espnet", "commands"),
    Check("ESPnet", "kaldi --wav", TRAINING, "read_espnet", "files"),
    Check("Lhotse", "ljspeech", TRAINING, "read_lhotse", "ljspeech"),
    Check("F5-TTS", _F5, TRAINING, "read_f5", "prepared"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--light", action="store_true", help="without torch")
    parser.add_argument("--anew", action="store_true", help="install what is newest now")
    parser.add_argument("--keep", type=Path, help="a folder for archives and exports, kept afterwards")
    parser.add_argument("--only", default="", help="checks whose loader or format has this word in it")
    arguments = parser.parse_args()
    chosen = [
        check
        for check in CHECKS
        if (not arguments.light or check.environment in (HERE, CROISSANT))
        and arguments.only.lower() in f"{check.loader} {check.format}".lower()
    ]
    with tempfile.TemporaryDirectory(prefix="lipika-loaders-") as name:
        Path(name).chmod(0o755)  # as root, Postgres runs as somebody else, who must get in
        work = (arguments.keep or Path(name)).resolve()
        lacking = dict(_lacking(chosen, anew=arguments.anew))
        wrong = [_check_all(source, chosen, lacking, work) for source in ("demo", "corpus")]
        if not arguments.light and not arguments.only and TRAINING.name not in lacking:
            wrong.append(_run_pages(work))
    sys.exit(any(wrong))


def _lacking(checks: Sequence[Check], *, anew: bool) -> Iterator[tuple[str, str]]:
    """(name, why) of the environments that cannot be made."""
    for environment in dict.fromkeys(check.environment for check in checks):
        try:
            make(environment, anew=anew)
        except NoEnvironment as error:
            yield environment.name, str(error)


def _check_all(source: str, checks: Sequence[Check], lacking: Mapping[str, str], work: Path) -> bool:
    """Export and read one set of archives; True if anything is wrong."""
    results = work / source / "results"
    _make_results(source, results, work)
    clips = clips_of(results)
    table = _table(
        f"{source}: {len(clips)} clips in result archives", "clips", "compared by samples", "versions"
    )
    wrong = False
    exported = {
        name: _export(name, results, work / source, work)
        for name in dict.fromkeys(check.format for check in checks)
    }
    for check in checks:
        bits = 24 if check.format.split()[0] in {"nemo", "shar", "parquet", "webdataset"} else 16
        result = Result(expected=0)
        truth = planned(exported[check.format], clips, most_bits=bits)
        _run(check, exported[check.format], truth, lacking, work, result)
        wrong |= bool(result.wrong)
        versions = ", ".join(f"{name} {number}" for name, number in result.versions.items())
        counts = f"{result.clips} of {result.expected}", str(result.compared)
        table.add_row(check.loader, check.format.split(" --audio")[0], *counts, versions, result.verdict)
    _print(table)
    return wrong


def _make_results(source: str, results: Path, work: Path) -> None:
    if results.is_dir():
        return
    if source == "demo":
        corpus.run_demo(results, work / "state")
    else:
        corpus.make_archives(work / source / "archives")
        corpus.run_corpus(work / source / "archives", results, work / "state")


def _export(name: str, results: Path, folder: Path, work: Path) -> Path:
    chosen, *options = name.split()
    out = folder / "-".join((chosen, *(option.strip("-") for option in options if option == "--wav")))
    shutil.rmtree(out, ignore_errors=True)
    options = [option.format(out=out) for option in options]
    corpus.export(chosen, results, out, *options, state=work / "state")
    return out


def _run(
    check: Check,
    export: Path,
    truth: Mapping[str, Clip],
    lacking: Mapping[str, str],
    work: Path,
    result: Result,
) -> None:
    result.expected = len(truth)
    if check.environment.name in lacking:
        result.not_run = lacking[check.environment.name]
        return
    out = work / "heard.jsonl"
    done = start(
        check.environment,
        "-m",
        f"loaders.readers.{check.reader}",
        check.way,
        str(export),
        str(out),
        work=work,
    )
    told = done.stderr.strip()
    if told.startswith(CANNOT):
        result.not_run = told.removeprefix(CANNOT).strip()
    elif done.returncode:
        result.wrong.append(f"it stopped: {told[-_TOLD:]}")
    else:
        lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
        result.versions = lines[0]["versions"]
        result.compare(lines[1:-1], truth)


def _run_pages(work: Path) -> bool:
    """Run the code that people are given to copy; True if any of it fails."""
    table = _table("Code to copy, run on the exports of the demo", "what it printed")
    wrong = False
    places = [ROOT / "docs" / "datasets.md", *sorted((work / "demo").glob("*/README.md"))]
    for block in (block for place in places for block in pages.blocks(place)):
        folder = work / "demo" / block.format
        done = _start_block(block, folder, work)
        said = done.stdout.strip() if not done.returncode else done.stderr.strip()[-_TOLD:]
        failed = bool(done.returncode or (block.of_docs and not said))
        wrong |= failed
        table.add_row(block.title, block.format, said.replace("\n", " ")[-80:], "failed" if failed else "ran")
    _print(table)
    return wrong


def _start_block(block: pages.Block, folder: Path, work: Path) -> subprocess.CompletedProcess[str]:
    """In the folder of the export, or for the docs with `my-dataset` in place of it."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        (Path(name) / "my-dataset").symlink_to(folder)
        where = Path(name) if block.of_docs else folder
        script = Path(name) / "copied.py"
        script.write_text(block.code, "utf-8")
        environment = LHOTSE_NEXT if block.next_lhotse else TRAINING
        return start(environment, str(script), work=work, folder=where)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("loader", "format", *columns, "verdict"):
        table.add_column(column)
    return table


def _print(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else 150).print(table)


if __name__ == "__main__":
    main()
