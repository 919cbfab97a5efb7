"""One way to wait for a service that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from lipika.errors import DatabaseUnavailable, StorageUnavailable, Unavailable
from lipika.network import patiently


class Service:
    """A service that is away for a while: it raises these, then answers."""

    def __init__(self, away: Sequence[Exception]) -> None:
        self.away = list(away)
        self.waits: list[tuple[str, float]] = []

    async def ask(self) -> str:
        if self.away:
            raise self.away.pop(0)
        return "an answer"

    def say(self, reason: Unavailable, wait_s: float) -> None:
        self.waits.append((str(reason), wait_s))


async def test_each_wait_is_said_and_twice_as_long_as_the_last_up_to_the_longest() -> None:
    service = Service([DatabaseUnavailable(name) for name in "abcd"])
    assert await patiently(service.ask, service.say, first_s=0.01, most_s=0.03) == "an answer"
    assert service.waits == [("a", 0.01), ("b", 0.02), ("c", 0.03), ("d", 0.03)]


async def test_it_gives_up_before_a_wait_that_would_end_too_late() -> None:
    service = Service([DatabaseUnavailable("a"), DatabaseUnavailable("b")])
    with pytest.raises(DatabaseUnavailable, match="b"):
        await patiently(service.ask, service.say, first_s=0.01, most_s=60, give_up_s=0.02)
    assert service.waits == [("a", 0.01)]


@pytest.mark.parametrize("trouble", [StorageUnavailable("another service"), ValueError("a defect")])
async def test_what_is_not_waited_for_is_raised_at_once(trouble: Exception) -> None:
    service = Service([trouble])
    with pytest.raises(type(trouble)):
        await patiently(service.ask, service.say, first_s=60, most_s=60, away=DatabaseUnavailable)
    assert service.waits == []


async def test_whoever_says_the_wait_may_end_it() -> None:
    service = Service([DatabaseUnavailable("a")])

    def end(reason: Unavailable, _wait_s: float) -> None:
        raise asyncio.CancelledError from reason

    with pytest.raises(asyncio.CancelledError):
        await patiently(service.ask, end, first_s=60, most_s=60)
