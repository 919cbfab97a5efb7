"""Dollar caps of one run: its own (`--max-usd`), and those of the fleet that time alone does not free again.

A worker waits at a cap, since somebody may raise it. A run ends there, once nothing is on its way that could turn out
cheaper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lipika.engine.route import Need, Reserve, Slots
from lipika.forecast.budget import affordable
from lipika.wording import money

OWN = "run_cap"
_RETRY_S = 0.5
_NOTHING_USD = 1e-7
_NOTHING_ON_ITS_WAY_S = 5.0
"""The ledger asks to be asked again after so long where no money is reserved by anybody."""


class RunCap:
    """Stands in front of the fleet's ledger. `on_reached` is told once, in words, what ends the run."""

    def __init__(self, max_usd: float | None) -> None:
        self.on_reached: Callable[[str], object] = lambda _reason: None
        self.reason = ""
        self._max_usd = max_usd
        self._spent: dict[str, float] = {}  # by engine and provider, as metered
        self._reserved: dict[str, float] = {}  # likewise: for what is on its way

    def guard(self, engine: str, inner: Reserve, *, ends: bool = True) -> Reserve:
        """The same ledger with this cap in front of it. `ends`: what this engine is refused for good ends the run."""

        async def reserve(need: Need) -> Slots:
            if self._max_usd is None:
                slots = await inner(need)
            else:
                slots = await self._within(self._max_usd, f"{engine} {need.provider}", need, inner)
            if ends and need.wanted and not slots.granted:
                self._note_refusal(need, slots)
            return slots

        return reserve

    async def _within(self, cap_usd: float, who: str, need: Need, inner: Reserve) -> Slots:
        most = max(need.usd_most, need.usd_each)
        self._spent[who], self._reserved[who] = need.usd_metered, need.reserved_usd
        spent, reserved = sum(self._spent.values()), sum(self._reserved.values())
        wanted = min(need.wanted, affordable(cap_usd, spent, reserved, need.usd_each, most))
        self._reserved[who] = need.reserved_usd + wanted * most  # before anybody else can look
        slots = await inner(replace(need, wanted=wanted))
        self._reserved[who] = need.reserved_usd + slots.granted * most
        if need.wanted and not wanted:
            retry_s = _NOTHING_ON_ITS_WAY_S if reserved < _NOTHING_USD else _RETRY_S
            return replace(slots, granted=0, binds=OWN, retry_in_s=retry_s, unlimited=False)
        return replace(slots, unlimited=False)

    def _note_refusal(self, need: Need, slots: Slots) -> None:
        if self.reason or slots.retry_in_s < _NOTHING_ON_ITS_WAY_S:
            return
        whose = ""
        if slots.binds == OWN and self._max_usd is not None:
            whose = f"of this run ({money(self._max_usd)}, --max-usd)"
        elif slots.binds == "spend_total":
            whose = f"on dollars in all of {need.provider} (lipika budget show)"
        elif slots.binds == "all_total":
            whose = "on dollars in all over all providers (lipika budget show)"
        if whose:
            self.reason = f"the cap {whose} is reached, or a request might go over it"
            self.on_reached(self.reason)
