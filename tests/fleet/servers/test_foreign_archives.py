"""Archives that were not made here, through a worker to their results."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from board_kit import a_visitor
from command_kit import lipika
from fleet_kit import Stage, a_stage, results_of, rows
from foreign_audio import voice, written
from lipika.archive.members import Member, MemberKind, read_members
from lipika.db import Database, Queue
from lipika.jobs.demo import sample_folder
from lipika.models import NewVideo


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


async def test_an_archive_of_rubbish_is_counted_and_not_listed_to_its_end(
    audio: dict[str, bytes], tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lipika.pipeline.reading._MOST_DISCARDS", 5)
    members = {f"segments/x_{at:05d}_{at + 1:05d}.flac": b"" for at in range(20)} | {"../../etc": b"x"}
    members |= {f"segments/{name}": content for name, content in audio.items()}
    async with a_stage(tmp_path, database_url) as stage:
        row, metadata = await transcribed(stage, packed(members))
        assert (row.status, row.segment_count, row.segments_discarded, row.clip_count) == ("done", 23, 20, 3)
        assert row.discard_reasons == {"empty": 20}
        *listed, more = metadata["transcription"]["discards"]
        assert (len(listed), more["reason"]) == (5, "not_listed")
        assert more["message"].startswith("16 more")


def test_a_video_of_which_nothing_is_left_is_no_success(
    audio: dict[str, bytes], tmp_path: Path, database_url: str
) -> None:
    """In the summary, in --json, in status, on the board, and by an exit code of its own."""
    good, (first, *_others) = packed({f"segments/{name}": data for name, data in audio.items()}), audio
    short = {f"segments/sp{at}_{at}_3.flac": audio[first] for at in range(3)} | {
        "segments/a_00000_00100.flac": b"x"
    }
    (tmp_path / "empty.tar").write_bytes(packed(short))
    (tmp_path / "good.tar").write_bytes(good)
    env = {"PROVIDER": "simulator", "DATABASE_URL": database_url, "BATCH_INTERVAL_SECONDS": "2"}

    run = lipika("run", str(tmp_path / "empty.tar"), "--out", str(tmp_path / "out"), env=env)
    assert run.returncode == 4, run.stderr
    for words in (
        "videos of which nothing is left",
        "bad_name",
        "five digits",
        "EMPTY   empty",
        "3 bad_name, 1 not_audio",
    ):
        assert words in run.stdout

    run = lipika("run", str(tmp_path), "--out", str(tmp_path / "out"), "--json", env=env)
    assert run.returncode == 4, run.stderr
    summary = json.loads(run.stdout)
    assert (summary["done"], summary["empty_videos"], summary["clips"]) == (2, 1, 3)
    assert [(row["reason"], row["discards"]) for row in summary["left_out"]] == [
        ("bad_name", 3),
        ("not_audio", 1),
    ]
    assert summary["empty"] == [
        {"video_id": "empty", "segment_count": 4, "discard_reasons": {"bad_name": 3, "not_audio": 1}}
    ]

    told = lipika("status", env=env).stdout
    assert "Left out: 3 bad_name, 1 not_audio" in told
    assert "Nothing is left of 1 done videos" in told
    status = json.loads(lipika("status", "--json", env=env).stdout)
    assert (status["videos_empty"], status["left_out"]) == (1, {"bad_name": 3, "not_audio": 1})

    assert lipika("run", str(tmp_path / "good.tar"), "--out", str(tmp_path / "out"), env=env).returncode == 0


async def test_what_was_made_of_the_channels_and_of_the_names_is_told(
    tmp_path: Path, database_url: str
) -> None:
    """By the summary's and the board's findings; it is in no clip's text."""
    mirrored = np.stack((voice(3), -voice(3)), axis=1)
    segments = {"a_00000_00300.flac": mirrored, "a_00400_00900.flac": voice(3)}
    archive = packed({f"segments/{name}": written(data, 16_000, "FLAC") for name, data in segments.items()})
    (tmp_path / "poles.tar").write_bytes(archive)
    env = {"PROVIDER": "simulator", "DATABASE_URL": database_url, "BATCH_INTERVAL_SECONDS": "2"}

    run = lipika("run", str(tmp_path / "poles.tar"), "--out", str(tmp_path / "out"), env=env)
    assert run.returncode == 0, run.stderr
    assert "one_channel 1" in run.stdout
    assert "duration_mismatch 1" in run.stdout
    async with a_visitor(database_url) as board:
        page = (await board.get("/quality")).text
        assert "one_channel" in page
        assert "duration_mismatch" in page


async def test_the_board_says_what_was_left_out(
    audio: dict[str, bytes], tmp_path: Path, database_url: str
) -> None:
    async with a_stage(tmp_path, database_url) as stage:
        row, _metadata = await transcribed(
            stage, packed({"segments/sp0_0_3.flac": next(iter(audio.values()))})
        )
        assert (row.status, row.clip_count) == ("done", 0)
    async with a_visitor(database_url) as board:
        video = (await board.get("/queue/video?video=video")).text
        assert "No clips yet" not in video
        assert "Nothing is left of this video" in video
        assert "five digits" in video
        queue = (await board.get("/queue?show=empty")).text
        assert "Nothing is left of 1 done video" in queue
        assert "left out: bad name" in queue or "bad name" in queue
        assert "/queue/video?video=video" in queue
