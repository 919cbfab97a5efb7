"""`lipika status`, `workers`, `errors`, `flags`, on a database that holds what a fleet leaves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from fleet_kit import change, rows
from lipika.cli import fleet
from lipika.db import Budgets, Database, Queue, Results, Workers
from lipika.db.budgets import Limits
from lipika.db.workers import WorkerInfo, WorkerStats
from lipika.errors import UsageError
from lipika.meters import Sums
from lipika.models import Accounting, NewVideo
from lipika.wording import money
from stored_kit import made

Lipika = Callable[..., Result]
SEGMENT = "speaker0_00000_00500.flac"


@pytest.fixture
def lipika(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Lipika:
    """The commands in this process, on a database with one done video of three clips and a worker."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    app = typer.Typer()
    fleet.add_to(app, _run)
    asyncio.run(_fill(database_url))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    return run


def _run(job: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(job())


async def _fill(url: str) -> None:
    async with Database(url) as database:
        queue, workers = Queue(database), Workers(database)
        await queue.add([NewVideo("v", "in", "out/v", "hi"), NewVideo("w", "in", "out/w", "ta")])
        (claim,) = await queue.claim("w1", 60, 1)
        await Results(database).write(claim, [made(0, text="हाँ " * 60), made(1), made(2)])
        await queue.finish(claim, Accounting(clips=3, transcribed=3), output_bytes=1, output_digest="x")
        for name in ("w1", "w2"):
            await workers.register(WorkerInfo(name, "host", "aistudio", None, {}))
            minute = Sums(clips=30, usd=0.5, failures={"rate_minute": 2})
            await workers.live(name, active_rpm=40, active_tpm=5, requests_in_flight=7, minute=minute)
            await workers.heartbeat(name, WorkerStats("aistudio", spend_usd=1.5, failures={"rate_minute": 2}))
        await workers.record_error("w1", "v", "ValueError", "it [broke]", "Traceback: here")
        await workers.record_error("w2", None, "Alert:flood", "too much", "")
        await Budgets(database).set_limits("aistudio", Limits(requests_per_minute=100))


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_simulators_dollars_are_labelled(lipika: Lipika, database_url: str) -> None:
    spend = (
        "insert into provider_spend (provider, worker_id, day, usd, asked_at) values (%s, 'w1', now(), %s, 0)"
    )
    change(database_url, spend, "aistudio", 2.0)
    assert "SIMULATED" not in lipika("status").stdout
    change(database_url, spend, "simulator", 0.5)
    assert f"{money(2.5)} ({money(0.5)} of it SIMULATED" in lipika("status").stdout
    assert told(lipika("status", "--json"))["usd_simulated"] == 0.5


def test_status_for_machines_names_queue_fleet_budgets_and_outlook(lipika: Lipika) -> None:
    found = told(lipika("status", "--json"))
    assert (found["queue"]["pending"], found["queue"]["done"]) == (1, 1)
    assert [worker["state"] for worker in found["workers"]] == ["live", "live"]
    (provider,) = found["fleet"]["providers"]
    assert (provider["rpm"], provider["binds"], provider["used"]) == (80, "rpm", {"rpm": 0.8})
    assert [(row["kind"], row["last_minute"]) for row in found["fleet"]["failures"]] == [("rate_minute", 4)]
    assert found["eta_s"] == pytest.approx(3 / 60 * 60)  # a video of three clips at sixty a minute
    assert "1 videos left" in found["eta_basis"]
    assert found["open_flags"] >= 1
    assert {row["message"] for row in found["errors"]} == {"it [broke]", "too much"}


def test_status_for_people_says_the_same(lipika: Lipika) -> None:
    text = lipika("status").stdout
    assert "Queue: 1 pending, 0 held, 0 at work, 1 done, 0 failed" in text
    assert "Fleet: 2 live, 0 draining, 0 stale; 60 clips/min" in text
    assert "429s in the last minute (in all): rate_minute 4 (4)" in text
    assert "80 of 100" in text
    assert "it [broke]" in text


def test_status_and_workers_are_readable_on_eighty_columns(
    lipika: Lipika, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No table is folded: a row that does not fit is a paragraph, and no value is cut."""
    for command in ("status", "workers"):
        monkeypatch.setenv("COLUMNS", "80")
        text = lipika(command).stdout
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= 80
        assert "┃ worker" not in text
        assert "in flight 7" in text


def test_status_goes_on_until_it_is_interrupted(lipika: Lipika, database_url: str) -> None:
    del lipika  # for the database it fills
    process = subprocess.Popen(
        [sys.executable, "-m", "lipika", "status", "--watch", "--json"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - begun in the background
    )
    assert process.stdout is not None
    with process:
        for _ in range(2):
            assert json.loads(process.stdout.readline())["queue"]["done"] == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_workers_are_listed_and_drained(lipika: Lipika, database_url: str) -> None:
    assert [row["worker_id"] for row in told(lipika("workers", "--json"))] == ["w1", "w2"]
    done = lipika("workers", "drain", "w2", "w9")
    assert (done.exit_code, done.stdout) == (1, "asked 1 of 2: the others are not online\n")
    assert [row["state"] for row in told(lipika("workers", "--json"))] == ["live", "draining"]
    assert "draining" in lipika("workers").stdout
    assert lipika("workers", "drain", "--all").stdout == "asked 2\n"
    assert lipika("workers", "drain").exit_code == 2
    assert lipika("workers", "drain", "w1", "--all").exit_code == 2
    asked = rows(database_url, "select drain_requested_at from workers")
    assert all(row.drain_requested_at is not None for row in asked)


async def _listen(url: str) -> None:
    """w1 compares every fourth clip; w2 was switched off."""
    figures: dict[str, str | int | float | None] = {
        "every": 4, "device": "cpu", "agree": 60, "weak": 25, "flag": 15, "late": 3, "off_because": None
    }  # fmt: skip
    async with Database(url) as database:
        workers = Workers(database)
        await workers.heartbeat("w1", WorkerStats("aistudio", alignment=figures))
        await workers.heartbeat("w2", WorkerStats("aistudio", alignment={"off_because": "no [bundle]"}))


def test_status_and_workers_tell_how_the_alignment_goes(lipika: Lipika, database_url: str) -> None:
    for command in ("status", "workers"):
        assert "Alignment: off" in lipika(command).stdout
    asyncio.run(_listen(database_url))
    for command in ("status", "workers"):
        text = " ".join(lipika(command).stdout.replace("│", " ").split())
        assert "w1 1 clip in 4 100 60.0 % 25.0 % 15.0 % 0 % 0 % 3" in text
        assert "w2 switched off: no [bundle] 0" in text
    found = told(lipika("status", "--json"))
    assert [worker["alignment"].get("every") for worker in found["workers"]] == [4, None]
    assert found["fleet"]["totals"]["aligners"] == {"listening": 1, "loading": 0, "off": 1}
    assert found["fleet"]["totals"]["aligned"]["weak"] == 25


def test_errors_come_newest_first_with_filters_and_pages(lipika: Lipika) -> None:
    found = told(lipika("errors", "--json"))
    assert [row["exception_type"] for row in found] == ["Alert:flood", "ValueError"]
    assert told(lipika("errors", "--json", "--before", str(found[0]["id"]))) == found[1:]
    for option in (("--worker", "w1"), ("--video", "v"), ("--type", "ValueError")):
        assert told(lipika("errors", "--json", *option)) == found[1:]
    text = lipika("errors", "--limit", "1").stdout
    assert "too much" in text
    assert f"more: --before {found[0]['id']}" in text
    one = lipika("errors", str(found[1]["id"])).stdout
    assert "it [broke]" in one
    assert "Traceback: here" in one
    assert lipika("errors", "--video", "nosuch").stdout == "no errors\n"
    missing = lipika("errors", "999")
    assert isinstance(missing.exception, UsageError)


def test_flags_are_filtered_counted_and_resolved(lipika: Lipika) -> None:
    found = told(lipika("flags", "--json"))
    assert {row["segment_file"] for row in found} == {SEGMENT}
    assert told(lipika("flags", "--json", "--language", "ta")) == []
    assert told(
        lipika("flags", "--json", "--type", found[0]["flag_type"], "--severity", "fail", "--video", "v")
    )
    assert found[0]["flag_type"] in lipika("flags", "--counts").stdout
    assert found[0]["flag_type"] in lipika("flags").stdout

    done = lipika("flags", "resolve", "v", SEGMENT, "--note", "heard it [fine]", "--by", "me")
    assert done.stdout == f"resolved {len(found)}\n"
    assert lipika("flags").stdout == "no flags\n"
    assert "[me: heard it [fine]]" in lipika("flags", "--resolved").stdout
    assert lipika("flags", "resolve", "v", SEGMENT).exit_code == 1
    assert lipika("flags", "resolve", "v", SEGMENT, "--reopen").stdout == f"reopened {len(found)}\n"
    assert [replace_times(row) for row in told(lipika("flags", "--json"))] == [
        replace_times(row) for row in found
    ]


def replace_times(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"note": None}
