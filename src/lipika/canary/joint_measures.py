"""Measures of arms that ask for several clips at once: what is lost, and whose text went under another's id. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rapidfuzz.distance import Levenshtein

from lipika.canary.records import Asked
from lipika.forecast.shares import Estimate, wilson
from lipika.llm.several import are_told_apart
from lipika.models import FailureKind
from lipika.validation.text import normalise, without_tags

_ANOTHERS = 0.5
"""A text is another clip's where it is nearer to that one's by the baseline than to its own, and so near at least."""


@dataclass(frozen=True, slots=True)
class JointMeasures:
    """One such arm. Shares are 0..1 with their 95 % intervals.

    `crossed` is found by the baseline's texts, which no worker has: of what nobody noticed in the reply. `told_apart`
    is how many could have been noticed, by their lengths.
    """

    arm: str
    requests: int  # with more than one clip in them
    clips: int  # in these
    asked_alone: Estimate  # clips that were asked again, by themselves
    faults: Mapping[str, int]  # what was odd about answers, the most frequent first
    blocked_requests: int
    blocked_clips: int  # in these: all of them were lost
    crossed: Estimate  # kept texts that are another clip's of the same request
    told_apart: Estimate  # clips whose length no other clip of their request has
    seconds_off: float  # median error of lengths by ear; nan where nobody said any


def measure_joint(arm: str, baseline: Sequence[Asked], rows: Sequence[Asked]) -> JointMeasures | None:
    """The measures of an arm; None where no clip was asked among others."""
    joint = [one for one in rows if one.together > 1]
    if not joint:
        return None
    circles = defaultdict[str, list[Asked]](list)
    for one in joint:
        circles[one.joint].append(one)
    texts = {(one.video_id, one.segment_file): _text(one) for one in baseline if one.status == "transcribed"}
    crossed = [found for circle in circles.values() for found in _find_crossed(circle, texts)]
    blocked = [one for one in joint if one.first_failure == FailureKind.BLOCKED]
    off = [
        abs(one.seconds_by_ear - one.duration_ms / 1000) for one in joint if one.seconds_by_ear is not None
    ]
    apart = [_is_told_apart(one, circle) for circle in circles.values() for one in circle]
    return JointMeasures(
        arm=arm,
        requests=len(circles),
        clips=len(joint),
        asked_alone=wilson(sum(one.asked_alone for one in joint), len(joint)),
        faults=dict(Counter(fault for one in joint for fault in one.joint_faults).most_common()),
        blocked_requests=len({one.joint for one in blocked}),
        blocked_clips=len(blocked),
        crossed=wilson(sum(crossed), len(crossed)),
        told_apart=wilson(sum(apart), len(apart)),
        seconds_off=median(off) if off else math.nan,
    )


def _find_crossed(circle: Sequence[Asked], texts: Mapping[tuple[str, str], str]) -> Iterator[bool]:
    """Of each kept joint answer with speech: whether its text is another's."""
    for one in circle:
        own = texts.get((one.video_id, one.segment_file), "")
        others = [
            text
            for other in circle
            if other is not one and (text := texts.get((other.video_id, other.segment_file), ""))
        ]
        if one.status != "transcribed" or one.asked_alone or not own or not others:
            continue
        said = _text(one)
        nearest = min(Levenshtein.normalized_distance(said, text) for text in others)
        yield nearest < Levenshtein.normalized_distance(said, own) and nearest < _ANOTHERS


def _is_told_apart(row: Asked, circle: Sequence[Asked]) -> bool:
    return all(
        are_told_apart(row.duration_ms / 1000, other.duration_ms / 1000)
        for other in circle
        if other is not row
    )


def _text(row: Asked) -> str:
    return normalise(without_tags(row.transcription))
