"""A deadline at Flex, met with as few clips at the standard tier as one needs who knows how long Flex takes."""

from __future__ import annotations

import pytest

from benchmarks.flex import FlexRun, work_off
from benchmarks.forecast import sample
from benchmarks.virtual import Population
from lipika.config import read_deadline
from lipika.errors import SettingsError
from lipika.forecast.budget import Budget
from lipika.forecast.cheapest import PlanLimits, Purse, TierOption, plan_cheapest
from lipika.forecast.forecast import PerClip
from lipika.simulator import Latency, SimulatorConfig


def tiers_of(ran: FlexRun) -> list[TierOption]:
    """Both tiers as a canary would have metered them: other clips at the standard tier, a fifth of Flex shed."""
    units, _ = sample(Population(), SimulatorConfig(light=True, latency=Latency(1.0, 0.3)), 250)
    usd = sum(unit.usd for unit in units) / 250
    standard = PerClip(1.0, 700.0, 220.0, usd)
    flex = PerClip(1 / (1 - 0.2), 700.0, 220.0, usd / 2)
    assert ran.clips == 1500
    return [
        TierOption("flex", "aistudio", flex, 480.0, 900.0, 15_000),
        TierOption("standard", "aistudio", standard, 1.0, 60.0, 15_000),
    ]


@pytest.mark.parametrize(("clips", "within_s"), [(1500, 1500), (1500, 3000)], ids=["tight", "time to spare"])
def test_a_deadline_is_met_with_the_fewest_clips_at_the_standard_tier(clips: int, within_s: float) -> None:
    ran = work_off(clips, 150, within_s)
    assert ran.failed == 0
    assert ran.seconds <= within_s
    assert ran.standard <= 1.05 * ran.oracle_standard + 5
    assert ran.usd == pytest.approx(ran.billed_usd, abs=1e-9)
    assert sum(ran.usd_by_tier.values()) == pytest.approx(ran.billed_usd, abs=1e-9)
    assert ran.rate_limited == 0
    assert ran.quota_used >= 0.97
    plan = plan_cheapest(
        tiers_of(ran), clips, within_s, PlanLimits({"aistudio": Purse(Budget(rpm=150))}, Purse(), 1, 300)
    )
    assert plan.meets_deadline
    assert plan.usd == pytest.approx(ran.usd, rel=0.05), "the plan says what it came to"
    assert plan.seconds == pytest.approx(ran.seconds, rel=0.05)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("36h", 1000 + 36 * 3600),
        ("1d12h", 1000 + 36 * 3600),
        ("PT90M", 1000 + 5400),
        ("1.5 h", 1000 + 5400),
        ("2026-12-01T06:00+05:30", 1_796_085_000),
        ("2026-12-01T00:30:00Z", 1_796_085_000),
    ],
)
def test_a_deadline_is_a_time_or_a_duration(text: str, at: float) -> None:
    assert read_deadline(text, 1000.0) == pytest.approx(at)


@pytest.mark.parametrize("text", ["soon", "12", "36x", "2026-13-01"])
def test_anything_else_is_refused_with_the_forms_that_are_taken(text: str) -> None:
    with pytest.raises(SettingsError, match=r"FINISH_BY.*36h"):
        read_deadline(text, 0.0)
