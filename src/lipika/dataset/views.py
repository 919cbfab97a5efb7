"""Views: a transcript as the text that a trainer reads. Pure.

`verbatim` is what was written down. `plain` has no punctuation and no markers. `native` has nothing but letters of
the language's script, with digits and signs in words and English by a policy. `tagged` has the events, too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache

from lipika.dataset.letters import compose, words_alone
from lipika.dataset.numerals import has_numbers, say_numbers
from lipika.dataset.pronounce import pronounce
from lipika.dataset.scripts import write_sounds
from lipika.languages import LANGUAGES
from lipika.llm.transcript import NO_SPEECH
from lipika.validation.text import SCRIPT_OF, read_tags, without_tags


class ViewKind(StrEnum):
    """The views by name."""

    VERBATIM = "verbatim"
    PLAIN = "plain"
    NATIVE = "native"
    TAGGED = "tagged"


class LatinPolicy(StrEnum):
    """A way with words in Latin letters, for the `native` view."""

    KEEP = "keep"
    TRANSLITERATE = "transliterate"
    DROP = "drop"  # the clip is dropped


class DropReason(StrEnum):
    """A reason for which a view has no text for a clip."""

    EMPTY_TEXT = "empty_text"  # nothing is left, or nobody speaks
    MARKER = "marker"  # words are heard that the text lacks: [UNK], [INAUDIBLE], [OVERLAP]
    LATIN = "latin"
    SCRIPT = "script"  # letters of another script
    NUMBER = "number"  # a fraction, a superscript or the like, whose reading is not known
    LANGUAGE = "language"  # not one that the view can write


class ViewChange(StrEnum):
    """Something that a view changed in a text."""

    MARKERS = "markers"  # event tags were taken out
    DIGITS = "digits"  # other digits made 0-9, or said in words
    LATIN = "latin"  # Latin words written in the language's script
    PUNCTUATION = "punctuation"  # punctuation and what else is no word


@dataclass(frozen=True, slots=True)
class Viewed:
    """A text as its view has it; "" with the reason where the clip is dropped."""

    text: str
    dropped: str = ""
    changes: tuple[ViewChange, ...] = ()


_ARABIC_SIGNS = {"٪": "%", "٫": ".", "٬": ","}
_OTHER_DIGITS = {
    one: _ARABIC_SIGNS.get(one) or str(unicodedata.decimal(one))
    for one in map(chr, (*range(0xA0, 0xD800), *range(0xF900, 0x10000)))
    if one.isdecimal() or one in _ARABIC_SIGNS
}
_OTHER_DIGIT = re.compile(f"[{''.join(_OTHER_DIGITS)}]")
_CONTROLS = re.compile(r" *[\x00-\x1f\x7f-\x9f\ufeff]+ *")
_LATIN_WORD = re.compile(r"[A-Za-zÀ-ÖØ-öø-ɏ]+(?:'[A-Za-zÀ-ÖØ-öø-ɏ]+)*")


@dataclass(frozen=True, slots=True)
class View:
    """One view. `latin` is of the `native` view alone."""

    kind: ViewKind
    latin: LatinPolicy = LatinPolicy.TRANSLITERATE

    def apply(self, transcription: str, tagged: str, language: str) -> Viewed:
        """The text of a clip, in NFC.

        Raises:
            UsageError: numbers are to be said, and indic-numtowords is not installed.
        """
        return _VIEWS[self.kind](self, transcription, tagged, language)


def _write_verbatim(view: View, transcription: str, tagged: str, language: str) -> Viewed:
    del view, tagged, language
    return _as_it_is(transcription)


def _write_tagged(view: View, transcription: str, tagged: str, language: str) -> Viewed:
    del view, language
    return _as_it_is(tagged or transcription)


def _as_it_is(text: str) -> Viewed:
    """On one line: a line break or another control character is no part of what was said, and breaks lists."""
    text = compose(_CONTROLS.sub(" ", text) if _CONTROLS.search(text) else text).strip()
    return Viewed(text) if text and text != NO_SPEECH else Viewed("", DropReason.EMPTY_TEXT)


def _write_plain(view: View, transcription: str, tagged: str, language: str) -> Viewed:
    del view, tagged, language
    heard, changes, dropped = _words_heard(transcription)
    return Viewed("", dropped) if dropped else _finish(_drop_punctuation(heard, changes), changes)


def _write_native(view: View, transcription: str, tagged: str, language: str) -> Viewed:
    del tagged
    if language not in LANGUAGES:
        return Viewed("", DropReason.LANGUAGE)
    text, changes, dropped = _words_heard(transcription)
    if dropped:
        return Viewed("", dropped)
    if has_numbers(text):
        text = " ".join(say_numbers(text, language).split())
        changes = [*(one for one in changes if one is not ViewChange.DIGITS), ViewChange.DIGITS]
    text = _drop_punctuation(text, changes)
    keeps_latin = view.latin is LatinPolicy.KEEP or LANGUAGES[language].script == "Latin"
    if not keeps_latin and _LATIN_WORD.search(text):
        if view.latin is LatinPolicy.DROP:
            return Viewed("", DropReason.LATIN)
        text = _LATIN_WORD.sub(lambda match: _transliterate(match[0], language), text)
        changes.append(ViewChange.LATIN)
    left = _foreign(LANGUAGES[language].script, keeps_latin).search(text)
    if left:
        return Viewed("", DropReason.NUMBER if left[0].isnumeric() else DropReason.SCRIPT)
    return _finish(text, changes)


def _drop_punctuation(text: str, changes: list[ViewChange]) -> str:
    bare = words_alone(text)
    if bare != text:
        changes.append(ViewChange.PUNCTUATION)
    return bare


@lru_cache(16_384)
def _transliterate(word: str, language: str) -> str:
    """A Latin word in the language's script; letters that English lacks stay, but for their accents."""
    bare = "".join(one for one in unicodedata.normalize("NFD", word) if not unicodedata.combining(one))
    return write_sounds(pronounce(bare), language) if bare.isascii() else word


