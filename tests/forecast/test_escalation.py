"""How many clips must go on at the standard tier: against every number tried, and in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.forecast.escalation import TierPace, plan_escalation


def meets(
    clips: float, at_standard: float, seconds: float, rate: float, flex: TierPace, standard: TierPace
) -> bool:
    """By areas alone: Flex launches until its last moment, all launches until that of the standard tier."""
    at_flex = clips - at_standard
    until_flex = max(seconds - flex.latency_s, 0.0)
    until_standard = max(seconds - standard.latency_s, until_flex)
    flex_requests = at_flex * flex.requests_per_clip
    everything = flex_requests + at_standard * standard.requests_per_clip
    return flex_requests <= min(rate, flex.requests_per_s) * until_flex * (
        1 + 1e-9
    ) and everything <= rate * until_standard * (1 + 1e-9)


@given(
    clips=st.integers(1, 400),
    seconds=st.floats(1, 4000),
    rate=st.floats(0.05, 5),
    wait=st.floats(0, 1500),
    requests=st.floats(1, 4),
    ceiling=st.floats(0.05, 10),
)
def test_no_plan_has_fewer_clips_at_the_standard_tier(
    clips: int, seconds: float, rate: float, wait: float, requests: float, ceiling: float
) -> None:
    flex, standard = TierPace(wait, requests, ceiling), TierPace(min(30.0, wait))
    plan = plan_escalation(clips, seconds, rate, flex, standard)
    enough = [n for n in range(clips + 1) if meets(clips, n, seconds, rate, flex, standard)]
    assert 0 <= plan.share <= 1
    assert 0 <= plan.standard_clips <= clips
    if enough:
        assert plan.meets_deadline
        assert enough[0] - 1 <= plan.standard_clips <= enough[0] + 1e-6
        assert meets(clips, plan.standard_clips, seconds, rate, flex, standard)


def test_with_time_to_spare_nothing_is_paid_in_full() -> None:
    plan = plan_escalation(1000, 7200, 1.0, TierPace(900, 1.25), TierPace(30))
    assert (plan.standard_clips, plan.share, plan.flex_for_s) == (0, 0, 6300)


def test_what_is_left_after_the_last_moment_of_flex_goes_at_the_standard_tier() -> None:
    """5,000 clips in 6,300 s of Flex are 5,040 at 1.25 requests each; the 500 beyond fit into what comes after."""
    plan = plan_escalation(5540, 7200, 1.0, TierPace(900, 1.25), TierPace(30))
    assert plan.standard_clips == pytest.approx(500)
    assert plan.share == 0


def test_where_even_that_is_too_late_some_go_at_once() -> None:
    plan = plan_escalation(6200, 7200, 1.0, TierPace(900, 1.25), TierPace(30))
    assert plan.meets_deadline
    assert plan.share > 0
    assert plan.standard_clips > 870


def test_a_deadline_out_of_reach_is_said() -> None:
    assert not plan_escalation(10_000, 3600, 1.0, TierPace(900, 1.25), TierPace(30)).meets_deadline
    assert plan_escalation(0, -5, 1.0, TierPace(900), TierPace(30)).meets_deadline
