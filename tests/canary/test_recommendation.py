"""What the canary recommends: the tests are right, a worse arm hardly ever passes, a good one nearly always does."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.canary_power import CANARIES, Plant, World, draw_arm, planned_world, simulate
from benchmarks.setting import REPOSITORY, RESULTS
from lipika.canary.advice import advise, clips_that_tell, env_lines, margin_words, saving_of
from lipika.canary.arms import Arm, ArmKind
from lipika.canary.noninferiority import (
    PairedSummary,
    clips_needed,
    holm,
    interval,
    largest_disagreement,
    p_not_worse,
    p_worse,
    student_cdf,
    student_quantile,
    summarise,
)
from lipika.canary.pairs import SHARES, pair
from lipika.canary.planning import design_of, plan_clips, usual_clip
from lipika.canary.recommendation import ArmMark, Margins, recommend
from lipika.canary.records import Asked
from lipika.forecast.budget import Budget
from lipika.forecast.forecast import Crew, Forecast, Unit, forecast
from lipika.forecast.shares import Estimate
from lipika.languages import FIRST_CLASS
from lipika.models import AnswerForm, Usage

MARGINS = Margins()
BASELINE = Arm("baseline", ArmKind.BASELINE, "aistudio", 0.0, "low")


# ----------------------------------------------------------------------------- the tests themselves


@pytest.mark.parametrize(
    ("chance", "degrees", "value"),
    [(0.95, 1, 6.3138), (0.975, 2, 4.3027), (0.95, 7, 1.8946), (0.99, 10, 2.7638), (0.995, 30, 2.75)],
)
def test_students_t_is_that_of_the_tables(chance: float, degrees: int, value: float) -> None:
    assert student_cdf(value, degrees) == pytest.approx(chance, abs=2e-5)
    assert student_cdf(-value, degrees) == pytest.approx(1 - chance, abs=2e-5)
    assert student_quantile(chance, degrees) == pytest.approx(value, abs=1e-3)


def test_the_score_test_gives_the_published_example() -> None:
    """Tango 1998: of 44 pairs one is lost and none won; at a margin of 0.1 the p-value is 0.044."""
    found = PairedSummary(44, 1, 0, error=0.0, groups=44)
    assert p_not_worse(found, 0.1) == pytest.approx(0.0438, abs=1e-4)
    assert interval(found, 0.9).high == pytest.approx(0.096, abs=5e-4)


def test_clips_of_one_video_count_for_less_than_their_number() -> None:
    """Ten lost clips of 200: spread over the videos, or all in one of them."""
    spread, lumped = np.zeros(200, np.int8), np.zeros(200, np.int8)
    spread[::20], lumped[:10] = 1, 1
    videos = np.arange(200) // 10
    apart, together = summarise(spread, videos), summarise(lumped, videos)
    assert apart.mean == together.mean == 0.05
    assert together.error > 2 * apart.error
    assert p_not_worse(together, 0.15) > p_not_worse(apart, 0.15)


def test_one_video_proves_nothing_and_no_clip_less() -> None:
    same = np.zeros(500, np.int8)
    assert p_not_worse(summarise(same, np.zeros(500, np.int64)), 0.05) == 1
    assert p_not_worse(summarise(same, np.arange(500)), 0.05) < 1e-6
    assert p_not_worse(summarise(same[:0], np.arange(0)), 0.05) == 1


def test_weights_are_those_of_sum_over_sum() -> None:
    share, letters = np.asarray([0.5, 0.0, 0.25]), np.asarray([10.0, 30.0, 40.0])
    found = summarise(share, np.arange(3), letters)
    assert found.mean == pytest.approx(15 / 80)
    assert found.clips == pytest.approx(80**2 / (100 + 900 + 1600))


@given(
    lost=st.integers(0, 40), won=st.integers(0, 40), same=st.integers(1, 400), videos=st.integers(2, 40),
    margin=st.floats(0.01, 0.5),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_tests_and_intervals_agree(lost: int, won: int, same: int, videos: int, margin: float) -> None:
    values = np.asarray([1] * lost + [-1] * won + [0] * same, np.int8)
    found = summarise(values, np.arange(len(values)) % videos)
    p = p_not_worse(found, margin)
    assert 0 <= p <= 1
    assert p_not_worse(found, margin + 0.05) <= p + 1e-12
    told = interval(found)
    assert told.low <= told.value <= told.high
    assert (p <= 0.025) == (told.high <= margin) or math.isclose(told.high, margin, abs_tol=1e-6)
    assert p_worse(found, margin) + p >= 1 - 1e-9  # the two have no doubt in common


def test_holms_correction() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


# ----------------------------------------------------------------------------- planted truth


@pytest.mark.parametrize("case", ["clear", "all hardly worse"])
def test_a_worse_arm_is_hardly_ever_recommended_and_the_right_one_is(case: str) -> None:
    """`python -m benchmarks.canary_power` does the same 400 times."""
    found = simulate(case, planned_world(), MARGINS, canaries=40, seed=7)
    assert found.worse_recommended <= 0.05
    assert found.right >= 0.90


def test_the_figures_on_record_keep_the_promise_and_stand_in_the_documentation() -> None:
    found = orjson.loads((RESULTS / "canary_power.json").read_bytes())["worlds"]
    page = (REPOSITORY / "docs" / "canary.md").read_text("utf-8")
    for one in [*found["as planned"], *found["more alike"]]:
        assert one["canaries"] == CANARIES
        assert one["worse_recommended"] <= 0.05
    for one in found["as planned"]:
        assert one["clips_of_a_language"] == planned_world().clips
        assert one["right"] >= 0.90
        wrong = f"{one['worse_recommended']:.1%} (at most {one['worse_at_most']:.1%})"
        right = f"{one['right']:.1%} (at least {one['right_at_least']:.1%})"
        assert f"| {wrong} | {right} |".replace("%", " %") in page


def test_a_canary_of_too_few_clips_recommends_nothing() -> None:
    world = World(clips=60, clips_each=20, disagreeing=0.05, resemblance=0.01)
    chance = np.random.default_rng(1)
    arm = draw_arm("cheap", Plant(0.5), world, MARGINS, chance)
    told = recommend([arm], FIRST_CLASS, MARGINS)
    assert (told.arm, told.standing_of("cheap").standing) == (None, ArmMark.UNSURE)
    design = design_of(MARGINS, 1, len(FIRST_CLASS))
    assert (clips_that_tell(told.standing_of("cheap"), design) or 0) > 60 * len(FIRST_CLASS)
    assert "would tell" in advise(told, [BASELINE, replace(BASELINE, name="cheap")], design, None).words


def test_what_is_clearly_worse_is_said_to_be_and_what_costs_as_much_is_not_recommended() -> None:
    chance = np.random.default_rng(2)
    world = planned_world()
    worse = draw_arm("worse", Plant(0.5, 3.0, "asr", "ta"), world, MARGINS, chance)
    same = draw_arm("same", Plant(1.0), world, MARGINS, chance)
    told = recommend([worse, same], FIRST_CLASS, MARGINS)
    assert told.arm is None
    assert [one.standing for one in told.standings] == [ArmMark.WORSE, ArmMark.NOT_WORSE]
    hardest = told.standing_of("worse").worst[0]
    assert (hardest.language, hardest.measure) == ("ta", "asr")
    assert margin_words(hardest).startswith("Tamil: clips out of the lane asr +1")


def test_a_language_that_an_arm_was_not_asked_in_counts_against_it() -> None:
    chance = np.random.default_rng(3)
    arm = draw_arm("cheap", Plant(0.5), planned_world(), MARGINS, chance)
    assert recommend([arm], FIRST_CLASS, MARGINS).arm == "cheap"
    assert recommend([arm], [*FIRST_CLASS, "brx"], MARGINS).arm is None


# ----------------------------------------------------------------------------- how many clips it takes


def test_the_plan_grows_with_what_it_has_to_tell() -> None:
    design = design_of(MARGINS, 5, 12)
    needed = clips_needed(design)
    assert clips_needed(replace(design, margin=0.10)) < needed / 2
    assert clips_needed(replace(design, disagreeing=0.01)) < needed
    assert clips_needed(replace(design, resemblance=0.03)) > needed
    assert clips_needed(replace(design, arms=1)) < needed
    assert largest_disagreement(design, needed) == pytest.approx(design.disagreeing, rel=0.05)
    assert largest_disagreement(design, 50) == 0
    assert largest_disagreement(design, 0) == 0


def test_as_many_clips_are_asked_as_it_takes_or_the_cap_pays_for() -> None:
    design = design_of(MARGINS, 5, 12)
    enough = plan_clips(design, None, usd_each=0.001, max_usd=1000)
    assert enough.clips == enough.needed == 12 * clips_needed(design)
    assert f"{enough.needed:,} clips" in enough.words
    short = plan_clips(design, None, usd_each=0.001, max_usd=2)
    assert short.clips == 1800
    assert "enough where they disagree" in short.words
    few = plan_clips(design, 100, usd_each=0.001, max_usd=2)
    assert few.clips == 100
    assert "too few for any recommendation" in few.words


def test_less_thinking_and_a_lean_answer_are_planned_to_cost_less() -> None:
    tokens = [usual_clip(level, form).output for level in ("low", "minimal") for form in AnswerForm]
    assert tokens == [220, 160, 128, 68]


# ----------------------------------------------------------------------------- from answers to pairs


def asked(arm: str, clip: int, **changes: object) -> Asked:
    row = Asked(
        arm, "v", f"{clip}.flac", "hi", 8000, "transcribed", "aistudio", "m", 1, 0, (), (100.0,), 0, Usage(), 0.002,
        (), "", 1.0, (), ("asr", "tts_clean", "tts_expressive"), "hi", "एक दो तीन",
    )  # fmt: skip
    return replace(row, **changes)  # type: ignore[arg-type]


def test_losses_are_told_from_gains_and_both_from_what_was_bad_before() -> None:
    silent = {"status": "no_speech", "lanes": (), "transcription": "NO_SPEECH"}
    failed = {"status": "failed", "lanes": (), "transcription": "", "findings": ()}
    baseline = [
        asked("baseline", 0),
        asked("baseline", 1, findings=("loop",), first_findings=("loop",), lanes=()),
        asked("baseline", 2, **silent),
        asked("baseline", 3),
        asked("baseline", 4),
        asked("baseline", 9),  # that the arm did not end
    ]
    rows = [
        asked("other", 0, **failed, cost_usd=0.001),
        asked("other", 1),
        asked("other", 2, **silent),
        asked("other", 3, **silent),
        asked("other", 4, transcription="एक दो", lanes=("asr",), latencies_ms=()),
        asked("other", 8),  # that the baseline did not end
    ]
    found = pair("other", baseline, rows)
    assert len(found) == 5
    assert {name: list(found.lost[name]) for name in SHARES} == {
        "failed": [1, 0, 0, 0, 0],
        "doubted": [1, -1, 0, 0, 0],
        "looped": [0, -1, 0, 0, 0],
        "asr": [1, -1, 0, 1, 0],
        "tts_clean": [1, -1, 0, 1, 1],
        "tts_expressive": [1, -1, 0, 1, 1],
    }
    assert list(found.letters > 0) == [False, True, False, True, True]
    assert list(found.differing) == pytest.approx([0, 0, 0, 1, 4 / 9])
    assert found.usd[0] == 0.001
    assert list(np.isnan(found.milliseconds)) == [False] * 4 + [True]


# ----------------------------------------------------------------------------- in words


def test_what_is_recommended_comes_with_its_settings_and_no_others() -> None:
    lean = replace(BASELINE, name="lean answers", answer=AnswerForm.LEAN)
    assert env_lines(lean, BASELINE) == ("ANSWER=lean",)
    warm = replace(BASELINE, name="warm", temperature=None, thinking_level="minimal")
    assert env_lines(warm, BASELINE) == ("TEMPERATURE=default", "THINKING_LEVEL=minimal")
    own = replace(BASELINE, name="own", prompt_file="prompt.toml")
    assert env_lines(own, BASELINE) == ("PROMPT_FILE=prompt.toml",)
    world = planned_world()
    told = recommend(
        [draw_arm("lean answers", Plant(0.5), world, MARGINS, np.random.default_rng(4))], FIRST_CLASS, MARGINS
    )
    advice = advise(told, [BASELINE, lean], design_of(MARGINS, 1, 12), None)
    assert advice.env == ("ANSWER=lean",)
    assert "Take “lean answers”" in advice.words
    assert told.standing_of("lean answers").cost_ratio.high < 0.55


def test_the_saving_is_that_of_the_clips_that_both_were_asked() -> None:
    def ahead(usd: float) -> Forecast:
        units = [Unit(10, 10, 7000, 2000, usd) for _ in range(20)]
        return forecast(units, Estimate.exact(1e6), Budget(usd_per_10min=200.0), Crew(100, 1000, 2000, 2.0))

    world = planned_world()
    told = recommend(
        [draw_arm("half", Plant(0.5), world, MARGINS, np.random.default_rng(5))], FIRST_CLASS, MARGINS
    )
    before, after = ahead(0.01), ahead(0.005)
    saved = saving_of(told.standing_of("half"), before, after)
    assert saved.usd.value == pytest.approx(500, rel=0.02)
    assert saved.usd.low <= saved.usd.value <= saved.usd.high
    assert saved.seconds is not None
    assert saved.seconds > 0
