"""The fleet as it is now and was of late: workers, rates against budgets, what holds it back, latency, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from lipika.db.connection import Database
from lipika.db.queries import load
from lipika.forecast.limits import ALL, LIMITS, Limit
from lipika.meters import percentile
from lipika.models import RATE_KINDS, Agreement

_QUERIES = load("stats_fleet")
_MANY = 1000


@dataclass(frozen=True, slots=True)
class ListeningState:
    """The state of a worker's comparison with a second recogniser, from `workers.alignment`.

    `state`: none (not asked for), loading, listening, off (switched off, `off_because`), or ended with its worker.
    """

    state: str
    every: int = 0  # it listens to every k-th clip; 0: to none
    clips: Mapping[str, int] = field(default_factory=dict)  # by class of agreement, all of them
    late: int = 0
    off_because: str = ""

    @classmethod
    def from_figures(cls, figures: Mapping[str, str | int | float | None] | None) -> ListeningState:
        """From a heartbeat's figures; None where it was not asked for."""
        if figures is None:
            return cls("none", clips={agreement.value: 0 for agreement in Agreement})
        clips = {agreement.value: int(figures.get(agreement.value) or 0) for agreement in Agreement}
        late, reason = int(figures.get("late") or 0), str(figures.get("off_because") or "")
        if reason:
            return cls("off", 0, clips, late, reason)
        if figures.get("device") is None:
            return cls("loading", 0, clips, late)
        return cls("listening", int(figures.get("every") or 1), clips, late)

    @property
    def compared(self) -> int:
        return sum(self.clips.values())

    @property
    def shares(self) -> dict[str, float]:
        """Shares (0..1) of the compared clips by class; empty before the first."""
        return {name: clips / self.compared for name, clips in self.clips.items()} if self.compared else {}

    @property
    def words(self) -> str:
        """Its work in words, for people."""
        if self.state == "listening":
            return "every clip" if self.every == 1 else f"1 clip in {self.every}"
        if self.state == "off":
            return f"switched off: {self.off_because}"
        return {"none": "off", "loading": "the model is being loaded"}.get(self.state, self.state)


@dataclass(frozen=True, slots=True)
class LimitInUse:
    """A limit that is set, and how much of it is used just now."""

    limit: Limit
    now: float
    most: float

    @property
    def share(self) -> float:
        """0..1 and, after the limit was lowered, above."""
        return self.now / self.most if self.most else 1.0


@dataclass(frozen=True, slots=True)
class ProviderNow:
    """One provider: what its live workers did in the last 60 s, and the budget that holds. None: no such limit."""

    provider: str
    workers: int  # live ones, those that drain included
    draining: int
    rpm: int
    tpm: int  # prompt tokens
    usd_per_minute: float
    clips_per_minute: int  # ended
    in_flight: int
    prompt_tokens: int
    cached_tokens: int
    limited_by: str | None  # what most of its workers wait for, in their words
    requests_per_minute: int | None
    tokens_per_minute: int | None
    spend_10min_usd: float | None
    spend_day_usd: float | None
    spend_total_usd: float | None
    paused: bool
    pause_reason: str | None
    usd_today: float
    usd_total: float

    @property
    def cache_rate(self) -> float | None:
        """Share (0..1) of the last minute's prompt tokens that came from the provider's cache."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else None

    @property
    def in_use(self) -> dict[str, float]:
        """The figure that each limit is for, by the limit's name, whether it is set or not."""
        return {
            "rpm": self.rpm,
            "tpm": self.tpm,
            "spend_10min": self.usd_per_minute * 10,
            "spend_day": self.usd_today,
            "spend_total": self.usd_total,
        }

    @property
    def uses(self) -> list[LimitInUse]:
        """Each limit that is set."""
        now = self.in_use
        limits = ((limit, getattr(self, limit.column)) for limit in LIMITS)
        return [LimitInUse(limit, now[limit.name], most) for limit, most in limits if most is not None]

    @property
    def used(self) -> dict[str, float]:
        """The used share of each limit that is set (0..1 and, after it was lowered, above)."""
        return {use.limit.name: use.share for use in self.uses}

    @property
    def binds(self) -> str:
        """The limit that is nearest to being used up; `paused`, or empty where there is no limit."""
        if self.paused:
            return "paused"
        used = self.used
        return max(used, key=lambda name: used[name]) if used else ""


@dataclass(frozen=True, slots=True)
class FailureCount:
    """Failed attempts of one kind."""

    kind: str
    last_minute: int
    total: int  # of all process lives

    @property
    def is_429(self) -> bool:
        return self.kind in RATE_KINDS


