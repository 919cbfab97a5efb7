"""Tests of whether one way of asking is worse than another by more than a margin, on the same clips. Pure.

A difference of a clip lies in -1..1 and is what the other way lost: 1 where only the other way's answer is bad, -1
where only the first one's is, 0 where they agree. Two tests have to agree that the mean is below the margin:

- Tango's score test of paired shares (Statistics in Medicine 17, 1998): right for small samples and where nothing
  differs at all, blind to clips of one video resembling each other;
- Student's t over the sums of videos: takes any such resemblance into account, says little with few videos, and would
  be fooled by samples in which nothing differs.

The larger of their two p-values is the answer: each alone would be wrong somewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lipika.forecast.intervals import Floats
from lipika.forecast.shares import Estimate

_NORMAL = NormalDist()
_HALVINGS = 40


@dataclass(frozen=True, slots=True)
class PairedSummary:
    """Paired differences, summed up. `lost` and `won` are clips; their share differences make the mean.

    `error` is the standard error of the mean over `groups` videos, nan where there is one.
    """

    clips: float
    lost: float
    won: float
    error: float
    groups: int

    @property
    def mean(self) -> float:
        return (self.lost - self.won) / self.clips if self.clips else 0.0


def summarise(
    differences: Floats | NDArray[np.int8], groups: NDArray[np.int64], weights: Floats | None = None
) -> PairedSummary:
    """Sum up `differences` [clips], each in -1..1, of videos numbered by `groups` [clips].

    With `weights` (the letters of a clip) the mean is weighted, and there are as many clips as would give the same
    spread with equal weights.
    """
    if not len(differences) or (weights is not None and weights.sum() == 0):
        return PairedSummary(0.0, 0.0, 0.0, math.nan, 0)
    each = np.ones(len(differences)) if weights is None else weights
    count = float(each.sum() ** 2 / (each**2).sum())
    lost = float((np.maximum(differences, 0) * each).sum() / each.sum()) * count
    won = float((np.maximum(-differences, 0) * each).sum() / each.sum()) * count
    _, numbers = np.unique(groups, return_inverse=True)
    size = np.bincount(numbers, weights=each)
    rest = np.bincount(numbers, weights=differences * each) - size * (lost - won) / count
    held = len(size)
    error = (
        math.sqrt(held / (held - 1) * float((rest**2).sum())) / float(size.sum()) if held > 1 else math.nan
    )
    return PairedSummary(count, lost, won, error, held)


def p_not_worse(found: PairedSummary, margin: float) -> float:
    """The chance of such a good sample if the mean difference were `margin` (-1..1) or more."""
    if not found.clips:
        return 1.0
    return max(_p_tango(found, margin), _p_groups(found, margin))


def p_worse(found: PairedSummary, margin: float) -> float:
    """The chance of such a bad sample if the mean difference were `margin` (-1..1) or less."""
    turned = PairedSummary(found.clips, found.won, found.lost, found.error, found.groups)
    return p_not_worse(turned, -margin)


def interval(found: PairedSummary, confidence: float = 0.95) -> Estimate:
    """The mean difference with the margins that neither test refuses."""
    if not found.clips:
        return Estimate(math.nan, math.nan, math.nan)
    alpha = (1 - confidence) / 2
    high = _bisect(lambda margin: p_not_worse(found, margin) > alpha, found.mean, 1.0)
    low = _bisect(lambda margin: p_worse(found, margin) > alpha, found.mean, -1.0)
    return Estimate(found.mean, low, high)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values that hold for all at once (Holm's step-down): below `alpha` none is wrong but with chance `alpha`."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min((len(order) - rank) * p_values[place], 1.0))
        adjusted[place] = largest
    return adjusted


# ----------------------------------------------------------------------------- two tests


def _p_tango(found: PairedSummary, margin: float) -> float:
    """Tango's: the spread is that of the likeliest shares among those whose difference is the margin."""
    if margin < 0:  # the same question with the two ways in each other's place
        turned = PairedSummary(found.clips, found.won, found.lost, found.error, found.groups)
        return 1 - _p_tango(turned, -margin)
    if margin >= 1:
        return 0.0
    share = _least_share(found.lost / found.clips, found.won / found.clips, margin)
    spread = math.sqrt(max(2 * share + margin - margin**2, 0.0) / found.clips)
    if spread == 0:
        return 0.5
    return _NORMAL.cdf((found.mean - margin) / spread)


