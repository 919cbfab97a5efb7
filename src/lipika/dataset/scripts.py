"""Sounds in the letters of a language. Pure.

How loan words are usually spelt, as far as that follows from their sound: nasals before a consonant as the script
writes them, no virama at the end where the language drops the vowel anyway, chillus in Malayalam. Spellings that are
custom alone (ড for Bengali *d*, but লণ্ডন) are not known here.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cache, lru_cache

from lipika.dataset.pronounce import VOWELS

_CONSONANTS = (
    "k",
    "g",
    "c",
    "j",
    "T",
    "D",
    "t",
    "d",
    "n",
    "p",
    "f",
    "b",
    "m",
    "y",
    "r",
    "l",
    "v",
    "s",
    "S",
    "h",
    "z",
)
_ORDER = ("a", "A", "i", "I", "u", "U", "e", "E", "x", "q", "O", "Y", "W")


@dataclass(frozen=True, slots=True)
class _Script:
    """Letters in the order of `_CONSONANTS`; vowels in that of `_ORDER`, on their own and as signs.

    `nasal` is written for n and m before a consonant, by the consonant; `virama` joins, `closes` ends a word.
    """

    consonants: str
    vowels: str
    signs: str
    virama: str
    closes: bool
    nasal: dict[str, str] = field(default_factory=dict)
    finals: dict[str, str] = field(default_factory=dict)  # consonants at the end of a word, or before another
    doubled: str = ""  # consonants written twice between vowels


def _nasals(*groups: str) -> dict[str, str]:
    """`kg:ం` -> {"k": "ం", "g": "ం"}."""
    return {one: sign for group in groups for sounds, sign in [group.split(":")] for one in sounds}


_STOPS = "kgcjTDtdpb"
_SCRIPTS = {
    "hi": _Script(
        "क ग च ज ट ड थ द न प फ़ ब म य र ल व स श ह ज़",
        "अ आ इ ई उ ऊ ए ए ऐ ऑ ओ आइ आउ",
        "- ा ि ी ु ू े े ै ॉ ो ाइ ाउ",
        "्",
        False,
        _nasals(f"{_STOPS}sSzf:ं"),
    ),
    "mr": _Script(
        "क ग च ज ट ड थ द न प फ ब म य र ल व स श ह झ",
        "अ आ इ ई उ ऊ ए ए ॲ ऑ ओ आय आउ",
        "- ा ि ी ु ू े े ॅ ॉ ो ाय ाउ",
        "्",
        False,
        _nasals(f"{_STOPS}sSz:ं"),
    ),
    "bn": _Script(
        "ক গ চ জ ট ড থ দ ন প ফ ব ম য় র ল ভ স শ হ জ",
        "আ আ ই ই উ উ এ এ অ্যা অ ও আই আউ",
        "া া ি ি ু ু ে ে ্যা - ো াই াউ",
        "্",
        False,
        _nasals("kg:ং"),
    ),
    "as": _Script(
        "ক গ চ জ ট ড থ দ ন প ফ ব ম য় ৰ ল ভ ছ ছ হ জ",
        "আ আ ই ই উ উ এ এ এ অ অ আই আউ",
        "া া ি ি ু ু ে ে ে - ো াই াউ",
        "্",
        False,
        _nasals("kg:ং"),
    ),
    "gu": _Script(
        "ક ગ ચ જ ટ ડ થ દ ન પ ફ બ મ ય ર લ વ સ શ હ ઝ",
        "અ આ ઇ ઈ ઉ ઊ એ એ એ ઓ ઓ આઇ આઉ",
        "- ા િ ી ુ ૂ ે ે ે ો ો ાઇ ાઉ",
        "્",
        False,
        _nasals(f"{_STOPS}:ં"),
    ),
    "pa": _Script(
        "ਕ ਗ ਚ ਜ ਟ ਡ ਥ ਦ ਨ ਪ ਫ਼ ਬ ਮ ਯ ਰ ਲ ਵ ਸ ਸ਼ ਹ ਜ਼",
        "ਅ ਆ ਇ ਈ ਉ ਊ ਏ ਏ ਐ ਆ ਓ ਆਈ ਆਊ",
        "- ਾ ਿ ੀ ੁ ੂ ੇ ੇ ੈ ਾ ੋ ਾਈ ਾਊ",
        "",
        False,
        _nasals(f"{_STOPS}:ੰ"),
    ),
    "or": _Script(
        "କ ଗ ଚ ଜ ଟ ଡ ଥ ଦ ନ ପ ଫ ବ ମ ୟ ର ଲ ଭ ସ ଶ ହ ଜ",
        "ଅ ଆ ଇ ଇ ଉ ଉ ଏ ଏ ଆ ଅ ଓ ଆଇ ଆଉ",
        "- ା ି ି ୁ ୁ େ େ ୍ୟା - ୋ ାଇ ାଉ",
        "୍",
        False,
        _nasals("kg:ଙ୍", "TD:ଣ୍", "cj:ଞ୍"),
    ),
    "ta": _Script(
        "க க ச ஜ ட ட த த ன ப ஃப ப ம ய ர ல வ ஸ ஷ ஹ ஸ",
        "அ ஆ இ ஈ உ ஊ எ ஏ ஆ ஆ ஓ ஐ அவு",
        "- ா ி ீ ு ூ ெ ே ே ா ோ ை வு",
        "்",
        True,
        _nasals("kg:ங்", "TD:ண்", "cj:ஞ்", "td:ந்"),
        doubled="T",
    ),
    "te": _Script(
        "క గ చ జ ట డ థ ద న ప ఫ బ మ య ర ల వ స ష హ జ",
        "అ ఆ ఇ ఈ ఉ ఊ ఎ ఏ యా ఆ ఓ ఐ ఔ",
        "- ా ి ీ ు ూ ె ే ్యా ా ో ై ౌ",
        "్",
        True,
        _nasals(f"{_STOPS}:ం"),
    ),
    "kn": _Script(
        "ಕ ಗ ಚ ಜ ಟ ಡ ಥ ದ ನ ಪ ಫ ಬ ಮ ಯ ರ ಲ ವ ಸ ಶ ಹ ಜ",
        "ಅ ಆ ಇ ಈ ಉ ಊ ಎ ಏ ಆ ಆ ಓ ಐ ಔ",
        "- ಾ ಿ ೀ ು ೂ ೆ ೇ ್ಯಾ ಾ ೋ ೈ ೌ",
        "್",
        True,
        _nasals(f"{_STOPS}:ಂ"),
    ),
    "ml": _Script(
        "ക ഗ ച ജ ട ഡ ത ദ ന പ ഫ ബ മ യ ര ല വ സ ഷ ഹ സ",
        "അ ആ ഇ ഈ ഉ ഊ എ ഏ ആ ഓ ഓ ഐ ഔ",
        "- ാ ി ീ ു ൂ െ േ ാ ോ ോ ൈ ൗ",
        "്",
        True,
        _nasals("k:ങ്", "g:ം", "TD:ണ്", "cj:ഞ്", "td:ന്"),
        finals={"n": "ൻ", "l": "ൽ", "r": "ർ", "m": "ം"},
        doubled="T",
    ),
}
_URDU = _Script(
    "ک گ چ ج ٹ ڈ تھ د ن پ ف ب م ی ر ل و س ش ہ ز",
    "ا آ ا ای ا او ای ای ای آ او آئی آؤ",
    "- ا - ی - و ی ی ی ا و ائی اؤ",
    "",
    False,
)


@lru_cache(16_384)
def write_sounds(sounds: str, code: str) -> str:
    """Sounds, as `pronounce` gives them, in the script of one of the twelve languages.

    Raises:
        KeyError: another language.
    """
    if code == "ur":
        return unicodedata.normalize("NFC", " ".join(_write_urdu(part) for part in sounds.split("-")))
    return unicodedata.normalize("NFC", "".join(_write_indic(part, code) for part in sounds.split("-")))


def _write_indic(sounds: str, code: str) -> str:
    script, sounds = _SCRIPTS[code], _localise(sounds, code)
    parts: list[str] = []
    for at, sound in enumerate(sounds):
        before, after = sounds[at - 1 : at], sounds[at + 1 : at + 2]
        if sound in VOWELS:
            parts.append(_vowel(script, sound, is_sign=before != "" and before not in VOWELS))
        else:
            parts.append(_consonant(script, code, sound, before, after))
    return "".join(parts)


def _localise(sounds: str, code: str) -> str:
    """Sounds as far as the language's spelling of loan words differs in them."""
    for pattern, there in _FOLDS.get(code, ()):
        sounds = re.sub(pattern, there, sounds)
    return _FINAL.sub(lambda match: _LONG[match[0]], sounds).rstrip("$")


