"""The plan that meets a deadline at the least cost: clips by tier and provider, and when. Pure.

A linear programme over periods (the days of the budgets, the last moment at which each tier answers in time) with the
limits as the ledger holds them: each rate moves a cursor by so many seconds a request, and caps are sums.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lipika.forecast.budget import Budget, seconds_per_request
from lipika.forecast.days import DAY_S, MoneySoFar
from lipika.forecast.forecast import PerClip
from lipika.forecast.limits import LIMITS
from lipika.forecast.simplex import Solution, fill_cheapest

_MOST_DAYS = 30
"""Days with limits of their own; all that are after them are taken together."""
_EARLIER = 1e-7
"""The part of a clip's cost that a later period adds: of two plans that cost the same, the earlier one."""
_HARDLY = 1e-9
_STEPS = 40
_MOST_TIMES = 1e6


@dataclass(frozen=True, slots=True)
class TierOption:
    """One tier of one provider. `latency_s` is the mean of a request, `longest_s` what the last one may take."""

    name: str
    provider: str
    each: PerClip
    latency_s: float
    longest_s: float
    max_in_flight: int = 2000  # of one worker


@dataclass(frozen=True, slots=True)
class Purse:
    """A budget and what has been spent of it."""

    budget: Budget = field(default_factory=Budget)
    so_far: MoneySoFar = field(default_factory=MoneySoFar)


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """All that limits a plan: each provider's purse, that over all, and the workers."""

    purses: Mapping[str, Purse]
    overall: Purse
    workers: int
    clips_per_minute: float  # of one worker
    second_of_day: float = 0.0


@dataclass(frozen=True, slots=True)
class PlanPart:
    """Clips of one option, and between which seconds from now they are sent."""

    option: str
    clips: float
    usd: float
    begins_s: float
    ends_s: float


@dataclass(frozen=True, slots=True)
class CheapestPlan:
    """`parts` in the order in which they begin. Where the deadline cannot be met, as many clips as can be by then.

    `binds`: what makes it no cheaper, or no faster, by `provider limit`.
    """

    meets_deadline: bool
    parts: tuple[PlanPart, ...]
    clips: float
    usd: float
    seconds: float
    binds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Raise:
    """One limit that would have to be raised for a deadline to be met, and to what."""

    limit: str
    now: float
    to: float


@dataclass(frozen=True, slots=True)
class _Period:
    begins_s: float
    ends_s: float
    day: int
    days: int = 1

    @property
    def seconds(self) -> float:
        return self.ends_s - self.begins_s


@dataclass(frozen=True, slots=True)
class _Row:
    """A limit in one period, or a sum over several: what each clip of a cell uses of it."""

    name: str
    limit: float
    uses: Mapping[tuple[int, int], float]  # by option and period
    is_rate: bool = True


def plan_cheapest(
    options: Sequence[TierOption], clips: float, seconds: float, limits: PlanLimits
) -> CheapestPlan:
    """The cheapest plan for `clips` within `seconds`."""
    periods = _cut_into_periods(options, seconds, limits.second_of_day)
    cells = [
        (index, number)
        for index, option in enumerate(options)
        for number, period in enumerate(periods)
        if period.ends_s <= seconds - option.longest_s + 1e-6 and _can_be_sent(option, limits)
    ]
    if clips <= 0 or not cells:
        return CheapestPlan(clips <= 0, (), 0.0, 0.0, 0.0, ())
    rows = _rows(options, periods, cells, limits)
    uses = np.asarray([[row.uses.get(cell, 0.0) * clips for cell in cells] for row in rows], np.float64)
    room = np.asarray([max(row.limit, 0.0) for row in rows], np.float64)
    usd = np.asarray([options[index].each.usd * clips for index, _ in cells], np.float64)
    later = np.asarray([number for _, number in cells], np.float64)
    costs = usd + _EARLIER * max(float(usd.max()), 1e-12) * later
    found = fill_cheapest(costs, uses.reshape(len(rows), len(cells)), room)
    return _read_plan(options, periods, cells, rows, found, clips)


def _can_be_sent(option: TierOption, limits: PlanLimits) -> bool:
    """A limit of nothing lets nothing through."""
    each = option.each
    return all(
        math.isfinite(moved)
        for budget in (_purse(limits, option.provider).budget, limits.overall.budget)
        for moved in seconds_per_request(budget, each.tokens_per_request, each.usd_per_request).values()
    ) and not (_purse(limits, option.provider).budget.paused or limits.overall.budget.paused)


