"""A fleet's budget: the arithmetic that `lipika_grant` does in SQL, and what a forecast computes with it. Pure.

Times are seconds, given by the caller as `now`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits that an operator sets the whole fleet on one provider and project; None is no limit."""

    rpm: int | None = None
    tpm: int | None = None  # prompt tokens a minute
    usd_per_10min: float | None = None
    usd_per_day: float | None = None  # UTC days
    usd_total: float | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Ledger:
    """The sums that the fleet has reserved and spent, kept beside the budget. Times are Unix seconds.

    A cursor is a virtual clock: everything granted so far, at the budget's rate, is used up at that moment.
    `usd_reserved` is money granted to live workers and not yet settled.
    """

    requests_until: float = 0.0
    tokens_until: float = 0.0
    usd_until: float = 0.0
    usd_total: float = 0.0
    usd_today: float = 0.0
    usd_reserved: float = 0.0


@dataclass(frozen=True, slots=True)
class Ask:
    """The requests that one worker would like to launch soon, with its best guess of each request's size.

    `usd_most`: what one may cost at most, if its answer runs on to the limit; 0: no more than the guess.
    """

    requests: int
    tokens_each: float
    usd_each: float
    live_workers: int = 1
    usd_most: float = 0.0


@dataclass(frozen=True, slots=True)
class Grant:
    """Launch slots: the i-th request may go at `start + i * step_s`. `binds` names the limit that decided."""

    requests: int
    start: float
    step_s: float
    binds: str = ""
    retry_in_s: float = 0.0  # with no request granted: when to ask again


GRANT_HORIZON_S = 4.0
"""How far ahead slots are granted: what a killed worker can waste, and how often a worker must ask."""

_TEN_MINUTES_S = 600.0
SAFETY = 0.985
"""Of each rate: launches reach the provider with jitter, and its window is not ours."""


def grant(
    budget: Budget, ledger: Ledger, ask: Ask, now: float, horizon_s: float = GRANT_HORIZON_S
) -> tuple[Grant, Ledger]:
    """Reserve launch slots for one worker out of the fleet's budget.

    The database does the same in `lipika_reserve`, for workers far apart; tests hold the two together.

    Every rate advances a cursor by what is granted, so that slots of all workers together are spaced at the
    budget's rate: no rolling window can hold more. No worker gets more than its fair part of the horizon in one
    go, and what the others leave is there for whoever asks next; a worker that dies wastes its last grant only.
    """
    if budget.paused:
        return Grant(0, now, 0.0, "paused", 1.0), ledger
    rates = [rate for rate in _rates(budget, ledger, ask) if rate.each > 0]
    affordable, money_binds = _affordable(budget, ledger, ask)
    if affordable < 1:  # what is on its way may turn out to cost less than it may at most
        return Grant(0, now, 0.0, money_binds, 0.5 if ledger.usd_reserved > _NOTHING_USD else 5.0), ledger
    wanted = min(ask.requests, affordable)
    binds, granted, start, step_s = money_binds, wanted, now, 0.0
    for rate in rates:
        if rate.per_s <= 0:
            return Grant(0, now, 0.0, rate.name, horizon_s / 2), ledger
        free_from = max(rate.until, now)
        allowed = rate.room(now, horizon_s, ask.live_workers)
        if allowed < granted:
            granted, binds = allowed, rate.name
        start = max(start, free_from)
        step_s = max(step_s, rate.each / rate.per_s)
    if granted < 1:
        return Grant(0, now, 0.0, binds, max(min(start - now, horizon_s) / 2, 0.05)), ledger
    reserved = {rate.cursor: max(rate.until, now) + granted * rate.each / rate.per_s for rate in rates}
    most = max(ask.usd_most, ask.usd_each)
    ledger = replace(ledger, usd_reserved=ledger.usd_reserved + granted * most, **reserved)
    return Grant(granted, start, step_s, binds), ledger


