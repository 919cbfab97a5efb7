"""Parts of text: scripts, tags, and one normal form for comparing two spellings of the same words.

Python's `re` breaks Indic words at vowel signs, and `str.isalpha()` is False for नमस्ते: everything here goes by
Unicode category and name of single code points, looked up once per distinct character.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from lipika.languages import LANGUAGES
from lipika.llm.transcript import EVENT_TAGS, MARKERS
from lipika.validation import pages

# ----------------------------------------------------------------------------- characters

_SCRIPTS = {language.script.upper(): language.script for language in LANGUAGES.values()}

NEUTRAL = "neutral"
OTHER = "other"


class _Lookup(dict[str, str]):
    """A dictionary that fills itself: each distinct character is classified once per process."""

    def __init__(self, classify: Callable[[str], str]) -> None:
        super().__init__()
        self._classify = classify

    def __missing__(self, character: str) -> str:
        value = self[character] = self._classify(character)
        return value


def _script(character: str) -> str:
    if unicodedata.category(character)[0] not in "LM":
        return NEUTRAL
    name = unicodedata.name(character, "UNNAMED").split(" ", 1)[0]
    return NEUTRAL if name in {"COMBINING", "MODIFIER"} else _SCRIPTS.get(name, OTHER)


SCRIPT_OF = _Lookup(_script)
"""Letters and marks to the name of their script (of the 11 known), `other` or `neutral`; the rest is `neutral`."""


# ----------------------------------------------------------------------------- the normal form

_CHILLU = tuple(
    (base + "\u0d4d\u200d", atomic)
    for base, atomic in zip("ണനരലളക", "\u0d7a\u0d7b\u0d7c\u0d7d\u0d7e\u0d7f", strict=True)
)
_FOLDED_LETTERS = {
    "ك": "ک",
    "ي": "ی",
    "ى": "ی",
    "ه": "ہ",
    "ة": "ہ",
    "ۃ": "ہ",
    "ھ": "ہ",
    "ـ": "",
    "'": "",
    "’": "",
    "‘": "",
}
_DROPPED = frozenset(
    "\u093c\u09bc\u0a3c\u0abc\u0b3c\u0cbc"  # nuktas
    "\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652\u0653\u0654\u0655\u0656\u0657\u0670"  # Arabic points
)


def _fold(character: str) -> str:
    """One code point of decomposed text in the normal form: itself, an equivalent, a space, or nothing."""
    if character in _FOLDED_LETTERS:
        return _FOLDED_LETTERS[character]
    category = unicodedata.category(character)
    if character in _DROPPED or (category in {"Cf", "Cc"} and not character.isspace()):
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category[0] not in "LMN":
        return " "
    return unicodedata.normalize("NFD", character.casefold())


_FOLD = _Lookup(_fold)


def normalise(text: str) -> str:
    """The form in which two spellings of the same words compare equal. Idempotent.

    Atomic chillus, no zero-width characters, nuktas or Arabic vowel points, ASCII digits, lower case, Urdu
    letters for their Arabic look-alikes, no punctuation, single spaces, NFC.
    """
    folded = _fold_letters(unicodedata.normalize("NFD", compose_chillus(text)))
    return unicodedata.normalize("NFC", " ".join(folded.split()))


def compose_chillus(text: str) -> str:
    """Malayalam chillus as the atomic letters that NFC does not make of their old sequences."""
    if "\u200d" in text:
        for sequence, atomic in _CHILLU:
            text = text.replace(sequence, atomic)
    return text


def _fold_letters(decomposed: str) -> str:
    encoded = pages.encode(decomposed)
    if encoded is None:
        return "".join(map(_FOLD.__getitem__, decomposed))
    page, data = encoded
    return page.decode(data.translate(*_folding(page)))


@cache
def _folding(page: pages.CodePage) -> tuple[bytes, bytes]:
    """The fold of a page's characters by code, and the codes of those that go. None of them folds to two."""
    code_of = {character: code for code, character in enumerate(page.characters)}
    stable = [one for one in page.characters if unicodedata.is_normalized("NFD", one)]  # no others come
    folds = {character: fold for character in stable if (fold := _FOLD[character])}
    gone = bytes(code_of[character] for character in stable if character not in folds)
    return page.table({character: code_of[fold] for character, fold in folds.items()}), gone


# ----------------------------------------------------------------------------- tags

_ALIASES = {
    "laugh": "laughs laughing laughter chuckle chuckles chuckling giggle giggles giggling",
    "cry": "cries crying sob sobs sobbing weep weeps weeping",
    "sigh": "sighs sighing",
    "gasp": "gasps gasping",
    "breath": "breathe breathes breathing inhale inhales inhaling exhale exhales exhaling"
    " sniff sniffs sniffle yawn yawns",
    "cough": "coughs coughing sneeze sneezes sneezing",
    "throat_clear": "throat_clearing clears_throat clear_throat clearing_throat throatclear throat",
    "lip_smack": "lip_smacks lipsmack smack click clicks tsk tongue_click",
    "noise": "noises background_noise horn door ring ringing phone_ringing static applause clapping"
    " animal dog_barking bang beep typing wind traffic",
    "music": "singing song background_music humming jingle",
    "UNK": "unknown unk_word",
    "INAUDIBLE": "unintelligible unclear indistinct",
    "OVERLAP": "overlapping crosstalk cross_talk overlapping_speech",
}
_CANONICAL = {
    spelling.lower(): name
    for name in (*EVENT_TAGS, *MARKERS)
    for spelling in (name, *_ALIASES.get(name, "").split())
}
_BETWEEN_WORDS = re.compile(r"[\s\-_]+")


def canonical_tag(name: str) -> str | None:
    """The tag or marker a spelling means: `Laughter` -> `laugh`, `throat clearing` -> `throat_clear`."""
    return _CANONICAL.get(_BETWEEN_WORDS.sub("_", name.strip().lower()))


# At most 40 characters and no bracket inside: a match never has to be taken back.
_BRACKETED = re.compile(r"\[([^\[\]\n]{0,40})\]")


@dataclass(frozen=True, slots=True)
class Tags:
    """The bracketed names in a text. Names are canonical where known; `unknown` holds the rest as written."""

    events: Counter[str]
    markers: Counter[str]
    misspelt: tuple[str, ...]
    unknown: tuple[str, ...]


_NO_TAGS = Tags(Counter(), Counter(), (), ())


def read_tags(text: str) -> Tags:
    """Every `[name]` in the text, sorted into events, markers and strangers."""
    if "[" not in text:
        return _NO_TAGS
    tags = Tags(Counter(), Counter(), (), ())
    misspelt: list[str] = []
    unknown: list[str] = []
    for written in _BRACKETED.findall(text):
        name = canonical_tag(written)
        if name is None:
            unknown.append(written)
            continue
        (tags.markers if name in MARKERS else tags.events)[name] += 1
        if written != name:
            misspelt.append(written)
    return Tags(tags.events, tags.markers, tuple(misspelt), tuple(unknown))


def without_tags(text: str) -> str:
    """The text without anything in square brackets."""
    return _BRACKETED.sub(" ", text) if "[" in text else text
