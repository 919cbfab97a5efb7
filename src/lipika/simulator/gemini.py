"""The Gemini API's wire format: `generateContent` requests read as strictly as the API reads them, and replies.

Sources: Google's API reference (v1beta), its error model (google.rpc) and error bodies in public issue
threads, as of November 2026.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel, to_snake
from pydantic_core import ErrorDetails

from lipika.capabilities import Capabilities
from lipika.models import JsonObject
from lipika.simulator.answers import hinted_language
from lipika.simulator.audio import Ear, Heard, UnreadableAudio, together
from lipika.simulator.exchange import (
    Answered,
    Candidate,
    Details,
    Page,
    Question,
    Quota,
    Refusal,
    RefusalKind,
    Shape,
    Violation,
    Wire,
    WireError,
)
from lipika.simulator.lifting import lift
from lipika.simulator.tokens import Tokens

_TYPES = "type.googleapis.com"
_PACKAGE = f"{_TYPES}/google.ai.generativelanguage.v1beta"
_SERVICE = "generativelanguage.googleapis.com"
_MAX_ECHO = 200  # characters of a wrong value repeated in the error

AUDIO_TYPES = frozenset(
    f"audio/{kind}"
    for kind in ("flac", "x-flac", "wav", "x-wav", "mp3", "mpeg", "aiff", "x-aiff", "aac", "ogg")
)

T = TypeVar("T")


# ----------------------------------------------------------------------------- the request


def _as_list(value: object) -> object:
    """A single message where a repeated one is expected counts as a list of one, as the API has it."""
    return [value] if isinstance(value, dict) else value


Repeated = Annotated[tuple[T, ...], BeforeValidator(_as_list)]


class _Message(BaseModel):
    """A protobuf message in JSON: lowerCamelCase or snake_case names, null means absent."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class ThinkingLevel(StrEnum):
    THINKING_LEVEL_UNSPECIFIED = "THINKING_LEVEL_UNSPECIFIED"
    MINIMAL = "MINIMAL"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


class HarmCategory(StrEnum):
    HARM_CATEGORY_UNSPECIFIED = "HARM_CATEGORY_UNSPECIFIED"
    HARM_CATEGORY_HARASSMENT = "HARM_CATEGORY_HARASSMENT"
    HARM_CATEGORY_HATE_SPEECH = "HARM_CATEGORY_HATE_SPEECH"
    HARM_CATEGORY_SEXUALLY_EXPLICIT = "HARM_CATEGORY_SEXUALLY_EXPLICIT"
    HARM_CATEGORY_DANGEROUS_CONTENT = "HARM_CATEGORY_DANGEROUS_CONTENT"
    HARM_CATEGORY_CIVIC_INTEGRITY = "HARM_CATEGORY_CIVIC_INTEGRITY"


class HarmBlockThreshold(StrEnum):
    HARM_BLOCK_THRESHOLD_UNSPECIFIED = "HARM_BLOCK_THRESHOLD_UNSPECIFIED"
    BLOCK_LOW_AND_ABOVE = "BLOCK_LOW_AND_ABOVE"
    BLOCK_MEDIUM_AND_ABOVE = "BLOCK_MEDIUM_AND_ABOVE"
    BLOCK_ONLY_HIGH = "BLOCK_ONLY_HIGH"
    BLOCK_NONE = "BLOCK_NONE"
    OFF = "OFF"


class SchemaType(StrEnum):
    TYPE_UNSPECIFIED = "TYPE_UNSPECIFIED"
    STRING = "STRING"
    NUMBER = "NUMBER"
    INTEGER = "INTEGER"
    BOOLEAN = "BOOLEAN"
    ARRAY = "ARRAY"
    OBJECT = "OBJECT"
    NULL = "NULL"


class InlineData(_Message):
    mime_type: str | None = None
    data: str | None = None


class Part(_Message):
    text: str | None = None
    inline_data: InlineData | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    file_data: Any = None
    function_call: Any = None
    function_response: Any = None
    executable_code: Any = None
    code_execution_result: Any = None
    video_metadata: Any = None
    media_resolution: Any = None
    part_metadata: Any = None


class Content(_Message):
    parts: Repeated[Part] | None = None
    role: str | None = None


class ThinkingConfig(_Message):
    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: ThinkingLevel | None = None


