"""One clip that no request helps, in virtual time: it ends, nobody waits for it, and an outage fails no clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from asking import accept
from lipika.engine.outcome import Circumstances, EngineOptions, Events, Outcome, Review
from lipika.errors import WorkerStop
from lipika.models import Advice, Failure, FailureKind, Trouble
from scripted import Asked, Scripted, Told, ask, http

INTERNAL = http(500, FailureKind.SERVER)
BUSY = http(503, FailureKind.OVERLOADED)
RESET = Failure(FailureKind.SERVER, "connection lost", code="connection")
UNREACHABLE = Failure(FailureKind.SERVER, "no connection", code="unreachable")
DEADLINE = Failure(FailureKind.TIMEOUT, "no answer within 120 s", code="deadline")
FORBIDDEN = http(403, FailureKind.AUTH)
PER_MINUTE = http(429, FailureKind.RATE_MINUTE, 0.0, "PerMinute")

POISONS = {
    "500": (INTERNAL, "server", 90),
    "deadline": (DEADLINE, "timeout", 600),
    "reset": (RESET, "server", 90),
    "403": (FORBIDDEN, "auth", 90),
    "404": (http(404, FailureKind.AUTH), "auth", 90),
    "503": (BUSY, "overloaded", 1800),
    "503 with a wait of 0": (http(503, FailureKind.OVERLOADED, 0.0), "overloaded", 1800),
}


def poisoned(poison: Failure, *clips: int) -> Callable[[Asked], Failure | None]:
    return lambda asked: poison if asked.clip in clips else None


def doubtful(text: str, _asked: Circumstances) -> Review | Failure:
    plain = accept(text)
    assert isinstance(plain, Review)
    return replace(plain, advice=Advice.VARY)


def answered(told: Told) -> int:
    return sum(isinstance(end, Outcome) and end.judged is not None for end in told.ends.values())


@pytest.mark.parametrize("position", [0, 4, 8])
@pytest.mark.parametrize("kind", POISONS)
def test_a_poison_clip_ends_as_failed_and_the_others_are_answered(kind: str, position: int) -> None:
    poison, failure, within_s = POISONS[kind]
    told = ask(Scripted(poisoned(poison, position)), range(9))
    assert told.failed() == {position: failure}
    assert answered(told) == 8
    assert told.seconds < within_s


@pytest.mark.parametrize("kind", POISONS)
def test_three_poison_clips_of_nine_end_too(kind: str) -> None:
    poison, failure, within_s = POISONS[kind]
    told = ask(Scripted(poisoned(poison, 0, 1, 8)), range(9))
    assert told.failed() == dict.fromkeys((0, 1, 8), failure)
    assert answered(told) == 6
    assert told.seconds < within_s + 180


@pytest.mark.parametrize("kind", ["500", "deadline", "reset", "503"])
def test_a_poison_clip_that_is_all_there_is_ends_as_failed(kind: str) -> None:
    poison, failure, within_s = POISONS[kind]
    told = ask(Scripted(poisoned(poison, 0)), [0])
    assert told.failed() == {0: failure}
    assert told.seconds < within_s


@pytest.mark.parametrize("window", [1, 2, 5])
def test_a_poison_clip_stops_no_queue_at_small_windows(window: int) -> None:
    """Answers are rarer than twenty seconds then, and every probe used to be the poison clip."""
    service = Scripted(poisoned(INTERNAL, 0, 7))
    told = ask(service, range(40), options=EngineOptions(batch_size=window, interval_s=30))
    assert answered(told) == 38
    assert told.seconds < 40 / window * 30 + 120


@pytest.mark.parametrize("poison", [PER_MINUTE, http(429, FailureKind.RATE_MINUTE)])
def test_a_clip_that_gets_nothing_but_429s_while_others_are_answered_has_failed(poison: Failure) -> None:
    """A quota that is gone for one clip only is none."""
    told = ask(Scripted(poisoned(poison, 3)), range(2000), every_s=1.0)
    assert answered(told) == 1999
    assert told.failed() == {3: "rate_minute"}


def test_a_quarter_of_503s_fails_nobody() -> None:
    def says(asked: Asked) -> Failure | None:
        return BUSY if hash((asked.clip, asked.asks, 1)) % 4 == 0 else None

    told = ask(Scripted(says), range(3000), every_s=0.05)
    assert answered(told) == 3000


def test_nine_tenths_of_503s_for_ten_minutes_fail_nobody() -> None:
    def says(asked: Asked) -> Failure | None:
        return BUSY if asked.now < 600 and hash((asked.clip, asked.asks, 2)) % 10 else None

    told = ask(Scripted(says), range(2000), every_s=0.3)
    assert answered(told) == 2000


# ----------------------------------------------------------------------------- outages


@pytest.mark.parametrize("failure", [INTERNAL, RESET, UNREACHABLE, DEADLINE])
@pytest.mark.parametrize("begins_s", [0.0, 30.0])
def test_an_outage_of_ten_minutes_fails_nobody(failure: Failure, begins_s: float) -> None:
    def says(asked: Asked) -> Failure | None:
        return failure if begins_s <= asked.now < begins_s + 600 else None

    told = ask(Scripted(says), range(400), every_s=0.2)
    assert answered(told) == 400
    assert told.seconds < begins_s + 600 + 400


def test_an_outage_that_begins_when_all_are_on_their_way_fails_nobody() -> None:
    """Each of them was asked while others were answered, and there is no fresh one left."""

    def says(asked: Asked) -> Failure | None:
        return INTERNAL if 8 <= asked.now < 600 else None

    told = ask(Scripted(says, latency_s=3.0), range(100), every_s=0.1)
    assert answered(told) == 100


def test_an_outage_is_probed_by_one_clip_at_a_time_and_ever_less_often() -> None:
    service = Scripted(lambda asked: INTERNAL if asked.now < 3600 else None)
    told = ask(service, range(50))
    assert answered(told) == 50
    probes = [asked for asked in service.asked if 300 < asked.now < 3600]
    assert len(probes) <= 60
    assert len({probe.clip for probe in probes}) > 20, "each time another one"


def test_one_clip_waits_for_a_service_that_cannot_be_reached() -> None:
    """No clip has anything to do with that, be it the only one."""
    told = ask(Scripted(lambda asked: UNREACHABLE if asked.now < 7200 else None), [0])
    assert answered(told) == 1


def test_a_service_that_refuses_the_last_three_with_a_status_for_ever_is_not_waited_for_for_ever() -> None:
    told = ask(Scripted(poisoned(INTERNAL, 0, 1, 2)), range(3))
    assert told.failed() == dict.fromkeys(range(3), "server")


# ----------------------------------------------------------------------------- floors


@pytest.mark.parametrize("kind", ["rate_minute", "overloaded", "rate_day", "server"])
def test_a_wait_of_zero_is_a_second_then_two_up_to_a_minute(kind: str) -> None:
    """130 requests a second it used to be, each with its audio."""
    failure = http(429, FailureKind(kind), 0.0, "PerDay")
    service = Scripted(lambda asked: failure if asked.now < 3600 else None, latency_s=0.02)
    told = ask(service, range(9))
    assert answered(told) == 9
    assert len([asked for asked in service.asked if asked.now < 20]) < 60
    assert len([asked for asked in service.asked if 600 < asked.now < 3600]) <= 51 * 1.2
    assert told.seconds < 3600 + 130


def test_a_clip_that_is_told_to_come_back_at_once_does_not_while_others_are_answered() -> None:
    """No gate is shut then: the wait is the clip's own."""
    service = Scripted(poisoned(http(503, FailureKind.OVERLOADED, 0.0), 0), latency_s=0.02)
    ask(service, range(300), every_s=0.1)
    assert len([asked for asked in service.asked if asked.clip == 0 and asked.now < 30]) <= 6


