"""The clips of each stratum that an audit hears: their number. Pure."""

from __future__ import annotations

from collections.abc import Sequence

LEAST = 10
"""Of each stratum that has so many: fewer say nothing of it by itself."""


def allot(
    clips: Sequence[int], heard: int, *, spreads: Sequence[float] = (), least: int = LEAST
) -> list[int]:
    """Share out `heard` clips over strata of so many `clips`, but `least` of each where that can be had.

    By size, and where `spreads` are known (how much the second listener's errors differ within a stratum), half of
    them by size times spread, as Neyman would: where clips are much alike, few tell all. Where the least of all
    strata are more than `heard`, each gets less: at least one, the largest strata first. The sum is `heard`, or all
    clips where there are fewer.
    """
    heard = min(heard, sum(clips))
    floor = [min(least, count) for count in clips]
    while sum(floor) > heard and max(floor) > 1:
        floor = [min(part, max(floor) - 1) for part in floor]
    if sum(floor) > heard:
        order = sorted(range(len(clips)), key=lambda place: (-clips[place], place))
        chosen = set(order[:heard])
        return [int(place in chosen) for place in range(len(clips))]
    return _fill(clips, floor, _ideal_parts(clips, heard, spreads), heard)


def allot_more(
    clips: Sequence[int],
    have: Sequence[int],
    most: Sequence[int],
    more: int,
    *,
    spreads: Sequence[float] = (),
) -> list[int]:
    """Share out `more` clips beside those that each stratum has, towards what `allot` would do with all of them.

    The sum is that of `have` and `more`, or of `most`, which no part exceeds.
    """
    heard = min(sum(have) + more, sum(most))
    return _fill(most, have, _ideal_parts(clips, heard, spreads), heard)


def _ideal_parts(clips: Sequence[int], heard: int, spreads: Sequence[float]) -> list[float]:
    ideal = _proportional_parts(clips, heard)
    if sum(spreads) <= 0:
        return ideal
    loose = [count * spread for count, spread in zip(clips, spreads, strict=True)]
    return [(one + other) / 2 for one, other in zip(ideal, _proportional_parts(loose, heard), strict=True)]


def _proportional_parts(sizes: Sequence[float], heard: int) -> list[float]:
    whole = sum(sizes)
    return [heard * size / whole if whole else 0.0 for size in sizes]


def _fill(clips: Sequence[int], floor: Sequence[int], ideal: Sequence[float], heard: int) -> list[int]:
    """Raise parts from their floors towards what is ideal: each clip in turn goes to whom most is owed."""
    parts = list(floor)
    for _ in range(heard - sum(parts)):
        owed = [
            ideal[place] / (part + 1) if part < clips[place] else float("-inf")
            for place, part in enumerate(parts)
        ]
        parts[owed.index(max(owed))] += 1
    return parts