def grant_within(
    overall: Budget,
    whole: Ledger,
    budget: Budget,
    ledger: Ledger,
    ask: Ask,
    now: float,
    *,
    live_overall: int = 1,
    horizon_s: float = GRANT_HORIZON_S,
) -> tuple[Grant, Ledger, Ledger]:
    """As `grant`, within what all providers together may cost: `overall`, whose limits on dollars and whose pause
    hold, with `whole`, the sums over all of them. Returns the grant, the ledger and the whole's.

    The database does the same in `lipika_grant`. Caps are held as strictly as a single provider's.
    """
    wanted, binds, retry_s = ask.requests, "", 0.0
    rate = _overall_rate(overall, whole, ask)
    if overall.paused:
        wanted, binds, retry_s = 0, "paused", 1.0
    elif wanted:
        wanted, name = _affordable(overall, whole, ask)
        binds = _overall_name(name)
        if not wanted:
            retry_s = 0.5 if whole.usd_reserved > _NOTHING_USD else 5.0
        elif rate is not None:
            room = rate.room(now, horizon_s, live_overall)
            if room < wanted:
                wanted, binds = room, _overall_name(rate.name)
            if not wanted:
                retry_s = max(min(rate.until - now, horizon_s) / 2, 0.05)
    if binds and not wanted:
        return Grant(0, now, 0.0, binds, retry_s), ledger, whole
    got, ledger = grant(budget, ledger, replace(ask, requests=wanted), now, horizon_s)
    if got.requests == wanted and binds:
        got = replace(got, binds=binds)
    if not got.requests:
        return got, ledger, whole
    most = max(ask.usd_most, ask.usd_each)
    whole = replace(whole, usd_reserved=whole.usd_reserved + got.requests * most)
    if rate is not None:
        free_from, step_s = max(rate.until, now), rate.each / rate.per_s
        got = replace(got, start=max(got.start, free_from), step_s=max(got.step_s, step_s))
        whole = replace(whole, usd_until=free_from + got.requests * step_s)
    return got, ledger, whole


def _overall_rate(overall: Budget, whole: Ledger, ask: Ask) -> _Rate | None:
    """The dollars per ten minutes of all providers; tokens and requests are each provider's own."""
    rates = _rates(Budget(usd_per_10min=overall.usd_per_10min), whole, ask)
    return next((rate for rate in rates if rate.each > 0), None)


def _overall_name(name: str) -> str:
    return name.replace("spend_", "all_")


GUESS_MARGIN = 1.15
"""Requests are reserved at so many times their usual size, and settled when they have been metered."""


def seconds_per_request(budget: Budget, tokens_each: float, usd_each: float) -> dict[str, float]:
    """The seconds by which one metered request moves the cursor of each rate in the end, by the limit's name.

    Its inverse is the rate that the fleet reaches while that limit binds. The guess is on the high side when it is
    reserved, at a rate that leaves room for one request; what was guessed too much is given back at the full rate.
    """
    seconds = {}
    if budget.rpm is not None:
        seconds["rpm"] = _seconds_to_move(budget.rpm, 0.0, 60) if budget.rpm else math.inf
    if budget.tpm is not None:
        seconds["tpm"] = _seconds_to_move(budget.tpm, tokens_each, 60) if budget.tpm else math.inf
    if budget.usd_per_10min is not None:
        limit = budget.usd_per_10min
        seconds["spend_10min"] = _seconds_to_move(limit, usd_each, _TEN_MINUTES_S) if limit else math.inf
    return seconds


def _seconds_to_move(limit: float, metered: float, span_s: float) -> float:
    full = _per_s(limit, 0.0, span_s)
    if not metered:
        return 1.0 / full  # requests are counted, not guessed
    guess = metered * GUESS_MARGIN
    return guess / _per_s(limit, guess, span_s) + (metered - guess) / full


