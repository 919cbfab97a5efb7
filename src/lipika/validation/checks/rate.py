"""The amount of text against the time there was to say it in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lipika.models import Finding
from lipika.validation.bands import RateBand
from lipika.validation.catalogue import finding
from lipika.validation.reading import Reading

_ENDED = re.compile(r"(?<!\.)[.!?।॥۔؟][\"'”’)\]\s]{0,4}\Z")  # an ellipsis is no end
_END_CHARS = 6  # what _ENDED looks at


def rate_codes(
    band: RateBand, syllables: float, chars: float, *, complete: bool, ended: bool
) -> tuple[str, ...]:
    """The findings of a rate. `syllables` are per second of speech, `chars` per second of clip.

    `complete`: the answer does not say itself that words are missing; `ended`: the text has an end. A text without
    one that is short for its speech is cut off, unless `rate_low` and below have said so already.
    """
    codes = []
    if syllables > band.syllables_high_fail or chars > band.chars_high_fail:
        codes.append("rate_impossible")
    elif syllables > band.syllables_high_warn or chars > band.chars_high_warn:
        codes.append("rate_high")
    if complete and syllables < band.syllables_low_fail:
        codes.append("rate_too_low")
    elif complete and syllables < band.syllables_low_warn:
        codes.append("rate_low")
    elif complete and not ended and syllables < band.syllables_stopped:
        codes.append("truncated")
    return tuple(codes)


def is_complete(reading: Reading) -> bool:
    return not reading.tags.markers.get("INAUDIBLE")


def is_ended(reading: Reading) -> bool:
    return _ENDED.search(reading.answer.transcription[-_END_CHARS:]) is not None


def rates(reading: Reading) -> Iterator[Finding]:
    codes = rate_codes(
        reading.band,
        reading.syllables_per_second,
        reading.chars_per_second,
        complete=is_complete(reading),
        ended=is_ended(reading),
    )
    for code in codes:
        cut = f"ends in {reading.plain[-12:]!r}; " if code == "truncated" else ""
        yield finding(code, cut + _evidence(reading))


def _evidence(reading: Reading) -> str:
    return (
        f"{reading.syllables_per_second:.1f} syllables/s in {reading.speech_s:.1f} s of speech, "
        f"{reading.chars_per_second:.1f} characters/s in {reading.span_s:.1f} s"
    )


CHECKS = (rates,)
