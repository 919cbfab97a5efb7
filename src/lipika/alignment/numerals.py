"""Numbers as people say them: what the recogniser writes, where the answer has digits."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

from lipika.errors import UsageError

READINGS = 4
"""Ways of saying the numbers of a text that are tried."""

_NUMBER = re.compile(r"\d(?:[\d,]*\d)?(?:\.\d+)?")
_LONGEST = 12  # digits; longer ones are no quantities


def spell_out_numbers(text: str, code: str) -> list[str]:
    """The text with its numbers in words, in up to four ways; the text alone where it holds none.

    Digits are ASCII; commas group them; `code` is the language's.
    """
    if not _NUMBER.search(text):
        return [text]
    readings = []
    for way in range(READINGS):
        spoken = _NUMBER.sub(lambda match, way=way: f" {_way(_spoken_forms(match[0], code), way)} ", text)  # type: ignore[misc]
        if spoken not in readings:
            readings.append(spoken)
    return readings


def _way(ways: tuple[str, ...], number: int) -> str:
    return ways[number % len(ways)]


@lru_cache(4096)
def _spoken_forms(number: str, code: str) -> tuple[str, ...]:
    whole, _, fraction = number.replace(",", "").partition(".")
    digits = " ".join(_words(int(digit), code) for digit in whole + fraction)
    if len(whole) > _LONGEST:
        return (digits,)
    if fraction:
        return (f"{_words(int(whole), code)} {' '.join(_words(int(digit), code) for digit in fraction)}",)
    ways = [_words(int(whole), code)]
    if len(whole) == 4 and whole[0] == "1" and whole[1] != "0":
        ways += _year_forms(whole, code)
    if whole.startswith("0") or len(whole) > 4:
        ways.append(digits)
    ways += _variations(int(whole), code)
    return tuple(dict.fromkeys(ways))[:READINGS]


def _year_forms(whole: str, code: str) -> list[str]:
    """Nineteen hundred eighty-four, where a hundred is a word of its own."""
    hundred = _words(900, code).split()
    if len(hundred) != 2:
        return []
    rest = int(whole[2:])
    return [
        " ".join(filter(None, (_words(int(whole[:2]), code), hundred[1], _words(rest, code) if rest else "")))
    ]


def cardinal(number: int, code: str) -> str:
    """A whole number in words of a language of the registry, in NFC with single spaces.

    Raises:
        UsageError: indic-numtowords is not installed.
    """
    return _words(number, code)


@lru_cache(16_384)
def _words(number: int, code: str) -> str:
    if code == "kn":
        return _say_in_kannada(number)
    if number >= _LIBRARY_ENDS:
        crores, rest = divmod(number, _CRORE)
        unit = _words(2 * _CRORE, code).split()[-1]
        return " ".join(filter(None, (_words(crores, code), unit, _words(rest, code) if rest else "")))
    return _mend(str(_library()(number, lang=code)), code)


_CRORE = 10_000_000
_LIBRARY_ENDS = 100 * _CRORE  # ten digits and more are a TypeError there
_SLIPS: dict[str, tuple[tuple[str, str], ...]] = {
    "mr": (("हज़ार", "हजार"), ("र्\u200dय", "ऱ्य")),
    "ta": (("ஓன்பது", "ஒன்பது"), ("\u200c", "")),
    "ur": (("ں(?=\\w)", "ن"),),
}
"""Slips of indic-numtowords 1.1.0: pattern, and what it should be."""


def _mend(words: str, code: str) -> str:
    for slip, right in _SLIPS.get(code, ()):
        words = re.sub(slip, right, words)
    return unicodedata.normalize("NFC", " ".join(words.split()))


_KANNADA_HUNDREDS = ("ನೂರು", "ಇನ್ನೂರು", "ಮುನ್ನೂರು", "ನಾನೂರು", "ಐನೂರು", "ಆರುನೂರು", "ಏಳುನೂರು", "ಎಂಟುನೂರು", "ಒಂಬೈನೂರು")
_KANNADA_UNITS = ((_CRORE, "ಕೋಟಿ", "ಕೋಟಿಯ"), (100_000, "ಲಕ್ಷ", "ಲಕ್ಷದ"), (1000, "ಸಾವಿರ", "ಸಾವಿರದ"))


def _say_in_kannada(number: int) -> str:
    """Composed of numbers below 100: the library says `ನೂ` for 120, 130, 150 and many more, and 82 for 83."""
    for size, unit, before_more in _KANNADA_UNITS:
        if number >= size:
            count, rest = divmod(number, size)
            said = f"{_say_in_kannada(count)} {before_more if rest else unit}"
            return f"{said} {_say_in_kannada(rest)}" if rest else said
    hundreds, rest = divmod(number, 100)
    if hundreds:
        said = _KANNADA_HUNDREDS[hundreds - 1]
        return f"{said[:-1]} {_say_in_kannada(rest)}" if rest else said
    return "ಎಂಬತ್ತಮೂರು" if rest == 83 else _mend(str(_library()(rest, lang="kn")), "kn")


def _variations(number: int, code: str) -> list[str]:
    if number >= _LIBRARY_ENDS:
        return []
    return [str(way) for way in _library()(number, lang=code, variations=True)]


def _library() -> Any:
    try:
        from indic_numtowords import num2words
    except ImportError:
        raise UsageError(
            "numbers in words take indic-numtowords: pip install 'lipika-speech[align]' (or [export])"
        ) from None
    return num2words
