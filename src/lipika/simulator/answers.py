"""Answers of the simulated model about a clip: plausible text of the right length, or NO_SPEECH."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import lru_cache

import orjson

from lipika.languages import FIRST_CLASS, LANGUAGES
from lipika.llm.lean import KEYS, shrink
from lipika.llm.several import CLIP_NAMES, SECONDS_NAMES
from lipika.llm.transcript import EVENT_TAGS, NO_SPEECH
from lipika.models import Answer, JsonObject
from lipika.simulator.audio import SimulatedHearing
from lipika.simulator.exchange import ClipAnswer
from lipika.simulator.schema import Json, instance
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


def list_in(schema: JsonObject) -> tuple[str, JsonObject] | None:
    """The property of a schema that is a list of objects, and the schema of its members; None where there is none."""
    for name, held in (schema.get("properties") or {}).items():
        items = held.get("items") if isinstance(held, Mapping) else None
        if isinstance(items, Mapping) and "properties" in items:
            return name, items
    return None


def write_list(schema: JsonObject, answers: Sequence[ClipAnswer], rng: random.Random) -> str:
    """Several answers as the schema has them."""
    found = list_in(schema)
    if found is None:
        raise AssertionError("the schema has no list")
    name, item = found
    made = {id(one): instance(item, _known_of(one), rng) for one in answers}
    return orjson.dumps({name: [made[id(one)] for one in answers]}).decode()


def _known_of(one: ClipAnswer) -> dict[str, Json]:
    names: dict[str, Json] = dict.fromkeys(CLIP_NAMES, one.name)
    seconds: dict[str, Json] = dict.fromkeys(SECONDS_NAMES, one.seconds)
    return {**known_fields(one.answer), **names, **seconds}


def _usual(value: str, rng: random.Random) -> str:
    return value if rng.random() < 0.7 else ""


def _add_tag(text: str, rng: random.Random) -> str:
    """The text with one event tag between two of its words, or at an end."""
    words = text.split(" ")
    tag = rng.choice(_QUIET_TAGS if rng.random() < 0.6 else EVENT_TAGS)
    words.insert(rng.randint(0, len(words)), f"[{tag}]")
    return " ".join(words)
