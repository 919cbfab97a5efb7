"""A pattern's first match in the two texts of an answer, as a finding."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lipika.models import Finding
from lipika.validation.catalogue import finding
from lipika.validation.reading import Reading


def texts_of(reading: Reading) -> tuple[str, ...]:
    """`transcription`, and `tagged` where it differs."""
    said, tagged = reading.answer.transcription, reading.answer.tagged
    return (said,) if said == tagged else (said, tagged)


def first_match(reading: Reading, code: str, pattern: re.Pattern[str]) -> Iterator[Finding]:
    """The first match in `transcription`, else in `tagged`, where it has no span."""
    said, *tagged = texts_of(reading)
    if match := pattern.search(said):
        yield finding(code, repr(match[0]), match.span())
    elif tagged and (match := pattern.search(tagged[0])):
        yield finding(code, f"in tagged: {match[0]!r}")
