"""Everything that speaks SQL: one class per area, one method per query, the queries in `sql/*.sql`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lipika.db.budgets import Budgets
    from lipika.db.connection import Database
    from lipika.db.queue import Queue
    from lipika.db.results import Results
    from lipika.db.stats import Stats
    from lipika.db.workers import Workers

__all__ = ["Budgets", "Database", "Queue", "Results", "Stats", "Workers"]

_HOMES = {
    "Budgets": "budgets",
    "Database": "connection",
    "Queue": "queue",
    "Results": "results",
    "Stats": "stats",
    "Workers": "workers",
}


def __getattr__(name: str) -> Any:
    """A class out of its module, loaded when it is asked for: who reads budgets needs no other."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
