"""Money before it goes: what a run expects, its own cap, the fleet's cap in all; a run ends there, and says so."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from command_kit import lipika_beside
from fleet_kit import rows
from gateway_kit import Gateway, a_gateway
from lipika.engine.route import Need, Slots
from lipika.jobs.demo import sample_folder
from lipika.jobs.run_cap import RunCap

CLIPS = 40


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with a_gateway() as found:
        yield found


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (path,) = make_corpus(tmp_path / "in", CorpusPlan(1, CLIPS, (2.2, 2.8)), sample_folder())
    return path


async def run(gateway: Gateway, archive: Path, database_url: str, *more: str) -> Any:
    folder = archive.parent.parent
    env = gateway.settings(folder, database_url)
    return await lipika_beside("run", str(archive), "--out", str(folder / "out"), "--json", *more, env=env)


async def test_a_run_ends_at_its_own_cap_and_goes_on_without_it(
    gateway: Gateway, archive: Path, database_url: str
) -> None:
    capped = await run(gateway, archive, database_url, "--max-usd", "0.02")
    assert capped.returncode == 5, capped.stderr
    summary = json.loads(capped.stdout)
    assert (summary["capped"], summary["interrupted"]) == (True, False)
    assert 0 < summary["cost_usd"] <= 0.022
    assert 0 < gateway.requests < CLIPS
    assert "$0.02, --max-usd" in capped.stderr
    paid = gateway.requests
    rest = await run(gateway, archive, database_url)
    assert rest.returncode == 0, rest.stderr
    assert json.loads(rest.stdout)["reused"] == paid
    assert set(gateway.asked.values()) == {1}


async def test_a_run_ends_at_the_cap_in_all_and_goes_on_when_it_is_raised(
    gateway: Gateway, archive: Path, database_url: str
) -> None:
    env = {"DATABASE_URL": database_url}
    assert (await lipika_beside("budget", "set", "aistudio", "--usd-total", "0.02", env=env)).returncode == 0
    capped = await run(gateway, archive, database_url)
    assert capped.returncode == 5, capped.stderr
    assert "cap on dollars in all of aistudio" in capped.stderr
    assert "caps: $0.02 in all of aistudio" in capped.stderr, "and was said before"
    assert gateway.requests < CLIPS
    lowered = await lipika_beside("budget", "set", "aistudio", "--usd-total", "0.001", env=env)
    assert "and the cap is $0.001: nothing more is sent" in lowered.stdout
    await lipika_beside("budget", "set", "aistudio", "--usd-total", "none", env=env)
    assert (await run(gateway, archive, database_url)).returncode == 0
    assert set(gateway.asked.values()) == {1}


async def test_a_run_ends_at_the_cap_over_all_providers(
    gateway: Gateway, archive: Path, database_url: str
) -> None:
    env = {"DATABASE_URL": database_url}
    assert (await lipika_beside("budget", "set", "all", "--usd-total", "0.02", env=env)).returncode == 0
    capped = await run(gateway, archive, database_url)
    assert capped.returncode == 5, capped.stderr
    assert "the cap on dollars in all over all providers" in capped.stderr
    assert "caps: $0.02 in all over all providers" in capped.stderr, "and was said before"
    (spent,) = rows(database_url, "select sum(usd) as usd from provider_spend")
    assert 0 < spent.usd <= 0.022
    assert gateway.requests < CLIPS
    await lipika_beside("budget", "set", "all", "--usd-total", "none", env=env)
    assert (await run(gateway, archive, database_url)).returncode == 0
    assert set(gateway.asked.values()) == {1}


async def test_a_dry_run_tells_and_changes_nothing(
    gateway: Gateway, archive: Path, database_url: str
) -> None:
    done = await run(gateway, archive, database_url, "--dry-run", "--max-usd", "3")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["archives"] == 1
    assert told["clips"] > 0
    assert told["usd"] > 0
    assert told["seconds"] > 0
    assert told["caps"] == ["$3.00 for this run"]
    assert gateway.requests == 0
    assert rows(database_url, "select 1 from video_queue") == []
    assert (await run(gateway, archive, database_url)).returncode == 0
    known = json.loads((await run(gateway, archive, database_url, "--dry-run", "--again")).stdout)
    assert (known["answered"], known["clips"]) == (CLIPS, 0)


@pytest.mark.parametrize(
    ("binds", "retry_in_s", "ends"),
    [
        ("spend_total", 5.0, True),
        ("spend_total", 0.5, False),  # what is on its way may turn out cheaper
        ("all_total", 5.0, True),
        ("all_total", 0.5, False),
        ("all_day", 5.0, False),
        ("spend_day", 5.0, False),
        ("spend_10min", 5.0, False),
        ("rpm", 0.1, False),
        ("paused", 1.0, False),
    ],
)
async def test_only_what_time_does_not_free_ends_a_run(binds: str, retry_in_s: float, ends: bool) -> None:
    async def ledger(_need: Need) -> Slots:
        return Slots(0, binds=binds, retry_in_s=retry_in_s)

    told: list[str] = []
    cap = RunCap(None)
    cap.on_reached = told.append
    need = Need("aistudio", 5, 700.0, 0.001, 0.0, 0.0, 0.0, 0.0, 0.01)
    for _ in range(2):
        await cap.guard("", ledger)(need)
    assert len(told) == ends
    await RunCap(None).guard("", ledger, ends=False)(need)