def _purse(limits: PlanLimits, provider: str) -> Purse:
    return limits.purses.get(provider, Purse())


def _cut_into_periods(options: Sequence[TierOption], seconds: float, second_of_day: float) -> list[_Period]:
    """Cut where a day ends, and where a tier is asked for the last time."""
    midnights: list[float] = []
    moment = DAY_S - second_of_day
    while moment < seconds and len(midnights) < _MOST_DAYS:
        midnights.append(moment)
        moment += DAY_S
    cuts = {0.0, *midnights, *(max(seconds - option.longest_s, 0.0) for option in options)}
    ordered = sorted(cuts)
    periods = []
    for begins_s, ends_s in itertools.pairwise(ordered):
        day = sum(midnight <= begins_s for midnight in midnights)
        days = max(math.ceil((ends_s - begins_s) / DAY_S), 1) if day == _MOST_DAYS else 1
        periods.append(_Period(begins_s, ends_s, day, days))
    return [period for period in periods if period.seconds > 1e-9]


# ----------------------------------------------------------------------------- rows


def _rows(
    options: Sequence[TierOption],
    periods: Sequence[_Period],
    cells: Sequence[tuple[int, int]],
    limits: PlanLimits,
) -> list[_Row]:
    rows: list[_Row] = []
    for provider in sorted({option.provider for option in options}):
        own = [cell for cell in cells if options[cell[0]].provider == provider]
        rows += _rows_of_purse(provider, _purse(limits, provider), options, periods, own)
    rows += _rows_of_purse("all", limits.overall, options, periods, cells)
    for number, period in enumerate(periods):
        here = [cell for cell in cells if cell[1] == number]
        launched = limits.workers * limits.clips_per_minute / 60 * period.seconds
        rows.append(_Row("workers", launched, dict.fromkeys(here, 1.0)))
        in_flight = {
            cell: one.each.requests * one.latency_s / max(one.max_in_flight, 1)
            for cell in here
            for one in [options[cell[0]]]
        }
        rows.append(_Row("workers", limits.workers * period.seconds, in_flight))
    return [row for row in rows if row.uses]


def _rows_of_purse(
    whose: str,
    purse: Purse,
    options: Sequence[TierOption],
    periods: Sequence[_Period],
    cells: Sequence[tuple[int, int]],
) -> list[_Row]:
    rows: list[_Row] = []
    moved = {
        index: seconds_per_request(
            purse.budget, options[index].each.tokens_per_request, options[index].each.usd_per_request
        )
        for index, _ in cells
    }
    for number, period in enumerate(periods):
        here = [cell for cell in cells if cell[1] == number]
        for name in sorted({name for one in moved.values() for name in one}):
            uses = {cell: moved[cell[0]][name] * options[cell[0]].each.requests for cell in here}
            rows.append(_Row(f"{whose} {name}", period.seconds, uses))
    cap = purse.budget.usd_per_day
    if cap is not None:
        for day in sorted({period.day for period in periods}):
            days = max(period.days for period in periods if period.day == day)
            left = cap * days - (purse.so_far.spent_today_usd if day == 0 else 0.0)
            uses = {cell: options[cell[0]].each.usd for cell in cells if periods[cell[1]].day == day}
            rows.append(_Row(f"{whose} spend_day", left, uses, is_rate=False))
    if purse.budget.usd_total is not None:
        left = purse.budget.usd_total - purse.so_far.spent_total_usd
        uses = {cell: options[cell[0]].each.usd for cell in cells}
        rows.append(_Row(f"{whose} spend_total", left, uses, is_rate=False))
    return rows


# ----------------------------------------------------------------------------- the plan


def _read_plan(
    options: Sequence[TierOption],
    periods: Sequence[_Period],
    cells: Sequence[tuple[int, int]],
    rows: Sequence[_Row],
    found: Solution,
    clips: float,
) -> CheapestPlan:
    counts = {cell: float(share) * clips for cell, share in zip(cells, found.shares, strict=True)}
    meets = found.total > 1 - 1e-6
    parts: list[PlanPart] = []
    seconds = 0.0
    for index, option in enumerate(options):
        sent = [
            (periods[number], counts[cell], _busy_s(number, counts, rows, periods))
            for cell in cells
            for at, number in [cell]
            if at == index and counts[cell] > clips * _HARDLY
        ]
        if not sent:
            continue
        whole = sum(count for _, count, _ in sent)
        ends_s = max(period.begins_s + busy_s for period, _, busy_s in sent)
        parts.append(PlanPart(option.name, whole, whole * option.each.usd, sent[0][0].begins_s, ends_s))
        seconds = max(seconds, ends_s + option.longest_s)
    parts.sort(key=lambda part: part.begins_s)
    worth = zip(rows, found.worth, strict=True)
    binds = dict.fromkeys(row.name for row, gain in worth if gain > 1e-6)
    return CheapestPlan(
        meets,
        tuple(parts),
        sum(part.clips for part in parts),
        sum(part.usd for part in parts),
        seconds,
        tuple(binds),
    )


