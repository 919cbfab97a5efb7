"""Learning the rate limits from transcripts that are there already. Pure: reading and writing files is the caller's.

As Emilia does: the ordinary range is between the quartiles, odd begins 1.5 of its widths outside, impossible 3.
A language is calibrated only from `LEAST_CLIPS` on, and never beyond what any speaker can do. Texts that are short
for their corpus do not teach: where many are cut, that is no way to speak.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace

from lipika.errors import UsageError
from lipika.languages import LANGUAGES
from lipika.models import Answer, Clip, Severity, Verdict
from lipika.validation import DEFAULT_BANDS, RULES, Bands, judge
from lipika.validation.bands import LOW_FAIL, ORDINARY, RateBand
from lipika.validation.catalogue import LaneName, ScorePart
from lipika.validation.checks.rate import Rates, rate_codes, rates_of
from lipika.validation.reading import read

LEAST_CLIPS = 1_000
ODD, IMPOSSIBLE = 1.5, 3.0  # interquartile ranges outside the quartiles
LOW, SLOW = 2.0, 1.5  # ... where words seem to be missing; where both syllables and characters are few
STOPPED_SHARE = 0.45  # of the median
HIGHEST_SYLLABLES, HIGHEST_CHARS = 18.0, 40.0  # nobody speaks faster, whatever the data say
LEAST_SYLLABLES_WIDTH, LEAST_CHARS_WIDTH = (
    0.5,
    1.0,
)  # of the quartiles: one voice reading is not how all speak

WHOLE = 0.62
"""Of the ordinary rate: texts with fewer syllables a second do not teach. The slowest of 158 recordings had 0.56 of
the median, a text that has lost half its words has half of its speaker's."""

_STEP = 0.05  # resolution of the histograms
_LEAST_LOW, _LEAST_CHARS = LOW_FAIL / 2, 0.5  # no lower limit lies below
_FAST = 20.0  # beyond it no lower limit lies
_FORMAT = "lipika-calibration-2"


@dataclass(frozen=True, slots=True)
class Observation:
    """The rates of one transcript. `sound`: nothing is wrong with it, but perhaps its rate; only those teach."""

    language: str
    rates: Rates
    quality_score: float
    sound: bool = True


def observe(
    answer: Answer, clip: Clip, language_hint: str | None, before: Bands = DEFAULT_BANDS
) -> Observation | None:
    """Observations in a transcript under the limits `before`; None for NO_SPEECH and unknown languages."""
    if answer.no_speech:
        return None
    reading = read(answer, clip, language_hint, before)
    if reading.language is None:
        return None
    verdict = judge(reading, before)
    return Observation(
        language=reading.language.code,
        rates=rates_of(reading),
        quality_score=verdict.quality_score,
        sound=_is_sound(verdict),
    )


def _is_sound(verdict: Verdict) -> bool:
    failures = (RULES[found.code].part for found in verdict.findings if found.severity is Severity.FAIL)
    repeated = any(RULES[found.code].part is ScorePart.REPETITION for found in verdict.findings)
    return not repeated and all(part is ScorePart.RATE for part in failures)


@dataclass(slots=True)
class Histogram:
    """Counts of a non-negative quantity in steps of 0.05: quantiles of any number of clips in little memory."""

    counts: Counter[int] = field(default_factory=Counter)

    def add(self, value: float) -> None:
        self.counts[round(value / _STEP)] += 1

    def quantile(self, share: float) -> float:
        """The value that `share` (0..1) of the counted ones do not exceed; 0 when there are none."""
        wanted = share * self.counts.total()
        seen = 0
        for step in sorted(self.counts):
            seen += self.counts[step]
            if seen >= wanted:
                return step * _STEP
        return 0.0

    def outside(self, low: float, high: float) -> int:
        return sum(count for step, count in self.counts.items() if not low <= step * _STEP <= high)


Pair = tuple[int, int]
"""Steps of syllables and characters a second."""

