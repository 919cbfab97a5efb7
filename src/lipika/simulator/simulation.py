"""The simulated service behind both wire formats: one question in, one reply out. No HTTP, no waiting."""

from __future__ import annotations

import hashlib
import math
import random
import time
from collections.abc import Callable
from dataclasses import asdict, replace

import orjson

from lipika.models import Answer, ServiceTier, Usage
from lipika.simulator import mishaps
from lipika.simulator.answers import known_fields, list_in, transcribe, write_list
from lipika.simulator.config import Caching, Quotas, SimulatorConfig
from lipika.simulator.exchange import (
    Answered,
    Candidate,
    ClipAnswer,
    Delivery,
    Details,
    Ending,
    NamedClip,
    Question,
    Quota,
    Refusal,
    RefusalKind,
    SimulatedReply,
    Violation,
)
from lipika.simulator.faults import FaultKind, FaultPlan, FaultRule, Faults, Picked
from lipika.simulator.ledger import ServerCounts
from lipika.simulator.quotas import ProjectQuotas
from lipika.simulator.schema import instance
from lipika.simulator.tiers import place
from lipika.simulator.tokens import THOUGHT_TOKENS, Tokens, audio_tokens, prompt_tokens, text_tokens

Clock = Callable[[], float]

_REFUSAL_DELAY_S = 0.02
_HANG_S = 3600.0
_DRIP_S = 10.0
_MAX_CACHED_PREFIXES = 4096
_TEXT_ONLY = "Hello."  # what is said when there is no audio to transcribe


