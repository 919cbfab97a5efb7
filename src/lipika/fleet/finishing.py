"""A deadline at Flex: what is left of the queue is looked at now and then, and the engine told what has to be asked
at the standard tier so that all is answered in time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from lipika.db.budgets import Budgets
from lipika.db.connection import Database
from lipika.db.outlook import OutlookQueries
from lipika.engine.engine import Engine
from lipika.engine.outcome import Alert
from lipika.forecast.budget import seconds_per_request
from lipika.forecast.escalation import EscalationPlan, TierPace, plan_escalation
from lipika.forecast.limits import ALL
from lipika.forecast.workload import workload
from lipika.log import get_logger
from lipika.wording import duration

log = get_logger(__name__)

_CLIPS_OF_A_VIDEO = 50.0  # a guess, until one is done
_STANDARD_S = 60.0
"""For the last answers at the standard tier, and for packing them."""


class Finishing:
    """Keeps the engine's escalation in step with the deadline. Each worker answers for its share of the queue."""

    def __init__(
        self,
        finish_at: float,
        engine: Engine,
        database: Database,
        *,
        clips_per_s: float = math.inf,
        on_alert: Callable[[Alert], object] = lambda _alert: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`finish_at` is Unix time; `clips_per_s` is what one worker launches at most."""
        self._finish_at = finish_at
        self._engine = engine
        self._queries = OutlookQueries(database)
        self._budgets = Budgets(database)
        self._clips_per_s = clips_per_s
        self._on_alert = on_alert
        self._clock = clock
        self._said_missed = False

    async def look(self) -> None:
        """Look at what is left, and plan anew."""
        workers = max(await self._queries.workers(), 1)
        left = max(await self._clips_left() / workers - self._engine.in_flight, self._engine.queued)
        self.follow(left, await self._requests_per_s(workers))

    def follow(self, clips: float, requests_per_s: float) -> EscalationPlan:
        """Put the plan for so many clips of this worker into force."""
        now, left_s = self._clock(), self._finish_at - time.time()
        route = self._engine.routes[0]
        record = route.flex.record
        ceiling = route.concurrency.limit / record.mean_s if record.mean_s else math.inf
        flex = TierPace(record.longest_s(now), record.requests_per_clip, ceiling)
        plan = plan_escalation(clips, left_s, requests_per_s, flex, TierPace(_STANDARD_S))
        rules = self._engine.escalation
        before = rules.share > 0 or now >= rules.flex_until
        rules.flex_until, rules.share = now + plan.flex_for_s, plan.share
        rules.ends_at = now + max(left_s - _STANDARD_S, 0.0)
        if plan.standard_clips and not before:
            log.info(
                "flex_escalates",
                left=duration(max(left_s, 0.0)),
                clips=round(clips),
                standard=round(plan.standard_clips),
            )
        self._say_missed(plan, left_s)
        return plan

    def _say_missed(self, plan: EscalationPlan, left_s: float) -> None:
        if plan.meets_deadline or self._said_missed:
            return
        self._said_missed = True
        message = (
            f"FINISH_BY is in {duration(max(left_s, 0.0))}, and what is left of the queue takes longer at either"
            " tier: raise the limits (lipika budget), add workers, or give it more time"
        )
        log.warning("deadline_out_of_reach", reason=message)
        self._on_alert(Alert("deadline_out_of_reach", message))

    async def _clips_left(self) -> float:
        remaining, finished = await self._queries.remaining(), await self._queries.list_finished()
        if not remaining:
            return 0.0
        if not finished:
            return _CLIPS_OF_A_VIDEO * sum(one.videos for one in remaining)
        return workload(finished, remaining).clips.value

    async def _requests_per_s(self, workers: int) -> float:
        """Of this worker: its pace, and its part of what the fleet's limits allow."""
        route = self._engine.routes[0]
        rows = [row for row in await self._budgets.show() if row.provider in (route.name, ALL)]
        moved = [seconds_per_request(row.budget, route.usual_tokens, route.usual_usd) for row in rows]
        slowest_s = max((seconds for one in moved for seconds in one.values()), default=0.0)
        return min(self._clips_per_s, 1 / slowest_s / workers if slowest_s else math.inf)
