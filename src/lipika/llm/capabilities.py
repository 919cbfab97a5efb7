"""Prices and limits of each model, from `models.toml`; overridable by a file of the same form."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lipika.errors import SettingsError
from lipika.models import ServiceTier, Usage

PRICES = ("text_usd", "audio_usd", "output_usd", "cached_text_usd", "cached_audio_usd")
_ANNOUNCED = ("price_until", "then_factor")


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
    read_on: date | None = None  # when the row was last held against its sources
    batch_factor: float = 1.0  # likewise; for comparison, since nothing is asked so
    price_until: date | None = None  # the last day of these prices, UTC
    then_factor: float = 1.0  # of the prices after it
    retires_on: date | None = None  # the earliest day
    successor: str = ""

    def at(self, factor: float) -> Capabilities:
        """The same model with all prices times a factor: another tier, another day."""
        return replace(self, **{name: getattr(self, name) * factor for name in PRICES})

    def on(self, day: date) -> Capabilities:
        """The same model with the prices of that day."""
        if self.price_until is None or day <= self.price_until:
            return self
        return replace(self.at(self.then_factor), price_until=None, then_factor=1.0)

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


def load_capabilities(model_id: str, override: Path | None = None, today: date | None = None) -> Capabilities:
    """The row of `model_id`; an unknown model gets the dearest prices, so that a cap is never overrun by it.

    A vendor prefix (`google/gemini-3-flash-preview`, as OpenRouter writes it) is ignored. `today` (UTC) decides which
    of two announced prices holds.

    Raises:
        SettingsError: the override cannot be read or is no table of models; names file, model and field.
    """
    table = list_models(override, today)
    row = table.get(model_id) or table.get(model_id.rsplit("/", 1)[-1])
    return replace(row, model_id=model_id) if row is not None else _unknown(model_id, table.values())


def list_models(override: Path | None = None, today: date | None = None) -> dict[str, Capabilities]:
    """All rows by model, ours first, with the prices of `today` (UTC).

    Raises:
        SettingsError: as `load_capabilities`.
    """
    ours = resources.files("lipika.llm").joinpath("models.toml").read_text("utf-8")
    table = _rows(_parse_toml(ours, "models.toml"), "models.toml")
    if override is not None:
        where = f"MODELS_FILE {override}"
        table |= _rows(
            _filled_in(_parse_toml(_text_of(override), where), _parse_toml(ours, ""), where), where
        )
    day = today or datetime.now(UTC).date()
    return {model_id: row.on(day) for model_id, row in table.items()}


def _unknown(model_id: str, known: Iterable[Capabilities]) -> Capabilities:
    """The dearest of each price; of its parameters nothing that it may refuse, but for the thinking level."""
    rows = list(known)
    careful = max(rows, key=lambda row: (not row.temperature, len(row.thinking_levels), row.output_usd))
    dearest = {name: max(getattr(row, name) for row in rows) for name in PRICES}
    return Capabilities(
        model_id=model_id,
        **dearest,
        temperature=careful.temperature,
        thinking_levels=careful.thinking_levels,
        cache_minimum_tokens=careful.cache_minimum_tokens,
        audio_tokens_per_second=careful.audio_tokens_per_second,
        max_output_tokens=careful.max_output_tokens,
        known=False,
    )


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
    read_on: date | None = None
    flex_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    batch_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    price_until: date | None = None
    then_factor: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    retires_on: date | None = None
    successor: str = ""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    models: Annotated[Mapping[str, _Row], Field(min_length=1)]


def _parse_toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where}: is not TOML: {error}") from None


def _filled_in(given: dict[str, Any], ours: dict[str, Any], where: str) -> dict[str, Any]:
    """The file with what its rows leave out: from our row of the model, or of the one that it names as `like`.

    A price that is given holds from now on: the announced change was of the price that it replaces.
    """
    models = given.get("models")
    if not isinstance(models, dict):
        return given
    known, filled = ours["models"], dict[str, Any]()
    for model_id, row in models.items():
        if not isinstance(row, dict):
            return given
        like = row.get("like", model_id)
        if "like" in row and (not isinstance(like, str) or like not in known):
            raise SettingsError(
                f'{where}: models."{model_id}".like: {like!r} is no model of ours; `lipika models` lists them'
            )
        taken = dict(known.get(like, {}))
        if row.keys() & PRICES:
            taken = {name: value for name, value in taken.items() if name not in _ANNOUNCED}
        filled[model_id] = {**taken, **{name: value for name, value in row.items() if name != "like"}}
    return {**given, "models": filled}


def _rows(given: dict[str, Any], where: str) -> dict[str, Capabilities]:
    try:
        models = _File.model_validate(given).models
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