def test_a_daily_quota_with_a_wait_of_zero_is_looked_at_again_in_a_second() -> None:
    daily = http(429, FailureKind.RATE_DAY, 0.0, "PerDay")
    service = Scripted(lambda asked: daily if asked.before == 2 else None, latency_s=0.02)
    told = ask(service, range(9))
    assert answered(told) == 9
    assert told.seconds < 70, "its turn in the next window"


# ----------------------------------------------------------------------------- what a person must mend


@pytest.mark.parametrize("code", list(Trouble))
def test_what_is_in_the_way_stops_the_provider_at_once_if_nobody_was_ever_answered(code: Trouble) -> None:
    kind = FailureKind.RATE_DAY if code is Trouble.LIMIT_ZERO else FailureKind.SERVER
    failure = Failure(kind, "the cause and the way out", None, None, code)
    service = Scripted(lambda _asked: failure)
    told = ask(service, range(9), every_s=1.0)
    assert len(service.asked) == 1
    assert all(isinstance(end, WorkerStop) for end in told.ends.values())
    assert "the cause and the way out" in str(told.ends[0])


@pytest.mark.parametrize("code", list(Trouble))
def test_what_is_in_the_way_for_a_while_is_an_outage_once_the_service_has_answered(code: Trouble) -> None:
    kind = FailureKind.RATE_MINUTE if code is Trouble.LIMIT_ZERO else FailureKind.SERVER
    failure = Failure(kind, "the cause and the way out", None, None, code)
    service = Scripted(lambda asked: failure if 5 < asked.now < 300 else None)
    told = ask(service, range(100), every_s=0.2)
    assert answered(told) == 100


