"""Sentence banks, one text file per language, and texts of a wanted length drawn from them.

The sentences were written for this project; digits are digits, and every word is in the language's script.
"""

from __future__ import annotations

import random
from functools import cache
from importlib import resources

from lipika.languages import LANGUAGES

_STOP_OF = {"Devanagari": "।", "Bengali": "।", "Gurmukhi": "।", "Oriya": "।", "Arabic": "۔"}
_STOPS = ("।", "۔", ".", "?", "!", "؟")


@cache
def sentences(language: str) -> tuple[str, ...]:
    """The bank of a language code of the registry."""
    folder = resources.files("lipika.simulator") / "sentences"
    lines = (folder / f"{language}.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def speak(language: str, chars: int, rng: random.Random) -> str:
    """About `chars` characters of natural text: whole sentences, the last one ended early if need be.

    No sentence comes twice before all others have come once, so that honest text never looks like a loop.
    """
    bank = list(sentences(language))
    text = ""
    while len(text) < chars:
        if not bank:
            bank = list(sentences(language))
        sentence = bank.pop(rng.randrange(len(bank)))
        text = f"{text} {sentence}" if text else sentence
    text = _cut(text, chars)
    return text if text.endswith(_STOPS) else text + _STOP_OF.get(LANGUAGES[language].script, ".")


def _cut(text: str, chars: int) -> str:
    """The text up to the word boundary nearest to `chars`; at least one word."""
    if len(text) <= chars + 3:
        return text
    before, after = text.rfind(" ", 0, chars + 1), text.find(" ", chars)
    after = len(text) if after < 0 else after
    at = after if before <= 0 or after - chars < chars - before else before
    return text if at == len(text) else text[:at].rstrip(",;:")
