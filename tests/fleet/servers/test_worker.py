"""The life of a worker: leases, stopping, failures, what it writes about itself."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from asking import aistudio
from fleet_kit import Stage, a_line, a_stage, change, results_of, rows, until
from lipika import machine
from lipika.archive.documents import clip_result_to_json
from lipika.db import Database, Queue, Results
from lipika.db.connection import translate_driver_errors
from lipika.db.workers import Workers
from lipika.engine.route import Route
from lipika.errors import DatabaseError, DatabaseUnavailable, WorkerStop
from lipika.fleet.lease import Lease
from lipika.llm.capabilities import load_capabilities
from lipika.models import ClaimedVideo, ClipResult, NewVideo
from lipika.pipeline.saved_answers import Partials
from lipika.pipeline.sink import ResultSink, SinkLimits
from lipika.pipeline.video import VideoReport, transcribe_video
from lipika.storage import ObjectReader, Store, StoreSettings
from result_kit import clip, result


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, database_url) as stage:
        yield stage


# ----------------------------------------------------------------------------- the lease


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_is_judged_from_the_last_renewal_that_succeeded() -> None:
    clock = Clock()
    lease = Lease(20.0, clock=clock)

    def after(seconds: float) -> tuple[bool, bool]:
        clock.now += seconds
        return lease.holds, lease.is_over

    asked_at = lease.now()
    assert after(14.9) == (True, False)
    lease.note_renewal(asked_at)  # the answer took that long: the lease has not become younger
    assert after(0.2) == (False, False)
    lease.note_renewal(lease.now())
    assert after(0) == (True, False)
    assert after(29.9) == (False, False)
    assert after(0.2) == (False, True)


async def test_nothing_is_sent_without_a_lease() -> None:
    clock = Clock()
    lease = Lease(8.0, clock=clock)
    async with aistudio("http://127.0.0.1:9") as provider:
        capabilities = load_capabilities("gemini-3-flash-preview")
        route = Route(provider, capabilities, max_in_flight=9, restraint=lease.restraint)
        await route.ask(clock, 1)
        assert route.delay(clock.now) == 0
        clock.now += 6.0  # a quarter before its end; as after a long SIGSTOP, nobody has to say so
        assert route.delay(clock.now) == math.inf
        assert "lease" in route.limited_by(clock.now)
        lease.note_renewal(clock.now)
        await route.ask(clock, 1)
        assert route.delay(clock.now) == 0


@pytest.mark.parametrize("trouble", ["cut", "stall"])
async def test_a_worker_that_cannot_renew_stops_sending_and_then_stops(stage: Stage, trouble: str) -> None:
    await stage.queue(2, 40)
    async with a_line(stage.database_url) as (line, url):
        async with stage.worker(
            url, lease_seconds=2.0, heartbeat_seconds=0.3, worker_batch_size=5, batch_interval_seconds=0.5
        ) as found:
            task = asyncio.create_task(found.worker.run())
            await until(lambda: found.engine.totals.returned >= 5)
            getattr(line, trouble)()
            await until(lambda: not found.worker._lease.holds)
            await until(lambda: found.engine.in_flight == 0)
            sent = found.engine.totals.requests
            with pytest.raises(WorkerStop, match="no heartbeat"):
                await task
        assert found.engine.totals.requests == sent
        line.mend()
    statuses = {row.status for row in rows(stage.database_url, "select status from video_queue")}
    assert "done" not in statuses
    change(stage.database_url, "update video_queue set lease_expires_at = now()")
    await stage.work()
    assert await stage.repaid() == 0  # what it could not write to the database lies in the store


async def test_a_video_that_was_taken_away_is_let_go_before_more_is_sent(stage: Stage) -> None:
    await stage.queue(1, 40)
    async with stage.worker(worker_batch_size=5, heartbeat_seconds=0.2) as found:
        task = asyncio.create_task(found.worker.run())
        await until(lambda: found.engine.totals.returned >= 5)
        change(
            stage.database_url,
            "update video_queue set claimed_by = 'somebody', claim_token = gen_random_uuid()",
        )
        await until(lambda: found.worker.held == 0)
        sent = found.engine.totals.requests
        before = rows(stage.database_url, "select * from transcription_results")
        await asyncio.sleep(1.2)  # a batch window and more
        found.worker.drain()
        tally = await task
    assert (tally.lost, tally.released, tally.done) == (1, 0, 0)
    assert found.engine.totals.requests == sent
    assert rows(stage.database_url, "select * from transcription_results") == before
    (row,) = rows(stage.database_url, "select * from video_queue")
    assert row.claimed_by == "somebody"


# ----------------------------------------------------------------------------- stopping


async def test_a_drained_worker_keeps_answers_gives_videos_back_and_goes_offline(stage: Stage) -> None:
    await stage.queue(3, 8)
    found = await stage.work_until(4)
    assert found.engine.in_flight == 0
    videos = rows(stage.database_url, "select * from video_queue")
    assert {(video.status, video.attempts, video.claim_token) for video in videos} == {("pending", 0, None)}
    assert (
        len(rows(stage.database_url, "select * from transcription_results")) == found.engine.totals.returned
    )
    (worker,) = rows(stage.database_url, "select * from workers")
    assert (worker.status, worker.requests_in_flight) == ("offline", 0)
    assert worker.total_segments_sent == found.engine.totals.requests
    assert worker.config_json["trimmer_version"]
    await stage.work()
    assert await stage.repaid() == 0


async def test_told_to_stop_at_once_it_leaves_what_is_in_flight(tmp_path: Path, database_url: str) -> None:
    async with a_stage(tmp_path, database_url, latency_s=30.0) as stage:
        await stage.queue(1, 8)
        async with stage.worker(drain_seconds=60.0) as found:
            task = asyncio.create_task(found.worker.run())
            await until(lambda: found.engine.in_flight >= 4)
            found.worker.drain()
            await asyncio.sleep(0.1)
            assert not task.done()
            found.worker.stop_now()
            tally = await asyncio.wait_for(task, 5)
    assert (tally.released, tally.done) == (1, 0)
    (video,) = rows(database_url, "select * from video_queue")
    assert (video.status, video.attempts) == ("pending", 0)


@pytest.mark.parametrize(
    ("signals", "seconds"), [([signal.SIGTERM], 20), ([signal.SIGINT, signal.SIGTERM], 8)]
)
async def test_signals_end_the_process_well(
    tmp_path: Path, database_url: str, signals: list[signal.Signals], seconds: float
) -> None:
    async with a_stage(tmp_path, database_url, latency_s=2.0 if len(signals) == 1 else 60.0) as stage:
        await stage.queue(1, 6)
        process = await a_process(stage)
        await until(in_flight(stage))
        for number in signals:
            process.send_signal(number)
            await asyncio.sleep(0.3)
        assert await asyncio.wait_for(process.wait(), seconds) == 0
    (video,) = rows(database_url, "select * from video_queue")
    (worker,) = rows(database_url, "select * from workers")
    politely = len(signals) == 1
    assert (video.status, worker.status) == ("done" if politely else "pending", "offline")
    kept = len(rows(database_url, "select * from transcription_results"))
    assert kept == (6 if politely else 0)


def in_flight(stage: Stage):  # type: ignore[no-untyped-def]
    async def some() -> bool:
        return int((await stage.asked())["in_flight"]) >= 6

    return some


async def a_process(stage: Stage, code: str = "", **environment: str) -> asyncio.subprocess.Process:
    """`lipika worker` in a process of its own, or that with some code run before."""
    start = ["-m", "lipika"] if not code else ["-c", f"{code}\nfrom lipika.cli.main import main; main()"]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *start,
        "worker",
        *(["--until-empty"] if code else []),
        env={
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "DATABASE_URL": stage.database_url,
            "GEMINI_BASE_URL": stage.url,
            "GEMINI_API_KEY": "a-key",
            "OUTPUT_URL": str(stage.out),
            "HEARTBEAT_SECONDS": "0.5",
            "LEASE_SECONDS": "1.5",
            "BATCH_INTERVAL_SECONDS": "1",
            **environment,
        },
        stderr=asyncio.subprocess.DEVNULL,
    )


# ----------------------------------------------------------------------------- what goes wrong


POISON = """
import os
from lipika.pipeline import polishers
polish = polishers._polish_member
def deadly(member, send_format):
    if "_poison_" in getattr(member, "name", ""):
        os._exit(137)  # as the kernel ends what takes too much memory
    return polish(member, send_format)
