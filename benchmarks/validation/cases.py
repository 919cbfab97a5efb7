"""Labelled cases: correct transcripts with plausible clips, and 14 ways of spoiling them. Deterministic."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from benchmarks.validation.clips import CHARS_PER_SECOND, clip_for
from benchmarks.validation.corpus import Sentence, sentences
from benchmarks.validation.transliterate import BLOCKS, to_latin, to_script
from lipika.languages import FIRST_CLASS, LANGUAGES
from lipika.llm.prompt import clip_prompt, system_prompt
from lipika.llm.transcript import EVENT_TAGS
from lipika.models import Answer, Clip
from lipika.validation.reading import count_syllables

CORRECT, MIXED = "correct", "code-mix"


@dataclass(frozen=True, slots=True)
class Case:
    """One answer with its clip; the hint is the language."""

    kind: str
    language: str
    answer: Answer
    clip: Clip


@dataclass(frozen=True, slots=True)
class Good:
    """A correct case, and what a corruption may need to know about it."""

    case: Case
    language: str
    number: int  # of the sentence, the same in all languages
    chance: random.Random


Corruption = Callable[[Good], Case | None]
"""A spoilt copy, or None where the corruption does not apply."""


# ----------------------------------------------------------------------------- correct ones


def good_cases(language: str) -> Iterator[Good]:
    """Each sentence once, each code-mixed one (there are fewer) four times, in clips of different length."""
    chance = random.Random(f"validation {language}")
    for number, sentence in enumerate(sentences(language)):
        for _ in range(4 if sentence.mixed else 1):
            case = _good_case(language, sentence, chance)
            yield Good(case, language, number, chance)


def _good_case(language: str, sentence: Sentence, chance: random.Random) -> Case:
    text = sentence.text
    if chance.random() < 0.15:
        text = text.rstrip("।.?!۔؟")  # many clips end inside a sentence
    tagged = _with_events(text, chance) if chance.random() < 0.2 else text
    answer = Answer(text, tagged, language, "neutral", "conversational", "moderate", "unknown")
    return Case(
        MIXED if sentence.mixed else CORRECT,
        language,
        answer,
        clip_for(len(text), count_syllables(text), chance),
    )


def _with_events(text: str, chance: random.Random) -> str:
    words = text.split()
    words.insert(chance.randrange(len(words) + 1), f"[{chance.choice(EVENT_TAGS)}]")
    return " ".join(words)


# ----------------------------------------------------------------------------- spoilt ones


def loop(good: Good) -> Case:
    words = good.case.answer.transcription.split()
    chance = good.chance
    phrase = words[-chance.randint(1, 5) :]
    forms = (
        lambda: words + phrase * chance.randint(12 // len(phrase) + 3, 40),
        lambda: [*words[:-1], words[-1] * chance.randint(12, 40)],
        lambda: words * chance.randint(4, 8),
    )
    return _said(good, "loop", " ".join(chance.choice(forms)()))


def truncation(good: Good) -> Case:
    """Stops inside the first third, as a model does that gives up: the clip is as long as ever."""
    text = good.case.answer.transcription
    return _said(good, "truncation", text[: max(3, int(len(text) * good.chance.uniform(0.1, 0.33)))].rstrip())


def wrong_script(good: Good) -> Case:
    text, language = good.case.answer.transcription, good.language
    if language == "ur":
        return _said(good, "wrong script", sentences("hi")[good.number].text)
    source = LANGUAGES[language].script
    target = good.chance.choice([name for name in ("Devanagari", "Telugu", "Kannada") if name != source])
    return _said(good, "wrong script", to_script(text, source, target))


_NEIGHBOURS = {"as": "bn", "bn": "as", "hi": "mr", "mr": "hi"}


def same_script(good: Good) -> Case | None:
    neighbour = _NEIGHBOURS.get(good.language)
    return _said(good, "same script", sentences(neighbour)[good.number].text) if neighbour else None


def romanised(good: Good) -> Case:
    source = "hi" if good.language == "ur" else good.language  # the same words, give or take a few
    text = sentences(source)[good.number].text
    return _said(good, "romanised", to_latin(text, LANGUAGES[source].script))


def translated(good: Good) -> Case:
    return _said(good, "translated", sentences("en")[good.number].text)


def markup(good: Good) -> Case:
    words = good.case.answer.transcription.split()
    at = good.chance.randrange(len(words))
    word = words[at]
    words[at] = good.chance.choice(
        (
            f"<b>{word}</b>",
            f"**{word}**",
            f"`{word}`",
            f"{word}<ctrl46>",
            f"{word}&nbsp;",
            f"{word} (music)",
            f"{word}\u0007",
            f"{word}\\n",
            f"[00:0{at % 10}] {word}",
            f"{word}\n- ",
            f"{word} ♪",
        )
    )
    if good.chance.random() < 0.1:
        words.insert(0, "Speaker 1:")
    return _said(good, "markup", " ".join(words))


def prompt_echo(good: Good) -> Case:
    lines = [*system_prompt(good.language).splitlines(), clip_prompt(good.case.clip.duration_ms, varied=True)]
    words = good.chance.choice([line.split() for line in lines if len(line.split()) > 8])
    start = good.chance.randrange(len(words) - 8)
    echoed = " ".join(words[start : start + good.chance.randint(8, 20)])
    text = good.case.answer.transcription
    return _said(good, "prompt echo", good.chance.choice((echoed, f"{echoed} {text}", f"{text} {echoed}")))


def tag_mismatch(good: Good) -> Case:
    text = good.case.answer.transcription
    other = sentences(good.language)[good.number - 20].text
    words = text.split()
    shorter = " ".join(words[: max(1, len(words) * 6 // 10)])
    tagged = good.chance.choice((other, shorter, f"[laugh] {other}", sentences("en")[good.number].text))
    return _spoilt(good, "tag mismatch", tagged=tagged)


def unknown_tag(good: Good) -> Case:
    words = good.case.answer.transcription.split()
    tag = good.chance.choice(
        ("explosion", "silence", "pause", "emphasis", "beat", "hindi", "speaker 2", "foreign")
    )
    words.insert(good.chance.randrange(len(words) + 1), f"[{tag}]")
    return _spoilt(good, "unknown tag", tagged=" ".join(words))


def on_silence(good: Good) -> Case:
    clip, chance = good.case.clip, good.chance
    facts = chance.choice(
        (
            {"speech_ms": 0, "rms_dbfs": -120.0, "peak_dbfs": -120.0, "snr_db": 0.0},
            {"rms_dbfs": chance.uniform(-75, -61), "peak_dbfs": chance.uniform(-65, -40), "snr_db": 1.5},
            {"rms_dbfs": chance.uniform(-58, -42), "peak_dbfs": -35.0, "snr_db": chance.uniform(0.5, 2.8)},
            {"speech_ms": chance.randrange(0, 110)},
        )
    )
    audio = replace(clip.audio, **facts)
    return replace(good.case, kind="invention on silence", clip=replace(clip, audio=audio))


def too_high(good: Good) -> Case:
    """Faster than the fastest speaker that was measured by half and more."""
    return _at_rate(good, "rate too high", CHARS_PER_SECOND.most * good.chance.uniform(1.5, 3))


def too_low(good: Good) -> Case:
    """At most 0.4 of the rate of the slowest speaker that was measured."""
    return _at_rate(good, "rate too low", CHARS_PER_SECOND.least * good.chance.uniform(0.1, 0.4))


def in_words(good: Good) -> Case | None:
    words = sentences(good.language)[good.number].in_words
    return _said(good, "digits as words", words) if words else None


CORRUPTIONS: tuple[Corruption, ...] = (
    loop,
    truncation,
    wrong_script,
    same_script,
    romanised,
    translated,
    markup,
    prompt_echo,
    tag_mismatch,
    unknown_tag,
    on_silence,
    too_high,
    too_low,
    in_words,
)


def _said(good: Good, kind: str, text: str) -> Case:
    return _spoilt(good, kind, transcription=text, tagged=text)


def _spoilt(good: Good, kind: str, **fields: str) -> Case:
    return replace(good.case, kind=kind, answer=replace(good.case.answer, **fields))


def _at_rate(good: Good, kind: str, chars_per_second: float) -> Case:
    """The same text over a clip that is as long as that rate takes."""
    clip = good.case.clip
    span_ms = int(len(good.case.answer.transcription) / chars_per_second * 1000)
    audio = replace(clip.audio, speech_ms=int(clip.audio.speech_ms * span_ms / clip.trimmed_end_ms))
    return replace(good.case, kind=kind, clip=replace(clip, trimmed_end_ms=span_ms, audio=audio))


def cases(language: str) -> Iterator[Case]:
    """The correct ones, and of each correct one that is not code-mixed one spoilt copy of every kind."""
    for good in good_cases(language):
        yield good.case
        if good.case.kind == CORRECT:
            yield from filter(None, (spoil(good) for spoil in CORRUPTIONS))


def all_cases() -> Iterator[Case]:
    for language in FIRST_CLASS:
        yield from cases(language)


assert set(BLOCKS) >= {LANGUAGES[language].script for language in FIRST_CLASS if language != "ur"}
