"""Several clips in one request: ids that name them, the words around their audio, the schema, and the answers read.

Nobody is told how long a clip is: the answer says it, so that one under the wrong id shows where lengths differ. The
ids look random, since a model that only counts would name 1, 2, 3 without having looked. The schema does not say how
many answers there are: a count that is forced makes a model invent one.

What shows: an id that is missing, unknown or given twice, and clips exchanged whose lengths differ by more than
`tolerance_s`. What does not: clips of about one length exchanged, and words of one clip under the id and the length
of another; only how much text fits into a clip, or another asking of it, can tell these. The order of the answers
tells nothing, since none was asked for.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import count
from typing import Any

from lipika.llm import lean, prompt, transcript
from lipika.models import Answer, AnswerForm, Failure, FailureKind

MOST_CLIPS = 8
"""Of one request: nobody has shown that more are told apart."""

SEVERAL_SCHEMA_VERSIONS: Mapping[AnswerForm, str] = {AnswerForm.FULL: "3", AnswerForm.LEAN: "4"}
"""Of `several_schema`, beside those of single answers in `transcript`; a test pins them."""


@dataclass(frozen=True, slots=True)
class _Names:
    """The names around single answers, which none of their own fields has."""

    answers: str
    clip: str
    seconds: str


_NAMES = {AnswerForm.FULL: _Names("clips", "clip", "seconds"), AnswerForm.LEAN: _Names("c", "i", "d")}
_FULL = _NAMES[AnswerForm.FULL]
CLIP_NAMES = tuple(names.clip for names in _NAMES.values())
SECONDS_NAMES = tuple(names.seconds for names in _NAMES.values())


class ClipFault(StrEnum):
    """The faults of an answer to one of several clips, or with their number."""

    MISSING = "clip_missing"  # nothing under its id
    DOUBLED = "clip_doubled"  # two different answers under its id
    REPEATED = "clip_repeated"  # the same answer twice under its id; it is kept
    SWAPPED = "clip_swapped"  # its length is another clip's, and that one's is not its own
    LENGTH = "clip_length"  # its length is nobody's; it is kept, as models are poor at lengths
    UNREADABLE = "clip_unreadable"  # the answer under its id is none
    UNKNOWN = "clip_unknown"  # under an id that nobody gave
    TOO_MANY = "clips_too_many"
    TOO_FEW = "clips_too_few"


# ----------------------------------------------------------------------------- asking

_LETTERS, _DIGITS = "bcdfghjkmnpqrtvwxz", "23456789"  # no vowels: no id is a word


def make_ids(mark: str, wanted: int) -> tuple[str, ...]:
    """Ids such as `k7qd`, the same for the same mark. No two share their first letter or their digit: a slip of the
    pen names nobody."""
    ids: list[str] = []
    for number in count():
        drawn = hashlib.blake2b(f"{mark}/{number}".encode(), digest_size=4).digest()
        first, third, fourth = (_LETTERS[drawn[place] % len(_LETTERS)] for place in (0, 2, 3))
        one = f"{first}{_DIGITS[drawn[1] % len(_DIGITS)]}{third}{fourth}"
        if all(one[0] != other[0] and one[1] != other[1] for other in ids):
            ids.append(one)
        if len(ids) >= min(wanted, MOST_CLIPS):
            return tuple(ids)
    raise AssertionError("numbers do not end")


def several_schema(form: AnswerForm) -> dict[str, Any]:
    """A list of answers of this form, each with the id and the length of its clip before its own fields."""
    names, one = _NAMES[form], transcript.response_schema(form)
    properties = {names.clip: {"type": "string"}, names.seconds: {"type": "number"}, **one["properties"]}
    item = {**one, "properties": properties, "required": list(properties)}
    return {
        "type": "object",
        "properties": {names.answers: {"type": "array", "items": item}},
        "required": [names.answers],
        "additionalProperties": False,
    }


def several_prompt(clips: int, form: AnswerForm) -> str:
    """The text between system prompt and the first clip."""
    names = _NAMES[form]
    return prompt.fill_in(
        "several", count=clips, answers=names.answers, clip=names.clip, seconds=names.seconds
    )


def words_before(clip_id: str) -> str:
    """The text before the audio of one clip."""
    return prompt.fill_in("one_of_several", clip=clip_id)


def several_version(form: AnswerForm, clips: int) -> str:
    """The prompt's version that answers carry."""
    return f"{prompt.prompt_version(form)}+clips{clips}"


