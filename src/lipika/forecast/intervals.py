"""Intervals around figures from a sample: Wilson's for shares, the bootstrap for means and ratios. Pure.

All intervals are at 95 %.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_Z = 1.959964  # of the normal distribution, two-sided 95 %
_LOW, _HIGH = 2.5, 97.5  # percentiles
REPLICATES = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Estimate:
        return cls(value, value, value)


def wilson(count: int, of: int) -> Estimate:
    """A share, 0..1, with Wilson's score interval: sound for small samples and for shares near 0 and 1."""
    if of <= 0:
        return Estimate(0.0, 0.0, 1.0)
    share = count / of
    spread = _Z**2 / of
    middle = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    # Rounding may take the ends of 0 of n and n of n a hair past the share itself.
    return Estimate(share, max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0))


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