@cache
def _foreign(script: str, keeps_latin: bool) -> re.Pattern[str]:
    """Characters that are neither of the script (or Latin, where that is kept) nor stand inside words."""
    scripts = {script, "Latin"} if keeps_latin else {script}
    own = "".join(one for one in map(chr, range(0x41, 0x10000)) if SCRIPT_OF[one] in scripts)
    return re.compile(f"[^ '\u200c\u200d{re.escape(own)}]")


def _finish(text: str, changes: list[ViewChange]) -> Viewed:
    return Viewed(text, "", tuple(changes)) if text else Viewed("", DropReason.EMPTY_TEXT)


def _words_heard(transcription: str) -> tuple[str, list[ViewChange], str]:
    """The text in NFC without tags and with digits 0-9, what that changed, and the reason where it will not do."""
    text, changes = compose(transcription), []
    if text.strip() == NO_SPEECH:
        return "", [], DropReason.EMPTY_TEXT
    if "[" in text:
        if read_tags(text).markers:
            return "", [], DropReason.MARKER
        bare = without_tags(text)
        if bare != text:
            text, changes = bare, [ViewChange.MARKERS]
    if not text.isascii() and _OTHER_DIGIT.search(text):
        text = _OTHER_DIGIT.sub(lambda match: _OTHER_DIGITS[match[0]], text)
        changes.append(ViewChange.DIGITS)
    return text, changes, ""


_Writer = Callable[[View, str, str, str], Viewed]
_VIEWS: dict[ViewKind, _Writer] = {
    ViewKind.VERBATIM: _write_verbatim,
    ViewKind.PLAIN: _write_plain,
    ViewKind.NATIVE: _write_native,
    ViewKind.TAGGED: _write_tagged,
}
