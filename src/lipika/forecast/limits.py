"""The limits that an operator sets a fleet on one provider: one row each, read by whatever lists them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a budget, by all of its names."""

    name: str
    """In metrics, in events, and where the database says what binds."""
    field: str
    """Of `Budget`."""
    column: str
    """Of `provider_budgets`, and in JSON."""
    option: str
    """Of `lipika budget set`."""
    head: str
    """Of a column in a table."""
    title: str
    """Of a field in a form."""
    meter: str
    """Beside the share of it that is used."""
    words: str
    """In a sentence on what decides."""
    waiting: str
    """What a worker says that it waits for."""
    most: int
    """The highest that can be set: what the column holds, and a billion dollars."""
    whole: bool = False
    """True for a number of things; the others are dollars."""
    cap: bool = False
    """True for a sum up to now, which time alone does not free again; the others are rates."""


_CAP = "cap is reached, or a request might go over it (lipika budget set)"

LIMITS = (
    Limit(
        name="rpm",
        field="rpm",
        column="requests_per_minute",
        option="--rpm",
        head="RPM",
        title="Requests a minute",
        meter="requests",
        words="requests a minute",
        waiting="requests per minute of the budget",
        most=2**31 - 1,
        whole=True,
    ),
    Limit(
        name="tpm",
        field="tpm",
        column="tokens_per_minute",
        option="--tpm",
        head="TPM",
        title="Prompt tokens a minute",
        meter="tokens",
        words="prompt tokens a minute",
        waiting="tokens per minute of the budget",
        most=2**63 - 1,
        whole=True,
    ),
    Limit(
        name="spend_10min",
        field="usd_per_10min",
        column="spend_10min_usd",
        option="--usd-10min",
        head="$ per 10 min",
        title="Dollars in ten minutes",
        meter="$ in 10 min",
        words="dollars per 10 minutes",
        waiting="dollars per ten minutes of the budget",
        most=10**9,
    ),
    Limit(
        name="spend_day",
        field="usd_per_day",
        column="spend_day_usd",
        option="--usd-day",
        head="$ per day",
        title="Dollars a day (UTC)",
        meter="$ today",
        words="dollars a day",
        waiting=f"the day's dollar {_CAP}",
        most=10**9,
        cap=True,
    ),
    Limit(
        name="spend_total",
        field="usd_total",
        column="spend_total_usd",
        option="--usd-total",
        head="$ in all",
        title="Dollars in all",
        meter="$ in all",
        words="dollars in all",
        waiting=f"the total dollar {_CAP}",
        most=10**9,
        cap=True,
    ),
)
