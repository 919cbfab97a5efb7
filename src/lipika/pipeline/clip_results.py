"""Results of clips: made of a new answer, or of one that was paid for before."""

from __future__ import annotations

from lipika import validation
from lipika.alignment.voters import apply_alignment
from lipika.db.result_rows import StoredAnswer
from lipika.engine.outcome import Outcome
from lipika.llm import prompt, transcript
from lipika.models import Clip, ClipResult, Judged, Provenance
from lipika.pipeline import question
from lipika.pipeline.tools import Tools


def make_reused(
    video_id: str, clip: Clip, language: str | None, former: StoredAnswer, tools: Tools
) -> ClipResult:
    """An earlier answer to the very same audio, prompt and model; judged anew, not paid again."""
    if former.answer is None:
        raise AssertionError("an answer that fits has a text")
    answer = transcript.tidy_answer(former.answer)
    verdict = validation.validate(answer, clip, language, bands=tools.limits.bands)
    result = ClipResult(
        video_id=video_id,
        clip=clip,
        language_hint=language or "",  # by which it is judged now
        status=question.status_of(Judged(answer, verdict)),
        answer=answer,
        verdict=verdict,
        failure=None,
        usage=former.usage,
        cost_usd=former.cost_usd,
        provenance=former.provenance,
        reused=True,
        text_source=former.text_source,
    )
    return apply_alignment(result, former.alignment)


def make_result(
    video_id: str, clip: Clip, language: str | None, outcome: Outcome, tools: Tools
) -> ClipResult:
    """The result that an outcome makes of a clip; what other models have said of it stands beside."""
    judged, asked = outcome.judged, tools.asked_as
    return ClipResult(
        video_id=video_id,
        clip=clip,
        language_hint=language or "",
        status=question.status_of(judged),
        answer=judged.answer if judged else None,
        verdict=judged.verdict if judged else None,
        failure=outcome.failure,
        usage=outcome.usage,
        cost_usd=outcome.cost_usd,
        provenance=Provenance(
            provider=outcome.provider,
            model_id=outcome.model_id or asked.model_id,
            model_version=outcome.model_version,
            prompt_version=prompt.prompt_version(asked.answer, own=asked.own, language=language),
            schema_version=transcript.schema_version(asked.answer),
            temperature=asked.temperature,
            thinking_level=asked.thinking_level,
            worker_id=tools.worker_id,
            batch_id=outcome.batch_id,
            attempts=outcome.attempts,
            latency_ms=round(outcome.latency_ms),
            service_tier=outcome.tier,
            cascade=outcome.cascade,
        ),
        aside=tuple(make_result(video_id, clip, language, other, tools) for other in outcome.aside),
    )
