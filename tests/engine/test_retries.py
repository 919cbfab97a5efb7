import pytest

from lipika.engine.retries import History, RetryPolicy, Step, decide
from lipika.models import (
    FAILURE_RULES,
    RATE_KINDS,
    Effect,
    Failure,
    FailureKind,
    FailureRule,
    Remedy,
    Stops,
    Trouble,
)

NEW = History(counted=0, waits=0, varied=False)


@pytest.mark.parametrize("kind", ["rate_minute", "overloaded", "server"])
def test_no_wait_is_shorter_than_a_second_then_two_up_to_a_minute_whatever_the_server_says(kind: str) -> None:
    policy = RetryPolicy(max_retries=100)
    waits = [
        decide(failure(FailureKind(kind), 0.0), History(n, n, False), policy, 0.0).wait_s for n in range(9)
    ]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("kind", ["server", "timeout", "blocked", "malformed", "overloaded"])
def test_what_has_failed_here_is_tried_elsewhere_once(kind: str) -> None:
    spent = History(3, 0, varied=True, given_up=True, elsewhere=True)
    assert decide(failure(FailureKind(kind)), spent, RetryPolicy(), 0.5).step is Step.ELSEWHERE


@pytest.mark.parametrize("kind", ["bad_request", "defect"])
def test_what_is_wrong_everywhere_is_not(kind: str) -> None:
    spent = History(3, 0, varied=True, elsewhere=True)
    assert decide(failure(FailureKind(kind)), spent, RetryPolicy(), 0.5).step is Step.FINAL


def failure(kind: FailureKind, retry_after_s: float | None = None) -> Failure:
    return Failure(kind, "message", retry_after_s)


@pytest.mark.parametrize("kind", ["rate_minute", "rate_day", "spend", "overloaded"])
def test_waiting_for_quota_is_never_an_attempt_however_long_it_takes(kind: str) -> None:
    decision = decide(failure(FailureKind(kind)), History(0, 10_000, varied=True), RetryPolicy(), 0.5)
    assert decision.step is Step.RETRY
    assert not decision.counts
    assert decision.wait_s > 0


@pytest.mark.parametrize("kind", ["server", "timeout", "auth"])
def test_transient_failures_are_retried_three_times(kind: str) -> None:
    steps = [decide(failure(FailureKind(kind)), History(n, 0, False), RetryPolicy(), 1.0) for n in range(4)]
    assert [step.step for step in steps] == [Step.RETRY] * 3 + [Step.FINAL]
    assert [step.wait_s for step in steps[:3]] == [10, 20, 40]


@pytest.mark.parametrize("kind", ["malformed", "empty", "truncated"])
def test_a_bad_answer_gets_one_varied_retry(kind: str) -> None:
    first = decide(failure(FailureKind(kind)), NEW, RetryPolicy(), 0.5)
    second = decide(failure(FailureKind(kind)), History(1, 0, varied=True), RetryPolicy(), 0.5)
    assert (first.step, first.varied) == (Step.RETRY, True)
    assert second.step is Step.FINAL


@pytest.mark.parametrize(
    ("kind", "step"),
    [("bad_request", Step.FINAL), ("blocked", Step.FINAL), ("payment", Step.STOP)],
)
def test_what_no_retry_can_help(kind: str, step: Step) -> None:
    assert decide(failure(FailureKind(kind)), NEW, RetryPolicy(), 0.5).step is step


def test_the_servers_word_is_obeyed_and_never_undercut() -> None:
    for jitter in (0.0, 0.5, 1.0):
        decision = decide(failure(FailureKind.RATE_MINUTE, 38.0), NEW, RetryPolicy(), jitter)
        assert 38.0 <= decision.wait_s <= 38.0 * 1.1


def test_every_kind_has_one_row() -> None:
    assert list(FAILURE_RULES) == list(FailureKind)
    assert len({rule.words for rule in FAILURE_RULES.values()}) == len(FailureKind)


@pytest.mark.parametrize("rule", FAILURE_RULES.values(), ids=list(FAILURE_RULES))
def test_the_table_is_consistent(rule: FailureRule) -> None:
    assert not rule.is_429 or rule.remedy is Remedy.WAIT, "a quota comes back"
    assert rule.closes == (rule.stops in (Stops.FIRST, Stops.LAST)), "only who closes a provider leaves none"
    assert rule.is_the_clips == (rule.remedy in (Remedy.VARY, Remedy.ELSEWHERE, Remedy.NONE))


def test_the_429s_are_the_three_quotas() -> None:
    assert {"rate_minute", "rate_day", "spend"} == RATE_KINDS  # a board looks them up by their names


@pytest.mark.parametrize("trouble", Trouble)
def test_what_is_in_the_way_closes_a_provider_that_has_never_answered(trouble: Trouble) -> None:
    in_the_way = Failure(FailureKind.SERVER, "message", code=trouble)
    assert in_the_way.follows(answered=False).effect is Effect.CLOSED
    assert in_the_way.follows(answered=False).stops is Stops.LAST
    assert in_the_way.follows(answered=True) is FAILURE_RULES[FailureKind.SERVER]
    assert Failure(FailureKind.SERVER, "message").follows(answered=False).effect is Effect.SUSPECT
