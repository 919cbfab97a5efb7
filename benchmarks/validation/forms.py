"""Forms in which a correct answer may come, with the clip that it would have. Deterministic for a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.validation.clips import CHARS_PER_SECOND, clip_for, clip_of
from benchmarks.validation.damage import Said
from lipika.models import Clip
from lipika.validation.reading import count_syllables


@dataclass(frozen=True, slots=True)
class Form:
    """A correct transcription, its tagged twin, and its clip."""

    text: str
    clip: Clip
    tagged: str = ""


Correct = Callable[[Said], Form | None]


def ordinary(said: Said, text: str, tagged: str = "") -> Form:
    """In a clip of its length."""
    return Form(text, clip_for(len(text), count_syllables(text), said.chance), tagged)


def _quoting(said: Said) -> Form:
    """Somebody's words inside, in quotation marks."""
    words = said.bare.split()
    half = max(1, len(words) // 2)
    first, last = said.chance.choice((('"', '"'), ("“", "”"), ("‘", "’")))
    end = said.pick("", said.stop, "!")
    return ordinary(said, f"{' '.join(words[:half])}, {first}{' '.join(words[half:])}{end}{last}")


def _at(said: Said, text: str, syllables_per_second: float, share: float) -> Form:
    speech_ms = round(count_syllables(text) / syllables_per_second * 1000)
    return Form(text, clip_of(max(round(speech_ms / share), 300), speech_ms, said.chance))


def _with_event(said: Said) -> Form:
    words = said.words
    tag = said.pick("laugh", "breath", "cough", "noise", "sigh")
    words.insert(said.chance.randrange(len(words) + 1), f"[{tag}]")
    return ordinary(said, said.text, " ".join(words))


def _with_marker(said: Said) -> Form | None:
    """A word that nobody can make out, marked as the prompt asks."""
    words = said.words
    if len(words) < 5:
        return None
    words[said.chance.randrange(len(words))] = "[UNK]"
    text = " ".join(words)
    return replace(ordinary(said, said.text), text=text)


def _mixed(said: Said) -> Form:
    words = said.words
    for _ in range(max(1, len(words) // 5)):
        at = said.chance.randrange(len(words))
        words[at] = said.pick(
            "meeting", "office", "mobile", "okay", "school", "bus", "video", "problem", "very", "app"
        )
    return ordinary(said, " ".join(words))


def _slow(said: Said) -> Form:
    """As the slowest that were measured."""
    span_ms = round(len(said.text) / said.chance.uniform(CHARS_PER_SECOND.least, 7.4) * 1000)
    speech_ms = min(span_ms * said.chance.uniform(0.65, 0.8), count_syllables(said.text) / 3.8 * 1000)
    return Form(said.text, clip_of(span_ms, round(speech_ms), said.chance))


def _hesitant(said: Said) -> Form:
    """Halting speech: pauses inside, and half as fast as most."""
    words = said.words
    words.insert(min(2, len(words)), "...")
    text = " ".join(words).replace(" ...", "...")
    return _at(said, text, said.chance.uniform(3.8, 4.6), said.chance.uniform(0.59, 0.7))


def _one_word(said: Said) -> Form:
    text = said.phrase("true_short")
    syllables = count_syllables(text)
    slowest = 2.5 if syllables <= 3 else 3.2
    speech_ms = round(max(syllables / said.chance.uniform(slowest, 6.0), 0.3) * 1000)
    span_ms = max(round(speech_ms / said.chance.uniform(0.59, 0.83)), 700)
    return Form(text, clip_of(span_ms, speech_ms, said.chance))


def _phone(said: Said) -> Form:
    """Digit by digit, two to three a second."""
    text = said.phrase("true_phone")
    digits = sum(character.isdecimal() for character in text)
    rest = count_syllables(text) - digits
    speech_ms = round((digits / said.chance.uniform(2.2, 3.5) + rest / said.chance.uniform(5, 7)) * 1000)
    return Form(text, clip_of(round(speech_ms / said.chance.uniform(0.55, 0.75)), speech_ms, said.chance))


def _thrice(said: Said) -> Form:
    """A slogan, four times."""
    words = said.bare.split()[: said.chance.randint(2, 4)]
    return ordinary(said, ", ".join([" ".join(words)] * said.chance.randint(3, 5)))


def _no_no_no(said: Said) -> Form:
    word = min((word for word in said.bare.split() if count_syllables(word) >= 1), key=len)
    return ordinary(said, ", ".join([word] * 10))


def _digits(said: Said) -> Form:
    digits = [str(said.chance.choice((8, 9, 8))) for _ in range(10)]
    text = " ".join(digits)
    speech_ms = round(len(digits) / said.chance.uniform(2.2, 3.5) * 1000)
    return Form(text, clip_of(round(speech_ms / 0.65), speech_ms, said.chance))


FORMS: dict[str, Correct] = {
    "as written": lambda said: ordinary(said, said.text),
    "no stop": lambda said: ordinary(said, said.bare),
    "a stop": lambda said: ordinary(said, said.bare + said.stop),
    "question": lambda said: ordinary(said, f"{said.bare}?"),
    "exclamation": lambda said: ordinary(said, f"{said.bare}!"),
    "ellipsis at the end": lambda said: ordinary(said, f"{said.bare}..."),
    "commas": lambda said: ordinary(said, ", ".join(said.bare.split(" ", 1)) + said.stop),
    "slow": _slow,
    "fast": lambda said: _at(said, said.text, said.chance.uniform(9.2, 10.1), said.chance.uniform(0.7, 0.8)),
    "long": lambda said: ordinary(said, " ".join([said.text, *said.others[:2]])),
    "event tag": _with_event,
    "marker": _with_marker,
    "code-mixed": _mixed,
    "hesitant": _hesitant,
    "short answer": _one_word,
    "phone number": _phone,
    "ten digits": _digits,
    "time or date": lambda said: ordinary(said, said.phrase("true_time")),
    "talk of videos": lambda said: ordinary(said, said.phrase("true_closing")),
    "number": lambda said: ordinary(
        said, f"{said.bare} 1998 {said.pick('12.5', '50%', '₹500', '1,200')}{said.stop}"
    ),
    "quotation": _quoting,
    "hyphen": lambda said: ordinary(said, said.text.replace(" ", "-", 1)),
    "ordinary dash": lambda said: ordinary(said, said.text.replace(" ", " – ", 1)),
    "chant": lambda said: ordinary(said, said.phrase("true_chant")),
    "slogan": _thrice,
    "no, no, no": _no_no_no,
}

REPETITION = ("chant", "slogan", "no, no, no", "ten digits")
"""Forms of true repetition."""
