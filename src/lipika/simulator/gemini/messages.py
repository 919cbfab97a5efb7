"""The messages of a `generateContent` request, as far as the API reference (v1beta) lists their fields."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

T = TypeVar("T")


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


class AskedTier(StrEnum):
    """In lower case alone, unlike all other enumerations here."""

    UNSPECIFIED = "unspecified"
    STANDARD = "standard"
    FLEX = "flex"
    PRIORITY = "priority"


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


CONFIG_PATH = "* GenerateContentRequest.generation_config"


class AcceptedNumbers(BaseModel):
    """The ranges of a config's numbers, in the order in which the API looks at them; `description` is its refusal.

    Apart from the config itself: types are looked at before the contents of a request, ranges after them.
    """

    model_config = ConfigDict(from_attributes=True, frozen=True)

    temperature: float | None = Field(
        ge=0, le=2, description=f"{CONFIG_PATH}.temperature: temperature must be in the range [0.0, 2.0].\n"
    )
    top_p: float | None = Field(
        ge=0, le=1, description=f"{CONFIG_PATH}.top_p: top_p must be in the range [0.0, 1.0].\n"
    )
    max_output_tokens: int | None = Field(
        ge=1, description=f"{CONFIG_PATH}.max_output_tokens: max_output_tokens must be positive.\n"
    )
    candidate_count: int | None = Field(
        ge=0, le=1, description="Multiple candidates is not enabled for this model"
    )


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
    service_tier: AskedTier | None = None
    store: bool | None = None
    tools: Any = None
    tool_config: Any = None
