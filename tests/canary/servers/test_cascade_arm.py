"""A cascade as an arm of a canary: measured as a worker asks, and remembered by the forecast."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from command_kit import lipika_beside
from lipika.canary.tried import plan_tried
from lipika.config import load_settings
from lipika.errors import SettingsError, UsageError
from lipika.jobs.demo import sample_folder

CHEAP, DEAR = "gemini-3.5-flash-lite", "gemini-3-flash-preview"


async def test_its_share_that_goes_up_is_measured_and_the_forecast_says_so(
    tmp_path: Path, database_url: str
) -> None:
    (archive,) = make_corpus(tmp_path / "in", CorpusPlan(1, 30, (2.2, 2.8)), sample_folder())
    env = {"DATABASE_URL": database_url, "CASCADE": f"{CHEAP},{DEAR}"}
    arms = ("--try", f"MODEL_ID={DEAR}", "--baseline-only")
    done = await lipika_beside(
        "canary", str(archive), "--provider", "simulator", "--clips", "30", *arms,
        "--out", str(tmp_path / "out"), "--json", env=env,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)["report"]
    found = {one["arm"]["name"]: one for one in report["measures"]["arms"]}
    cascade, dear = found["baseline"], found[f"MODEL_ID={DEAR}"]
    assert cascade["arm"]["above"] == [DEAR]
    assert 0 < cascade["went_up"]["value"] < 0.5
    assert dear["went_up"] is None
    assert cascade["requests"] > dear["requests"]
    told = await lipika_beside("forecast", "--clips", "1000", "--provider", "simulator", "--json", env=env)
    assert told.returncode == 0, told.stderr
    assert "gone up in a cascade" in json.loads(told.stdout)["source"]


def test_orders_of_a_cascade() -> None:
    settings = load_settings(gemini_api_key="k")
    (arm,) = plan_tried(settings, [f"CASCADE={CHEAP},{DEAR} ANSWER=lean"], [])
    assert arm.models == (CHEAP, DEAR)
    assert arm.settings["CASCADE"] == f"{CHEAP},{DEAR}"
    assert arm.words.startswith(f"{CHEAP}, then {DEAR}, ")
    with pytest.raises(SettingsError, match="gemini-9 is no model whose prices are known"):
        plan_tried(settings, [f"CASCADE=gemini-9,{DEAR}"], [])
    with pytest.raises(UsageError, match="a clip goes up alone"):
        plan_tried(settings, [f"CASCADE={CHEAP},{DEAR} CLIPS_PER_REQUEST=2"], [])