class Simulation:
    """Quotas, cache, faults and counters of one server, and the model that answers."""

    def __init__(self, config: SimulatorConfig, *, clock: Clock = time.monotonic):
        self._config = config
        self._clock = clock
        self._limits: dict[str, Quotas] = {}
        self._default_quotas = config.quotas
        self._plan = config.faults
        self.latency = config.latency
        self.flex = config.flex
        self.reset()

    def reset(self) -> None:
        """Forget all that has happened; keep limits and plan, which begin anew."""
        self.ledger = ServerCounts()
        self._quotas: dict[tuple[str, str], ProjectQuotas] = {}
        self._cache = ImplicitCache(self._config.caching, self._clock)
        self.set_faults(self._plan)

    def set_faults(self, plan: FaultPlan) -> None:
        """Put a plan in place of the present one; its clock starts now."""
        self._plan = plan
        self.faults = Faults(plan, seed=self._config.seed, clock=self._clock)

    def set_quotas(self, quotas: Quotas, project: str | None) -> None:
        """Set the limits of one project, or of all that have none of their own; their windows start empty."""
        if project is None:
            self._default_quotas = quotas
            self._quotas.clear()
            return
        self._limits[project] = quotas
        for key in [key for key in self._quotas if key[0] == project]:
            del self._quotas[key]

    def spent_usd(self, project: str) -> float:
        """The dollars that a project has used of its credit since the last reset."""
        return sum(state.spent_usd for (owner, _), state in self._quotas.items() if owner == project)

    def quotas_of(self, project: str) -> Quotas:
        return self._limits.get(project, self._default_quotas)

    def ask(self, question: Question) -> SimulatedReply:
        """Decide what becomes of a request. Its quota is taken, its cost booked and counted here."""
        attempt = self.ledger.attempt(question.digest)
        picked = self.faults.pick(question, attempt)
        kind = picked.main.kind if picked.main else None
        if picked.main and (refusal := _refusal_of(picked.main)):
            return SimulatedReply(refusal, Delivery(_REFUSAL_DELAY_S), str(kind))
        placed = place(self.flex, question, attempt, self._config.seed)
        if placed.shed:
            self.ledger.shed += 1
            return SimulatedReply(Refusal(RefusalKind.OVERLOADED), Delivery(_REFUSAL_DELAY_S))
        tokens = self._prompt(question)
        state = self._state(question)
        now = self._clock()
        refusal = state.admit(now, prompt_tokens=tokens.prompt, in_flight=self.ledger.in_flight - 1)
        if refusal:
            self.ledger.by_quota.update(violation.quota for violation in refusal.violations)
            return SimulatedReply(refusal, Delivery(_REFUSAL_DELAY_S))
        if question.server_timeout_s is not None and placed.wait_s >= question.server_timeout_s:
            return SimulatedReply(Refusal(RefusalKind.DEADLINE), Delivery(question.server_timeout_s))
        answered = self._answer(question, tokens, picked.main, placed.tier)
        state.spend(now, answered.cost_usd)
        self.ledger.answer(answered, question.digest)
        delay_s = placed.wait_s + self._latency_s(question, attempt, answered.tokens.output)
        return SimulatedReply(answered, _delivery(delay_s, picked), str(kind or ""))

    def _state(self, question: Question) -> ProjectQuotas:
        key = (question.project, question.model.model_id)
        if key not in self._quotas:
            self._quotas[key] = ProjectQuotas(self.quotas_of(question.project), self._clock())
        return self._quotas[key]

    def _prompt(self, question: Question) -> Tokens:
        """The prompt's tokens, of which some may come from the cache."""
        common = prompt_tokens(question.common_text)
        heard, model = question.heard, question.model
        audio = audio_tokens(heard.duration_s, model.audio_tokens_per_second) if heard else 0
        cached = self._cache.look_up(question, common)
        return Tokens(common + text_tokens(question.own_text), audio, cached, 0, 0)

    def _answer(
        self, question: Question, prompt: Tokens, rule: FaultRule | None, tier: ServiceTier
    ) -> Answered:
        mark = self._mark(question, b"answer")
        rng = random.Random(mark)
        candidate = self._candidate(question, rng, rule)
        thoughts = 0
        if not candidate.block_reason:
            usual = THOUGHT_TOKENS.get(question.thinking_level, THOUGHT_TOKENS["HIGH"])
            thoughts = round(usual * rng.uniform(0.5, 1.5))
        candidate, said, thoughts = _within_limit(candidate, thoughts, question.max_output_tokens)
        tokens = Tokens(prompt.text, prompt.audio, prompt.cached, said, thoughts)
        return Answered(
            answer_id=f"{mark:x}",
            candidate=candidate,
            tokens=tokens,
            cost_usd=_cost_usd(question, tokens, tier),
            tier=tier,
            model_version=mishaps.version_after(rule.kind if rule else None, self._config.model_version),
            avg_logprob=-rng.uniform(0.01, 0.3),
        )

    def _candidate(self, question: Question, rng: random.Random, rule: FaultRule | None) -> Candidate:
        if question.clips and question.schema is not None and list_in(question.schema) is not None:
            return self._several(question, rng, rule)
        answer = self._transcript(question, rng)
        if rule is None:
            return Candidate(_write_answer(question, answer, rng))
        kind = rule.kind
        if answer is not None:
            answer = mishaps.spoil_answer(kind, mishaps.Scene(answer, question, rng, rule.share))
        text = mishaps.spoil_text(kind, _write_answer(question, answer, rng))
        return mishaps.spoil_candidate(kind, Candidate(text))

    def _several(self, question: Question, rng: random.Random, rule: FaultRule | None) -> Candidate:
        """Several clips, each as it is answered alone; a fault in what is said befalls the first one."""
        answers = [self._answer_clip(question, clip) for clip in question.clips]
        if rule is not None:
            first = question.clips[0]
            scene = mishaps.Scene(answers[0].answer, replace(question, heard=first.heard), rng, rule.share)
            answers[0] = replace(answers[0], answer=mishaps.spoil_answer(rule.kind, scene))
            answers = mishaps.spoil_list(rule.kind, answers)
        text = write_list(question.schema or {}, answers, rng)
        if rule is None:
            return Candidate(text)
        return mishaps.spoil_candidate(rule.kind, Candidate(mishaps.spoil_text(rule.kind, text)))

    def _answer_clip(self, question: Question, clip: NamedClip) -> ClipAnswer:
        alone = replace(question, heard=clip.heard, digest=clip.heard.digest, clips=())
        answer = self._transcript(alone, random.Random(self._mark(alone, b"answer")))
        if answer is None:
            raise AssertionError("a clip that was heard has an answer")
        return ClipAnswer(clip.name, round(clip.heard.duration_s, 1), answer)

    def _transcript(self, question: Question, rng: random.Random) -> Answer | None:
        if question.heard is None:
            return None
        return transcribe(question.heard, question.language, rng, event_tag_rate=self._config.event_tag_rate)

    def _latency_s(self, question: Question, attempt: int, output_tokens: int) -> float:
        latency = self.latency
        mark = self._mark(question, b"latency%d" % attempt)
        first, second = (mark >> 32) + 1, mark & 0xFFFFFFFF
        normal = math.sqrt(-2 * math.log(first / 2**32)) * math.cos(2 * math.pi * second / 2**32)
        return (
            latency.median_s * math.exp(latency.sigma * normal) + latency.per_output_token_s * output_tokens
        )

    def _mark(self, question: Question, purpose: bytes) -> int:
        """A number decided by seed, audio, model and purpose alone: the same through either API."""
        model = question.model.model_id.rpartition("/")[2]
        text = b"%d/%b/%b/" % (self._config.seed, model.encode(), purpose)
        return int.from_bytes(hashlib.blake2b(text + question.digest, digest_size=8).digest(), "big")


