"""Single clips with what each arm wrote: those on which arms differ most, and where their words differ. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lipika.canary.measures import Disagreement
    from lipika.canary.records import Asked

MOST_CLIPS = 24
Distance = Callable[[str, str], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class ArmText:
    """The text that an arm wrote. `cer`: letters that differ from the baseline's, over its letters."""

    arm: str
    status: str
    text: str
    cer: float | None  # None: one of the two has no text


@dataclass(frozen=True, slots=True)
class ClipTexts:
    """One clip: the baseline's text, and those of the other arms in their order."""

    language: str
    video_id: str
    segment_file: str
    baseline: ArmText
    others: tuple[ArmText, ...]


@dataclass(frozen=True, slots=True)
class WordRun:
    """A run of words of two texts: `same` in both, `gone` from the second, or `new` in it."""

    kind: str
    text: str


def texts_of(
    worst: Sequence[Sequence[Disagreement]], rows: Mapping[str, Sequence[Asked]], distance: Distance
) -> tuple[ClipTexts, ...]:
    """The clips on which arms differ most, those of all arms in turn. `rows`: of each arm, the baseline's first."""
    known = {arm: {(one.video_id, one.segment_file): one for one in found} for arm, found in rows.items()}
    baseline, *others = known
    keys = dict.fromkeys((one.video_id, one.segment_file) for one in _take_turns(worst))
    return tuple(
        _clip(known[baseline][key], {arm: known[arm][key] for arm in others if key in known[arm]}, distance)
        for key in list(keys)[:MOST_CLIPS]
    )


def _clip(first: Asked, others: Mapping[str, Asked], distance: Distance) -> ClipTexts:
    def write_down(arm: str, one: Asked) -> ArmText:
        text = one.transcription or ""
        if not first.transcription or not text:
            return ArmText(arm, one.status, text, None)
        errors, letters = distance(first.transcription, text)
        return ArmText(arm, one.status, text, errors / letters)

    return ClipTexts(
        first.language,
        first.video_id,
        first.segment_file,
        write_down(first.arm, first),
        tuple(write_down(arm, one) for arm, one in others.items()),
    )


def _take_turns(worst: Sequence[Sequence[Disagreement]]) -> Iterator[Disagreement]:
    for turn in zip_longest(*worst):
        yield from (one for one in turn if one is not None)


def differing_words(one: str, other: str) -> list[WordRun]:
    """The words of both texts in order, those that only one of them has apart."""
    first, second = one.split(), other.split()
    found: list[WordRun] = []
    for kind, a, b, c, d in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if kind == "equal":
            found.append(WordRun("same", " ".join(first[a:b])))
            continue
        if b > a:
            found.append(WordRun("gone", " ".join(first[a:b])))
        if d > c:
            found.append(WordRun("new", " ".join(second[c:d])))
    return found
