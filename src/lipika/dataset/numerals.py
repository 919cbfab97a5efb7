"""Digits and signs as they are said, one reading each. Pure, but for the table that it loads.

What is read how: `docs/datasets.md`. A number in the middle of English (`4G`, `COVID-19`, `25th`) is said in English.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from lipika.alignment.numerals import cardinal
from lipika.dataset.letters import MARKS
from lipika.dataset.pronounce import pronounce
from lipika.dataset.scripts import write_sounds

LONGEST_QUANTITY = 9
"""Digits without commas; a longer row of them is a telephone number or the like, said digit by digit."""

_GROUPED = r"\d{1,3}(?:,\d{2,3})*,\d{3}(?![\d,])"
_NUMBER = rf"(?:{_GROUPED}|\d+)(?:\.\d+)*"
_PIECE = rf"[^\W\dA-Za-z_][\w{MARKS}\u200c\u200d]*|[{MARKS}][\w{MARKS}\u200c\u200d]*"

_ORDINAL = re.compile(r"(?<![\w.,])(\d{1,4})(?:st|nd|rd|th)\b", re.IGNORECASE)
_IN_ENGLISH = re.compile(r"(?<=[A-Za-z])-?(\d+(?:\.\d+)?)|(\d+(?:\.\d+)?)-?(?=[A-Za-z])")
_FULL_HOUR = re.compile(r"(?<![\d:])(\d{1,2}):00(?![\d:])")
_ZERO_OF_DATE = re.compile(r"(?<=\d[:/.-])0(?=\d(?!\d))|(?<!\d)(?<!\d\.)0(?=\d[:/-]\d)")
_SAID = re.compile(rf"({_NUMBER})(?:-?({_PIECE}))?")
_ENGLISH_SIGNS = {"&": "and", "@": "at", "+": "plus", "=": "equals"}
_ENGLISH_NAMES = {"$": "dollars", "€": "euros", "£": "pounds", "°": "degrees"}
_SIGN = re.compile(r"[&@+=$€£°%₹]")
_TO_BE_SAID = re.compile(r"[\d&@+=$€£°%₹]")
_SHORT_PIECE = 6  # code points: a case ending rather than a word of its own
_ENGLISH_UNITS = ("hundred", "thousand", "lakh", "lakhs", "crore", "crores", "million", "billion")


@dataclass(frozen=True, slots=True)
class Spoken:
    """A language's words for signs, and the pieces behind digits that belong to the number's word."""

    code: str
    signs: dict[str, str]
    point: str
    units: tuple[str, ...]
    suffixes: frozenset[str] | None  # None: any short piece does
    stems: dict[str, dict[str, str]]
    sum_of_money: re.Pattern[str]
    signs_of_money: tuple[str, ...]


@cache
def spoken(code: str) -> Spoken:
    """The language's own, from `spoken.toml`; names of foreign currencies as English sounds.

    Raises:
        KeyError: no language of the registry.
    """
    table: dict[str, Any] = _table()[code]
    units, suffixes = tuple(table["units"]), table.get("suffixes")
    rupees = ("Rs", *table.get("rupees_short", ()))
    named = "|".join(sorted({*units, *_ENGLISH_UNITS}, key=len, reverse=True))
    names = {
        sign: name if code == "en" else write_sounds(pronounce(name), code)
        for sign, name in _ENGLISH_NAMES.items()
    }
    return Spoken(
        code=code,
        signs={**_ENGLISH_SIGNS, **names, "%": table["percent"], "₹": table["rupees"]},
        point=table["point"],
        units=units,
        suffixes=None if suffixes is None else frozenset(suffixes.split()),
        stems=table.get("stems", {}),
        sum_of_money=re.compile(
            rf"([₹$€£]|(?<![\w{MARKS}])(?:{'|'.join(rupees)})\.?)\s*({_NUMBER}(?:\s*(?:{named})(?![\w{MARKS}]))?)"
        ),
        signs_of_money=("₹", "$", "€", "£", *rupees),
    )


@cache
def _table() -> dict[str, Any]:
    file = resources.files("lipika.dataset") / "spoken.toml"
    return tomllib.loads(unicodedata.normalize("NFC", file.read_text(encoding="utf-8")))


def has_numbers(text: str) -> bool:
    """True if there is anything that `say_numbers` would say."""
    return _TO_BE_SAID.search(text) is not None


def say_numbers(text: str, code: str) -> str:
    """The text, whose digits are 0-9, with its numbers and signs in words of a language of the registry.

    Punctuation that numbers have inside them is read with them, the rest stays.

    Raises:
        UsageError: indic-numtowords is not installed.
    """
    words = spoken(code)
    if any(sign in text for sign in words.signs_of_money):
        text = words.sum_of_money.sub(_money_behind, text)
    return " ".join(_say_in(piece, code) if _TO_BE_SAID.search(piece) else piece for piece in text.split())


@lru_cache(16_384)
def _say_in(piece: str, code: str) -> str:
    """A piece without spaces with its numbers and signs in words."""
    piece = _ORDINAL.sub(lambda match: f" {_english_ordinal(int(match[1]))} ", piece)
    piece = _IN_ENGLISH.sub(lambda match: f" {_say(match[1] or match[2], 'en')} ", piece)
    piece = _ZERO_OF_DATE.sub("", _FULL_HOUR.sub(r"\1", piece))
    piece = _SAID.sub(lambda match: _say_with_piece(match[1], match[2] or "", code), piece)
    return _SIGN.sub(lambda match: f" {spoken(code).signs[match[0]]} ", piece).strip()


def _money_behind(match: re.Match[str]) -> str:
    sign = match[1] if len(match[1]) == 1 else "₹"
    return f"{match[2]} {sign} "


def _say_with_piece(number: str, piece: str, code: str) -> str:
    """A number in words, and what is written behind its digits: as its ending, or as a word of its own."""
    words, said = spoken(code), _say(number, code)
    if not piece:
        return f" {said} "
    if words.suffixes is None:
        is_ending = len(piece) <= _SHORT_PIECE and not piece.startswith(words.units)
        return f" {_join(said, piece, code)} " if is_ending else f" {said} {piece}"
    if piece not in words.suffixes:
        return f" {said} {piece}"
    stem = words.stems.get(piece[0], {}).get(number)
    return f" {stem or said}{piece} "


@lru_cache(8192)
def _say(number: str, code: str) -> str:
    whole, *fractions = number.split(".")
    parts = [_say_whole(whole, code)]
    for fraction in fractions:
        parts += [spoken(code).point, _say_digits(fraction, code)]
    return " ".join(parts)


def _say_whole(whole: str, code: str) -> str:
    digits = whole.replace(",", "")
    is_row = whole == digits and (len(digits) > LONGEST_QUANTITY or (digits[0] == "0" and len(digits) > 1))
    if is_row or len(digits) > _LONGEST_GROUPED:
        return _say_digits(digits, code)
    if whole == digits and len(digits) == 4 and digits[0] == "1" and digits[1] != "0":
        return _say_year(digits, code) or cardinal(int(digits), code)
    return cardinal(int(digits), code)


_LONGEST_GROUPED = 14


def _say_year(digits: str, code: str) -> str:
    """Nineteen hundred eighty-four, where a hundred is a word of its own; else nothing."""
    hundred = cardinal(900, code).split()
    if len(hundred) != 2 or hundred[0] != cardinal(9, code):
        return ""
    said = [cardinal(int(digits[:2]), code), hundred[1]]
    rest = int(digits[2:])
    if code == "te" and rest:
        said[1] = _TELUGU_HUNDREDS
    return " ".join([*said, cardinal(rest, code)] if rest else said)


_TELUGU_HUNDREDS = "వందల"  # before more


def _say_digits(digits: str, code: str) -> str:
    return " ".join(cardinal(int(digit), code) for digit in digits)


_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip


def _english_ordinal(number: int) -> str:
    *before, last = cardinal(number, "en").split()
    if last not in _ORDINALS:
        ordinal = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    else:
        ordinal = _ORDINALS[last]
    return " ".join([*before, ordinal])


# ----------------------------------------------------------------------------- endings of Dravidian numbers

_INHERENT = {"ta": ("ம்", "த்த"), "ml": ("ം", "ത്ത")}  # a thousand, before an ending
_WHOLE_ENDINGS = {
    "ta": {"ம்": "ாம்", "வது": "ாவது", "ல்": "ில்", "ஆம்": "ாம்", "ஆவது": "ாவது", "இல்": "ில்", "ன்": "ின்"},
    "ml": {"ആം": "ാം", "ൽ": "ിൽ", "ഇൽ": "ിൽ", "ന്": "ിന്", "ആമത്തെ": "ാമത്തെ"},
}
_BEFORE_CONSONANT = {"te": ("వ",), "kn": ("ನೇ", "ನೆಯ", "ರಲ್ಲಿ", "ರ", "ರಿಂದ", "ಕ್ಕೆ")}  # take the place of the last u
_SHORT_ENDS = frozenset("\u0bc1\u0bcd\u0d41\u0d4d\u0c41\u0c3f\u0cc1")  # u, virama; in Telugu also i


def _join(said: str, piece: str, code: str) -> str:
    """The number's last word with its ending, as far as that goes by rule (`ஐந்து` + `வது` -> `ஐந்தாவது`)."""
    ending = _WHOLE_ENDINGS.get(code, {}).get(piece, piece)
    replaces = unicodedata.category(ending[0])[0] == "M" or piece in _BEFORE_CONSONANT.get(code, ())
    if not replaces:
        return said + ending
    end, before = _INHERENT.get(code, ("", ""))
    if end and said.endswith(end):
        return said.removesuffix(end) + before + ending
    return (said[:-1] if said[-1] in _SHORT_ENDS else said) + ending
