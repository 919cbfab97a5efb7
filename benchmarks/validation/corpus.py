"""The correct sentences: hand-written templates, filled in the same way in every language.

Sentence number k means the same in all 13 languages, so that a translation, or the same thing in a
neighbouring language, is at hand for the corruptions that need one.
"""

from __future__ import annotations

import math
import random
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

NUMBERS = ("12", "15", "20", "25", "30", "40", "45", "50", "60", "75", "80", "90")
HOURS = ("4", "5", "6", "7", "8", "9", "10", "11")
SIZES = {"person": 5, "place": 6, "time": 5, "thing": 6, "eng": 8, "n": len(NUMBERS), "h": len(HOURS)}
FILLINGS = 18  # of each template, where it has that many

_FOLDER = Path(__file__).parent / "sentences"
_SLOT = re.compile(r"\{(\w+)\}")

Book = dict[str, Any]  # one TOML file
Filling = tuple[str, int, dict[str, int]]  # which list of templates, which template, slot -> index


@dataclass(frozen=True, slots=True)
class Sentence:
    """One correct transcript; `in_words` is the same with its numbers in words, where it has any."""

    text: str
    in_words: str | None
    mixed: bool  # legal code-mixing


@cache
def sentences(language: str) -> tuple[Sentence, ...]:
    """All sentences of one language, in the order they have in every language."""
    book = _book(language)
    filled = (_sentence(book, *filling) for filling in _fillings())
    return (*filled, *(Sentence(text, None, mixed=False) for text in book["fixed"]))


@cache
def _book(language: str) -> Book:
    return tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))


@cache
def _fillings() -> tuple[Filling, ...]:
    """Distinct fillings of every template, by the slots its English version has."""
    choose = random.Random(20_26)
    return tuple(
        (kind, number, _indices(slots, index))
        for kind in ("templates", "mixed")
        for number, template in enumerate(_book("en")[kind])
        for slots in [sorted(_SLOT.findall(template))]
        for total in [math.prod(SIZES[slot] for slot in slots)]
        for index in choose.sample(range(total), min(FILLINGS, total))
    )


def _indices(slots: list[str], index: int) -> dict[str, int]:
    """`index` written in the mixed radix of the slots' sizes."""
    chosen = {}
    for slot in slots:
        index, chosen[slot] = divmod(index, SIZES[slot])
    return chosen


def _sentence(book: Book, kind: str, number: int, chosen: dict[str, int]) -> Sentence:
    template: str = book[kind][number]
    slots: dict[str, list[str]] = _book("en")["slots"] | book["slots"] | {"n": NUMBERS, "h": HOURS}

    def fill(slots: dict[str, list[str]]) -> str:
        return _SLOT.sub(lambda match: slots[match[1]][chosen[match[1].split("_")[0]]], template)

    in_words = fill(slots | {"n": slots["n_words"]}) if "{n}" in template else None
    return Sentence(fill(slots), in_words, mixed=kind == "mixed")
