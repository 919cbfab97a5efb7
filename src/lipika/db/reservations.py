"""Launch slots for one worker, reserved out of the fleet's budget in one round trip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lipika.db.connection import Database
from lipika.db.queries import load
from lipika.forecast.budget import GRANT_HORIZON_S, SAFETY
from lipika.forecast.limits import ALL

_QUERIES = load("reservations")
FRESH_S = 10.0
"""A worker that has not asked for this long holds no share of the rate."""
LEASE_S = 180.0
"""Money granted to a worker that has not asked for this long is taken to be unspent."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The wish of one worker for slots, and what has become of what it got. Sums are said, not differences, where a
    question that is repeated must not count twice."""

    provider: str
    wanted: int
    tokens_each: float  # guess on the high side, prompt tokens of one request
    usd_each: float
    tokens_over: float  # metered - guessed, since the last question
    usd_over: float
    usd_metered: float  # by this worker, all its life; the ledger tells the days apart
    reserved_usd: float  # granted to this worker and not metered yet
    project: str = ""
    usd_most: float = 0.0  # of one request whose answer runs on to its limit; 0: no more than the guess


@dataclass(frozen=True, slots=True)
class Reservation:
    """The i-th request may go `start_in_s + i * step_s` from now. `binds` names the limit that decided, if any."""

    granted: int
    start_in_s: float
    step_s: float
    binds: str
    retry_in_s: float
    live_workers: int
    pause_reason: str | None
    unlimited: bool  # no limit is set at all


@dataclass(frozen=True, slots=True)
class Spent:
    """The US dollars that the fleet has spent with one provider."""

    provider: str
    project: str
    usd_total: float
    usd_today: float
    usd_reserved: float


def add_up(spent: Iterable[Spent]) -> Spent:
    """The dollars over all providers; those that a simulator makes up are none."""
    real = [row for row in spent if row.provider != "simulator"]
    return Spent(
        ALL,
        "",
        usd_total=sum(row.usd_total for row in real),
        usd_today=sum(row.usd_today for row in real),
        usd_reserved=sum(row.usd_reserved for row in real),
    )


OPINIONS = "/second-opinions"
"""Ends the names under which workers account for second opinions, in ledger and batches, beside their own."""


def step_suffix(step: int) -> str:
    """Ends the name under which a worker accounts for a later model of a cascade, counted from 0, in the ledger."""
    return f"/model-{step + 1}" if step else ""


@dataclass(frozen=True, slots=True)
class OpinionsSpent:
    """US dollars for second opinions: metered, and reserved for what is on its way."""

    usd: float
    usd_reserved: float


class Reservations:
    """`lipika_grant`. Raises DatabaseUnavailable while Postgres is away: then nothing may be launched."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(
        self, worker_id: str, demand: Demand, *, horizon_s: float = GRANT_HORIZON_S, at: float | None = None
    ) -> Reservation:
        """Settle what has ended and reserve what may be launched next. `at` moves the clock, for tests."""
        params = {
            "key": self._database.key,
            "worker_id": worker_id,
            "provider": demand.provider,
            "project": demand.project,
            "wanted": demand.wanted,
            "tokens_each": demand.tokens_each,
            "usd_each": demand.usd_each,
            "usd_most": max(demand.usd_most, demand.usd_each),
            "tokens_over": demand.tokens_over,
            "usd_over": demand.usd_over,
            "usd_metered": demand.usd_metered,
            "reserved_usd": demand.reserved_usd,
            "horizon_s": horizon_s,
            "safety": SAFETY,
            "fresh_s": FRESH_S,
            "lease_s": LEASE_S,
            "at": at,
        }
        return await self._database.row(_QUERIES["reserve"], params, Reservation)

    async def list_spending(self) -> list[Spent]:
        """The fleet's spending by provider."""
        return await self._database.rows(_QUERIES["spent"], {"lease_s": LEASE_S}, Spent)

    async def spent_on_opinions(self, provider: str, *, without: str) -> OpinionsSpent:
        """The cost of second opinions so far, but for those accounted for under the name `without`.

        For the simulator, whose dollars nobody pays, only those.
        """
        params = {"provider": provider, "without": without, "suffix": OPINIONS, "lease_s": LEASE_S}
        return await self._database.row(_QUERIES["opinions"], params, OpinionsSpent)
