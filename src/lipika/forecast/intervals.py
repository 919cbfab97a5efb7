"""Intervals around means and ratios from a sample, by the bootstrap; those of shares are in `shares`. Pure.

All intervals are at 95 %.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lipika.forecast.shares import Estimate

Floats = NDArray[np.float64]

_LOW, _HIGH = 2.5, 97.5  # percentiles
REPLICATES = 1000


def from_replicates(value: float, replicates: Floats) -> Estimate:
    """The percentile interval of bootstrap replicates."""
    known = replicates[~np.isnan(replicates)]
    if not len(known):
        return Estimate.exact(value)
    low, high = np.percentile(known, (_LOW, _HIGH), method="nearest")  # no mean of infinities
    return Estimate(value, float(low), float(high))


def mean(values: Sequence[float], *, seed: int = 0) -> Estimate:
    """The mean of independent values."""
    if not values:
        return Estimate(math.nan, math.nan, math.nan)
    drawn = np.asarray(values, np.float64)
    return from_replicates(float(drawn.mean()), drawn[draws(len(drawn), seed=seed)].mean(axis=1))


def ratio(numerators: Sequence[float], denominators: Sequence[float], *, seed: int = 0) -> Estimate:
    """Sum over sum, of pairs that are drawn together: errors and characters of a clip, for one."""
    top, bottom = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    if not len(top) or bottom.sum() == 0:
        return Estimate(math.nan, math.nan, math.nan)
    index = draws(len(top), seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        replicates = top[index].sum(axis=1) / bottom[index].sum(axis=1)
    return from_replicates(float(top.sum() / bottom.sum()), replicates)


def draws(count: int, *, seed: int = 0, replicates: int = REPLICATES) -> NDArray[np.int64]:
    """[replicates, count] indices drawn with replacement; the same seed gives the same draws."""
    return np.random.default_rng(seed).integers(0, count, (replicates, count))


def stratified_draws(
    strata: Sequence[str], *, seed: int = 0, replicates: int = REPLICATES
) -> NDArray[np.int64]:
    """[replicates, len(strata)] indices: each stratum is drawn from by itself, as it was sampled.

    Strata of one are drawn from together: by itself such a one would never vary, and pass for certain.
    """
    chance = np.random.default_rng(seed)
    sizes = Counter(strata)
    strata = [name if sizes[name] > 1 else "" for name in strata]
    names = np.asarray(strata)
    index = np.empty((replicates, len(names)), np.int64)
    for name in sorted(set(strata)):
        members = np.flatnonzero(names == name)
        index[:, members] = members[chance.integers(0, len(members), (replicates, len(members)))]
    return index
