"""Checks of a text while it is typed: what stands where, in a millisecond, without a clip. Pure.

The checks of script, language, tags, form and repetition are those that judge answers; beside them every single place
that catches the eye is told, which a share of all letters would hide.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

from lipika.languages import LANGUAGES, Language
from lipika.llm.transcript import EVENT_TAGS, MARKERS, NO_SPEECH, compose_unicode
from lipika.models import Answer, AudioFacts, Clip, SegmentName, Severity
from lipika.validation.checks import form, language, neighbours, numbers, repetition, script, stock, stray
from lipika.validation.reading import read
from lipika.validation.text import NEUTRAL, SCRIPT_OF, canonical_tag

_MOST = 8_000  # characters looked at: a clip holds a tenth
_MOST_PLACES = 50  # of one kind
_BRACKET = re.compile(r"\[([^\[\]\n]{0,40})\]")
_CHECKS = (
    *script.CHECKS,
    *language.CHECKS,
    *neighbours.CHECKS,
    *repetition.CHECKS,
    *form.CHECKS,
    *stray.CHECKS,
    *stock.CHECKS,
    *numbers.CHECKS,
)
_TOLD_BY_PLACE = frozenset({"foreign_script"})


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to be shown under a text. `start` and `end` are code points of it; both 0: it is of the whole."""

    code: str
    severity: Severity
    message: str
    start: int = 0
    end: int = 0


def check_typed(text: str, code: str | None) -> list[Remark]:
    """Remarks for a person on the text that they type, tags in place; `code` is the language's, or unknown.

    Nothing here keeps anybody from saving: a person's word decides.
    """
    looked_at = text[:_MOST]
    spoken = LANGUAGES.get(code or "")
    places = chain(
        _find_unbalanced(looked_at),
        _find_tags(looked_at),
        _find_letters(looked_at, spoken),
        _find_digits(looked_at),
    )
    return [*places, *_look_at_whole(looked_at, code or "")]


def _look_at_whole(text: str, code: str) -> Iterator[Remark]:
    plain = _BRACKET.sub(_keep_marker, text)
    if not any(character.isalnum() for character in _BRACKET.sub(" ", text)):
        yield Remark("no_words", Severity.FAIL, "there is no word")
        return
    if compose_unicode(text) != text:
        yield Remark("not_nfc", Severity.INFO, "it will be stored in Unicode's form NFC")
    if text.strip() == NO_SPEECH:
        return
    if NO_SPEECH in text:
        yield Remark("no_speech_mixed", Severity.FAIL, f"{NO_SPEECH} stands beside words")
    reading = read(Answer(plain, plain, code, "", "", "", ""), _ANY_CLIP, code or None)
    for check in _CHECKS:
        for found in check(reading):
            if found.code not in _TOLD_BY_PLACE:
                yield Remark(found.code, found.severity, found.evidence)


def _keep_marker(bracket: re.Match[str]) -> str:
    return bracket[0] if bracket[1] in MARKERS else " "


def _find_unbalanced(text: str) -> Iterator[Remark]:
    opened = -1
    for place in re.finditer(r"[\[\]]", text):
        if place[0] == "[":
            if opened >= 0:
                yield _remark_on_bracket(opened, "is not closed")
            opened = place.start()
        elif opened < 0:
            yield _remark_on_bracket(place.start(), "closes nothing")
        else:
            opened = -1
    if opened >= 0:
        yield _remark_on_bracket(opened, "is not closed")


def _remark_on_bracket(at: int, why: str) -> Remark:
    return Remark("unbalanced_tag", Severity.FAIL, f"this bracket {why}", at, at + 1)


def _find_tags(text: str) -> Iterator[Remark]:
    for place in _BRACKET.finditer(text):
        name = place[1]
        if name in EVENT_TAGS or name in MARKERS:
            continue
        known = canonical_tag(name)
        if known is not None:
            yield Remark("misspelt_tag", Severity.INFO, f"write [{known}]", *place.span())
        else:
            told = f"[{name}] is none of {', '.join(f'[{one}]' for one in (*EVENT_TAGS, *MARKERS))}"
            yield Remark("unknown_tag", Severity.WARN, told, *place.span())


def _find_letters(text: str, spoken: Language | None) -> Iterator[Remark]:
    """Runs of letters that are of neither the language's script nor Latin, and what cannot be seen."""
    allowed = {NEUTRAL, "Latin", spoken.script} if spoken else None
    expected = f"{spoken.name} is in {spoken.script}" if spoken else ""
    for start, end, kind in islice(_find_runs(text, allowed), _MOST_PLACES):
        if kind == "unseen":
            names = ", ".join(_spell_name(character) for character in text[start:end][:3])
            yield Remark("invisible_characters", Severity.WARN, f"it cannot be seen: {names}", start, end)
        else:
            told = f"{text[start:end]!r} is {kind}; {expected}"
            yield Remark("foreign_script", Severity.WARN, told, start, end)


def _find_runs(text: str, allowed: set[str] | None) -> Iterator[tuple[int, int, str]]:
    start, running = 0, ""
    for at, character in enumerate(text):
        kind = _find_oddity(character, allowed)
        if kind != running:
            if running:
                yield start, at, running
            start, running = at, kind
    if running:
        yield start, len(text), running


def _find_oddity(character: str, allowed: set[str] | None) -> str:
    """The script that the character should not be of, `unseen`, or nothing."""
    if character < "\x7f":
        return "unseen" if character < " " and character not in "\n\t" else ""
    if character in "\u200c\u200d":  # part of how words are written
        return ""
    if not character.isprintable() and character != "\u3000":
        return "unseen"
    found = SCRIPT_OF[character]
    return found if allowed is not None and found not in allowed else ""


def _find_digits(text: str) -> Iterator[Remark]:
    if text.isascii():
        return
    for place in re.finditer(r"\d+", text):
        if not place[0].isascii():
            plain = "".join(str(unicodedata.decimal(one)) for one in place[0])
            yield Remark("native_digits", Severity.INFO, f"numbers are written {plain}", *place.span())


def _spell_name(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".strip()


_NAME = SegmentName("any", 0, 1000)
_ANY_CLIP = Clip(
    name=_NAME,
    segment=_NAME,
    original_start_ms=0,
    original_end_ms=10_000,
    trimmed_start_ms=0,
    trimmed_end_ms=10_000,
    leading_pad_ms=0,
    trailing_pad_ms=0,
    duration_ms=10_000,
    sample_rate_hz=0,
    bit_depth=0,
    boundary_score=1.0,
    flags=(),
    audio=AudioFacts(9_000, -20.0, -3.0, 40.0, 0.0, 8_000),
    audio_digest="",
    trimmer_version="",
)
"""Of a clip that says nothing against any text: these checks look at none."""
