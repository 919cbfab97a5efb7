"""OpenRouter's wire format: chat completions with audio input, and failures as OpenRouter words them.

Source: OpenRouter's documentation as of August 2026.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lipika.capabilities import Capabilities
from lipika.simulator.answers import hinted_language
from lipika.simulator.audio import Ear, Heard, UnreadableAudio, together
from lipika.simulator.exchange import (
    Answered,
    Details,
    Page,
    Question,
    Refusal,
    RefusalKind,
    Shape,
    Wire,
    WireError,
)
from lipika.simulator.lifting import lift
from lipika.simulator.tokens import Tokens

# ----------------------------------------------------------------------------- the request


class _Part(BaseModel):
    """Fields that are not known are ignored, here and below, as OpenRouter ignores them."""

    model_config = ConfigDict(frozen=True)


class TextPart(_Part):
    type: Literal["text"]
    text: str


class InputAudio(_Part):
    data: str
    format: Literal["wav", "mp3", "aiff", "aac", "ogg", "flac", "m4a", "pcm16", "pcm24"]


class AudioPart(_Part):
    type: Literal["input_audio"]
    input_audio: InputAudio


class Message(_Part):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | tuple[Annotated[TextPart | AudioPart, Field(discriminator="type")], ...]


class JsonSchema(_Part):
    name: Annotated[str, Field(min_length=1, max_length=64)]
    strict: bool | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class ResponseFormat(_Part):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class Reasoning(_Part):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    max_tokens: int | None = None
    exclude: bool | None = None
    enabled: bool | None = None


class Routing(_Part):
    only: tuple[str, ...] | None = None
    order: tuple[str, ...] | None = None
    require_parameters: bool | None = None
    allow_fallbacks: bool | None = None


class ChatRequest(_Part):
    model: str
    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    response_format: ResponseFormat | None = None
    reasoning: Reasoning | None = None
    provider: Routing | None = None
    session_id: Annotated[str | None, Field(max_length=256)] = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    seed: int | None = None
    stream: bool | None = None


def read(body: bytes, *, models: Mapping[str, Capabilities], project: str, hear: Ear) -> Question:
    """A request's body as a question; `models` are those served, by slug.

    Raises:
        WireError: OpenRouter would refuse it; holds the reply.
    """
    lifted = lift(body)
    request = _parsed(lifted.json)
    model = models.get(request.model)
    if model is None:
        raise invalid(f"{request.model} is not a valid model ID")  # 400, not 404, as OpenRouter has it
    question, clips = _outline(request, model)
    heard = together([_hear(lifted.original(data), hear) for data in clips])
    return replace(question, project=project, heard=heard, digest=heard.digest if heard else question.digest)


@lru_cache(maxsize=2048)  # apart from the audio, which was lifted out, requests are much alike
def _parsed(json: bytes) -> ChatRequest:
    try:
        request = ChatRequest.model_validate(orjson.loads(json))
    except orjson.JSONDecodeError as error:
        raise invalid(f"Request body is not valid JSON: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise invalid(f"{'.'.join(str(step) for step in first['loc'])}: {first['msg']}") from None
    if request.stream:
        raise invalid("stream: the simulator answers whole replies only")
    return request


def _outline(request: ChatRequest, model: Capabilities) -> tuple[Question, list[str]]:
    """The question without project and audio; the data of each clip of audio."""
    routing = request.provider or Routing()
    if routing.require_parameters and request.temperature is not None and not model.temperature:
        raise _error(404, "No endpoints found that can handle the requested parameters.", "invalid_request")
    common = _text(request, ("system", "developer"))
    own = _text(request, ("user", "assistant"))
    form = request.response_format
    question = Question(
        wire=Wire.OPENROUTER,
        project="",
        model=model,
        common_text=common,
        own_text=own,
        heard=None,
        digest=hashlib.sha256(f"{common}\n{own}".encode()).digest(),
        language=hinted_language(common) or hinted_language(own),
        wants_json=form is not None and form.type != "text",
        schema=form.json_schema.schema_ if form and form.json_schema else None,
        thinking_level=_thinking_level(request.reasoning),
        max_output_tokens=request.max_completion_tokens or request.max_tokens,
    )
    parts = [part for message in request.messages for part in message.content if isinstance(part, AudioPart)]
    return question, [part.input_audio.data for part in parts]


def _hear(data: bytes, hear: Ear) -> Heard:
    try:
        return hear(data)
    except UnreadableAudio as error:
        raise invalid(f"Provider returned error: unreadable audio ({error})") from None
    except ValueError:
        raise invalid("input_audio.data: not base64") from None


def _text(request: ChatRequest, roles: tuple[str, ...]) -> str:
    texts: list[str] = []
    for message in request.messages:
        if message.role not in roles:
            continue
        if isinstance(message.content, str):
            texts.append(message.content)
        else:
            texts += [part.text for part in message.content if isinstance(part, TextPart)]
    return "\n".join(texts)


def _thinking_level(reasoning: Reasoning | None) -> str:
    if reasoning is None or reasoning.effort is None:
        return "HIGH"
    return {"none": "MINIMAL", "xhigh": "HIGH"}.get(reasoning.effort, reasoning.effort.upper())


# ----------------------------------------------------------------------------- errors


def invalid(message: str) -> WireError:
    """400."""
    return _error(400, message, "invalid_request")


def no_key() -> WireError:
    """401: no bearer token."""
    return _error(401, "No auth credentials found", "authentication")


def wrong_key() -> WireError:
    """401: the token is not accepted."""
    return _error(401, "User not found.", "authentication")


def too_large(limit_bytes: int) -> WireError:
    """413: the body is over the limit."""
    return _error(413, f"Request body is larger than {limit_bytes} bytes", "invalid_request")


def _error(status: int, message: str, error_type: str) -> WireError:
    return WireError(Page(status, _error_body(status, message, error_type)))


def _error_body(status: int, message: str, error_type: str, **more: object) -> bytes:
    error: dict[str, object] = {"code": status, "message": message}
    if error_type:
        error["metadata"] = {"error_type": error_type, **more}
    return orjson.dumps({"error": error})


_STATUSES: dict[RefusalKind, tuple[int, str, str]] = {
    RefusalKind.RATE: (429, "Rate limit exceeded", "rate_limit_exceeded"),
    RefusalKind.SPEND: (429, "Provider returned error", "rate_limit_exceeded"),
    RefusalKind.QPS: (429, "Too many requests", "rate_limit_exceeded"),
    RefusalKind.OVERLOADED: (503, "Provider is overloaded", "provider_overloaded"),
    RefusalKind.INTERNAL: (500, "Internal Server Error", "server"),
    RefusalKind.DEADLINE: (504, "The provider took too long to answer", "timeout"),
    RefusalKind.BUSY: (529, "Provider returned error", "provider_overloaded"),
    RefusalKind.BAD_REQUEST: (400, "Provider returned error", "invalid_request"),
    RefusalKind.KEY_INVALID: (401, "User not found.", "authentication"),
    RefusalKind.PERMISSION: (403, "The key has no permission for this model", "permission_denied"),
    RefusalKind.REGION: (403, "The provider does not serve this region", "permission_denied"),
    RefusalKind.MODEL_GONE: (404, "No endpoints found for this model.", "invalid_request"),
    RefusalKind.PAYMENT: (402, "Insufficient credits. Add more to go on.", "payment_required"),
    RefusalKind.MODERATION: (403, "Your input was flagged", "content_policy_violation"),
}


def _refusal_page(refusal: Refusal) -> Page:
    status, message, error_type = _STATUSES[refusal.kind]
    if refusal.kind is RefusalKind.MODERATION:
        body = _error_body(status, message, error_type, reasons=["violence"], provider_name="Simulator")
        return Page(status, body)
    delay_s = refusal.retry_after_s
    if refusal.kind is not RefusalKind.RATE or delay_s is None or refusal.details is Details.BARE:
        return Page(status, _error_body(status, message, error_type))
    if refusal.details is Details.MESSAGE:
        return Page(status, _error_body(status, f"{message}. Please retry in {delay_s:.9g}s.", error_type))
    limit = min((violation.limit for violation in refusal.violations), default=0)
    headers = {
        "Retry-After": str(math.ceil(delay_s)),
        "X-RateLimit-Limit": f"{limit:.0f}",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": f"{(time.time() + delay_s) * 1000:.0f}",
    }
    error = {
        "code": status,
        "message": message,
        "metadata": {"error_type": error_type},
        "availability": {"retryable": True, "retry_after": round(delay_s, 3)},
    }
    return Page(status, orjson.dumps({"error": error}), headers)


# ----------------------------------------------------------------------------- replies

_FINISHES = {"STOP": "stop", "MAX_TOKENS": "length", "OTHER": "error"}
"""Anything else is content_filter."""

_FAILED_UPSTREAM = {
    "code": 502,
    "message": "Provider returned error",
    "metadata": {"error_type": "provider_unavailable", "provider_name": "Simulator"},
}


def page(outcome: Answered | Refusal) -> Page:
    """The reply to a question."""
    if isinstance(outcome, Refusal):
        return _refusal_page(outcome)
    if outcome.candidate.shape is Shape.ERROR_IN_200:
        return Page(200, orjson.dumps({"error": _FAILED_UPSTREAM}))
    return Page(200, orjson.dumps(_completion(outcome)))


def _completion(answered: Answered) -> dict[str, object]:
    shape = answered.candidate.shape
    body: dict[str, object] = {
        "id": f"gen-{answered.answer_id}",
        "provider": "Simulator",
        "model": answered.model_version,
        "object": "chat.completion",
        "created": int(time.time()),
        "choices": [_choice(answered)],
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


def model_entry(model: Capabilities) -> dict[str, object]:
    """One model as `GET /models` lists it; prices are USD per token, as text."""
    return {
        "id": f"google/{model.model_id}",
        "name": model.model_id,
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
