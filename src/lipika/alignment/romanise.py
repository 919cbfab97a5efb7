"""Words of many scripts in Latin letters, so that spellings of the same sounds come close. Pure.

Two ways, chosen by a setting: aksharamukha's RomanColloquial where it is installed (AGPL-3.0, hence optional), or one
of our own that reads the Unicode names of the letters. Urdu writes few vowels: it is compared in its own script.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Literal

from lipika.alignment.english import sound_out_english
from lipika.errors import UsageError
from lipika.languages import LANGUAGES

RomaniserName = Literal["auto", "aksharamukha", "builtin"]


@dataclass(frozen=True, slots=True)
class Romaniser:
    """`name` tells which, in every alignment's version; `lines` romanises normalised lines of one language."""

    name: str
    lines: Callable[[Sequence[str], str], list[str]]

    def words(self, texts: Sequence[str], code: str, *, mixed: bool = False) -> list[list[str]]:
        """The words of normalised texts of one language in the form that is compared: romanised and folded, Latin
        words by their sound. A word of which nothing is left is empty.

        Vowels of English words are a matter of spelling: texts `mixed` with many of them are compared with one vowel
        for all. Urdu stays in its letters; mixed with English its consonants are all that can be compared.
        """
        source = LANGUAGES[code].aksharamukha
        if source is None:
            return [[_consonants(word) if mixed else word for word in text.split()] for text in texts]
        lines = self.lines([sound_out_english(" ".join(text.split())) for text in texts], source)
        words = [_fold_spellings(line) for line in lines]
        if not mixed:
            return words
        voiced = _VOICED if code == "ta" else {}
        return [[_fold_vowels(word).translate(voiced) for word in line] for line in words]


def open_romaniser(name: RomaniserName) -> Romaniser:
    """The romaniser of that name; `auto` takes aksharamukha where it is installed.

    Raises:
        UsageError: aksharamukha is asked for and is not there.
    """
    try:
        from aksharamukha import transliterate
    except ImportError:
        if name == "aksharamukha":
            raise UsageError(
                "ALIGN_ROMANISER: 'aksharamukha' will not do: it is not installed; pip install"
                " 'lipika-speech[aksharamukha]' (AGPL-3.0), or set it to builtin"
            ) from None
        return Romaniser("builtin", _romanise_by_names)
    if name == "builtin":
        return Romaniser("builtin", _romanise_by_names)

    def lines(texts: Sequence[str], source: str) -> list[str]:
        """One call for all: it costs 0.7 ms however short the text."""
        flat = [" ".join(text.split()) for text in texts]
        romanised = transliterate.process(source, "RomanColloquial", "\n".join(flat)).split("\n")
        if len(romanised) == len(flat):
            return list(romanised)
        return [transliterate.process(source, "RomanColloquial", text) for text in flat]

    return Romaniser(f"aksharamukha-{version('aksharamukha')}", lines)


# ----------------------------------------------------------------------------- our own


def _romanise_by_names(texts: Sequence[str], source: str) -> list[str]:
    del source  # the letters say themselves whose they are
    return ["".join(_sounds_in_order(text)) for text in texts]


def _sounds_in_order(text: str) -> list[str]:
    """Sounds in order. A consonant carries an `a` until a vowel sign or a virama takes it."""
    sounds: list[str] = []
    for character in text:
        kind, sound = _sound(character)
        if kind in {"sign", "virama"} and sounds and sounds[-1] == "a":
            sounds.pop()
        sounds += [sound, "a"] if kind == "consonant" else [sound]
    return sounds


_NAME = re.compile(r"[A-Z]+ (LETTER|VOWEL SIGN|SIGN|AU LENGTH MARK|AI LENGTH MARK) ?(.*)")
_SIGNS = {
    "VIRAMA": "", "ANUSVARA": "n", "CANDRABINDU": "n", "BINDI": "n", "ADAK BINDI": "n", "VISARGA": "h",
}  # fmt: skip
_VOWELS = {
    "A": "a", "AA": "a", "I": "i", "II": "i", "U": "u", "UU": "u", "E": "e", "EE": "e", "AI": "ai", "O": "o",
    "OO": "o", "AU": "au", "VOCALIC R": "ri", "VOCALIC RR": "ri", "VOCALIC L": "li", "CANDRA E": "e",
    "CANDRA O": "o", "CANDRA A": "a", "SHORT E": "e", "SHORT O": "o",
}  # fmt: skip
_CONSONANTS = {
    "TTA": "t", "TTHA": "th", "DDA": "d", "DDHA": "dh", "NNA": "n", "NNNA": "n", "NGA": "ng", "NYA": "ny",
    "LLA": "l", "LLLA": "l", "RRA": "r", "SSA": "sh", "SHA": "sh", "CA": "ch", "CHA": "chh", "QA": "k",
    "ZA": "j", "FA": "f", "KHHA": "kh", "GHHA": "g", "DDDHA": "r", "RHA": "rh", "YYA": "y", "LLLLA": "l",
    "TTTA": "t", "VA": "v", "WA": "v", "RA WITH MIDDLE DIAGONAL": "r", "RA WITH LOWER DIAGONAL": "v",
}  # fmt: skip


