"""Prices and limits of each model, from `models.toml`; overridable by a file of the same form."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lipika.errors import SettingsError
from lipika.models import ServiceTier, Usage


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One model's prices (USD per 1M tokens) and parameters."""

    model_id: str
    text_usd: float
    audio_usd: float
    output_usd: float
    cached_text_usd: float
    cached_audio_usd: float
    temperature: bool
    thinking_levels: tuple[str, ...]
    cache_minimum_tokens: int  # least prompt that is cached implicitly; 0: no minimum is known
    audio_tokens_per_second: int
    max_output_tokens: int
    flex_factor: float = 1.0  # of all prices, where the tier that was served is Flex
    known: bool = True  # False: not in the table; prices are those of the dearest known model

    def cost_usd(self, usage: Usage, tier: ServiceTier = ServiceTier.STANDARD) -> float:
        """Dollars for one attempt served at that tier. Cached tokens are taken from the text first: the common prefix
        is text."""
        audio = min(usage.prompt_audio, usage.prompt)
        text = usage.prompt - audio
        cached_text = min(usage.cached, text)
        cached_audio = min(usage.cached - cached_text, audio)
        micro_usd = (
            (text - cached_text) * self.text_usd
            + (audio - cached_audio) * self.audio_usd
            + cached_text * self.cached_text_usd
            + cached_audio * self.cached_audio_usd
            + usage.output * self.output_usd
        )
        return micro_usd * (self.flex_factor if tier is ServiceTier.FLEX else 1.0) / 1_000_000


def cache_note(capabilities: Capabilities, prompt_tokens: int) -> str | None:
    """The note at the start when a prompt of this length is too short to be cached; None when it is not.

    Only the common prefix counts, the system prompt: audio differs from clip to clip.
    """
    if prompt_tokens >= capabilities.cache_minimum_tokens:
        return None
    return (
        f"the system prompt of about {prompt_tokens} tokens is too short for the cache of {capabilities.model_id},"
        f" which begins at {capabilities.cache_minimum_tokens}: every prompt token will be paid in full"
    )


def load_capabilities(model_id: str, override: Path | None = None) -> Capabilities:
    """The row of `model_id`; an unknown model gets the dearest prices, so that a cap is never overrun by it.

    A vendor prefix (`google/gemini-3-flash-preview`, as OpenRouter writes it) is ignored.

    Raises:
        SettingsError: the override cannot be read or is no table of models; names file, model and field.
    """
    table = _rows(resources.files("lipika.llm").joinpath("models.toml").read_text("utf-8"), "models.toml")
    if override is not None:
        table |= _rows(_text_of(override), f"MODELS_FILE {override}")
    row = table.get(model_id) or table.get(model_id.rsplit("/", 1)[-1])
    if row is not None:
        return replace(row, model_id=model_id)
    dearest = max(table.values(), key=lambda row: (row.output_usd, row.audio_usd))
    return replace(dearest, model_id=model_id, known=False, flex_factor=1.0)


def _text_of(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"MODELS_FILE {file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"MODELS_FILE {file}: is not a text file in UTF-8") from None


Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Row(BaseModel):
    """One model in the file. Strict: a price in quotes or a misspelt field would silently be another price."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    text_usd: Price
    audio_usd: Price
    output_usd: Price
    cached_text_usd: Price
    cached_audio_usd: Price
    temperature: bool
    thinking_levels: list[Literal["minimal", "low", "medium", "high"]]
    cache_minimum_tokens: Annotated[int, Field(ge=0)]
    audio_tokens_per_second: Annotated[int, Field(ge=1)]
    max_output_tokens: Annotated[int, Field(ge=1)]
    flex_factor: Annotated[float, Field(gt=0, le=1)] = 1.0


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    models: Annotated[Mapping[str, _Row], Field(min_length=1)]


def _rows(text: str, where: str) -> dict[str, Capabilities]:
    try:
        models = _File.model_validate(tomllib.loads(text)).models
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where}: is not TOML: {error}") from None
    except ValidationError as error:
        told = "; ".join(f"{_place(one['loc'])}: {one['msg']}" for one in error.errors(include_url=False))
        raise SettingsError(f"{where}: {told}; the form is that of models.toml") from None
    return {
        model_id: Capabilities(
            model_id=model_id, **row.model_dump() | {"thinking_levels": tuple(row.thinking_levels)}
        )
        for model_id, row in models.items()
    }


def _place(loc: tuple[int | str, ...]) -> str:
    """`models."gemini-3-flash-preview".text_usd`: a model's name holds dots."""
    return ".".join(f'"{step}"' if level == 1 else str(step) for level, step in enumerate(loc))
