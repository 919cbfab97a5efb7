"""An answer beside what the second recogniser heard: one normal form, one distance, one class. Pure.

The recogniser writes no digits, no Latin letters and no punctuation: the answer is brought into that form first. Both
are romanised, which forgives most spellings, and compared without spaces.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rapidfuzz.distance import Levenshtein

from lipika.alignment.indicconformer import Heard
from lipika.alignment.numerals import spell_out_numbers
from lipika.alignment.romanise import Romaniser
from lipika.alignment.word_times import locate_words
from lipika.languages import LANGUAGES, find_language
from lipika.models import Agreement, Alignment, Answer, Clip
from lipika.validation.text import SCRIPT_OF, normalise, without_tags

ALIGNER_VERSION = "1"
"""Bump when any clip could get another score, class or finding from the same words."""

LONGEST_MS = 20_000  # beyond, what is missing may be the recogniser's fault
FOREIGN_SHARE = 0.20  # of letters and digits that the recogniser cannot write as the answer does
LEAST_LETTERS = 6  # of sound on either side; one letter in fewer is a verdict
TAIL_WORDS = 2
TAIL_LETTERS, TAIL_LETTERS_NATIVE = 8, 5  # Urdu writes few vowels


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
    foreign = sum(character.isdecimal() or SCRIPT_OF[character] == "Latin" for character in counted)
    if foreign > FOREIGN_SHARE * len(counted):
        return "code_mixed"
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


def excluded_alignment(reason: str, language: str, version: str) -> Alignment:
    """The alignment of an answer that is not worth hearing."""
    return Alignment(None, Agreement.EXCLUDED, reason, "", language, "", "", version)


def _compare(pairs: Sequence[Pair], code: str, romaniser: Romaniser, version: str) -> list[Alignment]:
    readings = [_readings(pair.answer.transcription, code) for pair in pairs]
    heard = [normalise(pair.heard.text) for pair in pairs]
    flat = [*(reading for ways in readings for reading in ways), *heard]
    sounds = romaniser.sounds(flat, code)
    alignments = []
    at = 0
    for number, pair in enumerate(pairs):
        ways = sounds[at : at + len(readings[number])]
        at += len(ways)
        said = sounds[len(flat) - len(pairs) + number]
        best = min(ways, key=lambda way: _distance(way, said))
        if LANGUAGES[code].aksharamukha is None and _is_mixed(best):
            best, said = romaniser.sounds([best, said], code, mixed=True)
        tail = _tail(best, said, heard[number], code, romaniser)
        alignments.append(_add_words(pair, _alignment(pair, code, best, said, tail, version)))
    return alignments


def _add_words(pair: Pair, alignment: Alignment) -> Alignment:
    """The alignment with the times of the answer's words, excluded or not, where its posteriors are at hand."""
    if pair.heard.posteriors is None:
        return alignment
    located = locate_words(pair.answer.transcription, pair.heard.posteriors)
    return replace(alignment, words=located.words, word_score=located.score, words_missing=located.missing)


def _readings(transcription: str, code: str) -> list[str]:
    """The answer as the recogniser would write it, once for each way to speak its numbers."""
    plain = _ascii_digits(without_tags(transcription))
    return [normalise(reading) for reading in spell_out_numbers(plain, code)]


def _is_mixed(text: str) -> bool:
    return any(character.isascii() and character.isalpha() for character in text)


def _ascii_digits(text: str) -> str:
    return "".join(str(int(character)) if character.isdecimal() else character for character in text)


def _distance(first: str, second: str) -> float:
    """0..1: edits over the longer one's letters."""
    return float(Levenshtein.normalized_distance(first, second))


def _alignment(pair: Pair, code: str, said: str, heard: str, tail: str, version: str) -> Alignment:
    spoken = pair.heard.spoken_language
    if min(len(said), len(heard)) < LEAST_LETTERS:
        reason = "too_short" if heard else "nothing_heard"
        return Alignment(None, Agreement.EXCLUDED, reason, pair.heard.text, code, spoken, "", version)
    distance = _distance(said, heard)
    score = round(1.0 - distance, 4)
    return Alignment(
        score, CUTS[code].agreement_at(distance), "", pair.heard.text, code, spoken, tail, version
    )


def _tail(said: str, sound: str, heard: str, code: str, romaniser: Romaniser) -> str:
    """Words at the end of `heard`, which sounds like `sound`, that `said` lacks while it agrees with those before;
    empty where it lacks none."""
    least = TAIL_LETTERS if LANGUAGES[code].aksharamukha else TAIL_LETTERS_NATIVE
    words = heard.split()
    if not said or len(sound) - len(said) < least or len(words) <= TAIL_WORDS:
        return ""
    heads = romaniser.sounds([" ".join(words[:count]) for count in range(1, len(words) + 1)], code)
    distances = [_distance(said, head) for head in heads]
    best = min(range(len(heads)), key=distances.__getitem__)
    missing = words[best + 1 :]
    agrees = distances[best] <= (CUTS[code].agree + CUTS[code].weak) / 2
    long_enough = len(missing) >= TAIL_WORDS and len(heads[-1]) - len(heads[best]) >= least
    return " ".join(missing) if agrees and long_enough else ""
