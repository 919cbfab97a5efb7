"""F5-TTS: what its own `prepare_csv_wavs.py` makes of every list."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import datasets
import soundfile

from loaders.readers.heard import Heard, demand, serve


def prepared(folder: Path) -> Iterator[Heard]:
    """`raw.arrow`, of which the training reads."""
    for table in sorted(folder.rglob("metadata.csv")):
        with tempfile.TemporaryDirectory() as out:
            module = (
                "-m",
                "f5_tts.train.datasets.prepare_csv_wavs",
                str(table),
                out,
                "--pretrain",
                "--workers",
                "1",
            )
            done = subprocess.run([sys.executable, *module], capture_output=True, text=True, check=False)
            demand(not done.returncode, done.stderr)
            for row in datasets.Dataset.from_file(f"{out}/raw.arrow"):
                samples, rate = soundfile.read(row["audio_path"], dtype="int16")
                name = Path(row["audio_path"]).stem
                demand(round(row["duration"] * rate) == len(samples), f"{name}: not {row['duration']} s long")
                yield Heard(name, "".join(row["text"]), rate, samples)


if __name__ == "__main__":
    serve({"prepared": prepared}, ("f5-tts",))
