"""Whose a video is: taken away from a worker that lives, a clock that jumps, a sleep longer than the lease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.chaos import read_log, repeated_answers
from fleet_kit import Stage, a_stage, change, results_of, rows, until
from lipika.cli.main import app
from lipika.db import Database, Queue
from lipika.errors import WorkerStop
from lipika.jobs.wiring import Running
from lipika.models import NewVideo
from lipika.simulator import FaultKind, FaultPlan, FaultRule

CLIPS = 40
DOUBTED = FaultPlan((FaultRule(FaultKind.TAG_MISMATCH, max_temperature=0.5, probability=0.3),))


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    log = tmp_path / "requests.jsonl"
    async with a_stage(tmp_path, database_url, latency_s=0.4, faults=DOUBTED, request_log=log) as stage:
        stage.defaults = {"worker_batch_size": 10, "batch_interval_seconds": 0.5}
        yield stage


async def whole(stage: Stage, attempts: int = 1) -> None:
    """The video is done, and nothing is left of it besides its result."""
    videos = rows(stage.database_url, "select * from video_queue")
    assert [(video.status, video.attempts) for video in videos] == [("done", attempts)]
    assert [len(results_of(tar)) for tar in stage.out.glob("*.tar")] == [CLIPS]
    assert len(rows(stage.database_url, "select * from transcription_results")) == CLIPS
    assert stage.parts() == []


async def paid_twice(stage: Stage) -> list[object]:
    """Answers to what had been answered before; that a doubted clip was asked once more is none."""
    await stage.asked()  # flushes the log
    return list(repeated_answers(read_log(stage.folder / "requests.jsonl")))


def answered(found: Running, answers: int) -> bool:
    return found.engine.totals.returned >= answers


def under_way(stage: Stage) -> bool:
    return bool(rows(stage.database_url, "select from video_queue where status = 'processing'"))


def lost(found: Running, videos: int) -> bool:
    return found.worker.tally.lost >= videos


@pytest.mark.parametrize("way", ["command", "button"])
async def test_a_video_taken_from_a_worker_that_lives_is_claimed_again_with_all_it_was_answered(
    stage: Stage, way: str
) -> None:
    """`queue release --claimed` and the board's button, from the only worker there is, with answers in flight."""
    names = await stage.queue(1, CLIPS)
    async with stage.worker(heartbeat_seconds=0.3) as found:
        task = asyncio.create_task(found.worker.run(until_empty=True))
        for taken in range(2):
            await until(partial(answered, found, 10 * taken + 8))
            await until(partial(under_way, stage))
            if way == "button":
                async with Database(stage.database_url) as database:
                    assert await Queue(database).take_back(names) == 1
            else:
                done = await asyncio.to_thread(
                    CliRunner().invoke,
                    app,
                    ["queue", "release", "--claimed", *names],
                    env={"DATABASE_URL": stage.database_url},
                )
                assert done.exit_code == 0, done.output
            await until(partial(lost, found, taken + 1))
        tally = await asyncio.wait_for(task, 60)
    assert (tally.done, tally.failed) == (1, 0)
    await whole(stage)
    assert await paid_twice(stage) == []


async def test_a_clock_that_jumps_over_the_lease_takes_no_video_from_its_only_worker(stage: Stage) -> None:
    await stage.queue(1, CLIPS)
    async with stage.worker(heartbeat_seconds=0.5) as found:
        task = asyncio.create_task(found.worker.run(until_empty=True))
        while not task.done():
            change(
                stage.database_url,
                "update video_queue set lease_expires_at = now() - interval '1 hour' where claim_token is not null"
                " and status <> 'done'",
            )
            await asyncio.sleep(0.1)
        tally = await task
    assert (tally.done, tally.lost) == (1, 0)
    await whole(stage)
    assert await paid_twice(stage) == []


async def test_a_worker_that_slept_through_its_lease_gives_its_videos_back(stage: Stage) -> None:
    """What nobody has taken meanwhile goes back with its attempt, and need not wait for the lease's end."""
    await stage.queue(1, CLIPS)
    async with stage.worker(lease_seconds=2.0, heartbeat_seconds=0.4) as found:
        task = asyncio.create_task(found.worker.run())
        await until(lambda: found.engine.totals.returned >= 8)
        change(stage.database_url, "update video_queue set lease_expires_at = now() + interval '1 hour'")
        time.sleep(3.6)  # noqa: ASYNC251 - the whole process sleeps
        with pytest.raises(WorkerStop, match="no heartbeat"):
            await task
        assert found.worker.tally.released == 1
    videos = rows(stage.database_url, "select * from video_queue")
    assert [(video.status, video.attempts, video.claim_token) for video in videos] == [("pending", 0, None)]
    await stage.work()
    await whole(stage)


async def test_what_a_lost_reply_claimed_is_not_renewed(database: Database) -> None:
    """Leases go by token: a claim that its worker does not know of runs out and comes again."""
    queue = Queue(database)
    await queue.add([NewVideo(name, "s", name) for name in "ab"])
    (known,) = await queue.claim("w", 60, 1)
    (unknown,) = await queue.claim("w", 60, 1)  # the reply was lost
    async with database.connection() as connection:
        await connection.execute("update video_queue set lease_expires_at = now() - interval '1 s'")
    assert await queue.extend([known], 60) == {known.video_id}
    (again,) = await queue.claim("w", 60, 9, without=[known.video_id])
    assert (again.video_id, again.attempt) == (unknown.video_id, 2)


async def test_a_worker_does_not_claim_what_it_carries(database: Database) -> None:
    queue = Queue(database)
    await queue.add([NewVideo(name, "s", name) for name in "ab"])
    (mine,) = await queue.claim("w", 60, 1)
    await queue.take_back([mine.video_id])
    assert [claim.video_id for claim in await queue.claim("w", 60, 9, without=[mine.video_id])] == ["b"]