class Schema(_Message):
    """The older OpenAPI subset. (Its `format` and `default` shadow nothing that is used here.)"""

    type: SchemaType | None = None
    format: str | None = None
    title: str | None = None
    description: str | None = None
    nullable: bool | None = None
    enum: tuple[str, ...] | None = None
    items: Schema | None = None
    prefix_items: Repeated[Schema] | None = None
    max_items: int | None = None
    min_items: int | None = None
    properties: dict[str, Schema] | None = None
    required: tuple[str, ...] | None = None
    min_properties: int | None = None
    max_properties: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    example: Any = None
    any_of: Repeated[Schema] | None = None
    property_ordering: tuple[str, ...] | None = None
    default: Any = None


class GenerationConfig(_Message):
    candidate_count: int | None = None
    stop_sequences: tuple[str, ...] | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    seed: int | None = None
    response_mime_type: str | None = None
    response_schema: Schema | None = None
    response_json_schema: Any = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    enable_enhanced_civic_answers: bool | None = None
    response_modalities: tuple[str, ...] | None = None
    media_resolution: str | None = None
    speech_config: Any = None
    image_config: Any = None
    thinking_config: ThinkingConfig | None = None


class SafetySetting(_Message):
    category: HarmCategory | None = None
    threshold: HarmBlockThreshold | None = None


class GenerateContentRequest(_Message):
    model: str | None = None
    system_instruction: Content | None = None
    contents: Repeated[Content] | None = None
    generation_config: GenerationConfig | None = None
    safety_settings: Repeated[SafetySetting] | None = None
    cached_content: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    tools: Any = None
    tool_config: Any = None


def read(body: bytes, *, model: Capabilities, project: str, hear: Ear) -> Question:
    """A request's body as a question.

    Raises:
        WireError: the API would refuse it; holds the reply.
    """
    lifted = lift(body)
    question, clips = _outline(lifted.json, model)
    heard = together([_hear(at, lifted.original(data), hear) for at, data in clips])
    return replace(question, project=project, heard=heard, digest=heard.digest if heard else question.digest)


@lru_cache(maxsize=2048)  # apart from the audio, which was lifted out, requests are much alike
def _outline(json: bytes, model: Capabilities) -> tuple[Question, tuple[tuple[str, str], ...]]:
    """The question without project and audio; path and data of each clip of audio."""
    try:
        request = GenerateContentRequest.model_validate(orjson.loads(json))
    except orjson.JSONDecodeError as error:
        raise invalid(f"Invalid JSON payload received. {error}") from None
    except ValidationError as error:
        raise _field_errors([_described(one) for one in error.errors(include_url=False)]) from None
    config = request.generation_config or GenerationConfig()
    _check(request, config, model)
    common = _text(request.system_instruction.parts if request.system_instruction else None)
    own = _text(part for content in request.contents or () for part in content.parts or ())
    question = Question(
        wire=Wire.GEMINI,
        project="",
        model=model,
        common_text=common,
        own_text=own,
        heard=None,
        digest=hashlib.sha256(f"{common}\n{own}".encode()).digest(),
        language=hinted_language(common) or hinted_language(own),
        wants_json=config.response_mime_type == "application/json",
        schema=_schema(config),
        thinking_level=_thinking_level(config.thinking_config),
        max_output_tokens=config.max_output_tokens,
    )
    return question, tuple(_clips(request))


def _text(parts: Iterable[Part] | None) -> str:
    return "\n".join(part.text for part in parts or () if part.text)


def _clips(request: GenerateContentRequest) -> Iterable[tuple[str, str]]:
    for i, content in enumerate(request.contents or ()):
        for j, part in enumerate(content.parts or ()):
            if part.inline_data is None:
                continue
            if part.inline_data.mime_type not in AUDIO_TYPES:
                raise invalid(f"Unsupported MIME type: {part.inline_data.mime_type or ''}")
            yield f"contents[{i}].parts[{j}].inline_data.data", part.inline_data.data or ""


def _hear(at: str, data: bytes, hear: Ear) -> Heard:
    try:
        return hear(data)
    except UnreadableAudio:
        raise invalid("Request contains an invalid argument.") from None
    except ValueError:
        echo = _echo(data[:_MAX_ECHO].decode(errors="replace"))
        text = f"Invalid value at '{at}' (TYPE_BYTES), Base64 decoding failed for {echo}"
        raise _field_errors([(at, text)]) from None


def _schema(config: GenerationConfig) -> JsonObject | None:
    if isinstance(config.response_json_schema, dict):
        return config.response_json_schema
    schema = config.response_schema
    return schema.model_dump(by_alias=True, exclude_none=True) if schema else None


