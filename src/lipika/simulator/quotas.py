"""Quotas of a project and model: arithmetic with an injected clock.

`admit` looks at every quota first and takes from none unless all have room, so that a refused request uses
nothing and its refusal can name all that it violates, as Google's does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from lipika.simulator.config import Quotas
from lipika.simulator.exchange import Quota, Refusal, RefusalKind, Violation

Clock = Callable[[], float]

_MINUTE_S = 60.0
_DAY_S = 86_400.0
_PACIFIC_STANDARD_S = 8 * 3600.0  # behind UTC; daylight saving is left out
_GRAINS = 6000  # a sliding window tells times apart by a 6000th of its length, which bounds its memory


class Meter(Protocol):
    """One limit over time."""

    limit: float

    def wait_s(self, now: float, amount: float) -> float:
        """Seconds until `amount` fits; 0 when it fits now. Takes nothing."""

    def take(self, now: float, amount: float) -> None:
        """Use it up."""


class SlidingWindow:
    """Exactly what was taken in the last `window_s` seconds, up to the window's grain."""

    def __init__(self, limit: float, window_s: float):
        self.limit = limit
        self._window_s = window_s
        self._grain_s = window_s / _GRAINS
        self._taken: deque[list[float]] = deque()  # [time of the first in its grain, amount]
        self._sum = 0.0

    def wait_s(self, now: float, amount: float) -> float:
        self._forget(now)
        if self._sum + amount <= self.limit:
            return 0.0
        excess = self._sum + amount - self.limit
        for when, taken in self._taken:
            excess -= taken
            if excess <= 0:
                return max(when + self._window_s - now, self._grain_s)
        return self._window_s

    def take(self, now: float, amount: float) -> None:
        if self._taken and now - self._taken[-1][0] < self._grain_s:
            self._taken[-1][1] += amount
        else:
            self._taken.append([now, amount])
        self._sum += amount

    def _forget(self, now: float) -> None:
        while self._taken and now - self._taken[0][0] >= self._window_s - self._grain_s / 2:
            self._sum -= self._taken.popleft()[1]
        if not self._taken:
            self._sum = 0.0  # no drift from adding and subtracting fractions


class TokenBucket:
    """One window's worth at most, refilled evenly."""

    def __init__(self, limit: float, window_s: float, now: float):
        self.limit = limit
        self._window_s = window_s
        self._level = limit
        self._at = now

    def wait_s(self, now: float, amount: float) -> float:
        rate = self.limit / self._window_s
        self._level = min(self._level + (now - self._at) * rate, self.limit)
        self._at = now
        if self._level >= amount:
            return 0.0
        return (amount - self._level) / rate if rate else self._window_s

    def take(self, now: float, amount: float) -> None:  # noqa: ARG002 - the protocol's signature
        self._level -= amount


class FixedWindow:
    """So much per period, all of it back at once when the next period begins."""

    def __init__(self, limit: float, period_s: float, first_reset: float):
        self.limit = limit
        self._period_s = period_s
        self._reset = first_reset
        self._taken = 0.0

    def wait_s(self, now: float, amount: float) -> float:
        if now >= self._reset:
            self._reset += ((now - self._reset) // self._period_s + 1) * self._period_s
            self._taken = 0.0
        return 0.0 if self._taken + amount <= self.limit else self._reset - now

    def take(self, now: float, amount: float) -> None:  # noqa: ARG002 - the protocol's signature
        self._taken += amount


class ProjectQuotas:
    """All meters of one project and model."""

    def __init__(self, quotas: Quotas, now: float):
        self._quotas = quotas
        self._meters: dict[Quota, Meter] = {}
        for quota, limit, window_s in (
            (Quota.REQUESTS_PER_MINUTE, quotas.rpm, _MINUTE_S),
            (Quota.TOKENS_PER_MINUTE, quotas.tpm, _MINUTE_S),
            (Quota.REQUESTS_PER_SECOND, quotas.qps, 1.0),
            (Quota.SPEND, quotas.spend_usd, quotas.spend_window_s),
        ):
            if limit is not None:
                self._meters[quota] = _meter(quotas, limit, window_s, now)
        if quotas.rpd is not None:
            period_s = quotas.day_s or _DAY_S
            first_reset = now + (quotas.day_s or seconds_to_pacific_midnight(time.time()))
            self._meters[Quota.REQUESTS_PER_DAY] = FixedWindow(quotas.rpd, period_s, first_reset)
        self.spent_usd = 0.0

    def admit(self, now: float, *, prompt_tokens: int, in_flight: int) -> Refusal | None:
        """Take one request's worth of every quota, or of none and say why.

        `in_flight` counts requests being answered, this one excluded.
        """
        if self._quotas.credit_usd is not None and self.spent_usd >= self._quotas.credit_usd:
            return Refusal(RefusalKind.PAYMENT, (Violation(Quota.CREDIT, self._quotas.credit_usd),))
        if self._quotas.in_flight is not None and in_flight >= self._quotas.in_flight:
            return Refusal(RefusalKind.OVERLOADED, (Violation(Quota.IN_FLIGHT, self._quotas.in_flight),))
        amounts = {quota: _amount(quota, prompt_tokens) for quota in self._meters}
        waits = {quota: meter.wait_s(now, amounts[quota]) for quota, meter in self._meters.items()}
        violated = {quota: wait_s for quota, wait_s in waits.items() if wait_s > 0}
        if violated:
            return self._refusal(violated)
        for quota, meter in self._meters.items():
            if quota is not Quota.SPEND:
                meter.take(now, amounts[quota])
        return None

    def spend(self, now: float, usd: float) -> None:
        """Book what an admitted request cost."""
        self.spent_usd += usd
        if meter := self._meters.get(Quota.SPEND):
            meter.take(now, usd)

    def _refusal(self, violated: dict[Quota, float]) -> Refusal:
        violations = tuple(Violation(quota, self._meters[quota].limit) for quota in violated)
        if Quota.SPEND in violated:
            return Refusal(RefusalKind.SPEND, violations)
        if set(violated) == {Quota.REQUESTS_PER_SECOND}:
            return Refusal(RefusalKind.QPS, violations)
        named = tuple(one for one in violations if one.quota is not Quota.REQUESTS_PER_SECOND)
        return Refusal(RefusalKind.RATE, named, max(violated.values()), self._quotas.details)


def seconds_to_pacific_midnight(unix_s: float) -> float:
    return _DAY_S - (unix_s - _PACIFIC_STANDARD_S) % _DAY_S


def _meter(quotas: Quotas, limit: float, window_s: float, now: float) -> Meter:
    if quotas.window == "bucket":
        return TokenBucket(limit, window_s, now)
    return SlidingWindow(limit, window_s)


def _amount(quota: Quota, prompt_tokens: int) -> float:
    """The amount that an admission asks of a quota. Spend is booked later: it only must not be used up already."""
    if quota is Quota.SPEND:
        return 1e-9
    return prompt_tokens if quota is Quota.TOKENS_PER_MINUTE else 1
