"""A dollar cap of the canary's own, apart from the fleet's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from lipika.engine.route import Need, Reserve, Slots
from lipika.forecast.budget import affordable

LOOK_EVERY_S = 0.25
"""How often a canary looks whether it is over, and what it could not pay for is asked again."""


class DollarCap:
    """A cap of the canary's own, in front of the fleet's ledger: no slot is reserved that it could not pay for."""

    def __init__(self, cap_usd: float) -> None:
        self._cap_usd = cap_usd
        self._spent: dict[str, float] = {}  # by arm, as metered
        self._reserved: dict[str, float] = {}  # by arm: for what is on its way
        self.refused_at = -math.inf  # by the monotonic clock, in seconds

    def guard(self, arm: str, inner: Reserve, spent_usd: Callable[[], float]) -> Reserve:
        """The same ledger with this cap in front of it. Slots are counted even where the fleet has no limit."""

        async def reserve(need: Need) -> Slots:
            most = max(need.usd_most, need.usd_each)
            self._spent[arm], self._reserved[arm] = spent_usd(), need.reserved_usd
            spent, reserved = sum(self._spent.values()), sum(self._reserved.values())
            left = affordable(self._cap_usd, spent, reserved, need.usd_each, most)
            wanted = min(need.wanted, left)
            self._reserved[arm] = need.reserved_usd + wanted * most  # before anybody else can look
            slots = await inner(replace(need, wanted=wanted))
            self._reserved[arm] = need.reserved_usd + slots.granted * most
            if need.wanted and not wanted:
                self.refused_at = time.monotonic()
                return replace(slots, granted=0, binds="canary_cap", retry_in_s=LOOK_EVERY_S, unlimited=False)
            return replace(slots, unlimited=False)

        return reserve