def settle(
    budget: Budget,
    ledger: Ledger,
    *,
    tokens_over: float,
    usd: float,
    usd_reserved: float,
    usd_guessed: float | None = None,
) -> Ledger:
    """Replace guesses by metered use: `tokens_over` = metered - guessed, `usd` metered, `usd_reserved` given back; of
    which `usd_guessed` was the guess, where more than that was reserved."""
    tokens_until, usd_until = ledger.tokens_until, ledger.usd_until
    if budget.tpm:
        tokens_until += tokens_over / _per_s(budget.tpm, 0, 60)
    if budget.usd_per_10min:
        usd_until += (usd - (usd_reserved if usd_guessed is None else usd_guessed)) / _per_s(
            budget.usd_per_10min, 0, _TEN_MINUTES_S
        )
    return replace(
        ledger,
        tokens_until=tokens_until,
        usd_until=usd_until,
        usd_total=ledger.usd_total + usd,
        usd_today=ledger.usd_today + usd,
        usd_reserved=max(ledger.usd_reserved - usd_reserved, 0.0),
    )


@dataclass(frozen=True, slots=True)
class _Rate:
    name: str
    cursor: str  # the ledger's field
    until: float
    per_s: float
    each: float  # units of one request

    def room(self, now: float, horizon_s: float, live_workers: int) -> int:
        """Requests that fit between the cursor and the horizon, and no more than one worker's part of it."""
        if self.per_s <= 0:
            return 0
        free_from = max(self.until, now)
        fair = max(int(self.per_s * horizon_s / self.each / max(live_workers, 1)), 1)
        room = int((now + horizon_s - free_from) * self.per_s / self.each)
        if room < 1 and free_from <= now:
            room = 1  # slower than one a horizon: let the next one go when its time has come
        return max(min(room, fair), 0)


def _rates(budget: Budget, ledger: Ledger, ask: Ask) -> list[_Rate]:
    rates = []
    if budget.rpm is not None:
        rates.append(_Rate("rpm", "requests_until", ledger.requests_until, _per_s(budget.rpm, 0, 60), 1.0))
    if budget.tpm is not None:
        per_s = _per_s(budget.tpm, ask.tokens_each, 60)
        rates.append(_Rate("tpm", "tokens_until", ledger.tokens_until, per_s, ask.tokens_each))
    if budget.usd_per_10min is not None:
        per_s = _per_s(budget.usd_per_10min, ask.usd_each, _TEN_MINUTES_S)
        rates.append(_Rate("spend_10min", "usd_until", ledger.usd_until, per_s, ask.usd_each))
    return rates


def _per_s(limit: float, each: float, span_s: float) -> float:
    """Units a second that keep any rolling `span_s` within `limit`.

    n evenly spaced steps have n + 1 ends, so one request's size is taken off; whole requests round down anyway.
    """
    return max(limit * SAFETY - each, limit / 2) / span_s


OVER_A_CAP = 0.1
"""The part of a cap by which a fleet may exceed it: with nothing else on its way, one request whose usual cost is
left may go, though its answer could run on to the limit. Else the last dollars of a small cap could not be spent."""


def affordable(cap: float, spent: float, reserved: float, usd_each: float, usd_most: float) -> int:
    """Requests that a cap on money still allows: each may cost the most there is, and all together no more than what
    is left, but for one (see OVER_A_CAP)."""
    left = cap - spent - reserved
    most = max(usd_most, usd_each)
    if left <= 0 or most <= 0:
        return 0 if left <= 0 else MOST_REQUESTS
    if (
        left < most
        and reserved < _NOTHING_USD
        and usd_each <= left
        and spent + most <= (1 + OVER_A_CAP) * cap
    ):
        return 1
    return int(min(left / most, MOST_REQUESTS))


MOST_REQUESTS = 1_000_000_000
_NOTHING_USD = 1e-7  # what is left when sums of fractions are taken off again


def _affordable(budget: Budget, ledger: Ledger, ask: Ask) -> tuple[int, str]:
    """The number of requests that the caps on money still allow, and which cap says so."""
    caps = (
        ("spend_total", budget.usd_total, ledger.usd_total),
        ("spend_day", budget.usd_per_day, ledger.usd_today),
    )
    most, binds = ask.requests, ""
    for name, cap, spent in caps:
        if cap is None:
            continue
        count = affordable(cap, spent, ledger.usd_reserved, ask.usd_each, ask.usd_most)
        if count < most:
            most, binds = count, name
    return most, binds


# ----------------------------------------------------------------------------- days
