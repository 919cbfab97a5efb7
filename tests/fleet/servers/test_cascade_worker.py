"""A cascade with real parts: a worker, Postgres and the simulator over HTTP; judged by what was asked and billed."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from fleet_kit import Stage, a_stage, change, results_of, rows, until
from lipika.db import Database
from lipika.db.budgets import Budgets
from lipika.jobs.wiring import Running
from lipika.models import ClipResult
from lipika.simulator.config import FlexQueue
from lipika.simulator.faults import FaultKind, FaultPlan, FaultRule

CHEAP, DEAR = "gemini-3.5-flash-lite", "gemini-3-flash-preview"
CASCADE = f"{CHEAP},{DEAR}"
HALF = "gemini-3.1-flash-lite"  # half the dear one's price in all, and no more


def spoils(*kinds: FaultKind, share: float = 0.2, model: str = CHEAP) -> FaultPlan:
    return FaultPlan(tuple(FaultRule(kind, models=(model,), probability=share) for kind in kinds))


DOUBTED = spoils(FaultKind.INVENTED_SPEECH, FaultKind.LOOP, FaultKind.MALFORMED)


@pytest.fixture
async def stage(tmp_path: Path, database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    faults = getattr(request, "param", DOUBTED)
    async with a_stage(
        tmp_path, database_url, faults=faults, models=(HALF,), request_log=tmp_path / "asked.jsonl"
    ) as found:
        found.defaults = {"cascade": CASCADE}
        yield found


async def asked(stage: Stage) -> list[dict[str, Any]]:
    """Every request as the service saw it."""
    await stage.asked()  # which brings its log up to date
    lines = (stage.folder / "asked.jsonl").read_bytes().splitlines()
    return [orjson.loads(line) for line in lines]


def results(stage: Stage) -> list[ClipResult]:
    return [result for tar in sorted(stage.out.glob("*.tar")) for result in results_of(tar)]


def stored_usd(url: str) -> tuple[float, float]:
    """Dollars of rows and of answers kept aside."""
    (row,) = rows(
        url,
        "select (select coalesce(sum(cost_usd), 0) from transcription_results) as rows,"
        " (select coalesce(sum(cost_usd), 0) from transcription_answers) as kept",
    )
    return row.rows, row.kept


async def bill(stage: Stage) -> float:
    return float((await stage.asked())["cost_usd"])


async def test_what_is_doubted_goes_up_and_every_dollar_has_its_place(stage: Stage) -> None:
    await stage.queue(2, 30)
    running = await stage.work()
    found = results(stage)
    gone_up = [result for result in found if result.provenance.cascade]
    models = Counter(result.provenance.model_id for result in found)
    assert len(found) == 60
    assert 0 < len(gone_up) < 60
    assert set(models) == {CHEAP, DEAR}
    assert all(result.provenance.model_id == CHEAP for result in found if result not in gone_up)
    assert {tuple(one.model_id for one in result.provenance.cascade) for result in gone_up} == {(CHEAP, DEAR)}
    in_rows, kept = stored_usd(stage.database_url)
    assert in_rows + kept == pytest.approx(await bill(stage), abs=1e-8)
    assert kept > 0
    stored = rows(stage.database_url, "select model_id, cascade from transcription_results")
    assert Counter(row.model_id for row in stored) == models
    assert sum(row.cascade is not None for row in stored) == len(gone_up)
    hours = rows(
        stage.database_url, "select model_id, sum(usd) usd, sum(went_up) up from model_hours group by 1"
    )
    assert sum(row.usd for row in hours) == pytest.approx(await bill(stage), abs=1e-8)
    assert {row.model_id: row.up for row in hours} == {CHEAP: len(gone_up), DEAR: 0}
    assert running.engine.totals.models[CHEAP].went_up == len(gone_up)
    (spent,) = rows(stage.database_url, "select sum(usd) as usd from provider_spend")
    assert spent.usd == pytest.approx(await bill(stage), abs=1e-8)


async def test_a_second_run_asks_for_nothing(stage: Stage) -> None:
    """Rows of both models are reused, doubted ones among them: everybody has been asked."""
    await stage.queue(1, 30)
    await stage.work()
    before, paid = results(stage), await bill(stage)
    await work_again(stage)
    assert await bill(stage) == paid
    after = results(stage)
    assert [result.answer for result in after] == [result.answer for result in before]
    assert [result.provenance for result in after] == [result.provenance for result in before]
    assert stored_usd(stage.database_url)[0] == pytest.approx(sum(result.cost_usd for result in before))


async def work_again(stage: Stage, **changes: Any) -> Running:
    """All videos are done anew, with what is stored."""
    change(stage.database_url, "update video_queue set status = 'pending', claim_token = null, attempts = 0")
    return await stage.work(**changes)


async def questions(stage: Stage) -> Counter[tuple[str, str]]:
    """Answers by audio and model."""
    return Counter((one["digest"], one["model"]) for one in await asked(stage) if one["status"] == 200)


@pytest.mark.parametrize("stage", [spoils(FaultKind.INVENTED_SPEECH, share=0.4)], indirect=True)
async def test_ways_that_come_back_are_paid_once(stage: Stage) -> None:
    """The cascade, the cheap model alone, the dear one alone, the cascade."""
    await stage.queue(1, 30)
    await stage.work()
    first, paid = results(stage), await bill(stage)
    await work_again(stage, cascade="", model_id=CHEAP)
    alone = results(stage)
    assert {result.provenance.model_id for result in alone} == {CHEAP}
    assert await bill(stage) == paid, "the cheap answers that were not chosen are there"
    await work_again(stage)
    back = results(stage)
    assert await bill(stage) == paid, "and so are the dear ones"
    assert [result.answer for result in back] == [result.answer for result in first]
    await work_again(stage, cascade="", model_id=DEAR, pay_again=True)
    gone_up = sum(bool(result.provenance.cascade) for result in first)
    counts = await questions(stage)
    assert set(counts.values()) == {1}
    assert Counter(model for _, model in counts) == {CHEAP: 30, DEAR: 30}
    assert 0 < gone_up < 30
    paid = await bill(stage)
    await work_again(stage)
    assert await bill(stage) == paid, "each of the clips has an answer of the last model"


async def test_a_doubted_answer_of_the_cheap_model_alone_goes_straight_up(stage: Stage) -> None:
    await stage.control("faults", {"faults": [{"kind": "invented_speech", "models": [CHEAP]}]})
    await stage.queue(1, 12)
    await stage.work(cascade="", model_id=CHEAP)
    before = await bill(stage)
    running = await work_again(stage)
    totals = running.engine.totals
    assert {model: sums.answers for model, sums in totals.models.items()} == {DEAR: 12}
    found = results(stage)
    assert {result.provenance.model_id for result in found} == {DEAR}
    assert {tuple(one.model_id for one in result.provenance.cascade) for result in found} == {(CHEAP, DEAR)}
    in_rows, kept = stored_usd(stage.database_url)
    assert kept == pytest.approx(before, abs=1e-8)
    assert in_rows + kept == pytest.approx(await bill(stage), abs=1e-8)


async def test_where_the_last_model_has_answered_nobody_else_is_asked(stage: Stage) -> None:
    await stage.queue(1, 12)
    await stage.work(cascade="", model_id=DEAR)
    paid = await bill(stage)
    await work_again(stage)
    assert await bill(stage) == paid
    assert {result.provenance.model_id for result in results(stage)} == {DEAR}


async def test_what_was_paid_for_survives_a_stop_at_any_moment(stage: Stage) -> None:
    """Workers that are stopped between the two models, and others after them: no answer is bought twice."""
    await stage.control("faults", {"faults": [{"kind": "invented_speech", "models": [CHEAP]}]})
    await stage.queue(1, 30)
    for answers in (4, 9):
        await stage.work_until(answers)
    await stage.work()
    counts = await questions(stage)
    assert set(counts.values()) == {1}
    assert len(counts) == 60
    in_rows, kept = stored_usd(stage.database_url)
    assert in_rows + kept == pytest.approx(await bill(stage), abs=1e-8)


async def test_two_videos_of_the_same_audio_go_up_once(stage: Stage) -> None:
    (video,) = await stage.queue(1, 20)
    change(
        stage.database_url,
        "insert into video_queue (video_id, source_key, output_key) select 'twin', source_key,"
        " replace(output_key, video_id, 'twin') from video_queue where video_id = %s",
        video,
    )
    await stage.work(max_videos=1)
    counts = await questions(stage)
    per_audio = Counter(digest for digest, _ in counts)
    assert set(counts.values()) == {1}
    assert len(per_audio) == 20
    told = [[result.answer for result in results_of(tar)] for tar in sorted(stage.out.glob("*.tar"))]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "stage", [spoils(FaultKind.INVENTED_SPEECH, FaultKind.LOOP, share=0.1, model=HALF)], indirect=True
)
async def test_it_costs_between_the_two_and_hears_as_well_as_the_dear_one(stage: Stage) -> None:
    usd, lanes = {}, {}
    await stage.queue(2, 60)
    for name, changes in {
        "cheap": {"cascade": "", "model_id": HALF},
        "dear": {"cascade": "", "model_id": DEAR},
        "cascade": {"cascade": f"{HALF},{DEAR}"},
    }.items():
        change(stage.database_url, "delete from transcription_results")
        change(stage.database_url, "delete from transcription_answers")
        shutil.rmtree(stage.out, ignore_errors=True)
        await stage.control("reset", {})
        await work_again(stage, **changes)
        usd[name] = await bill(stage)
        lanes[name] = sum(
            result.verdict is not None and result.verdict.asr.eligible for result in results(stage)
        )
    assert usd["cheap"] < usd["cascade"] < usd["dear"]
    off = 1.96 * (2 * 0.05 * 0.95 * 120) ** 0.5
    assert lanes["cascade"] >= lanes["dear"] - off
    assert lanes["cascade"] > lanes["cheap"]


@pytest.mark.parametrize(
    "changes",
    [
        {"answer": "lean"},
        {"service_tier": "flex"},
        {"temperature": 0.7, "thinking_level": "minimal"},
        {"worker_batch_size": 5},
        {"batch_launch": "burst"},
    ],
    ids=str,
)
async def test_it_goes_with_other_settings(
    tmp_path: Path, database_url: str, changes: dict[str, Any]
) -> None:
    flex = FlexQueue(scale=0.0005, shed=0.1)
    async with a_stage(tmp_path, database_url, faults=DOUBTED, flex=flex) as stage:
        stage.defaults = {"cascade": CASCADE, "retry_seconds": 0.05}
        await stage.queue(1, 15)
        await stage.work(**changes)
        found = results(stage)
        assert {str(result.status) for result in found} == {"transcribed"}
        assert {result.provenance.model_id for result in found} == {CHEAP, DEAR}
        assert sum(stored_usd(database_url)) == pytest.approx(await bill(stage), abs=1e-8)
        tiers = {str(result.provenance.service_tier) for result in found}
        assert tiers == {changes.get("service_tier", "standard")}


async def test_both_models_are_reserved_out_of_one_budget(stage: Stage) -> None:
    """A cap holds whatever model it is spent on, and each is reserved at its own price."""
    async with Database(stage.database_url) as database:
        await Budgets(database).change("aistudio", {"spend_total_usd": 0.02})
    await stage.queue(1, 40)
    async with stage.worker() as running:
        task = asyncio.create_task(running.worker.run())
        await until(lambda: running.engine.binds == "spend_total" and not running.engine.in_flight)
        await asyncio.sleep(0.5)
        running.worker.drain()
        await task
    assert 0.005 < await bill(stage) <= 0.022


@pytest.mark.parametrize(
    "stage", [spoils(FaultKind.INVENTED_SPEECH, FaultKind.MALFORMED, share=0.3)], indirect=True
)
async def test_kill_9_loses_what_was_in_flight_and_no_more(stage: Stage) -> None:
    """Real processes, killed while clips are at either model: dollars of rows and of answers kept are the bill, but
    for those of answers that no row could tell of yet."""
    await stage.control("latency", {"median_s": 0.3})
    await stage.queue(2, 40)
    env = os.environ | {
        "DATABASE_URL": stage.database_url, "GEMINI_BASE_URL": stage.url, "GEMINI_API_KEY": "a-key",
        "OUTPUT_URL": str(stage.out), "CASCADE": CASCADE, "LIVE_SECONDS": "0.2", "HEARTBEAT_SECONDS": "0.3",
        "LEASE_SECONDS": "1", "WORKER_PROCESSES": "0", "WORKER_BATCH_SIZE": "10", "BATCH_INTERVAL_SECONDS": "1",
    }  # fmt: skip
    kills, stored = 0, "select count(*) from transcription_results"
    for more in (8, 16):
        had = rows(stage.database_url, stored)[0].count
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "lipika", "worker", env=env, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await until(partial(_has_rows, stage.database_url, had + more), 60)
        process.kill()
        await process.wait()
        kills += 1
        await asyncio.sleep(1.2)  # its lease
    await stage.work()
    found = results(stage)
    counts = Counter(
        (one["digest"], one["model"]) for one in await asked(stage)
    )  # billed, if nobody heard it
    assert len(found) == 80
    assert all(result.answer is not None for result in found)
    in_rows, kept = stored_usd(stage.database_url)
    asked_again = sum(count - 1 for count in counts.values())
    missing = await bill(stage) - in_rows - kept
    assert asked_again <= kills * 20, "two windows: answers of a moment, and those on the wire"
    dearest = 2 * max(result.cost_usd for result in found)  # invented speech is longer than what is kept
    assert -1e-8 <= missing <= asked_again * dearest + 1e-8
    assert sum(one.usd for result in found for one in result.provenance.cascade) > 0


def _has_rows(url: str, number: int) -> bool:
    return bool(rows(url, "select count(*) from transcription_results")[0].count >= number)