polishers._polish_member = deadly
"""


async def test_a_video_that_kills_its_worker_is_given_up_and_takes_no_other_along(stage: Stage) -> None:
    names = await stage.queue(4, 3, max_attempts=3)
    poisoned = stage.folder / "in" / f"{names[1]}.tar"
    data = poisoned.read_bytes()
    name = next(name for name in members(poisoned) if name.startswith("segments/"))
    stem = name.removeprefix("segments/")
    poisoned.write_bytes(renamed(data, name, f"segments/x_poison_{stem.partition('_')[2]}"))
    exits = []
    for _ in range(8):
        process = await a_process(stage, POISON)
        exits.append(await asyncio.wait_for(process.wait(), 30))
        if exits[-1] == 0:
            break
    videos = {row.video_id: row for row in rows(stage.database_url, "select * from video_queue")}
    assert exits == [137, 137, 137, 0]
    assert {name: row.status for name, row in videos.items()} == {
        name: "failed" if name == names[1] else "done" for name in names
    }
    failed = videos[names[1]]
    assert (failed.attempts, failed.error_code) == (3, "attempts_exhausted")


async def test_told_to_go_it_has_done_well_whatever_became_of_a_video(stage: Stage) -> None:
    names = await stage.queue(2, 3)
    (stage.folder / "in" / f"{names[0]}.tar").write_bytes(b"no tar at all")
    process = await a_process(stage)

    async def ended() -> bool:
        return {row.status for row in rows(stage.database_url, "select status from video_queue")} == {
            "done",
            "failed",
        }

    await until(ended, 40)
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 20) == 0


def members(tar: Path) -> list[str]:
    done = subprocess.run(["tar", "-tf", str(tar)], capture_output=True, text=True, check=True)
    return done.stdout.split()


def renamed(tar: bytes, old: str, new: str) -> bytes:
    """The archive with one member's name changed in place, its header's checksum made right."""
    at = tar.index(old.encode().ljust(100, b"\0"))
    header = bytearray(tar[at : at + 512])
    header[:100] = new.encode().ljust(100, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return tar[:at] + bytes(header) + tar[at + 512 :]


async def test_a_last_attempt_is_made_alone(database: Database) -> None:
    queue = Queue(database)
    await queue.add([NewVideo(name, "s", f"o/{name}") for name in "abcd"], max_attempts=3)
    for _ in range(2):
        assert len(await queue.claim("w", 60, 9)) == 4
        async with database.connection() as connection:
            await connection.execute("update video_queue set lease_expires_at = now() - interval '1 s'")
    assert await queue.claim("w", 60, 9, alone=False) == []
    (first,) = await queue.claim("w", 60, 9, alone=True)
    assert (first.video_id, first.attempt, first.alone) == ("a", 3, True)
    await queue.add([NewVideo("e", "s", "o/e")], max_attempts=3)
    (other,) = await queue.claim("w2", 60, 9, alone=True)  # what has not crashed goes first
    assert (other.video_id, other.alone) == ("e", False)


async def test_what_happens_to_one_video_is_recorded_without_secrets(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = await stage.queue(2, 3, max_attempts=1)
    honest = transcribe_video

    async def faulty(video: ClaimedVideo, *others: object) -> VideoReport:
        if video.video_id == names[0]:
            raise ValueError("postgresql://me:geheim@host/db said no to key=AIzaSyVerySecretIndeed123")
        return await honest(video, *others)  # type: ignore[arg-type]

    monkeypatch.setattr("lipika.fleet.custody.transcribe_video", faulty)
    found = await stage.work()
    assert (found.worker.tally.done, found.worker.tally.failed) == (1, 1)
    (error,) = rows(stage.database_url, "select * from worker_errors")
    assert (error.video_id, error.exception_type) == (names[0], "ValueError")
    assert "in faulty" in error.traceback
    (worker,) = rows(stage.database_url, "select * from workers")
    (failed,) = rows(stage.database_url, "select * from video_queue where status = 'failed'")
    everything = repr((error, worker, failed))
    assert "geheim" not in everything
    assert "VerySecret" not in everything
    assert worker.last_error.startswith("ValueError")


async def test_a_database_that_refuses_ends_the_worker_with_its_reason(stage: Stage) -> None:
    await stage.queue(1, 3)
    change(stage.database_url, "alter table video_queue rename column priority to importance")
    with capture_logs() as logs, pytest.raises(DatabaseError, match="lipika db migrate"):
        await stage.work()
    assert "worker_stops" in [log["event"] for log in logs]
    (worker,) = rows(stage.database_url, "select * from workers")
    assert worker.status == "error"
    assert "DatabaseError" in worker.last_error


async def test_a_worker_that_was_given_up_by_a_person_stops(stage: Stage) -> None:
    await stage.queue(1, 40)
    async with stage.worker(worker_batch_size=2) as found:
        task = asyncio.create_task(found.worker.run())
        await until(lambda: found.engine.totals.returned >= 2)
        change(stage.database_url, "update workers set status = 'offline'")
        with pytest.raises(WorkerStop, match="no longer registered"):
            await task


async def test_a_cancellation_that_the_driver_lost_is_raised_again() -> None:
    async def lose_it() -> None:
        with translate_driver_errors("query"):
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                return  # as asyncio.wait_for does before 3.12 when the reply has just come

    task = asyncio.create_task(lose_it())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# ----------------------------------------------------------------------------- results on their way


class Away(Results):
    """A database that can be away."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.away = True
        self.largest = 0

    async def write(self, claim: ClaimedVideo, results: list[ClipResult]) -> None:  # type: ignore[override]
        if self.away:
            raise DatabaseUnavailable("gone")
        self.largest = max(self.largest, len(results))
        await super().write(claim, results)


