"""Replies to `generateContent`, and the models as `models.get` and `models.list` describe them."""

from __future__ import annotations

import orjson

from lipika.llm.capabilities import Capabilities
from lipika.simulator.exchange import Answered, Candidate, Refusal, RefusalKind, Shape, WholeReply
from lipika.simulator.gemini.errors import refusal_page
from lipika.simulator.tokens import Tokens


def page(outcome: Answered | Refusal, model: str) -> WholeReply:
    """The reply to a question."""
    if isinstance(outcome, Refusal):
        return refusal_page(outcome, model)
    if outcome.candidate.shape in (Shape.ERROR_IN_200, Shape.ERROR_IN_CHOICE):
        failure = refusal_page(Refusal(RefusalKind.INTERNAL), model)
        return WholeReply(200, failure.body)
    return WholeReply(200, orjson.dumps(_answer(outcome)), {"x-gemini-service-tier": str(outcome.tier)})


def _answer(answered: Answered) -> dict[str, object]:
    candidate = answered.candidate
    body: dict[str, object] = {}
    if candidate.block_reason:
        body["promptFeedback"] = {"blockReason": candidate.block_reason}
    else:
        body["candidates"] = [_candidate(candidate, answered)]
    if candidate.shape is not Shape.NO_USAGE:
        usage = _usage(answered.tokens, thoughts=candidate.shape is not Shape.PARTIAL_USAGE)
        body["usageMetadata"] = {**usage, "serviceTier": str(answered.tier)}
    return {**body, "modelVersion": answered.model_version, "responseId": answered.answer_id}


def _candidate(candidate: Candidate, answered: Answered) -> dict[str, object]:
    said: dict[str, object] = {"finishReason": candidate.finish, "index": 0}
    if candidate.finish in ("STOP", "MAX_TOKENS"):
        content: dict[str, object] = {"parts": _parts(candidate), "role": "model"}
        if candidate.shape is Shape.NO_PARTS:
            del content["parts"]
        said = {"content": content, **said, "avgLogprobs": answered.avg_logprob}
    return said


def _parts(candidate: Candidate) -> list[dict[str, object]]:
    text = candidate.text
    thought: dict[str, object] = {"text": "Listening to the clip word by word.", "thought": True}
    if candidate.shape is Shape.THOUGHTS_ONLY:
        return [thought]
    if candidate.shape is Shape.SPLIT_PARTS:
        third = len(text) // 3
        pieces = (text[:third], text[third : 2 * third], text[2 * third :])
        spoken: list[dict[str, object]] = [{"text": piece} for piece in pieces]
        return [thought, *spoken]
    return [{"text": text, "thoughtSignature": "c2ltdWxhdGVk"}]


def _usage(tokens: Tokens, *, thoughts: bool) -> dict[str, object]:
    """The real arithmetic: thoughts are not among the candidates' tokens, but are in the total."""
    details = [("TEXT", tokens.text), ("AUDIO", tokens.audio)]
    usage: dict[str, object] = {
        "promptTokenCount": tokens.prompt,
        "candidatesTokenCount": tokens.candidates,
        "totalTokenCount": tokens.total,
        "promptTokensDetails": [
            {"modality": modality, "tokenCount": count} for modality, count in details if count
        ],
    }
    if tokens.cached:
        usage["cachedContentTokenCount"] = tokens.cached
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": tokens.cached}]
    if thoughts and tokens.thoughts:
        usage["thoughtsTokenCount"] = tokens.thoughts
    return usage


def model_entry(model: Capabilities, version: str, retirement_time: str = "") -> dict[str, object]:
    """One model as `models.get` and `models.list` describe it; `version` is what its replies say, too."""
    retiring = {"modelStage": "DEPRECATED", "retirementTime": retirement_time}
    return {
        **({"modelStatus": retiring} if retirement_time else {}),
        "name": f"models/{model.model_id}",
        "version": version,
        "displayName": model.model_id,
        "description": "Answered by a simulator: transcripts are made up.",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": model.max_output_tokens,
        "supportedGenerationMethods": ["generateContent"],
        "thinking": bool(model.thinking_levels),
    }
