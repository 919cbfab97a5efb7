"""Does the amount of text fit the time there was to say it in?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lipika.models import Finding
from lipika.validation.catalogue import finding
from lipika.validation.reading import Reading

_ENDED = re.compile(r"(?<!\.)[.!?।॥۔؟][\"'”’)\]\s]{0,4}\Z")  # an ellipsis is no end


def too_fast(reading: Reading) -> Iterator[Finding]:
    band = reading.band
    syllables, chars = reading.syllables_per_second, reading.chars_per_second
    if syllables > band.syllables_high_fail or chars > band.chars_high_fail:
        yield finding("rate_impossible", _evidence(reading))
    elif syllables > band.syllables_high_warn or chars > band.chars_high_warn:
        yield finding("rate_high", _evidence(reading))


def too_slow(reading: Reading) -> Iterator[Finding]:
    if reading.tags.markers["INAUDIBLE"]:
        return  # the answer says itself that words are missing
    syllables = reading.syllables_per_second
    if syllables < reading.band.syllables_low_fail:
        yield finding("rate_too_low", _evidence(reading))
    elif syllables < reading.band.syllables_low_warn:
        yield finding("rate_low", _evidence(reading))


def stops_early(reading: Reading) -> Iterator[Finding]:
    """A text without an end that is short for its speech. `rate_low` and below have said it already."""
    syllables = reading.syllables_per_second
    short = reading.band.syllables_low_warn <= syllables < reading.band.syllables_stopped
    if short and not reading.tags.markers["INAUDIBLE"] and not _ENDED.search(reading.answer.transcription):
        yield finding("truncated", f"ends in {reading.plain[-12:]!r}; {_evidence(reading)}")


def _evidence(reading: Reading) -> str:
    return (
        f"{reading.syllables_per_second:.1f} syllables/s in {reading.speech_s:.1f} s of speech, "
        f"{reading.chars_per_second:.1f} characters/s in {reading.span_s:.1f} s"
    )


CHECKS = (too_fast, too_slow, stops_early)
