"""Kaldi's own `validate_data_dir.sh`, of the checkout that KALDI_ROOT names."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from loaders.readers.heard import CANNOT, Heard, kaldi_folders, kaldi_speakers, serve


def validated(folder: Path) -> Iterator[Heard]:
    """The texts of folders that it finds nothing wrong with."""
    root = os.environ.get("KALDI_ROOT", "")
    recipe = Path(root) / "egs" / "wsj" / "s5"
    if not root or not (recipe / "utils" / "validate_data_dir.sh").is_file():
        raise SystemExit(f"{CANNOT} KALDI_ROOT names no checkout of Kaldi, and no package brings its scripts")
    for where in kaldi_folders(folder):
        command = ["utils/validate_data_dir.sh", "--no-feats", "--non-print", str(where)]
        done = subprocess.run(command, cwd=recipe, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{where}: {done.stderr.strip()}")
        speakers = kaldi_speakers(where)
        for line in (where / "text").read_text("utf-8").splitlines():
            name, _, text = line.partition(" ")
            yield Heard(name.removeprefix(f"{speakers[name]}-"), text)


if __name__ == "__main__":
    serve({"validated": validated}, ())
