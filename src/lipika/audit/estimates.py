"""Figures of a whole corpus from a stratified sample that people heard, with intervals (95 %). Pure.

**CER** is errors over letters of all usable clips, not a mean over clips. The estimate is prediction-powered: the
second listener's distance is known of every clip, heard or not, and where it goes along with what people found, the
part of the sample's luck that it explains is taken out (a regression estimator: Särndal et al. 1992, chapter 6;
Angelopoulos et al., "PPI++", 2023). How far it goes along is learned from the sample; a listener that knows nothing
is not listened to.

Errors of clips are mostly 0 and now and then 1, and a sample of 300 may hold none of the worst. So its interval is
not the textbook's: residuals are those of estimates without the clip itself (HC3), Student's degrees of freedom go by
the kurtosis (Satterthwaite), and its two ends lie unequally far away, by the skewness (Hall 1992). Where fewer than
ten clips had an error, its upper end is no lower than what the exact binomial allows. `benchmarks.audit_coverage`
measures how often such intervals hold the truth.

**Shares** (of clips that are unusable) have the exact binomial's interval (Clopper and Pearson) with the number of
clips that would be worth as much if they had been drawn alike (Korn and Graubard 1998).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lipika.forecast.intervals import Floats
from lipika.forecast.shares import Estimate

PROXY_CAP = 0.6
"""The second listener's distance counts up to this: one clip in which it heard nothing would outweigh a hundred."""
_FEW_ERRORS = 10  # clips with an error: fewer say little about how large errors get
_LEAST_FREEDOM = 3.0
_HALVINGS = 40

Places = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Stratum:
    """A part of the corpus from which clips were drawn alike.

    `proxy_errors` and `proxy_letters` are the second listener's, summed over the clips that it heard: its distance
    (at most `PROXY_CAP`) times the letters of the clip's text, and these letters.
    """

    clips: int
    proxy_errors: float = 0.0
    proxy_letters: float = 0.0


@dataclass(frozen=True, slots=True)
class HeardClips:
    """The findings of people, one value for each clip that was heard [clips].

    `errors` are letters to be changed in `letters` of the true text; both are 0 where the clip is `unusable`. The
    proxy's values are 0 where the second listener did not hear the clip. `stratum` is a place in the list of strata.
    """

    stratum: Places
    errors: Floats
    letters: Floats
    unusable: Flags
    proxy_errors: Floats
    proxy_letters: Floats

    def __len__(self) -> int:
        return len(self.stratum)

    def subset(self, chosen: Flags) -> HeardClips:
        return HeardClips(
            self.stratum[chosen],
            self.errors[chosen],
            self.letters[chosen],
            self.unusable[chosen],
            self.proxy_errors[chosen],
            self.proxy_letters[chosen],
        )


@dataclass(frozen=True, slots=True)
class AuditedRate:
    """A rate with its interval, of how many heard clips, and what the second listener did for it.

    `gain` is by what factor more clips people alone would have had to hear for the same certainty; 1 without a proxy.
    `missing` strata have clips, of which none was heard: the figure does not speak for them.
    """

    estimate: Estimate
    heard: int
    gain: float = 1.0
    missing: int = 0


# ----------------------------------------------------------------------------- CER


def error_rate(
    heard: HeardClips, strata: Sequence[Stratum], *, proxy: bool = True, confidence: float = 0.95
) -> AuditedRate:
    """Errors over letters of the corpus: CER where letters are counted. NaN, of 0 to 1, where nothing was heard."""
    held = _Held.measure(heard, strata)
    letters = held.total(heard.letters)
    if not letters:
        return AuditedRate(Estimate(math.nan, 0.0, 1.0), len(heard), missing=held.missing)
    alone = held.total(heard.errors) / letters
    if held.is_whole:
        return AuditedRate(Estimate.exact(alone), len(heard))
    rest = (heard.errors - alone * heard.letters) / letters
    plain = _Spread.measure(rest, held)
    found, gain = plain.interval(alone, confidence), 1.0
    if proxy and (slope := _slope_of(heard, strata, held, rest, letters)) is not None:
        spread = _Spread.measure(slope.rest, held, slope.freedom)
        with_proxy = spread.interval(max(alone - slope.shift, 0.0), confidence)
        narrower = (found.high - found.low) / max(with_proxy.high - with_proxy.low, 1e-12)
        if narrower > 1:  # a listener that knows nothing is not listened to
            found, gain = with_proxy, narrower**2
    few = _few_errors(heard, confidence)
    return AuditedRate(Estimate(found.value, found.low, max(found.high, few)), len(heard), gain, held.missing)