# ----------------------------------------------------------------------------- writing and reading


@dataclass(frozen=True, slots=True)
class NamedAnswer:
    """One of several answers: of the clip with this id, which is so long by ear."""

    clip: str
    seconds: float
    answer: Answer


def shrink_several(answers: Sequence[NamedAnswer]) -> dict[str, Any]:
    """Answers in the lean form."""
    names = _NAMES[AnswerForm.LEAN]
    return {
        names.answers: [
            {names.clip: one.clip, names.seconds: one.seconds, **lean.shrink(one.answer)} for one in answers
        ]
    }


def write_several(answers: Sequence[NamedAnswer]) -> dict[str, Any]:
    """Answers in the full form."""
    return {
        _FULL.answers: [
            {_FULL.clip: one.clip, _FULL.seconds: one.seconds, **asdict(one.answer)} for one in answers
        ]
    }


def expand_several(held: object) -> object:
    """A list of answers in either form, with an object around it or without, in the full form; whatever is none is
    given back as it came."""
    entries = held
    if isinstance(held, dict) and len(held) == 1:
        entries = next((held[names.answers] for names in _NAMES.values() if names.answers in held), held)
    if not isinstance(entries, list):
        return held
    return {_FULL.answers: [_expand_one(entry) for entry in entries]}


def _expand_one(entry: object) -> object:
    """One entry under full names; with names of both forms around it is left as it is, to be refused."""
    if not isinstance(entry, dict):
        return entry
    names = next((one for one in _NAMES.values() if one.clip in entry), None)
    if names is None or any(other.clip in entry for other in _NAMES.values() if other is not names):
        return entry
    around = {_FULL.clip: entry[names.clip]}
    if names.seconds in entry:
        around[_FULL.seconds] = entry[names.seconds]
    inner = {key: value for key, value in entry.items() if key not in (names.clip, names.seconds)}
    expanded = lean.expand(inner)
    return {**around, **(expanded if isinstance(expanded, dict) else inner)}


@dataclass(frozen=True, slots=True)
class AskedClip:
    """One clip of a request: its id, and its length as sent."""

    clip: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ReadClip:
    """A reply's part about one clip. `faults` name all that is odd, and with some of them the answer is kept."""

    answer: Answer | Failure
    seconds: float | None = None  # by ear; None: not said, or no number
    faults: tuple[ClipFault, ...] = ()


@dataclass(frozen=True, slots=True)
class SeveralAnswers:
    """A reply, clip by clip in the order of asking; `faults` are those that belong to no clip."""

    clips: tuple[ReadClip, ...]
    faults: Mapping[ClipFault, int] = field(default_factory=dict)


def read_several(text: str, asked: Sequence[AskedClip]) -> SeveralAnswers | Failure:
    """Read the reply to several clips, in either form and any order. A failure: it is no list of answers at all."""
    held = transcript.read_value(text)
    if isinstance(held, Failure):
        return held
    expanded = expand_several(_wrap_single(held))
    entries = expanded.get(_FULL.answers) if isinstance(expanded, dict) and len(expanded) == 1 else None
    if not isinstance(entries, list):
        return Failure(FailureKind.MALFORMED, "unusable answer: it is no list of answers")
    found, faults = defaultdict[str, list[dict[str, Any]]](list), Counter[ClipFault]()
    known = {one.clip for one in asked}
    for entry in entries:
        name = _id_of(entry)
        if name in known:
            found[name].append(entry)
        else:
            faults[ClipFault.UNKNOWN] += 1
    if len(entries) != len(asked):
        faults[ClipFault.TOO_MANY if len(entries) > len(asked) else ClipFault.TOO_FEW] += 1
    clips = [_read_one(one, found[one.clip]) for one in asked]
    return SeveralAnswers(tuple(_mark_lengths(asked, clips)), dict(faults))


