"""A canary that asks for several clips at once, over HTTP: what is planted is found, and every cent is somebody's."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from command_kit import lipika
from fleet_kit import Stage
from lipika.canary.arms import ArmKind
from lipika.canary.job import CanaryOrder, FinishedCanary, run_canary
from lipika.canary.joint_measures import JointMeasures
from lipika.db import Database
from lipika.db.budgets import Budgets, Limits
from lipika.jobs.demo import sample_folder
from lipika.models import ServiceTier
from lipika.simulator import (
    FaultKind,
    FaultPlan,
    FaultRule,
    FlexQueue,
    Latency,
    Listening,
    SimulatorConfig,
    running,
)
from lipika.simulator.ledger import ServerCounts

LANGUAGES, SEGMENTS = ("hi", "ta", "bn"), 8
CLIPS = 2 * len(LANGUAGES) * SEGMENTS
ORDER = CanaryOrder(clips=CLIPS, kinds=(ArmKind.BASELINE,), tried=("CLIPS_PER_REQUEST=4",))
ARM = "CLIPS_PER_REQUEST=4"


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two archives of a language, clips of 2 to 9 s."""
    folder = tmp_path_factory.mktemp("joint")
    plan = CorpusPlan(2 * len(LANGUAGES), SEGMENTS, (2.4, 9.0), languages=LANGUAGES)
    make_corpus(folder, plan, sample_folder())
    return folder


@pytest.fixture
def stage(tmp_path: Path, database_url: str) -> Stage:
    return Stage(tmp_path, "http://127.0.0.1:9", database_url, {"worker_batch_size": 50_000})


async def asked(
    stage: Stage,
    database: Database,
    archives: Path,
    *rules: FaultRule,
    order: CanaryOrder = ORDER,
    **changes: Any,
) -> tuple[FinishedCanary, Listening]:
    config = SimulatorConfig(latency=Latency(0.02, 0.0), faults=FaultPlan(rules))
    async with running(config) as simulator:
        settings = stage.settings(
            gemini_base_url=simulator.url,
            openrouter_base_url=simulator.openrouter_url,
            openrouter_api_key="another",
            **changes,
        )
        done = await run_canary(settings, database, replace(order, sources=(str(archives),)))
        return done, simulator


def rows_of(done: FinishedCanary, arm: str = ARM) -> list[dict[str, Any]]:
    lines = read(done, "answers.jsonl").splitlines()
    return [row for line in lines if (row := json.loads(line))["arm"] == arm]


def read(done: FinishedCanary, name: str) -> str:
    (path,) = (Path(file) for file in done.files if file.endswith(name))
    return path.read_text("utf-8")


def joint_of(done: FinishedCanary) -> JointMeasures:
    (found,) = done.report.measures.joint
    return found


def bill(done: FinishedCanary, simulator: Listening) -> ServerCounts:
    """The service's ledger, which the rows of all arms have to add up to."""
    ledger = simulator.simulation.ledger
    rows = [*rows_of(done), *rows_of(done, "baseline")]
    assert sum(row["cost_usd"] for row in rows) == pytest.approx(ledger.cost_usd, abs=1e-9)
    assert done.report.usd == pytest.approx(ledger.cost_usd, abs=1e-9)
    for name, total in (("prompt", ledger.prompt_tokens), ("output", ledger.output_tokens)):
        assert sum(row["usage"][name] for row in rows) == total
    return ledger


@pytest.mark.parametrize("provider", ["aistudio", "openrouter"])
@pytest.mark.parametrize("answer", ["full", "lean"])
async def test_each_clip_says_what_it_says_alone_for_a_quarter_of_the_requests(
    stage: Stage, database: Database, archives: Path, provider: str, answer: str
) -> None:
    done, simulator = await asked(stage, database, archives, provider=provider, answer=answer)
    ledger = bill(done, simulator)
    alone = {(row["video_id"], row["segment_file"]): row for row in rows_of(done, "baseline")}
    together = rows_of(done)
    assert len(together) == len(alone) >= CLIPS
    for row in together:
        assert row["transcription"] == alone[row["video_id"], row["segment_file"]]["transcription"]
    base, arm = done.report.measures.arms
    assert ledger.requests == base.requests + arm.requests
    assert arm.requests <= 0.3 * base.requests
    assert arm.cost_each.high < base.cost_each.low
    found = joint_of(done)
    assert found.crossed.value == found.blocked_clips == found.asked_alone.value == 0
    assert found.clips == len(together)
    (against,) = done.report.measures.against
    assert against.identical.value == 1


