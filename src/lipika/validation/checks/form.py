"""Text that is no transcript: markup, machine talk, an echo of the question."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from lipika.languages import LANGUAGES
from lipika.llm.prompt import clip_prompt, system_prompt
from lipika.llm.transcript import FIELDS, compose_unicode
from lipika.models import Finding
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import finding
from lipika.validation.checks.matching import first_match, texts_of
from lipika.validation.reading import Reading
from lipika.validation.text import normalise

# Every pattern is a set of literals or of runs with a small cap: none of them can back-track far.
_CONTROL = re.compile(
    r"<ctrl\d{1,3}>|<0x[0-9a-f]{2}>|<unused\d{1,4}>|<\|?(?:end_of_turn|start_of_turn|endoftext|eos|bos|pad|unk)\|?>"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd\ufff9-\ufffb\ufdd0-\ufdef\ufffe\uffff\ue000-\uf8ff\U000f0000-\U0010ffff]",
    re.IGNORECASE,
)
_INVISIBLE = re.compile(
    "[\u00a0\u00ad\u061c\u1680\u180e\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
    "\U000e0000-\U000e007f]"
)
_FIELD_NAMES = re.compile("|".join(name for name in FIELDS if "_" in name))
_TALK = re.compile(
    r"as an ai\b|language model"
    r"|\bi(?: am|'m|’m)? (?:cannot|can't|can’t|unable to) (?:transcribe|process)"
    r"|unable to (?:transcribe|process)|(?:could|can|do) not (?:transcribe|provide a transcri)"
    r"|the speakers? (?:says?|said|talks?|mentions?|asks?|(?:is|are) (?:saying|talking|speaking|asking|describing))\b"
    r"|(?:the|this) (?:audio|recording|clip) (?:contains?|features?|consists of|(?:appears?|seems) to"
    r"|is (?:in\b|unclear|inaudible|silent|too ))"
    r"|here(?: is|'s|’s) (?:the|your|a) (?:transcri|verbatim|text)"
    r"|^(?:transcription|transcript|translation|verbatim)[ \t]?:"
    r"|no (?:discernible|audible|human|intelligible) (?:speech|words)",
    re.IGNORECASE | re.MULTILINE,
)


def control(reading: Reading) -> Iterator[Finding]:
    if not all(map(_is_tidy, texts_of(reading))):
        yield from first_match(reading, "control_characters", _CONTROL)
        yield from first_match(reading, "invisible_characters", _INVISIBLE)


def form(reading: Reading) -> Iterator[Finding]:
    for text in texts_of(reading):
        written = compose_unicode(text)
        if written != text:
            pairs = enumerate(zip(text, written, strict=False))
            first = next((at for at, (old, new) in pairs if old != new), 0)
            yield finding("not_nfc", ascii(text[first : first + 3]))
            return


def talk(reading: Reading) -> Iterator[Finding]:
    if reading.letters["Latin"] >= limit.TALK_LETTERS:
        yield from first_match(reading, "meta_talk", _TALK)


def _is_tidy(text: str) -> bool:
    """Nothing in it that `_CONTROL` or `_INVISIBLE` could match: looking for that is dearer than asking Unicode."""
    return text.isprintable() and "<" not in text and "\ufffd" not in text


def echo(reading: Reading) -> Iterator[Finding]:
    said = reading.answer.transcription
    names = _FIELD_NAMES.search(said) if "_" in said else None
    if names:
        yield finding("prompt_echo", names[0], names.span())
    elif len(reading.own_tags.events) >= limit.ECHO_TAGS:
        yield finding("prompt_echo", " ".join(reading.own_tags.events))
    elif reading.letters["Latin"] >= limit.ECHO_LETTERS:
        words = reading.words
        runs = zip(words, words[1:], words[2:], words[3:], strict=False)
        found = next((run for run in runs if run in _prompt_runs()), None)
        if found:
            yield finding("prompt_echo", " ".join(found))


@cache
def _prompt_runs() -> frozenset[tuple[str, ...]]:
    """Every four words in a row of every prompt."""
    texts = [*map(system_prompt, (None, *LANGUAGES)), clip_prompt(1000, varied=True)]
    return frozenset(
        run
        for text in texts
        for line in text.splitlines()
        for words in [normalise(line).split()]
        for run in zip(words, words[1:], words[2:], words[3:], strict=False)
    )


def accent(reading: Reading) -> Iterator[Finding]:
    said = reading.answer.speaker_accent
    if len(said) > limit.ACCENT_CHARS:
        yield finding("accent_long", said)


CHECKS = (control, form, talk, echo, accent)
