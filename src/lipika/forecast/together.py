"""A provider's budget within the one over all providers: what is left for whoever is asked alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lipika.forecast.budget import Budget
from lipika.forecast.days import MoneySoFar


@dataclass(frozen=True, slots=True)
class HeldBudget:
    """The limits that hold in the end, and the money so far as they see it. `by_all`: the names of those limits that
    the budget over all providers decides."""

    budget: Budget
    so_far: MoneySoFar
    by_all: frozenset[str] = frozenset()


def hold_within(
    budget: Budget, so_far: MoneySoFar, overall: Budget, so_far_overall: MoneySoFar
) -> HeldBudget:
    """The stricter of both, limit by limit; of a cap what counts is what is left of it, today and on later days."""
    by_all = set()
    per_10min = _least(budget.usd_per_10min, overall.usd_per_10min)
    if overall.usd_per_10min is not None and per_10min != budget.usd_per_10min:
        by_all.add("spend_10min")
    per_day, today = _stricter(
        (budget.usd_per_day, so_far.spent_today_usd), (overall.usd_per_day, so_far_overall.spent_today_usd)
    )
    if overall.usd_per_day is not None and (per_day, today) != (budget.usd_per_day, so_far.spent_today_usd):
        by_all.add("spend_day")
    total, spent = _stricter(
        (budget.usd_total, so_far.spent_total_usd), (overall.usd_total, so_far_overall.spent_total_usd)
    )
    if overall.usd_total is not None and (total, spent) != (budget.usd_total, so_far.spent_total_usd):
        by_all.add("spend_total")
    return HeldBudget(
        replace(
            budget,
            usd_per_10min=per_10min,
            usd_per_day=per_day,
            usd_total=total,
            paused=budget.paused or overall.paused,
        ),
        replace(so_far, spent_today_usd=today, spent_total_usd=spent),
        frozenset(by_all),
    )


def _least(one: float | None, other: float | None) -> float | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)


def _stricter(
    own: tuple[float | None, float], overall: tuple[float | None, float]
) -> tuple[float | None, float]:
    """A cap and what is spent of it, with no more left now, and no more later, than either has."""
    caps = [(cap, spent) for cap, spent in (own, overall) if cap is not None]
    if len(caps) < 2:
        return caps[0] if caps else own
    cap = min(cap for cap, _ in caps)
    return cap, max(cap - (one - spent) for one, spent in caps)
