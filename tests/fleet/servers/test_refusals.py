"""A store that refuses, is full or is gone: no video is failed for it, and nothing paid for that cannot be kept."""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bucket_kit import BUCKET, to_s3
from fleet_kit import Stage, a_stage, rows, until
from lipika.db import Database, Queue
from lipika.errors import DiskFull, StorageError, WorkerStop
from lipika.storage import Store
from strict_s3 import StrictS3, strict_s3

VIDEOS, CLIPS = 8, 32


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, database_url, latency_s=0.1) as stage:
        yield stage


@pytest.fixture
def s3() -> Iterator[StrictS3]:
    with strict_s3(BUCKET) as server:
        yield server


async def stops(stage: Stage, match: str) -> None:
    """The worker ends with the reason; every video waits as if nothing had happened."""
    with pytest.raises(WorkerStop, match=match):
        await asyncio.wait_for(stage.work(), 60)
    videos = rows(stage.database_url, "select * from video_queue")
    assert {(video.status, video.attempts) for video in videos} == {("pending", 0)}
    (worker,) = rows(stage.database_url, "select * from workers")
    assert worker.status == "error"


async def goes_on(stage: Stage) -> None:
    """With the cause away all is done, and nothing was paid for twice."""
    await stage.work()
    videos = rows(stage.database_url, "select * from video_queue")
    assert {(video.status, video.attempts) for video in videos} == {("done", 1)}
    assert await stage.repaid() == 0


async def test_a_store_that_takes_nothing_is_found_out_before_a_clip_is_paid_for(
    stage: Stage, s3: StrictS3
) -> None:
    await to_s3(stage, s3, VIDEOS)
    s3.forbidden = "PUT"
    await stops(stage, "AccessDenied|403|refuse")
    assert (await stage.asked())["accepted"] == 0
    s3.forbidden = ""
    await goes_on(stage)


async def test_a_store_that_begins_to_refuse_stops_the_worker_with_its_answers_kept(
    stage: Stage, s3: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is changed in mid-run: asking ends soon, and what was paid for is in the rows."""
    monkeypatch.setattr("lipika.fleet.worker._REFUSAL_S", 1.0)
    await to_s3(stage, s3, VIDEOS)
    stage.defaults |= {"worker_batch_size": 4, "batch_interval_seconds": 1.0, "live_seconds": 0.2}
    async with stage.worker() as found:
        task = asyncio.create_task(found.worker.run(until_empty=True))
        await until(lambda: found.engine.totals.returned >= 3)
        s3.forbidden = "PUT"
        with pytest.raises(WorkerStop):
            await asyncio.wait_for(task, 60)
        assert found.worker.tally.failed == 0
    assert (await stage.asked())["accepted"] < CLIPS // 2
    s3.forbidden = ""
    await goes_on(stage)


@pytest.mark.parametrize("trouble", ["unmounted", "empty", "other files"])
async def test_archives_that_are_all_gone_are_the_stores_trouble(stage: Stage, trouble: str) -> None:
    await stage.queue(VIDEOS, CLIPS // VIDEOS)
    archives, away = stage.folder / "in", stage.folder / "away"
    archives.rename(away)
    if trouble != "unmounted":
        archives.mkdir()
    if trouble == "other files":
        (archives / "README").write_text("the disk is mounted here")
    await stops(stage, "no folder|no such object")
    assert (await stage.asked())["accepted"] == 0
    shutil.rmtree(archives, ignore_errors=True)
    away.rename(archives)
    await goes_on(stage)


async def test_one_archive_that_is_gone_is_that_videos_trouble(stage: Stage) -> None:
    names = await stage.queue(VIDEOS, CLIPS // VIDEOS)
    (stage.folder / "in" / f"{names[2]}.tar").unlink()
    found = await stage.work()
    assert (found.worker.tally.done, found.worker.tally.failed) == (VIDEOS - 1, 3)  # with all its attempts
    (failed,) = rows(stage.database_url, "select * from video_queue where status <> 'done'")
    assert (failed.video_id, failed.status, failed.error_code) == (names[2], "failed", "ObjectMissing")


async def test_a_full_disk_for_results_is_waited_out_and_nothing_more_is_asked(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.queue(VIDEOS, CLIPS // VIDEOS)
    honest, full = Store.put_bytes, False

    def whole(store: Store) -> None:
        if full:
            with store._errors.translate("write", "it"):
                raise OSError(errno.ENOSPC, "No space left on device")

    async def put_bytes(store: Store, key: str, data: bytes):  # type: ignore[no-untyped-def]
        whole(store)
        return await honest(store, key, data)

    honest_stream = Store.put_stream

    async def put_stream(store: Store, *given):  # type: ignore[no-untyped-def]
        whole(store)
        return await honest_stream(store, *given)

    monkeypatch.setattr(Store, "put_bytes", put_bytes)
    monkeypatch.setattr(Store, "put_stream", put_stream)
    stage.defaults = {"worker_batch_size": 4, "batch_interval_seconds": 0.5, "live_seconds": 0.2}
    async with stage.worker() as found:
        task = asyncio.create_task(found.worker.run(until_empty=True))
        await until(lambda: found.engine.totals.returned >= 3)
        full = True

        async def said() -> bool:
            (worker,) = rows(stage.database_url, "select limited_by from workers")
            return "No space left" in (worker.limited_by or "")

        await until(said)
        await until(lambda: found.engine.in_flight == 0)
        sent = found.engine.totals.requests
        await asyncio.sleep(1.5)
        assert found.engine.totals.requests == sent < CLIPS
        full = False
        await asyncio.wait_for(task, 60)
        assert found.worker.tally.failed == 0
    videos = rows(stage.database_url, "select * from video_queue")
    assert {(video.status, video.attempts) for video in videos} == {("done", 1)}
    assert await stage.repaid() == 0


async def test_results_whose_upload_alone_is_refused_stop_the_worker(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quota that small objects pass and results do not."""
    await stage.queue(VIDEOS, CLIPS // VIDEOS)

    async def put_stream(store: Store, *_given: object) -> None:
        raise StorageError("cannot write: QuotaExceeded")

    monkeypatch.setattr(Store, "put_stream", put_stream)
    with pytest.raises(WorkerStop, match="QuotaExceeded"):
        await asyncio.wait_for(stage.work(worker_batch_size=4), 60)
    videos = rows(stage.database_url, "select * from video_queue")
    assert {(video.status, video.attempts) for video in videos} == {("pending", 0)}
    monkeypatch.undo()
    await goes_on(stage)


async def test_a_video_that_is_taken_while_it_waits_for_room_holds_nobody_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = await stage.queue(1, 4)
    honest, full = Store.put_stream, True

    async def put_stream(store: Store, *given):  # type: ignore[no-untyped-def]
        if full:
            raise DiskFull("cannot write: No space left on device")
        return await honest(store, *given)

    monkeypatch.setattr(Store, "put_stream", put_stream)
    async with stage.worker(heartbeat_seconds=0.2) as found:
        task = asyncio.create_task(found.worker.run(until_empty=True))
        await until(lambda: bool(found.worker.counts.unwritable))
        async with Database(stage.database_url) as database:
            await Queue(database).take_back([name])
        await until(lambda: found.worker.tally.lost == 1)
        full = False
        await asyncio.wait_for(task, 30)
        assert found.worker.tally.done == 1
