"""The canary finds what is planted, with the right figure, within its dollars, and leaves everything else alone."""

from __future__ import annotations

import json
import math
import shutil
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from command_kit import lipika
from fleet_kit import Stage, change, rows
from lipika.canary.arms import Arm, ArmKind, plan_arms
from lipika.canary.job import CanaryOrder, FinishedCanary, run_canary
from lipika.canary.judgement import Criterion, Mark, at_least, at_most
from lipika.canary.keeping import Cleaned, clean
from lipika.canary.measures import ArmMeasures
from lipika.canary.page import render
from lipika.db import Database, Queue
from lipika.db.budgets import Budgets, Limits
from lipika.db.canary import Canaries
from lipika.errors import StorageError, UsageError
from lipika.forecast.shares import Estimate, wilson
from lipika.jobs.demo import sample_folder
from lipika.jobs.outlook import ForecastQuestion, look_ahead
from lipika.languages import FIRST_CLASS
from lipika.llm.capabilities import load_capabilities
from lipika.llm.transcript import NO_SPEECH
from lipika.models import AnswerForm, NewVideo
from lipika.simulator import (
    Caching,
    FaultKind,
    FaultPlan,
    FaultRule,
    Latency,
    Listening,
    SimulatorConfig,
    Wire,
    running,
)
from lipika.validation.text import normalise, without_tags

VIDEOS, SEGMENTS, CLIPS = 24, 10, 120
INSTANT = Latency(0.02, 0.0)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    plan = CorpusPlan(VIDEOS, SEGMENTS, (2.4, 3.4))
    return make_corpus(tmp_path_factory.mktemp("canary"), plan, sample_folder())


@pytest.fixture
async def stage(tmp_path: Path, database: Database, database_url: str, archives: Sequence[Path]) -> Stage:
    """A queue of archives in all languages; the simulator is each test's own."""
    out = tmp_path / "out"
    await Queue(database).add(
        [
            NewVideo(
                path.stem,
                str(path),
                f"{out}/{path.stem}_transcribed.tar",
                language=path.stem[:2],
                source_bytes=path.stat().st_size,
            )
            for path in archives
        ]
    )
    return Stage(
        tmp_path,
        "http://127.0.0.1:9",
        database_url,
        {"worker_batch_size": 50_000, "openrouter_api_key": "another"},
    )


async def asked(
    stage: Stage,
    database: Database,
    simulator: Listening,
    order: CanaryOrder | None = None,
    **changes: Any,
) -> FinishedCanary:
    order = order or CanaryOrder()
    settings = stage.settings(
        gemini_base_url=simulator.url, openrouter_base_url=simulator.openrouter_url, **changes
    )
    return await run_canary(
        settings, database, replace(order, clips=CLIPS) if order.clips == CanaryOrder().clips else order
    )


def arm_of(done: FinishedCanary, kind: ArmKind) -> ArmMeasures:
    return next(one for one in done.report.measures.arms if one.arm.kind is kind)


def criterion(done: FinishedCanary, name: str) -> Criterion:
    return next(one for one in done.report.judgement.criteria if one.name == name)


def answers(done: FinishedCanary) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read(done, "answers.jsonl").splitlines()]


def read(done: FinishedCanary, name: str) -> str:
    (path,) = (Path(file) for file in done.files if file.endswith(name))
    return path.read_text("utf-8")


# ----------------------------------------------------------------------------- what is planted is found


