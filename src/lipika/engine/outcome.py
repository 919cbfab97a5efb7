"""The words between the engine and its callers: how it is set, how an answer is reviewed, how a clip has ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from lipika.engine.retries import RetryPolicy
from lipika.meters import PLACES, place
from lipika.models import (
    Advice,
    AskedModel,
    BatchReport,
    Failure,
    Judged,
    ModelSums,
    ServiceTier,
    TierSums,
    Usage,
    add_to_tier,
)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine paces itself."""

    batch_size: int = 1000  # first attempts per window
    interval_s: float = 60.0
    burst: bool = False
    retry: RetryPolicy = RetryPolicy()
    bad_requests_in_a_row: int = 20  # then the worker stops: it is the request that is wrong, not the clip


# ----------------------------------------------------------------------------- one clip


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The way in which the answer under review was asked for: what has been tried for its clip already.

    `varied`: in other words and at the model's own temperature, which is done once for a clip.
    `before`: the best answer so far, to the question in the words before.
    `switched`: of another provider than the one preferred, or there is no other: no switch is left to be made.
    """

    varied: bool = False
    switched: bool = False
    before: Judged | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """A readable answer as its caller sees it. One that is not acceptable never ends a clip."""

    judged: Judged
    advice: Advice = Advice.KEEP
    acceptable: bool = True


Accept = Callable[[str, Circumstances], Review | Failure]
"""Reviews an answer's text; or says why it is no answer at all."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one clip. Exactly one of `judged` and `failure` is set; usage and cost sum all attempts.

    In a cascade they sum those at the model that has ended it and at models of which no answer is left; answers of
    the others are `aside`, each at its own cost, so that nothing is counted twice.
    """

    judged: Judged | None
    failure: Failure | None
    usage: Usage
    cost_usd: float
    attempts: int
    provider: str
    model_version: str
    batch_id: str
    latency_ms: float  # of the last attempt
    tier: ServiceTier = ServiceTier.STANDARD  # that the answer was served at
    model_id: str = ""  # whose answer it is, or who failed last
    cascade: tuple[AskedModel, ...] = ()  # all that were asked, where it was more than one
    aside: tuple[Outcome, ...] = ()  # paid answers of the others


OnDoubt = Callable[[Outcome], object]
"""Told of an answer that could end its clip, before the clip is asked once more; its figures are those so far."""


# ----------------------------------------------------------------------------- all clips


@dataclass(frozen=True, slots=True)
class Alert:
    """Something a person should know now. `code` is stable."""

    code: str  # model_changed, provider_parked, provider_closed, flood
    message: str


@dataclass(frozen=True, slots=True)
class Events:
    """Who is told of what. Called in the loop; must not block."""

    on_batch: Callable[[BatchReport], object] = lambda _report: None
    on_alert: Callable[[Alert], object] = lambda _alert: None


@dataclass(slots=True)
class Totals:
    """Counters since the start, for progress, heartbeats and summaries."""

    requests: int = 0
    returned: int = 0
    rate_limited: int = 0
    errors: int = 0
    retries: int = 0
    failed: int = 0
    cache_hits: int = 0
    batches: int = 0
    latency_ms: float = 0.0  # sum over all attempts
    latency_counts: list[int] = field(default_factory=lambda: [0] * PLACES)  # attempts
    usage: Usage = Usage()
    cost_usd: float = 0.0
    failure_kinds: Counter[str] = field(default_factory=Counter)
    model_versions: Counter[str] = field(default_factory=Counter)
    providers: Counter[str] = field(default_factory=Counter)  # attempts
    escalated: int = 0  # requests at the standard tier where Flex is asked else
    tiers: dict[str, TierSums] = field(default_factory=dict)  # by the tier that was served
    models: dict[str, ModelSums] = field(default_factory=dict)  # of a cascade, by model

    def add(self, usage: Usage, usd: float, tier: ServiceTier, latency_ms: float) -> None:
        """Meter one attempt that came back, whatever came of it."""
        add_to_tier(self.tiers, tier, usage, usd)
        self.usage += usage
        self.cost_usd += usd
        self.cache_hits += usage.cached > 0
        self.latency_ms += latency_ms
        self.latency_counts[place(latency_ms)] += 1
