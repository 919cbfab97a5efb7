"""Ways in which an answer may be damaged, and forms in which a correct one may come. Deterministic for a seed.

Each takes a sentence and gives the text that a model answered for the sentence's own clip; None where it does not
apply. Phrases (`phrases.toml`) were written without the tables of the rules at hand.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.validation.transliterate import to_latin, to_script
from lipika.languages import LANGUAGES

PHRASES = Path(__file__).parent / "phrases.toml"


@dataclass(frozen=True, slots=True)
class Said:
    """What was really said: a sentence, its language, and other sentences of that language and its neighbour."""

    text: str
    language: str
    others: tuple[str, ...]
    neighbour: tuple[str, ...]
    chance: random.Random

    @property
    def words(self) -> list[str]:
        return self.text.split()

    @property
    def bare(self) -> str:
        """Without its end."""
        return self.text.rstrip("।॥.?!۔؟ ")

    @property
    def stop(self) -> str:
        return {"ur": "۔"}.get(self.language, "।" if LANGUAGES[self.language].script == "Devanagari" else ".")

    def pick(self, *choices: str) -> str:
        return self.chance.choice(choices)

    def phrase(self, kind: str) -> str:
        return str(self.chance.choice(phrases()[self.language][kind]))

    def english(self, kind: str) -> str:
        return str(self.chance.choice(phrases()["en"][kind]))


Damage = Callable[[Said], str | None]


@cache
def phrases() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(PHRASES.read_text("utf-8"))


# ----------------------------------------------------------------------------- words left out


def cut(share: float, *, stop: bool = False) -> Damage:
    """The first words, so many of them; with a stop as if that were all."""

    def damage(said: Said) -> str | None:
        words = said.bare.split()
        kept = max(1, round(share * len(words)))
        if kept == len(words):
            return None
        return " ".join(words[:kept]).rstrip(",;:") + (said.stop if stop else "")

    return damage


def _first_missing(said: Said) -> str:
    words = said.words
    return " ".join(words[-max(1, round(0.35 * len(words))) :])


def _middle_missing(said: Said) -> str:
    words = said.words
    edge = max(1, round(0.17 * len(words)))
    return " ".join([*words[:edge], *words[-edge:]])


def _scattered(said: Said) -> str:
    words = said.words
    kept = sorted(said.chance.sample(range(len(words)), max(1, round(0.35 * len(words)))))
    return " ".join(words[at] for at in kept)


# ----------------------------------------------------------------------------- words too many


def _run(said: Said) -> str:
    words = said.words
    phrase = words[-said.chance.randint(1, 5) :]
    return " ".join(words + phrase * said.chance.randint(12, 40))


def _tail(said: Said) -> str:
    words = said.bare.split()
    return " ".join(words + words[-said.chance.randint(2, 4) :] * said.chance.randint(3, 5)) + said.stop


def _filled_end(said: Said) -> str | None:
    """The second half is lost, and a phrase of the first fills its place."""
    words = said.bare.split()
    if len(words) < 10:
        return None
    head = words[: len(words) // 2]
    phrase = head[-said.chance.randint(2, 3) :]
    filled = list(head)
    while len(" ".join(filled)) < len(said.bare):
        filled += phrase
    return " ".join(filled) + said.stop


def _twice(said: Said) -> str:
    return f"{said.text} {said.text}"


def _on_top(kind: str, *, english: bool = False, first: bool = False) -> Damage:
    def damage(said: Said) -> str:
        phrase = said.english(kind) if english else said.phrase(kind)
        return f"{phrase} {said.text}" if first else f"{said.bare}{said.stop} {phrase}"

    return damage


def _instead(kind: str, *, english: bool = False) -> Damage:
    return lambda said: said.english(kind) if english else said.phrase(kind)


# ----------------------------------------------------------------------------- no transcript


def _labelled(*labels: str) -> Damage:
    return lambda said: f"{said.chance.choice(labels)} {said.text}"


def _native_label(said: Said) -> str:
    label = said.phrase("speaker_label").strip()
    return f"{label} {said.text}"


def _dialogue(said: Said) -> str:
    words = said.bare.split()
    half = len(words) // 2
    first, second = said.chance.choice(
        (("A:", "B:"), ("S1:", "S2:"), ("Speaker 1:", "Speaker 2:"), ("- ", "- "))
    )
    return f"{first} {' '.join(words[:half])}\n{second} {' '.join(words[half:])}"


def _timed(*times: str) -> Damage:
    return lambda said: f"{said.chance.choice(times)} {said.text}"


def _times_inside(said: Said) -> str:
    words = said.words
    at = len(words) // 2
    return " ".join(["0:00", *words[:at], "0:03", *words[at:]])


def _direction(said: Said) -> str:
    words = said.words
    words.insert(said.chance.randrange(len(words) + 1), said.phrase("stage_direction"))
    return " ".join(words)


def _english_direction(said: Said) -> str:
    words = said.words
    words.insert(said.chance.randrange(len(words) + 1), said.english("stage_direction"))
    return " ".join(words)


def _numbered(said: Said) -> str:
    words = said.bare.split()
    half = len(words) // 2
    form = said.pick("{}. ", "{}) ", "({}) ")
    return f"{form.format(1)}{' '.join(words[:half])}\n{form.format(2)}{' '.join(words[half:])}"


def _quoted(said: Said) -> str:
    return said.pick('"{}"', "“{}”", "«{}»", "'{}'", "‘{}’").format(said.text)


def _json_rest(said: Said) -> str:
    return said.pick(
        f'{said.text}"}}',
        f'{{"transcription": "{said.text}"',
        f'{said.text}", "tagged": "{said.bare}',
        f'"text": "{said.text}"',
        f"{said.text}\\n",
        f"{said.text}']",
    )


def _inserted(*signs: str) -> Damage:
    def damage(said: Said) -> str:
        words = said.words
        at = said.chance.randrange(len(words))
        words[at] += said.chance.choice(signs)
        return " ".join(words)

    return damage


def _mojibake(said: Said) -> str | None:
    words = said.words
    at = said.chance.randrange(len(words))
    if len(words[at]) < 3:
        return None
    coding = said.pick("latin-1", "cp1252")
    words[at] = words[at].encode().decode(coding, "replace" if coding == "cp1252" else "strict")
    return " ".join(words)


def _question_marks(said: Said) -> str:
    """Letters that could not be encoded, in one word or all."""
    words = said.words
    where = range(len(words)) if said.chance.random() < 0.5 else [said.chance.randrange(len(words))]
    for at in where:
        words[at] = "?" * max(len(words[at]), 3)
    return " ".join(words)


def _no_spaces(said: Said) -> str:
    return "".join(said.words)


def _many_signs(said: Said) -> str:
    return said.bare + said.pick(".", "!", "?", "-", "…", ",", "।") * 30


def _dots(said: Said) -> str:
    return " ".join(f"{word}..." for word in said.words)


_LOOKALIKES = "aocepxyoi"


def _latin_letter(said: Said) -> str | None:
    words = [word for word in said.words if len(word) > 3]
    if not words:
        return None
    word = said.chance.choice(words)
    at = said.chance.randrange(1, len(word) - 1)
    return said.text.replace(word, word[:at] + said.chance.choice(_LOOKALIKES) + word[at + 1 :], 1)


def _half_romanised(said: Said) -> str | None:
    if said.language == "ur":
        return None
    words = said.bare.split()
    half = len(words) // 2
    tail = to_latin(" ".join(words[half:]), LANGUAGES[said.language].script)
    return f"{' '.join(words[:half])} {tail}"


def _translation(said: Said) -> str:
    return f"{said.bare} {said.phrase('code_translation')}"


# ----------------------------------------------------------------------------- neighbours


def _half_neighbour(said: Said) -> str | None:
    """The second half as a neighbour writes it: Assamese in Bengali letters, Hindi words for Marathi ones."""
    words = said.bare.split()
    half = max(1, len(words) // 2)
    if said.language == "as":
        tail = (word.replace("ৰ", "র").replace("ৱ", "ব") for word in words[half:])
        return " ".join([*words[:half], *tail])
    if not said.neighbour:
        return None
    other = said.chance.choice(said.neighbour).split()
    return " ".join([*words[:half], *other[-max(4, len(words) - half) :]])


def _all_neighbour(said: Said) -> str | None:
    return said.chance.choice(said.neighbour) if said.neighbour else None


def _other_script(said: Said) -> str | None:
    if said.language == "ur":
        return None
    source = LANGUAGES[said.language].script
    target = said.chance.choice([name for name in ("Devanagari", "Telugu", "Kannada") if name != source])
    return to_script(said.text, source, target)


def _romanised(said: Said) -> str | None:
    if said.language == "ur":
        return None
    return to_latin(said.bare, LANGUAGES[said.language].script)


def _other_clip(said: Said) -> str:
    return said.chance.choice(said.others)


def _sentence_more(said: Said) -> str:
    return f"{said.text} {said.chance.choice(said.others)}"


DAMAGES: dict[str, Damage] = {
    "30 % left": cut(0.3),
    "30 % left, a stop": cut(0.3, stop=True),
    "40 % left": cut(0.4),
    "40 % left, a stop": cut(0.4, stop=True),
    "50 % left": cut(0.5),
    "50 % left, a stop": cut(0.5, stop=True),
    "70 % left": cut(0.7),
    "70 % left, a stop": cut(0.7, stop=True),
    "start missing": _first_missing,
    "middle missing": _middle_missing,
    "words missing here and there": _scattered,
    "loop": _run,
    "tail three times": _tail,
    "lost end filled": _filled_end,
    "text twice": _twice,
    "closing line": _instead("closing"),
    "closing line on top": _on_top("closing"),
    "closing line before": _on_top("closing", first=True),
    "English closing line": _instead("closing", english=True),
    "English closing on top": _on_top("closing", english=True),
    "refusal": _instead("refusal"),
    "English refusal": _instead("refusal", english=True),
    "no speech in words": _instead("no_speech"),
    "English no speech": _instead("no_speech", english=True),
    "asks for audio": _instead("provide"),
    "English asks for audio": _instead("provide", english=True),
    "credits": _instead("credits"),
    "credits on top": _on_top("credits"),
    "English credits on top": _on_top("credits", english=True),
    "talk about the audio": _instead("talk"),
    "English talk": _instead("talk", english=True),
    "label A:": _labelled("A:", "B:", "Q:"),
    "label >>": _labelled(">>", ">", ">>>"),
    "label S1:": _labelled("S1:", "SPK_0:", "S2:", "[S1]"),
    "label Speaker 1": _labelled("Speaker 1:", "Speaker A:", "Male:", "Interviewer:"),
    "label in the language": _native_label,
    "dialogue": _dialogue,
    "time 0:05": _timed("0:05", "00:05", "1:02", "00:00"),
    "time [0:05]": _timed("[0:05]", "[00:00:05]", "[00:05.200]", "(0:05)", "(00:05)"),
    "time of subtitles": _timed(
        "00:00:05,000 --> 00:00:08,500", "00:05.000 --> 00:07.100", "1\n00:00:01,000"
    ),
    "time 0.0s": _timed("0.0s", "[0.00 - 3.20]", "(2.5s)", "<0.00>", "0.00-3.20:"),
    "times inside": _times_inside,
    "stage direction": _direction,
    "English direction": _english_direction,
    "numbered list": _numbered,
    "quoted": _quoted,
    "JSON rest": _json_rest,
    "control token": _inserted(
        "<ctrl46>", "<0xE0>", "<unk>", "<|endoftext|>", "\u0007", "\ufffd", "</s>", "▁"
    ),
    "markup": _inserted("</b>", "**", "`", "&nbsp;", "\\n", " ♪", " #", "_", " ~"),
    "mojibake": _mojibake,
    "question marks": _question_marks,
    "no spaces": _no_spaces,
    "thirty signs": _many_signs,
    "dots after words": _dots,
    "Latin letter in a word": _latin_letter,
    "half romanised": _half_romanised,
    "romanised": _romanised,
    "translation in brackets": _translation,
    "half the neighbour's": _half_neighbour,
    "the neighbour's": _all_neighbour,
    "another script": _other_script,
    "another clip's": _other_clip,
    "a sentence more": _sentence_more,
}

UNKNOWABLE = frozenset(
    {
        "40 % left",
        "40 % left, a stop",
        "50 % left",
        "50 % left, a stop",
        "70 % left",
        "70 % left, a stop",
        "middle missing",
        "another clip's",
        "a sentence more",
        "half the neighbour's",
    }
)
"""Kinds that no rule over text and stored audio facts can know for certain (docs/validation.md says why)."""
