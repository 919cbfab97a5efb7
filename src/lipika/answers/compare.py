"""Two ways of asking beside each other, over clips that were asked for in both, by the canary's statistics. Pure.

Both answers of a clip are judged anew by the same rules. Neither is the truth: letters that differ are a distance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lipika.alignment.romanise import Romaniser
from lipika.alignment.voters import TIER_CUTS, text_distance
from lipika.canary.noninferiority import interval, summarise
from lipika.canary.pairs import SHARES, Pairs, faults, pair
from lipika.canary.recommendation import ratio_by_video
from lipika.canary.records import Asked
from lipika.forecast.intervals import Floats
from lipika.forecast.shares import Estimate

_WORST = 12


@dataclass(frozen=True, slots=True)
class PairedAnswers:
    """One clip's two answers, judged by the same rules. `Asked.arm` is the name of the way."""

    first: Asked
    second: Asked


@dataclass(frozen=True, slots=True)
class ShareBeside:
    """A share of clips of which something is bad, 0..1, in both ways, and the second's less the first's."""

    first: float
    second: float
    difference: Estimate


@dataclass(frozen=True, slots=True)
class WaysBeside:
    """One language, or all of them (`language` is empty).

    `cer` is the letters that differ over those of the longer text, in one normal form; `cer_by_sound` the same with
    both romanised, which forgives spelling (where the language allows it, else as `cer`). Intervals take clips of one
    video together.
    """

    language: str
    clips: int
    videos: int
    cer: Estimate
    cer_by_sound: Estimate
    identical: int
    speech_disagreed: int  # one heard speech, the other none
    shares: dict[str, ShareBeside]
    usd_each: tuple[float, float]
    cost_ratio: Estimate  # of the first's


@dataclass(frozen=True, slots=True)
class DifferingClip:
    """A clip on which the two differ."""

    language: str
    video_id: str
    segment_file: str
    cer: float
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class ComparisonOfWays:
    """Two ways over the clips that have both. `findings` are clips by code, of each way."""

    first: str
    second: str
    clips: int
    languages: tuple[WaysBeside, ...]  # all of them together first
    findings: tuple[dict[str, int], dict[str, int]]
    worst: tuple[DifferingClip, ...]
    all_looked_at: bool  # False: a sample, of as many clips as were wanted


def compare(
    names: tuple[str, str], answers: Sequence[PairedAnswers], romaniser: Romaniser, *, all_looked_at: bool
) -> ComparisonOfWays:
    """The whole of it."""
    pairs = pair(names[1], [one.first for one in answers], [one.second for one in answers])
    by_sound = np.asarray(
        [
            _distance_by_sound(one, share, romaniser)
            for one, share in zip(answers, pairs.differing, strict=True)
        ],
        np.float64,
    )
    everything = np.arange(len(answers))
    codes = sorted(set(pairs.languages.tolist()))
    wanted = [("", everything), *((code, np.flatnonzero(pairs.languages == code)) for code in codes)]
    return ComparisonOfWays(
        first=names[0],
        second=names[1],
        clips=len(answers),
        languages=tuple(
            _beside(code, here, answers, pairs, by_sound)
            for code, here in (wanted if len(codes) != 1 else wanted[1:])
            if len(here)
        ),
        findings=(_findings(one.first for one in answers), _findings(one.second for one in answers)),
        worst=tuple(_worst(answers, pairs.differing)),
        all_looked_at=all_looked_at,
    )


def _beside(
    language: str,
    here: NDArray[np.int64],
    answers: Sequence[PairedAnswers],
    pairs: Pairs,
    by_sound: Floats,
) -> WaysBeside:
    videos, letters = pairs.videos[here], pairs.letters[here]
    chosen = [answers[place] for place in here]
    return WaysBeside(
        language=language,
        clips=len(here),
        videos=len(np.unique(videos)),
        cer=_share_of_letters(pairs.differing[here], videos, letters),
        cer_by_sound=_share_of_letters(by_sound[here], videos, letters),
        identical=int((pairs.differing[here] == 0).sum()),
        speech_disagreed=sum(one.first.status != one.second.status for one in chosen),
        shares={
            measure: ShareBeside(
                sum(measure in faults(one.first) for one in chosen) / len(chosen),
                sum(measure in faults(one.second) for one in chosen) / len(chosen),
                interval(summarise(pairs.lost[measure][here], videos)),
            )
            for measure in SHARES
            if measure != "failed"  # both were answered
        },
        usd_each=(float(pairs.usd_before[here].mean()), float(pairs.usd[here].mean())),
        cost_ratio=ratio_by_video(videos, pairs.usd[here], pairs.usd_before[here]),
    )


def _share_of_letters(differing: Floats, videos: NDArray[np.int64], letters: Floats) -> Estimate:
    if not letters.any():
        return Estimate.exact(0.0)
    found = interval(summarise(differing, videos, letters))
    return Estimate(found.value, max(found.low, 0.0), min(found.high, 1.0))


def _distance_by_sound(answers: PairedAnswers, share: float, romaniser: Romaniser) -> float:
    code = answers.first.language
    if share == 0 or code not in TIER_CUTS or answers.first.status != answers.second.status:
        return share
    distance = text_distance(answers.first.transcription, answers.second.transcription, code, romaniser)
    return min(distance, share)  # what is the same letter by letter sounds the same


def _findings(rows: Iterator[Asked]) -> dict[str, int]:
    return dict(Counter(code for row in rows for code in sorted(set(row.findings))).most_common())


def _worst(answers: Sequence[PairedAnswers], differing: Floats) -> Iterator[DifferingClip]:
    """Those that differ most, one of each language first."""
    seen: Counter[str] = Counter()
    ranked = []
    for place in sorted(range(len(answers)), key=lambda place: (-differing[place], place)):
        if differing[place] > 0:
            code = answers[place].first.language
            ranked.append((seen[code], -float(differing[place]), place))
            seen[code] += 1
    for _, cer, place in sorted(ranked)[:_WORST]:
        one = answers[place]
        yield DifferingClip(
            one.first.language,
            one.first.video_id,
            one.first.segment_file,
            -cer,
            one.first.transcription,
            one.second.transcription,
        )
