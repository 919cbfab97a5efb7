"""An answer beside what the second recogniser heard: one normal form, one distance, one class. Pure.

The recogniser writes no digits, no Latin letters and no punctuation: the answer is brought into that form first. Both
are romanised, which forgives most spellings, English words by their sound, and compared without spaces.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from lipika.alignment.indicconformer import Heard
from lipika.alignment.numerals import spell_out_numbers
from lipika.alignment.romanise import Romaniser
from lipika.alignment.sounds import Words, coverage, distance, edits, is_mixed
from lipika.alignment.word_times import locate_words
from lipika.languages import LANGUAGES, find_language
from lipika.models import Agreement, Alignment, Answer, Clip
from lipika.validation.text import normalise, without_tags

ALIGNER_VERSION = "3"
"""Bump when any clip could get another score, class or finding from the same words."""

LONGEST_MS = 20_000  # beyond, what is missing may be the recogniser's fault
DIGITS_SHARE = 0.20  # of letters and digits; there are too many ways to say a long number
LEAST_LETTERS = 6  # of sound on either side; one letter in fewer is a verdict
TAIL_WORDS = 2
TAIL_LETTERS, TAIL_LETTERS_NATIVE = 8, 5  # Urdu writes few vowels
TAIL_HEARD_SHARE = 0.3  # of the tail's letters; with more of them in the answer, others are missing


@dataclass(frozen=True, slots=True)
class Cuts:
    """Distances (1 - score) up to which an answer agrees, agrees weakly, or is flagged; beyond, it is rejected."""

    agree: float = 0.15
    weak: float = 0.35
    flag: float = 0.6

    def agreement_at(self, distance: float) -> Agreement:
        if distance <= self.agree:
            return Agreement.AGREE
        if distance <= self.weak:
            return Agreement.WEAK
        return Agreement.FLAG if distance <= self.flag else Agreement.REJECT


CUTS: dict[str, Cuts] = {code: Cuts() for code in LANGUAGES} | {
    "bn": Cuts(weak=0.38),
    "ml": Cuts(weak=0.43),
    "ta": Cuts(weak=0.41),
    "te": Cuts(weak=0.39),
}
"""Inferred, and widened where two English words in native letters are further from their own spelling (measured)."""

MIXED_CUTS = Cuts(agree=0.2, weak=0.35, flag=0.5)
"""Where much is English and all vowels count as one: unrelated texts come closer to each other (measured)."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An answer and what was heard in its clip. `language` is `language_of`'s."""

    answer: Answer
    duration_ms: int
    language: str
    heard: Heard


def language_of(answer: Answer, language_hint: str | None) -> str:
    """The language to listen for: the answer's, else the hint's; empty where the model knows neither."""
    for name in (answer.detected_language, language_hint):
        language = find_language(name)
        if language is not None:
            return language.indicconformer or ""
    return ""


def reason_not_to_listen(answer: Answer, clip: Clip, language_hint: str | None) -> str:
    """The reason why an answer cannot be compared, as far as can be told without listening; empty where it can."""
    if answer.no_speech:
        return "no_speech"
    if not language_of(answer, language_hint):
        return "language"
    if clip.duration_ms > LONGEST_MS:
        return "too_long"
    plain = normalise(without_tags(answer.transcription))
    counted = [character for character in plain if not character.isspace()]
    if sum(map(str.isdecimal, counted)) > DIGITS_SHARE * len(counted):
        return "numbers"
    return "" if counted else "no_words"


def compare(pairs: Sequence[Pair], romaniser: Romaniser, model: str) -> list[Alignment]:
    """Every pair's alignment, in their order. `model` names the recogniser's bundle in the version.

    The pairs are worth hearing (`reason_not_to_listen`). Texts of one language are romanised together.
    """
    version = version_of(model, romaniser)
    by_language: dict[str, list[int]] = defaultdict(list)
    for number, pair in enumerate(pairs):
        by_language[pair.language].append(number)
    done: dict[int, Alignment] = {}
    for code, numbers in by_language.items():
        chosen = [pairs[number] for number in numbers]
        done |= dict(zip(numbers, _compare(chosen, code, romaniser, version), strict=True))
    return [done[number] for number in range(len(pairs))]


def version_of(model: str, romaniser: Romaniser) -> str:
    """The version that alignments carry: those of the same version are the same for the same clip and answer."""
    return f"{ALIGNER_VERSION}+{model}+{romaniser.name}"