Shape = tuple[int, int, int, int, bool]
"""What decides the rate findings of a clip: steps of its four rates, ended."""


@dataclass(slots=True)
class LanguageSample:
    """Observations of one language. Memory grows with the rates that occur, not with the clips."""

    rates: Counter[Pair] = field(default_factory=Counter)  # of sound transcripts, as the next
    scores: Histogram = field(default_factory=Histogram)
    shapes: Counter[Shape] = field(default_factory=Counter)  # of all

    @property
    def clips(self) -> int:
        """The number of sound transcripts."""
        return self.rates.total()

    @property
    def syllables(self) -> Histogram:
        return _histogram(self.rates, 0)

    @property
    def chars(self) -> Histogram:
        return _histogram(self.rates, 1)

    def add(self, seen: Observation) -> None:
        self.shapes[_shape(seen.rates)] += 1
        if seen.sound:
            self.rates[round(seen.rates.syllables / _STEP), round(seen.rates.chars / _STEP)] += 1
            self.scores.add(seen.quality_score)

    def merge(self, other: LanguageSample) -> None:
        self.rates.update(other.rates)
        self.scores.counts.update(other.scores.counts)
        self.shapes.update(other.shapes)


def _histogram(rates: Counter[Pair], place: int) -> Histogram:
    found = Histogram()
    for pair, clips in rates.items():
        found.counts[pair[place]] += clips
    return found


def _shape(rates: Rates) -> Shape:
    return (
        round(rates.syllables / _STEP),
        round(rates.chars / _STEP),
        round(min(rates.most_syllables, _FAST) / _STEP),
        round(min(rates.most_chars, _FAST) / _STEP),
        rates.ended,
    )


Samples = dict[str, LanguageSample]
"""By language code."""


def collect(observations: Iterable[Observation]) -> Samples:
    samples: Samples = {}
    for seen in observations:
        samples.setdefault(seen.language, LanguageSample()).add(seen)
    return samples


def merge(samples: Samples, others: Samples) -> None:
    """Add what was collected apart."""
    for code, other in others.items():
        samples.setdefault(code, LanguageSample()).merge(other)


def whole_ones(sample: LanguageSample) -> Counter[Pair]:
    """Rates of the sound transcripts that are not short for their corpus.

    Cutting only takes away, so the ordinary rate is looked for from above: the median of what is left changes with
    what is left out, until nothing more changes. That holds while about half of the corpus is whole.
    """
    least, ordinary = math.inf, sample.syllables.quantile(0.9)
    kept = sample.rates
    while WHOLE * ordinary < least:
        least = WHOLE * ordinary
        kept = Counter({pair: clips for pair, clips in sample.rates.items() if pair[0] * _STEP >= least})
        ordinary = _histogram(kept, 0).quantile(0.5)
    return kept


def learn_band(sample: LanguageSample) -> RateBand:
    """Limits from the quartiles of one language's rates."""
    whole = whole_ones(sample)
    syllables, chars = _histogram(whole, 0), _histogram(whole, 1)
    low, high = syllables.quantile(0.25), syllables.quantile(0.75)
    width = max(high - low, LEAST_SYLLABLES_WIDTH)
    chars_low, chars_high = chars.quantile(0.25), chars.quantile(0.75)
    chars_width = max(chars_high - chars_low, LEAST_CHARS_WIDTH)
    low_fail = max(_LEAST_LOW, low - IMPOSSIBLE * width)
    low_warn = max(low_fail, low - LOW * width)
    return RateBand(
        syllables_low_fail=round(low_fail, 2),
        syllables_low_warn=round(low_warn, 2),
        syllables_slow=round(max(low_warn, low - SLOW * width), 2),
        chars_slow=round(max(_LEAST_CHARS, chars_low - SLOW * chars_width), 2),
        syllables_stopped=round(syllables.quantile(0.5) * STOPPED_SHARE, 2),
        syllables_high_warn=round(min(HIGHEST_SYLLABLES, high + ODD * width), 2),
        syllables_high_fail=round(min(HIGHEST_SYLLABLES, high + IMPOSSIBLE * width), 2),
        chars_high_warn=round(min(HIGHEST_CHARS, chars_high + ODD * chars_width), 2),
        chars_high_fail=round(min(HIGHEST_CHARS, chars_high + IMPOSSIBLE * chars_width), 2),
    )


