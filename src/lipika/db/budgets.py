"""Budgets of the whole fleet, one for each provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from lipika.db.connection import Database
from lipika.db.queries import load
from lipika.forecast.budget import Budget
from lipika.forecast.limits import LIMITS

_QUERIES = load("budgets")


@dataclass(frozen=True, slots=True)
class Limits:
    """By the columns of `forecast.limits.LIMITS`. None: no limit of that kind."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    spend_10min_usd: float | None = None
    spend_day_usd: float | None = None
    spend_total_usd: float | None = None


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One provider's limits, and whether the fleet is told to leave it alone."""

    provider: str
    project: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    spend_10min_usd: float | None
    spend_day_usd: float | None
    spend_total_usd: float | None
    paused: bool
    pause_reason: str | None

    @property
    def budget(self) -> Budget:
        """The same as the arithmetic takes it."""
        limits = {limit.field: getattr(self, limit.column) for limit in LIMITS}
        return Budget(**limits, paused=self.paused)


class Budgets:
    """`provider_budgets`. A project is one account of a provider; the empty name is its only one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def show(self, provider: str | None = None) -> list[BudgetRow]:
        return await self._database.rows(_QUERIES["list"], {"provider": provider}, BudgetRow)

    async def set_limits(self, provider: str, limits: Limits, *, project: str = "") -> None:
        """Replace all limits of a provider."""
        await self._database.execute(
            _QUERIES["set"], {"provider": provider, "project": project, **asdict(limits)}
        )

    async def change(self, provider: str, limits: Mapping[str, object], *, project: str = "") -> None:
        """Replace the limits named (fields of `Limits`); the others stay."""
        unknown = limits.keys() - {field.name for field in fields(Limits)}
        if unknown:
            raise ValueError(f"no such limits: {', '.join(sorted(unknown))}")
        params = {name: limits.get(name) for name in (field.name for field in fields(Limits))}
        given = {f"{name}_given": name in limits for name in params}
        await self._database.execute(
            _QUERIES["change"], {"provider": provider, "project": project, **params, **given}
        )

    async def pause(self, provider: str, reason: str, *, project: str = "") -> None:
        """Tell the fleet to stop sending to a provider."""
        await self._database.execute(
            _QUERIES["pause"], {"provider": provider, "project": project, "reason": reason}
        )

    async def resume(self, provider: str, *, project: str = "") -> bool:
        """Let the fleet send again; returns whether it had been paused."""
        params = {"provider": provider, "project": project}
        return await self._database.execute(_QUERIES["resume"], params) == 1