def test_what_is_in_the_way_of_the_first_provider_leaves_the_work_to_the_second() -> None:
    away = Failure(FailureKind.SERVER, "no such name", None, None, Trouble.NAME)
    first, second = Scripted(lambda _: away), Scripted(lambda _: None, name="openrouter")
    told = ask([first, second], range(9))
    assert answered(told) == 9
    assert "provider_closed" in [alert.code for alert in told.alerts]
    assert "no such name" in told.alerts[0].message


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_one_refusal_among_good_answers_gets_a_second_look(status: int) -> None:
    refusal = http(status, FailureKind.AUTH)
    told = ask(Scripted(lambda asked: refusal if asked.before == 20 else None), range(60), every_s=0.1)
    assert answered(told) == 60


def test_a_key_that_is_refused_from_some_time_on_stops_the_worker_after_a_second_look() -> None:
    service = Scripted(lambda asked: FORBIDDEN if asked.now > 10 else None)
    told = ask(service, range(600), every_s=0.1)
    assert sum(isinstance(end, WorkerStop) for end in told.ends.values()) > 400
    assert sum(asked.now > 10 for asked in service.asked) < 30
    assert not told.failed()


def test_a_key_that_is_refused_from_the_first_request_on_stops_the_worker() -> None:
    service = Scripted(lambda _: FORBIDDEN)
    told = ask(service, [0])
    assert isinstance(told.ends[0], WorkerStop)
    assert len(service.asked) == 2


# ----------------------------------------------------------------------------- trouble of the caller's own


def raises(*_: object) -> Review | Failure:
    raise TypeError("Object of type float32 is not JSON serializable")


def test_an_exception_of_whoever_reads_an_answer_is_that_clips_alone_and_buys_nothing_again() -> None:
    service = Scripted(lambda _: None)
    told = ask(service, range(9), accept_for={4: raises})
    assert told.failed() == {4: "defect"}
    assert answered(told) == 8
    assert len(service.asked) == 9
    end = told.ends[4]
    assert isinstance(end, Outcome)
    assert end.cost_usd > 0, "metered all the same"
    assert end.failure is not None
    assert "float32" in end.failure.message


def test_an_exception_of_whoever_is_told_of_a_doubted_answer_costs_nothing() -> None:
    """A task in a group that was closing: it ended the process, and every video in it."""

    def on_doubt(_outcome: Outcome) -> object:
        raise RuntimeError("TaskGroup is shutting down")

    told = ask(Scripted(lambda _: None), range(9), accept_for={4: doubtful}, on_doubt=on_doubt)
    assert answered(told) == 9
    assert told.engine.totals.requests == 10


