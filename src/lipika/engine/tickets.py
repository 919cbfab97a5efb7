"""A clip on its way through the engine: what has been tried for it, and the best of what was paid for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from lipika.engine.batches import Batch
from lipika.engine.evidence import Refused
from lipika.engine.outcome import Accept, Circumstances, OnDoubt, Outcome
from lipika.llm.provider import TranscriptionRequest, TranscriptionResponse
from lipika.models import Failure, Judged, Severity, Usage


@dataclass(frozen=True, slots=True)
class PaidAnswer:
    """An acceptable answer and where it came from."""

    judged: Judged
    response: TranscriptionResponse
    batch: Batch

    @property
    def rank(self) -> tuple[bool, bool, float]:
        return rank_of(self.judged)


def rank_of(judged: Judged) -> tuple[bool, bool, float]:
    """Open for training first, then nothing doubted, then the score: more text alone is no better answer."""
    verdict = judged.verdict
    settled = all(found.severity is Severity.INFO for found in verdict.findings)
    return verdict.asr.eligible, settled, verdict.quality_score


@dataclass(slots=True, eq=False)
class Ticket:
    """One clip on its way, from the call for it until `done` is set."""

    request: TranscriptionRequest
    accept: Accept
    on_doubt: OnDoubt
    done: asyncio.Future[Outcome]
    attempts: int = 0  # requests sent
    failures: int = 0  # of any kind
    counted: int = 0  # failures that use up a retry
    waits: int = 0  # failures that do not
    in_vain: int = 0  # refused as a probe of a service that is down
    varied: bool = False
    escalated: bool = False  # it goes on at the standard tier
    refused_by: frozenset[str] = frozenset()  # providers that would not or could not answer this clip
    first_asked_at: float | None = None  # of the provider that is asked now
    refused: dict[str, Refused] = field(default_factory=dict)  # by provider: how often it was put off there
    elsewhere_since: float | None = None
    refusal: Failure | None = None  # why it was sent elsewhere
    last_response: TranscriptionResponse | None = None
    last_batch: Batch | None = None
    best: PaidAnswer | None = None  # paid for already, kept unless a better one comes
    usage: Usage = Usage()
    cost_usd: float = 0.0

    @property
    def is_over(self) -> bool:
        """True if it has ended, or nobody waits for it any more."""
        return self.done.done()

    @property
    def circumstances(self) -> Circumstances:
        """The way in which it is asked for now."""
        before = self.best.judged if self.best is not None else None
        return Circumstances(self.varied, bool(self.refused_by), before)

    def send_elsewhere(self, refused_by: str, failure: Failure | None, now: float) -> None:
        """From now on another provider is asked, whose patience is its own."""
        self.refused_by |= {refused_by}
        self.refusal, self.elsewhere_since = failure, now
        self.first_asked_at = None
        self.refused.clear()
        self.counted = self.waits = self.in_vain = 0

    def vary(self) -> None:
        """From now on ask in other words."""
        self.varied = True
        words = self.request.varied_prompt or self.request.clip_prompt
        self.request = replace(self.request, varied=True, clip_prompt=words)

    def remember(self, answer: PaidAnswer) -> None:
        """Keep the better of two acceptable answers."""
        if self.best is None or answer.rank > self.best.rank:
            self.best = answer

    def decisive_failure(self, failure: Failure) -> Failure:
        """The first provider's word, where the other one spoke of itself and not of the clip."""
        return failure if self.refusal is None or failure.rule.is_the_clips else self.refusal

    def outcome(
        self, batch: Batch, response: TranscriptionResponse, judged: Judged | None, failure: Failure | None
    ) -> Outcome:
        """Its end with this answer or this failure, at the cost of all its attempts so far."""
        return Outcome(
            judged=judged,
            failure=failure,
            usage=self.usage,
            cost_usd=self.cost_usd,
            attempts=self.attempts,
            provider=response.provider,
            model_version=response.model_version,
            batch_id=batch.batch_id,
            latency_ms=response.latency_ms,
            tier=response.tier,
        )
