"""The fields of a chat completion request that matter here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


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
    service_tier: Literal["auto", "default", "standard", "flex", "priority"] | None = None
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
