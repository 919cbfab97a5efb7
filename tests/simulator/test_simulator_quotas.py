"""Quotas under a fake clock: what is admitted, what is refused, and what the refusal asks for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.simulator import Details, Quotas
from lipika.simulator.exchange import Quota, RefusalKind
from lipika.simulator.quotas import (
    FixedWindow,
    ProjectQuotas,
    SlidingWindow,
    TokenBucket,
    seconds_to_pacific_midnight,
)


def _admitted(state: ProjectQuotas, times: Iterator[float] | list[float], tokens: int = 700) -> list[float]:
    return [now for now in times if state.admit(now, prompt_tokens=tokens, in_flight=0) is None]


@pytest.mark.parametrize("window", ["sliding", "bucket"])
def test_a_client_at_exactly_the_quota_is_never_refused(window: str) -> None:
    state = ProjectQuotas(Quotas(rpm=1200, window=window), 0.0)  # type: ignore[arg-type] # parametrised
    times = [number / 20 for number in range(20 * 300)]
    assert _admitted(state, times) == times


@given(st.lists(st.floats(0, 300), min_size=1, max_size=400).map(sorted), st.integers(1, 40))
def test_no_rolling_minute_holds_more_than_the_quota(times: list[float], rpm: int) -> None:
    admitted = _admitted(ProjectQuotas(Quotas(rpm=rpm), 0.0), times)
    for index, end in enumerate(admitted):
        in_window = [now for now in admitted[: index + 1] if now > end - 60 + 0.02]
        assert len(in_window) <= rpm


@given(st.lists(st.floats(0, 300), min_size=1, max_size=400).map(sorted), st.integers(1, 40))
def test_a_bucket_allows_one_burst_and_the_rate(times: list[float], rpm: int) -> None:
    admitted = _admitted(ProjectQuotas(Quotas(rpm=rpm, window="bucket"), 0.0), times)
    for start in admitted:
        since = [now for now in admitted if now >= start]
        assert all(number <= rpm + (now - start) * rpm / 60 + 1e-6 for number, now in enumerate(since, 1))


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50)), max_size=60), st.sampled_from(["s", "b"]))
def test_waiting_as_long_as_asked_is_enough(steps: list[tuple[float, int]], kind: str) -> None:
    now = 0.0
    meter = SlidingWindow(100, 60) if kind == "s" else TokenBucket(100, 60, 0.0)
    for pause_s, amount in steps:
        now += pause_s
        wait_s = meter.wait_s(now, amount)
        if wait_s:
            now += wait_s + 0.011
        assert meter.wait_s(now, amount) == 0
        meter.take(now, amount)


def test_a_refusal_takes_nothing_and_names_everything_that_is_violated() -> None:
    state = ProjectQuotas(Quotas(rpm=1, tpm=1000, rpd=1, day_s=7200), 0.0)
    assert state.admit(0.0, prompt_tokens=900, in_flight=0) is None
    for _ in range(3):
        refusal = state.admit(30.0, prompt_tokens=900, in_flight=0)
        assert refusal
        assert refusal.kind is RefusalKind.RATE
        assert {violation.quota for violation in refusal.violations} == {
            Quota.REQUESTS_PER_MINUTE,
            Quota.TOKENS_PER_MINUTE,
            Quota.REQUESTS_PER_DAY,
        }
        assert refusal.retry_after_s == pytest.approx(7170)
        assert refusal.details is Details.FULL
    assert state.admit(7200.0, prompt_tokens=900, in_flight=0) is None


def test_input_tokens_are_limited_by_the_minute() -> None:
    state = ProjectQuotas(Quotas(tpm=1000), 0.0)
    assert _admitted(state, [0.0, 1.0, 2.0], tokens=400) == [0.0, 1.0]
    refusal = state.admit(10.0, prompt_tokens=400, in_flight=0)
    assert refusal
    assert refusal.retry_after_s == pytest.approx(50, abs=0.02)
    assert state.admit(60.01, prompt_tokens=400, in_flight=0) is None


def test_the_day_begins_at_pacific_midnight() -> None:
    noon_utc = 1_767_268_800.0  # 2026-01-01 12:00 UTC, 04:00 in California
    assert seconds_to_pacific_midnight(noon_utc) == 20 * 3600
    window = FixedWindow(1, 86_400, 3600)
    window.take(0, 1)
    assert window.wait_s(600, 1) == 3000
    assert window.wait_s(3600, 1) == 0
    window.take(3600, 1)
    assert window.wait_s(3600 + 3 * 86_400 - 1, 1) == 0, "unused days do not add up or shift the reset"


def test_spend_is_limited_over_its_window_and_names_no_quota() -> None:
    state = ProjectQuotas(Quotas(spend_usd=1.0), 0.0)
    for now in (0.0, 10.0):
        assert state.admit(now, prompt_tokens=1, in_flight=0) is None
        state.spend(now, 0.6)
    refusal = state.admit(20.0, prompt_tokens=1, in_flight=0)
    assert refusal
    assert (refusal.kind, refusal.retry_after_s) == (RefusalKind.SPEND, None)
    assert state.admit(601.0, prompt_tokens=1, in_flight=0) is None


def test_requests_per_second_in_flight_and_credit() -> None:
    state = ProjectQuotas(Quotas(qps=2, in_flight=5, credit_usd=0.5), 0.0)
    assert _admitted(state, [0.0, 0.1, 0.2, 1.05, 1.15]) == [0.0, 0.1, 1.05, 1.15]
    refusals = [
        state.admit(1.5, prompt_tokens=1, in_flight=0),
        state.admit(9.0, prompt_tokens=1, in_flight=5),
    ]
    state.spend(9.0, 0.5)
    refusals.append(state.admit(20.0, prompt_tokens=1, in_flight=0))
    assert [refusal.kind for refusal in refusals if refusal] == [
        RefusalKind.QPS,
        RefusalKind.OVERLOADED,
        RefusalKind.PAYMENT,
    ]


def test_memory_is_bounded_whatever_the_rate() -> None:
    meter = SlidingWindow(10**9, 60)
    for number in range(200_000):
        meter.take(number * 0.0005, 1)
        meter.wait_s(number * 0.0005, 1)
    assert len(meter._taken) <= 6001
