"""A worker at Flex: real processes of Postgres and the simulator over HTTP, minutes made thousandths."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fleet_kit import Stage, a_stage, change, results_of, rows
from lipika.config import load_settings
from lipika.db import Database
from lipika.db.stats_spend import SpendStats
from lipika.errors import SettingsError
from lipika.models import ServiceTier
from lipika.simulator import FlexQueue

QUEUE = FlexQueue(scale=0.0005, shed=0.2)  # 30 to 450 ms
FLEX: dict[str, Any] = {"service_tier": "flex", "retry_seconds": 0.1, "least_wait_seconds": 0.05}


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, database_url, flex=QUEUE) as stage:
        stage.defaults = dict(FLEX)
        yield stage


async def test_every_book_has_the_tier_that_was_served_and_its_dollars(stage: Stage) -> None:
    """A fifth is shed, a third served at the full price: no clip fails, and each ledger has the bill to the cent."""
    await stage.control("flex", {"scale": 0.0005, "shed": 0.2, "served_standard": 0.3})
    videos = await stage.queue(3, 20)
    worker = await stage.work()
    asked = await stage.asked()
    assert asked["shed"] > 0
    flex, standard = asked["tiers"]["flex"], asked["tiers"]["standard"]
    results = [one for video in videos for one in results_of(stage.out / f"{video}_transcribed.tar")]
    assert len(results) >= 50
    assert all(one.failure is None for one in results)

    kept = [one for one in results if one.provenance.service_tier is ServiceTier.FLEX]
    stored = rows(
        stage.database_url,
        "select coalesce(service_tier, 'standard') as tier, count(*) as clips from transcription_results group by 1",
    )
    assert {row.tier: row.clips for row in stored} == {
        "flex": len(kept),
        "standard": len(results) - len(kept),
    }
    assert 0 < len(kept) < len(results)

    (windows,) = rows(
        stage.database_url,
        "select sum(flex_answers) as answers, sum(flex_usd) as flex, sum(cost_usd) as usd from transcription_batches",
    )
    (hours,) = rows(
        stage.database_url,
        "select sum(flex_answers) as answers, sum(flex_usd) as flex, sum(cost_usd) as usd from batch_hours",
    )
    (spent,) = rows(stage.database_url, "select sum(usd) as usd from provider_spend")
    assert windows.answers == hours.answers == flex["answers"]
    for told in (windows.flex, hours.flex, worker.engine.totals.tiers["flex"].usd):
        assert told == pytest.approx(flex["usd"], abs=1e-8)
    for told in (windows.usd, hours.usd, spent.usd, worker.engine.totals.cost_usd):
        assert told == pytest.approx(flex["usd"] + standard["usd"], abs=1e-8)
    async with Database(stage.database_url) as database:
        (day,), summary = await SpendStats(database).days(), await SpendStats(database).summary()
    assert day.flex_answers == flex["answers"]
    assert day.flex_usd == pytest.approx(flex["usd"], abs=1e-8)
    assert summary.usd_flex == pytest.approx(flex["usd"], abs=1e-8)


async def test_a_window_that_is_written_anew_or_deleted_is_counted_once(stage: Stage) -> None:
    await stage.queue(1, 10)
    await stage.work()
    before = rows(
        stage.database_url, "select sum(flex_answers) as answers, sum(flex_usd) as usd from batch_hours"
    )
    change(
        stage.database_url, "update transcription_batches set flex_answers = flex_answers + 1, flex_usd = 1"
    )
    (windows,) = rows(
        stage.database_url, "select count(*) as n, sum(flex_answers) as answers from transcription_batches"
    )
    (hours,) = rows(
        stage.database_url, "select sum(flex_answers) as answers, sum(flex_usd) as usd from batch_hours"
    )
    assert hours.answers == windows.answers == before[0].answers + windows.n
    assert hours.usd == pytest.approx(windows.n)
    change(stage.database_url, "delete from transcription_batches")
    (hours,) = rows(
        stage.database_url, "select sum(flex_answers) as answers, sum(flex_usd) as usd from batch_hours"
    )
    assert (hours.answers, hours.usd) == (0, pytest.approx(0.0))


async def test_an_answer_of_flex_is_used_again_whatever_the_tier_is_now(stage: Stage) -> None:
    """What was paid for is no worse for having been cheap."""
    (video,) = await stage.queue(1, 10)
    await stage.work()
    (stage.out / f"{video}_transcribed.tar").unlink()
    change(stage.database_url, "update video_queue set status = 'pending', claim_token = null, attempts = 0")
    await stage.work(service_tier="standard")
    assert await stage.repaid() == 0
    again = results_of(stage.out / f"{video}_transcribed.tar")
    assert {one.provenance.service_tier for one in again} == {ServiceTier.FLEX}
    assert all(one.reused for one in again)


def test_flex_has_bounds_of_its_own_unless_they_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, flex = load_settings(), load_settings(service_tier="flex")
    assert (plain.max_in_flight, plain.max_videos, plain.drain_seconds) == (2000, 64, 60)
    assert (flex.max_in_flight, flex.max_videos, flex.drain_seconds) == (15_000, 1000, 1260)
    monkeypatch.setenv("MAX_IN_FLIGHT", "300")
    assert load_settings(service_tier="flex").max_in_flight == 300


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch_launch": "burst"}, r"BATCH_LAUNCH.*set it to paced"),
        (
            {"provider": "openrouter", "openrouter_base_url": "http://gateway:4000/v1"},
            r"SERVICE_TIER.*OPENROUTER_BASE_URL.*nobody knows the tiers",
        ),
        ({"service_tier": "FLEX"}, r"SERVICE_TIER.*'standard' or 'flex'"),
    ],
)
def test_what_does_not_go_with_flex_is_said(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load_settings(**{"service_tier": "flex", **changes})


async def test_a_model_without_a_price_at_flex_is_refused_before_anything_is_asked(stage: Stage) -> None:
    await stage.queue(1, 3)
    with pytest.raises(SettingsError, match=r"SERVICE_TIER.*MODEL_ID=gemini-9-new.*flex_factor"):
        await stage.work(model_id="gemini-9-new")
    assert (await stage.asked())["requests"] == 0
