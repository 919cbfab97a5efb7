"""Chat completions, and the free calls' bodies."""

from __future__ import annotations

import time

import orjson

from lipika.llm.capabilities import Capabilities
from lipika.models import ServiceTier
from lipika.simulator.exchange import Answered, Refusal, Shape, WholeReply
from lipika.simulator.openrouter.errors import refusal_page
from lipika.simulator.tokens import Tokens

_FINISHES = {"STOP": "stop", "MAX_TOKENS": "length", "OTHER": "error"}
"""Anything else is content_filter."""

_FAILED_UPSTREAM = {
    "code": 502,
    "message": "Provider returned error",
    "metadata": {"error_type": "provider_unavailable", "provider_name": "Simulator"},
}


def page(outcome: Answered | Refusal) -> WholeReply:
    """The reply to a question."""
    if isinstance(outcome, Refusal):
        return refusal_page(outcome)
    if outcome.candidate.shape is Shape.ERROR_IN_200:
        return WholeReply(200, orjson.dumps({"error": _FAILED_UPSTREAM}))
    return WholeReply(200, orjson.dumps(_completion(outcome)))


def _completion(answered: Answered) -> dict[str, object]:
    shape = answered.candidate.shape
    body: dict[str, object] = {
        "id": f"gen-{answered.answer_id}",
        "provider": "Simulator",
        "model": answered.model_version,
        "object": "chat.completion",
        "created": int(time.time()),
        "choices": [_choice(answered)],
        "service_tier": "flex" if answered.tier is ServiceTier.FLEX else "default",
    }
    if shape is not Shape.NO_USAGE:
        usage = _usage(answered.tokens, answered.cost_usd, thoughts=shape is not Shape.PARTIAL_USAGE)
        body["usage"] = usage
    return body


def _choice(answered: Answered) -> dict[str, object]:
    candidate = answered.candidate
    native = "PROHIBITED_CONTENT" if candidate.block_reason else candidate.finish
    content: str | None = candidate.text
    if candidate.shape in (Shape.NO_PARTS, Shape.THOUGHTS_ONLY):
        content = None
    message: dict[str, object] = {"role": "assistant", "content": content, "refusal": None}
    if candidate.shape in (Shape.THOUGHTS_ONLY, Shape.SPLIT_PARTS):
        message["reasoning"] = "Listening to the clip word by word."
    choice: dict[str, object] = {
        "index": 0,
        "logprobs": None,
        "finish_reason": _FINISHES.get(native, "content_filter"),
        "native_finish_reason": native,
        "message": message,
    }
    if candidate.shape is Shape.ERROR_IN_CHOICE:
        message["content"] = ""
        choice |= {"finish_reason": "error", "native_finish_reason": None, "error": _FAILED_UPSTREAM}
    return choice


def _usage(tokens: Tokens, cost_usd: float, *, thoughts: bool) -> dict[str, object]:
    """`completion_tokens` holds the thoughts, as in OpenAI's format and unlike Gemini's."""
    reasoning = {"reasoning_tokens": tokens.thoughts} if thoughts else {}
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.total,
        "cost": cost_usd,
        "is_byok": False,
        "prompt_tokens_details": {
            "cached_tokens": tokens.cached,
            "cache_write_tokens": 0,
            "audio_tokens": tokens.audio,
        },
        "cost_details": {"upstream_inference_cost": None},
        "completion_tokens_details": reasoning,
    }


def key_entry(key: str, *, used_usd: float, limit_usd: float | None) -> dict[str, object]:
    """The body of `GET /key`. All use counts as today's: the simulator does not outlive a day."""
    return {
        "data": {
            "label": f"{key[:6]}...",
            "limit": limit_usd,
            "limit_remaining": None if limit_usd is None else max(limit_usd - used_usd, 0.0),
            "usage": used_usd,
            "usage_daily": used_usd,
            "usage_weekly": used_usd,
            "usage_monthly": used_usd,
            "is_free_tier": False,
        }
    }


def model_entry(model: Capabilities, version: str) -> dict[str, object]:
    """One model as `GET /models` lists it; prices are USD per token, as text.

    `version` is what its replies say, too.
    """
    return {
        "id": f"google/{model.model_id}",
        "name": model.model_id,
        "version": version,
        "description": "Answered by a simulator: transcripts are made up.",
        "context_length": 1_048_576,
        "architecture": {"input_modalities": ["text", "audio"], "output_modalities": ["text"]},
        "pricing": {
            "prompt": f"{model.text_usd / 1e6:.9f}",
            "completion": f"{model.output_usd / 1e6:.9f}",
            "audio": f"{model.audio_usd / 1e6:.9f}",
            "input_cache_read": f"{model.cached_text_usd / 1e6:.9f}",
        },
        "supported_parameters": [
            "max_tokens",
            "reasoning",
            "response_format",
            "seed",
            "structured_outputs",
            *(["temperature"] if model.temperature else []),
        ],
    }
