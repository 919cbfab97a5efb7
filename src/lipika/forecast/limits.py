"""The limits that an operator sets a fleet on one provider: one row each, read by whatever lists them."""

from __future__ import annotations

from dataclasses import dataclass, replace


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
    use_head: str
    """Of a column in a table that shows how much of it is used."""
    meter: str
    """Beside the share of it that is used."""
    unit: str
    """Plural, in a sentence."""
    span: str
    """The time that it holds for, after the unit or an amount."""
    waiting: str
    """What a worker says that it waits for."""
    most: int
    """The highest that can be set: what the column holds, and a billion dollars."""
    whole: bool = False
    """True for a number of things; the others are dollars."""
    cap: bool = False
    """True for a sum up to now, which time alone does not free again; the others are rates."""

    @property
    def words(self) -> str:
        """In a sentence on what decides."""
        return f"{self.unit} {self.span}"


_REACHED = "is reached, or a request might go over it (lipika budget set)"

LIMITS = (
    Limit(
        name="rpm",
        field="rpm",
        column="requests_per_minute",
        option="--rpm",
        head="RPM",
        title="Requests a minute",
        use_head="RPM",
        meter="requests",
        unit="requests",
        span="a minute",
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
        use_head="TPM",
        meter="tokens",
        unit="prompt tokens",
        span="a minute",
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
        use_head="$ per 10 min",
        meter="$ in 10 min",
        unit="dollars",
        span="per 10 minutes",
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
        use_head="$ today",
        meter="$ today",
        unit="dollars",
        span="a day",
        waiting=f"the day's dollar cap {_REACHED}",
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
        use_head="$ in all",
        meter="$ in all",
        unit="dollars",
        span="in all",
        waiting=f"the total dollar cap {_REACHED}",
        most=10**9,
        cap=True,
    ),
)

ALL = "all"
"""The name under which a budget over all providers is kept: of its limits those on dollars hold."""

ALL_LIMITS = tuple(
    replace(
        limit,
        name=limit.name.replace("spend_", "all_"),
        span=f"{limit.span} over all providers",
        waiting=waiting,
    )
    for limit, waiting in zip(
        (limit for limit in LIMITS if not limit.whole and limit.unit == "dollars"),
        (
            "dollars per ten minutes of the budget over all providers",
            f"the day's dollar cap over all providers {_REACHED}",
            f"the total dollar cap over all providers {_REACHED}",
        ),
        strict=True,
    )
)
"""The limits of that budget, each with a name of its own where somebody says what binds."""
