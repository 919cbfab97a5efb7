"""What is simulated is what the model says of itself, never where it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from command_kit import lipika_beside
from fleet_kit import change, rows
from gateway_kit import Describe, a_gateway, not_there
from lipika.config import load_settings
from lipika.db import Database
from lipika.db.stats import Stats
from lipika.jobs.demo import sample_folder
from lipika.jobs.wiring import ask_who_answers
from lipika.simulator import Latency, SimulatorConfig, running


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (path,) = make_corpus(tmp_path / "in", CorpusPlan(1, 4, (2.2, 2.8)), sample_folder())
    return path


def of_the_real_one(_request: web.Request) -> web.Response:
    return web.json_response({"name": "models/gemini-3-flash-preview", "version": "3-flash-preview"})


def a_page(_request: web.Request) -> web.Response:
    return web.Response(text="<html>hello</html>", content_type="text/html")


def in_short(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


@pytest.mark.parametrize("describe", [not_there, of_the_real_one, a_page, in_short])
async def test_real_answers_through_this_machine_are_real_and_paid_once(
    describe: Describe, archive: Path, tmp_path: Path, database_url: str
) -> None:
    async with a_gateway(describe) as gateway:
        env = gateway.settings(tmp_path, database_url)
        command = ("run", str(archive), "--out", str(tmp_path / "out"), "--json")
        first = await lipika_beside(*command, env=env)
        assert first.returncode == 0, first.stderr
        found = json.loads(first.stdout)
        assert (found["simulated"], found["requests"]) == (False, gateway.requests)
        asked = gateway.requests
        assert asked >= found["clips"]
        assert gateway.described >= 1
        second = json.loads((await lipika_beside(*command, env=env)).stdout)
        assert (second["already_done"], second["requests"], second["simulated"]) == (1, 0, False)
        again = json.loads((await lipika_beside(*command, "--again", env=env)).stdout)
        assert (again["reused"], again["requests"]) == (found["clips"], 0)
        assert gateway.requests == asked
        text = (await lipika_beside(*command[:-1], env=env)).stdout
        assert "nothing was charged" not in text
        assert "SIMULATED" not in text
    async with Database(database_url) as database:
        spent = await Stats(database).spend.summary()
    assert (spent.usd_simulated, spent.usd_charged > 0) == (0, True)


async def test_the_simulator_on_this_machine_is_known_by_its_word_and_runs_once(
    archive: Path, tmp_path: Path, database_url: str
) -> None:
    async with running(SimulatorConfig(latency=Latency(0.02))) as simulator:
        env = {
            "DATABASE_URL": database_url,
            "GEMINI_BASE_URL": simulator.url,
            "GEMINI_API_KEY": "a-key",
            "BATCH_INTERVAL_SECONDS": "2",
        }
        command = ("run", str(archive), "--out", str(tmp_path / "out"), "--json")
        first = json.loads((await lipika_beside(*command, env=env)).stdout)
        assert first["simulated"]
        second = json.loads((await lipika_beside(*command, env=env)).stdout)
        assert (second["already_done"], second["requests"], second["simulated"]) == (1, 0, True)
    # Where nobody answers any more, nothing is known, and unknown counts as alike.
    gone = json.loads((await lipika_beside(*command, env=env)).stdout)
    assert (gone["already_done"], gone["requests"]) == (1, 0)
    async with Database(database_url) as database:
        spent = await Stats(database).spend.summary()
    assert spent.usd_simulated == spent.usd_total == spent.usd_rehearsed > 0
    assert spent.usd_per_clip == pytest.approx(spent.usd_total / first["clips"])


@pytest.mark.parametrize("version", ["simulated", "gemini-3-flash-preview"])
async def test_both_providers_are_asked_for_their_word(version: str) -> None:
    async with running(SimulatorConfig(model_version=version)) as simulator:
        settings = load_settings(
            gemini_base_url=simulator.url,
            gemini_api_key="a-key",
            openrouter_base_url=simulator.openrouter_url,
            openrouter_api_key="a-key",
        )
        made_up = version == "simulated"
        assert await ask_who_answers(settings) == {"aistudio": made_up, "openrouter": made_up}


async def test_a_gateway_that_says_nothing_is_unknown(tmp_path: Path) -> None:
    async with a_gateway() as gateway:
        settings = load_settings(gemini_base_url=gateway.url, gemini_api_key="a-key", spool_dir=tmp_path)
        assert await ask_who_answers(settings) == {"aistudio": None}
    assert await ask_who_answers(settings) == {"aistudio": None}


# ----------------------------------------------------------------------------- the canary's dollars


SPENT = "insert into provider_spend (provider, worker_id, day, usd, asked_at) values (%s, %s, now(), %s, 0)"


async def test_the_canarys_dollars_buy_no_clip_of_the_queue(database_url: str) -> None:
    change(
        database_url,
        "insert into clip_counts (language, kind, key, shard, clips, duration_ms)"
        " values ('hi', 'status', 'transcribed', 0, 100, 1)",
    )
    change(database_url, SPENT, "aistudio", "host-ab12cd", 0.5)
    change(database_url, SPENT, "aistudio", "canary-20261128-101500-ab12-0", 10.0)
    change(database_url, SPENT, "aistudio", "canary-box-ab12cd", 0.5)  # a machine of that name
    change(database_url, SPENT, "simulator", "host-ab12ce", 40.0)
    async with Database(database_url) as database:
        spent = await Stats(database).spend.summary()
    assert (spent.usd_total, spent.usd_canary, spent.usd_simulated) == (51.0, 10.0, 40.0)
    assert spent.usd_per_clip == pytest.approx(0.01)
    assert (spent.usd_production, spent.usd_production_today, spent.usd_canary_today) == (41.0, 41.0, 10.0)
    assert spent.projected_usd(1000) == pytest.approx(41.0 + 10.0)
    assert len(rows(database_url, "select 1 from provider_spend")) == 4
