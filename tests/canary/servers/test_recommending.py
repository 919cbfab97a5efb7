"""A canary over HTTP recommends the cheaper arm that is as good, refuses the one that is not, and lets one listen."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from command_kit import lipika
from fleet_kit import Stage
from lipika.audio.codec import decode
from lipika.canary.arms import ArmKind
from lipika.canary.job import CanaryOrder, run_canary
from lipika.canary.planning import CanaryPlan
from lipika.canary.recommendation import ArmMark, Margins
from lipika.db import Database, Queue
from lipika.errors import LipikaError
from lipika.jobs.demo import sample_folder
from lipika.models import NewVideo
from lipika.simulator import FaultKind, FaultPlan, FaultRule, FlexQueue, Latency, SimulatorConfig, running

VIDEOS, SEGMENTS = 24, 10


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    plan = CorpusPlan(VIDEOS, SEGMENTS, (2.4, 3.4))
    return make_corpus(tmp_path_factory.mktemp("recommending"), plan, sample_folder())


async def test_the_cheapest_arm_that_is_as_good_is_recommended_and_a_worse_one_is_not(
    tmp_path: Path, database: Database, database_url: str, archives: Sequence[Path]
) -> None:
    """With minimal thinking half of the letters are others; a lean answer says the same."""
    stage = Stage(tmp_path, "http://127.0.0.1:9", database_url, {"worker_batch_size": 50_000})
    await Queue(database).add(
        [
            NewVideo(path.stem, str(path), f"{stage.out}/{path.stem}.tar", language=path.stem[:2])
            for path in archives
        ]
    )
    rules = (FaultRule(FaultKind.OTHER_WORDING, share=0.5, thinking=("MINIMAL",)),)
    plans: list[CanaryPlan] = []
    async with running(SimulatorConfig(latency=Latency(0.02, 0.0), faults=FaultPlan(rules))) as simulator:
        order = CanaryOrder(
            clips=VIDEOS * SEGMENTS,
            kinds=(ArmKind.BASELINE, ArmKind.THINKING, ArmKind.ANSWER),
            levels=("minimal",),
            margins=Margins(share=0.4, text=0.3),
        )
        settings = stage.settings(gemini_base_url=simulator.url)
        done = await run_canary(settings, database, order, on_plan=plans.append)
        requests = simulator.simulation.ledger.requests
    (plan,) = plans
    assert plan.clips == order.clips
    assert requests >= 3 * plan.clips
    advice = done.report.advice
    told = advice.recommendation
    assert (
        told.standing_of("thinking minimal").cost_ratio.high
        < told.standing_of("lean answers").cost_ratio.low
        < 1
    )
    assert told.standing_of("thinking minimal").standing is not ArmMark.NOT_WORSE
    assert (told.arm, advice.env) == ("lean answers", ("ANSWER=lean",))
    assert advice.saving is not None
    assert done.report.outlook is not None
    assert 0 < advice.saving.usd.low < advice.saving.usd.high < done.report.outlook.forecast.usd.value

    files = {Path(name).name: Path(name) for name in done.files}
    page = files["report.html"].read_text("utf-8")
    assert advice.words.split(":")[0] in page
    assert "ANSWER=lean" in page
    kept = json.loads(files["report.json"].read_bytes())["advice"]
    assert kept["recommendation"]["arm"] == "lean answers"
    listen = files["listen.html"]
    sounds = re.findall(r'src="data:audio/flac;base64,([^"]+)"', listen.read_text("utf-8"))
    assert 1 <= len(sounds) <= 24
    assert listen.stat().st_size < 7 << 20
    assert all(len(decode(base64.b64decode(sound)).samples) > 16_000 for sound in sounds)


async def test_settings_that_a_person_names_are_an_arm_in_whatever_they_differ(
    tmp_path: Path, database: Database, database_url: str, archives: Sequence[Path]
) -> None:
    """Another model, and flex with lean answers: asked so, paid so, recommended with the lines that set it."""
    stage = Stage(tmp_path, "http://127.0.0.1:9", database_url, {"worker_batch_size": 50_000})
    other, flex = "MODEL_ID=gemini-2.5-pro", "SERVICE_TIER=flex ANSWER=lean"
    order = CanaryOrder(
        sources=[str(path) for path in archives],
        clips=24,
        kinds=(ArmKind.BASELINE,),
        tried=(other, flex),
        margins=Margins(0.9, 0.9),
    )
    config = SimulatorConfig(
        latency=Latency(0.02, 0.0),
        models=("gemini-3-flash-preview", "gemini-2.5-pro"),
        flex=FlexQueue(0.02, 0.05, shed=0.0),
    )
    async with running(config) as simulator:
        done = await run_canary(stage.settings(gemini_base_url=simulator.url), database, order)
        cost = simulator.simulation.ledger.cost_usd
    by_name = {one.arm.name: one for one in done.report.measures.arms}
    assert set(by_name) == {"baseline", other, flex}
    assert done.report.usd == pytest.approx(cost)
    ratios = {one.arm: one.cost_ratio.value for one in done.report.advice.recommendation.standings}
    assert ratios[other] > 1.5
    assert ratios[flex] < 0.55
    assert by_name[flex].tokens.answer < 0.7 * by_name["baseline"].tokens.answer
    assert done.report.advice.recommendation.arm == flex
    assert done.report.advice.env == ("ANSWER=lean", "SERVICE_TIER=flex")


@pytest.mark.parametrize(
    ("tried", "says"),
    [
        ("MODEL=gemini-2.5-pro", "MODEL_ID"),
        ("ANSWER", "expected NAME=value"),
        ("ANSWER=lean ANSWER=full", "each name once"),
        ("ANSWER=short", "ANSWER: 'short' will not do"),
        ("THINKING_LEVEL=low", "asks as the arm “baseline” does"),
        ("PROVIDER=openrouter", "OPENROUTER_API_KEY is not set"),
        ("PROVIDER=openrouter SERVICE_TIER=flex", "OPENROUTER_"),
        ("SERVICE_TIER=flex BATCH_LAUNCH=burst", "expected NAME=value"),
    ],
)
async def test_settings_that_will_not_do_are_refused_before_anything_is_asked(
    tmp_path: Path, database: Database, database_url: str, tried: str, says: str
) -> None:
    stage = Stage(tmp_path, "http://127.0.0.1:9", database_url, {})
    order = CanaryOrder(clips=12, kinds=(ArmKind.BASELINE,), tried=(tried,))
    with pytest.raises(LipikaError, match=says):
        await run_canary(stage.settings(), database, order)


def test_the_command_says_before_it_asks_how_many_clips_it_takes(tmp_path: Path, database_url: str) -> None:
    env = {
        "DATABASE_URL": database_url,
        "OUTPUT_URL": str(tmp_path),
        "PROVIDER": "simulator",
        "COLUMNS": "200",
    }
    order = ("canary", str(sample_folder()), "--clips", "24", "--arm", "answer")
    done = lipika(*order, env=env)
    assert done.returncode in {0, 1}, done.stderr
    assert "24 clips in 2 ways" in done.stderr
    assert "too few for any recommendation" in done.stderr
    assert "Keep the settings" in done.stdout
    assert "one archive only" in done.stdout
