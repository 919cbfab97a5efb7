"""Numbers that are not written as digits, as the prompt asks."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise

from lipika.models import Finding
from lipika.validation.catalogue import finding
from lipika.validation.reading import Reading
from lipika.validation.text import normalise


@dataclass(frozen=True, slots=True)
class _NumberWords:
    """One language of numbers.toml, in normal form."""

    words: frozenset[str]
    stems: tuple[str, ...]
    endings: tuple[str, ...]
    unsure: tuple[str, ...]
    units: tuple[str, ...]
    literal: str

    def among(self, words: list[str], others: frozenset[str]) -> list[str]:
        """Those of the words that are numbers of this language, or of the others."""
        listed, stems, endings = self.words, self.stems, self.endings
        return [
            word
            for word in words
            if word in listed
            or word in others
            or word.startswith(stems)
            or (word.endswith(endings) and self._carries(word, listed))
        ]

    def _carries(self, word: str, known: Collection[str]) -> bool:
        return any(word.removesuffix(ending) in known for ending in self.endings)

    def matches_before(self, word: str, after: str) -> bool:
        """An unsure word that something countable follows, or that carries a classifier."""
        if word in self.unsure:
            return after.startswith(self.units)
        return self._carries(word, self.unsure)


@cache
def _tables() -> dict[str, _NumberWords]:
    raw = resources.files("lipika.validation").joinpath("numbers.toml").read_text(encoding="utf-8")
    return {code: _table(fields) for code, fields in tomllib.loads(raw).items()}


def _table(fields: dict[str, str]) -> _NumberWords:
    def word_list(name: str) -> tuple[str, ...]:
        return tuple(normalise(word) for word in fields.get(name, "").split())

    return _NumberWords(
        words=frozenset(word_list("words")),
        stems=word_list("stems"),
        endings=word_list("endings"),
        unsure=word_list("unsure"),
        units=word_list("units"),
        literal=fields.get("literal", ""),
    )


def number_words(reading: Reading) -> Iterator[Finding]:
    tables = _tables()
    english = tables["en"]
    native = tables.get(reading.language.code, english) if reading.language else english
    found = native.among(reading.words, english.words)
    if native.unsure:
        found += [
            word
            for word, after in pairwise([*reading.words, ""])
            if word.startswith(native.unsure) and native.matches_before(word, after)
        ]
    if native.literal and native.literal in reading.plain:
        found.append(native.literal)
    if found:
        yield finding("number_words", ", ".join(found))


CHECKS = (number_words,)