async def test_a_planted_loop_cache_and_provider_difference_are_found(
    stage: Stage, database: Database
) -> None:
    """Loops at temperature 0 through one API, a cache that half hits, other words and slower through the other."""
    config = SimulatorConfig(
        latency=INSTANT,
        caching=Caching(min_tokens=300, hit_rate=0.5),
        faults=FaultPlan(
            (
                FaultRule(FaultKind.LOOP, probability=0.2, max_temperature=0.5, wire=Wire.GEMINI),
                FaultRule(FaultKind.MALFORMED, probability=0.05, max_temperature=0.5, wire=Wire.GEMINI),
                FaultRule(FaultKind.STRAGGLER, factor=10.0, wire=Wire.OPENROUTER),
                FaultRule(FaultKind.OTHER_WORDING, share=0.08, wire=Wire.OPENROUTER),
            )
        ),
    )
    kinds = (ArmKind.BASELINE, ArmKind.PROVIDER, ArmKind.TEMPERATURE)
    async with running(config) as simulator:
        done = await asked(stage, database, simulator, CanaryOrder(kinds=kinds))
        planted, ledger = simulator.simulation.faults.count_uses(), simulator.simulation.ledger
    baseline, other = arm_of(done, ArmKind.BASELINE), arm_of(done, ArmKind.PROVIDER)
    warmer = arm_of(done, ArmKind.TEMPERATURE)
    assert baseline.clips == other.clips == warmer.clips == CLIPS

    # loops: every one that was planted, no other, and only at temperature 0
    assert baseline.looped == wilson(planted["loop"], CLIPS)
    assert 0.1 < baseline.looped.value < 0.3
    assert (warmer.looped.value, other.looped.value) == (0, 0)
    assert criterion(done, "looping").mark is Mark.NO_GO
    temperature = criterion(done, "temperature")
    assert (temperature.mark, temperature.way_out) == (Mark.WARN, "set TEMPERATURE=default")
    against_warmer = next(one for one in done.report.measures.against if one.arm == warmer.arm.name)
    assert against_warmer.looped_more.value == pytest.approx(-baseline.looped.value)

    # failures by kind, and what repairing costs
    assert baseline.failure_kinds == {"malformed": planted["malformed"]}
    assert baseline.ended_well.value == 1
    repairs = planted["loop"] + planted["malformed"]
    assert (
        CLIPS + repairs <= baseline.requests <= CLIPS + repairs + 6
    )  # a few answers are doubted by themselves

    # the cache: as many hits as planted, every token of them, though none was to be expected
    assert baseline.cache_hits.low < 0.5 < baseline.cache_hits.high
    cached = sum(one["usage"]["cached"] for one in answers(done))
    assert cached == ledger.cached_tokens > 0
    assert done.report.cache_reason is not None
    assert "more than the documentation" in criterion(done, "cache").reason
    assert sum(one.usd for one in done.report.measures.arms) == pytest.approx(ledger.cost_usd)

    # the other provider: its wording and its latency
    against = next(one for one in done.report.measures.against if one.arm == other.arm.name)
    assert against.cer.low - 0.005 < expected_cer(done, 0.08) < against.cer.high + 0.005
    assert set(against.cer_by_language) == set(FIRST_CLASS)
    assert other.latency.p50 >= 200  # 20 ms, ten times

    assert done.report.judgement.mark is Mark.NO_GO


def expected_cer(done: FinishedCanary, share: float) -> float:
    """Of the planted share of letters, by the letters that the baseline's texts have. Loops were asked again: the
    answers are the same ones."""
    texts = [
        normalise(without_tags(one["transcription"]))
        for one in answers(done)
        if one["arm"] == "baseline" and one["transcription"] != NO_SPEECH
    ]
    letters = sum(unicodedata.category(letter)[0] == "L" for text in texts for letter in text)
    return share * letters / sum(map(len, texts))


