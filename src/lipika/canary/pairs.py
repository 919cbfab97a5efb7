"""The clips of an arm beside the baseline's, as numbers: what was lost and won on each, and what each cost. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from lipika.canary.records import Asked
from lipika.forecast.intervals import Floats
from lipika.models import LANES
from lipika.validation.text import normalise, without_tags

TEXT = "text"
MEASURE_WORDS = {
    "failed": "clips that fail",
    "doubted": "clips that fail or have a finding",
    "looped": "first answers that loop",
    **{lane: f"clips out of the lane {lane}" for lane in LANES},
    TEXT: "letters that differ",
}
"""Everything that an arm is held against the baseline by; each is a share of something bad. All but the last are
shares of clips; the last one has a margin of its own."""
SHARES = tuple(name for name in MEASURE_WORDS if name != TEXT)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Arrays of one row for each clip that both the arm and the baseline have ended.

    `lost` holds for each of `SHARES` 1 where only the arm's answer is bad, -1 where only the baseline's is, else 0.
    `differing` is the share of letters that differ between the two texts, 0..1, of `letters`.
    """

    arm: str
    languages: NDArray[np.str_]
    videos: NDArray[np.int64]
    lost: Mapping[str, NDArray[np.int8]]
    differing: Floats
    letters: Floats
    usd: Floats
    usd_before: Floats  # the baseline's
    milliseconds: Floats  # mean of a clip's answered requests; nan where none was
    milliseconds_before: Floats

    def __len__(self) -> int:
        return len(self.languages)


def pair(arm: str, baseline: Sequence[Asked], rows: Sequence[Asked]) -> Pairs:
    """The rows of one arm beside the baseline's."""
    known = {(one.video_id, one.segment_file): one for one in baseline}
    both = [
        (before, one) for one in rows if (before := known.get((one.video_id, one.segment_file))) is not None
    ]
    numbers = {video: number for number, video in enumerate(dict.fromkeys(one.video_id for one, _ in both))}
    texts = [_compare(before, after) for before, after in both]
    bad = [(faults(before), faults(after)) for before, after in both]
    return Pairs(
        arm=arm,
        languages=np.asarray([before.language for before, _ in both], np.str_),
        videos=np.asarray([numbers[before.video_id] for before, _ in both], np.int64),
        lost={
            name: np.asarray([(name in after) - (name in before) for before, after in bad], np.int8)
            for name in SHARES
        },
        differing=np.asarray([share for share, _ in texts], np.float64),
        letters=np.asarray([letters for _, letters in texts], np.float64),
        usd=np.asarray([after.cost_usd for _, after in both], np.float64),
        usd_before=np.asarray([before.cost_usd for before, _ in both], np.float64),
        milliseconds=np.asarray([_mean_ms(after) for _, after in both], np.float64),
        milliseconds_before=np.asarray([_mean_ms(before) for before, _ in both], np.float64),
    )


def faults(row: Asked) -> frozenset[str]:
    """The measures by which this end of a clip is bad. A clip without speech is in no lane, whoever says so."""
    failed = row.status == "failed"
    found = {
        "failed": failed,
        "doubted": failed or bool(row.findings),
        "looped": row.looped,
        **{lane: lane not in row.lanes for lane in LANES},
    }
    return frozenset(name for name, bad in found.items() if bad)


def _compare(before: Asked, after: Asked) -> tuple[float, int]:
    """(share of letters that differ, letters of the longer text). Where one heard speech and the other none all
    differ; of a clip that failed there is no text to compare."""
    if "failed" in {before.status, after.status}:
        return 0.0, 0
    first, second = _spoken(before), _spoken(after)
    letters = max(len(first), len(second))
    return (Levenshtein.distance(first, second) / letters if letters else 0.0), letters


def _spoken(row: Asked) -> str:
    return normalise(without_tags(row.transcription)) if row.status == "transcribed" else ""


def _mean_ms(row: Asked) -> float:
    return sum(row.latencies_ms) / len(row.latencies_ms) if row.latencies_ms else math.nan
