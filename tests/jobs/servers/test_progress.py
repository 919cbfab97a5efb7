"""The panel and the live figures of a real worker, held against the database; and what it obeys while it works."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from rich.console import Console
from structlog.testing import capture_logs

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from command_kit import lipika
from fleet_kit import Stage, a_stage, rows, until
from lipika.db import Budgets, Database, Stats, Workers
from lipika.db.budgets import Limits
from lipika.fleet.progress import Show, Snapshot, WorkerWatch, line, panel, show_progress
from lipika.jobs.demo import sample_folder
from lipika.jobs.transcribe import _context_reader
from lipika.models import RATE_KINDS


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, database_url) as stage:
        yield stage


def drawn(now: Snapshot) -> str:
    """The panel as text, at the width of an ordinary terminal."""
    console = Console(file=io.StringIO(), width=110, force_terminal=True, color_system=None)
    console.print(panel(now, "lipika"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_what_the_panel_shows_is_what_the_database_holds(stage: Stage, database: Database) -> None:
    videos = await stage.queue(4, 8)
    await stage.control("faults", {"faults": [{"kind": "rate_minute", "count": 1, "retry_after_s": 0.2}]})
    await Budgets(database).set_limits("aistudio", Limits(9000, 9_000_000))
    async with stage.worker() as found:
        watch = WorkerWatch(found.worker, found.engine, found.room, videos=len(videos), title="lipika")
        first = watch.snapshot()
        assert (first.clips_ended, first.eta_s, first.eta_basis) == (
            0,
            None,
            "unknown until the first video is done",
        )
        assert "ETA –" in drawn(first)
        watch.around = await _context_reader(database, whole_queue=True)()
        await found.worker.run(until_empty=True)
        now = watch.snapshot()

    (sums,) = rows(
        stage.database_url,
        "select count(*) as clips, sum(cost_usd) as usd from transcription_results where status <> 'failed'",
    )
    assert (now.videos_done, now.clips_ended, now.clips) == (4, sums.clips, sums.clips)
    assert now.usd == pytest.approx(sums.usd)
    assert now.usd_per_clip == pytest.approx(sums.usd / sums.clips)
    assert now.usd_projected == pytest.approx(sums.usd)
    assert (now.eta_s, now.rpm_limit, now.tpm_limit) == (0.0, 9000, 9_000_000)
    assert sum(now.rate_limited.values()) == found.engine.totals.rate_limited
    text = drawn(now)
    for part in ("of 9,000", "4/4", f"{sums.clips}/{sums.clips}", "429s"):
        assert part in text
    assert "videos 4/4, 0 open" in line(now)

    (worker,) = await Stats(database).fleet.workers()
    totals = found.engine.totals
    assert (worker.total_segments_sent, worker.total_prompt_tokens) == (totals.requests, totals.usage.prompt)
    (said,) = rows(stage.database_url, "select total_failures from workers")
    assert sum(said.total_failures.get(kind, 0) for kind in RATE_KINDS) == totals.rate_limited
    spent = (await Stats(database).spend.summary()).usd_total
    days = await Stats(database).spend.days(2)
    assert spent == pytest.approx(totals.cost_usd)
    assert sum(day.cost_usd for day in days) == pytest.approx(totals.cost_usd)
    assert sum(day.audio_tokens for day in days) == totals.usage.prompt_audio
    assert rows(stage.database_url, "select * from batch_minutes where 0 < any (latency_counts)")


async def test_live_figures_are_there_while_it_works_and_gone_when_it_ends(
    stage: Stage, database: Database
) -> None:
    await stage.queue(2, 40)
    async with stage.worker(worker_batch_size=10, batch_interval_seconds=0.5) as found:
        task = asyncio.create_task(found.worker.run())
        await until(lambda: found.engine.totals.returned >= 10)

        async def told() -> bool:
            return (await Stats(database).fleet.now()).clips_per_minute >= 10

        await until(told)
        now = await Stats(database).fleet.now()
        assert now.latency_p50_ms is not None
        assert (now.totals.live, now.providers[0].provider) == (1, "aistudio")
        assert now.providers[0].usd_per_minute > 0
        (row,) = await Stats(database).fleet.workers()
        assert row.first_videos
        assert row.recent_rpm[-1] + row.recent_rpm[-2] > 0
        found.worker.drain()
        await task
    ended = await Stats(database).fleet.now()
    assert (ended.totals.live, ended.totals.ended, ended.latency_p50_ms, ended.clips_per_minute) == (
        0,
        1,
        None,
        0,
    )


async def test_a_worker_that_is_asked_to_drain_ends_by_itself(stage: Stage, database: Database) -> None:
    await stage.queue(3, 20)
    async with stage.worker(worker_batch_size=5, batch_interval_seconds=0.5) as found:
        task = asyncio.create_task(found.worker.run())
        await until(lambda: found.engine.totals.returned >= 5)
        assert await Workers(database).drain() == 1
        tally = await asyncio.wait_for(task, 20)
    assert found.worker.draining
    assert tally.released >= 1
    (worker,) = rows(stage.database_url, "select status, draining from workers")
    assert (worker.status, worker.draining) == ("offline", False)
    assert {row.status for row in rows(stage.database_url, "select status from video_queue")} <= {
        "pending",
        "done",
    }


async def test_pause_and_resume_are_obeyed_while_it_works(stage: Stage, database: Database) -> None:
    await stage.queue(2, 40)
    async with stage.worker(worker_batch_size=10, batch_interval_seconds=0.5) as found:
        task = asyncio.create_task(found.worker.run(until_empty=True))
        await until(lambda: found.engine.totals.returned >= 5)
        await Budgets(database).pause("aistudio", "lunch")
        watch = WorkerWatch(found.worker, found.engine, found.room, videos=2, title="lipika")
        await until(lambda: "paused" in watch.waits_for())
        await until(lambda: found.engine.in_flight == 0)
        sent = found.engine.totals.requests
        await asyncio.sleep(0.7)  # a batch window and more
        assert found.engine.totals.requests == sent
        assert (await Stats(database).fleet.now()).providers[0].binds == "paused"
        await Budgets(database).resume("aistudio")
        tally = await task
    assert tally.done == 2


async def test_lines_and_events_come_where_there_is_no_terminal(
    stage: Stage, database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    structlog.reset_defaults()  # other tests set the level of the whole process
    monkeypatch.setattr("lipika.fleet.progress.log", structlog.get_logger())
    await stage.queue(1, 4)
    console = Console(file=io.StringIO(), force_terminal=False)
    look = _context_reader(database, whole_queue=True)
    async with stage.worker() as found:
        watch = WorkerWatch(found.worker, found.engine, found.room, videos=None, title="lipika")
        async with show_progress(watch, Show(console, line_every_s=0.05), look):
            await found.worker.run(until_empty=True)
            await until(lambda: watch.around.outlook is not None)
            await until(lambda: "videos 1, 0 open  clips " in capsys.readouterr().err)
        with capture_logs() as logs:
            async with show_progress(watch, Show(console, as_events=True, line_every_s=0.05), look):
                await until(lambda: any(log["event"] == "progress" for log in logs))
        capsys.readouterr()
        event = next(log for log in logs if log["event"] == "progress")
        assert (event["videos_done"], event["clips_ended"]) == (1, found.worker.counts.clips)
        async with show_progress(watch, Show(console, quiet=True, line_every_s=0.01), look):
            await asyncio.sleep(0.05)
        assert capsys.readouterr().err == ""


async def test_a_panel_is_drawn_on_a_terminal_and_is_gone_after(stage: Stage, database: Database) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=110, force_terminal=True, color_system=None)
    async with stage.worker() as found:
        watch = WorkerWatch(found.worker, found.engine, found.room, videos=3, title="my run")
        async with show_progress(watch, Show(console), _context_reader(database, whole_queue=False)):
            await until(lambda: screen.getvalue().count("my run") >= 2)
    assert "videos 0/3, 0 open" in screen.getvalue()
    assert screen.getvalue().rstrip().endswith("\x1b[2K") or "\x1b[?25h" in screen.getvalue()


def test_json_logs_of_a_run_are_one_object_a_line(tmp_path: Path, database_url: str) -> None:
    make_corpus(tmp_path / "in", CorpusPlan(1, 4, (2.2, 2.8)), sample_folder())
    env = {"DATABASE_URL": database_url, "PROVIDER": "simulator", "BATCH_INTERVAL_SECONDS": "2"}
    done = lipika(
        "run", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--json-logs", "--json", env=env
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == 1
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert {"video_done", "batch"} <= set(events)
