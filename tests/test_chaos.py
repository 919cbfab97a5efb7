"""Workers that are killed, stopped and told to go, at random; see `benchmarks/chaos.py` for the long form."""

from __future__ import annotations

import os
import random
from pathlib import Path

from benchmarks.chaos import Plan, run_chaos


async def test_nothing_is_lost_or_asked_twice_while_workers_are_killed(
    open_dir: Path, tmp_path: Path, database_url: str
) -> None:
    seed = int(os.environ.get("LIPIKA_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"LIPIKA_CHAOS_SEED={seed}")
    plan = Plan(
        workers=4,
        videos=2,  # more are added until all blows have fallen
        segments=16,
        blows=8,
        every_s=(1.0, 2.5),
        heartbeat_s=1.0,
        lease_s=5.0,
        drain_s=2.0,
        clips_per_s=14.0,
        limit_s=90,
        seed=seed,
    )
    outcome = await run_chaos(plan, tmp_path, database_url)
    assert outcome.problems == []
    assert sum(outcome.blows.values()) == plan.blows
    assert outcome.videos > plan.videos


async def test_blows_that_did_not_fall_are_a_problem(
    open_dir: Path, tmp_path: Path, database_url: str
) -> None:
    outcome = await run_chaos(Plan(workers=1, videos=1, segments=1, limit_s=0.0), tmp_path, database_url)
    assert "only 0 of 40 blows fell within 0 s" in outcome.problems
