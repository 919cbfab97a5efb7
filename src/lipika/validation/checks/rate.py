"""The amount of text against the time there was to say it in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lipika.models import Finding
from lipika.validation.bands import RateBand
from lipika.validation.catalogue import finding
from lipika.validation.reading import Reading

_ENDED = re.compile(r"(?<!\.)[.!?।॥۔؟][\"'”’)\]\s]{0,4}\Z")  # an ellipsis is no end
_STOPPED_CHARS = 1.3  # of the limit for slow speech
_END_CHARS = 6  # what _ENDED looks at


@dataclass(frozen=True, slots=True)
class Rates:
    """The measures of one text. Syllables are per second of speech, characters per second of clip.

    The `most_` ones ask whether words are missing: digits count as long as they may be spoken, and a short clip may
    hold a single word. `ended`: the text has an end.
    """

    syllables: float
    chars: float
    most_syllables: float
    most_chars: float
    ended: bool = True


def rate_codes(band: RateBand, rates: Rates) -> tuple[str, ...]:
    """The findings of some rates. Fewer words in the same clip never bring better ones."""
    codes = []
    if rates.syllables > band.syllables_high_fail or rates.chars > band.chars_high_fail:
        codes.append("rate_impossible")
    elif rates.syllables > band.syllables_high_warn or rates.chars > band.chars_high_warn:
        codes.append("rate_high")
    few_chars = rates.most_chars < _STOPPED_CHARS * band.chars_slow
    slow = rates.most_syllables < band.syllables_slow and rates.most_chars < band.chars_slow
    if rates.most_syllables < band.syllables_low_fail:
        codes.append("rate_too_low")
    elif rates.most_syllables < band.syllables_low_warn or slow:
        codes.append("rate_low")
    elif not rates.ended and rates.most_syllables < band.syllables_stopped and few_chars:
        codes.append("truncated")
    return tuple(codes)


def is_ended(reading: Reading) -> bool:
    return _ENDED.search(reading.answer.transcription[-_END_CHARS:]) is not None


def rates_of(reading: Reading) -> Rates:
    return Rates(
        syllables=reading.syllables_per_second,
        chars=reading.chars_per_second,
        most_syllables=reading.most_syllables_per_second,
        most_chars=reading.most_chars_per_second,
        ended=is_ended(reading),
    )


def rates(reading: Reading) -> Iterator[Finding]:
    for code in rate_codes(reading.band, rates_of(reading)):
        cut = f"ends in {reading.plain[-12:]!r}; " if code == "truncated" else ""
        yield finding(code, cut + _evidence(reading))


def _evidence(reading: Reading) -> str:
    return (
        f"{reading.syllables_per_second:.1f} syllables/s in {reading.speech_s:.1f} s of speech, "
        f"{reading.chars_per_second:.1f} characters/s in {reading.span_s:.1f} s"
    )


CHECKS = (rates,)
