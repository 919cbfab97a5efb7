"""`lipika forecast` asked what if, and for the cheapest plan: what was metered, what is assumed, whom it trusts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from command_kit import lipika_beside
from lipika.db import Database
from lipika.db.budgets import Budgets
from lipika.db.payload import to_json

CLIPS = 100_000_000


def arm(name: str, usd: float, **differs: Any) -> dict[str, Any]:
    asked = {
        "name": name,
        "provider": "aistudio",
        "temperature": 0.0,
        "thinking_level": "low",
        "answer": "full",
        "model_id": "gemini-3-flash-preview",
        "tier": "standard",
    }
    return {
        "arm": asked | differs,
        "clips": 300,
        "requests": 306,
        "cost_each": {"value": usd, "low": usd, "high": usd},
        "tokens": {"text": 420.0, "audio": 256.0, "cached": 0.0, "answer": 80.0, "thoughts": 40.0},
        "latency": {"p50": 2000.0},
    }


ARMS = (
    arm("baseline", 0.0012),
    arm("2 clips a request", 0.0002, answer="lean", clips=2, kind="clips"),
    arm("read again", 0.0003, answer="lean", kind="reading"),
    arm("lean", 0.0009, answer="lean"),
    arm("lite", 0.0001, model_id="gemini-3.1-flash-lite"),
    arm("other", 0.0008, answer="lean", thinking_level="minimal"),
)
STANDINGS = (
    ("2 clips a request", "not worse"),
    ("read again", "not worse"),
    ("lean", "not worse"),
    ("lite", "worse"),
    ("other", "unsure"),
)


async def put_canary(database: Database) -> None:
    unit = {"clips": 20, "requests": 20.4, "prompt_tokens": 13520, "output_tokens": 2400, "usd": 0.024}
    report = {
        "simulated": False,
        "measures": {"arms": ARMS},
        "advice": {
            "recommendation": {"standings": [{"arm": name, "standing": found} for name, found in STANDINGS]}
        },
        "forecast_sample": {
            "source": "canary c1, 300 clips",
            "units": [unit] * 15,
            "counted": [{"language": "hi", "clips": 50, "source_bytes": 6_000_000}],
            "latency_s": 2.0,
        },
    }
    async with database.connection() as connection:
        await connection.execute(
            "insert into canary_runs (run_id, config, finished_at, report) values ('c1', '{}', now(), %s)",
            (to_json(report),),
        )


async def ask(database_url: str, *options: str) -> Any:
    env = {"DATABASE_URL": database_url, "COLUMNS": "200"}
    done = await lipika_beside(
        "forecast", "--clips", str(CLIPS), "--workers", "18", *options, "--json", env=env
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_a_way_that_a_canary_asked_goes_by_what_it_metered(
    database: Database, database_url: str
) -> None:
    await put_canary(database)
    told = await ask(database_url, "--answer", "lean")
    assert all(figure["metered"] for figure in told["figures"])
    assert told["then"]["forecast"]["usd"]["value"] == pytest.approx(90_000)
    assert told["today"]["forecast"]["usd"]["value"] == pytest.approx(120_000)
    assert told["saves_usd"] == pytest.approx(30_000)


async def test_what_nobody_metered_follows_by_the_price_and_says_so(
    database: Database, database_url: str
) -> None:
    await put_canary(database)
    told = await ask(database_url, "--tier", "flex")
    by_name = {figure["name"]: figure for figure in told["figures"]}
    assert told["then"]["forecast"]["usd"]["value"] == pytest.approx(60_000), "half of what was metered"
    assert not by_name["dollars"]["metered"]
    assert by_name["thought tokens"] | {"basis": ""} == {
        "name": "thought tokens",
        "value": 40.0,
        "metered": True,
        "basis": "",
    }
    thinks = await ask(database_url, "--thinking", "minimal", "--tier", "flex")
    figures = {figure["name"]: figure for figure in thinks["figures"]}
    assert figures["thought tokens"]["value"] == pytest.approx(8 * 1.02)
    assert not figures["thought tokens"]["metered"]
    assert figures["answer tokens"]["metered"]


async def test_before_anything_is_metered_all_is_assumed(database_url: str, database: Database) -> None:
    told = await ask(database_url, "--tier", "flex", "--answer", "lean", "--thinking", "minimal")
    assert not any(figure["metered"] for figure in told["figures"])
    assert told["then"]["forecast"]["usd"]["value"] == pytest.approx(35_708, rel=0.01), (
        "as docs/cost.md has it"
    )
    assert told["today"]["forecast"]["usd"]["value"] == pytest.approx(118_365, rel=0.01)


async def test_the_cheapest_plan_trusts_nobody_that_was_not_found_not_worse(
    database: Database, database_url: str
) -> None:
    await put_canary(database)
    await Budgets(database).change("aistudio", {"requests_per_minute": 19_000})
    plan = await ask(database_url, "--cheapest", "--hours", "96")
    assert plan["meets_deadline"]
    assert {part["way"]["answer"] for part in plan["parts"]} == {"lean"}, (
        "the cheaper ones are worse, or unsure"
    )
    assert {part["way"]["model_id"] for part in plan["parts"]} == {"gemini-3-flash-preview"}
    assert plan["usd"] == pytest.approx(45_000, rel=0.01)
    env = plan["env"]["aistudio"]
    assert {"SERVICE_TIER=flex", "ANSWER=lean", "THINKING_LEVEL=low"} <= set(env)
    assert any(line.startswith("FINISH_BY=20") for line in env)
    assert any("spend limit" in words for words in plan["assumes"])


async def test_no_plan_says_what_it_would_take(database: Database, database_url: str) -> None:
    await put_canary(database)
    await Budgets(database).change("aistudio", {"requests_per_minute": 10_000})
    await Budgets(database).change("all", {"spend_day_usd": 10_000.0})
    plan = await ask(database_url, "--cheapest", "--hours", "96")
    assert not plan["meets_deadline"]
    assert plan["times"] > 1.5
    assert plan["seconds_as_it_is"] > 96 * 3600
    await Budgets(database).change("all", {"spend_day_usd": None})
    (one,) = (await ask(database_url, "--cheapest", "--hours", "96"))["raises"]
    assert (one["limit"], one["now"]) == ("aistudio rpm", 10_000)
    assert 17_000 < one["to"] < 19_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--tier", "flex", "--model", "nobodys-model"), "no price at that tier"),
        (("--thinking", "none"), "always thinks"),
        (("--cheapest",), "--hours 96"),
        (("--cheapest", "--hours", "9", "--tier", "flex"), "--cheapest looks at every way"),
    ],
)
async def test_what_cannot_be_is_refused(
    options: tuple[str, ...], said: str, database: Database, database_url: str
) -> None:
    done = await lipika_beside("forecast", "--clips", "9", *options, env={"DATABASE_URL": database_url})
    assert done.returncode == 2
    assert said in done.stderr