def _thinking_level(thinking: ThinkingConfig | None) -> str:
    """The level, or the one nearest to a budget; the models' own default is high."""
    if thinking is None:
        return "HIGH"
    if thinking.thinking_budget is not None and thinking.thinking_budget >= 0:
        return "LOW" if thinking.thinking_budget <= 1024 else "MEDIUM"
    level = thinking.thinking_level
    return "HIGH" if level in (None, ThinkingLevel.THINKING_LEVEL_UNSPECIFIED) else str(level)


def _check(request: GenerateContentRequest, config: GenerationConfig, model: Capabilities) -> None:
    """What the fields' types do not say."""
    problem = _contents_problem(request) or _config_problem(config, model)
    if problem:
        raise invalid(problem)
    if request.cached_content:
        raise WireError(
            _error_page(403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)")
        )


def _contents_problem(request: GenerateContentRequest) -> str | None:
    prefix = "* GenerateContentRequest.contents"
    if not request.contents:
        return f"{prefix}: contents is not specified\n"
    for i, content in enumerate(request.contents):
        if content.role not in (None, "", "user", "model"):
            return "Please use a valid role: user, model."
        if not content.parts:
            return f"{prefix}[{i}].parts: contents.parts must not be empty.\n"
        for j, part in enumerate(content.parts):
            if not (part.model_fields_set - {"thought", "thought_signature"}):
                at = f"{prefix}[{i}].parts[{j}].data"
                return f"{at}: required oneof field 'data' must have one initialized field\n"
    return None


_MIME_TYPES = ("text/plain", "application/json", "application/xml", "application/yaml", "text/x.enum")


def _config_problem(config: GenerationConfig, model: Capabilities) -> str | None:
    prefix = "* GenerateContentRequest.generation_config"
    thinking = config.thinking_config or ThinkingConfig()
    if config.temperature is not None and not 0 <= config.temperature <= 2:
        return f"{prefix}.temperature: temperature must be in the range [0.0, 2.0].\n"
    if config.top_p is not None and not 0 <= config.top_p <= 1:
        return f"{prefix}.top_p: top_p must be in the range [0.0, 1.0].\n"
    if config.max_output_tokens is not None and config.max_output_tokens < 1:
        return f"{prefix}.max_output_tokens: max_output_tokens must be positive.\n"
    if config.candidate_count not in (None, 0, 1):
        return "Multiple candidates is not enabled for this model"
    if config.response_mime_type and config.response_mime_type not in _MIME_TYPES:
        allowed = ", ".join(f"`{mime}`" for mime in _MIME_TYPES)
        return f"{prefix}.response_mime_type: allowed mimetypes are {allowed}.\n"
    if config.response_schema is not None and config.response_json_schema is not None:
        return "Only one of response_schema and response_json_schema may be set."
    if _schema(config) is not None and config.response_mime_type in (None, "", "text/plain"):
        return f"{prefix}.response_schema: a schema needs response_mime_type application/json.\n"
    if thinking.thinking_level and thinking.thinking_budget is not None:
        return "You can only set only one of thinking budget and thinking level."
    level = _thinking_level(config.thinking_config)
    if thinking.thinking_level and level.lower() not in model.thinking_levels:
        return f"Thinking level {level} is not supported for this model."
    return None


# ----------------------------------------------------------------------------- errors


def invalid(message: str) -> WireError:
    """400 INVALID_ARGUMENT."""
    return WireError(_error_page(400, "INVALID_ARGUMENT", message))


def missing_key() -> WireError:
    """403: neither header nor parameter holds a key."""
    message = (
        "Method doesn't allow unregistered callers (callers without established identity)."
        " Please use API Key or other form of API consumer identity to call this API."
    )
    return WireError(_error_page(403, "PERMISSION_DENIED", message))


def wrong_key() -> WireError:
    """400 with ErrorInfo: the key is not accepted."""
    return WireError(_refusal_page(Refusal(RefusalKind.KEY_INVALID), ""))


def unknown_model(model: str) -> WireError:
    """404."""
    return WireError(_refusal_page(Refusal(RefusalKind.MODEL_GONE), model))


def unknown_path() -> WireError:
    """404 for a path that the API does not have."""
    return WireError(_error_page(404, "NOT_FOUND", "Requested entity was not found."))


def too_large(limit_bytes: int) -> WireError:
    """400: the body is over the limit."""
    return invalid(f"Request payload size exceeds the limit: {limit_bytes} bytes.")


