"""Intervals hold what they promise: Wilson's by its formula, the bootstrap by its coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.forecast.intervals import mean, ratio, stratified_draws
from lipika.forecast.shares import Estimate, sign_test, wilson


def test_wilson_against_published_figures() -> None:
    """Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (count, of), (low, high) in published.items():
        found = wilson(count, of)
        assert found.low == pytest.approx(low, abs=1e-4)
        assert found.high == pytest.approx(high, abs=1e-4)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_holds_its_share_and_stays_in_bounds(count: int, of: int) -> None:
    found = wilson(min(count, of), of)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_nothing_known_is_every_share() -> None:
    assert wilson(0, 0) == Estimate(0.0, 0.0, 1.0)
    assert math.isnan(mean([]).value)
    assert math.isnan(ratio([], []).value)


def test_the_bootstrap_covers_the_truth_about_19_times_in_20() -> None:
    chance = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        found = mean([float(value) for value in chance.exponential(2.0, 60)], seed=trial)
        hits += found.low <= 2.0 <= found.high
    assert hits >= 175


def test_a_ratio_is_sum_over_sum() -> None:
    found = ratio([1, 0, 3], [10, 10, 20])
    assert found.value == pytest.approx(0.1)
    assert found.low <= found.value <= found.high


def test_the_same_seed_draws_the_same() -> None:
    assert mean([1.0, 5.0, 9.0], seed=3) == mean([1.0, 5.0, 9.0], seed=3)


def test_strata_keep_their_sizes_and_single_ones_vary_together() -> None:
    strata = ["a", "a", "a", "b", "b", "c", "d"]
    index = stratified_draws(strata, replicates=200)
    for name in ("a", "b"):
        members = [place for place, stratum in enumerate(strata) if stratum == name]
        assert set(np.unique(index[:, members])) == set(members)
    assert set(np.unique(index[:, [5, 6]])) == {5, 6}


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 3), (9, 1), (1, 9), (0, 6), (700, 620)])
def test_the_sign_test_is_the_binomial_s_two_tails(first: int, second: int) -> None:
    of = first + second
    tail = sum(math.comb(of, count) for count in range(min(first, second) + 1)) / 2**of
    assert sign_test(first, second) == pytest.approx(min(2 * tail, 1.0))