def _least_share(lost: float, won: float, margin: float) -> float:
    """The likeliest share of `won` where that of `lost` is larger by `margin`: root of the restricted likelihood."""
    linear = lost + won + margin * (lost - won - 2)
    return (linear + math.sqrt(linear**2 + 8 * won * margin * (1 - margin))) / 4


def _p_groups(found: PairedSummary, margin: float) -> float:
    if found.groups < 2:
        return 1.0
    distance = found.mean - margin
    if found.error == 0:
        return 0.0 if distance < 0 else 1.0
    return student_cdf(distance / found.error, found.groups - 1)


def student_cdf(value: float, degrees: int) -> float:
    """Student's t: the chance of at most `value` (Abramowitz and Stegun 26.7.3 and 26.7.4: finite sums)."""
    angle = math.atan2(abs(value), math.sqrt(degrees))
    cosine = math.cos(angle)
    term, total = (1.0, 0.0) if degrees % 2 == 0 else (cosine, 0.0)
    for step in range(2 if degrees % 2 == 0 else 3, degrees + 1, 2):
        total += term
        term *= cosine**2 * (step - 1) / step
    inside = math.sin(angle) * total if degrees % 2 == 0 else 2 / math.pi * (angle + math.sin(angle) * total)
    return 0.5 + math.copysign(min(inside, 1.0), value) / 2


def student_quantile(chance: float, degrees: int) -> float:
    """The value that Student's t stays below with `chance`, 0.5..1."""
    high = 1.0
    while student_cdf(high, degrees) < chance:
        high *= 2
    return _bisect(lambda value: student_cdf(value, degrees) < chance, 0.0, high)


def _bisect(holds: Callable[[float], bool], inner: float, outer: float) -> float:
    """The last place from `inner`, where it holds, towards `outer` that still does."""
    if holds(outer):
        return outer
    for _ in range(_HALVINGS):
        middle = (inner + outer) / 2
        inner, outer = (middle, outer) if holds(middle) else (inner, middle)
    return outer


# ----------------------------------------------------------------------------- how many clips it takes


@dataclass(frozen=True, slots=True)
class Design:
    """A comparison as it is planned: of `arms` ways with a baseline, in `languages`, by `measures` shares each.

    `disagreeing` is the share of clips on which an arm and the baseline may disagree, half to either side, and
    `resemblance` the correlation of differences within a video, of which up to `clips_each` clips are taken.
    """

    margin: float
    arms: int
    languages: int
    measures: int
    disagreeing: float
    resemblance: float
    clips_each: int
    alpha: float = 0.05
    power: float = 0.90


def clips_needed(design: Design) -> int:
    """Clips of each language with which an arm that is as good as the baseline passes all tests with `power`.

    The error is shared out over the arms (as Holm's first step does), the power over languages and measures.
    """
    most = 2
    while not _is_enough(design, most):
        most *= 2
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if _is_enough(design, middle) else (middle, most)
    return most


def largest_disagreement(design: Design, clips: int) -> float:
    """The share of clips that arms may disagree on for `clips` of each language to be enough; 0 where none is."""
    if clips < 1 or not _is_enough(replace(design, disagreeing=0.0), clips):
        return 0.0
    return _bisect(lambda share: _is_enough(replace(design, disagreeing=share), clips), 0.0, 1.0)


def _is_enough(design: Design, clips: int) -> bool:
    """True if a sample passes that is as unlucky as one in so many, of an arm that is as good as the baseline."""
    alpha = design.alpha / max(design.arms, 1)
    beta = (1 - design.power) / (design.languages * design.measures)
    groups = max(math.ceil(clips / design.clips_each), 2)
    alike = 1 + (clips / groups - 1) * design.resemblance
    # A t is as unlucky by its own error as by the mean's: its quantile moves by as much as that varies.
    quantile = student_quantile(1 - alpha, groups - 1)
    luck = _NORMAL.inv_cdf(1 - beta) * math.sqrt(1 + quantile**2 / (2 * (groups - 1)))
    usual = design.disagreeing * clips
    more = luck * math.sqrt(usual * alike)
    both = math.hypot(usual, more)  # where many are lost, more than usual disagree
    error = math.sqrt(both * alike) / clips
    unlucky = PairedSummary(clips, (both + more) / 2, (both - more) / 2, error, groups)
    return p_not_worse(unlucky, design.margin) <= alpha
