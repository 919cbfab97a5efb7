"""Erasures beside workers: what they hold is taken, what they write late goes, what they read again is left out."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from erasure_kit import OPTIONS, in_files, in_tables
from fleet_kit import Stage, a_stage, results_of, rows, until
from lipika.cli import main
from lipika.db import Database, Queue
from lipika.db.erasures import WantedName
from lipika.erasure.course import Eraser
from lipika.errors import UsageError
from lipika.jobs.erase import PlacesOfSettings
from lipika.models import NewVideo
from stored_kit import metadata


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, database_url, latency_s=0.02) as stage:
        yield stage


async def erase(stage: Stage, *names: WantedName) -> None:
    async with Database(stage.database_url) as database:
        await Eraser(database, PlacesOfSettings(stage.settings())).erase(names, "Mira", OPTIONS)


async def here(stage: Stage, *arguments: str) -> Result:
    """`lipika erase` in this process."""
    env = {"DATABASE_URL": stage.database_url, "OUTPUT_URL": str(stage.out)}
    return await asyncio.to_thread(CliRunner().invoke, main.app, ["erase", *arguments], env=env)


async def test_what_was_erased_is_left_out_when_it_is_read_again_under_whatever_name(stage: Stage) -> None:
    first, second = await stage.queue(2, 6)
    await stage.work()
    answered = (await stage.asked())["digests"]["answered"]
    clips = {name: results_of(stage.out / f"{name}_transcribed.tar") for name in (first, second)}
    gone = clips[second][0]
    await erase(
        stage,
        WantedName(video_id=first),
        WantedName(
            video_id=second,
            speaker=gone.clip.name.speaker,
            segment_file=gone.segment_file,
            start_ms=gone.clip.name.start_ms,
            end_ms=gone.clip.name.end_ms,
        ),
    )
    (row,) = rows(stage.database_url, "select * from video_queue")
    assert row.clip_count == len(clips[second]) - 1
    shutil.copy(stage.folder / "in" / f"{first}.tar", stage.folder / "in" / "renamed.tar")
    async with Database(stage.database_url) as database:
        queue = Queue(database)
        source = str(stage.folder / "in" / "renamed.tar")
        await queue.add([NewVideo("renamed", source, f"{stage.out}/renamed_transcribed.tar")])
        await queue.requeue([second], also_done=True)
    await stage.work()
    assert (await stage.asked())["digests"]["answered"] == answered
    (again,) = rows(stage.database_url, "select * from video_queue where video_id = %s", second)
    (renamed,) = rows(stage.database_url, "select * from video_queue where video_id = 'renamed'")
    assert (renamed.status, renamed.clip_count, renamed.segments_discarded) == (
        "done",
        0,
        renamed.segment_count,
    )
    assert renamed.discard_reasons["erased"] == len(clips[first])
    assert (again.status, again.clip_count) == ("done", len(clips[second]) - 1)
    assert again.discard_reasons["erased"] == 1
    told = metadata(stage.out / "renamed_transcribed.tar")["transcription"]
    assert {one["segment_file"] for one in told["discards"] if one["reason"] == "erased"} == {"(erased)"}
    texts = [clip.answer.transcription for clip in clips[first] if clip.answer is not None]
    assert in_tables(stage.database_url, *texts, gone.clip.audio_digest[:40] + '"') == {}


async def test_a_video_at_work_is_taken_and_its_worker_leaves_nothing(stage: Stage) -> None:
    (video,) = await stage.queue(1, 30)
    async with stage.worker(lease_seconds=2.0, heartbeat_seconds=0.3, worker_batch_size=5) as found:
        life = asyncio.create_task(found.worker.run())
        await until(lambda: len(rows(stage.database_url, "select from transcription_results")) >= 3)
        await until(lambda: bool(stage.parts()))
        texts = [row.transcription for row in rows(stage.database_url, "select * from transcription_results")]
        await erase(stage, WantedName(video_id=video))
        assert in_tables(stage.database_url, video) == {}
        found.worker.drain()
        await life
    assert in_tables(stage.database_url, video, *filter(None, texts)) == {}
    assert in_files(stage.out, video, *filter(None, texts)) == []
    assert rows(stage.database_url, "select from transcription_answers") == []


async def test_the_command_is_killed_for_real_and_finishes_when_it_is_run_again(stage: Stage) -> None:
    (video,) = await stage.queue(1, 4)
    await stage.work()
    async with Database(stage.database_url) as database:
        await Queue(database).requeue([video], also_done=True)
        await Queue(database).claim("w1", 3.0, 1)
    env = {"DATABASE_URL": stage.database_url, "OUTPUT_URL": str(stage.out)}
    looked = orjson.loads((await here(stage, "--video", video, "--dry-run", "--json")).stdout)
    assert looked["at_work"] == [video]
    assert looked["found"]["transcription_results"] == 4
    refused = await here(stage, "--video", video, "--json")
    assert isinstance(refused.exception, UsageError)
    assert refused.stdout == ""  # what is found is told beside it
    assert "results" in refused.stderr
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lipika", "erase", "--video", video, "--yes"),
        env={name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ} | env,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert process.stderr is not None
    assert b"waiting" in await process.stderr.readline()
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert "not done: lipika erase resume 1" in (await here(stage, "list")).stdout
    folder = stage.folder / "certificates"
    done = await here(stage, "--video", video, "--yes", "--by", "Mira", "--certificate", str(folder))
    assert done.exit_code == 0, done.stderr
    assert "left: 0" in done.stdout
    assert "point-in-time recovery" in done.stdout
    certificate = orjson.loads((folder / "erasure-1.json").read_bytes())
    assert certificate["removed"]["transcription_results"] == {"found": 4, "left": 0}
    assert certificate["input_archives"][0]["removed"] is False
    assert video in (folder / "erasure-1.txt").read_text()
    assert in_tables(stage.database_url, video) == {}
    assert in_files(stage.out, video) == []
    shown = (await here(stage, "show", "1")).stdout
    assert "results; left: 0" in shown
    assert video not in shown
    for number, told in (("1", "is done"), ("9", "there is no erasure 9")):
        again = await here(stage, "resume", number)
        assert again.exit_code == 2
        assert told in again.stderr
