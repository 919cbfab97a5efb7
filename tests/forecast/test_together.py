"""A provider's budget within the one over all providers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lipika.forecast.budget import Budget
from lipika.forecast.days import DAY_S, MoneySoFar
from lipika.forecast.forecast import Crew, PerClip, time_s
from lipika.forecast.together import hold_within

ONE = PerClip(1.0, 700.0, 220.0, 0.001)
CREW = Crew(4, 1000, 2000, 1.0)
caps = st.none() | st.floats(1.0, 500.0)
sums = st.floats(0.0, 600.0)


def test_what_is_left_of_both_caps_counts() -> None:
    held = hold_within(
        Budget(usd_per_day=200.0), MoneySoFar(50.0, 50.0), Budget(usd_per_day=180.0), MoneySoFar(120.0, 900.0)
    )
    assert held.budget.usd_per_day == 180.0
    assert held.budget.usd_per_day - held.so_far.spent_today_usd == 60.0
    assert held.by_all == {"spend_day"}


def test_without_a_budget_over_all_nothing_changes() -> None:
    own, so_far = Budget(rpm=9, usd_total=5.0, usd_per_day=4.0), MoneySoFar(7.0, 8.0, 9.0)
    held = hold_within(own, so_far, Budget(), MoneySoFar(70.0, 80.0, 9.0))
    assert (held.budget, held.so_far, held.by_all) == (own, so_far, frozenset())


@given(caps, sums, caps, sums, caps, caps, st.floats(0, DAY_S - 1))
def test_it_takes_no_less_time_than_under_either(
    own: float | None,
    today: float,
    over: float | None,
    today_overall: float,
    ten: float | None,
    ten_overall: float | None,
    second: float,
) -> None:
    budget, overall = (
        Budget(usd_per_day=own, usd_per_10min=ten),
        Budget(usd_per_day=over, usd_per_10min=ten_overall),
    )
    so_far = MoneySoFar(today, today, second)
    spent = MoneySoFar(today_overall, today_overall, second)
    held = hold_within(budget, so_far, overall, spent)
    time = time_s(100_000, ONE, held.budget, CREW, held.so_far)
    slack_s = 1e-3
    assert time >= time_s(100_000, ONE, budget, CREW, so_far) - slack_s
    assert time >= time_s(100_000, ONE, overall, CREW, spent) - slack_s
