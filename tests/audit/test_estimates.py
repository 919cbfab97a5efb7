"""Estimates of a corpus from clips that people heard: against corpora whose errors are known."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.audit.estimates import (
    HeardClips,
    Stratum,
    beta_cdf,
    binomial_lower,
    binomial_upper,
    error_rate,
    share,
)

COUNTS = st.integers(1, 60)


def heard_of(stratum: Sequence[int], errors: Sequence[float], letters: Sequence[float]) -> HeardClips:
    places = np.array(stratum, dtype=np.int64)
    told = np.array(letters, dtype=np.float64)
    return HeardClips(
        places,
        np.array(errors, dtype=np.float64),
        told,
        told == 0,
        np.zeros(len(places)),
        np.zeros(len(places)),
    )


# ----------------------------------------------------------------------------- the exact binomial


@given(of=COUNTS, data=st.data(), chance=st.floats(0.01, 0.99))
def test_beta_cdf_is_the_binomial_tail(of: int, data: st.DataObject, chance: float) -> None:
    count = data.draw(st.integers(1, of))
    tail = sum(comb(of, k) * chance**k * (1 - chance) ** (of - k) for k in range(count, of + 1))
    assert beta_cdf(chance, count, of - count + 1) == pytest.approx(tail, abs=1e-9)


@pytest.mark.parametrize(
    ("limit", "of", "count"),
    [(0.02, 149, 0), (0.02, 236, 1), (0.02, 386, 3), (0.01, 299, 0), (0.05, 59, 0), (0.05, 153, 3)],
)
def test_the_published_sizes_of_samples(limit: float, of: int, count: int) -> None:
    """So many clips with so few defects prove "at most this share" at 95 %; one clip fewer does not."""
    assert binomial_upper(count, of, 0.05) <= limit < binomial_upper(count, of - 1, 0.05)


@given(of=COUNTS, data=st.data())
def test_the_two_ends_are_each_others_mirror(of: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, of))
    assert binomial_lower(count, of, 0.025) == pytest.approx(
        1 - binomial_upper(of - count, of, 0.025), abs=1e-9
    )


# ----------------------------------------------------------------------------- rates


def test_all_clips_heard_leave_no_doubt() -> None:
    heard = heard_of([0, 0, 0, 1, 1], [0, 2, 1, 0, 4], [10, 20, 10, 20, 20])
    rate = error_rate(heard, [Stratum(3), Stratum(2)])
    assert rate.estimate.value == pytest.approx(7 / 80)
    assert rate.estimate.low == rate.estimate.high == rate.estimate.value
    all_heard = share(heard, [Stratum(3), Stratum(2)], heard.unusable)
    assert all_heard.estimate.low == all_heard.estimate.high == 0
    some_left = share(heard, [Stratum(3), Stratum(3)], heard.unusable)
    assert some_left.estimate.high > 0


def test_strata_count_by_their_size_in_the_corpus() -> None:
    """Ten clips of each were heard, but one stratum is nine times as large."""
    heard = heard_of([0] * 10 + [1] * 10, [0] * 10 + [5] * 10, [10] * 20)
    rate = error_rate(heard, [Stratum(900), Stratum(100)])
    assert rate.estimate.value == pytest.approx(0.05)


def test_unusable_clips_have_no_letters_and_no_part_in_the_rate() -> None:
    heard = heard_of([0] * 4, [1, 0, 0, 1], [10, 10, 0, 10])
    assert error_rate(heard, [Stratum(4)]).estimate.value == pytest.approx(2 / 30)
    assert share(heard, [Stratum(1000)], heard.unusable).estimate.value == pytest.approx(0.25)


def test_no_error_in_a_hundred_clips_is_not_none_at_all() -> None:
    heard = heard_of([0] * 100, [0.0] * 100, [50.0] * 100)
    rate = error_rate(heard, [Stratum(100_000)])
    assert rate.estimate.value == 0
    assert rate.estimate.high == pytest.approx(binomial_upper(0, 100, 0.025))


def test_strata_that_nobody_heard_are_counted() -> None:
    heard = heard_of([0] * 5, [0, 1, 0, 0, 2], [10] * 5)
    assert error_rate(heard, [Stratum(100), Stratum(50), Stratum(0)]).missing == 1


def test_nothing_heard_is_no_figure() -> None:
    rate = error_rate(heard_of([], [], []), [Stratum(10)])
    assert np.isnan(rate.estimate.value)
    assert (rate.estimate.low, rate.estimate.high) == (0, 1)
    assert np.isnan(share(heard_of([], [], []), [Stratum(10)], np.zeros(0, bool)).estimate.value)


def test_a_listener_that_errs_as_people_find_narrows_the_interval() -> None:
    chance = np.random.default_rng(1)
    corpus = np.where(chance.random(5000) < 0.6, 0.0, np.minimum(chance.gamma(0.6, 0.2, 5000), 0.6))
    drawn = chance.choice(5000, 200, replace=False)
    letters = np.full(200, 40.0)
    errors = corpus[drawn] * 40
    heard = HeardClips(np.zeros(200, np.int64), errors, letters, letters == 0, errors, letters)
    stratum = Stratum(5000, float(corpus.sum() * 40), 5000 * 40.0)
    alone, both = error_rate(heard, [stratum], proxy=False), error_rate(heard, [stratum])
    assert both.estimate.value == pytest.approx(corpus.mean(), abs=1e-6)  # it knows all there is to know
    assert both.estimate.high - both.estimate.low < (alone.estimate.high - alone.estimate.low) / 10
    assert both.gain > 100


@given(seed=st.integers(0, 10_000), heard_clips=st.integers(2, 80), strata=st.integers(1, 5))
def test_intervals_hold_their_figure_whatever_was_heard(seed: int, heard_clips: int, strata: int) -> None:
    """Also where strata have one clip, nobody erred, or the second listener heard some and is always the same."""
    chance = np.random.default_rng(seed)
    places = chance.integers(0, strata, heard_clips)
    letters = np.where(chance.random(heard_clips) < 0.1, 0.0, chance.integers(1, 90, heard_clips))
    errors = np.where(chance.random(heard_clips) < 0.5, 0.0, chance.integers(0, 90, heard_clips)) * (
        letters > 0
    )
    knows = chance.random(heard_clips) < chance.random()
    proxy = np.where(chance.random(heard_clips) < 0.5, chance.random(heard_clips), 0.1)
    heard = HeardClips(
        places, errors, letters, letters == 0, proxy * letters * knows, np.where(knows, letters, 0.0)
    )
    corpus = [
        Stratum(int(chance.integers(heard_clips, 10_000)), float(chance.random() * 1e4), 1e5)
        for _ in range(strata)
    ]
    for rate in (
        error_rate(heard, corpus),
        error_rate(heard, corpus, proxy=False),
        share(heard, corpus, heard.unusable),
    ):
        found = rate.estimate
        assert {type(found.value), type(found.low), type(found.high)} == {float}  # what JSON knows
        if np.isnan(found.value):
            assert not letters.any()
        else:
            assert 0 <= found.low <= found.value <= found.high
    assert share(heard, corpus, heard.unusable).estimate.high <= 1
    with_proxy, alone = error_rate(heard, corpus), error_rate(heard, corpus, proxy=False)
    if letters.any():
        assert (
            with_proxy.estimate.high - with_proxy.estimate.low
            <= alone.estimate.high - alone.estimate.low + 1e-9
        )


@given(seed=st.integers(0, 1000))
def test_the_order_in_which_clips_were_heard_is_no_matter(seed: int) -> None:
    chance = np.random.default_rng(seed)
    letters = chance.integers(1, 90, 40).astype(float)
    heard = HeardClips(
        chance.integers(0, 3, 40),
        np.where(chance.random(40) < 0.5, 0.0, letters / 7),
        letters,
        letters == 0,
        chance.random(40) * letters,
        letters,
    )
    corpus = [Stratum(400, 900.0, 16_000.0), Stratum(300, 500.0, 12_000.0), Stratum(99, 100.0, 4_000.0)]
    order = chance.permutation(40)
    turned = HeardClips(*(getattr(heard, name)[order] for name in HeardClips.__dataclass_fields__))
    first, second = error_rate(heard, corpus).estimate, error_rate(turned, corpus).estimate
    assert (first.value, first.low, first.high) == pytest.approx((second.value, second.low, second.high))


def test_intervals_hold_the_truth_of_known_corpora() -> None:
    """A small cut of `benchmarks.audit_coverage`: of 200 audits with a known error, 182 or more hold it."""
    chance = np.random.default_rng(7)
    wrong = chance.random(20_000) < 0.4
    truth = np.where(wrong, np.minimum(chance.gamma(0.5, 0.25, 20_000), 1.0), 0.0)
    other = np.where(chance.random(20_000) < 0.4, np.minimum(chance.gamma(0.5, 0.25, 20_000), 1.0), 0.0)
    proxy = np.minimum(0.75 * truth + 0.66 * other, 0.6)
    stratum = Stratum(20_000, float(proxy.sum() * 30), 20_000 * 30.0)
    held = 0
    for _ in range(200):
        drawn = chance.choice(20_000, 300, replace=False)
        letters = np.full(300, 30.0)
        heard = HeardClips(
            np.zeros(300, np.int64), truth[drawn] * 30, letters, letters == 0, proxy[drawn] * 30, letters
        )
        found = error_rate(heard, [stratum]).estimate
        held += found.low <= truth.mean() <= found.high
    assert held >= 182
