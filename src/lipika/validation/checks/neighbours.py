"""Words of a sister language in the same script: Hindi or Marathi, Assamese or Bengali, Urdu or Persian.

The evidence is marks: distinct words that only one of the two writes, by list, by ending or by a letter
(neighbours.toml). No single sign condemns a clip: pycld2 takes one Marathi headline in fifty for Hindi, and one
odd word is a quotation or a slip.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from lipika.models import Finding
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import finding
from lipika.validation.identify import identify, reads_as
from lipika.validation.reading import Reading
from lipika.validation.text import normalise

_ARABIC_RIVALS = frozenset({"ar", "fa", "ps", "sd", "ug", "ku"})
_VIRAMA = "\u09cd"
"""A letter under it (ত্র, ত্ৰ) looks the same in both: which one was typed says nothing about the language."""

_NOT_URDU = frozenset("كيىة")


@dataclass(frozen=True, slots=True)
class _Marks:
    """One language of neighbours.toml, in normal form."""

    rival: str
    words: frozenset[str]
    endings: tuple[str, ...]
    letters: frozenset[str]

    def find(self, words: frozenset[str]) -> list[str]:
        listed = words & self.words
        lettered = [
            word
            for letter in self.letters
            for word in words
            if letter in word and letter in word.replace(_VIRAMA + letter, "")
        ]
        ended = [word for word in words if len(word) >= limit.ENDING_CHARS and word.endswith(self.endings)]
        return sorted({*listed, *lettered, *ended})

    def count_letters(self, text: str) -> int:
        """The count of its own letters, but for those under a virama."""
        return sum(text.count(letter) - text.count(_VIRAMA + letter) for letter in self.letters)

    def mark(self, text: str) -> bool:
        """True if the text has any of the marks."""
        return any(letter in text for letter in self.letters) or bool(self.find(frozenset(text.split())))


@cache
def _tables() -> dict[str, _Marks]:
    raw = resources.files("lipika.validation").joinpath("neighbours.toml").read_text(encoding="utf-8")
    return {
        code: _Marks(
            rival=fields.get("rival", ""),
            words=frozenset(map(normalise, fields["words"].split())),
            endings=tuple(map(normalise, fields.get("endings", "").split())),
            letters=frozenset(fields.get("letters", "")),
        )
        for code, fields in tomllib.loads(raw).items()
    }


def same_script(reading: Reading) -> Iterator[Finding]:
    code = reading.language.code if reading.language else ""
    if code == "ur":
        yield from _urdu(reading)
    elif code in _tables():
        yield from _neighbours(reading, code)


def _neighbours(reading: Reading, code: str) -> Iterator[Finding]:
    table = _tables()[code]
    rival = _tables()[table.rival]
    words = frozenset(reading.words)
    own, other = table.find(words), rival.find(words)
    settled = own and len(other) <= len(own)  # no identifier outweighs that, and asking it is dear
    found = None if settled else reads_as(reading)
    many = len(other) >= limit.NEIGHBOUR_MARKS and found != code
    if (many and len(other) > 3 * len(own)) or (found == table.rival and len(other) > 2 * len(own)):
        yield finding("same_script_language", _evidence(other, table.rival, len(own), code, found))
    elif other and (part := _part(_own_words(reading), table, rival)):
        yield finding("same_script_language", f"in a part: {part}")
    elif table.letters and (letters := rival.count_letters(reading.plain)):
        yield finding("neighbour_letters", f"{letters} letters of {table.rival}")
    elif len(other) > len(own) or (found == table.rival and not own):
        yield finding("neighbour_words", _evidence(other, table.rival, len(own), code, found))


def _own_words(reading: Reading) -> list[str]:
    """The words outside of quotation marks."""
    plain = _QUOTATION.sub(" ", reading.plain)
    return reading.words if plain == reading.plain else normalise(plain).split()


_QUOTATION = re.compile('["“‘][^"“”‘’]{1,200}["”’]')


def _part(words: list[str], table: _Marks, rival: _Marks) -> str:
    """Words of a half, or in a row, with marks of the rival and next to none of the language; empty where there are
    none such."""
    half = len(words) // 2
    for part in (words[half:], words[:half]) if half >= limit.NEIGHBOUR_PART_WORDS else ():
        other, own = rival.find(frozenset(part)), table.find(frozenset(part))
        many = len(other) >= limit.NEIGHBOUR_PART_MARKS and len(other) > 2 * len(own)
        if many or (other and not own and identify(" ".join(part)) == table.rival):
            return ", ".join(other[:5])
    marks: list[str] = []
    length = 0
    for word in (*words, ""):
        alone = frozenset((word,))
        if word and not table.find(alone):
            length += 1
            marks += rival.find(alone)
            continue
        if length >= limit.NEIGHBOUR_RUN_WORDS and len(set(marks)) >= limit.NEIGHBOUR_MARKS:
            return ", ".join(dict.fromkeys(marks))
        marks.clear()
        length = 0
    return ""


def _evidence(other: list[str], rival: str, own: int, code: str, found: str | None) -> str:
    told = f"{len(other)} marks of {rival} ({', '.join(other[:5])})" if other else f"no marks of {rival}"
    return f"{told}, {own} of {code}; reads as {found or 'neither'}"


def _urdu(reading: Reading) -> Iterator[Finding]:
    """Nearly every Urdu sentence has one of the letters or words that its rivals lack: ہے, سے, میں, کا."""
    marked = _tables()["ur"].mark(reading.plain)
    found = reads_as(reading)
    strangers = sorted(_NOT_URDU.intersection(reading.plain))
    letters = sum(map(len, set(reading.words)))  # what is said again and again is seen once
    foreign = found in _ARABIC_RIVALS or len(strangers) > 1 or letters >= limit.UNMARKED_URDU_LETTERS
    if not marked and letters >= limit.LANGUAGE_ID_LETTERS and foreign:
        why = f"reads as {found or 'none'}; {' '.join(strangers)}".rstrip("; ")
        yield finding("same_script_language", f"no letter or word of Urdu among {letters} letters; {why}")
    elif found in _ARABIC_RIVALS:
        yield finding("neighbour_words", f"reads as {found}")
    elif strangers:
        yield finding("arabic_letters", " ".join(strangers))


CHECKS = (same_script,)
