"""The speed of the whole chain, as a ratio of one run: see `benchmarks/guard.py`."""

from __future__ import annotations

import pytest

from benchmarks.guard import LIMIT, cpu_ratio


@pytest.mark.timeout(900)
def test_the_chain_costs_no_more_than_it_should_over_the_floor() -> None:
    """Twice over, for a machine whose neighbours wake up between a floor and its chain."""
    ratio = cpu_ratio()
    if ratio > LIMIT:
        ratio = min(ratio, cpu_ratio())
    assert ratio <= LIMIT, (
        f"a clip costs {ratio:.2f} times the floor: python -m benchmarks.steps says which step"
    )
