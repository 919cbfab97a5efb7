"""The cheapest plan, held against all plans of a grid, and against the limits themselves."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipika.forecast.budget import Budget, seconds_per_request
from lipika.forecast.cheapest import (
    CheapestPlan,
    PlanLimits,
    Purse,
    TierOption,
    find_raises,
    find_seconds,
    find_times,
    plan_cheapest,
)
from lipika.forecast.days import DAY_S, MoneySoFar
from lipika.forecast.forecast import Crew, PerClip, time_s

STANDARD = TierOption("standard", "aistudio", PerClip(1.0, 700.0, 220.0, 0.0012), 2.0, 60.0)
FLEX = TierOption("flex", "aistudio", PerClip(1.0, 700.0, 220.0, 0.0006), 480.0, 900.0, 15_000)
OTHER = TierOption("other", "openrouter", PerClip(1.0, 700.0, 220.0, 0.0014), 2.0, 60.0)


def held(rpm: int, **more: float) -> PlanLimits:
    return PlanLimits({"aistudio": Purse(Budget(rpm=rpm, **more))}, Purse(), 18, 1000)  # type: ignore[arg-type]


# ---- by hand


def test_flex_alone_where_there_is_time() -> None:
    plan = plan_cheapest([STANDARD, FLEX], 50_000, 4 * 3600, held(1000))
    assert plan.meets_deadline
    (part,) = plan.parts
    assert part.option == "flex"
    assert plan.usd == pytest.approx(30.0)
    assert plan.seconds == pytest.approx(50_000 / 1000 * 60 / 0.985 + 900, rel=0.001)


def test_as_few_at_the_standard_tier_as_it_takes_and_those_at_the_end() -> None:
    """An hour at 1,000 a minute: Flex until 15 minutes before the end, what is left at the standard tier."""
    plan = plan_cheapest([STANDARD, FLEX], 50_000, 3600, held(1000))
    flex = 45 * 1000 * 0.985
    assert plan.meets_deadline
    assert [part.option for part in plan.parts] == ["flex", "standard"]
    assert plan.parts[0].clips == pytest.approx(flex)
    assert plan.parts[1].clips == pytest.approx(50_000 - flex)
    assert plan.parts[1].begins_s == pytest.approx(2700)
    assert plan.binds == ("aistudio rpm",)


def test_the_dearer_provider_takes_only_what_the_first_one_cannot() -> None:
    both = replace(
        held(1000),
        purses={"aistudio": Purse(Budget(rpm=1000)), "openrouter": Purse(Budget(rpm=500, usd_total=5.0))},
    )
    plan = plan_cheapest([STANDARD, OTHER], 61_000, 3660, both)
    first = 60 * 1000 * 0.985
    assert plan.meets_deadline
    assert {part.option: round(part.clips) for part in plan.parts} == {
        "standard": round(first),
        "other": round(61_000 - first),
    }


def test_caps_of_days_and_over_all_are_kept() -> None:
    """$12 a day over all, begun at noon: two days take 36 dollars at the standard tier, a thousandth each."""
    whole = Purse(Budget(usd_per_day=12.0), MoneySoFar(spent_today_usd=6.0))
    mine = replace(held(1000), overall=whole, second_of_day=43_200)
    plan = plan_cheapest([STANDARD], 29_000, 2 * DAY_S, mine)
    assert not plan.meets_deadline
    assert plan.clips == pytest.approx(30 / 0.0012, rel=1e-6)
    assert plan.binds == ("all spend_day",)
    (needed,) = find_raises([STANDARD], 29_000, 2 * DAY_S, mine)
    assert (needed.limit, needed.now) == ("all spend_day", 12.0)
    assert needed.to == pytest.approx((29_000 * 0.0012 + 6) / 3, rel=0.01)


def test_what_it_would_take_is_enough() -> None:
    tight = held(1000, usd_per_10min=20.0)
    assert not plan_cheapest([STANDARD, FLEX], 2_000_000, DAY_S, tight).meets_deadline
    (needed,) = find_raises([STANDARD, FLEX], 2_000_000, DAY_S, tight)
    assert needed.limit == "aistudio rpm"
    assert plan_cheapest(
        [STANDARD, FLEX], 2_000_000, DAY_S, held(math.ceil(needed.to), usd_per_10min=20.0)
    ).meets_deadline
    both = replace(tight, workers=1)
    assert find_raises([STANDARD, FLEX], 9_000_000, DAY_S, both) == ()
    times = find_times([STANDARD, FLEX], 9_000_000, DAY_S, both)
    assert times is not None
    assert times > 5
    later = find_seconds([STANDARD, FLEX], 2_000_000, DAY_S, tight)
    assert later is not None
    assert plan_cheapest([STANDARD, FLEX], 2_000_000, later, tight).meets_deadline


@pytest.mark.parametrize("purse", [Purse(Budget(rpm=0)), Purse(Budget(rpm=100, paused=True))])
def test_who_is_shut_is_asked_nothing(purse: Purse) -> None:
    shut = replace(held(1000), purses={"aistudio": purse, "openrouter": Purse(Budget(rpm=1000))})
    plan = plan_cheapest([FLEX, OTHER], 1000, 3600, shut)
    assert [part.option for part in plan.parts] == ["other"]
    assert not plan_cheapest([FLEX], 1000, 3600, shut).meets_deadline


@given(
    st.integers(200, 3000),
    st.none() | st.floats(1.0, 50.0),
    st.none() | st.floats(5.0, 500.0),
    st.floats(0, DAY_S - 1),
    st.integers(1, 5),
)
@settings(deadline=None, max_examples=60)
def test_one_tier_takes_the_time_that_the_forecast_says(
    rpm: int, ten: float | None, day: float | None, second: float, workers: int
) -> None:
    budget = Budget(rpm=rpm, usd_per_10min=ten, usd_per_day=day)
    mine = PlanLimits({"aistudio": Purse(budget)}, Purse(), workers, 1000, second)
    crew = Crew(workers, 1000, 2000, STANDARD.latency_s)
    seconds = time_s(100_000, STANDARD.each, budget, crew, MoneySoFar(second_of_day=second))
    plan = plan_cheapest([STANDARD], 100_000, seconds + 61 + 0.01 * seconds, mine)
    assert plan.meets_deadline
    assert plan.seconds == pytest.approx(seconds, rel=0.01, abs=61)
    assert plan.usd == pytest.approx(120.0)


# ---- against every plan of a grid

GRID = 12


class Case:
    """Three options over an hour or two, with a midnight in between or not."""

    def __init__(self, held: PlanLimits, clips: float, seconds: float) -> None:
        self.held, self.clips, self.seconds = held, clips, seconds
        self.options = (FLEX, STANDARD, OTHER)

    def windows(self) -> list[tuple[float, float]]:
        """Each option before and after midnight, and no later than it answers in time."""
        midnight = DAY_S - self.held.second_of_day
        found = []
        for option in self.options:
            last = max(self.seconds - option.longest_s, 0.0)
            found += [(0.0, min(midnight, last)), (min(midnight, last), last)]
        return found

    def oracle(self) -> float | None:
        """The dollars of the cheapest plan of a grid that keeps all limits: whole twelfths of the clips by option and
        day, all of them looked at."""
        counts = self.clips * SHARES
        usd = counts @ np.repeat([option.each.usd for option in self.options], 2)
        fits = self.fits(counts)
        return float(usd[fits].min()) if fits.any() else None

    def fits(self, counts: Plans) -> Fits:
        """Which rows keep all limits."""
        good = np.ones(len(counts), bool)
        for at, (begins_s, ends_s) in enumerate(self.windows()):
            good &= (ends_s > begins_s) | (counts[:, at] == 0)
        for whose, purse in (*self.held.purses.items(), ("all", self.held.overall)):
            mine = [at for at in range(6) if whose in ("all", self.options[at // 2].provider)]
            usd = {at: counts[:, at] * self.options[at // 2].each.usd for at in mine}
            budget, spent = purse.budget, purse.so_far
            if budget.usd_total is not None:
                good &= sum(usd.values()) <= budget.usd_total - spent.spent_total_usd
            for day, before in ((0, spent.spent_today_usd), (1, 0.0)):
                today = [at for at in mine if at % 2 == day]
                if budget.usd_per_day is not None:
                    good &= sum(usd[at] for at in today) <= budget.usd_per_day - before
                clocks = {
                    at: seconds_per_request(budget, 700.0, self.options[at // 2].each.usd) for at in today
                }
                for name in next(iter(clocks.values())):
                    good &= self.in_time(today, {at: counts[:, at] * clocks[at][name] for at in today})
        for day in (0, 1):
            today = [at for at in range(6) if at % 2 == day]
            pace = self.held.workers * self.held.clips_per_minute / 60
            good &= self.in_time(today, {at: counts[:, at] / pace for at in today})
            wire = {at: self.options[at // 2].latency_s / self.options[at // 2].max_in_flight for at in today}
            good &= self.in_time(today, {at: counts[:, at] * wire[at] / self.held.workers for at in today})
        return good

    def in_time(self, today: list[int], seconds: dict[int, Plans]) -> Fits:
        """One clock: what has to be sent by a deadline fits before it."""
        windows, good = self.windows(), np.ones(len(SHARES), bool)
        opened = [at for at in today if windows[at][1] > windows[at][0]]
        for deadline in {windows[at][1] for at in opened}:
            until = [at for at in opened if windows[at][1] <= deadline]
            begins_s = min(windows[at][0] for at in until)
            good &= sum(seconds[at] for at in until) <= max(deadline - begins_s, 0.0) + 1e-6
        return good


Plans = np.ndarray[Any, np.dtype[np.float64]]
Fits = np.ndarray[Any, np.dtype[np.bool_]]


def all_shares() -> Plans:
    """Every way to part the clips among six cells."""
    edges = np.asarray(
        [(-1, *cuts, GRID + 5) for cuts in itertools.combinations(range(GRID + 5), 5)], np.float64
    )
    shares: Plans = (np.diff(edges, axis=1) - 1) / GRID
    return shares


SHARES = all_shares()


money = st.none() | st.floats(1.0, 60.0)


@given(
    st.integers(100, 1500),
    st.integers(100, 1500),
    money,
    money,
    money,
    money,
    st.floats(1000, 60_000),
    st.floats(1000, 7200),
    st.sampled_from([0.0, DAY_S - 1500, DAY_S - 4000]),
    st.integers(1, 3),
)
@settings(deadline=None, max_examples=60)
def test_no_plan_of_a_grid_is_cheaper_or_meets_what_it_misses(
    rpm: int,
    rpm_other: int,
    ten: float | None,
    day: float | None,
    total: float | None,
    over_all: float | None,
    clips: float,
    seconds: float,
    second_of_day: float,
    workers: int,
) -> None:
    held = PlanLimits(
        {
            "aistudio": Purse(Budget(rpm=rpm, usd_per_10min=ten, usd_per_day=day)),
            "openrouter": Purse(Budget(rpm=rpm_other, usd_total=total)),
        },
        Purse(Budget(usd_per_day=over_all, usd_per_10min=over_all), MoneySoFar(spent_today_usd=0.5)),
        workers,
        1000,
        second_of_day,
    )
    case = Case(held, clips, seconds)
    plan = plan_cheapest(case.options, clips, seconds, held)
    best = case.oracle()
    if best is not None:
        assert plan.meets_deadline
        assert plan.usd <= best * 1.01 + 1e-9
    check_limits(plan, case)


def check_limits(plan: CheapestPlan, case: Case) -> None:
    by_name = {option.name: option for option in case.options}
    assert plan.clips <= case.clips * (1 + 1e-6)
    assert plan.usd == pytest.approx(sum(one.clips * by_name[one.option].each.usd for one in plan.parts))
    for part in plan.parts:
        assert part.ends_s <= case.seconds - by_name[part.option].longest_s + 1e-3
    for whose, purse in (*case.held.purses.items(), ("all", case.held.overall)):
        mine = [one for one in plan.parts if whose in ("all", by_name[one.option].provider)]
        spent = sum(one.usd for one in mine)
        days = 1 + math.floor((case.held.second_of_day + case.seconds) / DAY_S)
        if purse.budget.usd_per_day is not None:
            assert spent <= purse.budget.usd_per_day * days - purse.so_far.spent_today_usd + 1e-6
        if purse.budget.usd_total is not None:
            assert spent <= purse.budget.usd_total + 1e-6
        if purse.budget.rpm is not None:
            assert sum(one.clips for one in mine) <= purse.budget.rpm * 0.985 / 60 * case.seconds + 1e-3


def test_the_numbers_of_a_hundred_million_clips_are_exact() -> None:
    """Large and small figures in one programme: clips in hundreds of millions, dollars in ten thousandths."""
    mine = held(19_000, usd_per_10min=200.0, usd_per_day=27_000.0)
    plan = plan_cheapest([STANDARD, FLEX], 100e6, 96 * 3600, mine)
    assert plan.meets_deadline
    assert plan.clips == pytest.approx(100e6, rel=1e-9)
    assert np.isclose(plan.usd, sum(part.usd for part in plan.parts))
    assert plan.usd < 70_000
