"""Rough transliteration, good enough to spoil a transcript with: Indic scripts to Latin and to one another.

The Indic blocks of Unicode share one layout (ISCII's), 128 code points each, so one table serves nine scripts.
"""

from __future__ import annotations

BLOCKS = {
    "Devanagari": 0x0900,
    "Bengali": 0x0980,
    "Gurmukhi": 0x0A00,
    "Gujarati": 0x0A80,
    "Oriya": 0x0B00,
    "Tamil": 0x0B80,
    "Telugu": 0x0C00,
    "Kannada": 0x0C80,
    "Malayalam": 0x0D00,
}
_BLOCK = 0x80

_VOWELS = dict(
    zip(range(0x05, 0x15), "a aa i ii u uu ri li e e e ai o o o au".split(), strict=True)  # noqa: SIM905
)
_SIGNS = dict(
    zip(range(0x3E, 0x4D), "aa i ii u uu ri ri e e e ai o o o au".split(), strict=True)  # noqa: SIM905
)
_CONSONANTS = dict(
    zip(
        range(0x15, 0x3A),
        "k kh g gh ng ch chh j jh ny t th d dh n t th d dh n n p ph b bh m y r r l l l v sh sh s h".split(),  # noqa: SIM905
        strict=True,
    )
)
_CHILLUS = dict(zip("ൺൻർൽൾൿ", "n n r l l k".split(), strict=True))  # noqa: SIM905
_OTHERS = {"ৰ": "r", "ৱ": "w", "ੱ": "", "ੰ": "n"}
_NASALS = (0x01, 0x02)
_VIRAMA, _NUKTA = 0x4D, 0x3C


def to_script(text: str, source: str, target: str) -> str:
    """The same letters in another Indic script, by position in the block."""
    shift = BLOCKS[target] - BLOCKS[source]
    own = range(BLOCKS[source], BLOCKS[source] + _BLOCK)
    return "".join(
        chr(ord(character) + shift) if ord(character) in own else character
        for character in text.replace("।", ".")
    )


def to_latin(text: str, source: str) -> str:
    """As people type it: no diacritics, the inherent vowel written, dropped at the end of a word."""
    base = BLOCKS[source]
    words = (_latin_word(word, base) for word in text.replace("।", ".").split())
    return " ".join(word for word in words if word)


def _latin_word(word: str, base: int) -> str:
    letters: list[str] = []
    open_vowel = False  # the last consonant still has its inherent vowel
    for character in word:
        offset = ord(character) - base
        if offset in _CONSONANTS or character in "ৰৱ":
            letters.append("a" * open_vowel + (_CONSONANTS.get(offset) or _OTHERS[character]))
            open_vowel = True
        elif offset in _SIGNS:
            letters.append(_SIGNS[offset])
            open_vowel = False
        elif offset == _VIRAMA:
            open_vowel = False
        elif offset in _VOWELS:
            letters.append("a" * open_vowel + _VOWELS[offset])
            open_vowel = False
        elif offset in _NASALS:
            letters.append("a" * open_vowel + "n")
            open_vowel = False
        elif character in _CHILLUS:
            letters.append("a" * open_vowel + _CHILLUS[character])
            open_vowel = False
        elif offset != _NUKTA:
            letters.append(_OTHERS.get(character, character if character.isascii() else ""))
    return "".join(letters)
