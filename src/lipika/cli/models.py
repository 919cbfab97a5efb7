"""The command `models`: the price list, as it holds here and today."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from lipika.cli.console import open_console
from lipika.cli.options import AsJson, Run, print_json

if TYPE_CHECKING:
    from lipika.llm.capabilities import Capabilities


def add_to(app: typer.Typer, run: Run) -> None:
    """Put the command on `app`; `run` is the command line's own."""

    @app.command()
    def models(as_json: AsJson = False) -> None:
        """The models whose prices are known, and what they take: dollars per million tokens, as they are today.

        MODELS_FILE adds models and puts other prices in the place of these. One line of it will do:
        models."gemini-3.8-flash".output_usd = 7.5
        """
        from lipika.config import load_settings
        from lipika.llm.capabilities import list_models

        async def job() -> list[Capabilities]:
            return list(list_models(load_settings().models_file).values())

        found = run(job)
        if as_json:
            print_json(found)
        else:
            _print_models(found)


def _print_models(models: Sequence[Capabilities]) -> None:
    table = Table(
        *(
            "model",
            "text",
            "audio",
            "output",
            "cached",
            "flex",
            "batch",
            "temperature",
            "thinking",
            "read",
            "",
        ),
        box=None,
    )
    for model in models:
        prices = (model.text_usd, model.audio_usd, model.output_usd, model.cached_text_usd)
        table.add_row(
            model.model_id,
            *(f"{price:g}" for price in prices),
            *("-" if factor == 1 else f"x{factor:g}" for factor in (model.flex_factor, model.batch_factor)),
            "yes" if model.temperature else "no",
            " ".join(model.thinking_levels) or "-",
            str(model.read_on or "-"),
            "; ".join(_notes(model)),
        )
    open_console().print(table)


def _notes(model: Capabilities) -> list[str]:
    notes = []
    if model.price_until is not None:
        notes.append(f"x{model.then_factor:g} after {model.price_until}")
    if model.retires_on is not None:
        notes.append(f"may be gone from {model.retires_on} on")
    if model.successor:
        notes.append(f"then {model.successor}" if model.retires_on else f"successor {model.successor}")
    return notes
