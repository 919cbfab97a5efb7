"""Answers of the simulated model about a clip: plausible text of the right length, or NO_SPEECH."""

from __future__ import annotations

import random
import re
from dataclasses import fields
from functools import lru_cache

from lipika.languages import FIRST_CLASS, LANGUAGES
from lipika.llm.lean import KEYS, shrink
from lipika.llm.transcript import EVENT_TAGS, NO_SPEECH
from lipika.models import Answer
from lipika.simulator.audio import SimulatedHearing
from lipika.simulator.schema import Json
from lipika.simulator.sentences import speak

_PACE = (0.95, 1.12)  # of the language's typical rate
_QUIET_TAGS = ("breath", "noise")  # the ones most often heard
_ACCENTS = ("unknown", "standard", "rural", "urban")

_FIELDS = tuple(field.name for field in fields(Answer))

_SILENT = Answer(
    transcription=NO_SPEECH,
    tagged=NO_SPEECH,
    detected_language="none",
    speaker_emotion="neutral",
    speaker_style="other",
    speaker_pace="moderate",
    speaker_accent="unknown",
)


_NAMED = re.compile(r"([A-Z][a-z]+)\s*\(([a-z]{2})\)")  # Hindi (hi)


@lru_cache(maxsize=1024)
def hinted_language(prompt: str) -> str:
    """The language a prompt hints at, as its code: the first `Name (code)` in a line that says "hint", or
    else anywhere; "" when there is none."""
    lines = prompt.splitlines()
    for line in [*(line for line in lines if "hint" in line.lower()), *lines]:
        for name, code in _NAMED.findall(line):
            if code in LANGUAGES and LANGUAGES[code].name == name:
                return str(code)
    return ""


def transcribe(heard: SimulatedHearing, hint: str, rng: random.Random, *, event_tag_rate: float) -> Answer:
    """The answer for a clip in the hinted language (without a hint, in one that the clip itself decides)."""
    if heard.silent:
        return _SILENT
    language = hint or rng.choice(FIRST_CLASS)
    return usual_answer(text_for(heard.speech_s, language, rng), language, rng, event_tag_rate=event_tag_rate)


def text_for(speech_s: float, language: str, rng: random.Random) -> str:
    """As much text as is said in that time."""
    typical = LANGUAGES[language].chars_per_second[1]
    return speak(language, max(round(speech_s * typical * rng.uniform(*_PACE)), 3), rng)


def usual_answer(text: str, language: str, rng: random.Random, *, event_tag_rate: float) -> Answer:
    """An answer around a text. Emotion, style and pace are the usual ones, seven times out of ten."""
    return Answer(
        transcription=text,
        tagged=_add_tag(text, rng) if rng.random() < event_tag_rate else text,
        detected_language=language,
        speaker_emotion=_usual("neutral", rng),
        speaker_style=_usual("conversational", rng),
        speaker_pace=_usual("moderate", rng),
        speaker_accent=rng.choice(_ACCENTS),
    )


def known_fields(answer: Answer) -> dict[str, Json]:
    """The answer's fields for `schema.instance`, under the names of either form; what is left empty is drawn from the
    schema's own enum."""
    full = {name: value for name in _FIELDS if (value := getattr(answer, name))}
    lean = {key: value for key, value in shrink(answer).items() if KEYS[key] in full}
    return {**full, **lean}


def _usual(value: str, rng: random.Random) -> str:
    return value if rng.random() < 0.7 else ""


def _add_tag(text: str, rng: random.Random) -> str:
    """The text with one event tag between two of its words, or at an end."""
    words = text.split(" ")
    tag = rng.choice(_QUIET_TAGS if rng.random() < 0.6 else EVENT_TAGS)
    words.insert(rng.randint(0, len(words)), f"[{tag}]")
    return " ".join(words)
