"""The faults that spoil an answer, each as a function from what would have been said to what is said."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from lipika.languages import FIRST_CLASS, LANGUAGES
from lipika.llm.transcript import NO_SPEECH
from lipika.models import Answer
from lipika.simulator.answers import text_for, usual_answer
from lipika.simulator.exchange import Candidate, ClipAnswer, Question, Shape
from lipika.simulator.faults import FaultKind

_LOOPED_WORDS = 3
_LOOPS = 12
_RUNAWAY_TOKENS = 8192  # where the request sets no limit
_VERSION_AFTER_DRIFT = "simulated-next"

_FINISHES: Mapping[FaultKind, str] = {
    FaultKind.SAFETY: "SAFETY",
    FaultKind.RECITATION: "RECITATION",
    FaultKind.PROHIBITED: "PROHIBITED_CONTENT",
    FaultKind.OTHER: "OTHER",
}
"""Finish reasons that come without content."""

_SHAPES = {shape.value: shape for shape in Shape if shape is not Shape.USUAL}


@dataclass(frozen=True, slots=True)
class Scene:
    """Facts that an answer's spoilers may look at."""

    answer: Answer
    question: Question
    rng: random.Random
    share: float = 0.0  # of letters that differ in another wording

    @property
    def language(self) -> str:
        return self.question.language or "hi"

    @property
    def speech_s(self) -> float:
        heard = self.question.heard
        return heard.speech_s if heard and not heard.silent else 3.0

    def saying(self, text: str) -> Answer:
        return replace(self.answer, transcription=text, tagged=text)


def spoil_answer(kind: FaultKind, scene: Scene) -> Answer:
    """The answer with a fault in what it says; the same answer for faults of another sort."""
    spoiler = _ANSWERS.get(kind)
    return spoiler(scene) if spoiler else scene.answer


def spoil_text(kind: FaultKind, text: str) -> str:
    """The answer's JSON text with a fault in its form; the same text for faults of another sort."""
    spoiler = _TEXTS.get(kind)
    return spoiler(text) if spoiler else text


