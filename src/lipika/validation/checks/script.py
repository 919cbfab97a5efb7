"""Is the text written in the script of its language, with English in Latin letters and nothing else?"""

from __future__ import annotations

from collections.abc import Iterator

from lipika.models import Finding
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import finding
from lipika.validation.reading import Reading


def foreign_letters(reading: Reading) -> Iterator[Finding]:
    language = reading.language
    if language is None or not (total := reading.letters.total()):
        return
    allowed = {language.script, "Latin"}
    foreign = {script: count for script, count in reading.letters.items() if script not in allowed}
    count = sum(foreign.values())
    evidence = f"{language.code} expects {language.script}; found {_listed(foreign)} of {total} letters"
    if count > limit.WRONG_SCRIPT_SHARE * total:
        yield finding("wrong_script", evidence)
    elif count >= limit.FOREIGN_LETTERS and count > limit.FOREIGN_SHARE * total:
        yield finding("foreign_script", evidence)


def latin(reading: Reading) -> Iterator[Finding]:
    language = reading.hint or reading.language
    if language is None or language.script == "Latin":
        return
    count, total = reading.letters["Latin"], reading.letters.total()
    if count and count == total and len(reading.words) >= limit.LATIN_ONLY_WORDS:
        yield finding("latin_only", f"{len(reading.words)} words for {language.name}")
    elif limit.LATIN_HEAVY_SHARE * total < count < total:
        yield finding("latin_heavy", f"{count} of {total} letters")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {script}" for script, count in counts.items())


CHECKS = (foreign_letters, latin)
