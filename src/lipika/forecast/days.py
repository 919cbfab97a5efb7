"""Money over the days of a budget: how long a sum lasts where each UTC day has its cap. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

DAY_S = 86_400.0


_ENDLESS_DAYS = 100_000


@dataclass(frozen=True, slots=True)
class MoneySoFar:
    """The money spent when the forecast begins: dollars so far, seconds since the UTC day began."""

    spent_today_usd: float = 0.0
    spent_total_usd: float = 0.0
    second_of_day: float = 0.0


def seconds_over_days(usd: float, usd_per_s: float, cap: float, so_far: MoneySoFar) -> float:
    """Seconds to spend `usd` at a rate, and no more than `cap` on any UTC day."""
    left, today = usd, so_far.spent_today_usd
    clock, elapsed = so_far.second_of_day, 0.0
    for _ in range(_ENDLESS_DAYS):
        allowed = min(max(cap - today, 0.0), (DAY_S - clock) * usd_per_s)
        if left <= allowed:
            return elapsed + left / usd_per_s
        left -= allowed
        elapsed += DAY_S - clock
        clock = today = 0.0
        if cap <= 0:
            return math.inf
        whole = math.floor(left / min(cap, DAY_S * usd_per_s))
        if whole > 1:  # days that are all alike, in one go
            left -= (whole - 1) * min(cap, DAY_S * usd_per_s)
            elapsed += (whole - 1) * DAY_S
    return math.inf