def excluded_alignment(reason: str, language: str, version: str, *, heard: Heard | None = None) -> Alignment:
    """The alignment of an answer that is not worth hearing, or of too little that was `heard`."""
    text, spoken = (heard.text, heard.spoken_language) if heard else ("", "")
    return Alignment(None, Agreement.EXCLUDED, reason, text, language, spoken, "", version)


def _compare(pairs: Sequence[Pair], code: str, romaniser: Romaniser, version: str) -> list[Alignment]:
    readings = [spoken_readings(pair.answer.transcription, code) for pair in pairs]
    heard = [normalise(pair.heard.text) for pair in pairs]
    sounds = romaniser.words([*chain.from_iterable(readings), *heard], code)
    at, alignments = 0, []
    for pair, ways, text, sound in zip(pairs, readings, heard, sounds[-len(pairs) :], strict=True):
        said = sounds[at : at + len(ways)]
        at += len(ways)
        best = min(range(len(ways)), key=lambda way: distance(said[way], sound))
        sides = _Sides(said[best], sound, text, CUTS[code])
        if is_mixed(ways[best], code):
            both = romaniser.words([ways[best], text], code, mixed=True)
            sides = _Sides(both[0], both[1], text, MIXED_CUTS)
        alignments.append(_add_words(pair, _alignment(pair, sides, version)))
    return alignments


def _add_words(pair: Pair, alignment: Alignment) -> Alignment:
    """The alignment with the times of the answer's words, excluded or not, where its posteriors are at hand."""
    if pair.heard.posteriors is None:
        return alignment
    located = locate_words(pair.answer.transcription, pair.heard.posteriors)
    return replace(alignment, words=located.words, word_score=located.score, words_missing=located.missing)


@dataclass(frozen=True, slots=True)
class _Sides:
    """Answer and what was heard, as sounds; `text` is the latter in its letters."""

    said: Words
    sound: Words
    text: str
    cuts: Cuts


def spoken_readings(transcription: str, code: str) -> list[str]:
    """The answer as the recogniser would write it, once for each way to speak its numbers."""
    plain = _ascii_digits(without_tags(transcription))
    return [normalise(reading) for reading in spell_out_numbers(plain, code)]


def _ascii_digits(text: str) -> str:
    return "".join(str(int(character)) if character.isdecimal() else character for character in text)


def _alignment(pair: Pair, sides: _Sides, version: str) -> Alignment:
    spoken, letters = pair.heard.spoken_language, min(_letters(sides.said), _letters(sides.sound))
    if letters < LEAST_LETTERS:
        reason = "too_short" if _letters(sides.sound) else "nothing_heard"
        return excluded_alignment(reason, pair.language, version, heard=pair.heard)
    apart, words = distance(sides.said, sides.sound), coverage(sides.said, sides.sound)
    return Alignment(
        round(1.0 - apart, 4),
        sides.cuts.agreement_at(apart),
        "",
        pair.heard.text,
        pair.language,
        spoken,
        _tail(sides, pair.language),
        version,
        share_lacking=words.lacking,
        share_unheard=words.unheard,
        share_missing=words.missing,
    )


def _letters(words: Words) -> int:
    return sum(map(len, words))


def _tail(sides: _Sides, code: str) -> str:
    """Words at the end of what was heard that the answer lacks while it agrees with those before; or nothing."""
    least = TAIL_LETTERS if LANGUAGES[code].aksharamukha else TAIL_LETTERS_NATIVE
    words, sound = sides.text.split(), sides.sound
    longer = _letters(sound) - _letters(sides.said)
    if not sides.said or longer < least or not TAIL_WORDS < len(words) == len(sound):
        return ""
    distances = [distance(sides.said, sound[:count]) for count in range(1, len(sound) + 1)]
    best = min(range(len(words)), key=distances.__getitem__)
    head, tail = sound[: best + 1], sound[best + 1 :]
    agrees = distances[best] <= (sides.cuts.agree + sides.cuts.weak) / 2
    long_enough = len(tail) >= TAIL_WORDS and _letters(tail) >= least
    # Where the answer has words of the tail, others are missing before them, and it is cheaper to put those in.
    spared = edits(sides.said, head) + _letters(tail) - edits(sides.said, sound)
    absent = spared <= TAIL_HEARD_SHARE * _letters(tail)
    return " ".join(words[best + 1 :]) if agrees and long_enough and absent else ""