class ImplicitCache:
    """Remembers common prefixes per project and model, as a service may that promises nothing.

    A request hits when its system instruction is long enough and was seen within the time to live; then the
    whole instruction counts as cached, in whole blocks. The first request with a prefix never hits.
    """

    def __init__(self, caching: Caching, clock: Clock):
        self._caching = caching
        self._clock = clock
        self._seen: dict[tuple[str, str, str], float] = {}

    def look_up(self, question: Question, tokens: int) -> int:
        """Cached tokens of a request whose common prefix has so many; remembers the prefix."""
        minimum = self._caching.min_tokens
        if tokens < (question.model.cache_minimum_tokens if minimum is None else minimum):
            return 0
        key = (question.project, question.model.model_id, question.common_text)
        now = self._clock()
        last = self._seen.pop(key, None)
        self._seen[key] = now
        if len(self._seen) > _MAX_CACHED_PREFIXES:
            del self._seen[next(iter(self._seen))]  # the one unused for longest
        if last is None or now - last > self._caching.ttl_s:
            return 0
        lucky = int.from_bytes(question.digest[8:12], "big") / 2**32 < self._caching.hit_rate
        block = max(self._caching.block_tokens, 1)
        return tokens // block * block if lucky else 0


def _write_answer(question: Question, answer: Answer | None, rng: random.Random) -> str:
    """The answer as the request wants it: JSON by its schema, JSON without one, or plain text."""
    if not question.wants_json:
        return answer.transcription if answer else _TEXT_ONLY
    if question.schema is None:
        return orjson.dumps(asdict(answer) if answer else {"text": _TEXT_ONLY}).decode()
    known = known_fields(answer) if answer else {}
    return orjson.dumps(instance(question.schema, known, rng)).decode()


