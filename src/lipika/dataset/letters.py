"""Words in a text: letters, marks of Indic and Arabic scripts, digits, and what stands inside words. Pure."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

from lipika.llm.transcript import compose_unicode
from lipika.validation.text import compose_chillus

SIGNS = "%₹$€£°&@+="
"""Signs that are read out."""

MARKS = "".join(
    chr(code)
    for code in (*range(0x0300, 0x1D00), *range(0xA8E0, 0xA900))
    if unicodedata.category(chr(code))[0] == "M"
)
"""Vowel signs, viramas, nuktas, vowel points: `\\w` knows none of them. For use in a class of characters."""

_WORD = rf"\w{MARKS}"
_OTHER = re.compile(rf"[^ {_WORD}]+")
_UNSEEN = re.compile(
    r"[\u00ad\u0640\u200b\u200e\u200f\u2060-\u206f\ufeff]+|[\u200c\u200d]+(?=[\u200c\u200d])"
)
_NEEDS_CARE = re.compile(
    rf"[.,'’‘ʼ\u00ad\u0640\u200b-\u200f\u2060-\u206f\ufeff{re.escape(SIGNS)}](?:(?=[{_WORD}])|(?<![.,]))"
)
_GROUPING = re.compile(r"(?<=\d),(?=(?:\d{2,3},)*\d{3}(?![\d,]))")
_INITIALS = re.compile(r"(?<![\w.])(?:[A-Za-z]\.){2,}(?:[A-Za-z](?![\w.]))?")
_KEPT_OR_OTHER = re.compile(
    r"(?P<kept>(?<=\d)\.(?=\d)"
    rf"|(?<=[{_WORD}])[\u200c\u200d'](?=[{_WORD}])"
    rf"|[{re.escape(SIGNS)}])"
    r"|(?P<nothing>[\u200c\u200d])"
    rf"|[^{_WORD}]"
)
_APOSTROPHES = str.maketrans("’‘ʼ", "'''")


def compose(text: str) -> str:
    """A text in NFC: unchanged, at a third of the time, where two looks at its characters can tell that it is."""
    return text if text.isascii() or not _pattern_of_uncomposed().search(text) else compose_unicode(text)


@cache
def _pattern_of_uncomposed() -> re.Pattern[str]:
    """Finds something in every text that is not in NFC, and in few that are.

    What may not be: characters that NFC replaces, two that it makes one of, and marks side by side, which have an
    order. Beyond the BMP, and of Hangul's parts, everything is looked at.
    """
    replaced, firsts, seconds, marks, marked = "\u1100-\u11ff\U00010000-\U0010ffff", "", "", "", ""
    for one in map(chr, (*range(0xA0, 0xD800), *range(0xF900, 0x10000))):
        parts = unicodedata.normalize("NFD", one)
        if unicodedata.combining(one):
            marks += one
        elif unicodedata.combining(parts[-1]):
            marked += one
        if unicodedata.normalize("NFC", one) != one:
            replaced += one
        elif parts != one and not "\uac00" <= one <= "\ud7a3":
            first, second = unicodedata.decomposition(one).split()
            firsts += chr(int(first, 16))
            seconds += chr(int(second, 16))
    firsts = re.escape("".join(sorted(set(firsts))))
    return re.compile(
        rf"[{replaced}{seconds}{marks}]"
        rf"(?:(?<=[{replaced}])|(?<=[{firsts}][{seconds}])|(?<=[{marks}{marked}][{marks}]))"
    )


def words_alone(text: str) -> str:
    """A text in NFC without punctuation, with single spaces. Idempotent; each piece between spaces is its own matter.

    What is inside words stays: an apostrophe between letters (`don't`, `ল'ৰা`; always as `'`), ZWJ and ZWNJ too. Of
    numbers the decimal point stays, and commas between groups leave no gap. Signs that are read out (`SIGNS`) stay,
    initials are joined (`U.S.A.` -> `USA`), old chillus of Malayalam composed.
    """
    text = compose(text).replace("_", " ")
    if _NEEDS_CARE.search(text):
        return " ".join(" ".join(_clean(one) for one in text.split()).split())
    return " ".join(_OTHER.sub(" ", text).split())


@lru_cache(16_384)
def _clean(piece: str) -> str:
    """A piece without spaces, which may hold what belongs to a word or number, or is read out."""
    if not _NEEDS_CARE.search(piece):
        return _OTHER.sub(" ", piece)
    piece = compose_chillus(compose_unicode(_UNSEEN.sub("", piece))).translate(_APOSTROPHES)
    piece = _INITIALS.sub(lambda match: match[0].replace(".", ""), _GROUPING.sub("", piece))
    return compose_unicode(_KEPT_OR_OTHER.sub(_keep, piece))


def _keep(match: re.Match[str]) -> str:
    return match["kept"] or ("" if match["nothing"] else " ")