def _field_errors(violations: list[tuple[str, str]]) -> WireError:
    """400 with a BadRequest detail: (path of the message, description) of each."""
    detail: dict[str, object] = {
        "@type": f"{_TYPES}/google.rpc.BadRequest",
        "fieldViolations": [
            {"field": field, "description": text} if field else {"description": text}
            for field, text in violations
        ],
    }
    message = "\n".join(text for _, text in violations)
    return WireError(_error_page(400, "INVALID_ARGUMENT", message, [detail]))


_PROTO_TYPES = {
    "string": "TYPE_STRING",
    "int": "TYPE_INT32",
    "float": "TYPE_FLOAT",
    "bool": "TYPE_BOOL",
    "model": f"{_PACKAGE}.Message",
    "tuple": "repeated",
}


def _described(error: ErrorDetails) -> tuple[str, str]:
    """A pydantic error in the API's words: (path, description)."""
    if error["type"] == "extra_forbidden":
        parent = _path(error["loc"][:-1])
        at = f" at '{parent}'" if parent else ""
        name = error["loc"][-1]
        return parent, f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.'
    path = _path(error["loc"])
    if error["type"] == "enum":
        kind = _ENUM_OF_FIELD.get(path.rpartition(".")[2], "Enum")
        return path, f"Invalid value at '{path}' ({_PACKAGE}.{kind}), {_echo(error['input'])}"
    kind = _PROTO_TYPES.get(error["type"].partition("_")[0], "message")
    if isinstance(error["input"], list) and kind != "repeated":
        parent, _, name = path.rpartition(".")
        at = f" at '{parent}'" if parent else ""
        text = f'Unknown name "{name}"{at}: Proto field is not repeating, cannot start list.'
        return path, f"Invalid JSON payload received. {text}"
    return path, f"Invalid value at '{path}' ({kind}), {_echo(error['input'])}"


_ENUM_OF_FIELD = {
    "thinking_level": "ThinkingConfig.ThinkingLevel",
    "category": "HarmCategory",
    "threshold": "SafetySetting.HarmBlockThreshold",
    "type": "Type",
}


def _path(loc: tuple[int | str, ...]) -> str:
    """`contents[0].parts[1].inline_data` from a pydantic location."""
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{to_snake(step)}" if text else to_snake(step)
    return text


def _echo(value: object) -> str:
    text = orjson.dumps(value[:_MAX_ECHO] if isinstance(value, str) else value).decode()
    return text if len(text) <= _MAX_ECHO + 2 else f"{text[:_MAX_ECHO]}..."


def _error_page(status: int, code: str, message: str, details: list[dict[str, object]] | None = None) -> Page:
    error: dict[str, object] = {"code": status, "message": message, "status": code}
    if details:
        error["details"] = details
    return Page(status, orjson.dumps({"error": error}, option=orjson.OPT_INDENT_2))


# ----------------------------------------------------------------------------- refusals

_QUOTA_NAMES = {
    Quota.REQUESTS_PER_MINUTE: (
        "generate_content_paid_tier_requests",
        "GenerateRequestsPerMinutePerProjectPerModel-PaidTier",
    ),
    Quota.TOKENS_PER_MINUTE: (
        "generate_content_paid_tier_input_token_count",
        "GenerateContentPaidTierInputTokensPerModelPerMinute",
    ),
    Quota.REQUESTS_PER_DAY: (
        "generate_requests_per_model_per_day",
        "GenerateRequestsPerDayPerProjectPerModel-PaidTier",
    ),
}
"""Metric (below the service's name) and quota id."""

_GONE = (
    "models/{model} is not found for API version v1beta, or is not supported for generateContent."
    " Call ListModels to see the list of available models and their supported methods."
)
_EXHAUSTED = "Resource has been exhausted (e.g. check quota)."

