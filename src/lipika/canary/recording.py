"""The memory of a canary for each request, and the row that is made of a clip's end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lipika.canary.arms import Arm
from lipika.canary.records import Asked
from lipika.canary.sample import SampledClip
from lipika.engine.outcome import Circumstances, Outcome, Review
from lipika.llm.capabilities import Capabilities
from lipika.llm.provider import BaseProvider, TranscriptionRequest, TranscriptionResponse
from lipika.models import Failure, Judged, Usage
from lipika.pipeline import question
from lipika.validation.bands import Bands


@dataclass(frozen=True, slots=True)
class PaidAttempt:
    """One attempt as it was answered, or failed."""

    failure: Failure | None
    usage: Usage
    latency_ms: float


class Recorder(BaseProvider):
    """A provider that remembers every attempt; it changes nothing. Its provider is opened and closed elsewhere.

    `beside`: the recorder of another model of the same arm, which knows of these attempts, too.
    """

    def __init__(
        self, provider: BaseProvider, capabilities: Capabilities, beside: Recorder | None = None
    ) -> None:
        self._provider = provider
        self._capabilities = capabilities
        self.attempts: dict[str, list[PaidAttempt]] = {} if beside is None else beside.attempts
        self.usd = 0.0

    async def transcribe(self, request: TranscriptionRequest) -> TranscriptionResponse:
        response = await self._provider.transcribe(request)
        self.usd += self._capabilities.cost_usd(response.usage, response.tier)
        attempt = PaidAttempt(response.failure, response.usage, response.latency_ms)
        self.attempts.setdefault(request.clip_id, []).append(attempt)
        return response

    def attempts_at(self, clip_id: str) -> Sequence[PaidAttempt]:
        """The attempts at one clip, which is over."""
        return self.attempts.pop(clip_id, ())

    def get_provider_name(self) -> str:
        return self._provider.get_provider_name()


@dataclass(slots=True)
class ClipView:
    """Reviews the answers to one clip as the pipeline does, and keeps the first one as it was."""

    sampled: SampledClip
    bands: Bands
    first: Judged | Failure | None = None
    before: Judged | None = None  # an answer that this clip has from elsewhere, and that is doubted
    unreadable: list[str] = field(default_factory=list)  # kinds of answers that the parser refused
    texts: list[str] = field(default_factory=list)  # of those that it read
    is_last: bool = False  # nothing more is asked, whatever comes

    def review(self, text: str, asked: Circumstances) -> Review | Failure:
        """An arm has one provider: no other can be asked."""
        alone = replace(
            asked, varied=asked.varied or self.is_last, switched=True, before=asked.before or self.before
        )
        found = question.review(text, self.sampled.clip, self.sampled.language, self.bands, alone)
        self.first = self.first or (found if isinstance(found, Failure) else found.judged)
        if isinstance(found, Failure):
            self.unreadable.append(str(found.kind))
        else:
            self.texts.append(found.judged.answer.transcription)
        return found


@dataclass(frozen=True, slots=True)
class ClipEnd:
    """The end of one clip in one arm, with all that it took."""

    judged: Judged | None
    requests: int
    usage: Usage
    cost_usd: float
    provider: str
    model_version: str
    went_up: bool = False

    @classmethod
    def from_outcome(cls, outcome: Outcome) -> ClipEnd:
        return cls(
            outcome.judged,
            outcome.attempts,
            sum((other.usage for other in outcome.aside), outcome.usage),
            math.fsum((outcome.cost_usd, *(other.cost_usd for other in outcome.aside))),
            outcome.provider,
            outcome.model_version,
            len(outcome.cascade) > 1,
        )


def row_of(
    arm: Arm,
    sampled: SampledClip,
    ending: ClipEnd,
    attempts: Sequence[PaidAttempt],
    first: Judged | Failure | None,
    unreadable: Sequence[str],
) -> Asked:
    """The row of a clip. `first`: what its first answer came to; `unreadable` answers that were none, by kind."""
    verdict = ending.judged.verdict if ending.judged else None
    lanes = (
        {}
        if verdict is None
        else {"asr": verdict.asr, "tts_clean": verdict.tts_clean, "tts_expressive": verdict.tts_expressive}
    )
    answered = [one for one in attempts if one.failure is None or one.failure.http_status == 200]
    failed = [one.failure for one in attempts if one.failure is not None]
    return Asked(
        arm=arm.name,
        video_id=sampled.video_id,
        segment_file=f"{sampled.clip.name.stem}.flac",
        language=sampled.language,
        duration_ms=sampled.clip.duration_ms,
        status=str(question.status_of(ending.judged)),
        provider=ending.provider,
        model_version=ending.model_version,
        requests=ending.requests,
        rate_limited=sum(one.rule.is_429 for one in failed),
        failure_kinds=(*(str(one.kind) for one in failed if not one.rule.is_429), *unreadable),
        latencies_ms=tuple(round(one.latency_ms, 1) for one in answered),
        cache_hits=sum(one.usage.cached > 0 for one in answered),
        usage=ending.usage,
        cost_usd=ending.cost_usd,
        first_findings=_codes(first),
        first_failure=_first_failure(first, answered),
        quality_score=verdict.quality_score if verdict else None,
        findings=_codes(ending.judged),
        lanes=tuple(name for name, lane in lanes.items() if lane.eligible),
        detected_language=ending.judged.answer.detected_language if ending.judged else "",
        transcription=ending.judged.answer.transcription if ending.judged else "",
        went_up=ending.went_up,
    )


def _codes(seen: Judged | Failure | None) -> tuple[str, ...]:
    return tuple(found.code for found in seen.verdict.findings) if isinstance(seen, Judged) else ()


def _first_failure(first: Judged | Failure | None, answered: Sequence[PaidAttempt]) -> str:
    """Why the first answer could not be read: the provider's word, or the parser's."""
    if answered and answered[0].failure is not None:
        return str(answered[0].failure.kind)
    return (first.code or str(first.kind)) if isinstance(first, Failure) else ""
