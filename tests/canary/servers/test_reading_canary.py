"""A canary that reads disputed clips again, over HTTP: whom it asks, what that changes, and what it costs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from fleet_kit import Stage, change
from lipika.canary.arms import ArmKind
from lipika.canary.job import CanaryOrder, FinishedCanary, run_canary
from lipika.canary.readings import ReadingMeasures
from lipika.db import Database
from lipika.forecast.shares import sign_test
from lipika.jobs.demo import sample_folder
from lipika.simulator import (
    FaultKind,
    FaultPlan,
    FaultRule,
    Latency,
    Listening,
    SimulatorConfig,
    running,
)

CLIPS = 24
READING = (ArmKind.BASELINE, ArmKind.READING)
ARM = "second reading"


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reading")
    make_corpus(folder, CorpusPlan(4, 6, (2.4, 5.0), languages=("hi", "ta")), sample_folder())
    return folder


@pytest.fixture
def stage(tmp_path: Path, database_url: str) -> Stage:
    return Stage(tmp_path, "http://127.0.0.1:9", database_url, {"worker_batch_size": 50_000})


async def asked(
    stage: Stage, database: Database, archives: Path, order: CanaryOrder, *rules: FaultRule
) -> tuple[FinishedCanary, Listening]:
    config = SimulatorConfig(latency=Latency(0.02, 0.0), faults=FaultPlan(rules))
    async with running(config) as simulator:
        settings = stage.settings(
            gemini_base_url=simulator.url,
            openrouter_base_url=simulator.openrouter_url,
            openrouter_api_key="another",
        )
        done = await run_canary(settings, database, replace(order, sources=(str(archives),), clips=CLIPS))
    assert done.report.usd == pytest.approx(simulator.simulation.ledger.cost_usd, abs=1e-9)
    return done, simulator


def read(done: FinishedCanary, name: str) -> str:
    (path,) = (Path(file) for file in done.files if file.endswith(name))
    return path.read_text("utf-8")


def rows_of(done: FinishedCanary, arm: str = ARM) -> list[dict[str, Any]]:
    lines = read(done, "answers.jsonl").splitlines()
    return [row for line in lines if (row := json.loads(line))["arm"] == arm]


def measured(done: FinishedCanary) -> ReadingMeasures:
    (found,) = done.report.measures.readings
    return found


async def test_where_nobody_disputes_nothing_is_asked(
    stage: Stage, database: Database, archives: Path
) -> None:
    done, simulator = await asked(stage, database, archives, CanaryOrder(kinds=READING))
    assert measured(done).read == 0
    assert simulator.simulation.ledger.requests == done.report.measures.arms[0].requests
    assert [row["cost_usd"] for row in rows_of(done)] == [
        row["cost_usd"] for row in rows_of(done, "baseline")
    ]
    assert len(rows_of(done)) == CLIPS


async def test_a_doubted_answer_and_its_retry_are_a_dispute(
    stage: Stage, database: Database, archives: Path
) -> None:
    rule = FaultRule(FaultKind.LOOP, attempts=1, probability=0.5)
    done, simulator = await asked(stage, database, archives, CanaryOrder(kinds=READING), rule)
    planted = simulator.simulation.faults.count_uses()["loop"]
    found = measured(done)
    assert 0 < found.read == planted
    assert found.voices == {"its own retry": planted}
    assert found.sides == {"first": planted}
    extra = sum(row["cost_usd"] for row in rows_of(done)) - sum(
        row["cost_usd"] for row in rows_of(done, "baseline")
    )
    assert found.usd == pytest.approx(extra)
    assert done.report.usd == pytest.approx(sum(row["cost_usd"] for row in rows_of(done)))


async def test_another_voice_disputes_and_the_reading_is_taken_better_or_worse(
    stage: Stage, database: Database, archives: Path
) -> None:
    """The baseline's words are wrong whenever it is asked first; a second reading hears them right."""
    wrong = FaultRule(FaultKind.OTHER_WORDING, share=0.9, attempts=1)
    order = CanaryOrder(kinds=READING, tried=("MODEL_ID=gemini-3.5-flash-lite",))
    order_rules = (replace(wrong, models=("gemini-3-flash-preview",)),)
    done, _ = await asked(stage, database, archives, order, *order_rules)
    found = measured(done)
    assert found.read > 0.8 * CLIPS
    assert found.voices == {"MODEL_ID=gemini-3.5-flash-lite": found.read}
    assert "first" not in found.sides
    assert "never recommended" in read(done, "report.html")
    assert "read again with both texts" in read(done, "report.html")
    assert ARM in read(done, "listen.html")
    assert json.loads(read(done, "report.json"))["measures"]["readings"][0]["read"] == found.read
    assert done.report.advice.env == () or "SECOND_READING" not in str(done.report.advice.env)


async def test_what_people_have_read_is_the_measure_and_voters_on_record_are_voices(
    stage: Stage, database: Database, archives: Path
) -> None:
    first, _ = await asked(stage, database, archives, CanaryOrder(kinds=READING))
    rows = rows_of(first, "baseline")
    digests = await _digests(stage, database, archives)
    for row in rows:
        voters = [
            {"name": "vendor", "kind": "hypotheses", "text": "कुछ और ही लिखा है यहाँ", "digest": "d"},
            {"name": "mira", "kind": "person", "text": row["transcription"], "digest": "p"},
        ]
        change(
            stage.database_url,
            """insert into transcription_voters (video_id, segment_file, audio_digest, voters)
            values (%s, %s, %s, %s::jsonb)""",
            row["video_id"],
            row["segment_file"],
            digests[row["video_id"], row["segment_file"]],
            json.dumps(voters),
        )
    rule = FaultRule(FaultKind.OTHER_WORDING, share=0.3, attempts=1)
    done, _ = await asked(stage, database, archives, CanaryOrder(kinds=READING), rule)
    found = measured(done)
    spoken = sum(row["status"] == "transcribed" for row in rows)
    assert found.referenced == found.read >= spoken
    assert found.voices == {"vendor": found.read}
    assert found.cer_after.value == 0
    assert found.cer_before.value > 0.1
    assert (found.farther, found.nearer > 0.9 * spoken) == (0, True)
    assert found.p_nearer < 0.001
    assert "CER to the reading of a person" in read(done, "report.html")


async def _digests(stage: Stage, database: Database, archives: Path) -> dict[tuple[str, str], str]:
    from lipika.canary import job

    found = await job._find_archives(stage.settings(), database, CanaryOrder(sources=(str(archives),)))
    folder = stage.out.parent / "clips"
    folder.mkdir()
    sample = await job._choose(stage.settings(), found, CLIPS, 0, folder)
    return {(one.video_id, f"{one.clip.name.stem}.flac"): one.clip.audio_digest for one in sample.clips}


def test_the_sign_test_is_exact() -> None:
    assert sign_test(0, 0) == 1
    assert sign_test(5, 5) == 1
    assert sign_test(0, 5) == pytest.approx(2 / 32)
    assert sign_test(1, 9) == pytest.approx(2 * 11 / 1024)
