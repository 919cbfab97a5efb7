"""The embedded Postgres, or the process that keeps it, is killed under a `lipika run`, which goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from embedded_kit import port_of, port_taken, server_of, supervisor_of
from fleet_kit import Stage, a_stage, until
from lipika.jobs.demo import sample_folder

CLIPS = 36
Ended: TypeAlias = tuple[int | None, dict[str, Any], str]
"""Exit code, what it printed, and its log."""


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, "", latency_s=0.5) as stage:
        make_corpus(tmp_path / "in", CorpusPlan(3, CLIPS // 3, (2.2, 2.8)), sample_folder())
        yield stage


@pytest.fixture
def data_dir(open_dir: Path, tmp_path: Path) -> Path:
    return open_dir / f"killed {tmp_path.name}"


@asynccontextmanager
async def running(data_dir: Path, stage: Stage, **more: str) -> AsyncIterator[asyncio.Task[Ended]]:
    """`lipika run` on the stage's archives, and how it will end."""
    command = ("run", str(stage.folder / "in"), "--out", str(stage.out), "--json", "-q")
    process = await lipika(*command, data_dir=data_dir, stage=stage, **more)
    try:
        async with asyncio.timeout(110):
            yield asyncio.create_task(_ended(process))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _ended(process: asyncio.subprocess.Process) -> Ended:
    printed, log = await process.communicate()
    return process.returncode, json.loads(printed or b"{}"), log.decode()


async def lipika(*arguments: str, data_dir: Path, stage: Stage, **more: str) -> asyncio.subprocess.Process:
    clean = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}}
    own = {
        "LIPIKA_DATA_DIR": str(data_dir),
        "GEMINI_BASE_URL": stage.url,
        "GEMINI_API_KEY": "a-key",
        "WORKER_PROCESSES": "0",
        "WORKER_BATCH_SIZE": "6",
        "BATCH_INTERVAL_SECONDS": "2",
        "HEARTBEAT_SECONDS": "5",  # so that two starts of a server on a busy machine are no lost lease
    }
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "lipika", *arguments)
    return await asyncio.create_subprocess_exec(*command, env=clean | own | more, stdout=pipe, stderr=pipe)


def another_than(former: int, data_dir: Path) -> bool:
    try:
        return server_of(data_dir) != former and supervisor_of(data_dir) > 1
    except (OSError, IndexError):  # between two servers
        return False


def kill_supervisor(data_dir: Path) -> None:
    os.kill(supervisor_of(data_dir), signal.SIGKILL)


def kill_server(data_dir: Path) -> None:
    os.kill(server_of(data_dir), signal.SIGKILL)


def kill_both(data_dir: Path) -> None:
    server = server_of(data_dir)
    os.kill(supervisor_of(data_dir), signal.SIGKILL)
    os.kill(server, signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_supervisor, kill_server, kill_both])
async def test_a_run_survives(stage: Stage, data_dir: Path, kill: Callable[[Path], None]) -> None:
    """It waited for a Postgres that nobody started again."""
    async with running(data_dir, stage) as run:
        await until(lambda: answered(stage, 6), 60)
        first = server_of(data_dir)
        kill(data_dir)
        await until(lambda: another_than(first, data_dir), 60)
        kill(data_dir)  # and those that were started anew
        code, summary, log = await run
    assert (code, summary["done"], summary["transcribed"]) == (0, 3, CLIPS), log
    asked = await stage.asked()
    assert (asked["accepted"], asked["digests"]["repaid"]) == (CLIPS, 0)
    assert ("embedded_postgres_started_again" in log) == (kill is not kill_server), log


async def test_a_run_finds_a_server_that_had_to_take_another_port(stage: Stage, data_dir: Path) -> None:
    """It asked the program that had taken the old one, until its lease was over."""
    async with running(data_dir, stage) as run:
        await until(lambda: answered(stage, 6), 60)
        port = port_of(data_dir)
        with port_taken(data_dir):
            code, summary, log = await run
            assert port_of(data_dir) != port
    assert (code, summary["done"], summary["transcribed"]) == (0, 3, CLIPS), log
    assert "embedded_postgres_moved" in log
    asked = await stage.asked()
    assert (asked["accepted"], asked["digests"]["repaid"]) == (CLIPS, 0)


async def test_a_run_whose_server_cannot_come_back_says_so_and_keeps_its_answers(
    stage: Stage, data_dir: Path, tmp_path: Path
) -> None:
    settings = {"LEASE_SECONDS": "4", "HEARTBEAT_SECONDS": "1", "SPOOL_DIR": str(tmp_path / "spool")}
    async with running(data_dir, stage, **settings) as run:
        await until(lambda: answered(stage, 6), 60)
        version, supervisor = data_dir / "cluster" / "PG_VERSION", supervisor_of(data_dir)
        written = version.read_text()
        version.write_text("16\n")
        os.kill(supervisor, signal.SIGKILL)
        code, _, log = await run
    assert code == 3, log
    for said in ("embedded_postgres_away", "written by Postgres 16", "no heartbeat"):
        assert said in log
    version.write_text(written)
    async with running(data_dir, stage, **settings) as run:
        code, summary, log = await run
    assert (code, summary["done"]) == (0, 3), log
    assert await stage.repaid() == 0


async def answered(stage: Stage, least: int) -> bool:
    return bool((await stage.asked())["accepted"] >= least)
