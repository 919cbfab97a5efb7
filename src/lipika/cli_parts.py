"""What the modules of commands have in common: options of one name and meaning, and how JSON is printed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

Run = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]
"""Runs a command's coroutine; our own errors become a sentence and an exit code."""


class Provider(StrEnum):
    """Who is asked."""

    AISTUDIO = "aistudio"
    OPENROUTER = "openrouter"
    SIMULATOR = "simulator"


DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of the embedded Postgres. Default: the user's state folder."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def print_json(value: object, *, on_one_line: bool = False) -> None:
    """A value on stdout, whole and at once."""
    layout = 0 if on_one_line else orjson.OPT_INDENT_2
    sys.stdout.buffer.write(orjson.dumps(value, option=layout | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.flush()