async def test_a_service_that_exchanges_clips_is_found_out_and_what_is_lost_is_asked_alone(
    stage: Stage, database: Database, archives: Path
) -> None:
    rule = FaultRule(FaultKind.SWAP_CLIPS, least_clips=2, probability=0.5)
    done, simulator = await asked(stage, database, archives, rule)
    planted = simulator.simulation.faults.count_uses()["swap_clips"]
    ledger = bill(done, simulator)
    together = rows_of(done)
    lost = [row for row in together if row["first_failure"] == "clip_swapped"]
    assert 0 < len(lost) <= 2 * planted
    assert all(row["requests"] == 2 and row["joint_requests"] == 1 for row in lost)
    found = joint_of(done)
    assert found.asked_alone.value == len(lost) / len(together)
    assert found.faults["clip_swapped"] == len(lost)
    assert found.crossed.value * (len(together) - len(lost)) == pytest.approx(2 * planted - len(lost))
    arm = done.report.measures.arms[1]
    assert arm.ended_well.value == 1
    assert arm.failure_kinds == {"clip_swapped": len(lost)}
    assert ledger.requests == done.report.measures.arms[0].requests + arm.requests


async def test_words_exchanged_unnoticed_are_counted_by_the_baseline(
    stage: Stage, database: Database, archives: Path
) -> None:
    done, simulator = await asked(stage, database, archives, FaultRule(FaultKind.SWAP_TEXTS, least_clips=2))
    bill(done, simulator)
    together, found = rows_of(done), joint_of(done)
    assert found.crossed.value > 0.3  # of each four two, but for those whose text does not fit into the clip
    assert not found.faults
    assert found.asked_alone.value > 0
    assert found.crossed.value < 0.5
    assert not any(row["first_failure"] for row in together)


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        (FaultKind.DROP_CLIP, {"clip_missing": 1}),
        (FaultKind.DOUBLE_CLIP, {"clip_missing": 1, "clip_doubled": 1}),
        (FaultKind.STRANGE_CLIP, {"clip_missing": 1}),
        (FaultKind.MERGE_CLIPS, {"clip_missing": 1}),
        (FaultKind.MALFORMED, {"malformed": 4}),
        (FaultKind.SAFETY, {"blocked": 4}),
        (FaultKind.RECITATION, {"blocked": 4}),
        (FaultKind.MAX_TOKENS, {"truncated": 4}),
        (FaultKind.EMPTY, {"empty": 4}),
        (FaultKind.BLOCKED_PROMPT, {"blocked": 4}),
    ],
)
async def test_what_is_lost_is_counted_by_clip_and_asked_alone(
    stage: Stage, database: Database, archives: Path, kind: FaultKind, lost: dict[str, int]
) -> None:
    done, simulator = await asked(stage, database, archives, FaultRule(kind, least_clips=2))
    requests = simulator.simulation.faults.count_uses()[str(kind)]
    bill(done, simulator)
    together = rows_of(done)
    assert {row["status"] for row in together} <= {"transcribed", "no_speech"}
    firsts = Counter(row["first_failure"] for row in together if row["first_failure"])
    small = [row for row in together if 1 < row["together"] < 4]
    expected = Counter({code: count * requests for code, count in lost.items()})
    if sum(lost.values()) == 4:  # all clips of every request
        assert firsts == {code: sum(row["together"] > 1 for row in together) for code in lost}
    else:
        assert firsts == expected
    found = joint_of(done)
    assert found.requests == requests
    blocked = "blocked" in lost
    assert (found.blocked_requests, found.blocked_clips) == (
        (requests, sum(firsts.values())) if blocked else (0, 0)
    )
    assert len(small) < 4 * len(LANGUAGES)
    if kind is FaultKind.MERGE_CLIPS:  # too much text for its clip
        assert sum(row["requests"] == 2 for row in together) > 1.5 * requests


