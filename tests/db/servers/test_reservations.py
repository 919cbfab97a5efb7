"""The fleet's ledger in Postgres: the same arithmetic as `budget.grant`, and safe under concurrency."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from itertools import pairwise

import pytest

from lipika.db import Database
from lipika.db.budgets import Budgets, Limits
from lipika.db.reservations import Demand, Reservation, Reservations
from lipika.forecast.budget import Ask, Budget, Ledger, grant, settle


def demand(wanted: int = 10, **changes: float) -> Demand:
    plain = Demand("aistudio", wanted, 600.0, 0.001, 0.0, 0.0, 0.0, 0.0)
    return replace(plain, **changes)  # type: ignore[arg-type]


LIMITS = (
    Limits(requests_per_minute=1200),
    Limits(requests_per_minute=7, tokens_per_minute=5_000),
    Limits(tokens_per_minute=400_000, spend_10min_usd=5.0),
    Limits(requests_per_minute=3000, spend_total_usd=0.8, spend_day_usd=2.0),
    Limits(spend_day_usd=0.3),
    Limits(requests_per_minute=0),
    Limits(),
)


@pytest.mark.parametrize("usd_most", [0.0, 0.0045])
@pytest.mark.parametrize("limits", LIMITS)
async def test_postgres_grants_what_the_specification_grants(
    database: Database, limits: Limits, usd_most: float
) -> None:
    await Budgets(database).set_limits("aistudio", limits)
    reservations = Reservations(database)
    budget = Budget(
        rpm=limits.requests_per_minute,
        tpm=limits.tokens_per_minute,
        usd_per_10min=limits.spend_10min_usd,
        usd_per_day=limits.spend_day_usd,
        usd_total=limits.spend_total_usd,
    )
    chance, ledger, now = random.Random(5), Ledger(), 1_790_000_000.0
    spent = {"a": 0.0, "b": 0.0}
    reserved = {"a": 0.0, "b": 0.0}
    asked: dict[str, float] = {}
    for _ in range(120):
        worker = chance.choice("ab")
        now += chance.choice([0.1, 0.7, 3.0, 11.0])
        usd = min(reserved[worker], chance.random() * 0.01)
        tokens_over = chance.uniform(-300, 300)
        spent[worker] += usd
        reserved[worker] -= usd
        ask = demand(chance.choice([0, 1, 5, 80]), tokens_over=tokens_over, usd_over=0.0)
        if chance.random() < 0.3:  # all that was on its way has come back
            reserved[worker] = 0.0
        ask = replace(ask, usd_metered=spent[worker], reserved_usd=reserved[worker], usd_most=usd_most)
        got = await reservations.reserve(worker, ask, at=now)

        asked[worker] = now
        live = sum(then > now - 10 for then in asked.values())
        ledger = settle(budget, ledger, tokens_over=tokens_over, usd=0.0, usd_reserved=0.0)
        ledger = replace(
            ledger,
            usd_total=sum(spent.values()),
            usd_today=sum(spent.values()),
            usd_reserved=sum(reserved.values()),
        )
        should, ledger = grant(
            budget, ledger, Ask(ask.wanted, ask.tokens_each, ask.usd_each, live, usd_most), now
        )
        assert got.live_workers == live
        assert got.granted == should.requests
        if ask.wanted:
            assert got.binds == should.binds
        if ask.wanted and got.binds.startswith("spend_") and not got.granted:
            assert got.retry_in_s == pytest.approx(should.retry_in_s, abs=1e-4)
        if should.requests:
            assert got.start_in_s == pytest.approx(should.start - now, abs=1e-4)
            assert got.step_s == pytest.approx(should.step_s)
        reserved[worker] += got.granted * max(usd_most, ask.usd_each)


async def test_a_paused_provider_grants_nothing_and_says_why(database: Database) -> None:
    await Budgets(database).pause("aistudio", "invoice is being checked")
    got = await Reservations(database).reserve("a", demand())
    assert (got.granted, got.binds, got.pause_reason) == (0, "paused", "invoice is being checked")
    await Budgets(database).resume("aistudio")
    assert (await Reservations(database).reserve("a", demand())).granted == 10


async def test_a_budget_that_is_changed_holds_from_the_next_question_on(database: Database) -> None:
    budgets, reservations = Budgets(database), Reservations(database)
    await budgets.set_limits("aistudio", Limits(spend_total_usd=0.005))
    assert (await reservations.reserve("a", demand(100))).granted == 5
    refused = await reservations.reserve("a", demand(100, reserved_usd=0.005))
    assert (refused.granted, refused.binds) == (0, "spend_total")
    await budgets.set_limits("aistudio", Limits(spend_total_usd=0.010))
    assert (await reservations.reserve("a", demand(100, reserved_usd=0.005))).granted == 5


async def test_workers_at_once_never_reserve_more_than_there_is(database_url: str) -> None:
    async with Database(database_url, max_size=8) as database:
        await Budgets(database).set_limits("aistudio", Limits(requests_per_minute=600, spend_total_usd=0.1))
        reservations = Reservations(database)

        async def worker(name: str) -> list[Reservation]:
            got, reserved = [], 0.0
            for _ in range(20):
                reservation = await reservations.reserve(
                    name, demand(50, reserved_usd=reserved), at=1_790_000_000.0
                )
                reserved += reservation.granted * 0.001
                got.append(reservation)
            return got

        everything = await asyncio.gather(*(worker(f"w{number}") for number in range(8)))
    slots = sorted(
        reservation.start_in_s + number * reservation.step_s
        for worker_slots in everything
        for reservation in worker_slots
        for number in range(reservation.granted)
    )
    assert 30 <= len(slots) <= 40  # four seconds of ten a second, and money for a hundred
    assert all(later - earlier >= 0.99 / 10 for earlier, later in pairwise(slots))


async def test_saying_the_same_spending_twice_counts_it_once(database: Database) -> None:
    reservations = Reservations(database)
    for _ in range(3):
        await reservations.reserve("a", demand(0, usd_metered=0.25, reserved_usd=0.05))
    await reservations.reserve("b", demand(0, usd_metered=0.50))
    (spent,) = await reservations.list_spending()
    assert (spent.usd_total, spent.usd_today, spent.usd_reserved) == pytest.approx((0.75, 0.75, 0.05))


MIDNIGHT = 1_790_000_000.0 // 86_400 * 86_400 + 86_400


async def test_a_fleet_that_the_days_cap_stopped_goes_on_after_midnight(database: Database) -> None:
    """It meters nothing while it is stopped, and says the same sum before and after midnight."""
    await Budgets(database).set_limits("aistudio", Limits(spend_day_usd=0.01))
    reservations = Reservations(database)
    for seconds, granted in ((-600, 0), (-5, 0), (5, 10), (60, 10)):
        got = await reservations.reserve("a", demand(usd_metered=0.01), at=MIDNIGHT + seconds)
        assert got.granted == granted, f"{seconds} s from midnight"
    got = await reservations.reserve("a", demand(usd_metered=0.02), at=MIDNIGHT + 120)
    assert (got.granted, got.binds) == (0, "spend_day"), "the new day has a cap of its own"


async def test_no_dollar_is_forgotten_at_midnight(database: Database) -> None:
    """What was metered late in the day and told on the next counts on one of them, whatever a worker's clock says."""
    await Budgets(database).set_limits("aistudio", Limits(spend_total_usd=0.1))
    reservations = Reservations(database)
    await reservations.reserve("a", demand(0, usd_metered=0.06), at=MIDNIGHT - 1)
    await reservations.reserve("a", demand(0, usd_metered=0.09), at=MIDNIGHT + 1)
    got = await reservations.reserve("b", demand(20), at=MIDNIGHT + 2)
    assert (got.granted, got.binds) == (10, "spend_total")
    async with database.connection() as connection:
        rows = await connection.execute("select usd from provider_spend where worker_id = 'a' order by day")
        assert [usd for (usd,) in await rows.fetchall()] == pytest.approx([0.06, 0.03])
