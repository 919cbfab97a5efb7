from hypothesis import given
from hypothesis import strategies as st

from lipika.engine.pacing import Backoff, Pacer
from lipika.meters import RateMeter


def launches(pacer: Pacer, until: float, step: float = 0.05) -> list[float]:
    """Launch whenever allowed, looking every `step` seconds."""
    times, now = [], 0.0
    while now < until:
        while pacer.delay(now) <= 0:
            pacer.note_launch(now)
            times.append(now)
        now += step
    return times


def test_paced_launches_are_spread_over_the_window() -> None:
    times = launches(Pacer(600, 60, burst=False, now=0), 60)
    per_second = [sum(int(time) == second for time in times) for second in range(60)]
    assert len(times) in {600, 601}
    assert max(per_second) <= 11
    assert min(per_second) >= 9


def test_burst_fires_a_window_at_its_start_and_waits_for_the_next() -> None:
    times = launches(Pacer(100, 60, burst=True, now=0), 121)
    assert sum(time < 1 for time in times) == 100
    assert sum(60 <= time < 61 for time in times) == 100
    assert len(times) == 300


def test_a_stall_is_caught_up_for_a_second_at_most() -> None:
    pacer = Pacer(600, 60, burst=False, now=0)
    pacer.note_launch(0)
    stalled_until = 30.0
    at_once = 0
    while pacer.delay(stalled_until) <= 0:
        pacer.note_launch(stalled_until)
        at_once += 1
    assert at_once <= 11  # one second's worth and the slot that is due


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 1000)), max_size=60))
def test_the_meter_never_reads_less_than_happened_in_its_span(events: list[tuple[float, int]]) -> None:
    meter, now, seen = RateMeter(60, 1), 0.0, []
    for gap, amount in events:
        now += gap
        meter.add(amount, now)
        seen.append((now, amount))
        exact = sum(amount for at, amount in seen if at > now - 59)
        upper = sum(amount for at, amount in seen if at > now - 61)
        assert exact <= meter.total(now) <= upper


def test_the_meter_forgets() -> None:
    meter = RateMeter(60, 1)
    meter.add(5, 0)
    assert meter.total(30) == 5
    assert meter.total(62) == 0


@given(st.integers(1, 200), st.floats(0, 1))
def test_backoff_doubles_within_its_bounds(failures: int, jitter: float) -> None:
    wait = Backoff(10, 300).wait_s(failures, jitter)
    assert 5 <= wait <= 300
    assert Backoff(10, 300).wait_s(1, 1) == 10
    assert Backoff(10, 300).wait_s(2, 1) == 20
