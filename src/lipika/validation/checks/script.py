"""Text in another script than that of its language; English may stand in Latin letters."""

from __future__ import annotations

from collections.abc import Iterator

from lipika.models import Finding
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import finding
from lipika.validation.reading import Reading


def foreign_letters(reading: Reading) -> Iterator[Finding]:
    language, total = reading.language, reading.letters.total()
    if language is None or not total or reading.answer.detected_language == "other":
        return
    allowed = {language.script, "Latin"}
    if reading.hint and language.code == "en":
        allowed.add(reading.hint.script)  # English with a word or two of the language around it
    foreign = {script: count for script, count in reading.letters.items() if script not in allowed}
    if not foreign:
        return
    count = sum(foreign.values())
    evidence = f"{language.code} expects {language.script}; found {_list_scripts(foreign)} of {total} letters"
    if count > limit.WRONG_SCRIPT_SHARE * total:
        yield finding("wrong_script", evidence)
    elif count >= limit.FOREIGN_LETTERS and count > limit.FOREIGN_SHARE * total:
        yield finding("foreign_script", evidence)


def latin_heavy(reading: Reading) -> Iterator[Finding]:
    language = reading.hint or reading.language
    if language is None or language.script == "Latin":
        return
    count, total = reading.letters["Latin"], reading.letters.total()
    if limit.LATIN_HEAVY_SHARE * total < count < total:
        yield finding("latin_heavy", f"{count} of {total} letters")


def _list_scripts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {script}" for script, count in counts.items())


CHECKS = (foreign_letters, latin_heavy)