def spoil_candidate(kind: FaultKind, candidate: Candidate) -> Candidate:
    """The candidate with a fault in its finish reason or shape."""
    if kind is FaultKind.BLOCKED_PROMPT:
        return Candidate("", block_reason="PROHIBITED_CONTENT")
    if kind in _FINISHES:
        return Candidate("", _FINISHES[kind])
    if kind is FaultKind.MAX_TOKENS:
        return replace(candidate, text=candidate.text[: len(candidate.text) // 2], finish="MAX_TOKENS")
    if kind is FaultKind.RUNAWAY:
        return replace(candidate, finish="MAX_TOKENS")
    return replace(candidate, shape=_SHAPES.get(kind.value, Shape.USUAL))


def spoil_list(kind: FaultKind, answers: Sequence[ClipAnswer]) -> list[ClipAnswer]:
    """The answers to several clips with a fault in whose is whose; the same for faults of another sort."""
    first, second, *rest = answers
    match kind:
        case FaultKind.SWAP_CLIPS:
            return [replace(first, name=second.name), replace(second, name=first.name), *rest]
        case FaultKind.SWAP_TEXTS:
            return [replace(first, answer=second.answer), replace(second, answer=first.answer), *rest]
        case FaultKind.DROP_CLIP:
            return list(answers[:-1])
        case FaultKind.DOUBLE_CLIP:
            return [first, replace(second, name=first.name), *rest]
        case FaultKind.REPEAT_CLIP:
            return [first, first, second, *rest]
        case FaultKind.STRANGE_CLIP:
            return [replace(first, name="z9zz"), second, *rest]
        case FaultKind.MERGE_CLIPS:
            both = f"{first.answer.transcription} {second.answer.transcription}"
            return [replace(first, answer=replace(first.answer, transcription=both, tagged=both)), *rest]
        case _:
            return list(answers)


def version_after(kind: FaultKind | None, version: str) -> str:
    return _VERSION_AFTER_DRIFT if kind is FaultKind.VERSION_DRIFT else version


# ----------------------------------------------------------------------------- what is said


def _loop(scene: Scene) -> Answer:
    return scene.saying(" ".join([_phrase(scene)] * _LOOPS))


def _runaway(scene: Scene) -> Answer:
    phrase = _phrase(scene)
    wanted = 4 * (scene.question.max_output_tokens or _RUNAWAY_TOKENS)
    return scene.saying(" ".join([phrase] * (wanted // (len(phrase) + 1) + 1)))


def _wrong_language(scene: Scene) -> Answer:
    """Text of another script, under the hinted language's name."""
    script = LANGUAGES[scene.language].script
    others = [code for code in FIRST_CLASS if LANGUAGES[code].script != script]
    return scene.saying(text_for(scene.speech_s, scene.rng.choice(others), scene.rng))


def _markup(scene: Scene) -> Answer:
    return scene.saying(f"<p>{scene.answer.transcription}</p><br/><ctrl46>")


def _prompt_echo(scene: Scene) -> Answer:
    said = scene.question.common_text or scene.question.own_text or scene.answer.transcription
    return scene.saying(said[:200])


def _other_clip(scene: Scene) -> Answer:
    """The same text for every clip of a language and length, whatever is in it."""
    fixed = random.Random(0)
    return usual_answer(
        text_for(scene.speech_s, scene.language, fixed), scene.language, fixed, event_tag_rate=0.0
    )


def _tag_mismatch(scene: Scene) -> Answer:
    words = scene.answer.transcription.split()
    return replace(scene.answer, tagged=" ".join([*words[: len(words) // 2], "[laugh]"]))


def _invented_speech(scene: Scene) -> Answer:
    text = text_for(4 * scene.speech_s, scene.language, scene.rng)
    return usual_answer(text, scene.language, scene.rng, event_tag_rate=0.0)


def _false_no_speech(scene: Scene) -> Answer:
    return replace(scene.saying(NO_SPEECH), detected_language="none")


def _empty_transcription(scene: Scene) -> Answer:
    return scene.saying(" ")


def _timestamps(scene: Scene) -> Answer:
    return scene.saying(f"[00:00] {scene.answer.transcription} [00:{round(scene.speech_s) % 60:02d}]")


def _other_wording(scene: Scene) -> Answer:
    """The same text with letters exchanged for others of its own: each with the rule's probability."""
    text = scene.answer.transcription
    letters = sorted({character for character in text if unicodedata.category(character)[0] == "L"})
    if len(letters) < 2 or scene.answer.no_speech:
        return scene.answer

    def other(letter: str) -> str:
        index = letters.index(letter) + scene.rng.randrange(1, len(letters))
        return letters[index % len(letters)]

    known = set(letters)
    changed = (other(one) if one in known and scene.rng.random() < scene.share else one for one in text)
    return scene.saying("".join(changed))


def _phrase(scene: Scene) -> str:
    return " ".join(scene.answer.transcription.split()[:_LOOPED_WORDS])


_ANSWERS: Mapping[FaultKind, Callable[[Scene], Answer]] = {
    FaultKind.LOOP: _loop,
    FaultKind.RUNAWAY: _runaway,
    FaultKind.WRONG_LANGUAGE: _wrong_language,
    FaultKind.MARKUP: _markup,
    FaultKind.PROMPT_ECHO: _prompt_echo,
    FaultKind.OTHER_CLIP: _other_clip,
    FaultKind.TAG_MISMATCH: _tag_mismatch,
    FaultKind.INVENTED_SPEECH: _invented_speech,
    FaultKind.FALSE_NO_SPEECH: _false_no_speech,
    FaultKind.EMPTY_TRANSCRIPTION: _empty_transcription,
    FaultKind.TIMESTAMPS: _timestamps,
    FaultKind.OTHER_WORDING: _other_wording,
}


# ----------------------------------------------------------------------------- the form it is said in


def _first_half_of_fields(text: str) -> str:
    try:
        fields = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    if not isinstance(fields, dict):
        return text
    return orjson.dumps({name: fields[name] for name in list(fields)[: len(fields) // 2]}).decode()


_TEXTS: Mapping[FaultKind, Callable[[str], str]] = {
    FaultKind.EMPTY: lambda _: "",
    FaultKind.MALFORMED: lambda text: text[: len(text) * 2 // 3],
    FaultKind.PROSE: lambda _: "I could not make out what is said in this audio.",
    FaultKind.DUPLICATE_ANSWER: lambda text: f"{text}\n{text}",
    FaultKind.FENCED: lambda text: f"```json\n{text}\n```",
    FaultKind.MISSING_FIELDS: _first_half_of_fields,
}
