"""Pairs of an answer and what a recogniser could have written for the same audio, with the class they belong to.

The sentences are those of the validation benchmark: their numbers in words are written by hand, not by the library
that the comparison uses. English words are written by hand in Devanagari and in Urdu, the rest converted from there.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from aksharamukha import transliterate
from rapidfuzz.distance import Levenshtein

from benchmarks.validation.corpus import sentences
from lipika.languages import LANGUAGES
from lipika.models import Agreement
from lipika.validation.catalogue import LaneName
from lipika.validation.text import normalise

AGREE, WEAK, FLAG, REJECT = Agreement.AGREE, Agreement.WEAK, Agreement.FLAG, Agreement.REJECT
MISSING, WRONG, INVENTED, MUCH_MISSING = (
    "a fifth of the words missing",
    "a fifth of the words wrong",
    "half a sentence invented",
    "two fifths of the words missing",
)

TAIL = "words missing at the end"
_ALL = frozenset(LaneName)
_TTS = frozenset({LaneName.TTS_CLEAN, LaneName.TTS_EXPRESSIVE})

RIGHT: dict[str, frozenset[Agreement]] = {
    "same words": frozenset({AGREE}),
    "spelling variants": frozenset({AGREE}),
    "chillu, nukta, joiners": frozenset({AGREE}),
    "digits beside words": frozenset({AGREE}),
    "English words": frozenset({AGREE, WEAK}),
    "mostly English": frozenset({AGREE, WEAK}),
    "1 letter in 20 misheard": frozenset({AGREE, WEAK}),
    "1 letter in 3 misheard": frozenset({WEAK, FLAG}),
    "half another sentence": frozenset({FLAG, REJECT}),
    "unrelated": frozenset({REJECT}),
    "mostly English, unrelated": frozenset({FLAG, REJECT}),
    "words missing at the end": frozenset({WEAK, FLAG, REJECT}),
    MISSING: frozenset({AGREE, WEAK, FLAG}),
    WRONG: frozenset({AGREE, WEAK, FLAG}),
    INVENTED: frozenset({WEAK, FLAG}),
    MUCH_MISSING: frozenset({WEAK, FLAG, REJECT}),
}
"""What each kind of pair may be classed as."""

LANES: dict[str, frozenset[LaneName]] = {
    **dict.fromkeys(
        ("same words", "spelling variants", "chillu, nukta, joiners", "digits beside words"), frozenset()
    ),
    **dict.fromkeys(("English words", "mostly English", "1 letter in 20 misheard"), frozenset()),
    **dict.fromkeys((MISSING, WRONG, INVENTED, "half another sentence", "mostly English, unrelated"), _TTS),
    **dict.fromkeys(("unrelated", TAIL, MUCH_MISSING), _ALL),
}
"""The lanes that a kind has to close: all of these; a right one none at all. No word of a kind: either will do."""


@dataclass(frozen=True, slots=True)
class Case:
    kind: str
    language: str
    transcription: str
    heard: str


def cases(language: str) -> Iterator[Case]:
    """All pairs of one language; the same every time."""
    chance = random.Random(language)
    plain = [one for one in sentences(language) if not one.mixed]
    said = [normalise(one.in_words or one.text) for one in plain]
    for number, (sentence, words) in enumerate(zip(plain, said, strict=True)):
        if len(words.split()) < 4 or any(character.isdecimal() for character in words):
            continue
        other = said[(number + len(said) // 2) % len(said)]
        heard: dict[str, str] = {
            "same words": words,
            "spelling variants": _spelt_otherwise(words, chance),
            "1 letter in 20 misheard": _misheard(words, 0.05, chance),
            "1 letter in 3 misheard": _misheard(words, 1 / 3, chance),
            "unrelated": other,
            "half another sentence": _half(words, other),
        }
        for kind, text in heard.items():
            yield Case(kind, language, words, text)
        yield Case(
            "chillu, nukta, joiners",
            language,
            sentence.in_words or sentence.text,
            _rewritten(words, language),
        )
        if len(words.split()) >= 6:
            yield Case(TAIL, language, " ".join(words.split()[: -len(words.split()) // 3]), words)
        if len(words.split()) >= 5:
            noisy = _misheard(words, 0.05, chance)
            for kind, answer in _answers_gone_wrong(words.split(), other.split(), chance).items():
                yield Case(kind, language, " ".join(answer), noisy)
        if sentence.in_words and sentence.in_words != sentence.text:
            yield Case("digits beside words", language, sentence.text, words)
    yield from _mixed_cases(language)


def _mixed_cases(language: str) -> Iterator[Case]:
    """Sentences with English words as people mix them, and with two more before every third of their own."""
    mixed = [sentence.text for sentence in sentences(language) if sentence.mixed]
    chance = random.Random(f"{language} mixed")
    crowded = [_crowd(text, chance) for text in mixed]
    for text, more, other in zip(mixed, crowded, [*crowded[21:], *crowded[:21]], strict=True):
        yield Case("English words", language, text, _in_native_letters(text, language))
        yield Case("mostly English", language, more, _in_native_letters(more, language))
        yield Case("mostly English, unrelated", language, more, _in_native_letters(other, language))


def _crowd(text: str, chance: random.Random) -> str:
    english = sorted(_ENGLISH)
    words = [
        " ".join([*chance.sample(english, 2), word]) if number % 3 == 0 else word
        for number, word in enumerate(text.split())
    ]
    return " ".join(words)


# ----------------------------------------------------------------------------- what an answer gets wrong


def _answers_gone_wrong(words: list[str], other: list[str], chance: random.Random) -> dict[str, list[str]]:
    count = len(words)
    few, many = -(-count // 5), -(-2 * count // 5)
    changed = set(chance.sample(range(count), few))
    return {
        MISSING: _without(words, chance.randrange(count - few), few),
        MUCH_MISSING: _without(words, chance.randrange(count - many), many),
        WRONG: [_unlike(word, other, chance) if at in changed else word for at, word in enumerate(words)],
        INVENTED: [*words, *other[: count // 2]],
    }


def _without(words: list[str], at: int, count: int) -> list[str]:
    return [*words[:at], *words[at + count :]]


def _unlike(word: str, others: list[str], chance: random.Random) -> str:
    """Another word, the letters of which are mostly others."""
    return chance.choice(
        [one for one in others if Levenshtein.normalized_distance(one, word) > 0.6] or others
    )


# ----------------------------------------------------------------------------- what a recogniser does


def _letters(text: str) -> list[str]:
    return sorted({character for character in text if not character.isspace()})


def _misheard(text: str, share: float, chance: random.Random) -> str:
    """Letters replaced by others of the same text."""
    letters = _letters(text)
    return "".join(
        chance.choice(letters) if not character.isspace() and chance.random() < share else character
        for character in text
    )


def _half(text: str, other: str) -> str:
    words, others = text.split(), other.split()
    return " ".join([*words[: len(words) // 3], *others[len(others) // 3 :]])


_SWAPS = (
    ("ि", "ी"), ("ु", "ू"), ("श", "ष"), ("ि", "ी"),
    ("ি", "ী"), ("ু", "ূ"), ("শ", "ষ"), ("ণ", "ন"),
    ("િ", "ી"), ("ુ", "ૂ"), ("શ", "ષ"),
    ("ਿ", "ੀ"), ("ੁ", "ੂ"), ("ਣ", "ਨ"),
    ("ି", "ୀ"), ("ୁ", "ୂ"), ("ଶ", "ଷ"),
    ("ி", "ீ"), ("ு", "ூ"), ("ண", "ன"), ("ற", "ர"),
    ("ి", "ీ"), ("ు", "ూ"), ("ష", "శ"),
    ("ಿ", "ೀ"), ("ು", "ೂ"), ("ಷ", "ಶ"),
    ("ി", "ീ"), ("ു", "ൂ"), ("ഷ", "ശ"),
    ("ہ", "ھ"), ("ص", "س"), ("ز", "ذ"), ("ط", "ت"),
)  # fmt: skip
"""Letters that people spell one another for."""


def _spelt_otherwise(text: str, chance: random.Random) -> str:
    """Every third such letter the other way, and one word joined to the next: spelling, not sound."""
    other = {first: second for pair in _SWAPS for first, second in (pair, pair[::-1])}
    swapped = "".join(
        other[character] if character in other and chance.random() < 1 / 3 else character
        for character in text
    )
    words = swapped.split()
    joint = chance.randrange(len(words) - 1)
    return " ".join([*words[:joint], words[joint] + words[joint + 1], *words[joint + 2 :]])


_CHILLU = dict(zip("\u0d7a\u0d7b\u0d7c\u0d7d\u0d7e\u0d7f", "ണനരലളക", strict=True))
_NUKTA = {"hi": "\u093c", "mr": "\u093c", "bn": "\u09bc", "as": "\u09bc", "pa": "\u0a3c", "or": "\u0b3c"}
_VIRAMA = dict(zip(("hi", "mr", "bn", "as", "gu", "or", "ta", "te", "kn", "ml", "pa"), "््্্્୍்్್്੍", strict=True))


def _rewritten(text: str, language: str) -> str:
    """The same words in other code points: chillus as sequences, stray nuktas and joiners, punctuation."""
    rewritten = "".join(_CHILLU[one] + "\u0d4d\u200d" if one in _CHILLU else one for one in text)
    nukta, virama = _NUKTA.get(language), _VIRAMA.get(language)
    if nukta is not None:
        rewritten = re.sub("([कखगजडঢড়ਸਗଡଢযড])", rf"\1{nukta}", rewritten)
    if virama is not None:
        rewritten = rewritten.replace(virama, f"{virama}\u200c")
    return rewritten.replace(" ", "\u200b , ", 1) + ("۔" if language == "ur" else "।")


# ----------------------------------------------------------------------------- English as it is heard

_ENGLISH = {
    "send": ("सेंड", "سینڈ"), "budget": ("बजट", "بجٹ"), "meeting": ("मीटिंग", "میٹنگ"),
    "interview": ("इंटरव्यू", "انٹرویو"), "cancel": ("कैंसल", "کینسل"), "office": ("ऑफिस", "آفس"),
    "deadline": ("डेडलाइन", "ڈیڈ لائن"), "clear": ("क्लियर", "کلیئر"), "actually": ("एक्चुअली", "ایکچوئلی"),
    "team": ("टीम", "ٹیم"), "discuss": ("डिस्कस", "ڈسکس"), "feedback": ("फीडबैक", "فیڈ بیک"),
    "confuse": ("कन्फ्यूज", "کنفیوز"), "confused": ("कन्फ्यूज्ड", "کنفیوزڈ"), "report": ("रिपोर्ट", "رپورٹ"),
    "email": ("ईमेल", "ای میل"), "plan": ("प्लान", "پلان"), "project": ("प्रोजेक्ट", "پراجیکٹ"),
    "presentation": ("प्रेजेंटेशन", "پریزنٹیشن"), "software": ("सॉफ्टवेयर", "سافٹ ویئر"),
}  # fmt: skip


@cache
def _native(word: str, language: str) -> str:
    devanagari, urdu = _ENGLISH[word.lower()]
    target = LANGUAGES[language].aksharamukha
    if target is None:
        return urdu
    written: str = transliterate.process("Devanagari", target, devanagari)
    return "".join(letter for letter in written if letter not in _NOT_WRITTEN)


_NOT_WRITTEN = "ʼ²³⁴"  # of a Tamil that marks what Tamil does not write


def _in_native_letters(text: str, language: str) -> str:
    words: Callable[[re.Match[str]], str] = lambda match: _native(match[0], language)  # noqa: E731
    return re.sub(r"[A-Za-z]+", words, text)
