"""Shares of a sample: Wilson's interval, and the sign test. Pure, and without numpy: the board loads it.

All intervals are at 95 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_Z = 1.959964  # of the normal distribution, two-sided 95 %


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Estimate:
        return cls(value, value, value)


def wilson(count: int, of: int) -> Estimate:
    """A share, 0..1, with Wilson's score interval: sound for small samples and for shares near 0 and 1."""
    if of <= 0:
        return Estimate(0.0, 0.0, 1.0)
    share = count / of
    spread = _Z**2 / of
    middle = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    # Rounding may take the ends of 0 of n and n of n a hair past the share itself.
    return Estimate(share, max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0))


def sign_test(first: int, second: int) -> float:
    """The chance that two things which are equally good are told apart at least so clearly: exact, two-sided.

    `first` and `second` count those who prefer the one and the other; who prefers neither is not counted.
    """
    of, fewer = first + second, min(first, second)
    if first == second:
        return 1.0
    ways, tail = 1, 0
    for count in range(fewer + 1):
        tail += ways
        ways = ways * (of - count) // (count + 1)
    return min(tail / (1 << (of - 1)), 1.0)
