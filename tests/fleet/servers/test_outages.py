"""Postgres, the store or the disk is away in mid-run: workers pause, nothing is lost, nothing is asked again."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from structlog.testing import capture_logs

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from bucket_kit import BUCKET, CLIPS, own_place, settings_of, to_s3
from fleet_kit import Stage, a_line, a_stage, results_of, rows, until
from lipika.db import Database, Queue, Results
from lipika.errors import DatabaseUnavailable, WorkerStop
from lipika.fleet.worker import Tally, Worker
from lipika.jobs.demo import sample_folder
from lipika.jobs.transcribe import run_videos
from lipika.jobs.wiring import Running
from lipika.models import NewVideo
from lipika.pipeline.sink import ResultSink
from lipika.pipeline.tools import Tools
from lipika.services import open_database
from lipika.storage import Store
from strict_s3 import StrictS3, strict_s3

AWAY_S = float(os.environ.get("LIPIKA_OUTAGE_SECONDS") or 4)
"""LIPIKA_OUTAGE_SECONDS=120 for the long form; the store is away half as long."""
LEASE_S = max(20.0, AWAY_S)
pytestmark = pytest.mark.timeout(120 + 3 * AWAY_S)


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, database_url, latency_s=0.3) as stage:
        stage.defaults = {
            "lease_seconds": LEASE_S,
            "heartbeat_seconds": 2.0,
            "worker_batch_size": 9,
            "batch_interval_seconds": 0.6,
        }
        yield stage


@pytest.fixture
def s3() -> Iterator[StrictS3]:
    with strict_s3(BUCKET) as server:
        yield server


async def whole(stage: Stage, clips: int = CLIPS) -> None:
    """All is done, and everything was asked for once."""
    videos = rows(stage.database_url, "select * from video_queue")
    assert {video.status for video in videos} == {"done"}
    assert {video.attempts for video in videos} == {1}
    assert sum(video.clip_count for video in videos) == clips
    assert len(rows(stage.database_url, "select * from transcription_results")) == clips
    asked = await stage.asked()
    assert (asked["accepted"], asked["digests"]["repaid"]) == (clips, 0)


async def started(found: Running, answers: int = 9) -> asyncio.Task[object]:
    task = asyncio.create_task(found.worker.run(until_empty=True))
    await until(lambda: found.engine.totals.returned >= answers)
    return task


@pytest.mark.parametrize("trouble", ["cut", "stall"])
async def test_postgres_is_away(stage: Stage, trouble: str) -> None:
    await stage.queue(3, CLIPS // 3)
    async with a_line(stage.database_url) as (line, url), stage.worker(url) as found:
        task = await started(found)
        await until(lambda: found.engine.in_flight > 0)
        getattr(line, trouble)()
        await asyncio.sleep(AWAY_S)
        line.mend()
        await task
    await whole(stage)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_postgres_is_away_around_the_work_of_a_run(
    stage: Stage, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the first statement of a run nor its sums are lost with a moment of Postgres; it says that it waits."""
    corpus = make_corpus(stage.folder / "in", CorpusPlan(2, 3, (2.2, 2.8)), sample_folder())
    videos = [NewVideo(path.stem, str(path), f"{stage.out}/{path.stem}_transcribed.tar") for path in corpus]
    async with a_line(stage.database_url) as (line, url), Database(url) as database:
        work = Worker.run

        async def and_then_it_is_away(worker: Worker, **options: Any) -> Tally:
            tally = await work(worker, **options)
            line.cut()
            return tally

        if when == "before":
            line.cut()
        else:
            monkeypatch.setattr(Worker, "run", and_then_it_is_away)
        with capture_logs() as logs:
            run = asyncio.create_task(
                run_videos(stage.settings(), database, videos, Console(quiet=True), quiet=True)
            )
            await until(lambda: any(line["event"] == "database_waits" for line in logs) or run.done())
            line.mend()
            summary = await run
    assert (summary.done, summary.transcribed + summary.no_speech, summary.stopped) == (2, 6, "")
    assert any("Postgres is away" in line.get("reason", "") for line in logs)
    assert (await stage.asked())["accepted"] == 6


async def in_bucket(stage: Stage, s3: StrictS3) -> list[str]:
    store = Store.open(f"{own_place(stage)}/out", settings_of(s3))
    return sorted([entry.key async for entry in store.list()])


async def test_the_store_is_away(stage: Stage, s3: StrictS3) -> None:
    await to_s3(stage, s3, 3)
    async with stage.worker() as found:
        task = await started(found)
        s3.away = True
        await asyncio.sleep(AWAY_S / 2)
        s3.away = False
        await task
    await whole(stage)
    assert s3.refused
    assert s3.complaints == []
    assert len(await in_bucket(stage, s3)) == 3  # and no partial object


async def test_postgres_and_the_store_are_away(stage: Stage, s3: StrictS3) -> None:
    await to_s3(stage, s3, 3)
    async with a_line(stage.database_url) as (line, url), stage.worker(url) as found:
        task = await started(found)
        s3.away = True
        line.cut()
        await asyncio.sleep(AWAY_S / 2)
        s3.away = False
        await asyncio.sleep(AWAY_S / 2)
        line.mend()
        await task
    await whole(stage)