def _busy_s(
    number: int, counts: Mapping[tuple[int, int], float], rows: Sequence[_Row], periods: Sequence[_Period]
) -> float:
    """Seconds for which a period's clips are being sent, as fast as its rates allow."""
    busy = 0.0
    for row in rows:
        if row.is_rate and row.limit > 0 and any(cell[1] == number for cell in row.uses):
            used = sum(counts[cell] * each for cell, each in row.uses.items())
            busy = max(busy, used / row.limit)
    return min(busy, 1.0) * periods[number].seconds


# ----------------------------------------------------------------------------- what it would take


def find_raises(
    options: Sequence[TierOption], clips: float, seconds: float, limits: PlanLimits
) -> tuple[Raise, ...]:
    """The limits each of which, raised alone, would let the deadline be met; nothing where none alone does."""
    found = []
    names = [*sorted({option.provider for option in options}), "all"]
    for whose in names:
        purse = limits.overall if whose == "all" else _purse(limits, whose)
        for limit in LIMITS:
            now = getattr(purse.budget, limit.field)
            if now:
                with_more = _raising(limits, whose, limit.field, now)
                times = _least_times(options, clips, seconds, with_more)
                found += [Raise(f"{whose} {limit.name}", now, now * times)] if times else []
    times = _least_times(
        options, clips, seconds, lambda k: replace(limits, workers=math.ceil(limits.workers * k))
    )
    found += [Raise("workers", limits.workers, math.ceil(limits.workers * times))] if times else []
    return tuple(found)


def find_times(
    options: Sequence[TierOption], clips: float, seconds: float, limits: PlanLimits
) -> float | None:
    """The factor that all limits and the workers would have to be raised by; None where none is enough."""

    def raise_all(k: float) -> PlanLimits:
        more = {whose: _scale(purse, k) for whose, purse in limits.purses.items()}
        return replace(
            limits, purses=more, overall=_scale(limits.overall, k), workers=math.ceil(limits.workers * k)
        )

    return _least_times(options, clips, seconds, raise_all)


def find_seconds(
    options: Sequence[TierOption], clips: float, seconds: float, limits: PlanLimits
) -> float | None:
    """The seconds in which it can be done as things are; None: never."""
    low, high = seconds, 2 * seconds
    while not plan_cheapest(options, clips, high, limits).meets_deadline:
        low, high = high, 2 * high
        if high > 3650 * DAY_S:
            return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if plan_cheapest(options, clips, middle, limits).meets_deadline:
            high = middle
        else:
            low = middle
        if high - low < 60:
            break
    return high


def _raising(limits: PlanLimits, whose: str, limit: str, now: float) -> Callable[[float], PlanLimits]:
    def raise_one(k: float) -> PlanLimits:
        purse = limits.overall if whose == "all" else _purse(limits, whose)
        changes: dict[str, float] = {limit: now * k}
        more = replace(purse, budget=replace(purse.budget, **changes))  # type: ignore[arg-type]
        if whose == "all":
            return replace(limits, overall=more)
        return replace(limits, purses={**limits.purses, whose: more})

    return raise_one


def _scale(purse: Purse, k: float) -> Purse:
    given = {limit.field: getattr(purse.budget, limit.field) for limit in LIMITS}
    more = {name: value * k for name, value in given.items() if value is not None}
    return replace(purse, budget=replace(purse.budget, **more))


def _least_times(
    options: Sequence[TierOption], clips: float, seconds: float, raised: Callable[[float], PlanLimits]
) -> float | None:
    def meets(k: float) -> bool:
        return plan_cheapest(options, clips, seconds, raised(k)).meets_deadline

    low, high = 1.0, 2.0
    while not meets(high):
        low, high = high, 4 * high
        if high > _MOST_TIMES:
            return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if meets(middle) else (middle, high)
        if high / low < 1.001:
            break
    return high
