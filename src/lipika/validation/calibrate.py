"""Learning the rate limits from transcripts that are there already. Pure: reading and writing files is the caller's.

As Emilia does: the ordinary range is between the quartiles, odd begins 1.5 of its widths outside, impossible 3.
A language is calibrated only from `LEAST_CLIPS` on, and never beyond what any speaker can do.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields

from lipika.errors import UsageError
from lipika.languages import LANGUAGES
from lipika.models import Answer, Clip, Severity
from lipika.validation import DEFAULT_BANDS, RULES, Bands, validate
from lipika.validation.bands import LOW_FAIL, RateBand
from lipika.validation.catalogue import Part
from lipika.validation.reading import read

LEAST_CLIPS = 1_000
ODD, IMPOSSIBLE = 1.5, 3.0  # interquartile ranges outside the quartiles
STOPPED_SHARE = 0.45  # of the median
HIGHEST_SYLLABLES, HIGHEST_CHARS = 18.0, 40.0  # nobody speaks faster, whatever the data say

_STEP = 0.05  # resolution of the histograms
_FORMAT = "lipika-calibration-1"


@dataclass(frozen=True, slots=True)
class Observation:
    """The rates of one accepted transcript."""

    language: str
    syllables_per_second: float
    chars_per_second: float
    quality_score: float


def observe(answer: Answer, clip: Clip, language_hint: str | None) -> Observation | None:
    """What a transcript teaches; None for NO_SPEECH, unknown languages, and failures other than of the rate."""
    reading = read(answer, clip, language_hint)
    if answer.no_speech or reading.language is None:
        return None
    verdict = validate(answer, clip, language_hint)
    for found in verdict.findings:
        if found.severity is Severity.FAIL and RULES[found.code].part is not Part.RATE:
            return None
    return Observation(
        reading.language.code,
        reading.syllables_per_second,
        reading.chars_per_second,
        verdict.quality_score,
    )


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


@dataclass(slots=True)
class Sample:
    """What was observed of one language."""

    syllables: Histogram = field(default_factory=Histogram)
    chars: Histogram = field(default_factory=Histogram)
    scores: Histogram = field(default_factory=Histogram)

    @property
    def clips(self) -> int:
        return self.syllables.counts.total()


def collect(observations: Iterable[Observation]) -> dict[str, Sample]:
    """Language code -> its sample."""
    samples: dict[str, Sample] = {}
    for seen in observations:
        sample = samples.setdefault(seen.language, Sample())
        sample.syllables.add(seen.syllables_per_second)
        sample.chars.add(seen.chars_per_second)
        sample.scores.add(seen.quality_score)
    return samples


def learned_band(sample: Sample) -> RateBand:
    """Limits from the quartiles of one language's rates."""
    low, high = sample.syllables.quantile(0.25), sample.syllables.quantile(0.75)
    width = high - low
    chars_high = sample.chars.quantile(0.75)
    chars_width = chars_high - sample.chars.quantile(0.25)
    low_fail = max(LOW_FAIL / 2, low - IMPOSSIBLE * width)
    return RateBand(
        syllables_low_fail=round(low_fail, 2),
        syllables_low_warn=round(max(low_fail, low - ODD * width), 2),
        syllables_stopped=round(sample.syllables.quantile(0.5) * STOPPED_SHARE, 2),
        syllables_high_warn=round(min(HIGHEST_SYLLABLES, high + ODD * width), 2),
        syllables_high_fail=round(min(HIGHEST_SYLLABLES, high + IMPOSSIBLE * width), 2),
        chars_high_warn=round(min(HIGHEST_CHARS, chars_high + ODD * chars_width), 2),
        chars_high_fail=round(min(HIGHEST_CHARS, chars_high + IMPOSSIBLE * chars_width), 2),
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

    def to_json(self) -> str:
        return json.dumps(
            {"format": _FORMAT, "version": self.version} | asdict(self), indent=2, sort_keys=True
        )


SCORE_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


def calibrate(samples: dict[str, Sample]) -> Calibration:
    """Bands for every language with enough clips."""
    enough = {code: sample for code, sample in sorted(samples.items()) if sample.clips >= LEAST_CLIPS}
    return Calibration(
        bands={code: learned_band(sample) for code, sample in enough.items()},
        clips={code: sample.clips for code, sample in enough.items()},
        score_quantiles={
            code: tuple(round(sample.scores.quantile(share), 2) for share in SCORE_SHARES)
            for code, sample in enough.items()
        },
    )


def from_json(text: str) -> Calibration:
    """Read what `to_json` wrote.

    Raises:
        UsageError: it is something else, or was edited by hand.
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
    return read_back


@dataclass(frozen=True, slots=True)
class Change:
    """What one language's new limits would do to the clips they were learned from."""

    language: str
    clips: int
    old: RateBand
    new: RateBand
    odd_before: int  # clips outside the warn limits for syllables
    odd_after: int
    impossible_before: int  # ... outside the fail limits
    impossible_after: int


def changes(
    samples: dict[str, Sample], calibration: Calibration, before: Bands = DEFAULT_BANDS
) -> Iterator[Change]:
    """One row per calibrated language."""
    for code, new in calibration.bands.items():
        rates, old = samples[code].syllables, before.by_language[code]
        yield Change(
            language=code,
            clips=calibration.clips[code],
            old=old,
            new=new,
            odd_before=rates.outside(old.syllables_low_warn, old.syllables_high_warn),
            odd_after=rates.outside(new.syllables_low_warn, new.syllables_high_warn),
            impossible_before=rates.outside(old.syllables_low_fail, old.syllables_high_fail),
            impossible_after=rates.outside(new.syllables_low_fail, new.syllables_high_fail),
        )
