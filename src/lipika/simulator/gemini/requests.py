"""Reading `generateContent` requests as strictly as the API reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import orjson
from pydantic import ValidationError

from lipika.llm.capabilities import Capabilities
from lipika.models import JsonObject, ServiceTier
from lipika.simulator.answers import hinted_language
from lipika.simulator.audio import Ear, SimulatedHearing, UnreadableAudio, together
from lipika.simulator.exchange import Question, Wire, name_clips
from lipika.simulator.gemini.errors import bad_base64, bad_fields, cached_content_missing, invalid
from lipika.simulator.gemini.messages import (
    CONFIG_PATH,
    AcceptedNumbers,
    AskedTier,
    GenerateContentRequest,
    GenerationConfig,
    Part,
    ThinkingConfig,
    ThinkingLevel,
)
from lipika.simulator.lifting import CACHEABLE_BYTES, lift

AUDIO_TYPES = frozenset(
    f"audio/{kind}"
    for kind in ("flac", "x-flac", "wav", "x-wav", "mp3", "mpeg", "aiff", "x-aiff", "aac", "ogg")
)


def read(
    body: bytes, *, model: Capabilities, project: str, hear: Ear, server_timeout_s: float | None = None
) -> Question:
    """A request's body as a question.

    Raises:
        WireError: the API would refuse it; holds the reply.
    """
    lifted = lift(body)
    outline = _outline if len(lifted.json) < CACHEABLE_BYTES else _outline.__wrapped__
    question, clips = outline(lifted.json, model)
    each = [_hear(at, lifted.original(data), hear) for at, data, _ in clips]
    heard = together(each)
    return replace(
        question,
        project=project,
        heard=heard,
        clips=name_clips([words for _, _, words in clips], each),
        digest=heard.digest if heard else question.digest,
        server_timeout_s=server_timeout_s,
    )


@lru_cache(maxsize=2048)  # apart from the audio, which was lifted out, requests are much alike
def _outline(json: bytes, model: Capabilities) -> tuple[Question, tuple[tuple[str, str, str], ...]]:
    """The question without project and audio; path and data of each clip of audio, and the words before it."""
    try:
        request = GenerateContentRequest.model_validate(orjson.loads(json))
    except orjson.JSONDecodeError as error:
        raise invalid(f"Invalid JSON payload received. {error}") from None
    except ValidationError as error:
        raise bad_fields(error) from None
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
        temperature=config.temperature,
        tier=_tier(request, model),
    )
    return question, tuple(_clips(request))


def _tier(request: GenerateContentRequest, model: Capabilities) -> ServiceTier:
    if request.service_tier is not AskedTier.FLEX:
        return ServiceTier.STANDARD  # what is asked for at priority is served here like all else
    if model.flex_factor == 1.0:
        raise invalid(f"Flex inference is not supported for {model.model_id}.")
    return ServiceTier.FLEX


def _text(parts: Iterable[Part] | None) -> str:
    return "\n".join(part.text for part in parts or () if part.text)


def _clips(request: GenerateContentRequest) -> Iterable[tuple[str, str, str]]:
    words = ""
    for i, content in enumerate(request.contents or ()):
        for j, part in enumerate(content.parts or ()):
            if part.inline_data is None:
                words = part.text or words
                continue
            if part.inline_data.mime_type not in AUDIO_TYPES:
                raise invalid(f"Unsupported MIME type: {part.inline_data.mime_type or ''}")
            yield f"contents[{i}].parts[{j}].inline_data.data", part.inline_data.data or "", words
            words = ""


def _hear(at: str, data: bytes, hear: Ear) -> SimulatedHearing:
    try:
        return hear(data)
    except UnreadableAudio:
        raise invalid("Request contains an invalid argument.") from None
    except ValueError:
        raise bad_base64(at, data) from None


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
    """Check what the fields' types do not say."""
    problem = _contents_problem(request) or _number_problem(config) or _config_problem(config, model)
    if problem:
        raise invalid(problem)
    if request.cached_content:
        raise cached_content_missing()


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


def _number_problem(config: GenerationConfig) -> str | None:
    try:
        AcceptedNumbers.model_validate(config)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        return AcceptedNumbers.model_fields[name].description
    return None


_MIME_TYPES = ("text/plain", "application/json", "application/xml", "application/yaml", "text/x.enum")


def _config_problem(config: GenerationConfig, model: Capabilities) -> str | None:
    thinking = config.thinking_config or ThinkingConfig()
    if config.response_mime_type and config.response_mime_type not in _MIME_TYPES:
        allowed = ", ".join(f"`{mime}`" for mime in _MIME_TYPES)
        return f"{CONFIG_PATH}.response_mime_type: allowed mimetypes are {allowed}.\n"
    if config.response_schema is not None and config.response_json_schema is not None:
        return "Only one of response_schema and response_json_schema may be set."
    if _schema(config) is not None and config.response_mime_type in (None, "", "text/plain"):
        return f"{CONFIG_PATH}.response_schema: a schema needs response_mime_type application/json.\n"
    if thinking.thinking_level and thinking.thinking_budget is not None:
        return "You can only set only one of thinking budget and thinking level."
    level = _thinking_level(config.thinking_config)
    if thinking.thinking_level and level.lower() not in model.thinking_levels:
        return f"Thinking level {level} is not supported for this model."
    return None