def learn_unattended(code: str, sample: LanguageSample) -> RateBand:
    """As `learn_band`, where nobody looks at what it would change.

    No limit for missing words lies lower than the registry's, save in proportion to how slow the corpus as a whole is
    against the recordings that those were measured on.
    """
    learned, registry = learn_band(sample), DEFAULT_BANDS.by_language[code]
    pace = min(1.0, _histogram(whole_ones(sample), 0).quantile(0.5) / ORDINARY)
    floors = {name: round(pace * getattr(registry, name), 2) for name in _FOR_MISSING_WORDS}
    return replace(learned, **{name: max(getattr(learned, name), floor) for name, floor in floors.items()})


_FOR_MISSING_WORDS = (
    "syllables_low_fail",
    "syllables_low_warn",
    "syllables_slow",
    "syllables_stopped",
    "chars_slow",
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Learned bands, how many clips each rests on, and the score quantiles (5, 25, 50, 75, 95 %) seen."""

    bands: dict[str, RateBand]
    clips: dict[str, int]
    score_quantiles: dict[str, tuple[float, ...]]

    @property
    def version(self) -> str:
        """A digest of the bands: two files with the same limits have the same version."""
        canonical = json.dumps(
            {code: asdict(band) for code, band in sorted(self.bands.items())}, sort_keys=True
        )
        return f"cal-{hashlib.sha256(canonical.encode()).hexdigest()[:8]}"

    def as_bands(self) -> Bands:
        """For `validate(bands=...)`; languages without a learned band keep the registry's."""
        return Bands({**DEFAULT_BANDS.by_language, **self.bands}, self.version)

    def renew(self, newer: Calibration) -> Calibration:
        """With all of `newer`, and of this one the languages that are not in it."""
        return Calibration(
            self.bands | newer.bands, self.clips | newer.clips, self.score_quantiles | newer.score_quantiles
        )

    def to_json(self) -> str:
        return json.dumps(
            {"format": _FORMAT, "version": self.version} | asdict(self), indent=2, sort_keys=True
        )


SCORE_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


NOTHING_LEARNED = Calibration({}, {}, {})


def calibrate(samples: Samples, least: int | None = None, *, unattended: bool = False) -> Calibration:
    """Bands for every language with `least` sound clips (None: LEAST_CLIPS).

    `unattended`: nobody looks at them before they are used.
    """
    needed = LEAST_CLIPS if least is None else least
    enough = {code: sample for code, sample in sorted(samples.items()) if sample.clips >= needed}
    return Calibration(
        bands={
            code: learn_unattended(code, sample) if unattended else learn_band(sample)
            for code, sample in enough.items()
        },
        clips={code: sample.clips for code, sample in enough.items()},
        score_quantiles={
            code: tuple(round(sample.scores.quantile(share), 2) for share in SCORE_SHARES)
            for code, sample in enough.items()
        },
    )


def from_json(text: str) -> Calibration:
    """Read what `to_json` wrote.

    Raises:
        UsageError: it is something else, was edited by hand, or lets pass what nobody can say.
    """
    names = {limit.name for limit in fields(RateBand)}
    try:
        held = json.loads(text)
        if held["format"] != _FORMAT:
            raise UsageError(f"calibration format {held['format']!r} is not {_FORMAT}: calibrate again")
        unknown = set(held["bands"]) - set(LANGUAGES)
        if unknown or any(set(band) != names for band in held["bands"].values()):
            raise UsageError(
                "the calibration file has other languages or limits than this version: calibrate again"
            )
        read_back = Calibration(
            bands={
                code: RateBand(**{name: float(band[name]) for name in names})
                for code, band in held["bands"].items()
            },
            clips={code: int(count) for code, count in held["clips"].items()},
            score_quantiles={
                code: tuple(map(float, held["score_quantiles"][code])) for code in held["bands"]
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"not a calibration file ({error!r}): write one with `lipika calibrate`") from error
    if read_back.version != held["version"]:
        raise UsageError(
            "the calibration file was edited: its version no longer fits its limits; calibrate again"
        )
    for code, band in read_back.bands.items():
        if not _is_possible(band):
            raise UsageError(f"no calibration has such limits for {code}: calibrate again")
    return read_back


def _is_possible(band: RateBand) -> bool:
    """True for limits that could have been learned: none is looser than any data make it. False for NaN."""
    return (
        _LEAST_LOW <= band.syllables_low_fail <= band.syllables_low_warn <= band.syllables_slow < math.inf
        and _LEAST_CHARS <= band.chars_slow < math.inf
        and 0 <= band.syllables_stopped < math.inf
        and band.syllables_high_warn <= band.syllables_high_fail <= HIGHEST_SYLLABLES
        and band.chars_high_warn <= band.chars_high_fail <= HIGHEST_CHARS
    )


@dataclass(frozen=True, slots=True)
class Change:
    """The effect of one language's new limits on the clips that were looked at.

    Rates are known to 0.05 a second, so that the counts of clips just at a limit are.
    """

    language: str
    taught: int  # sound clips: the limits were learned from them
    short: int  # ... and those that are short for this corpus, and taught nothing
    clips: int  # all transcripts of the language
    changed: int  # ... whose verdict would be another
    old: RateBand
    new: RateBand
    odd_before: int  # clips outside the warn limits for syllables
    odd_after: int
    closed_before: int  # clips that their rate alone keeps out of the lane `asr`
    closed_after: int
    score_quantiles: tuple[float, ...]
    odd_score: float  # 1.5 interquartile ranges below the lower quartile, at least 0


def changes(samples: Samples, calibration: Calibration, before: Bands = DEFAULT_BANDS) -> Iterator[Change]:
    """One row per calibrated language."""
    for code, new in calibration.bands.items():
        sample, old = samples[code], before.by_language[code]
        verdicts = [(_codes(old, shape), _codes(new, shape), clips) for shape, clips in sample.shapes.items()]
        yield Change(
            language=code,
            taught=calibration.clips[code],
            short=sample.clips - whole_ones(sample).total(),
            clips=sample.shapes.total(),
            changed=sum(clips for was, now, clips in verdicts if was != now),
            old=old,
            new=new,
            odd_before=sample.syllables.outside(old.syllables_low_warn, old.syllables_high_warn),
            odd_after=sample.syllables.outside(new.syllables_low_warn, new.syllables_high_warn),
            closed_before=sum(clips for was, _now, clips in verdicts if _closes_asr(was)),
            closed_after=sum(clips for _was, now, clips in verdicts if _closes_asr(now)),
            score_quantiles=calibration.score_quantiles[code],
            odd_score=_odd_score(calibration.score_quantiles[code]),
        )


def _codes(band: RateBand, shape: Shape) -> tuple[str, ...]:
    *steps, ended = shape
    syllables, chars, most_syllables, most_chars = (step * _STEP for step in steps)
    return rate_codes(band, Rates(syllables, chars, most_syllables, most_chars, ended))


def _closes_asr(codes: tuple[str, ...]) -> bool:
    return any(LaneName.ASR in RULES[code].closes for code in codes)


def _odd_score(quantiles: tuple[float, ...]) -> float:
    low, high = (quantiles[SCORE_SHARES.index(share)] for share in (0.25, 0.75))
    return round(max(0.0, low - ODD * (high - low)), 2)
