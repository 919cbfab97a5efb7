"""A clip on its way through the engine: what has been tried for it, and the best of what was paid for."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field, replace

from lipika.engine.batches import Batch
from lipika.engine.evidence import Refused
from lipika.engine.outcome import Accept, Circumstances, OnDoubt, Outcome
from lipika.llm.provider import TranscriptionRequest, TranscriptionResponse
from lipika.models import AskedModel, Failure, Judged, Usage


@dataclass(frozen=True, slots=True)
class PaidAnswer:
    """An acceptable answer and where it came from."""

    judged: Judged
    response: TranscriptionResponse
    batch: Batch

    @property
    def rank(self) -> tuple[bool, bool, float]:
        return self.judged.rank


@dataclass(slots=True)
class Account:
    """The account of one model for a clip: tokens, dollars, and the best that came of them."""

    model_id: str
    usage: Usage = Usage()
    cost_usd: float = 0.0
    best: PaidAnswer | None = None
    because: str = ""  # why its answer was not the end, or there is none
    attempts: int = 0
    answered: bool = False  # it has spoken of the clip, if only to refuse it

    def aside(self) -> Outcome | None:
        """Its answer, where another's was chosen."""
        if self.best is None:
            return None
        response = self.best.response
        return Outcome(
            judged=self.best.judged,
            failure=None,
            usage=self.usage,
            cost_usd=self.cost_usd,
            attempts=self.attempts,
            provider=response.provider,
            model_version=response.model_version,
            batch_id=self.best.batch.batch_id,
            latency_ms=response.latency_ms,
            tier=response.tier,
            model_id=self.model_id,
        )


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
    step: int = 0  # the model of the cascade that is asked now
    accounts: list[Account] = field(default_factory=list)  # of the models that were asked, in order
    before: Judged | None = None  # what a model before has said of this audio, paid for elsewhere

    @property
    def is_over(self) -> bool:
        """True if it has ended, or nobody waits for it any more."""
        return self.done.done()

    @property
    def circumstances(self) -> Circumstances:
        """The way in which it is asked for now."""
        before = self.best.judged if self.best is not None else self.before
        return Circumstances(self.varied, bool(self.refused_by), before)

    @property
    def cost_usd(self) -> float:
        """All that it has cost."""
        return math.fsum(account.cost_usd for account in self.accounts)

    def send_elsewhere(self, refused_by: str, failure: Failure | None, now: float) -> None:
        """From now on another provider is asked, whose patience is its own."""
        self.refused_by |= {refused_by}
        self.refusal, self.elsewhere_since = failure, now
        self._begin_anew()

    def step_up(self, because: str) -> None:
        """From now on the next model is asked, for the first time and by any provider."""
        self.accounts[-1].because = because
        self.step += 1
        self.refused_by, self.refusal, self.elsewhere_since = frozenset(), None, None
        self.last_batch = None  # it goes as soon as it may: of this model there was no attempt in any window
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.first_asked_at = None
        self.refused.clear()
        self.counted = self.waits = self.in_vain = 0

    def vary(self) -> None:
        """From now on ask in other words."""
        self.varied = True
        words = self.request.varied_prompt or self.request.clip_prompt
        self.request = replace(self.request, varied=True, clip_prompt=words)

    def meter(self, model_id: str, response: TranscriptionResponse, cost_usd: float) -> None:
        """Add an attempt at the model that is asked now."""
        if not self.accounts or self.accounts[-1].model_id != model_id:
            self.accounts.append(Account(model_id))
        account, failure = self.accounts[-1], response.failure
        account.usage += response.usage
        account.cost_usd += cost_usd
        account.attempts += 1
        account.answered |= failure is None or failure.rule.is_the_clips

    def remember(self, answer: PaidAnswer) -> None:
        """Keep the better of two acceptable answers."""
        if self.best is None or answer.rank > self.best.rank:
            self.best = answer
        if self.accounts:
            mine = self.accounts[-1]
            mine.best = answer if mine.best is None or answer.rank > mine.best.rank else mine.best

    def decisive_failure(self, failure: Failure) -> Failure:
        """The first provider's word, where the other one spoke of itself and not of the clip."""
        return failure if self.refusal is None or failure.rule.is_the_clips else self.refusal

    def outcome(
        self, batch: Batch, response: TranscriptionResponse, judged: Judged | None, failure: Failure | None
    ) -> Outcome:
        """Its end with this answer or this failure, at the cost of all its attempts so far but those that have left
        another model's answer."""
        own = next((one for one in self.accounts if one.best is not None and one.best is self.best), None)
        own = own or (self.accounts[-1] if self.accounts else Account(""))
        others = [(one, one.aside()) for one in self.accounts if one is not own]
        mine = [own, *(one for one, answer in others if answer is None)]
        return Outcome(
            judged=judged,
            failure=failure,
            usage=sum((one.usage for one in mine), Usage()),
            cost_usd=math.fsum(one.cost_usd for one in mine),
            attempts=self.attempts,
            provider=response.provider,
            model_version=response.model_version,
            batch_id=batch.batch_id,
            latency_ms=response.latency_ms,
            tier=response.tier,
            model_id=own.model_id,
            cascade=self._cascade(),
            aside=tuple(answer for _, answer in others if answer is not None),
        )

    def _cascade(self) -> tuple[AskedModel, ...]:
        if len(self.accounts) < 2:
            return ()
        return tuple(
            AskedModel(one.model_id, one.cost_usd, one.because, one.answered) for one in self.accounts
        )