_FINAL = re.compile(r"[aiue]$")
_LONG = {"a": "A", "i": "I", "u": "U", "e": "E"}
_NG = (rf"Ng(?![{VOWELS}])", "N")
_SHORT_AT_END = ("I$", "i$")  # `$` keeps it from being made long again
_BENGALI = (
    (rf"(?<=[^{VOWELS}])an(?=s?$)", "qn"),
    (r"^ka(?=[mn])", "kq"),
    (r"y(?=[uU])", "i"),
    (r"^y", "iy"),
    _NG,
)
_TWICE = (rf"(?<=[{VOWELS}])T(?=[{VOWELS}])", "TT")
_FOLDS: dict[str, tuple[tuple[str, str], ...]] = {
    "as": _BENGALI,
    "bn": _BENGALI,
    "kn": (_SHORT_AT_END,),
    "ml": (_TWICE, _SHORT_AT_END, ("nT", "nQ"), ("sT", "sX"), (rf"(?<=[{VOWELS}])T(?=s?$)", "X")),
    "or": (_NG,),
    "pa": ((rf"(?<=[^{VOWELS}])y(?=[uU])", "i"),),
    "ta": (_TWICE, _SHORT_AT_END, _NG),
}


def _vowel(script: _Script, sound: str, *, is_sign: bool) -> str:
    row = _row(script.signs if is_sign else script.vowels, _ORDER)
    return "" if row[sound] == "-" else row[sound]