@dataclass(frozen=True, slots=True)
class FleetTotals:
    """All process lives there were. Live and draining ones are heard of, stale ones are not (for a day)."""

    live: int
    draining: int
    stale: int
    ended: int
    sent: int
    completed: int
    failed: int
    rate_limited: int
    cache_hits: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    spend_usd: float
    aligners: Mapping[
        str, int
    ]  # live workers that compare with a second recogniser, by the state of `ListeningState`
    aligned: Mapping[str, int]  # clips by class of agreement
    aligned_late: int


@dataclass(frozen=True, slots=True)
class FleetNow:
    """The fleet in one look."""

    totals: FleetTotals
    providers: tuple[ProviderNow, ...]
    failures: tuple[FailureCount, ...]
    latency_p50_ms: float | None  # of the last minute
    latency_p95_ms: float | None
    overall: ProviderNow | None = (
        None  # all providers together, where they have a budget; of its figures the dollars
    )

    @property
    def budgets(self) -> tuple[ProviderNow, ...]:
        """Whatever has limits: each provider, and all together."""
        return (*self.providers, *([self.overall] if self.overall else []))

    @property
    def clips_per_minute(self) -> int:
        return sum(provider.clips_per_minute for provider in self.providers)


@dataclass(frozen=True, slots=True)
class MinuteRow:
    """The whole fleet at the end of one minute: what happened in the 60 s before. Gaps are rows of zeros."""

    minute: datetime
    workers: int
    rpm: int
    tpm: int
    usd: float
    clips: int
    rate_limited: int
    errors: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One process life. `state`: live, draining, stale (online, but silent), offline or error."""

    worker_id: str
    instance_id: str
    state: str
    provider: str
    gpu_type: str | None
    silent_s: float  # since the last sign of life
    started_at: datetime
    stopped_at: datetime | None
    videos: int  # it holds
    first_videos: Sequence[str]  # up to five of them, those held longest
    segments_remaining: int | None
    active_rpm: int
    active_tpm: int
    active_usd: float  # of the last 60 s
    active_clips: int
    requests_in_flight: int
    limited_by: str | None
    total_segments_sent: int
    total_segments_completed: int
    total_segments_failed: int
    total_segments_429: int
    total_prompt_tokens: int
    total_cached_tokens: int
    total_output_tokens: int
    batches_completed: int
    avg_batch_latency_ms: float | None
    spend_usd: float
    last_error: str | None
    last_error_at: datetime | None
    drain_requested_at: datetime | None
    version: str
    recent_rpm: Sequence[int]  # one for each of the last minutes, oldest first
    alignment: Mapping[str, str | int | float | None] | None  # as the worker said it last

    @property
    def is_live(self) -> bool:
        return self.state in {"live", "draining"}

    @property
    def listening(self) -> ListeningState:
        found = ListeningState.from_figures(self.alignment)
        ended = self.state in {"offline", "error"} and found.state in {"loading", "listening"}
        return replace(found, state="ended", every=0) if ended else found


@dataclass(frozen=True, slots=True)
class _Counts:
    counts: list[int]


class FleetStats:
    """Reads `workers`, `worker_minutes`, budgets, and of the batches those of the last minutes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def now(self) -> FleetNow:
        """Rates, limits, refusals and latency of the last 60 s."""
        rows = self._database.rows
        totals, providers, failures, (latency,) = await asyncio.gather(
            self.totals(),
            rows(_QUERIES["now"], {}, ProviderNow),
            rows(_QUERIES["failures"], {}, FailureCount),
            rows(_QUERIES["latency"], {}, _Counts),
        )
        p50, p95 = (percentile(latency.counts, share) for share in (0.5, 0.95))
        each = tuple(row for row in providers if row.provider != ALL)
        overall = next((row for row in providers if row.provider == ALL), None)
        if overall is not None:
            usd = sum(row.usd_per_minute for row in each if row.provider != "simulator")
            overall = replace(overall, usd_per_minute=usd)
        return FleetNow(totals, each, tuple(failures), p50, p95, overall)

    async def totals(self) -> FleetTotals:
        return await self._database.row(_QUERIES["totals"], {}, FleetTotals)

    async def minutes(self, minutes: int = 60, provider: str | None = None) -> list[MinuteRow]:
        """The last whole minutes and the one under way, oldest first."""
        return await self._database.rows(
            _QUERIES["minutes"], {"minutes": minutes, "provider": provider}, MinuteRow
        )

    async def workers(self, *, minutes: int = 30, limit: int = _MANY) -> list[WorkerRow]:
        """Workers that are online, or were in the last hour; with the RPM of the last `minutes`."""
        return await self._database.rows(_QUERIES["workers"], {"minutes": minutes, "limit": limit}, WorkerRow)
