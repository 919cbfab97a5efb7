"""Numbers as people say them: what the recogniser writes, where the answer has digits."""

from __future__ import annotations

import re
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


def _words(number: int, code: str) -> str:
    return str(_library()(number, lang=code))


def _variations(number: int, code: str) -> list[str]:
    return [str(way) for way in _library()(number, lang=code, variations=True)]


def _library() -> Any:
    try:
        from indic_numtowords import num2words
    except ImportError:
        raise UsageError(
            "comparing numbers takes indic-numtowords: pip install 'lipika-speech[align]'"
        ) from None
    return num2words
