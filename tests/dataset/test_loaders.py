"""The check of other people's loaders, itself: what is missing, doubled or other is noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_kit import utterance, write_shard
from lipika.dataset.formats import FORMATS
from places import ROOT


@pytest.fixture
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def lines_of(reader: str, way: str, export: Path, out: Path) -> list[dict[str, Any]]:
    """What a reader writes down, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", f"loaders.readers.{reader}", way, str(export), str(out)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    ("name", "reader", "way"),
    [("parquet", "read_pyarrow", "tables"), ("webdataset", "read_webdataset", "tars")],
)
def test_readers_tell_every_clip_and_end(name: str, reader: str, way: str, tmp_path: Path) -> None:
    clips = [utterance(number, 0.25) for number in range(5)]
    write_shard(FORMATS[name], clips, tmp_path / "export")
    first, *told, last = lines_of(reader, way, tmp_path / "export", tmp_path / "out")
    assert first["versions"]
    assert last == {"end": True}
    assert [(line["id"], line["text"], line["rate"]) for line in told] == [
        (clip.row.id, clip.row.text, 16_000) for clip in clips
    ]


@pytest.mark.usefixtures("_scripts")
def test_samples_have_one_digest_whatever_they_come_as() -> None:
    from loaders.readers.heard import digest_of

    samples = np.array([0, 1, -1, 32_767, -32_768, 12_345], np.int16)
    left = samples.astype(np.int32) << 16
    assert {digest_of(samples), digest_of(left), digest_of((samples / 32_768).astype(np.float32))} == {
        digest_of(samples)
    }
    assert digest_of(left | 256) != digest_of(left)
    deep = np.array([(1 << 23) - 1, -(1 << 23), 7], np.int32) << 8
    assert digest_of(deep) == digest_of((deep / 2**31).astype(np.float32))


Change = Callable[[list[dict[str, Any]]], object]

WRONG: dict[str, tuple[Change, str]] = {
    "a clip is missing": (lambda lines: lines.pop(1), "b: not given"),
    "one is given twice": (lambda lines: lines.append(dict(lines[0])), "a: given twice"),
    "another is given": (lambda lines: lines[0].update(id="z"), "z: no such clip"),
    "its text is another": (lambda lines: lines[0].update(text="?"), "a: other text"),
    "samples differ": (lambda lines: lines[1].update(samples="?"), "b: other samples"),
    "it is shorter": (lambda lines: lines[1].update(frames=31_999), "b: other frames"),
    "its rate is another": (lambda lines: lines[1].update(rate=8_000), "b: other rate"),
    "bytes differ": (lambda lines: lines[2].update(content="?"), "c: other content"),
}


@pytest.mark.usefixtures("_scripts")
@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_whatever_a_loader_gives_wrongly_is_named(change: Change, said: str) -> None:
    from loaders.compare import Result
    from loaders.truth import Clip

    truth = {name: Clip(f"text {name}", 16_000, 32_000, f"s{name}", f"c{name}", 16) for name in "abc"}
    lines: list[dict[str, Any]] = [
        {"id": "a", "text": "text a", "rate": 0},
        {"id": "b", "text": "text b", "rate": 16_000, "frames": 32_000, "samples": "sb"},
        {"id": "c", "text": "text c", "rate": 16_000, "content": "cc"},
    ]
    result = Result(expected=3)
    result.compare(lines, truth)
    assert (result.verdict, result.clips, result.compared) == ("equal", 3, 2)
    change(lines)
    spoiled = Result(expected=3)
    spoiled.compare(lines, truth)
    assert said in spoiled.wrong
    assert spoiled.verdict != "equal"


@pytest.mark.usefixtures("_scripts")
def test_the_code_of_the_docs_names_the_formats_that_it_runs_on() -> None:
    from loaders.pages import blocks

    page = ROOT / "docs" / "datasets.md"
    found = list(blocks(page))
    assert {block.format for block in found} == {"nemo", "parquet", "shar", "webdataset"}
    assert len(found) == page.read_text("utf-8").count("```python\n")
    for block in found:
        compile(block.code, block.title, "exec")
