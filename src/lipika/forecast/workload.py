"""The number of clips that are left in a queue, from archives that have been counted. Pure.

Where the size of the archives is known, clips go by bytes, else by archive; each language by its own rate where one
of its archives has been counted, else by the rate of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lipika.forecast.intervals import Floats, from_replicates, stratified_draws
from lipika.forecast.shares import Estimate

_REPLICATES = 500


@dataclass(frozen=True, slots=True)
class Counted:
    """One archive whose clips are known."""

    language: str
    clips: float
    source_bytes: int | None


@dataclass(frozen=True, slots=True)
class Remaining:
    """The rest of one language. `source_bytes` is of the videos whose size is known."""

    language: str
    videos: int
    videos_with_bytes: int
    source_bytes: int
    clips_ended: int = 0  # of videos under way


@dataclass(frozen=True, slots=True)
class Workload:
    """Clips left in all, and by language (the mix that a forecast weighs its sample by)."""

    clips: Estimate
    by_language: dict[str, float]


def workload(counted: Sequence[Counted], remaining: Sequence[Remaining], *, seed: int = 0) -> Workload:
    """The clips that are left.

    Raises:
        ValueError: nothing has been counted.
    """
    if not counted:
        raise ValueError("no archive has been counted yet")
    columns = np.asarray(
        [
            (one.clips, 1.0, one.clips if one.source_bytes else 0.0, one.source_bytes or 0.0)
            for one in counted
        ],
        np.float64,
    )
    index = stratified_draws([one.language for one in counted], seed=seed, replicates=_REPLICATES)
    total = np.zeros(_REPLICATES)
    by_language: dict[str, float] = {}
    for left in remaining:
        mask = np.asarray([one.language == left.language for one in counted])
        mask = mask if mask.any() else np.ones(len(counted), bool)
        usual = _clips(columns[mask].sum(axis=0)[None, :], left)
        drawn = _clips((columns[index] * mask[index][..., None]).sum(axis=1), left)
        by_language[left.language] = float(usual[0])
        total += drawn
    return Workload(from_replicates(sum(by_language.values()), total), by_language)


def _clips(sums: Floats, left: Remaining) -> Floats:
    """[n] clips left, from [n, 4] sums: clips and archives; clips and bytes of those whose size is known."""
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.nan_to_num(sums[:, 0] / sums[:, 1])
        per_byte = sums[:, 2] / sums[:, 3]
    by_bytes = np.where(sums[:, 3] > 0, per_byte * left.source_bytes, each * left.videos_with_bytes)
    unknown = each * (left.videos - left.videos_with_bytes)
    found: Floats = np.maximum(by_bytes + unknown - left.clips_ended, 0.0)
    return found
