"""Scripts of `examples/` as they stand, on the simulator. The others differ in the source alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from lipika.jobs.demo import sample_folder

ROOT = Path(__file__).parents[3]
FAST = {"BATCH_INTERVAL_SECONDS": "2", "LIVE_SECONDS": "0.5", "PROVIDER": "simulator"}


def test_every_script_is_a_script() -> None:
    scripts = sorted((ROOT / "examples").glob("*.sh"))
    assert len(scripts) == 5
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)
        assert len(script.read_text().splitlines()) <= 11


@pytest.mark.parametrize("name", ["nemo_manifest", "csv_with_paths"])
def test_a_list_goes_in_and_comes_out(tmp_path: Path, database_url: str, name: str) -> None:
    (archive,) = sample_folder().glob("hi*.tar")
    with tarfile.open(archive) as tar:
        audio = next(one for one in tar if one.name.endswith(".flac"))
        (tmp_path / "a.flac").write_bytes(tar.extractfile(audio).read())  # type: ignore[union-attr]
    row = {"audio_filepath": "a.flac", "duration": 1.0, "text": "नमस्ते", "lang": "hi"}
    if name == "nemo_manifest":
        source = tmp_path / "manifest.json"
        source.write_text(
            "".join(json.dumps(one) + "\n" for one in (row, {**row, "audio_filepath": "gone.flac"}))
        )
    else:
        source = tmp_path / "list.csv"
        source.write_text("path,text,lang\na.flac,नमस्ते,hi\n")
    command = tmp_path / "bin" / "lipika"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lipika "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join((str(command.parent), os.environ["PATH"]))
    env = os.environ | FAST | {"DATABASE_URL": database_url, "PATH": path}
    done = subprocess.run(
        ["bash", ROOT / f"examples/{name}.sh", source.name],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1 segments with a reference" in done.stdout
    if name == "nemo_manifest":
        (predicted,) = map(json.loads, (tmp_path / "predicted.json").read_text().splitlines())
        assert (predicted["text"], predicted["audio_filepath"]) == ("नमस्ते", "a.flac")
        assert predicted["pred_text"]
    else:
        assert (tmp_path / "dataset" / "dataset.json").exists()
