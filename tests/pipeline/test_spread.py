"""Work spread over processes and threads."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator

import pytest

from lipika.processes import spread


async def numbers() -> AsyncIterator[int]:
    for number in range(50):
        yield number


async def test_with_one_job_outcomes_come_in_the_order_of_the_units() -> None:
    """So that whatever is told of the first of them is the same each time."""
    for _ in range(10):
        assert [outcome async for outcome in spread(abs, numbers(), 1)] == list(range(50))


def refuse(number: int) -> None:
    raise ValueError(number)


async def test_of_several_that_fail_the_first_is_raised_and_nobody_complains_of_the_others() -> None:
    with pytest.raises(ValueError, match=r"^0$"):
        [outcome async for outcome in spread(refuse, numbers(), 1)]
    gc.collect()  # an exception that nobody has looked at would be told now, and be an error
