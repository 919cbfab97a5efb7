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
from lipika.forecast.budget import Ask, Budget, Ledger, grant, grant_within, settle
from lipika.forecast.limits import ALL
from lipika.forecast.limits import LIMITS as EVERY_LIMIT


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


LIMITS_OVER_ALL = (
    Limits(spend_total_usd=0.5),
    Limits(spend_10min_usd=1.5),
    Limits(spend_10min_usd=0.02, spend_day_usd=0.7),
    Limits(spend_10min_usd=6.0, spend_day_usd=2.0, spend_total_usd=3.0),
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


def budget_of(limits: Limits) -> Budget:
    return Budget(**{limit.field: getattr(limits, limit.column) for limit in EVERY_LIMIT})


@pytest.mark.parametrize("usd_most", [0.0, 0.0045])
@pytest.mark.parametrize("overall", LIMITS_OVER_ALL)
@pytest.mark.parametrize("limits", [LIMITS[0], LIMITS[2], LIMITS[3], LIMITS[6]])
async def test_postgres_grants_within_all_providers_what_the_specification_grants(
    database: Database, limits: Limits, overall: Limits, usd_most: float
) -> None:
    budgets, reservations = Budgets(database), Reservations(database)
    providers = ("aistudio", "openrouter")
    await budgets.set_limits(ALL, overall)
    for provider in providers:
        await budgets.set_limits(provider, limits)
    chance, now = random.Random(7), 1_790_000_000.0
    whole, ledgers = Ledger(), dict.fromkeys(providers, Ledger())
    askers = [(provider, worker) for provider in providers for worker in "ab"]
    spent, reserved = dict.fromkeys(askers, 0.0), dict.fromkeys(askers, 0.0)
    asked: dict[tuple[str, str], float] = {}
    for _ in range(150):
        provider, worker = who = chance.choice(askers)
        now += chance.choice([0.05, 0.3, 2.0, 11.0])
        usd = min(reserved[who], chance.random() * 0.01)
        usd_over = chance.uniform(-0.002, 0.001)
        spent[who] += usd
        reserved[who] = 0.0 if chance.random() < 0.4 else reserved[who] - usd
        ask = demand(
            chance.choice([0, 1, 5, 80]),
            usd_over=usd_over,
            usd_metered=spent[who],
            reserved_usd=reserved[who],
            usd_most=usd_most,
        )
        got = await reservations.reserve(worker, replace(ask, provider=provider), at=now)

        asked[who] = now
        live = {name for (of, name), then in asked.items() if of == provider and then > now - 10}
        live_overall = {name for (_, name), then in asked.items() if then > now - 10}
        own = settle(
            budget_of(limits), ledgers[provider], tokens_over=0, usd=usd_over, usd_reserved=0, usd_guessed=0
        )
        whole = settle(budget_of(overall), whole, tokens_over=0, usd=usd_over, usd_reserved=0, usd_guessed=0)
        mine = [one for one in askers if one[0] == provider]
        own, whole = (
            replace(
                ledger,
                usd_total=sum(spent[one] for one in of),
                usd_today=sum(spent[one] for one in of),
                usd_reserved=sum(reserved[one] for one in of),
            )
            for ledger, of in ((own, mine), (whole, askers))
        )
        should, ledgers[provider], whole = grant_within(
            budget_of(overall),
            whole,
            budget_of(limits),
            own,
            Ask(ask.wanted, ask.tokens_each, ask.usd_each, len(live), usd_most),
            now,
            live_overall=len(live_overall),
        )
        assert got.granted == should.requests
        assert not got.unlimited
        if ask.wanted:
            assert got.binds == should.binds
        if ask.wanted and not got.granted and "rpm" not in got.binds:
            assert got.retry_in_s == pytest.approx(should.retry_in_s, abs=1e-3)
        if should.requests:
            assert got.start_in_s == pytest.approx(should.start - now, abs=1e-3)
            assert got.step_s == pytest.approx(should.step_s)
        reserved[who] += got.granted * max(usd_most, ask.usd_each)


async def test_a_cap_over_all_holds_what_every_provider_and_second_opinion_spends(database: Database) -> None:
    await Budgets(database).change(ALL, {"spend_total_usd": 0.1, "spend_day_usd": 5.0})
    reservations = Reservations(database)
    for name, provider, usd in (
        ("a", "aistudio", 0.05),
        ("b", "openrouter", 0.02),
        ("a/second-opinions", "openrouter", 0.01),
        ("canary-20261130-080000-abcd-1", "aistudio", 0.01),
    ):
        await reservations.reserve(name, replace(demand(0), provider=provider, usd_metered=usd))
    got = await reservations.reserve("c", demand(100))
    assert (got.granted, got.binds, got.unlimited) == (10, "all_total", False)
    got = await reservations.reserve("d", replace(demand(100), provider="openrouter"))
    assert (got.granted, got.binds) == (0, "all_total"), "what is on its way counts"
    await Budgets(database).change(ALL, {"spend_total_usd": 0.2})
    assert (await reservations.reserve("d", replace(demand(50), provider="openrouter"))).granted == 50


async def test_made_up_dollars_are_held_by_a_cap_over_all_apart_from_real_ones(database: Database) -> None:
    await Budgets(database).change(ALL, {"spend_total_usd": 0.1})
    reservations = Reservations(database)
    await reservations.reserve("r", replace(demand(0), provider="simulator", usd_metered=0.1))
    rehearsed = await reservations.reserve("s", replace(demand(5), provider="simulator"))
    assert (rehearsed.granted, rehearsed.binds) == (0, "all_total")
    assert (await reservations.reserve("a", demand(5))).granted == 5


async def test_all_providers_are_paused_at_once(database: Database) -> None:
    await Budgets(database).pause(ALL, "the invoice is being checked")
    got = await Reservations(database).reserve("a", demand())
    assert (got.granted, got.binds, got.pause_reason) == (0, "paused", "the invoice is being checked")
    await Budgets(database).resume(ALL)
    assert (await Reservations(database).reserve("a", demand())).granted == 10


async def test_workers_at_once_never_reserve_more_than_all_providers_may_cost(database_url: str) -> None:
    """Two providers at once, each of whose own caps would let all through."""
    async with Database(database_url, max_size=8) as database:
        await Budgets(database).change(ALL, {"spend_total_usd": 0.1})
        reservations = Reservations(database)

        async def worker(number: int) -> int:
            provider, reserved, granted = ("aistudio", "openrouter")[number % 2], 0.0, 0
            for _ in range(10):
                got = await reservations.reserve(
                    f"w{number}", replace(demand(7, reserved_usd=reserved), provider=provider)
                )
                reserved += got.granted * 0.001
                granted += got.granted
            return granted

        everything = await asyncio.gather(*(worker(number) for number in range(8)))
    assert sum(everything) == 100


async def test_a_worker_of_the_release_before_still_asks_as_it_did(database: Database) -> None:
    """It knows nothing of a cap over all; what it spends counts."""
    await Budgets(database).change(ALL, {"spend_total_usd": 0.1})
    async with database.connection() as connection:
        await connection.execute(
            "select * from lipika_reserve(%s, 'aistudio', '', 'old', 0, 600, 0.001, 0.001, 0, 0, 0.1, 0, 4, 0.985,"
            " 10, 180)",
            (database.key,),
        )
    got = await Reservations(database).reserve("new", demand(100))
    assert (got.granted, got.binds) == (0, "all_total")


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