@cache
def _sound(character: str) -> tuple[str, str]:
    """(consonant | vowel | sign | virama | other, how it sounds without its own vowel)."""
    if character == " " or character.isascii():
        return "other", character
    name = unicodedata.name(character, "")
    match = _NAME.fullmatch(name)
    if match is None:
        return "other", "n" if name.endswith("TIPPI") else ""
    kind, what = match[1], match[2]
    if kind == "SIGN" or what in _SIGNS:
        return ("virama" if what == "VIRAMA" else "other"), _SIGNS.get(what, "")
    if kind != "LETTER":
        return "sign", _VOWELS.get(what, "")
    if what in _VOWELS:
        return "vowel", _VOWELS[what]
    if what.startswith("CHILLU") or what == "KHANDA TA":
        return "other", {"RR": "r", "N": "n", "NN": "n", "L": "l", "LL": "l", "K": "k"}.get(what[7:], "t")
    return "consonant", _CONSONANTS.get(what, what.removesuffix("A").lower())


_URDU_CONSONANTS = {
    letter: sound
    for sound, letters in {
        "b": "ب", "p": "پ", "t": "تٹطة", "s": "ثسصش", "j": "جذزژضظ", "c": "چ", "h": "حہ", "k": "خقک", "d": "دڈ",
        "r": "رڑ", "f": "ف", "g": "گغ", "l": "ل", "m": "م", "n": "نں", "v": "و",
    }.items()
    for letter in letters
}  # fmt: skip
_LATIN_CONSONANTS = str.maketrans("zxq", "jkk", "aeiouwyh")


def _consonants(word: str) -> str:
    """The consonants that Urdu and English spelling share, coarsely; semivowels mostly stand for vowels."""
    latin = sound_out_english(word).translate(_LATIN_CONSONANTS)
    sounds = "".join(
        _URDU_CONSONANTS.get(one, one if one.isascii() and one.isalnum() else "") for one in latin
    )
    return re.sub(r"(.)\1+", r"\1", sounds.replace("v", "").replace("h", ""))


# ----------------------------------------------------------------------------- both

_LATIN_SPELLING = (
    (re.compile(r"sch"), "sk"),
    (re.compile(r"c(?!h)"), "k"),
    (re.compile(r"tion\b"), "shan"),
    (re.compile(r"ph"), "f"),
    (re.compile(r"oo"), "u"),
    (re.compile(r"ee"), "i"),
    (re.compile(r"[wb](?=h)"), "v"),
    (re.compile(r"w"), "v"),
    (re.compile(r"[zj]"), "j"),
    (re.compile(r"x"), "ks"),
    (re.compile(r"q"), "k"),
    (re.compile(r"(.)\1+"), r"\1"),
    (re.compile(r"(?<=\w)a\b"), ""),
    (re.compile(r"m(?=[^aeiou\s]|\b)"), "n"),
)


def _fold_spellings(text: str) -> list[str]:
    """Words, with spellings of the same sound alike: English words beside their spelling in another script, nasals,
    long vowels, the vowel at a word's end that some languages write and do not say."""
    text = unicodedata.normalize("NFD", text.lower())
    for pattern, sound in _LATIN_SPELLING:
        text = pattern.sub(sound, text)
    return ["".join(filter(str.isalnum, word)) for word in text.split(" ")]


_VOWELS_OF_SOUND = re.compile(r"[aeiouyh]+")
_VOICED = str.maketrans("bdgcjf", "ptkssp")  # Tamil writes none of them apart


def _fold_vowels(word: str) -> str:
    return _VOWELS_OF_SOUND.sub("a", word)
