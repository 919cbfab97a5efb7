"""Old verdicts against new ones: what a new validator changes, for `lipika revalidate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from lipika.models import Verdict
from lipika.validation.catalogue import LaneName

DECILES = 10


@dataclass(frozen=True, slots=True)
class ComparedVerdict:
    """The parts of a verdict that are compared; a stored row can still tell them of an old one."""

    lanes: tuple[LaneName, ...]  # the open ones
    codes: frozenset[str]
    quality_score: float

    @classmethod
    def from_verdict(cls, verdict: Verdict) -> Self:
        lanes = zip(LaneName, (verdict.asr, verdict.tts_clean, verdict.tts_expressive), strict=True)
        return cls(
            lanes=tuple(name for name, lane in lanes if lane.eligible),
            codes=frozenset(found.code for found in verdict.findings),
            quality_score=verdict.quality_score,
        )


@dataclass(slots=True)
class Confusion:
    """Counts over many clips. Sums of parts computed apart are the count of the whole (`merge`)."""

    clips: int = 0
    lanes: dict[LaneName, Counter[tuple[bool, bool]]] = field(
        default_factory=lambda: {name: Counter() for name in LaneName}
    )  # (open before, open after) -> clips
    gained: Counter[str] = field(default_factory=Counter)  # finding code -> clips that have it only now
    lost: Counter[str] = field(default_factory=Counter)
    deciles: Counter[tuple[int, int]] = field(default_factory=Counter)  # score (old, new) -> clips; 9 = 0.9-1
    score_rose: int = 0
    score_fell: int = 0

    def add(self, old: ComparedVerdict, new: ComparedVerdict) -> None:
        self.clips += 1
        for name, counts in self.lanes.items():
            counts[(name in old.lanes, name in new.lanes)] += 1
        self.gained.update(new.codes - old.codes)
        self.lost.update(old.codes - new.codes)
        self.deciles[(_decile(old.quality_score), _decile(new.quality_score))] += 1
        self.score_rose += new.quality_score > old.quality_score
        self.score_fell += new.quality_score < old.quality_score

    def merge(self, others: Iterable[Confusion]) -> None:
        for other in others:
            self.clips += other.clips
            for name, counts in other.lanes.items():
                self.lanes[name].update(counts)
            self.gained.update(other.gained)
            self.lost.update(other.lost)
            self.deciles.update(other.deciles)
            self.score_rose += other.score_rose
            self.score_fell += other.score_fell

    @property
    def is_unchanged(self) -> bool:
        moved = any(before is not after for counts in self.lanes.values() for before, after in counts)
        return not (moved or self.gained or self.lost or self.score_rose or self.score_fell)


def _decile(score: float) -> int:
    """0..9. Scores have four decimals: counted in those, 0.7 is never a hair below itself."""
    return min(round(score * 10_000) // 1_000, DECILES - 1)