def _consonant(script: _Script, code: str, sound: str, before: str, after: str) -> str:
    """A consonant, with the virama that joins it to the next one or closes the word."""
    behind_vowel, before_consonant = before != "" and before in VOWELS, after != "" and after not in VOWELS
    if sound == "N" and after not in ("k", "g") and code in _NASAL_APART:
        return _NASAL_APART[code]
    if behind_vowel and before_consonant and _is_nasal_of(sound, after) and after in script.nasal:
        return _punjabi_nasal(before) if code == "pa" else script.nasal[after]
    letter = _MALAYALAM_T.get(sound) or _row(script.consonants, _CONSONANTS)["n" if sound == "N" else sound]
    if code == "ta" and sound == "n" and before == "":
        letter = "ந"
    if before_consonant:
        if behind_vowel and sound in script.finals and after not in "yQ" and sound != "m":
            return script.finals[sound]
        return letter + (_PUNJABI_JOINS.get(after, "") if code == "pa" else script.virama)
    if after == "":
        if behind_vowel and sound in script.finals:
            return script.finals[sound]
        return letter + (script.virama if script.closes else "")
    return letter


_NASAL_APART = {"as": "ং", "bn": "ং", "or": "ଂ", "ta": "ங்"}  # elsewhere g is written behind it
_MALAYALAM_T = {"Q": "റ", "X": "റ്റ"}  # behind n; behind s, and at the end
_PUNJABI_JOINS = {"r": "੍"}
_NASALS_OF_LIPS = frozenset("pbf")


def _is_nasal_of(sound: str, consonant: str) -> bool:
    """True if it is the nasal that is said before that consonant anyway."""
    return sound == "N" or (sound == "m" if consonant in _NASALS_OF_LIPS else sound == "n")


def _punjabi_nasal(vowel: str) -> str:
    return "ੰ" if vowel in "aiu" else "ਂ"


@cache
def _row(letters: str, sounds: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(sounds, letters.split(), strict=True))


_URDU_AFTER_VOWEL = {"I": "ئی", "i": "ئ", "U": "ؤ", "u": "ؤ", "e": "ئے", "E": "ئے", "a": "", "A": "ا"}
_URDU_AT_END = {"a": "ا", "e": "ے", "E": "ے", "i": "ی", "u": "و"}


def _write_urdu(sounds: str) -> str:
    """Short vowels are not written inside words; a word does not begin with s and another consonant."""
    parts = ["ا"] if re.match(rf"s[^{VOWELS}]", sounds) else []
    for at, sound in enumerate(sounds):
        before, is_last = sounds[at - 1 : at], at == len(sounds) - 1
        if sound not in VOWELS:
            parts.append(_row(_URDU.consonants, _CONSONANTS)["n" if sound == "N" else sound])
        elif before == "":
            parts.append(_vowel(_URDU, sound, is_sign=False))
        elif before in VOWELS:
            parts.append(_URDU_AFTER_VOWEL.get(sound) or _vowel(_URDU, sound, is_sign=False))
        elif is_last and sound in _URDU_AT_END:
            parts.append(_URDU_AT_END[sound])
        else:
            parts.append(_vowel(_URDU, sound, is_sign=True))
    return "".join(parts)
