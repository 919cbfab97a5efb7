"""The dollars for second opinions, which all workers share: Postgres adds up what each has metered and reserved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lipika.db.reservations import Reservations
from lipika.engine.route import Need, Reserve, Slots
from lipika.forecast.budget import affordable
from lipika.wording import money

_LEAST_AT_ONCE, _SHARE_AT_ONCE = 4, 32
"""Of what is left one question gets a thirty-second part, or four slots: workers that ask in the very same moment do
not see each other's."""
_RETRY_S = 1.0


class OpinionsCap:
    """A cap in front of the fleet's ledger: no slot is reserved that it could not pay for, by what all workers say.

    `name` is what this worker accounts under; `on_reached` is told, in words, when what was spent leaves nothing.
    """

    def __init__(self, cap_usd: float, name: str, ledger: Reservations) -> None:
        self.on_reached: Callable[[str], object] = lambda _reason: None
        self._cap_usd = cap_usd
        self._name = name
        self._ledger = ledger

    def guard(self, inner: Reserve) -> Reserve:
        """The same ledger with this cap in front of it. Slots are counted even where the fleet has no limit."""

        async def reserve(need: Need) -> Slots:
            if not need.wanted:
                return replace(await inner(need), unlimited=False)
            left = await self._affordable(need)
            share = min(left, max(left // _SHARE_AT_ONCE, _LEAST_AT_ONCE))
            slots = await inner(replace(need, wanted=min(need.wanted, share)))
            if not left:
                return replace(slots, granted=0, binds="second_opinion", retry_in_s=_RETRY_S, unlimited=False)
            return replace(slots, unlimited=False)

        return reserve

    async def _affordable(self, need: Need) -> int:
        others = await self._ledger.spent_on_opinions(need.provider, without=self._name)
        spent = others.usd + need.usd_metered
        most = max(need.usd_most, need.usd_each)

        def at(reserved: float) -> int:
            return affordable(self._cap_usd, spent, reserved, need.usd_each, most)

        if not at(0.0):  # whatever comes back of what is on its way
            self.on_reached(f"the cap of {money(self._cap_usd)} is reached (SECOND_OPINION_USD)")
        return at(others.usd_reserved + need.reserved_usd)
