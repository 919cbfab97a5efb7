"""The product meets archives that it did not make: a habit costs nothing, damage has a reason."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from fleet_kit import rows
from lipika.archive.members import Member, MemberKind, read_members
from world_archives import STEMS, Box, a_box
from world_kit import rounds, run

BOXES = 150


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, bytes]:
    """Three good segments of two seconds."""
    plan = CorpusPlan(1, 3, (2.2, 2.4))
    (path,) = make_corpus(tmp_path_factory.mktemp("good"), plan, Path("samples/tars"))
    with path.open("rb") as stream:
        members = [m for m in read_members(stream) if isinstance(m, Member)]
    first, second, third = (m.data for m in members if m.kind is MemberKind.SEGMENT)
    return first, second, third


def test_archives_of_the_world(
    segments: tuple[bytes, bytes, bytes], tmp_path: Path, database_url: str
) -> None:
    """Every archive ends done or failed with a reason; what is only somebody's habit loses nothing."""
    for seed in rounds(0.5):
        chance = random.Random(seed)
        folder, out = tmp_path / f"in {seed}", tmp_path / f"out {seed}"
        folder.mkdir()
        boxes = {}
        for number in range(BOXES):
            box = a_box(chance, number, segments)
            boxes[f"s{seed}_{Path(box.name).stem}"] = box
            (folder / f"s{seed}_{box.name}").write_bytes(box.data)
        # Their clips are the same few: what is asked is not the point here, and what ends how is.
        ended = run(folder, out, database_url, PROVIDER="simulator", MAX_ATTEMPTS="1")
        assert ended.summary["videos"] == BOXES, ended.said
        assert ended.summary["done"] + ended.summary["failed_videos"] == BOXES, ended.said
        problems = list(_problems(database_url, out, boxes))
        assert not problems, "\n".join(problems)


def _problems(database_url: str, out: Path, boxes: dict[str, Box]) -> Iterator[str]:
    query = "select video_id, status, error_code, error_message from video_queue"
    ended = {row.video_id: row for row in rows(database_url, query)}
    for video, box in boxes.items():
        row, what = ended[video], f"{video} ({box.what})"
        if row.status == "failed":
            if box.whole:
                yield f"{what}: failed: {row.error_code}: {row.error_message}"
            if not row.error_code or not row.error_message or row.error_code != row.error_code.lower():
                yield f"{what}: no reason that a person could read: {row.error_code}: {row.error_message}"
        else:
            yield from (
                f"{what}: {problem}" for problem in _wrong_with(out / f"{video}_transcribed.tar", box)
            )


def _wrong_with(result: Path, box: Box) -> Iterator[str]:
    with tarfile.open(fileobj=io.BytesIO(result.read_bytes())) as tar:
        file = tar.extractfile("metadata.json")
        assert file is not None
        metadata: dict[str, Any] = json.load(file)
        names = tar.getnames()
    sums = metadata["transcription"]
    clips = [name for name in names if name.startswith("segments/")]
    if sums["clips"] != len(clips) or sums["clips"] != sum(sums["statuses"].values()):
        yield f"{len(clips)} clips in the tar, and in the sums {sums['clips']}: {sums['statuses']}"
    if box.whole and sorted(_start(Path(name).stem) for name in clips) != sorted(map(_start, STEMS)):
        yield f"its segments are not all there: {clips}, {sums['discards']}"


def _start(stem: str) -> str:
    """Speaker and start: an end may move when an edge is trimmed."""
    return stem.rpartition("_")[0]
