"""Do hint, detected language and text speak of the same language?"""

from __future__ import annotations

from collections.abc import Iterator

from lipika.models import Finding
from lipika.validation.catalogue import finding
from lipika.validation.reading import Reading


def against_hint(reading: Reading) -> Iterator[Finding]:
    said = reading.answer.detected_language
    if said == "other":
        yield finding("language_other", f"hint {reading.hint.code if reading.hint else 'unknown'}")
    elif reading.hint and reading.detected and reading.hint is not reading.detected:
        yield finding("hint_mismatch", f"hint {reading.hint.code}, detected {said}")


CHECKS = (against_hint,)
