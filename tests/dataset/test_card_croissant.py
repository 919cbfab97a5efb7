"""Croissant metadata: every reference leads somewhere; where mlcroissant is installed, it reads every clip."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import orjson
import pytest

from dataset_kit import write_shard
from lipika.dataset.card import card_files
from lipika.dataset.formats.base import Format
from lipika.dataset.formats.nemo import Nemo
from lipika.dataset.formats.parquet import Parquet
from lipika.dataset.formats.shar import Shar
from lipika.dataset.formats.webdataset import WebDataset
from lipika.dataset.model import FileFact, Shard, Utterance
from places import ROOT
from summary_kit import TEXTS, a_summary, an_utterance

FORMATS: dict[str, Format] = {one.name: one for one in (Parquet(), Nemo(), Shar(), WebDataset())}
KINDS = (*FORMATS, "files")
CLIPS = 3  # of each language

READER = os.environ.get("LIPIKA_CROISSANT_PYTHON") or (
    sys.executable if importlib.util.find_spec("mlcroissant") else ""
)
"""A Python that has mlcroissant, which is heavy, and none where there is none."""


def write_files(folder: Path, clips: list[Utterance]) -> None:
    """A file for each clip, and a list."""
    (folder / "wavs").mkdir(parents=True)
    (folder / "metadata.csv").write_text("a|b|c\n")
    for one in clips:
        (folder / "wavs" / one.file).write_bytes(one.audio)


def an_export(folder: Path, kind: str) -> Path:
    """Three clips in each of two languages, with their card."""
    for language in ("hi", "ur"):
        clips = [an_utterance(number, language) for number in range(CLIPS)]
        if kind in FORMATS:
            write_shard(FORMATS[kind], clips, folder, Shard(language, "train", 0, 1))
        else:
            write_files(folder / language / "train", clips)
    facts = [
        FileFact(
            path.relative_to(folder).as_posix(),
            path.stat().st_size,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    for path, content in card_files(a_summary(("hi", "ur"), tests=False, format=kind), [], facts):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def sources(document: dict[str, Any]) -> list[dict[str, Any]]:
    fields = [field for records in document.get("recordSet", []) for field in records["field"]]
    return [field[name] for field in fields for name in ("source", "references") if name in field]


@pytest.mark.parametrize("kind", KINDS)
def test_every_reference_leads_somewhere(tmp_path: Path, kind: str) -> None:
    document = orjson.loads((an_export(tmp_path, kind) / "croissant.json").read_bytes())
    known = [one["@id"] for one in document["distribution"]]
    assert len(set(known)) == len(known)
    assert {source["fileSet"]["@id"] for source in sources(document)} <= set(known)
    for one in document["distribution"]:
        if one["@type"] == "cr:FileObject":
            content = (tmp_path / one["contentUrl"]).read_bytes()
            assert one["sha256"] == hashlib.sha256(content).hexdigest()
            assert one["contentSize"] == f"{len(content)} B"
        else:
            assert {held["@id"] for held in one.get("containedIn", [])} <= set(known)
            if "containedIn" not in one:
                paths = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
                assert all(any(fnmatch(path, pattern) for path in paths) for pattern in one["includes"])


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_the_lines_that_load_an_export_do_so(tmp_path: Path, kind: str) -> None:
    card = (an_export(tmp_path, kind) / "README.md").read_text("utf-8")
    lines = card.split("```python\n")[1].split("```")[0]
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=tmp_path, env=os.environ | offline, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert TEXTS["hi"] in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_card_of_an_export_is_no_part_of_its_description(tmp_path: Path, kind: str) -> None:
    document = orjson.loads((an_export(tmp_path, kind) / "croissant.json").read_bytes())
    patterns = [pattern for one in document["distribution"] for pattern in one.get("includes", [])]
    loose = [one for one in patterns if "/" in one]
    assert not any(fnmatch(f"card/audio/hi-0000.{end}", one) for one in loose for end in ("flac", "wav"))


def test_a_shard_more_changes_no_pattern() -> None:
    def patterns(shards: int) -> Any:
        facts = [
            FileFact(f"data/hi/train-{number:05d}-of-{shards:05d}.parquet", 1, "0" * 64)
            for number in range(shards)
        ]
        document = orjson.loads(dict(card_files(a_summary(), [], facts))["croissant.json"])
        return document["distribution"]

    assert patterns(1) == patterns(4000)


def test_a_card_without_shards_describes_no_records() -> None:
    document = orjson.loads(dict(card_files(a_summary(()), [], []))["croissant.json"])
    assert document["distribution"] == []
    assert "recordSet" not in document


if READER:

    @pytest.mark.parametrize("kind", KINDS)
    def test_mlcroissant_finds_no_error_and_reads_every_clip(tmp_path: Path, kind: str) -> None:
        command = [READER, str(ROOT / "scripts" / "check_croissant.py"), str(an_export(tmp_path, kind))]
        done = subprocess.run([*command, str(2 * CLIPS)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
