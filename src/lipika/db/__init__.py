"""Everything that speaks SQL: one class per area, one method per query, the queries in `sql/*.sql`."""

from lipika.db.budgets import Budgets
from lipika.db.connection import Database
from lipika.db.queue import Queue
from lipika.db.results import Results
from lipika.db.stats import Stats
from lipika.db.workers import Workers

__all__ = ["Budgets", "Database", "Queue", "Results", "Stats", "Workers"]
