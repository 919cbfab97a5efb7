"""`lipika doctor`: each check finds what is planted for it, says what to do, and costs nothing."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from command_kit import lipika
from fleet_kit import change
from lipika.db import Database
from lipika.db.budgets import Budgets, Limits
from lipika.jobs.doctor import Diagnosis, Level, examine, memory_mb
from lipika.simulator import Listening, Quotas, running
from recorder import Page, recording
from simulator_kit import QUICK
from strict_s3 import strict_s3


@pytest.fixture
async def sim() -> AsyncIterator[Listening]:
    config = replace(
        QUICK, keys=("good",), quotas=Quotas(credit_usd=20.0), retirement_time="2099-01-01T00:00:00Z"
    )
    async with running(config) as listening:
        yield listening


@pytest.fixture
def env(sim: Listening, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything in place; each test breaks one thing."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tar").write_bytes(b"not looked into")
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "DATABASE_URL": database_url,
        "GEMINI_BASE_URL": sim.url,
        "GEMINI_API_KEY": "good",
        "OPENROUTER_BASE_URL": sim.openrouter_url,
        "OPENROUTER_API_KEY": "good",
        "STORE_URL": str(tmp_path / "in"),
        "OUTPUT_URL": str(tmp_path / "out"),
        "MAX_IN_FLIGHT": "64",
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path


async def found(gpu: bool = False) -> dict[str, Diagnosis]:
    return {one.name: one for one in await examine(gpu=gpu)}


async def test_all_is_well_and_nothing_was_charged(env: Path, sim: Listening, database: Database) -> None:
    await Budgets(database).set_limits("aistudio", Limits(spend_total_usd=50.0))
    all_of_it = await found()
    assert {name: one.level for name, one in all_of_it.items() if one.level is not Level.OK} == {}
    assert "retires on 2099-01-01" in all_of_it["key"].message
    assert "$20.00 of credit" in all_of_it["second provider"].message
    assert "too short for the cache" in all_of_it["model"].message
    assert "the database" in all_of_it["clock"].message
    assert "aistudio" in all_of_it["clock"].message
    assert sim.simulation.ledger.cost_usd == 0
    assert list((env / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "value", "check", "level", "says"),
    [
        ("GEMINI_API_KEY", "bad", "key", Level.FAIL, "GEMINI_API_KEY"),
        ("OPENROUTER_API_KEY", "bad", "second provider", Level.FAIL, "OPENROUTER_API_KEY"),
        ("MODEL_ID", "gemini-99", "key", Level.FAIL, "404"),
        ("MODEL_ID", "gemini-99", "model", Level.WARN, "price"),
        ("MODEL_ID", "gemini-99", "second provider", Level.FAIL, "not among"),
        ("GEMINI_BASE_URL", "http://127.0.0.1:9", "key", Level.FAIL, "GEMINI_BASE_URL"),
        ("DATABASE_URL", "postgresql://u:p@127.0.0.1:9/x", "database", Level.FAIL, "reached"),
        ("STORE_URL", "/nowhere/at/all", "STORE_URL", Level.FAIL, "/nowhere"),
        ("SPOOL_DIR", "/proc", "disk", Level.FAIL, "0.0 GB"),
        ("MAX_BUFFER_MB", "65536", "memory", Level.WARN, "131,584"),
        ("MAX_IN_FLIGHT", "20000", "open files", Level.WARN, "20,256"),
    ],
)
async def test_what_is_wrong_is_found_and_named(
    env: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, check: str, level: Level, says: str
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 20_000))
    monkeypatch.setenv(setting, value)
    one = (await found())[check]
    assert (one.level, says in one.message) == (level, True), one
    assert one.way_out


async def test_a_thinking_level_that_the_model_refuses(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_ID", "gemini-3.8-flash")
    monkeypatch.setenv("THINKING_LEVEL", "minimal")
    one = (await found())["model"]
    assert one.level is Level.WARN
    assert "low, medium, high" in one.way_out


@pytest.mark.parametrize(
    ("days", "level"), [(-1, Level.FAIL), (10, Level.WARN), (31, Level.OK)], ids=["gone", "soon", "later"]
)
async def test_a_model_that_retires(
    env: Path, monkeypatch: pytest.MonkeyPatch, days: int, level: Level
) -> None:
    when = (datetime.now(UTC) + timedelta(days=days, minutes=5)).isoformat()
    async with running(replace(QUICK, retirement_time=when)) as sim:
        monkeypatch.setenv("GEMINI_BASE_URL", sim.url)
        assert (await found())["key"].level is level


@pytest.mark.parametrize(("credit", "level"), [(0.0, Level.FAIL), (2.0, Level.WARN)])
async def test_credit_that_runs_out(
    env: Path, sim: Listening, monkeypatch: pytest.MonkeyPatch, credit: float, level: Level
) -> None:
    sim.simulation.set_quotas(Quotas(credit_usd=credit), None)
    assert (await found())["second provider"].level is level


async def test_no_cap_and_a_pause_are_warnings(env: Path, database: Database) -> None:
    assert "no dollar cap" in (await found())["budget"].message
    await Budgets(database).pause("aistudio", "invoice is late")
    paused = (await found())["budget"]
    assert (paused.level, "invoice is late" in paused.message) == (Level.WARN, True)


async def test_missing_migrations_say_so(
    env: Path, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    one = (await found())["database"]
    assert one.level is Level.FAIL
    assert "lipika db migrate" in one.message


async def test_a_database_open_to_public_keys_fails(env: Path, database_url: str) -> None:
    change(database_url, "alter table workers disable row level security")
    assert (await found())["database"].level is Level.FAIL


async def test_a_clock_that_is_wrong(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 400)
    one = (await found())["clock"]
    assert one.level is Level.FAIL
    assert "6 min 4" in one.message
    assert "ahead of" in one.message


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (Page(403, b"<html>sign in to the hotel's network</html>"), "HTTP 403"),
        (Page(200, b"<html>sign in to the hotel's network</html>"), "sign-in page"),
        (
            Page(302, b"", {"Location": "https://portal.example/?from=x"}),
            "https://portal.example/. Redirects",
        ),
        (Page.of({"error": {"message": "Quota exceeded, limit: 0, model: x"}}, status=429), "limit: 0"),
        (Page.of({"error": {"message": "long " * 90 + "end"}}, status=400), "long end"),
    ],
)
async def test_an_answer_that_is_none(
    env: Path, monkeypatch: pytest.MonkeyPatch, page: Page, says: str
) -> None:
    async with recording(page) as server:
        monkeypatch.setenv("GEMINI_BASE_URL", server.url)
        monkeypatch.setenv("OPENROUTER_BASE_URL", server.url)
        all_of_it = await found()
    for check in ("key", "second provider"):
        one = all_of_it[check]
        assert (one.level, says in one.message) == (Level.FAIL, True), one


async def test_a_name_and_a_protocol_that_are_wrong(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with recording(Page.of({})) as server:
        monkeypatch.setenv("GEMINI_BASE_URL", "http://no-such-host.invalid")
        monkeypatch.setenv("OPENROUTER_BASE_URL", server.url.replace("http:", "https:"))
        all_of_it = await found()
    assert "no-such-host.invalid cannot be resolved" in all_of_it["key"].message
    assert "does not speak TLS" in all_of_it["second provider"].message


async def test_a_bucket_is_written_read_and_deleted(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with strict_s3("bucket") as s3:
        for name, value in {
            "S3_ENDPOINT_URL": s3.url,
            "R2_ACCESS_KEY_ID": "x",
            "R2_SECRET_ACCESS_KEY": "y",
            "OUTPUT_URL": "s3://bucket/results",
            "STORE_URL": "s3://bucket/results",
        }.items():
            monkeypatch.setenv(name, value)
        all_of_it = await found()
        assert s3.complaints == []
    assert all_of_it["OUTPUT_URL"].level is Level.OK
    assert (all_of_it["STORE_URL"].level, "empty" in all_of_it["STORE_URL"].message) == (Level.WARN, True)


async def test_a_gpu_is_looked_for_only_when_asked(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(env))  # no driver's program there
    assert "GPU" not in await found()
    assert (await found(gpu=True))["GPU"].level is Level.FAIL


def test_a_containers_limit_counts_where_it_is_less(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("104857600\n")
    assert memory_mb(limit) == 100
    limit.write_text("max\n")
    assert memory_mb(limit) == memory_mb(tmp_path / "none") > 100


def test_on_the_command_line(database_url: str, tmp_path: Path) -> None:
    env: dict[str, str] = {"DATABASE_URL": database_url, "PROVIDER": "simulator", "COLUMNS": "200"}
    good = lipika("doctor", "--json", env=env)
    assert (good.returncode, {one["level"] for one in json.loads(good.stdout)} <= {"ok", "warn"}) == (0, True)
    few_files = ("bash", "-c", 'ulimit -n 1024 && exec "$@"', "-")  # so that there is something to advise
    unfolded = lipika(
        "doctor", "--provider", "simulator", env={"DATABASE_URL": database_url}, through=few_files
    )
    assert unfolded.returncode == 0, unfolded.stdout  # no key is set
    assert "lower MAX_IN_FLIGHT" in unfolded.stdout
    assert all(line.split()[0] in {"check", "ok", "warn"} for line in unfolded.stdout.splitlines())
    bad: Any = lipika("doctor", env=env | {"OUTPUT_URL": "s3://bucket/x"})
    assert (bad.returncode, "FAIL" in bad.stdout, "Traceback" in bad.stderr) == (1, True, False)


async def test_a_wrong_setting_is_the_only_finding(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_VIDEOS", "none")
    (one,) = await examine()
    assert (one.level, "MAX_VIDEOS" in one.message) == (Level.FAIL, True)
