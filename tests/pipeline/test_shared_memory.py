"""Memory shared with child processes: what is put there comes out the same, and what does not fit still arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from lipika.pipeline.shared_memory import WORTH_SHARING, SharedPlaces, Side, answer_in_process, take_over
from lipika.processes import executor

pytestmark = pytest.mark.skipif(
    not SharedPlaces.possible(), reason="this system has no memory without a name"
)

HALF = 64 << 10


@pytest.fixture
def shared() -> Iterator[SharedPlaces]:
    made = SharedPlaces(2, HALF)
    yield made
    made.close()


def test_what_is_put_comes_out_and_stays_one_object(shared: SharedPlaces) -> None:
    large, small = bytes(range(256)) * 40, b"small"
    thing = {"a": [large, large], "b": small, "c": (bytearray(large), None)}
    message = shared.put(1, Side.QUESTION, thing)
    assert len(message) < 2 * len(large), "the bytes are not in it, but for the bytearray's"
    taken = shared.take(message)
    assert taken == thing
    assert taken["a"][0] is taken["a"][1]


def test_sides_and_places_do_not_touch_each_other(shared: SharedPlaces) -> None:
    things = {
        (place, side): bytes([16 * place + side]) * (HALF - WORTH_SHARING)
        for place in (0, 1)
        for side in Side
    }
    messages = {key: shared.put(*key, thing) for key, thing in things.items()}
    assert all(len(message) < 200 for message in messages.values())
    assert {key: shared.take(message) for key, message in messages.items()} == things


@pytest.mark.parametrize("length", [0, WORTH_SHARING - 1, WORTH_SHARING, HALF, HALF + 1, 3 * HALF])
def test_what_has_no_room_goes_with_the_message(shared: SharedPlaces, length: int) -> None:
    thing = [b"x" * length, b"y" * length]
    message = shared.put(0, Side.ANSWER, thing)
    assert shared.take(message) == thing
    fit = HALF // length if WORTH_SHARING <= length <= HALF else 0
    assert len(message) >= (2 - min(fit, 2)) * length


def doubled(parts: list[bytes]) -> list[bytes]:
    return [part + part for part in parts]


async def test_a_process_takes_its_question_from_there_and_leaves_its_answer(shared: SharedPlaces) -> None:
    parts = [b"a" * 20_000, b"b" * 10, b"c" * 40_000]  # doubled, the last does not fit
    pool = executor(1, partial(take_over, shared))
    try:
        for place in (0, 1):
            message = shared.put(place, Side.QUESTION, parts)
            work = asyncio.get_running_loop().run_in_executor(
                pool, answer_in_process, doubled, place, message
            )
            assert shared.take(await work) == doubled(parts)
    finally:
        pool.shutdown()