async def test_without_plants_it_is_a_go_and_the_reason_for_no_cache_hits_is_told(
    stage: Stage, database: Database
) -> None:
    async with running(SimulatorConfig(latency=INSTANT)) as simulator:
        done = await asked(stage, database, simulator)
    assert done.report.judgement.mark in {Mark.GO, Mark.WARN}
    assert [
        one
        for one in done.report.judgement.criteria
        if one.mark is not Mark.GO and one.name != "this machine"
    ] == []
    assert {one.arm.name for one in done.report.measures.arms} == {
        "baseline",
        "openrouter",
        "own temperature",
        "thinking minimal",
        "thinking medium",
        "lean answers",
    }
    by_name = {one.arm.name: one for one in done.report.measures.arms}
    assert by_name["thinking minimal"].tokens.thoughts < 20 < by_name["baseline"].tokens.thoughts
    assert by_name["thinking medium"].cost_each.low > by_name["baseline"].cost_each.high
    lean, full = by_name["lean answers"], by_name["baseline"]
    assert lean.tokens.answer < 0.6 * full.tokens.answer
    assert lean.cost_each.high < full.cost_each.low
    same = next(one for one in done.report.measures.against if one.arm == "lean answers")
    assert (same.cer.value, same.identical.value) == (0, 1)
    assert "too short for the cache" in criterion(done, "cache").reason
    against = next(one for one in done.report.measures.against if one.arm == "openrouter")
    assert (against.cer.value, against.identical.value) == (0, 1)
    assert Counter(one["language"] for one in answers(done) if one["arm"] == "baseline") == dict.fromkeys(
        FIRST_CLASS, CLIPS // len(FIRST_CLASS)
    )


# ----------------------------------------------------------------------------- isolated, within its dollars


async def test_it_leaves_the_queue_and_its_results_alone_and_cleans_up(
    stage: Stage, database: Database
) -> None:
    async with running(SimulatorConfig(latency=INSTANT)) as simulator:
        done = await asked(stage, database, simulator, CanaryOrder(clips=24, kinds=(ArmKind.BASELINE,)))
        ledger = simulator.simulation.ledger
    for table in (
        "transcription_results",
        "transcription_flags",
        "transcription_batches",
        "workers",
        "quality_rollup",
    ):
        (found,) = rows(stage.database_url, f"select count(*) as n from {table}")  # noqa: S608
        assert found.n == 0, table
    assert {one.status for one in rows(stage.database_url, "select status from video_queue")} == {"pending"}
    (spent,) = rows(
        stage.database_url, "select sum(usd) as usd from provider_spend where worker_id like 'canary-%%'"
    )
    assert spent.usd == pytest.approx(ledger.cost_usd)
    assert all(Path(name).is_relative_to(stage.out / "canary") for name in done.files)
    (row,) = await Canaries(database).list_runs()
    assert (row.run_id, row.verdict, row.rows) == (done.report.run_id, str(done.report.judgement.mark), 24)
    with pytest.raises(UsageError, match="no canary nosuch"):
        await clean(stage.settings(), database, ["nosuch"])
    assert await clean(stage.settings(), database, [row.run_id]) == Cleaned(1, 3, (), ())
    assert rows(stage.database_url, "select 1 from canary_clips") == []
    assert not any((stage.out / "canary").iterdir())


