"""The table of limits names every limit there is, as the database, the rows and the arithmetic call it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from lipika.db.budgets import BudgetRow, Limits
from lipika.db.stats_fleet import ProviderNow
from lipika.forecast.budget import Budget
from lipika.forecast.forecast import limit_names, only
from lipika.forecast.limits import LIMITS, Limit


def test_every_limit_is_in_the_table() -> None:
    columns = [limit.column for limit in LIMITS]
    assert [field.name for field in fields(Limits)] == columns
    assert [field.name for field in fields(Budget) if field.name != "paused"] == [
        limit.field for limit in LIMITS
    ]
    for row in (BudgetRow, ProviderNow):
        assert set(columns) <= {field.name for field in fields(row)}


def test_what_is_in_use_is_known_for_every_limit() -> None:
    figures: dict[str, Any] = {field.name: None for field in fields(ProviderNow)}
    now = {"rpm": 9000, "tpm": 40, "usd_per_minute": 0.5, "usd_today": 7.0, "usd_total": 30.0}
    held = {limit.column: 100 for limit in LIMITS}
    row = ProviderNow(**{**figures, **now, **held})
    assert list(row.in_use) == list(row.used) == [limit.name for limit in LIMITS]
    assert row.used == {"rpm": 90, "tpm": 0.4, "spend_10min": 0.05, "spend_day": 0.07, "spend_total": 0.3}


@pytest.mark.parametrize("limit", [limit for limit in LIMITS if limit.name != "spend_total"])
def test_a_limit_is_looked_at_alone(limit: Limit) -> None:
    all_set: dict[str, Any] = {one.field: 7 for one in LIMITS}
    alone_set: dict[str, Any] = {limit.field: 7}
    budget = Budget(**all_set)
    alone = only(budget, limit.name)
    assert limit_names(alone) == (limit.name, "workers")
    assert alone == Budget(**alone_set)
