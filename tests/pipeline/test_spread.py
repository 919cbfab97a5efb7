"""Work spread over processes and threads."""

from __future__ import annotations

from collections.abc import AsyncIterator

from lipika.processes import spread


async def numbers() -> AsyncIterator[int]:
    for number in range(50):
        yield number


async def test_with_one_job_outcomes_come_in_the_order_of_the_units() -> None:
    """So that whatever is told of the first of them is the same each time."""
    for _ in range(10):
        assert [outcome async for outcome in spread(abs, numbers(), 1)] == list(range(50))