def _wrap_single(held: object) -> object:
    """A list that `read_value` took for wrapping, having one member or the same one again and again."""
    return [held] if isinstance(held, dict) and any(name in held for name in CLIP_NAMES) else held


_ID = re.compile(r"(?i)\W*(?:clip\W+)?([a-z]\d[a-z]{2})\W*")


def _id_of(entry: object) -> str:
    given = entry.get(_FULL.clip) if isinstance(entry, dict) else None
    named = _ID.fullmatch(given) if isinstance(given, str) else None
    return named[1].lower() if named else ""


def _read_one(asked: AskedClip, entries: Sequence[Mapping[str, Any]]) -> ReadClip:
    if not entries:
        return _refuse(ClipFault.MISSING, f"no answer names clip {asked.clip}")
    bare = [
        {key: value for key, value in entry.items() if key not in (_FULL.clip, _FULL.seconds)}
        for entry in entries
    ]
    if any(one != bare[0] for one in bare[1:]):
        return _refuse(ClipFault.DOUBLED, f"{len(bare)} different answers name clip {asked.clip}")
    seconds = _number(entries[0].get(_FULL.seconds))
    answer = transcript.read_fields(bare[0])
    faults = [ClipFault.REPEATED] if len(bare) > 1 else []
    if isinstance(answer, Failure):
        faults.append(ClipFault.UNREADABLE)
    return ReadClip(answer, seconds, tuple(faults))


def _refuse(fault: ClipFault, words: str, seconds: float | None = None) -> ReadClip:
    return ReadClip(Failure(FailureKind.MALFORMED, words, code=str(fault)), seconds, (fault,))


def _number(value: object) -> float | None:
    """Seconds, as a number or as text such as `8.1 s`."""
    if isinstance(value, str):
        told = re.fullmatch(r"\s*(\d{1,6}(?:[.,]\d{1,9})?)\s*(?i:s|sec|seconds)?\.?\s*", value)
        value = float(told[1].replace(",", ".")) if told else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e6 else None


# ----------------------------------------------------------------------------- lengths


def tolerance_s(seconds: float) -> float:
    """Seconds that a length by ear may be off and still be that clip's."""
    return max(1.0, 0.2 * seconds)


def fits(said: float, seconds: float) -> bool:
    return abs(said - seconds) <= tolerance_s(seconds)


def are_told_apart(first: float, second: float) -> bool:
    """True if two clips of these lengths would show if they were exchanged: neither length passes for the other."""
    return not fits(first, second) and not fits(second, first)


def _mark_lengths(asked: Sequence[AskedClip], clips: Sequence[ReadClip]) -> list[ReadClip]:
    """Refuse answers whose lengths are exchanged. One length that fits nobody is a poor ear, and proves nothing."""
    off = [
        place
        for place, (one, read) in enumerate(zip(asked, clips, strict=True))
        if read.seconds is not None and not fits(read.seconds, one.seconds)
    ]
    marked = list(clips)
    for place in off:
        said = clips[place].seconds
        other = next(
            (
                asked[one]
                for one in off
                if one != place and said is not None and fits(said, asked[one].seconds)
            ),
            None,
        )
        if isinstance(clips[place].answer, Failure):
            continue
        if other is None:
            marked[place] = replace(clips[place], faults=(*clips[place].faults, ClipFault.LENGTH))
        else:
            words = (
                f"the answer for clip {asked[place].clip} of {asked[place].seconds:.1f} s speaks of {said:.1f} s,"
                f" as clip {other.clip} has ({other.seconds:.1f} s)"
            )
            marked[place] = _refuse(ClipFault.SWAPPED, words, said)
    return marked
