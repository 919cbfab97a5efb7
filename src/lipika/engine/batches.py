"""Batch windows: what may be launched in each, and what came of it, however late the answer."""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from lipika import meters
from lipika.engine.pacing import Pacer
from lipika.models import (
    BatchReport,
    Failure,
    Judged,
    ModelSums,
    ServiceTier,
    TierSums,
    Usage,
    add_to_tier,
)

_FLOOD_SHARE = 0.10
_FLOOD_LEAST = 10


@dataclass(slots=True, eq=False)
class Batch:
    """One accounting window while it is open. Times are the engine's monotonic seconds unless said otherwise."""

    worker_id: str
    window_start: float
    window_end: float
    started_at: float  # Unix time
    batch_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    first_attempts: int = 0
    retries: int = 0
    in_flight: int = 0
    returned: int = 0
    rate_limited: int = 0
    errors: int = 0
    cache_hits: int = 0
    usage: Usage = Usage()
    cost_usd: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    last_answer: float = 0.0
    videos: set[str] = field(default_factory=set)
    sent_to: Counter[str] = field(default_factory=Counter)
    refused_by: Counter[str] = field(default_factory=Counter)
    failure_kinds: Counter[str] = field(default_factory=Counter)
    scores: list[float] = field(default_factory=list)
    tiers: dict[str, TierSums] = field(default_factory=dict)
    models: dict[str, ModelSums] = field(default_factory=dict)  # of a cascade

    def note_launch(self, video_id: str, provider: str, *, first: bool) -> None:
        if first:
            self.first_attempts += 1
        else:
            self.retries += 1
        self.in_flight += 1
        self.videos.add(video_id)
        self.sent_to[provider] += 1

    def note_end(
        self,
        now: float,
        latency_ms: float,
        usage: Usage,
        cost_usd: float,
        tier: ServiceTier = ServiceTier.STANDARD,
    ) -> None:
        """An attempt has come back, for good or bad; `tier` is what was served."""
        self.in_flight -= 1
        self.last_answer = now
        self.latencies_ms.append(latency_ms)
        self.usage += usage
        self.cost_usd += cost_usd
        self.cache_hits += usage.cached > 0
        add_to_tier(self.tiers, tier, usage, cost_usd)

    def note_doubt(self) -> None:
        """An answer came, but one more attempt may bring a better one."""
        self.failure_kinds["doubted"] += 1

    def note_step_up(self) -> None:
        """An attempt has ended without an answer that will do, and a better model is asked for its clip."""
        self.failure_kinds["went_up"] += 1

    def note_cancellation(self, cost_usd: float) -> None:
        """An attempt was given up under way; `cost_usd` is a guess, and of no tier."""
        self.in_flight -= 1
        self.errors += 1
        self.failure_kinds["cancelled"] += 1
        self.cost_usd += cost_usd

    def note_acceptance(self, judged: Judged) -> None:
        self.returned += 1
        self.scores.append(judged.verdict.quality_score)

    def note_failure(self, failure: Failure, provider: str) -> None:
        self.failure_kinds[failure.kind] += 1
        if failure.rule.is_429:
            self.rate_limited += 1
            self.refused_by[provider] += 1
        else:
            self.errors += 1

    def is_flooded(self, provider: str) -> bool:
        """Over a tenth of what this window sent there was answered 429; a handful of answers proves nothing."""
        refused = self.refused_by[provider]
        return refused >= _FLOOD_LEAST and refused > _FLOOD_SHARE * self.sent_to[provider]

    def closable(self, now: float) -> bool:
        return self.in_flight == 0 and now >= self.window_end

    def report(self) -> BatchReport:
        """The finished window as one row."""
        latencies = sorted(self.latencies_ms)
        scores = self.scores
        return BatchReport(
            batch_id=self.batch_id,
            worker_id=self.worker_id,
            video_ids=tuple(sorted(self.videos)),
            started_at=self.started_at,
            segments_sent=self.first_attempts + self.retries,
            segments_returned=self.returned,
            segments_429=self.rate_limited,
            segments_error=self.errors,
            segments_retried=self.retries,
            provider_used=_provider_used(self.sent_to),
            cache_hits=self.cache_hits,
            usage=self.usage,
            cost_usd=self.cost_usd,
            avg_latency_ms=sum(latencies) / len(latencies) if latencies else 0.0,
            p95_latency_ms=latencies[int(0.95 * (len(latencies) - 1))] if latencies else 0.0,
            batch_duration_ms=max(round((self.last_answer - self.window_start) * 1000), 0),
            failure_kinds=dict(self.failure_kinds),
            validation_scores=(
                {
                    "count": len(scores),
                    "mean": sum(scores) / len(scores),
                    "min": min(scores),
                    "max": max(scores),
                }
                if scores
                else {"count": 0}
            ),
            latency_counts=tuple(meters.count(latencies)),
            tiers=self.tiers,
            models=self.models,
        )


def _provider_used(providers: Counter[str]) -> str:
    if not providers:
        return "none"
    return next(iter(providers)) if len(providers) == 1 else "mixed"


class Windows:
    """Time cut into windows of one length: first attempts that may still go in this one, and batches not yet over.

    A window has a batch from its first launch on, until it is past and all that was launched in it is back: windows
    overlap, and the next starts on time whatever stragglers remain. `now` is the engine's monotonic clock.
    """

    def __init__(self, worker_id: str, size: int, interval_s: float, *, burst: bool, now: float):
        self._worker_id = worker_id
        self._size = size
        self._interval_s = interval_s
        self._burst = burst
        self._origin = now
        self._pacer = Pacer(size, interval_s, burst=burst, now=now)
        self._batches: list[Batch] = []

    def current(self, now: float) -> Batch | None:
        """The batch of the window that `now` lies in, if anything was launched in it."""
        return self._batches[-1] if self._batches and now < self._batches[-1].window_end else None

    def open(self, now: float, unix_s: float) -> Batch:
        """The batch of the window that `now` lies in, opened at its first launch."""
        batch = self.current(now)
        if batch is None:
            start = self._origin + (now - self._origin) // self._interval_s * self._interval_s
            batch = Batch(self._worker_id, now, start + self._interval_s, unix_s)
            self._batches.append(batch)
        return batch

    def slot_delay(self, now: float) -> float:
        """Seconds until a first attempt may be launched: the pacer's slot, and room in the window's batch."""
        batch = self.current(now)
        if batch is not None and batch.first_attempts >= self._size:
            return batch.window_end - now
        return self._pacer.delay(now)

    def use_slot(self, now: float) -> None:
        """Use up the slot of one first attempt."""
        self._pacer.note_launch(now)

    def most_slots(self, seconds: float) -> int:
        """First attempts that may be launched within so many seconds, at most."""
        return self._size if self._burst else math.ceil(self._size / self._interval_s * seconds)

    def is_flooded(self, provider: str, now: float) -> bool:
        """True if over a tenth of what this window sent to a provider was answered 429."""
        batch = self.current(now)
        return batch is not None and batch.is_flooded(provider)

    def is_open(self, batch: Batch) -> bool:
        """True if the batch has not been closed."""
        return batch in self._batches

    def close(self, now: float) -> Iterator[Batch]:
        """Yield the batches that are over by now, one by one as they are closed."""
        for batch in [batch for batch in self._batches if batch.closable(now)]:
            self._batches.remove(batch)
            yield batch