@pytest.fixture
async def claim(database: Database) -> ClaimedVideo:
    queue = Queue(database)
    await queue.add([NewVideo("v", "in.tar", "out.tar", "hi")])
    (claim,) = await queue.claim("w1", 60, 1)
    return claim


@pytest.fixture
def sink(database: Database, tmp_path: Path) -> ResultSink:
    store = Store.open(str(tmp_path), StoreSettings(), create=True)
    limits = SinkLimits(write_rows=10, memory_rows=20, disk_bytes=100_000, unsaved=30)
    return ResultSink(Away(database), Partials(lambda key: (store, key), tmp_path / "kept"), tmp_path, limits)


async def keep(sink: ResultSink, claim: ClaimedVideo, one: ClipResult) -> None:
    await sink.keep(claim, one, clip_result_to_json(one))


async def test_a_clip_that_comes_twice_is_written_once_as_it_came_last(
    sink: ResultSink,
    claim: ClaimedVideo,
    database_url: str,
) -> None:
    with sink:
        sink._results.away = False  # type: ignore[attr-defined]
        for cost in (1.0, 2.0):
            await keep(sink, claim, replace(result(0), cost_usd=cost))
        assert await sink.flush()
        assert sink.waiting == 0
    (row,) = rows(database_url, "select * from transcription_results")
    assert row.cost_usd == 2.0