async def test_a_loop_in_one_clip_costs_that_clip_alone(
    stage: Stage, database: Database, archives: Path
) -> None:
    done, simulator = await asked(stage, database, archives, FaultRule(FaultKind.LOOP, least_clips=2))
    requests = simulator.simulation.faults.count_uses()["loop"]
    bill(done, simulator)
    together = rows_of(done)
    assert sum("loop" in row["first_findings"] for row in together) == requests
    assert not any("loop" in row["findings"] for row in together)
    assert sum(row["requests"] == 2 for row in together) == requests


# ----------------------------------------------------------------------------- within its dollars


async def test_its_cap_holds_with_several_clips_a_request(
    stage: Stage, database: Database, archives: Path
) -> None:
    order = replace(ORDER, max_usd=0.06)
    done, simulator = await asked(stage, database, archives, order=order)
    assert simulator.simulation.ledger.cost_usd <= 0.06
    assert "$0.06" in done.report.ended_early
    assert done.report.usd == pytest.approx(simulator.simulation.ledger.cost_usd)


async def test_the_fleets_budget_is_obeyed(stage: Stage, database: Database, archives: Path) -> None:
    await Budgets(database).set_limits("aistudio", Limits(spend_total_usd=0.03))
    order = replace(ORDER, max_minutes=0.1)
    done, simulator = await asked(stage, database, archives, order=order)
    assert simulator.simulation.ledger.cost_usd <= 0.03
    assert "total dollar cap" in done.report.ended_early


async def test_flex_is_asked_and_billed_for_several_clips(
    stage: Stage, database: Database, archives: Path
) -> None:
    order = replace(ORDER, tried=("CLIPS_PER_REQUEST=2 SERVICE_TIER=flex",))
    config = SimulatorConfig(latency=Latency(0.02, 0.0), flex=FlexQueue(0.02, 0.05, shed=0.0))
    async with running(config) as simulator:
        settings = stage.settings(gemini_base_url=simulator.url)
        done = await run_canary(settings, database, replace(order, sources=(str(archives),)))
        ledger = simulator.simulation.ledger
    assert done.report.usd == pytest.approx(ledger.cost_usd)
    assert ledger.answers_by_tier[ServiceTier.FLEX] >= CLIPS // 2


# ----------------------------------------------------------------------------- what it says


async def test_it_is_shown_with_its_test_and_saving_and_never_recommended(
    stage: Stage, database: Database, archives: Path
) -> None:
    order = replace(ORDER, kinds=(ArmKind.BASELINE, ArmKind.CLIPS), tried=(), queue_clips=100_000.0)
    done, _ = await asked(stage, database, archives, order=order)
    advice = done.report.advice
    assert (advice.recommendation.arm, advice.env) == (None, ())
    assert [one.arm for one in advice.experimental] == ["2 clips a request", "4 clips a request"]
    four = advice.experimental[1]
    assert four.saving is not None
    assert 0 < four.saving.usd.low < four.saving.usd.high
    assert "would save $" in four.words
    assert "experimental, never recommended" in four.words
    html = read(done, "report.html")
    assert "Several clips in one request" in html
    assert html.count("never recommended") == 2
    report = json.loads(read(done, "report.json"))
    assert [one["arm"] for one in report["measures"]["joint"]] == ["2 clips a request", "4 clips a request"]
    assert report["advice"]["experimental"][0]["saving"]["usd"]["value"] > 0


async def test_clips_whose_texts_were_exchanged_are_played(
    stage: Stage, database: Database, archives: Path
) -> None:
    done, _ = await asked(stage, database, archives, FaultRule(FaultKind.SWAP_TEXTS, least_clips=2))
    page = read(done, "listen.html")
    assert ARM in page
    assert "data:audio/flac;base64," in page


def test_on_the_command_line(tmp_path: Path, database_url: str, archives: Path) -> None:
    env = {"DATABASE_URL": database_url, "PROVIDER": "simulator", "COLUMNS": "200"}
    out = str(tmp_path / "out")
    done = lipika("canary", str(archives), "--arm", "clips", "--clips", "24", "--out", out, env=env)
    assert done.returncode == 0, done.stderr
    assert "“4 clips a request” (experimental, never recommended)" in done.stdout
    wrong = lipika("canary", str(archives), "--try", "CLIPS_PER_REQUEST=20", env=env)
    assert wrong.returncode == 2
    assert "1 to 8" in wrong.stderr
