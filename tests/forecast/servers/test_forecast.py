"""The forecast: its arithmetic by hand, and against fleets that really run, in virtual time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import structlog

from benchmarks.forecast import Scenario, compare, sample
from benchmarks.virtual import Population, Ran
from lipika import log
from lipika.forecast.budget import SAFETY, Budget
from lipika.forecast.days import DAY_S, MoneySoFar
from lipika.forecast.forecast import Crew, PerClip, Unit, find_needed, forecast, time_s
from lipika.forecast.shares import Estimate
from lipika.forecast.workload import Counted, Remaining, workload
from lipika.simulator import Latency, SimulatorConfig

CREW = Crew(workers=2, clips_per_minute=1000, max_in_flight=2000, latency_s=0.0, window_s=0.0)
UNITS = [Unit(10, 11, 6000, 2000, 0.01, "hi"), Unit(10, 11, 8000, 2000, 0.012, "ta")]
EACH = PerClip(requests=1.1, prompt_tokens=700, output_tokens=200, usd=0.0011)


# ----------------------------------------------------------------------------- by hand


def test_the_mean_clip_and_the_queues_cost() -> None:
    told = forecast(UNITS, Estimate.exact(1000), Budget(), CREW)
    assert told.per_clip.requests == pytest.approx(1.1)
    assert told.per_clip.prompt_tokens == pytest.approx(700)
    assert told.usd.value == pytest.approx(1.1)
    assert told.usd.low <= 1.1 <= told.usd.high
    assert told.usd.low < told.usd.high
    assert (told.binds, told.workers_needed) == ("workers", None)
    assert told.seconds.value == pytest.approx(1000 / (2000 / 60))


def test_the_slowest_limit_binds_and_the_others_say_what_they_would_take() -> None:
    budget = Budget(rpm=600, tpm=10_000_000, usd_per_10min=100.0)
    told = forecast(UNITS, Estimate.exact(6000), budget, CREW)
    times = {one.name: one.seconds.value for one in told.limits}
    assert told.binds == "rpm" == max(times, key=lambda name: times[name])
    assert times["rpm"] == pytest.approx(6000 * 1.1 / (600 * SAFETY) * 60, rel=1e-6)
    assert [one.name for one in told.limits if one.binds] == ["rpm"]
    assert told.workers_needed == 1


def test_workers_beyond_the_quota_are_not_needed() -> None:
    told = forecast(UNITS, Estimate.exact(1e8), Budget(rpm=18_000), replace(CREW, workers=18))
    assert told.workers_needed == math.ceil(18_000 * SAFETY / 1.1 / 1000)


def test_requests_in_flight_bound_a_worker() -> None:
    slow = Crew(1, 100_000, max_in_flight=100, latency_s=5.0)
    assert slow.clips_per_s(2.0) == pytest.approx(10)


def test_a_days_dollars_wait_for_midnight_utc() -> None:
    budget = Budget(usd_per_day=2.2)  # 2000 clips
    so_far = MoneySoFar(second_of_day=DAY_S - 3600)
    fleet_s = 60 / 2000
    assert time_s(1000, EACH, budget, CREW, so_far) == pytest.approx(1000 * fleet_s)
    assert time_s(3000, EACH, budget, CREW, so_far) == pytest.approx(3600 + 1000 * fleet_s)
    assert time_s(9000, EACH, budget, CREW, so_far) == pytest.approx(3600 + 3 * DAY_S + 1000 * fleet_s)
    spent = replace(so_far, spent_today_usd=2.2)
    assert time_s(1000, EACH, budget, CREW, spent) == pytest.approx(3600 + 1000 * fleet_s)


def test_many_days_take_no_time_to_add_up() -> None:
    budget = Budget(usd_per_day=1.1)
    assert time_s(1e8, EACH, budget, CREW, MoneySoFar()) == pytest.approx(1e5 * DAY_S, rel=1e-4)


@pytest.mark.parametrize(
    "budget", [Budget(rpm=0), Budget(tpm=0), Budget(usd_per_10min=0), Budget(usd_per_day=0)]
)
def test_a_limit_of_nothing_never_ends(budget: Budget) -> None:
    assert math.isinf(time_s(10, EACH, budget, CREW, MoneySoFar()))
    told = forecast(UNITS, Estimate.exact(10), budget, CREW)
    assert math.isinf(told.seconds.value)


def test_the_cap_in_all_says_how_far_it_goes() -> None:
    told = forecast(
        UNITS, Estimate.exact(10_000), Budget(usd_total=6.0), CREW, MoneySoFar(spent_total_usd=0.5)
    )
    assert told.clips_until_cap == pytest.approx(5000)
    assert math.isfinite(told.seconds.value)
    assert forecast(UNITS, Estimate.exact(1000), Budget(usd_total=6.0), CREW).clips_until_cap is None


def test_what_it_takes_is_what_it_then_takes() -> None:
    need = find_needed(1e6, EACH, CREW, hours=24)
    crew = replace(CREW, workers=need.workers)
    for budget in (
        Budget(rpm=int(need.rpm)),
        Budget(tpm=int(need.tpm)),
        Budget(usd_per_10min=need.usd_per_10min),
    ):
        assert time_s(1e6, EACH, budget, crew, MoneySoFar()) == pytest.approx(86_400, rel=0.01)


def test_a_sample_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no clip"):
        forecast([], Estimate.exact(1), Budget(), CREW)


# ----------------------------------------------------------------------------- how much is left


def test_clips_go_by_bytes_where_sizes_are_known_and_by_archive_where_not() -> None:
    counted = [Counted("hi", 100, 1000), Counted("hi", 300, 3000), Counted("ta", 50, 1000)]
    left = workload(counted, [Remaining("hi", 10, 8, 20_000), Remaining("ta", 4, 4, 4000, clips_ended=30)])
    assert left.by_language["hi"] == pytest.approx(20_000 * 0.1 + 2 * 200)
    assert left.by_language["ta"] == pytest.approx(4000 * 0.05 - 30)
    assert left.clips.low <= left.clips.value <= left.clips.high


def test_a_language_that_was_not_counted_goes_by_all() -> None:
    left = workload([Counted("hi", 100, None), Counted("ta", 200, None)], [Remaining("ur", 2, 0, 0)])
    assert left.by_language["ur"] == pytest.approx(300)


def test_nothing_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="counted"):
        workload([], [Remaining("hi", 1, 0, 0)])


# ----------------------------------------------------------------------------- against fleets that run

CLIPS = 500
SIMULATOR = SimulatorConfig(light=True, latency=Latency(1.0, 0.3))
SCENARIOS = (
    Scenario("rpm", Budget(rpm=400)),
    Scenario("tpm", Budget(tpm=200_000)),
    Scenario("spend_10min", Budget(usd_per_10min=0.3)),
    Scenario("spend_day", Budget(rpm=3000, usd_per_day=0.4), second_of_day=DAY_S - 900),
    Scenario("workers", Budget(rpm=100_000), workers=1),
)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    log.configure(level="error", json_logs=False)
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def measured() -> tuple[list[Unit], Ran]:
    """A sample of other clips than those of the runs."""
    return sample(Population(), SIMULATOR, CLIPS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_the_forecast_of_a_run_in_virtual_time(
    scenario: Scenario, measured: tuple[list[Unit], Ran], database_url: str
) -> None:
    """A sample of other clips foretells the run within a twentieth: the real engine, client, governor, simulator."""
    units, before = measured
    found = compare(scenario, units, before.latency_s, database_url, clips=CLIPS, simulator=SIMULATOR)
    assert found.binds == scenario.name
    assert abs(found.error_seconds) < 0.05, found
    assert abs(found.error_usd) < 0.05, found
    assert found.rate_limited == 0


def test_virtual_time_does_not_wait() -> None:
    from benchmarks.virtual import run

    async def two_days() -> float:
        await asyncio.sleep(2 * DAY_S)
        return asyncio.get_running_loop().time()

    assert run(two_days, 0.0) == pytest.approx(2 * DAY_S)