@pytest.mark.parametrize("store_too", [False, True])
async def test_postgres_is_away_for_longer_than_the_lease(
    stage: Stage, s3: StrictS3, store_too: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker gives up; what it was answered meanwhile is kept, and the next one uses it."""
    last_writes = limits_hold_in_last_writes(monkeypatch)
    if store_too:
        await to_s3(stage, s3, 1)
    else:
        await stage.queue(1, CLIPS)
    stage.defaults |= {"lease_seconds": 2.0, "heartbeat_seconds": 0.5, "spool_dir": stage.folder / "spool"}
    async with a_line(stage.database_url) as (line, url), stage.worker(url) as found:
        task = await started(found)
        await until(lambda: found.engine.in_flight > 0)  # whose answers neither will take
        s3.away = store_too
        line.cut()
        with pytest.raises(WorkerStop, match="no heartbeat"):
            await asyncio.wait_for(task, 60)
    s3.away = False
    kept = list((stage.folder / "spool" / "kept-answers").glob("*.jsonl"))
    assert kept if store_too else stage.parts()
    assert last_writes == [True]
    await asyncio.sleep(0.5)
    await stage.work()
    (video,) = rows(stage.database_url, "select * from video_queue")
    assert (video.status, video.clip_count, video.attempts) == ("done", CLIPS, 2)
    assert await stage.repaid() == 0
    assert not any(path.exists() for path in kept)


def limits_hold_in_last_writes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether a time limit ends with TimeoutError while a video is given back, in Python 3.11.2 (Debian 12) as well:
    there, that takes a task whose cancellation has been heard.
    """
    found, save = list[bool](), ResultSink.save

    async def saved(sink: ResultSink) -> bool:
        task = asyncio.current_task()
        if task is not None and task.get_name().startswith("video "):
            found.append(task.cancelling() == 0)
        return await save(sink)

    monkeypatch.setattr(ResultSink, "save", saved)
    return found


async def test_postgres_goes_away_while_a_video_is_being_finished(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even then a worker that has lost its lease ends."""
    await stage.queue(1, 6)
    stage.defaults |= {"lease_seconds": 2.0, "heartbeat_seconds": 0.5}
    async with a_line(stage.database_url) as (line, url):

        async def discards(*_given: object) -> None:
            line.cut()
            raise DatabaseUnavailable("cut")

        monkeypatch.setattr(Results, "write_discards", discards)
        async with stage.worker(url) as found:
            with pytest.raises(WorkerStop, match="no heartbeat"):
                await asyncio.wait_for(found.worker.run(until_empty=True), 60)
    monkeypatch.undo()
    await stage.work()
    (video,) = rows(stage.database_url, "select * from video_queue")
    assert (video.status, video.clip_count) == ("done", 6)
    assert await stage.repaid() == 0


async def test_told_to_go_while_postgres_is_away_it_keeps_its_answers(stage: Stage) -> None:
    await stage.queue(1, CLIPS)
    stage.defaults |= {"lease_seconds": 4.0, "heartbeat_seconds": 1.0}
    async with a_line(stage.database_url) as (line, url), stage.worker(url) as found:
        task = await started(found)
        line.cut()
        found.worker.drain()
        await asyncio.wait_for(task, 40)
    await asyncio.sleep(1.0)
    await stage.work()
    assert await stage.repaid() == 0


async def test_a_full_disk_is_waited_out_and_said(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.queue(2, 6)
    honest, full = os.pwritev, True

    def pwritev(descriptor: int, data: Sequence[bytes], offset: int) -> int:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return honest(descriptor, data, offset)

    monkeypatch.setattr(os, "pwritev", pwritev)
    with capture_logs() as logs:
        async with stage.worker() as found:
            task = asyncio.create_task(found.worker.run(until_empty=True))

            async def said() -> bool:
                (worker,) = rows(stage.database_url, "select limited_by from workers")
                return "free some space" in (worker.limited_by or "")

            await until(lambda: bool(found.worker.counts.waits_for))
            await until(said)
            full = False
            await task
            assert found.worker.counts.waits_for == ""
    assert "disk_full" in [log["event"] for log in logs]
    await whole(stage, 12)


async def test_a_disk_that_stays_full_costs_no_attempt(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A video that waits long gives its own room on the disk back; it is not at fault."""
    await stage.queue(1, 6)
    monkeypatch.setattr("lipika.jobs.wiring.Tools", partial(Tools, disk_wait_s=0.1))
    honest, left = os.pwritev, 3

    def pwritev(descriptor: int, data: Sequence[bytes], offset: int) -> int:
        nonlocal left
        left -= 1
        if -12 < left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return honest(descriptor, data, offset)

    monkeypatch.setattr(os, "pwritev", pwritev)
    found = await stage.work()
    assert found.worker.tally.released >= 1
    await whole(stage, 6)
    (tar,) = stage.out.glob("*.tar")
    assert len(results_of(tar)) == 6


async def test_a_worker_that_starts_while_postgres_is_away_waits_for_it(stage: Stage) -> None:
    async with a_line(stage.database_url) as (line, url):
        line.cut()
        settings = stage.settings(database_url=url)
        with pytest.raises(DatabaseUnavailable):
            async with open_database(settings):
                pass
        asyncio.get_running_loop().call_later(1.0, line.mend)
        async with open_database(settings, wait_s=20) as database:
            assert (await Queue(database).counts()).total == 0