@dataclass(frozen=True, slots=True)
class _Held:
    """The strata that were heard: the share of clips that each heard clip stands for, and how they were drawn."""

    stratum: Places
    share: Floats  # [strata] of the corpus's clips, among strata that were heard
    heard: Floats  # [strata]
    clips: Floats  # [strata]
    missing: int

    @classmethod
    def measure(cls, heard: HeardClips, strata: Sequence[Stratum]) -> _Held:
        counts = np.bincount(heard.stratum, minlength=len(strata)).astype(np.float64)
        clips = np.array([stratum.clips for stratum in strata], dtype=np.float64)
        reached = np.where(counts > 0, clips, 0.0)
        return cls(
            heard.stratum,
            reached / reached.sum() if reached.sum() else reached,
            counts,
            clips,
            int(((counts == 0) & (clips > 0)).sum()),
        )

    @property
    def is_whole(self) -> bool:
        """True if all there is has been heard: nothing is left to chance."""
        return bool((self.heard >= self.clips).all())

    def total(self, values: Floats) -> float:
        """The mean over the corpus, by the means of strata."""
        return float((values * self.weights).sum())

    @property
    def weights(self) -> Floats:
        """[heard clips] adding up to 1."""
        return self.share[self.stratum] / self.heard[self.stratum]


@dataclass(frozen=True, slots=True)
class _Spread:
    """The moments of an estimate that is a weighted sum of `rest`: how it errs."""

    variance: float
    skewness: float
    freedom: float

    @classmethod
    def measure(cls, rest: Floats, held: _Held, slope_freedom: float = math.inf) -> _Spread:
        """`slope_freedom`: clips that a slope was learned from, were they all worth as much."""
        variance = third = doubt = 0.0
        for place in np.flatnonzero(held.heard):
            of_it = rest[held.stratum == place]
            count, share = len(of_it), held.share[place]
            centred = of_it - of_it.mean()
            left = 1 - min(count / held.clips[place], 1.0) if held.clips[place] else 0.0
            if count < 2:  # one clip says nothing of its stratum's spread: that of all stands for it
                centred, left = rest - rest.mean(), 1.0
            second = float((centred**2).sum()) / max(len(centred) - 1, 1)
            fourth = float((centred**4).mean())
            variance += share**2 * left * second / count
            third += share**3 * left * float((centred**3).mean()) / count**2
            doubt += (share**2 * left / count) ** 2 * max(fourth - second**2, 0.0) / max(count, 2)
        most = float(max(len(rest) - 1, 1))
        freedom = 1 / (doubt / (2 * variance**2) + 1 / slope_freedom) if doubt > 0 else most
        skewness = third / variance**1.5 if variance > 0 else 0.0
        return cls(float(variance), float(skewness), float(min(max(freedom, _LEAST_FREEDOM), most)))

    def interval(self, value: float, confidence: float) -> Estimate:
        """A rate with Hall's transformed interval: `skewness` is that of the estimate."""
        error = math.sqrt(self.variance)
        far = _student(NormalDist().inv_cdf((1 + confidence) / 2), self.freedom)

        def transformed_place(place: float) -> float:
            bend = self.skewness
            if abs(bend) < 1e-9:
                return place
            return 3 / bend * (float(np.cbrt(1 + bend * (place - bend / 6))) - 1)

        low, high = value - error * transformed_place(far), value - error * transformed_place(-far)
        return Estimate(value, max(min(low, value), 0.0), max(high, value))


def _student(normal: float, freedom: float) -> float:
    """Student's quantile from the normal one (Abramowitz and Stegun 26.7.5)."""
    first = (normal**3 + normal) / 4
    second = (5 * normal**5 + 16 * normal**3 + 3 * normal) / 96
    third = (3 * normal**7 + 19 * normal**5 + 17 * normal**3 - 15 * normal) / 384
    return normal + first / freedom + second / freedom**2 + third / freedom**3


@dataclass(frozen=True, slots=True)
class _Slope:
    """The part of a sample that the proxy explains: by how much it is off, and what is left of each clip [clips].

    `freedom` is how many clips, each worth as much, the slope was learned from.
    """

    shift: float
    rest: Floats
    freedom: float


