"""Two texts of one clip as sounds, word by word: their distance, and the words of either that the other lacks. Pure.

Where words begin is a matter of spelling: letters are compared across the whole, and then looked at by words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from lipika.languages import LANGUAGES
from lipika.validation.text import SCRIPT_OF

Words = Sequence[str]
"""A text in the form that is compared (`Romaniser.words`)."""

MIXED_SHARE = 0.20  # of letters Latin: beyond, vowels are too much a matter of spelling
_SHORT_WORD = 2  # letters of sound: one of them is enough to say that it is there


@dataclass(frozen=True, slots=True)
class Coverage:
    """Shares of words, 0..1, in two texts of which one is the measure."""

    lacking: float = 0.0  # of the measure's: missing in the other text, or others stand in their place
    unheard: float = 0.0  # of the other text's: not in the measure
    missing: float = 0.0  # of the measure's: missing, and nothing stands in their place


def distance(first: Words, second: Words) -> float:
    """Edits over the longer one's letters, without spaces: 0..1, the same either way."""
    return float(Levenshtein.normalized_distance("".join(first), "".join(second)))


def edits(first: Words, second: Words) -> int:
    """Letters to insert, remove or replace, without spaces."""
    return Levenshtein.distance("".join(first), "".join(second))


def coverage(said: Words, heard: Words) -> Coverage:
    """The words of `heard`, the measure, and `said` that the other lacks.

    A word is there where more than half of its letters are (of two: one), in the cheapest way to turn one text into
    the other.
    """
    in_said, in_heard = "".join(said), "".join(heard)
    found_said, found_heard = bytearray(len(in_said)), bytearray(len(in_heard))
    for step in Levenshtein.opcodes(in_said, in_heard):
        if step.tag == "equal":
            length = step.src_end - step.src_start
            found_said[step.src_start : step.src_end] = b"\1" * length
            found_heard[step.dest_start : step.dest_end] = b"\1" * length
    unheard, lacking = _count_lost(said, found_said), _count_lost(heard, found_heard)
    words = max(len(heard), 1)
    return Coverage(
        lacking=round(lacking / words, 4),
        unheard=round(unheard / max(len(said), 1), 4),
        missing=round(max(lacking - unheard, 0) / words, 4),
    )


def _count_lost(words: Words, found: bytearray) -> int:
    """The number of words that are not there."""
    lost = at = 0
    for word in words:
        half = len(word) + (len(word) > _SHORT_WORD)
        lost += 2 * sum(found[at : at + len(word)]) < half
        at += len(word)
    return lost


def is_mixed(text: str, code: str) -> bool:
    """True if a normalised text holds more English than can be compared vowel by vowel; in Urdu, if it holds any."""
    letters = [character for character in text if not character.isspace()]
    latin = sum(SCRIPT_OF[character] == "Latin" for character in letters)
    return latin > (MIXED_SHARE * len(letters) if LANGUAGES[code].aksharamukha else 0)
