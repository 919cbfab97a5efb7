"""A route's policy with a clock that the test moves: parks, probes, outages, guesses and their settlement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from asking import MODEL, a_request
from lipika.engine.route import Need, Permit, Route, Slots, seconds_to_pacific_midnight
from lipika.errors import DatabaseUnavailable
from lipika.llm.capabilities import load_capabilities
from lipika.llm.provider import BaseProvider, TranscriptionRequest, TranscriptionResponse
from lipika.models import Failure, FailureKind, Usage

NOON_UTC = 1_790_000_000.0 // 86_400 * 86_400 + 43_200


class Silent(BaseProvider):
    """A provider that is never asked: routes decide, they do not send."""

    async def transcribe(self, request: TranscriptionRequest) -> TranscriptionResponse:
        raise AssertionError(f"a route sends nothing, not even {request.clip_id}")

    def get_provider_name(self) -> str:
        return "aistudio"


class Book:
    """A ledger that grants what the test says and remembers what it was told."""

    def __init__(self, answer: Callable[[Need], Slots] = lambda need: Slots(need.wanted)):
        self.answer = answer
        self.needs: list[Need] = []

    async def __call__(self, need: Need) -> Slots:
        self.needs.append(need)
        return self.answer(need)


def a_route(book: Book | None = None) -> Route:
    return Route(Silent(), load_capabilities(MODEL), max_in_flight=100, reserve=book or Book())


def response(
    failure: Failure | None = None, usage: Usage | None = None, text: str = "{}"
) -> TranscriptionResponse:
    plain = Usage(prompt=500, prompt_text=400, prompt_audio=100, output=200)
    return TranscriptionResponse(a_request(), "aistudio", text, failure, usage or plain, "m", 100.0)


def failed(kind: FailureKind, retry_after_s: float | None = None, code: str = "") -> TranscriptionResponse:
    return response(Failure(kind, "message", retry_after_s, 429, code), Usage())


async def granted(route: Route, now: float, count: int = 50) -> None:
    await route.ask(lambda: now, count)


def launch(route: Route, now: float, number: int = 0) -> Permit:
    assert route.delay(now) == 0
    return route.launch(a_request(number), now)


async def test_a_daily_429_without_a_time_parks_until_pacific_midnight() -> None:
    route = a_route()
    await granted(route, 0)
    route.note_end(launch(route, 0), failed(FailureKind.RATE_DAY), 1, NOON_UTC)
    assert route.parked_kind is FailureKind.RATE_DAY
    assert route.delay(1) == pytest.approx(20 * 3600)  # noon UTC is 4 in the morning there


@pytest.mark.parametrize(
    ("unix_s", "hours"), [(NOON_UTC, 20), (NOON_UTC - 4 * 3600, 24), (NOON_UTC - 4 * 3600 - 1, 1 / 3600)]
)
def test_pacific_midnight(unix_s: float, hours: float) -> None:
    assert seconds_to_pacific_midnight(unix_s) == pytest.approx(hours * 3600)


async def test_spend_parks_for_ten_minutes_at_least() -> None:
    route = a_route()
    await granted(route, 0)
    route.note_end(launch(route, 0), failed(FailureKind.SPEND, retry_after_s=5), 1, NOON_UTC)
    assert route.delay(1) == 600
    assert "spend" in route.limited_by(1)


async def test_an_unnamed_429_that_does_not_clear_within_a_minute_is_spend() -> None:
    route = a_route()
    await granted(route, 0)
    now = 0.0
    while now < 70:
        await granted(route, now)
        route.note_end(launch(route, now), failed(FailureKind.RATE_MINUTE), now + 0.1, NOON_UTC)
        assert (route.parked_kind is FailureKind.SPEND) == (now > 60)
        now = route.gate.shut_until
    assert route.delay(now - 500) == pytest.approx(500)


async def test_a_named_429_stays_a_minutes_matter() -> None:
    route = a_route()
    await granted(route, 0)
    for turn in range(20):
        now = turn * 70.0
        await granted(route, now)
        route.note_end(launch(route, now), failed(FailureKind.RATE_MINUTE, code="PerMinute"), now, NOON_UTC)
    assert route.parked_kind is None


async def test_after_a_429_one_probe_goes_and_its_answer_opens_the_route() -> None:
    route = a_route()
    await granted(route, 0)
    route.note_end(launch(route, 0), failed(FailureKind.RATE_MINUTE), 1, NOON_UTC)
    assert route.delay(1) == 8
    await granted(route, 9)
    probe = launch(route, 9)
    assert route.delay(9) == float("inf")
    route.note_end(probe, response(), 10, NOON_UTC)
    assert route.usable
    await granted(route, 10)
    assert route.delay(10) == 0


async def test_twenty_failures_in_a_row_are_an_outage_and_three_are_one_when_nothing_else_is_heard() -> None:
    busy = a_route()
    await granted(busy, 0, 100)
    busy.note_end(launch(busy, 0), response(), 0.5, NOON_UTC)
    for number in range(20):
        assert busy.usable, number
        busy.note_end(launch(busy, 1, number), failed(FailureKind.SERVER), 1, NOON_UTC)
    assert not busy.usable

    quiet = a_route()
    await granted(quiet, 0)
    for number in range(3):
        assert quiet.usable, number
        quiet.note_end(launch(quiet, 0, number), failed(FailureKind.TIMEOUT), 0, NOON_UTC)
    assert not quiet.usable
    assert "cannot be reached" in quiet.limited_by(0)


async def test_no_more_in_flight_than_the_concurrency_allows() -> None:
    route = a_route()
    await granted(route, 0, 200)
    for _ in range(100):
        launch(route, 0)
    assert route.delay(0) == float("inf")
    assert "100 requests in flight" in route.limited_by(0)


async def test_what_was_used_is_told_once_and_what_was_reserved_is_given_back() -> None:
    book = Book()
    route = a_route(book)
    await granted(route, 0, 10)
    price = load_capabilities(MODEL).cost_usd(response().usage)
    for _ in range(4):
        route.note_end(launch(route, 0), response(), 0.1, NOON_UTC)
    await granted(route, 1, 0)
    told = book.needs[-1]
    assert told.usd_metered == pytest.approx(4 * price)
    assert told.usd_over == pytest.approx(4 * (price - book.needs[0].usd_each))
    assert told.tokens_over == pytest.approx(4 * (500 - book.needs[0].tokens_each))
    assert told.reserved_usd == pytest.approx(6 * book.needs[0].usd_each)
    route.give_back()
    await granted(route, 2, 0)
    assert book.needs[-1].reserved_usd == pytest.approx(0, abs=1e-12)
    assert book.needs[-1].usd_metered == pytest.approx(4 * price), "a sum: saying it again changes nothing"


async def test_what_could_not_be_told_is_told_the_next_time() -> None:
    def away(_need: Need) -> Slots:
        raise DatabaseUnavailable("gone")

    book = Book()
    route = a_route(book)
    await granted(route, 0, 10)
    route.note_end(launch(route, 0), response(), 0.1, NOON_UTC)
    book.answer = away
    with pytest.raises(DatabaseUnavailable):
        await granted(route, 1)
    book.answer = lambda need: Slots(need.wanted)
    await granted(route, 2)
    assert book.needs[-1].usd_over == book.needs[-2].usd_over != 0


async def test_guesses_learn_from_the_meter_and_stay_on_the_high_side() -> None:
    book = Book()
    route = a_route(book)
    await granted(route, 0, 90)
    for _ in range(80):
        usage = Usage(prompt=1000, prompt_text=900, prompt_audio=100, output=50)
        route.note_end(launch(route, 0), response(usage=usage), 0.1, NOON_UTC)
    await granted(route, 1, 1)
    assert 1000 <= book.needs[-1].tokens_each <= 1300


async def test_a_slot_that_was_missed_is_not_used_late() -> None:
    route = a_route(Book(lambda need: Slots(need.wanted, 0.0, 0.1)))
    await granted(route, 0, 10)
    assert route.delay(2.55) == 0  # those before 0.55 are gone
    launched = 0
    while route.delay(2.9) == 0:
        launch(route, 2.9)
        launched += 1
    assert launched == 1


async def test_without_limits_no_slots_are_counted() -> None:
    route = a_route(Book(lambda need: Slots(need.wanted, unlimited=True)))
    await granted(route, 0, 1)
    for _ in range(60):
        launch(route, 3.9)
    assert route.delay(4.1) == float("inf"), "the ledger's word holds for four seconds"


async def test_a_cancelled_attempt_is_taken_to_have_cost_its_guess() -> None:
    book = Book()
    route = a_route(book)
    await granted(route, 0, 2)
    cost = route.note_loss(launch(route, 0), 1)
    assert cost == book.needs[0].usd_each
    await granted(route, 3, 0)
    assert book.needs[-1].usd_metered == pytest.approx(cost)
    assert route.in_flight == 0


async def test_only_one_question_is_asked_at_a_time() -> None:
    release = asyncio.Event()

    async def slow(need: Need) -> Slots:
        await release.wait()
        return Slots(need.wanted)

    route = Route(Silent(), load_capabilities(MODEL), max_in_flight=100, reserve=slow)
    asking = asyncio.create_task(granted(route, 0))
    await asyncio.sleep(0)
    assert not route.wants_slots(10, 50)
    release.set()
    await asking