async def test_cleaning_finds_files_from_elsewhere_and_one_bad_canary_stops_no_other(
    stage: Stage, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Canaries(database)
    await records.start("20000101-000000-dead", {}, "gs://bucket/canary/20000101-000000-dead")
    await records.start("20000101-000000-gone", {}, "/nowhere/canary/20000101-000000-gone")
    monkeypatch.chdir(tmp_path)
    async with running(SimulatorConfig(latency=INSTANT)) as simulator:
        order = CanaryOrder(clips=12, kinds=(ArmKind.BASELINE,), out="reports")
        await asked(stage, database, simulator, order)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    cleaned = await clean(stage.settings(), database, ["all"])
    assert (cleaned.runs, cleaned.files) == (2, 3)
    assert not any((tmp_path / "reports" / "canary").iterdir())
    assert not any((tmp_path / "elsewhere").iterdir())
    assert "gs://" in cleaned.left[0]
    assert "/nowhere" in cleaned.away[0]
    assert [row.run_id for row in await records.list_runs()] == ["20000101-000000-dead"]


async def test_its_own_cap_holds_and_the_languages_stay_mixed(stage: Stage, database: Database) -> None:
    async with running(SimulatorConfig(latency=INSTANT)) as simulator:
        done = await asked(
            stage,
            database,
            simulator,
            CanaryOrder(max_usd=0.03, kinds=(ArmKind.BASELINE, ArmKind.TEMPERATURE)),
        )
        assert simulator.simulation.ledger.cost_usd <= 0.03
    assert "$0.03" in done.report.ended_early
    baseline = arm_of(done, ArmKind.BASELINE)
    assert 5 <= baseline.clips < CLIPS
    assert criterion(done, "sample").mark is Mark.WARN
    counted = Counter(one["language"] for one in answers(done) if one["arm"] == "baseline")
    assert max(counted.values()) - min(counted[code] for code in FIRST_CLASS) <= 2


async def test_what_it_cost_holds_answers_of_clips_that_did_not_end(stage: Stage, database: Database) -> None:
    """Every first answer loops, and the cap comes before the second one of most."""
    config = SimulatorConfig(latency=INSTANT, faults=FaultPlan((FaultRule(FaultKind.LOOP, probability=1.0),)))
    async with running(config) as simulator:
        done = await asked(stage, database, simulator, CanaryOrder(max_usd=0.05, kinds=(ArmKind.BASELINE,)))
        cost = simulator.simulation.ledger.cost_usd
    assert sum(one["cost_usd"] for one in answers(done)) < cost
    assert done.report.usd == pytest.approx(cost)


async def test_the_fleets_budget_is_obeyed_and_named_when_time_is_up(
    stage: Stage, database: Database
) -> None:
    await Budgets(database).set_limits("aistudio", Limits(spend_total_usd=0.01))
    order = CanaryOrder(max_minutes=0.1, kinds=(ArmKind.BASELINE,))
    async with running(SimulatorConfig(latency=INSTANT)) as simulator:
        done = await asked(stage, database, simulator, order)
        assert simulator.simulation.ledger.cost_usd <= 0.01
    assert "total dollar cap" in done.report.ended_early
    assert criterion(done, "dollar cap").mark is Mark.NO_GO


async def test_a_key_that_is_refused_stops_its_arm_only(stage: Stage, database: Database) -> None:
    config = SimulatorConfig(latency=INSTANT, keys=("a-key",))
    async with running(config) as simulator:
        done = await asked(
            stage, database, simulator, CanaryOrder(clips=12, kinds=(ArmKind.BASELINE, ArmKind.PROVIDER))
        )
    assert arm_of(done, ArmKind.BASELINE).clips == 12
    assert "openrouter" in criterion(done, "sample").reason
    assert criterion(done, "sample").mark is Mark.WARN


async def test_the_same_seed_asks_the_same_clips_and_another_one_others(
    stage: Stage, database: Database
) -> None:
    async with running(SimulatorConfig(latency=INSTANT)) as simulator:
        chosen = [
            {one["segment_file"] + one["video_id"] for one in answers(done)}
            for seed in (1, 1, 2)
            for done in [
                await asked(
                    stage, database, simulator, CanaryOrder(clips=36, seed=seed, kinds=(ArmKind.BASELINE,))
                )
            ]
        ]
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


async def test_damaged_archives_are_passed_over(stage: Stage, database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    for code in ("hi", "ta"):
        shutil.copy(sample_folder() / f"{code}_sample.tar", folder)
    (folder / "broken.tar").write_bytes(b"this is no tar" * 100)
    async with running(SimulatorConfig(latency=INSTANT)) as simulator:
        done = await asked(
            stage,
            database,
            simulator,
            CanaryOrder(sources=(str(folder),), clips=6, kinds=(ArmKind.BASELINE,)),
        )
    assert {one["language"] for one in answers(done)} == {"hi", "ta"}
    assert "10" not in criterion(done, "languages").figure
    assert criterion(done, "languages").mark is Mark.WARN


async def test_an_empty_queue_says_what_to_do(stage: Stage, database: Database) -> None:
    change(stage.database_url, "delete from video_queue")
    with pytest.raises(UsageError, match="lipika queue add"):
        await run_canary(stage.settings(), database, CanaryOrder())


# ----------------------------------------------------------------------------- what is paid for is kept

SLOWER = Latency(0.6, 0.0)
"""So that the display is told of something before all is over."""


async def test_nothing_is_asked_where_no_report_can_be_written(stage: Stage, database: Database) -> None:
    stage.out.mkdir()
    (stage.out / "canary").write_text("a file where the folder should be")
    async with running(SimulatorConfig(latency=INSTANT)) as simulator:
        with pytest.raises(StorageError, match="canary"):
            await asked(stage, database, simulator, CanaryOrder(clips=12, kinds=(ArmKind.BASELINE,)))
        assert simulator.simulation.ledger.requests == 0
    assert await Canaries(database).list_runs() == []


async def test_a_store_that_breaks_while_it_asks_loses_nothing(
    stage: Stage, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def breaks(_standing: object) -> None:
        shutil.rmtree(stage.out, ignore_errors=True)
        if not stage.out.exists():
            stage.out.write_text("no folder any more")

    async with running(SimulatorConfig(latency=SLOWER)) as simulator:
        settings = stage.settings(gemini_base_url=simulator.url)
        done = await run_canary(settings, database, CanaryOrder(clips=12, kinds=(ArmKind.BASELINE,)), breaks)
    (trouble,) = done.troubles
    folder = tmp_path / "here" / "canary" / done.report.run_id
    assert str(folder) in trouble
    assert {Path(name).parent for name in done.files} == {folder}
    assert len(answers(done)) == 12
    (row,) = await Canaries(database).list_runs()
    assert (row.rows, row.output_url) == (12, str(folder))


async def test_a_database_that_breaks_while_it_asks_leaves_the_files(
    stage: Stage, database: Database
) -> None:
    def breaks(_standing: object) -> None:
        change(stage.database_url, "delete from canary_runs")

    async with running(SimulatorConfig(latency=SLOWER)) as simulator:
        settings = stage.settings(gemini_base_url=simulator.url)
        done = await run_canary(settings, database, CanaryOrder(clips=12, kinds=(ArmKind.BASELINE,)), breaks)
    assert "not in the database" in done.troubles[0]
    assert len(answers(done)) == 12
    assert all(Path(name).is_relative_to(stage.out / "canary") for name in done.files)


# ----------------------------------------------------------------------------- forecast


async def test_its_forecast_is_what_lipika_forecast_says_and_counts_the_queue(
    stage: Stage, database: Database
) -> None:
    await Budgets(database).set_limits("aistudio", Limits(requests_per_minute=600))
    async with running(SimulatorConfig(latency=INSTANT)) as simulator:
        done = await asked(stage, database, simulator, CanaryOrder(kinds=(ArmKind.BASELINE,)))
    ahead = done.report.outlook
    assert ahead is not None
    told = ahead.forecast
    assert told.binds == "rpm"
    assert told.clips.value == pytest.approx(VIDEOS * SEGMENTS, rel=0.1)
    assert told.clips.low <= VIDEOS * SEGMENTS <= told.clips.high * 1.05
    again = await look_ahead(database, stage.settings(), ForecastQuestion("aistudio"), 3600)
    assert again.forecast.usd.value == pytest.approx(told.usd.value, rel=0.01)
    assert done.report.run_id in again.source


async def test_a_running_fleet_is_forecast_by_its_own_batches(stage: Stage, database: Database) -> None:
    settings = stage.settings()
    with pytest.raises(UsageError, match="nothing has been measured"):
        await look_ahead(database, settings, ForecastQuestion("aistudio"), 3600)
    async with running(SimulatorConfig(latency=INSTANT)) as simulator:
        changes: dict[str, Any] = {"gemini_base_url": simulator.url}
        await stage.work_until(100, **changes)
        spent = simulator.simulation.ledger.cost_usd
        before = await look_ahead(database, settings, ForecastQuestion("aistudio", hours=2), 3600)
        requests = simulator.simulation.ledger.requests
        await stage.work(**changes)
        cost = simulator.simulation.ledger.cost_usd - spent
        more = simulator.simulation.ledger.requests - requests
    assert "batch windows" in before.source
    assert before.needed is not None
    assert before.forecast.usd.value == pytest.approx(cost, rel=0.25)
    assert before.forecast.clips.value * before.forecast.per_clip.requests == pytest.approx(more, rel=0.25)
    with pytest.raises(UsageError, match="nothing left"):
        await look_ahead(database, settings, ForecastQuestion("aistudio"), 3600)


async def test_a_rehearsal_is_forecast_only_where_nothing_else_is_known_and_says_so(
    stage: Stage, database: Database
) -> None:
    settings = stage.settings()
    async with running(SimulatorConfig(latency=INSTANT)) as simulator:
        first, second = [
            (await asked(stage, database, simulator, CanaryOrder(clips=24, kinds=(ArmKind.BASELINE,)))).report
            for _ in range(2)
        ]
        await stage.work_until(10, gemini_base_url=simulator.url)
    change(stage.database_url, "update transcription_batches set provider_used = 'simulator'")

    told = await look_ahead(database, settings, ForecastQuestion("aistudio"), 3600)
    assert (told.simulated, told.source.startswith("SIMULATED")) == (True, True)
    assert second.run_id in told.source
    change(
        stage.database_url,
        """update canary_runs set report = jsonb_set(report, '{simulated}', 'false') where run_id = %s""",
        first.run_id,
    )
    told = await look_ahead(database, settings, ForecastQuestion("aistudio"), 3600)
    assert (told.simulated, "SIMULATED" in told.source, first.run_id in told.source) == (False, False, True)

    change(stage.database_url, "delete from canary_runs")
    told = await look_ahead(database, settings, ForecastQuestion("aistudio"), 3600)
    assert (told.simulated, "batch windows" in told.source) == (True, True)
    change(stage.database_url, "update transcription_batches set provider_used = 'openrouter'")
    with pytest.raises(UsageError, match="nothing has been measured"):
        await look_ahead(database, settings, ForecastQuestion("aistudio"), 3600)


# ----------------------------------------------------------------------------- the pure parts


def test_arms_are_those_that_the_model_takes() -> None:
    model = load_capabilities("gemini-3.8-flash")
    arms, skipped = plan_arms(
        provider="aistudio", other_provider=None, temperature=0.0, thinking_level="low", model=model
    )
    assert [arm.name for arm in arms] == ["baseline", "thinking medium", "lean answers"]
    assert [one.kind for one in skipped] == [ArmKind.PROVIDER, ArmKind.TEMPERATURE, ArmKind.THINKING]
    model = load_capabilities("gemini-3-flash-preview")
    arms, _ = plan_arms(
        provider="openrouter", other_provider="aistudio", temperature=None, thinking_level="low", model=model
    )
    assert arms[1:3] == [
        Arm("aistudio", ArmKind.PROVIDER, "aistudio", None, "low"),
        Arm("temperature 0", ArmKind.TEMPERATURE, "openrouter", 0.0, "low"),
    ]
    lean, _ = plan_arms(
        provider="aistudio",
        other_provider=None,
        temperature=None,
        thinking_level="low",
        model=model,
        answer=AnswerForm.LEAN,
        kinds=[ArmKind.ANSWER],
    )
    assert [(arm.name, arm.answer) for arm in lean] == [
        ("baseline", AnswerForm.LEAN),
        ("full answers", AnswerForm.FULL),
    ]


@pytest.mark.parametrize(
    ("estimate", "floor", "ceiling"),
    [
        (Estimate(0.5, 0.4, 0.6), Mark.GO, Mark.WARN),
        (Estimate(0.44, 0.4, 0.6), Mark.WARN, Mark.GO),
        (Estimate(0.2, 0.1, 0.3), Mark.NO_GO, Mark.GO),
        (Estimate(0.8, 0.7, 0.9), Mark.GO, Mark.NO_GO),
        (Estimate(math.nan, math.nan, math.nan), Mark.WARN, Mark.WARN),
    ],
)
def test_only_a_sure_figure_says_no_go(estimate: Estimate, floor: Mark, ceiling: Mark) -> None:
    assert (at_least(estimate, 0.45), at_most(estimate, 0.45)) == (floor, ceiling)


# ----------------------------------------------------------------------------- the page


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.addresses += [
            value or "" for name, value in attrs if name in {"src", "href", "srcset", "action"}
        ]


async def test_the_page_needs_nothing_else_and_escapes_what_models_say(
    stage: Stage, database: Database
) -> None:
    config = SimulatorConfig(
        latency=INSTANT, faults=FaultPlan((FaultRule(FaultKind.MARKUP, wire=Wire.OPENROUTER),))
    )
    async with running(config) as simulator:
        done = await asked(
            stage, database, simulator, CanaryOrder(clips=24, kinds=(ArmKind.BASELINE, ArmKind.PROVIDER))
        )
    html, report = read(done, "report.html"), json.loads(read(done, "report.json"))
    page = _Page()
    page.feed(html)
    assert page.addresses == []
    assert page.tags["script"] == page.tags["link"] == page.tags["img"] == 0
    assert page.tags["svg"] >= 6
    assert "&lt;ctrl46&gt;" in html
    assert "<ctrl46>" not in html
    assert "prefers-color-scheme: dark" in html
    assert report["run_id"] == done.report.run_id
    texts = report["measures"]["texts"]
    assert texts
    for clip in texts:
        assert [one["arm"] for one in clip["others"]] == [report["measures"]["against"][0]["arm"]]
        assert clip["segment_file"] in html
    assert page.tags["ins"] > 0
    assert page.tags["del"] > 0


async def test_a_canary_without_a_single_answer_has_a_page_too(stage: Stage, database: Database) -> None:
    async with running(SimulatorConfig(latency=INSTANT, keys=("nobody",))) as simulator:
        done = await asked(stage, database, simulator, CanaryOrder(clips=12))
    assert done.report.judgement.mark is Mark.NO_GO
    assert done.report.no_outlook_because == "no clip was answered"
    assert "No-go" in render(done.report)


# ----------------------------------------------------------------------------- the command line


@pytest.fixture
def env(tmp_path: Path, database_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "OUTPUT_URL": str(tmp_path),
        "PROVIDER": "simulator",
        "WORKER_BATCH_SIZE": "50000",
        "COLUMNS": "200",
    }


def test_on_the_command_line(env: dict[str, str]) -> None:
    done = lipika(
        "canary",
        str(sample_folder()),
        "--clips",
        "20",
        "--queue-clips",
        "100000000",
        "--hours-at-most",
        "1",
        "--json",
        env=env,
    )
    assert done.returncode == 1, done.stderr  # one worker takes 33 hours
    found = json.loads(done.stdout)
    assert {one["name"] for one in found["report"]["judgement"]["criteria"] if one["mark"] == "no-go"} == {
        "time for the queue"
    }
    told = lipika("forecast", "--clips", "1000000", "--workers", "18", "--hours", "24", env=env)
    assert told.returncode == 0, told.stderr
    assert "18 workers" in told.stdout
    assert "To finish in 24 h" in told.stdout
    removed = lipika("canary", "--clean", "all", env=env)
    assert "removed 1 canary with 3 files" in removed.stdout
    assert "no canary yet" in lipika("canary", "--list", env=env).stdout