def _slope_of(
    heard: HeardClips, strata: Sequence[Stratum], held: _Held, rest: Floats, letters: float
) -> _Slope | None:
    """The regression of `rest` on the proxy's; None where there is no proxy, or it does not vary."""
    reached = [stratum for stratum, count in zip(strata, held.heard, strict=True) if count]
    errors = sum(stratum.proxy_errors for stratum in reached)
    all_letters = sum(stratum.proxy_letters for stratum in reached)
    if not all_letters or len(heard) < 4:
        return None
    rate = errors / all_letters
    proxy = (heard.proxy_errors - rate * heard.proxy_letters) / letters
    truth = np.array(
        [
            (stratum.proxy_errors - rate * stratum.proxy_letters) / stratum.clips / letters
            if stratum.clips
            else 0.0
            for stratum in strata
        ]
    )
    means = np.bincount(heard.stratum, weights=proxy, minlength=len(strata)) / np.maximum(held.heard, 1)
    centred = proxy - means[heard.stratum]
    importance = held.weights**2
    power = float((importance * centred**2).sum())
    if power <= 0:
        return None
    slope = float((importance * centred * rest).sum()) / power
    lever = np.minimum(importance * centred**2 / power + 1 / held.heard[heard.stratum], 0.9)
    left = rest - slope * centred
    middle = (np.bincount(heard.stratum, weights=left, minlength=len(strata)) / np.maximum(held.heard, 1))[
        heard.stratum
    ]
    count = held.heard[heard.stratum]
    # HC3 takes the clip out of its own estimate; a mean alone would take count/(count-1) of it.
    left = middle + (left - middle) / (1 - lever) * np.where(count > 1, (count - 1) / count, 1.0)
    worth = 2 * power**2 / float(((importance * centred**2) ** 2).sum())
    return _Slope(slope * float(((means - truth) * held.share).sum()), left, worth)


def _few_errors(heard: HeardClips, confidence: float) -> float:
    """The least that the upper end may be: errors that were not met may be there, and large."""
    wrong = heard.errors > 0
    count, of = int(wrong.sum()), int((~heard.unusable).sum())
    if count >= _FEW_ERRORS or not of:
        return 0.0
    size = float(heard.errors[wrong].sum() / heard.letters[wrong].sum()) if count else 1.0
    return binomial_upper(count, of, (1 - confidence) / 2) * min(size, 1.0)


# ----------------------------------------------------------------------------- shares


def share(
    heard: HeardClips, strata: Sequence[Stratum], marked: Flags, *, confidence: float = 0.95
) -> AuditedRate:
    """The share of the corpus's clips that are as the `marked` ones [clips heard]."""
    held = _Held.measure(heard, strata)
    count = len(heard)
    if not count:
        return AuditedRate(Estimate(math.nan, 0.0, 1.0), 0, missing=held.missing)
    values = marked.astype(np.float64)
    value = min(max(held.total(values), 0.0), 1.0)
    if held.is_whole:
        return AuditedRate(Estimate.exact(value), count)
    worth = _worth(values, value, held)
    tail = (1 - confidence) / 2
    low = binomial_lower(value * worth, worth, tail)
    high = binomial_upper(value * worth, worth, tail)
    return AuditedRate(Estimate(value, min(low, value), max(high, value)), count, missing=held.missing)


def _worth(values: Floats, value: float, held: _Held) -> float:
    """Clips drawn alike that would say as much, and never more than were heard."""
    alike = 1 / float((held.weights**2).sum())  # Kish's
    if not 0 < value < 1:
        return min(alike, float(len(values)))
    spread = _Spread.measure(values, held)
    if spread.variance <= 0:
        return min(alike, float(len(values)))
    by_spread = value * (1 - value) / spread.variance
    return max(min(by_spread, alike, float(len(values))), 1.0)


def binomial_upper(count: float, of: float, tail: float) -> float:
    """The largest share with which at most `count` of `of` still has the chance `tail`. Both may be fractions."""
    if count >= of:
        return 1.0
    return _solve(lambda share: beta_cdf(share, count + 1, of - count) < 1 - tail)


def binomial_lower(count: float, of: float, tail: float) -> float:
    """The smallest share with which at least `count` of `of` has the chance `tail`."""
    if count <= 0:
        return 0.0
    return _solve(lambda share: beta_cdf(share, count, of - count + 1) < tail)


def _solve(below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return high


def beta_cdf(value: float, first: float, second: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if value <= 0:
        return 0.0
    if value >= 1:
        return 1.0
    if value > (first + 1) / (first + second + 2):
        return 1 - beta_cdf(1 - value, second, first)
    front = math.exp(
        math.lgamma(first + second)
        - math.lgamma(first)
        - math.lgamma(second)
        + first * math.log(value)
        + second * math.log1p(-value)
    )
    nested = 1.0
    for step in range(40 + int(6 * math.sqrt(max(first, second))), 0, -1):
        half = step // 2
        if step % 2:
            term = -(first + half) * (first + second + half) / ((first + 2 * half) * (first + 2 * half + 1))
        else:
            term = half * (second - half) / ((first + 2 * half - 1) * (first + 2 * half))
        nested = 1 + term * value / nested
    return front / (first * nested)
