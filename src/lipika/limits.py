"""Pacing, rates and back-off: arithmetic with the time passed in. Nothing here sleeps or looks at a clock.

All times are seconds on one monotonic clock, given by the caller as `now`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace


class Pacer:
    """Launch slots inside batch windows: `size` first attempts per `interval_s`, spread evenly or at once.

    Paced, a slot opens every `interval_s / size`; a stalled caller may catch up at most `catch_up_s` of missed
    slots, so that a pause never turns into a burst. Burst, all slots of a window open at its start.
    """

    def __init__(self, size: int, interval_s: float, *, burst: bool, now: float, catch_up_s: float = 1.0):
        self._size = size
        self._interval_s = interval_s
        self._burst = burst
        self._catch_up_s = min(catch_up_s, interval_s)
        self._step_s = interval_s / size
        self._next_slot = now
        self._window_start = now
        self._used = 0

    def delay(self, now: float) -> float:
        """Seconds until the next launch is allowed; 0 when it is allowed now."""
        if self._burst:
            self._roll(now)
            return 0.0 if self._used < self._size else self._window_start + self._interval_s - now
        return max(self._next_slot - now, 0.0)

    def launched(self, now: float) -> None:
        """Use up one slot."""
        if self._burst:
            self._roll(now)
            self._used += 1
        else:
            self._next_slot = max(self._next_slot, now - self._catch_up_s) + self._step_s

    def _roll(self, now: float) -> None:
        if now - self._window_start >= self._interval_s:
            windows = int((now - self._window_start) // self._interval_s)
            self._window_start += windows * self._interval_s
            self._used = 0


class RateMeter:
    """What happened in the last `span_s`: a sliding sum over whole `step_s` slots. Memory is constant."""

    def __init__(self, span_s: float = 60.0, step_s: float = 1.0):
        self._span_s = span_s
        self._step_s = step_s
        self._slots: deque[tuple[int, float]] = deque()
        self._sum = 0.0

    def add(self, amount: float, now: float) -> None:
        slot = int(now // self._step_s)
        if self._slots and self._slots[-1][0] == slot:
            self._slots[-1] = (slot, self._slots[-1][1] + amount)
        else:
            self._slots.append((slot, amount))
        self._sum += amount

    def total(self, now: float) -> float:
        """The sum over the last `span_s`, rounded up to a whole slot."""
        oldest = int((now - self._span_s) // self._step_s)
        while self._slots and self._slots[0][0] <= oldest:
            self._sum -= self._slots.popleft()[1]
        return max(self._sum, 0.0) if self._slots else 0.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after the n-th failure in a row when the server names no time: `base_s` doubled, capped.

    The jitter is full above one half: waits fall in [w/2, w], so that a fleet does not return in step.
    """

    base_s: float = 10.0
    cap_s: float = 300.0

    def wait_s(self, failures: int, jitter: float) -> float:
        """Seconds to wait after `failures` >= 1 failures; `jitter` in 0..1."""
        full = min(self.base_s * 2.0 ** min(failures - 1, 30), self.cap_s)
        return full * (0.5 + 0.5 * jitter)


# ----------------------------------------------------------------------------- fleet budgets