def test_an_answer_for_a_clip_that_has_ended_is_metered_given_to_its_keeper_and_asked_no_further() -> None:
    kept: list[Outcome] = []
    service = Scripted(lambda _: None)
    told = ask(
        service,
        range(9),
        accept_for=dict.fromkeys(range(9), doubtful),
        on_doubt=kept.append,
        give_up_at_s=0.5,
        linger_s=300,
    )
    assert len(service.asked) == 9
    assert len(kept) == 9
    assert told.engine.totals.cost_usd == pytest.approx(sum(outcome.cost_usd for outcome in kept))
    assert told.engine.queued == told.engine.in_flight == 0


@pytest.mark.parametrize("failure", [INTERNAL, http(200, FailureKind.MALFORMED), BUSY, FORBIDDEN])
def test_a_failure_for_a_clip_that_has_ended_is_asked_no_further(failure: Failure) -> None:
    service = Scripted(lambda _: failure)
    told = ask(service, range(2), give_up_at_s=0.3, linger_s=300)
    assert len(service.asked) == 2
    assert told.engine.queued == told.engine.in_flight == 0


def test_listeners_that_fail_stop_nothing() -> None:
    def refuse(_what: object) -> object:
        raise RuntimeError("no")

    service = Scripted(lambda asked: http(429, FailureKind.SPEND) if asked.before == 2 else None)
    told = ask(service, range(9), events=Events(on_batch=refuse, on_alert=refuse))
    assert answered(told) == 9


# ----------------------------------------------------------------------------- the second provider


@pytest.mark.parametrize("kind", ["500", "deadline", "reset", "403", "503"])
def test_a_poison_clip_is_sent_to_the_second_provider_before_it_has_failed(kind: str) -> None:
    first, second = Scripted(poisoned(POISONS[kind][0], 3)), Scripted(lambda _: None, name="openrouter")
    told = ask([first, second], range(9))
    assert answered(told) == 9
    assert [asked.clip for asked in second.asked] == [3]


@pytest.mark.parametrize(
    "state", [UNREACHABLE, http(402, FailureKind.PAYMENT), http(429, FailureKind.RATE_DAY), FORBIDDEN]
)
def test_no_run_waits_for_a_second_provider_that_cannot_be_asked(state: Failure) -> None:
    """The clip ends with the first one's word on it. It waited for ever, and so did whatever stood behind it."""
    blocked = http(200, FailureKind.BLOCKED)
    first, second = Scripted(poisoned(blocked, 0, 5)), Scripted(lambda _: state, name="openrouter")
    told = ask([first, second], range(9))
    assert told.failed() == {0: "blocked", 5: "blocked"}
    assert answered(told) == 7
    assert told.seconds < 700


def test_who_waits_for_the_second_provider_holds_nobody_up() -> None:
    """A blocked clip stood at the head of all retries while the second provider was parked."""
    internal_once = http(500, FailureKind.SERVER)

    def says(asked: Asked) -> Failure | None:
        if asked.clip == 0:
            return http(200, FailureKind.BLOCKED)
        return internal_once if asked.asks == 1 else None

    parked = http(429, FailureKind.RATE_MINUTE, 50.0)
    first, second = Scripted(says), Scripted(lambda _: parked, name="openrouter")
    told = ask([first, second], range(9))
    retried = [asked.now for asked in first.asked if asked.asks == 2]
    assert len(retried) == 8
    assert max(retried) < 30
    assert told.failed() == {0: "blocked"}


def test_a_clip_that_was_put_off_by_the_first_and_then_by_the_second_costs_no_worker() -> None:
    """The first has given answers and the second none: how others fared meanwhile is known for each alone."""

    def first(asked: Asked) -> Failure | None:
        if asked.clip == 21:
            return http(429, FailureKind.RATE_DAY)
        return BUSY if asked.clip == 20 else None

    second = Scripted(lambda asked: BUSY if asked.asks == 1 else None, name="openrouter")
    told = ask([Scripted(first), second], range(22), every_s=1.0)
    assert second.asked
    assert answered(told) == 22
