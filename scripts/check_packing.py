"""Does `lipika pack` take what others write? `python scripts/check_packing.py [--keep FOLDER]`

Corpora are written by the libraries that own their forms (NeMo, lhotse, datasets, webdataset), in the environment of
`check_loaders.py` (6 GB, made once), and heard by their own readers. Then lipika packs each, and every item of the
archives is held against that, sample for sample. NeMo's converter to tars is in no wheel: its form is made by hand,
and heard by NeMo's reader. Kaldi's folder is lhotse's export.

Exit code 1 if an item is missing, given twice, or has other samples or another text.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import soundfile
from loaders.environments import ROOT, TRAINING, NoEnvironment, make, start
from rich.console import Console
from rich.table import Table

_TOLD = 4  # items that a message names


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", type=Path, help="a new folder for corpora and archives, kept afterwards")
    arguments = parser.parse_args()
    try:
        make(TRAINING, anew=False)
    except NoEnvironment as error:
        sys.exit(f"There is no environment with the libraries: {error}")
    with tempfile.TemporaryDirectory(prefix="lipika-packing-") as name:
        work = (arguments.keep or Path(name)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        done = start(TRAINING, "-m", "loaders.writers", str(work), work=work)
        if not (work / "truth.json").exists():
            sys.exit(done.stderr[-2_000:])
        truth = json.loads((work / "truth.json").read_text())
        wrong = [_check(name, made, work) for name, made in truth.items()]
        sys.exit(any(wrong))


def _check(name: str, made: dict[str, Any], work: Path) -> bool:
    """True if anything is wrong."""
    if "error" in made:
        print(f"{name}: not made: {made['error']}")
        return True
    out = work / "packed" / name
    command = [sys.executable, "-m", "lipika", "pack", made["source"], "--out", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if not done.stdout.startswith("{"):
        print(f"{name}: {done.stderr[-500:]}")
        return True
    report = json.loads(done.stdout)
    packed = list(_packed(out))
    wanted = {one["id"]: one for one in made["items"]}
    wrong = [f"{one['id']}: given twice" for at, one in enumerate(packed) if one in packed[:at]]
    found = {one["id"]: one for one in packed}
    wrong += [f"{one}: not packed" for one in wanted.keys() - found.keys()]
    wrong += [f"{one}: nobody wrote it" for one in found.keys() - wanted.keys()]
    for one in wanted.keys() & found.keys():
        differing = [what for what in wanted[one] if wanted[one][what] != found[one][what]]
        if differing:
            wrong.append(f"{one}: other {', '.join(differing)}")
    table = Table(show_header=False, box=None)
    versions = ", ".join(f"{library} {number}" for library, number in made["versions"].items())
    refused = ", ".join(f"{reason} {count}" for reason, count in report["refused"].items()) or "none"
    verdict = "; ".join(sorted(wrong)[:_TOLD]) or "every item, sample for sample"
    table.add_row(
        name, report["kind"], f"{len(found)} of {len(wanted)}", f"refused: {refused}", versions, verdict
    )
    Console(width=200).print(table)
    return bool(wrong)


def _packed(folder: Path) -> Iterator[dict[str, object]]:
    """The items of the archives of a folder, with their owner's ids."""
    for path in sorted(folder.glob("**/*.tar")):
        with tarfile.open(path) as tar:
            members = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
        said = json.loads(members["metadata.json"])["packed"]["segments"]
        for member, data in members.items():
            if member.startswith("segments/"):
                one = said[Path(member).name.rpartition(".")[0]]
                samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
                digest = hashlib.sha256(samples.tobytes()).hexdigest()
                yield {"id": one["id"], "rate": rate, "sha256": digest, "text": one.get("text")}


if __name__ == "__main__":
    main()
