"""Workers at Flex as processes: drained, killed, hurried, and cut off from Postgres while a fifth is shed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fleet_kit import Stage, a_line, a_stage, logged, results_of, rows, start_worker, until
from lipika.simulator import FlexQueue

FLEX = {"SERVICE_TIER": "flex"}
QUICK = {"least_s": 0.05, "most_s": 0.4, "shed": 0.0}
ENDLESS = {"least_s": 600.0, "most_s": 600.0, "shed": 0.0}
EACH = 6


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, database_url, flex=FlexQueue(**ENDLESS)) as stage:
        yield stage


async def wait_in_flight(stage: Stage, requests: int) -> None:
    async def there() -> bool:
        return int((await stage.asked())["in_flight"]) >= requests

    await until(there, 30)


def statuses(stage: Stage) -> set[tuple[str, int]]:
    return {
        (row.status, row.attempts)
        for row in rows(stage.database_url, "select status, attempts from video_queue")
    }


async def finish(stage: Stage, folder: Path, **environment: str) -> None:
    """A worker that does what is left, with a queue at Flex that moves."""
    await stage.control("flex", QUICK)
    worker = await start_worker(stage, folder / "last.log", "--until-empty", **(FLEX | environment))
    assert await asyncio.wait_for(worker.wait(), 40) == 0


@pytest.mark.parametrize(
    ("drain_s", "signals"), [("1", 1), ("600", 2)], ids=["the time that was told", "a second signal"]
)
async def test_a_drain_at_flex_ends_when_told_and_says_what_it_leaves(
    stage: Stage, tmp_path: Path, drain_s: str, signals: int
) -> None:
    """Exactly what it says is asked, and billed, again; its video has lost no attempt."""
    await stage.queue(1, EACH)
    worker = await start_worker(stage, tmp_path / "log", DRAIN_SECONDS=drain_s, **FLEX)
    await wait_in_flight(stage, EACH)
    for _ in range(signals):
        worker.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
    assert await asyncio.wait_for(worker.wait(), 20) == 0
    (left,) = logged(tmp_path / "log", "answers_left")
    assert (left["requests"], left["videos"]) == (EACH, 1)
    assert left["usd"] > 0
    assert statuses(stage) == {("pending", 0)}
    await finish(stage, tmp_path)
    assert await stage.repaid() == left["requests"]


async def test_a_drain_at_flex_waits_for_all_that_is_under_way(stage: Stage, tmp_path: Path) -> None:
    """For as long as it is told, by default the 21 minutes of Flex: answers that take seconds are all kept."""
    await stage.control("flex", {"least_s": 2.0, "most_s": 3.0, "shed": 0.0})
    await stage.queue(1, EACH)
    worker = await start_worker(stage, tmp_path / "log", **FLEX)
    await wait_in_flight(stage, EACH)
    worker.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(worker.wait(), 30) == 0
    assert logged(tmp_path / "log", "draining")[0]["in_flight"] == EACH
    assert logged(tmp_path / "log", "answers_left") == []
    assert statuses(stage) == {("done", 1)}
    assert await stage.repaid() == 0


async def test_kill_9_loses_what_was_in_flight_and_the_bill_says_so_by_tier(
    stage: Stage, tmp_path: Path
) -> None:
    """What had been answered is kept, whichever tier it was served at; each tier's bill is what is in the rows and
    what was lost."""
    await stage.control("flex", QUICK | {"served_standard": 0.4})
    await stage.queue(1, 2 * EACH)
    worker = await start_worker(stage, tmp_path / "log", **FLEX)
    await until(lambda: statuses(stage) == {("done", 1)}, 30)
    answered = await stage.asked()
    await stage.control("flex", ENDLESS)
    await stage.queue(2, EACH)
    await wait_in_flight(stage, EACH)
    worker.kill()
    await worker.wait()
    lost = await stage.asked()
    in_flight = lost["digests"]["distinct"] - answered["digests"]["distinct"]
    await finish(stage, tmp_path)
    bill = await stage.asked()
    assert bill["digests"]["repaid"] == in_flight == EACH
    stored = {
        row.tier: row.usd
        for row in rows(
            stage.database_url,
            "select coalesce(service_tier, 'standard') as tier, sum(cost_usd) as usd"
            " from transcription_results group by 1",
        )
    }

    def usd(books: dict[str, Any], tier: str) -> float:
        return float(books["tiers"].get(tier, {"usd": 0.0})["usd"])

    assert stored.keys() == {"flex", "standard"}
    for tier, kept in stored.items():
        assert usd(bill, tier) == pytest.approx(kept + usd(lost, tier) - usd(answered, tier), abs=1e-8)


async def test_what_flex_keeps_waiting_too_long_goes_on_at_the_standard_tier(
    stage: Stage, tmp_path: Path
) -> None:
    """The service gives such a request up unbilled, and each clip is paid for once."""
    await stage.queue(1, EACH)
    worker = await start_worker(stage, tmp_path / "log", "--until-empty", FLEX_PATIENCE="1", **FLEX)
    assert await asyncio.wait_for(worker.wait(), 40) == 0
    asked = await stage.asked()
    assert asked["tiers"].keys() == {"standard"}
    assert asked["tiers"]["standard"]["answers"] == asked["digests"]["distinct"] == EACH
    assert asked["requests"] == 2 * EACH
    assert {row.status for row in rows(stage.database_url, "select status from transcription_results")} <= {
        "transcribed",
        "no_speech",
    }


async def test_two_workers_meet_a_deadline_that_flex_would_miss(stage: Stage, tmp_path: Path) -> None:
    """Each decides for its own share: no clip is asked twice, none waits for Flex, which nobody has watched yet."""
    names = await stage.queue(4, EACH)
    workers = [
        await start_worker(
            stage,
            tmp_path / f"log{number}",
            "--until-empty",
            **FLEX,
            FINISH_BY="10m",
            MAX_VIDEOS="2",
        )
        for number in range(2)
    ]
    codes = await asyncio.wait_for(asyncio.gather(*(worker.wait() for worker in workers)), 40)
    assert codes == [0, 0]
    asked = await stage.asked()
    assert asked["tiers"].keys() == {"standard"}
    assert asked["tiers"]["standard"]["answers"] == asked["digests"]["distinct"] == len(names) * EACH
    assert asked["digests"]["repaid"] == 0


async def test_postgres_goes_away_while_a_fifth_is_shed(stage: Stage, tmp_path: Path) -> None:
    """Neither is an attempt, no clip fails, nothing is paid twice, and the books have the bill."""
    await stage.control("flex", {"least_s": 0.5, "most_s": 4.0, "shed": 0.3})
    names = await stage.queue(2, 2 * EACH)
    async with a_line(stage.database_url) as (line, url):
        worker = await start_worker(
            stage, tmp_path / "log", "--until-empty", DATABASE_URL=url, LEASE_SECONDS="60", **FLEX
        )

        async def some_shed() -> bool:
            asked = await stage.asked()
            return bool(asked["shed"]) and asked["in_flight"] >= EACH

        await until(some_shed, 30)
        line.cut()
        await asyncio.sleep(2.5)
        line.mend()
        assert await asyncio.wait_for(worker.wait(), 60) == 0
    asked = await stage.asked()
    results = [one for name in names for one in results_of(stage.out / f"{name}_transcribed.tar")]
    assert len(results) == asked["digests"]["distinct"] == 4 * EACH
    assert [one.failure for one in results] == [None] * len(results)
    assert asked["digests"]["repaid"] == 0
    (books,) = rows(stage.database_url, "select sum(cost_usd) as usd from transcription_results")
    assert books.usd == pytest.approx(asked["tiers"]["flex"]["usd"], abs=1e-8)