def _within_limit(candidate: Candidate, thoughts: int, limit: int | None) -> tuple[Candidate, int, int]:
    """Candidate, its tokens and the thoughts' after the output limit, which counts both, has been applied."""
    said = text_tokens(candidate.text)
    if limit is None or said + thoughts <= limit:
        return candidate, said, thoughts
    thoughts = min(thoughts, limit)
    left = limit - thoughts
    text = candidate.text[: len(candidate.text) * left // said] if said else ""
    return Candidate(text, "MAX_TOKENS", shape=candidate.shape), min(text_tokens(text), left), thoughts


def _cost_usd(question: Question, tokens: Tokens, tier: ServiceTier) -> float:
    usage = Usage(
        prompt=tokens.prompt,
        prompt_text=tokens.text,
        prompt_audio=tokens.audio,
        cached=tokens.cached,
        output=tokens.output,
        thoughts=tokens.thoughts,
    )
    return question.model.cost_usd(usage, tier)


_ENDINGS = {
    FaultKind.HANG: Ending.HANG_UP,
    FaultKind.RESET: Ending.RESET,
    FaultKind.CUT_BODY: Ending.CUT,
    FaultKind.HTML: Ending.HTML,
}


def _delivery(delay_s: float, picked: Picked) -> Delivery:
    main, timing = picked.main, picked.timing
    drip_s = 0.0
    if timing and timing.kind is FaultKind.STRAGGLER:
        delay_s *= timing.factor
    if timing and timing.kind is FaultKind.SLOW_BODY:
        drip_s = _DRIP_S if timing.delay_s is None else timing.delay_s
    if main and main.kind is FaultKind.HANG:
        delay_s = _HANG_S if main.delay_s is None else main.delay_s
    return Delivery(delay_s, drip_s, _ENDINGS.get(main.kind, Ending.REPLY) if main else Ending.REPLY)


# ----------------------------------------------------------------------------- faults that refuse

_REQUESTS = Violation(Quota.REQUESTS_PER_MINUTE, 1000)
_TOKENS = Violation(Quota.TOKENS_PER_MINUTE, 1_000_000)
_DAY = Violation(Quota.REQUESTS_PER_DAY, 10_000)

_REFUSALS: dict[FaultKind, Refusal] = {
    FaultKind.RATE_MINUTE: Refusal(RefusalKind.RATE, (_REQUESTS,), 34.07),
    FaultKind.RATE_TOKENS: Refusal(RefusalKind.RATE, (_TOKENS,), 12.5),
    FaultKind.RATE_DAY: Refusal(RefusalKind.RATE, (_DAY,), 7 * 3600.0),
    FaultKind.RATE_SEVERAL: Refusal(RefusalKind.RATE, (_REQUESTS, _TOKENS, _DAY), 7 * 3600.0),
    FaultKind.RATE_BARE: Refusal(RefusalKind.RATE, details=Details.BARE),
    FaultKind.RATE_MESSAGE: Refusal(RefusalKind.RATE, (_REQUESTS,), 1.68, Details.MESSAGE),
    FaultKind.SPEND: Refusal(RefusalKind.SPEND),
    FaultKind.OVERLOADED: Refusal(RefusalKind.OVERLOADED),
    FaultKind.INTERNAL: Refusal(RefusalKind.INTERNAL),
    FaultKind.DEADLINE: Refusal(RefusalKind.DEADLINE),
    FaultKind.BUSY: Refusal(RefusalKind.BUSY),
    FaultKind.BAD_REQUEST: Refusal(RefusalKind.BAD_REQUEST),
    FaultKind.KEY_INVALID: Refusal(RefusalKind.KEY_INVALID),
    FaultKind.PERMISSION: Refusal(RefusalKind.PERMISSION),
    FaultKind.REGION: Refusal(RefusalKind.REGION),
    FaultKind.MODEL_GONE: Refusal(RefusalKind.MODEL_GONE),
    FaultKind.PAYMENT: Refusal(RefusalKind.PAYMENT),
    FaultKind.MODERATION: Refusal(RefusalKind.MODERATION),
}


def _refusal_of(rule: FaultRule) -> Refusal | None:
    refusal = _REFUSALS.get(rule.kind)
    if refusal is None or rule.retry_after_s is None:
        return refusal
    return Refusal(refusal.kind, refusal.violations, rule.retry_after_s, refusal.details)
