"""Corpora are told apart by what lies there, and everything a kind gives is packed and accounted for."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from corpus_kit import RATE, lines, samples, sound, tar
from lipika.config import Settings
from lipika.jobs.pack import PackOrder, pack
from lipika.packing.kinds import look

CUT = {
    "id": "cut",
    "start": 0.25,
    "duration": 0.5,
    "channel": 0,
    "supervisions": [],
    "recording": {
        "id": "r",
        "duration": 1.0,
        "sources": [{"type": "file", "channels": [0], "source": "a.wav"}],
    },
    "type": "MonoCut",
}


def corpora(root: Path) -> dict[str, Path]:
    """One of each kind, of a recording that is `samples(1)`, and a folder and a list beside them."""
    (root / "a.wav").parent.mkdir(parents=True, exist_ok=True)
    for folder in ("nemo", "lhotse", "kaldi", "plain", "table"):
        (root / folder).mkdir()
        (root / folder / "a.wav").write_bytes(sound(1))
    row = {"audio_filepath": "a.wav", "offset": 0.25, "duration": 0.5, "text": "एक", "lang": "hi"}
    tar(root / "tarred/audio_0.tar", {"a.wav": sound(1)})
    told = json.dumps({"id": "cut", "duration": 1.0}).encode()
    tar(root / "shar/recording.000000.tar", {"cut.wav": sound(1), "cut.json": told})
    (root / "kaldi/wav.scp").write_text("a a.wav\n")
    (root / "table/list.csv").write_text("path,text\na.wav,एक\n")
    return {
        "nemo": lines(root / "nemo/my_manifest.json", [row, {**row, "_skipme": "noisy"}]),
        "nemo tarred": lines(root / "tarred/manifest_0.json", [{**row, "offset": None}]).parent,
        "lhotse": lines(root / "lhotse/cuts.jsonl", [CUT]),
        "shar": lines(root / "shar/cuts.000000.jsonl", [{**CUT, "start": 0, "duration": 1.0}]).parent,
        "kaldi": root / "kaldi",
        "webdataset": tar(root / "wds/train-0.tar", {"a.wav": sound(1), "a.txt": "एक".encode()}).parent,
        "folder": root / "plain",
        "list": root / "table/list.csv",
    }


def test_each_is_known_and_packed_sample_for_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, path in corpora(tmp_path / "in").items():
        kind = look(str(path)).kind
        assert kind is not None
        assert kind.name == name.split(" ")[0]
        out = tmp_path / "out" / name
        report = asyncio.run(pack(Settings(_env_file=None), PackOrder(str(path), str(out))))
        assert (report.kind, report.packed, report.recordings_refused) == (kind.name, 1, 0), (
            name,
            report.examples,
        )
        assert (report.skipped, report.lost) == (int(name == "nemo"), 0)
        assert (
            report.recordings
            == report.packed + report.packed_before + report.recordings_refused + report.skipped
        )
        (made,) = out.glob("*.tar")
        assert look(str(out)).kind is None  # an archive of lipika's own is none of these
        with tarfile.open(made) as file:
            (member,) = [one for one in file if one.name.startswith("segments/")]
            found, rate = soundfile.read(io.BytesIO(file.extractfile(member).read()), dtype="int16")  # type: ignore[union-attr]
        whole = samples(1)[:, 0]
        assert rate == RATE
        assert np.array_equal(found, whole[4_000:12_000] if name in ("nemo", "lhotse") else whole)
