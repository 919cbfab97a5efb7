import asyncio

import pytest

from lipika.pipeline.byte_budget import ByteBudget


async def test_use_never_exceeds_the_limit_and_everybody_gets_a_turn() -> None:
    budget, finished = ByteBudget(100), []

    async def user(number: int, size: int) -> None:
        await budget.acquire(size)
        assert budget.used <= 100
        await asyncio.sleep(0)
        finished.append(number)
        budget.release(size)

    await asyncio.gather(*(user(number, 7 + number % 40) for number in range(200)))
    assert len(finished) == 200
    assert budget.used == 0


async def test_an_item_larger_than_the_budget_is_let_in_alone() -> None:
    budget = ByteBudget(10)
    await budget.acquire(4)
    waiting = asyncio.create_task(budget.acquire(50))
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.release(4)
    await waiting
    assert budget.used == 50


async def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    budget = ByteBudget(10)
    await budget.acquire(10)
    waiting = asyncio.create_task(budget.acquire(5))
    await asyncio.sleep(0)
    budget.release(10)  # lets the waiter in ...
    waiting.cancel()  # ... which gives up before it runs
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert budget.used == 0
    await asyncio.wait_for(budget.acquire(10), 1)