async def test_rows_go_to_disk_while_the_database_is_away_and_stop_the_flow_at_the_limit(
    sink: ResultSink,
    claim: ClaimedVideo,
    database_url: str,
) -> None:
    async def bring() -> None:
        for number in range(150):
            await keep(sink, claim, result(number))

    with sink:
        task = asyncio.create_task(bring())
        await until(lambda: sink._spill.size > 90_000)
        await asyncio.sleep(0.1)
        assert not await sink.flush()
        assert not task.done()
        assert 40 < sink.waiting < 150
        sink._results.away = False  # type: ignore[attr-defined]
        while not task.done():
            assert await sink.flush()
            await asyncio.sleep(0)
        assert await sink.flush()
        assert (sink.waiting, sink._spill.size, sink._in_memory) == (0, 0, 0)
        assert sink._results.largest <= 10  # type: ignore[attr-defined]
    stored = rows(database_url, "select audio_digest from transcription_results order by 1")
    assert [row.audio_digest for row in stored] == sorted(clip(number).audio_digest for number in range(150))


async def test_what_waits_of_a_lost_video_is_dropped(sink: ResultSink, claim: ClaimedVideo) -> None:
    with sink:
        for number in range(30):
            await keep(sink, claim, result(number))
        sink.drop(claim)
        assert (sink.waiting, sink._spill.size, sink._unsaved) == (0, 0, 0)


# ----------------------------------------------------------------------------- who it is


def test_the_gpu_is_asked_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpu_type() is None
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho NVIDIA L4\necho NVIDIA L4\n")
    driver.chmod(driver.stat().st_mode | stat.S_IXUSR)
    assert machine.gpu_type() == "2 x NVIDIA L4"
    driver.write_text("#!/bin/sh\nexit 9\n")
    assert machine.gpu_type() is None


def test_a_worker_is_named_after_its_machine() -> None:
    assert machine.instance_name("mine", {"CONTAINER_ID": "7"}) == "mine"
    assert machine.instance_name("", {"VAST_CONTAINERLABEL": "C.7", "CONTAINER_ID": "7"}) == "C.7"
    assert machine.instance_name("", {}) == os.uname().nodename


async def test_live_figures_say_what_a_worker_waits_for(stage: Stage) -> None:
    await stage.queue(1, 12)
    async with stage.worker(worker_batch_size=4) as found:
        task = asyncio.create_task(found.worker.run())
        await until(lambda: found.engine.totals.returned >= 4)
        found.worker.counts.waits_for = "room on the disk"

        async def said() -> bool:
            (worker,) = rows(stage.database_url, "select * from workers")
            return bool(worker.limited_by == "room on the disk" and worker.active_rpm >= 4)

        await until(said)
        found.worker.stop_now()
        await task
    assert not rows(stage.database_url, "select * from fleet_live where state = 'live'")


