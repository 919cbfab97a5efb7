"""Clips that share a request: who is asked with whom, and what each has cost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.canary.arms import Arm, ArmKind, plan_arms
from lipika.canary.joint_measures import measure_joint
from lipika.canary.records import Asked
from lipika.canary.sample import SampledClip
from lipika.canary.together import Circles, ClipToAsk, plan_circles, share_out
from lipika.canary.tried import plan_tried
from lipika.config import Settings
from lipika.engine.outcome import Outcome
from lipika.errors import UsageError
from lipika.llm.capabilities import load_capabilities
from lipika.llm.several import ClipFault
from lipika.models import Usage


def clip(video: str, language: str) -> SampledClip:
    return SampledClip(video, language, None, Path("nowhere"))  # type: ignore[arg-type]


CLIPS = st.lists(
    st.builds(
        lambda video, language: clip(f"{language}{video}", language),
        st.integers(0, 2),
        st.sampled_from(["hi", "ta"]),
    ),
    max_size=40,
)


@given(CLIPS, st.integers(2, 8))
def test_every_clip_is_in_one_circle_of_its_language_and_few_circles_are_small(
    clips: list[SampledClip], most: int
) -> None:
    circles = plan_circles(clips, most)
    assert sorted(place for circle in circles for place in circle) == list(range(len(clips)))
    for circle in circles:
        assert len({clips[place].language for place in circle}) == 1
    small = Counter(clips[circle[0]].language for circle in circles if len(circle) < most)
    assert all(count == 1 for count in small.values())
    mixed = [circle for circle in circles if len({clips[place].video_id for place in circle}) > 1]
    assert sum(map(len, mixed)) <= 2 * 3 * (most - 1)  # what is left of each video


@given(CLIPS, st.integers(2, 8), st.randoms())
def test_a_circle_is_complete_once_and_in_order_whoever_comes_first(
    clips: list[SampledClip], most: int, rng: Any
) -> None:
    circles, order = Circles(clips, most), list(range(len(clips)))
    rng.shuffle(order)
    complete = [
        [one.number for one in found]
        for place in order
        if (found := circles.join(ClipToAsk(place, clips[place], b""))) is not None
    ]
    assert sorted(complete) == sorted(map(sorted, plan_circles(clips, most)))


COUNTS = st.integers(0, 10_000)


@given(
    st.lists(st.integers(200, 15_300), min_size=1, max_size=8),
    st.tuples(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS),
    st.floats(0, 10),
)
def test_shares_are_whole_and_sum_up_to_the_request(
    lengths: list[int], counts: tuple[int, int, int, int, int], usd: float
) -> None:
    text, audio, cached, said, thoughts = counts
    usage = Usage(text + audio, text, audio, cached, said + thoughts, thoughts)
    outcome = Outcome(None, None, usage, usd, 1, "p", "m", "b", 1.0)
    shares = share_out(outcome, lengths)
    assert sum((one.usage for one in shares), Usage()) == usage
    assert sum(one.cost_usd for one in shares) == pytest.approx(usd)
    assert all(one.cost_usd >= -1e-12 and one.usage.prompt >= 0 and one.usage.output >= 0 for one in shares)
    whole = sum(lengths)
    for one, length in zip(shares, lengths, strict=True):
        assert abs(one.usage.prompt_audio - audio * length / whole) <= 1
        assert one.cost_usd == pytest.approx(usd * length / whole, abs=1e-9)


# ----------------------------------------------------------------------------- whose text it is


def row(name: str, text: str, **changes: Any) -> Asked:
    fields: dict[str, Any] = {
        "arm": "joint",
        "video_id": "v",
        "segment_file": name,
        "language": "hi",
        "duration_ms": 5000,
        "status": "transcribed",
        "provider": "p",
        "model_version": "m",
        "requests": 1,
        "rate_limited": 0,
        "failure_kinds": (),
        "latencies_ms": (1.0,),
        "cache_hits": 0,
        "usage": Usage(),
        "cost_usd": 0.0,
        "first_findings": (),
        "first_failure": "",
        "quality_score": 1.0,
        "findings": (),
        "lanes": (),
        "detected_language": "hi",
        "transcription": text,
        "together": 2,
        "joint": "v/a and 1 more",
        "joint_requests": 1,
        "seconds_by_ear": 5.0,
    }
    return Asked(**(fields | changes))


BASELINE = [
    row("a", "आज बहुत गर्मी है", together=1, joint_requests=0),
    row("b", "कल हम बाज़ार गए थे", together=1, joint_requests=0),
]


def test_texts_exchanged_between_clips_of_one_length_are_found_by_the_baseline() -> None:
    found = measure_joint("joint", BASELINE, [row("a", "कल हम बाज़ार गए थे"), row("b", "आज बहुत गर्मी है।")])
    assert found is not None
    assert (found.crossed.value, found.told_apart.value, found.requests) == (1.0, 0.0, 1)


def test_other_wording_is_no_exchange_and_what_was_asked_alone_is_not_looked_at() -> None:
    rows = [row("a", "आज बड़ी गर्मी है"), row("b", "आज बहुत गर्मी है", requests=2)]
    found = measure_joint("joint", BASELINE, rows)
    assert found is not None
    assert (found.crossed.value, found.asked_alone.value) == (0.0, 0.5)
    assert measure_joint("joint", BASELINE, BASELINE) is None


def test_a_block_is_counted_in_requests_and_in_clips() -> None:
    lost = {"first_failure": "blocked", "requests": 2, "seconds_by_ear": None}
    rows = [
        row("a", "x", **lost),
        row("b", "y", **lost),
        row("c", "z", joint="other", joint_faults=(ClipFault.LENGTH,), seconds_by_ear=9.0),
    ]
    found = measure_joint("joint", BASELINE, rows)
    assert found is not None
    assert (found.blocked_requests, found.blocked_clips) == (1, 2)
    assert (found.seconds_off, found.faults) == (4.0, {"clip_length": 1})


def test_requests_that_are_shared_are_counted_in_parts() -> None:
    alone = row("a", "x", together=1, joint_requests=0, requests=2)
    assert (alone.requests_each, alone.kept_at_first) == (2.0, False)
    shared = row("a", "x", together=4)
    assert (shared.requests_each, shared.kept_at_first, shared.asked_alone) == (0.25, True, False)
    again = row("a", "x", together=4, requests=2)
    assert (again.requests_each, again.kept_at_first, again.asked_alone) == (1.25, False, True)


# ----------------------------------------------------------------------------- the arms


def test_they_are_no_default_and_always_experimental() -> None:
    def plan(**changes: Any) -> list[Arm]:
        arms, _ = plan_arms(
            provider="aistudio",
            other_provider=None,
            temperature=0.0,
            thinking_level="low",
            model=load_capabilities("gemini-3-flash-preview"),
            **changes,
        )
        return arms

    assert not any(arm.is_experimental for arm in plan())
    asked = plan(kinds=[ArmKind.CLIPS])[1:]
    assert [(arm.name, arm.clips) for arm in asked] == [("2 clips a request", 2), ("4 clips a request", 4)]
    assert all(arm.is_experimental for arm in asked)
    assert asked[0].settings["CLIPS_PER_REQUEST"] == "2"
    assert "2 clips a request" in asked[0].words


@pytest.mark.parametrize("value", ["0", "9", "two", "-1", "2.0", "²", "٢"])
def test_a_number_of_clips_that_will_not_do_is_named(value: str) -> None:
    with pytest.raises(UsageError, match="CLIPS_PER_REQUEST is 1 to 8"):
        plan_tried(Settings(provider="simulator"), [f"CLIPS_PER_REQUEST={value}"], [])


def test_settings_and_clips_are_one_arm() -> None:
    (arm,) = plan_tried(Settings(provider="simulator"), ["CLIPS_PER_REQUEST=3 ANSWER=lean"], [])
    assert (arm.clips, arm.answer, arm.kind, arm.is_experimental) == (3, "lean", ArmKind.SETTINGS, True)
