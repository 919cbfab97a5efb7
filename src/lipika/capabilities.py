"""What each model costs and takes, from `models.toml`; overridable by a file of the same form."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from lipika.errors import SettingsError
from lipika.models import Usage


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
    cache_minimum_tokens: int
    audio_tokens_per_second: int
    max_output_tokens: int
    known: bool = True  # False: not in the table; prices are those of the dearest known model

    def cost_usd(self, usage: Usage) -> float:
        """Dollars for one attempt. Cached tokens are taken from the text first: the common prefix is text."""
        cached_text = min(usage.cached, max(usage.prompt - usage.prompt_audio, 0))
        cached_audio = usage.cached - cached_text
        audio = usage.prompt_audio - cached_audio
        text = usage.prompt - usage.prompt_audio - cached_text
        micro_usd = (
            text * self.text_usd
            + audio * self.audio_usd
            + cached_text * self.cached_text_usd
            + cached_audio * self.cached_audio_usd
            + usage.output * self.output_usd
        )
        return micro_usd / 1_000_000


def load_capabilities(model_id: str, override: Path | None = None) -> Capabilities:
    """The row of `model_id`; an unknown model gets the dearest prices, so that a cap is never overrun by it.

    A vendor prefix (`google/gemini-3-flash-preview`, as OpenRouter writes it) is ignored.

    Raises:
        SettingsError: the override cannot be read, or a row lacks a field or has one too many.
    """
    table = _rows(resources.files("lipika").joinpath("models.toml").read_text("utf-8"), "models.toml")
    if override is not None:
        try:
            text = override.read_text("utf-8")
        except OSError as error:
            raise SettingsError(f"MODELS_FILE: {override} cannot be read: {error.strerror}") from None
        table |= _rows(text, f"MODELS_FILE {override}")
    row = table.get(model_id) or table.get(model_id.rsplit("/", 1)[-1])
    if row is not None:
        return replace(row, model_id=model_id)
    dearest = max(table.values(), key=lambda row: (row.output_usd, row.audio_usd))
    return replace(dearest, model_id=model_id, known=False)


def _rows(text: str, where: str) -> dict[str, Capabilities]:
    try:
        models: dict[str, dict[str, Any]] = tomllib.loads(text).get("models", {})
        return {
            model_id: Capabilities(
                model_id=model_id, **(row | {"thinking_levels": tuple(row.get("thinking_levels", ()))})
            )
            for model_id, row in models.items()
        }
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise SettingsError(f"{where}: not a table of models: {error}") from None
