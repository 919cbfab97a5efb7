"""The parts of the engine, each alone, with a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from asking import MODEL, a_request, accept
from lipika.engine.alerts import Alerts
from lipika.engine.batches import Windows
from lipika.engine.choice import RouteChoice
from lipika.engine.endings import Endings, hand_over_end
from lipika.engine.ledger import SlotSupply
from lipika.engine.next_step import NextStep
from lipika.engine.outcome import Alert, Circumstances, Events, Outcome, Review, Totals
from lipika.engine.retries import RetryPolicy, Step
from lipika.engine.route import Need, Reserve, Route, Slots, reserve_unlimited
from lipika.engine.tickets import PaidAnswer, Ticket
from lipika.engine.waiting import Waiting
from lipika.errors import DatabaseUnavailable, Draining, LipikaError, WorkerStop
from lipika.llm.capabilities import load_capabilities
from lipika.llm.provider import TranscriptionResponse
from lipika.models import Advice, BatchReport, FailureKind, Judged, Usage
from scripted import GOOD, Scripted, http

BUSY = http(503, FailureKind.OVERLOADED)
BROKEN = http(500, FailureKind.SERVER)


async def a_path(reserve: Reserve = reserve_unlimited, name: str = "aistudio", now: float = 0.0) -> Route:
    """A provider that has got its slots."""
    provider = Scripted(lambda _asked: None, name=name)
    route = Route(provider, load_capabilities(MODEL), max_in_flight=100, reserve=reserve)
    await route.ask(lambda: now, 10)
    return route


def windows(size: int = 10, interval_s: float = 60.0) -> Windows:
    return Windows("w", size, interval_s, burst=True, now=0.0)


def a_ticket(number: int = 0, on_doubt: Callable[[Outcome], object] = lambda _outcome: None) -> Ticket:
    request = replace(a_request(0), clip_id=f"v/{number}", varied_prompt="in other words")
    return Ticket(request, accept, on_doubt, asyncio.get_running_loop().create_future())


def an_answer() -> TranscriptionResponse:
    return TranscriptionResponse(a_request(), "aistudio", GOOD, None, Usage(prompt=500, output=100), "m", 9.0)


def judged(score: float = 0.9) -> Judged:
    review = accept(GOOD)
    assert isinstance(review, Review)
    return replace(review.judged, verdict=replace(review.judged.verdict, quality_score=score))


# ----------------------------------------------------------------------------- windows


def test_a_window_has_one_batch_which_closes_when_it_is_over_and_all_is_back() -> None:
    cut = windows()
    assert cut.current(1.0) is None
    first = cut.open(61.0, 1000.0)
    assert cut.open(119.0, 1058.0) is first, "the grid counts, not the first launch"
    first.note_launch("v", "aistudio", first=True)
    second = cut.open(121.0, 1060.0)
    assert second is not first
    assert list(cut.close(121.0)) == [], "one is on its way, the other's window is not over"
    first.note_end(122.0, 1000.0, Usage(), 0.0)
    assert list(cut.close(122.0)) == [first]
    assert (cut.is_open(first), cut.is_open(second)) == (False, True)


def test_a_full_window_makes_first_attempts_wait_for_the_next() -> None:
    cut = windows(size=2)
    for _ in range(2):
        assert cut.slot_delay(10.0) == 0.0
        cut.use_slot(10.0)
        cut.open(10.0, 0.0).note_launch("v", "aistudio", first=True)
    assert cut.slot_delay(10.0) == 50.0
    assert cut.most_slots(4) == 2


# ----------------------------------------------------------------------------- choice


async def test_the_second_provider_is_there_when_the_first_cannot_be_asked() -> None:
    first, second = await a_path(), await a_path(name="openrouter")
    choice = RouteChoice([first, second], windows())
    nobody: frozenset[str] = frozenset()
    assert choice.soonest(nobody, 0.0) == (0.0, first)
    assert choice.soonest(frozenset({"aistudio"}), 0.0) == (0.0, second)
    first.parked_kind = FailureKind.SPEND
    first.gate.shut(0.0, 600.0, "parked")
    assert choice.soonest(nobody, 1.0) == (0.0, second)
    assert (choice.preferred, choice.limited_by(1.0)) == (second, "")
    assert choice.has_another(first, nobody, 1.0)
    assert not choice.has_another(second, nobody, 1.0), "the first is away for ten minutes"


async def test_a_flood_is_news_once_and_sends_the_rest_of_its_window_to_the_second() -> None:
    first, second = await a_path(), await a_path(name="openrouter")
    cut = windows(size=100)
    choice = RouteChoice([first, second], cut)
    batch = cut.open(0.0, 0.0)
    for _ in range(20):
        batch.note_launch("v", "aistudio", first=True)
        batch.note_failure(http(429, FailureKind.RATE_MINUTE), "aistudio")
    assert [choice.note_flood(first, batch) for _ in range(2)] == [True, False]
    assert choice.soonest(frozenset(), 1.0) == (0.0, second)


# ----------------------------------------------------------------------------- waiting


async def test_a_retry_goes_to_a_later_window_while_first_attempts_wait() -> None:
    cut = windows(interval_s=10.0)
    waiting = Waiting(RouteChoice([await a_path()], cut), cut, lambda _ticket: None)
    tried, *fresh = (a_ticket(number) for number in range(3))
    tried.last_batch = cut.open(0.0, 0.0)
    waiting.add_again(tried, 0.5)
    for ticket in fresh:
        waiting.add(ticket)
    assert (len(waiting), waiting.fresh, waiting.due_by(1.0)) == (3, 2, 1)
    assert [turn and turn.ticket for turn in (waiting.take_next(1.0)[1],)] == fresh[:1]
    assert (len(waiting), waiting.due_by(9.9), waiting.due_by(10.0)) == (2, 0, 1), (
        "it waits for the next window"
    )
    assert [turn and turn.ticket for turn in (waiting.take_next(1.0)[1],)] == fresh[1:]
    assert len(cut._batches) == 1
    _, turn = waiting.take_next(1.0)
    assert turn is not None and turn.ticket is tried, "nothing else is left to wait for"  # noqa: PT018
    assert cut.current(1.0) is None


async def test_a_retry_that_was_put_off_goes_in_the_next_window_and_is_taken_out_with_all() -> None:
    cut = windows(interval_s=1.0)
    waiting = Waiting(RouteChoice([await a_path()], cut), cut, lambda _ticket: None, any_fresh=lambda: True)
    for ticket in (tried := a_ticket(0), other := a_ticket(1)):
        ticket.last_batch = cut.open(0.0, 0.0)
        waiting.add_again(ticket, 0.5)
    assert waiting.take_next(0.6)[1] is None
    _, turn = waiting.take_next(1.0)
    assert turn is not None and turn.ticket is tried  # noqa: PT018
    assert waiting.take_all() == [other]


async def test_a_clip_whose_caller_has_gone_is_not_taken() -> None:
    cut = windows()
    waiting = Waiting(RouteChoice([await a_path()], cut), cut, lambda _ticket: None)
    for ticket in (gone := a_ticket(0), stays := a_ticket(1)):
        waiting.add(ticket)
    gone.done.cancel()
    _, turn = waiting.take_next(0.0)
    assert turn is not None
    assert turn.ticket is stays


async def test_one_try_elsewhere_is_not_waited_for_for_ever() -> None:
    given_up: list[Ticket] = []
    cut = windows()
    first, second = await a_path(), await a_path(name="openrouter")
    waiting = Waiting(RouteChoice([first, second], cut), cut, given_up.append)
    ticket = a_ticket()
    ticket.send_elsewhere("aistudio", BUSY, 0.0)
    waiting.add_again(ticket, 0.0)
    second.gate.shut(0.0, 30.0, "busy")
    assert waiting.has_refused("aistudio")
    assert waiting.take_next(1.0)[1] is None
    assert given_up == []
    second.gate.shut(1.0, 3600.0, "parked")
    assert waiting.take_next(2.0)[1] is None
    assert given_up == [ticket]
    assert len(waiting) == 0


# ----------------------------------------------------------------------------- ledger


async def test_the_ledger_is_asked_for_what_waits_and_its_ills_are_told_apart() -> None:
    now, woken, broken = [100.0], [0], list[WorkerStop]()
    ill: list[LipikaError] = []
    needs: list[Need] = []

    async def reserve(need: Need) -> Slots:
        if ill:
            raise ill.pop()
        needs.append(need)
        return Slots(need.wanted, step_s=0.01)

    first, second = await a_path(reserve), await a_path(reserve, "openrouter")
    first.give_back()
    second.give_back()
    needs.clear()
    cut = windows(size=7)
    choice = RouteChoice([first, second], cut)
    waiting = Waiting(choice, cut, lambda _ticket: None)

    def wake() -> None:
        woken[0] += 1

    supply = SlotSupply(choice, waiting, cut, clock=lambda: now[0], on_answer=wake, on_broken=broken.append)

    async def ask() -> int:
        questions = list(supply.questions(now[0], 0))
        for question in questions:
            await question
        return len(questions)

    await supply.settle()
    needs.clear()
    now[0] += 10
    assert await ask() == 0, "nothing waits"
    for number in range(9):
        waiting.add(a_ticket(number))
    assert await ask() == 1, "the second provider is not needed"
    assert [(need.provider, need.wanted) for need in needs] == [("aistudio", 7)], "a window holds no more"
    for error in (DatabaseUnavailable("away"), LipikaError("no such function")):
        now[0] += 10
        first.give_back()
        ill.append(error)
        assert await ask() == 1
    assert [str(stop) for stop in broken] == ["the fleet's budget cannot be read: no such function"]
    assert woken == [3]


# ----------------------------------------------------------------------------- the next step


async def test_a_doubted_answer_is_asked_for_in_other_words_and_then_elsewhere() -> None:
    first, second = await a_path(), await a_path(name="openrouter")
    steps = NextStep(RouteChoice([first, second], windows()), RetryPolicy(), jitter=lambda: 0.0)
    ticket = a_ticket()
    varied = steps.decide_on_answer(ticket, first, Advice.VARY, 0.0)
    assert varied is not None
    assert varied.varied
    ticket.vary()
    assert (ticket.request.clip_prompt, ticket.circumstances) == (
        "in other words",
        Circumstances(varied=True),
    )
    elsewhere = steps.decide_on_answer(ticket, first, Advice.VARY, 0.0)
    assert elsewhere is not None
    assert elsewhere.step is Step.ELSEWHERE
    ticket.send_elsewhere("aistudio", None, 0.0)
    assert ticket.circumstances == Circumstances(varied=True, switched=True)
    assert steps.decide_on_answer(ticket, second, Advice.ELSEWHERE, 0.0) is None
    assert steps.decide_on_answer(a_ticket(), first, Advice.KEEP, 0.0) is None


async def test_retries_end_and_a_closed_provider_stops_only_those_who_have_no_other() -> None:
    first, second = await a_path(), await a_path(name="openrouter")
    both = NextStep(RouteChoice([first, second], windows()), RetryPolicy(max_retries=1), jitter=lambda: 0.0)
    alone = NextStep(RouteChoice([first], windows()), RetryPolicy(max_retries=1), jitter=lambda: 0.0)
    ticket = a_ticket()
    assert alone.decide_on_failure(ticket, first, BROKEN, 0.0).step is Step.RETRY
    ticket.counted = 1
    assert alone.decide_on_failure(ticket, first, BROKEN, 0.0).step is Step.FINAL
    assert both.decide_on_failure(ticket, first, BROKEN, 0.0).step is Step.ELSEWHERE
    unpaid = http(402, FailureKind.PAYMENT)
    first.closed = True
    assert alone.decide_on_failure(ticket, first, unpaid, 0.0).step is Step.STOP
    assert both.decide_on_failure(ticket, first, unpaid, 0.0).step is Step.RETRY
    assert ticket.failures == 5


# ----------------------------------------------------------------------------- ends and words


async def test_an_answer_that_was_doubted_is_better_than_a_failure_and_corrects_its_batch() -> None:
    reports: list[BatchReport] = []
    cut, totals = windows(), Totals()
    endings = Endings(cut, totals, Alerts(Events(on_batch=reports.append), now=0.0))
    batch = cut.open(0.0, 0.0)
    kept, lost, stopped = (a_ticket(number) for number in range(3))
    for score in (0.2, 0.8, 0.5):
        kept.remember(PaidAnswer(judged(score), an_answer(), batch))
    assert list(cut.close(60.0)) == [batch]
    endings.fail(kept, batch, an_answer(), BUSY)
    endings.fail(lost, batch, an_answer(), BUSY)
    endings.stop(stopped, Draining("stopping"))
    found = kept.done.result().judged
    assert found is not None
    assert found.verdict.quality_score == 0.8
    assert lost.done.result().failure == BUSY
    assert isinstance(stopped.done.exception(), Draining)
    assert (totals.returned, totals.failed) == (1, 1)
    assert [report.segments_returned for report in reports] == [1]


async def test_an_end_is_handed_over_only_where_it_was_an_answer() -> None:
    handed: list[Outcome] = []
    cut = windows()
    endings = Endings(cut, Totals(), Alerts(Events(), now=0.0))
    batch = cut.open(0.0, 0.0)
    good, bad, gone, out = (a_ticket(number, handed.append) for number in range(4))
    endings.end_well(good, PaidAnswer(judged(), an_answer(), batch))
    endings.fail(bad, batch, an_answer(), BUSY)
    gone.done.cancel()
    for ticket in (good, bad, gone, out):
        hand_over_end(ticket)
    assert handed == [good.done.result()]


async def test_alerts_are_said_once_and_who_fails_to_listen_stops_nobody() -> None:
    heard: list[Alert] = []

    def listen(alert: Alert) -> None:
        heard.append(alert)
        raise ValueError("deaf")

    alerts = Alerts(Events(on_alert=listen), now=0.0)
    for version in ("m1", "m1", "m2", "m1", "m2"):
        alerts.note_model("aistudio", version)
    route = await a_path()
    alerts.note_park(route, None, 0.0)
    route.parked_kind = FailureKind.SPEND
    route.gate.shut(0.0, 600.0, "dollars used up")
    alerts.note_park(route, BUSY, 0.0)
    assert [alert.code for alert in heard] == ["model_changed", "provider_parked"]
    assert "HTTP 503" in heard[1].message


async def test_why_the_queue_waits_is_looked_at_twice_a_second() -> None:
    looks: list[str] = []

    def look() -> str:
        looks.append("rpm")
        return looks[-1]

    alerts = Alerts(Events(), now=0.0)
    seen = []
    for now in (0.0, 0.1, 0.4, 0.5, 0.9, 1.0):
        alerts.log_wait(now, look, [])
        seen.append(len(looks))
    assert seen == [1, 1, 1, 2, 2, 3]
