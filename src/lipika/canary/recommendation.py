"""The cheapest way of asking that is not worse than the baseline in any language, and how sure that is. Pure.

An arm is not worse only if every measure in every language is surely below its margin: to pass wrongly, it has to
pass the very test that it should fail, so that many languages and measures make no error likelier. Several arms do,
and Holm's step-down over them takes that back: the chance that a worse arm is recommended is `ALPHA` at most.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from lipika.canary.noninferiority import PairedSummary, holm, interval, p_not_worse, p_worse, summarise
from lipika.canary.pairs import SHARES, TEXT, Pairs
from lipika.forecast.intervals import Floats, ratio
from lipika.forecast.shares import Estimate

ALPHA = 0.05
"""Of all canaries, the share that may recommend an arm that is worse by more than the margin."""


@dataclass(frozen=True, slots=True)
class Margins:
    """How much worse than the baseline is still not worse: shares of clips, and of letters that differ, 0..1."""

    share: float = 0.05
    text: float = 0.10

    def margin_of(self, measure: str) -> float:
        return self.text if measure == TEXT else self.share


class ArmMark(StrEnum):
    """An arm beside the baseline."""

    NOT_WORSE = "not worse"
    WORSE = "worse"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class MarginTest:
    """One measure in one language: the arm's share less the baseline's, and the chance to look so good if it were
    worse by more than the margin. Of letters that differ it is their share."""

    language: str
    measure: str
    difference: Estimate
    margin: float
    p: float
    videos: int


@dataclass(frozen=True, slots=True)
class ArmStanding:
    """One arm. `p` holds for all arms at once; `worst` is the hardest test of each language, the hardest first.

    `disagreeing` is the share of clips that it and the baseline do not agree on, by the measure where it is largest.
    """

    arm: str
    standing: ArmMark
    p: float
    clips: int
    disagreeing: float
    worst: tuple[MarginTest, ...]
    cost_ratio: Estimate  # of the baseline's
    latency_ratio: Estimate

    @property
    def cheaper(self) -> bool:
        return self.cost_ratio.high < 1


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The arm to take; None: keep the settings as they are."""

    arm: str | None
    margins: Margins
    alpha: float
    standings: tuple[ArmStanding, ...]

    def standing_of(self, arm: str) -> ArmStanding:
        return next(one for one in self.standings if one.arm == arm)


def recommend(
    arms: Sequence[Pairs],
    languages: Sequence[str],
    margins: Margins,
    *,
    alpha: float = ALPHA,
    experimental: Collection[str] = (),
) -> Recommendation:
    """Hold every arm against the baseline in each of `languages`, and take the cheapest that is not worse.

    Experimental arms are never taken. So they take no power from the others: Holm goes over either kind apart.
    """
    tested = [_Tested(one, languages, margins) for one in arms]
    standings: dict[str, ArmStanding] = {}
    for apart in (False, True):
        kind = [one for one in tested if (one.arm in experimental) is apart]
        for one, p in zip(kind, holm([one.p for one in kind]), strict=True):
            standings[one.arm] = one.standing(p, alpha)
    good = [
        one
        for one in standings.values()
        if one.standing is ArmMark.NOT_WORSE and one.cheaper and one.arm not in experimental
    ]
    best = min(good, key=lambda one: one.cost_ratio.value, default=None)
    return Recommendation(
        best.arm if best else None, margins, alpha, tuple(standings[one.arm] for one in arms)
    )


class _Tested:
    """All tests of one arm."""

    def __init__(self, pairs: Pairs, languages: Sequence[str], margins: Margins) -> None:
        self._pairs = pairs
        self._margins = margins
        self._tests = [
            (language, measure, found, p_not_worse(found, margins.margin_of(measure)))
            for language in languages
            for measure, found in summaries(pairs, language)
        ]

    @property
    def arm(self) -> str:
        return self._pairs.arm

    @property
    def p(self) -> float:
        """Of the hardest test: all have to be passed."""
        return max((p for _, _, _, p in self._tests), default=1.0)

    def standing(self, adjusted: float, alpha: float) -> ArmStanding:
        hardest: dict[str, tuple[str, str, PairedSummary, float]] = {}
        for test in sorted(self._tests, key=lambda one: (-one[3], one[2].clips)):
            hardest.setdefault(test[0], test)
        worst = tuple(self._margin_test(*test) for test in hardest.values())
        return ArmStanding(
            arm=self._pairs.arm,
            standing=self._judge(adjusted, alpha),
            p=adjusted,
            clips=len(self._pairs),
            disagreeing=_disagreeing(self._pairs),
            worst=worst,
            cost_ratio=ratio_by_video(self._pairs.videos, self._pairs.usd, self._pairs.usd_before),
            latency_ratio=_latency_ratio(self._pairs),
        )

    def _judge(self, adjusted: float, alpha: float) -> ArmMark:
        if adjusted <= alpha:
            return ArmMark.NOT_WORSE
        against = [p_worse(found, self._margins.margin_of(measure)) for _, measure, found, _ in self._tests]
        sure = bool(against) and min(against) * len(against) <= alpha
        return ArmMark.WORSE if sure else ArmMark.UNSURE

    def _margin_test(self, language: str, measure: str, found: PairedSummary, p: float) -> MarginTest:
        return MarginTest(
            language,
            measure,
            interval(found),
            self._margins.margin_of(measure),
            p,
            found.groups,
        )


def summaries(pairs: Pairs, language: str) -> Iterator[tuple[str, PairedSummary]]:
    """Every measure with its differences in one language, summed up by video."""
    here = np.flatnonzero(pairs.languages == language)
    videos = pairs.videos[here]
    for measure in SHARES:
        yield measure, summarise(pairs.lost[measure][here], videos)
    letters = pairs.letters[here]
    if letters.any():
        yield TEXT, summarise(pairs.differing[here], videos, letters)


def _disagreeing(pairs: Pairs) -> float:
    return (
        max((float(np.mean(lost != 0)) for lost in pairs.lost.values()), default=0.0) if len(pairs) else 0.0
    )


def ratio_by_video(
    videos: np.ndarray[tuple[int], np.dtype[np.int64]], top: Floats, bottom: Floats
) -> Estimate:
    """Sum over sum, whole videos drawn together."""
    if not len(videos):
        return ratio([], [])
    return ratio(np.bincount(videos, weights=top).tolist(), np.bincount(videos, weights=bottom).tolist())


def _latency_ratio(pairs: Pairs) -> Estimate:
    known = ~(np.isnan(pairs.milliseconds) | np.isnan(pairs.milliseconds_before))
    return ratio_by_video(pairs.videos[known], pairs.milliseconds[known], pairs.milliseconds_before[known])
