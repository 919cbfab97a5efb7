"""Archives that were not made here, through a worker to their results."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fleet_kit import Stage, a_stage, results_of, rows
from lipika.db import Database, Queue
from lipika.demo import sample_folder
from lipika.models import NewVideo
from lipika.simulator.corpus import CorpusPlan, make_corpus
from lipika.tars import Member, MemberKind, read_members


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Three segments by their names."""
    (path,) = make_corpus(tmp_path_factory.mktemp("good"), CorpusPlan(1, 3, (2.1, 2.6)), sample_folder())
    with path.open("rb") as stream:
        return {
            member.name: member.data
            for member in read_members(stream)
            if isinstance(member, Member) and member.kind is MemberKind.SEGMENT
        }


def packed(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


async def transcribed(stage: Stage, data: bytes) -> tuple[Any, dict[str, Any]]:
    """The queue's row and the result's metadata of one archive."""
    path = stage.folder / "video.tar"
    path.write_bytes(data)
    out = stage.out / "video_transcribed.tar"
    async with Database(stage.database_url) as database:
        await Queue(database).add([NewVideo("video", str(path), str(out))])
    await stage.work()
    (row,) = rows(stage.database_url, "select * from video_queue")
    if row.status != "done":
        return row, {}
    with tarfile.open(out) as tar:
        file = tar.extractfile("metadata.json")
        assert file is not None
        return row, json.loads(file.read())


async def test_absolute_windows_and_sidecars_in_one_go(
    audio: dict[str, bytes], tmp_path: Path, database_url: str
) -> None:
    first, *others = audio
    members = {
        "C:\\x\\metadata.json": b'\xef\xbb\xbf{"id": 123456789012345678901234567890, "language": "hi"}'
    }
    members |= {f"C:\\x\\Segments\\{name}": audio[name] for name in (first, *others)}
    members |= {f"C:\\x\\Segments\\{first}.json": b"{}", "C:\\x\\Segments\\notes.txt": b"x"}
    async with a_stage(tmp_path, database_url) as stage:
        row, metadata = await transcribed(stage, packed(members))
        assert (row.status, row.segment_count, row.clip_count) == ("done", 3, 3)
        assert metadata["id"] == 123456789012345678901234567890
        assert metadata["transcription"]["language_hint"] == "hi"
        assert len(results_of(stage.out / "video_transcribed.tar")) == 3


async def test_a_missing_end_is_read_and_remembered(
    audio: dict[str, bytes], tmp_path: Path, database_url: str
) -> None:
    data = packed({f"segments/{name}": content for name, content in audio.items()}).rstrip(b"\0")
    async with a_stage(tmp_path, database_url) as stage:
        row, metadata = await transcribed(stage, data + bytes(-len(data) % 512))
        assert (row.status, row.clip_count) == ("done", 3)
        (note,) = metadata["transcription"]["discards"]
        assert (note["reason"], note["whole_segment"]) == ("no_end_marker", False)
        (flag,) = rows(
            database_url, "select * from transcription_flags where flag_type = 'discard:no_end_marker'"
        )
        assert "cut" in json.dumps(flag._asdict(), default=str)


async def test_names_in_milliseconds_get_a_hint(
    audio: dict[str, bytes], tmp_path: Path, database_url: str
) -> None:
    renamed = {}
    for name, content in audio.items():
        speaker, start, end = name.removesuffix(".flac").rsplit("_", 2)
        renamed[f"segments/{speaker}_{int(start) * 10:05d}_{int(end) * 10:05d}.flac"] = content
    async with a_stage(tmp_path, database_url) as stage:
        row, metadata = await transcribed(stage, packed(renamed))
        assert (row.status, row.clip_count) == ("done", 3)
        (note,) = metadata["transcription"]["discards"]
        assert note["reason"] == "times_in_ms"
        assert "milliseconds" in note["message"]