_STATUSES: dict[RefusalKind, tuple[int, str, str]] = {
    RefusalKind.RATE: (429, "RESOURCE_EXHAUSTED", _EXHAUSTED),
    RefusalKind.SPEND: (429, "RESOURCE_EXHAUSTED", _EXHAUSTED),
    RefusalKind.QPS: (429, "RESOURCE_EXHAUSTED", _EXHAUSTED),
    RefusalKind.OVERLOADED: (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    RefusalKind.INTERNAL: (500, "INTERNAL", "An internal error has occurred. Please retry."),
    RefusalKind.DEADLINE: (504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
    RefusalKind.BUSY: (529, "UNAVAILABLE", "The service is overloaded."),
    RefusalKind.BAD_REQUEST: (400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    RefusalKind.KEY_INVALID: (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    RefusalKind.PERMISSION: (403, "PERMISSION_DENIED", "The caller does not have permission"),
    RefusalKind.REGION: (
        400,
        "FAILED_PRECONDITION",
        "User location is not supported for the API use.",
    ),
    RefusalKind.MODEL_GONE: (
        404,
        "NOT_FOUND",
        _GONE,
    ),
    RefusalKind.PAYMENT: (403, "PERMISSION_DENIED", "Billing has been disabled for this project."),
    RefusalKind.MODERATION: (403, "PERMISSION_DENIED", "The caller does not have permission"),
}


def _refusal_page(refusal: Refusal, model: str) -> Page:
    status, code, message = _STATUSES[refusal.kind]
    message = message.replace("{model}", model)
    if refusal.kind is RefusalKind.KEY_INVALID:
        info: dict[str, object] = {
            "@type": f"{_TYPES}/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": _SERVICE},
        }
        return _error_page(status, code, message, [info])
    if refusal.kind is RefusalKind.RATE and refusal.details is not Details.BARE:
        message = _quota_message(refusal, model)
    return _error_page(status, code, message, _rate_details(refusal, model))


def _quota_message(refusal: Refusal, model: str) -> str:
    lines = ["You exceeded your current quota, please check your plan and billing details."]
    if refusal.details is Details.FULL:
        lines += [
            f"* Quota exceeded for metric: {_SERVICE}/{_QUOTA_NAMES[violation.quota][0]},"
            f" limit: {violation.limit:.0f}, model: {model}"
            for violation in refusal.violations
        ]
    delay_s = refusal.retry_after_s
    if delay_s is not None:
        delay = f"{delay_s * 1000:.0f}ms" if delay_s < 1 else f"{delay_s:.9g}s"
        lines.append(f"Please retry in {delay}.")
    return "\n".join(lines)


def _rate_details(refusal: Refusal, model: str) -> list[dict[str, object]]:
    if refusal.details is not Details.FULL:
        return []
    details: list[dict[str, object]] = []
    if refusal.kind is RefusalKind.RATE and refusal.violations:
        details.append(
            {
                "@type": f"{_TYPES}/google.rpc.QuotaFailure",
                "violations": [_violation(one, model) for one in refusal.violations],
            }
        )
    if refusal.retry_after_s is not None:
        delay = f"{refusal.retry_after_s:.9g}s"
        details.append({"@type": f"{_TYPES}/google.rpc.RetryInfo", "retryDelay": delay})
    return details


def _violation(violation: Violation, model: str) -> dict[str, object]:
    metric, quota_id = _QUOTA_NAMES[violation.quota]
    return {
        "quotaMetric": f"{_SERVICE}/{metric}",
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": model},
        "quotaValue": f"{violation.limit:.0f}",
    }


# ----------------------------------------------------------------------------- replies


def page(outcome: Answered | Refusal, model: str) -> Page:
    """The reply to a question."""
    if isinstance(outcome, Refusal):
        return _refusal_page(outcome, model)
    if outcome.candidate.shape in (Shape.ERROR_IN_200, Shape.ERROR_IN_CHOICE):
        failure = _refusal_page(Refusal(RefusalKind.INTERNAL), model)
        return Page(200, failure.body)
    return Page(200, orjson.dumps(_answer(outcome)))


def _answer(answered: Answered) -> dict[str, object]:
    candidate = answered.candidate
    body: dict[str, object] = {}
    if candidate.block_reason:
        body["promptFeedback"] = {"blockReason": candidate.block_reason}
    else:
        body["candidates"] = [_candidate(candidate, answered)]
    if candidate.shape is not Shape.NO_USAGE:
        body["usageMetadata"] = _usage(answered.tokens, thoughts=candidate.shape is not Shape.PARTIAL_USAGE)
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


def model_entry(model: Capabilities) -> dict[str, object]:
    """One model as `models.get` and `models.list` describe it."""
    return {
        "name": f"models/{model.model_id}",
        "version": "simulated",
        "displayName": model.model_id,
        "description": "Answered by a simulator: transcripts are made up.",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": model.max_output_tokens,
        "supportedGenerationMethods": ["generateContent"],
        "thinking": bool(model.thinking_levels),
    }