@dataclass(frozen=True, slots=True)
class Budget:
    """What an operator allows the whole fleet on one provider and project; None is no limit."""

    rpm: int | None = None
    tpm: int | None = None  # prompt tokens a minute
    usd_per_10min: float | None = None
    usd_per_day: float | None = None  # UTC days
    usd_total: float | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the fleet has reserved and spent, kept beside the budget. Times are Unix seconds.

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
    """What one worker would like to launch soon, with its best guess of each request's size.

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

    The database does the same in `lipika_reserve`, for workers far apart; this is its specification, and what a
    forecast computes with.

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
        fair = max(int(rate.per_s * horizon_s / rate.each / max(ask.live_workers, 1)), 1)
        room = int((now + horizon_s - free_from) * rate.per_s / rate.each)
        if room < 1 and free_from <= now:
            room = 1  # slower than one a horizon: let the next one go when its time has come
        allowed = max(min(room, fair), 0)
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


GUESS_MARGIN = 1.15
"""Requests are reserved at so many times their usual size, and settled when they have been metered."""


def seconds_per_request(budget: Budget, tokens_each: float, usd_each: float) -> dict[str, float]:
    """How far one metered request moves the cursor of each rate in the end, by the limit's name.

    Its inverse is the rate that the fleet reaches while that limit binds. The guess is on the high side when it is
    reserved, at a rate that leaves room for one request; what was guessed too much is given back at the full rate.
    """
    seconds = {}
    if budget.rpm is not None:
        seconds["rpm"] = _moved_s(budget.rpm, 0.0, 60) if budget.rpm else math.inf
    if budget.tpm is not None:
        seconds["tpm"] = _moved_s(budget.tpm, tokens_each, 60) if budget.tpm else math.inf
    if budget.usd_per_10min is not None:
        limit = budget.usd_per_10min
        seconds["spend_10min"] = _moved_s(limit, usd_each, _TEN_MINUTES_S) if limit else math.inf
    return seconds


def _moved_s(limit: float, metered: float, span_s: float) -> float:
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
    """How many requests the caps on money still allow, and which cap says so."""
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


# ----------------------------------------------------------------------------- adaptive concurrency


class AdaptiveConcurrency:
    """How many requests may be in flight: grows on success, is cut once a burst of push-back, recovers by time.

    Growth doubles a round trip up to nine tenths of the level that was last refused (its memory), and creeps
    from there; the memory fades after `forget_s` without push-back. Overload (503) pauses growth, and only
    push-back (429) cuts. It never falls below `floor`, so it cannot stall, nor rises above `ceiling`.
    """

    def __init__(self, ceiling: int, *, floor: int = 8, start: int | None = None, forget_s: float = 30.0):
        self._ceiling = float(ceiling)
        self._floor = float(min(floor, ceiling))
        self._level = min(max(float(start or ceiling), self._floor), self._ceiling)
        self._refused_at_level = self._ceiling / 0.9
        self._cut_at = -math.inf
        self._growth_from = -math.inf
        self._forget_s = forget_s

    @property
    def limit(self) -> int:
        return int(self._level)

    def on_success(self, now: float) -> None:
        if now < self._growth_from:
            return
        if now - self._cut_at > self._forget_s:
            self._refused_at_level = self._ceiling / 0.9
        step = 1.0 if self._level < 0.9 * self._refused_at_level else 1.0 / self._level
        self._level = min(self._level + step, self._ceiling)

    def on_push_back(self, launched_at: float, now: float) -> bool:
        """A 429. Those launched before the last cut tell nothing new. Returns whether it was cut."""
        if launched_at <= self._cut_at:
            return False
        self._refused_at_level = self._level
        self._level = max(self._level * 0.7, self._floor)
        self._cut_at = now
        return True

    def on_overload(self, now: float, pause_s: float = 15.0) -> None:
        """A 503 or 529: the service is short of capacity, our share of it is not the cause."""
        self._growth_from = max(self._growth_from, now + pause_s)


# ----------------------------------------------------------------------------- parking and probing


@dataclass(frozen=True, slots=True)
class Probing:
    """How often a provider that cannot be asked is looked at again; seconds.

    `least_s` holds whatever the server says, and doubles with each probe that fails, up to `most_s`, until an answer
    comes.
    """

    probe_s: float = 8.0  # where the server names no time
    least_s: float = 1.0
    most_s: float = 60.0


class Gate:
    """Whether a provider may be asked at all: open, shut until a time, or ajar for one probe at a time.

    After a shut time only one probe goes; its success opens the gate, its failure shuts it again. The wait between
    probes stays short unless the server names a time, so that the end of a storm is seen soon; and it is never
    shorter than the least wait, whatever the server says.
    """

    def __init__(self, probing: Probing | None = None):
        self._probing = probing or Probing()
        self._least_s = self._probing.least_s
        self._shut_until = -math.inf
        self._ajar = False
        self._probe_at: float | None = None  # when the probe that is out was launched
        self.reason = ""

    def shut(self, now: float, wait_s: float | None, reason: str, launched_at: float = math.inf) -> None:
        """Refuse everything until the server's time, or for one probe interval, because of what came of a request.

        One that was launched before the probe that is out says nothing about that.
        """
        if self._is_probe(launched_at):
            self._probe_at = None
            self._least_s = min(2 * self._least_s, self._probing.most_s)
        wait_s = self._probing.probe_s if wait_s is None else wait_s
        self._shut_until = max(self._shut_until, now + max(wait_s, self._least_s))
        self._ajar, self.reason = True, reason

    def delay(self, now: float) -> float:
        """Seconds until a request may go; infinite while a probe is out."""
        if not self._ajar:
            return 0.0
        return math.inf if self._probe_at is not None else max(self._shut_until - now, 0.0)

    def launched(self, now: float) -> None:
        """A request goes: while the gate is ajar, that is the probe."""
        if self._ajar:
            self._probe_at = now

    def opened(self, launched_at: float) -> bool:
        """A request came back without push-back. Returns whether that opened the gate.

        One that was launched before the probe, or before the gate was shut, tells of the time before.
        """
        if not self._ajar:
            self._least_s = self._probing.least_s
            return False
        if not self._is_probe(launched_at):
            return False
        self._ajar, self._probe_at, self.reason = False, None, ""
        self._least_s = self._probing.least_s
        return True

    def probe_lost(self, now: float, launched_at: float = math.inf) -> None:
        """A request ended without telling either way (a reset, a time-out): if it was the probe, another may go."""
        if self._is_probe(launched_at):
            self._probe_at = None
            self._shut_until = max(self._shut_until, now + self._least_s)
            self._least_s = min(2 * self._least_s, self._probing.most_s)

    def _is_probe(self, launched_at: float) -> bool:
        return self._probe_at is not None and launched_at >= self._probe_at

    @property
    def is_open(self) -> bool:
        return not self._ajar

    @property
    def shut_until(self) -> float:
        return self._shut_until