async def test_the_main_path_still_makes_whole_archives(stage: Stage) -> None:
    await stage.queue(3, 6)
    await stage.work()
    assert [len(results_of(tar)) for tar in stage.out.glob("*.tar")] == [6, 6, 6]
    assert stage.parts() == []


async def test_no_more_archives_are_open_than_may_be_read(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many videos are held: each open archive holds its range of bytes in memory."""
    reading: set[ObjectReader] = set()
    most = 0
    opened, closed = Store.open_read, ObjectReader.close

    def open_read(store: Store, key: str) -> ObjectReader:
        nonlocal most
        reader = opened(store, key)
        reading.add(reader)
        most = max(most, len(reading))
        return reader

    def close(reader: ObjectReader) -> None:
        reading.discard(reader)
        closed(reader)

    monkeypatch.setattr(Store, "open_read", open_read)
    monkeypatch.setattr(ObjectReader, "close", close)
    await stage.queue(12, 3)
    change(stage.database_url, "update video_queue set language = 'hi'")  # or their metadata is read first
    async with stage.worker(worker_processes=0) as found:
        found.tools.polishers.readers = asyncio.Semaphore(3)
        held = 0

        async def look() -> None:
            nonlocal held
            while True:
                held = max(held, found.worker.held)
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        tally = await found.worker.run(until_empty=True)
        looking.cancel()
    assert tally.done == 12
    assert held > 3, "or the test shows nothing"
    assert (most, len(reading)) == (3, 0)


async def test_an_alert_that_is_being_written_when_the_worker_ends_is_written_once(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is there, and the loop that wrote it is ended before it knows."""
    written, write = asyncio.Event(), Workers.record_error

    async def slowly(self: Workers, *error: Any, **more: Any) -> None:
        await write(self, *error, **more)
        written.set()
        await asyncio.sleep(1)

    monkeypatch.setattr(Workers, "record_error", slowly)
    async with a_stage(tmp_path, database_url) as stage, stage.worker() as found:
        found.worker._alert("odd", "something")
        found.tools.troubles.note("a-video", "a-clip", ValueError("odd"))
        life = asyncio.create_task(found.worker.run())
        await written.wait()
        found.worker.drain()
        await life
    kinds = [row.exception_type for row in rows(database_url, "select * from worker_errors order by id")]
    assert kinds == ["Alert:odd", "ValueError"]


async def test_an_alert_whose_answer_is_lost_is_written_once(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is there, and the line breaks before the worker hears of it."""
    lost, write = list[Any](), Workers.record_error

    async def unheard(self: Workers, *error: Any, **more: Any) -> None:
        await write(self, *error, **more)
        if error not in lost:
            lost.append(error)
            raise DatabaseUnavailable("Postgres is away: the connection is lost")

    monkeypatch.setattr(Workers, "record_error", unheard)
    async with a_stage(tmp_path, database_url) as stage, stage.worker() as found:
        for message in ("something", "something", "something else"):  # what is said twice stands there twice
            found.worker._alert("odd", message)
        found.tools.troubles.note("a-video", "a-clip", ValueError("odd"))
        life = asyncio.create_task(found.worker.run())
        await until(lambda: len(lost) == 3 and not found.tools.troubles.waiting)
        found.worker.drain()
        await life
    written = rows(database_url, "select * from worker_errors order by id")
    assert [(row.exception_type, row.message.split(": ")[-1]) for row in written] == [
        ("Alert:odd", "something"),
        ("Alert:odd", "something"),
        ("Alert:odd", "something else"),
        ("ValueError", "odd"),
    ]


async def test_the_first_answers_are_rows_long_before_the_regular_flush(
    stage: Stage, database_url: str
) -> None:
    await stage.queue(segments=6)
    # Two clips go at once, the others in minutes, and nothing else writes rows meanwhile.
    async with stage.worker(worker_batch_size=2, batch_interval_seconds=300, batch_launch="burst") as found:
        found.worker._options = replace(found.worker._options, flush_s=1000.0, live_s=1000.0)
        task = asyncio.create_task(found.worker.run())
        await until(lambda: rows(database_url, "select count(*) from transcription_results")[0].count == 2)
        assert not task.done()
        found.worker.drain()
        await task
