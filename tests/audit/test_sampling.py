"""Numbers of clips to hear, and what is decided by them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.audit.estimates import AuditedRate
from lipika.audit.sampling import allot, allot_more
from lipika.audit.verdicts import Acceptance, judge
from lipika.forecast.shares import Estimate


@given(
    clips=st.lists(st.integers(0, 5000), min_size=1, max_size=12),
    heard=st.integers(0, 600),
    spread=st.booleans(),
)
def test_every_clip_that_is_to_be_heard_is_shared_out(clips: list[int], heard: int, spread: bool) -> None:
    spreads = [float(place % 3) for place in range(len(clips))] if spread else []
    parts = allot(clips, heard, spreads=spreads)
    assert sum(parts) == min(heard, sum(clips))
    assert all(0 <= part <= count for part, count in zip(parts, clips, strict=True))


def test_small_strata_are_heard_as_well() -> None:
    assert allot([10_000, 40, 5], 300) == [285, 10, 5]


def test_where_clips_are_much_alike_fewer_tell() -> None:
    even = allot([1000, 1000], 200)
    uneven = allot([1000, 1000], 200, spreads=[1.0, 3.0])
    assert even == [100, 100]
    assert uneven == [75, 125]


def test_too_few_to_hear_all_strata() -> None:
    assert allot([5, 900, 30, 20], 2) == [0, 1, 1, 0]
    assert allot([100, 100, 100], 12) == [4, 4, 4]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.019, Acceptance.ACCEPT),
        (0.001, 0.02, Acceptance.ACCEPT),
        (0.01, 0.03, Acceptance.UNDECIDED),
        (0.021, 0.05, Acceptance.REJECT),
    ],
)
def test_a_verdict_takes_the_whole_interval(low: float, high: float, verdict: Acceptance) -> None:
    assert judge(AuditedRate(Estimate((low + high) / 2, low, high), 300), 0.02) is verdict


def test_no_verdict_on_what_nobody_heard() -> None:
    assert judge(AuditedRate(Estimate(math.nan, 0.0, 1.0), 0), 1.0) is Acceptance.UNDECIDED
    assert judge(AuditedRate(Estimate(0.0, 0.0, 0.001), 300, missing=1), 0.02) is Acceptance.UNDECIDED


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=30), st.integers(1, 2_000), st.integers(0, 3_000))
def test_more_are_exactly_more_and_nobody_gives_back(sizes: list[int], heard: int, more: int) -> None:
    have = allot(sizes, heard)
    most = [min(size, 4 * part + 5) for size, part in zip(sizes, have, strict=True)]
    most = [max(one, part) for one, part in zip(most, have, strict=True)]
    then = allot_more(sizes, have, most, more)
    assert sum(then) == min(sum(have) + more, sum(most))
    assert all(before <= after <= end for before, after, end in zip(have, then, most, strict=True))
