"""Options that commands have in common, each with one name and meaning, and the printing of JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from lipika.errors import UsageError
from lipika.models import HintFrom, NewVideo

Run = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]
"""Runs a command's coroutine; our own errors become a sentence and an exit code."""


class Provider(StrEnum):
    """The provider that is asked."""

    AISTUDIO = "aistudio"
    OPENROUTER = "openrouter"
    SIMULATOR = "simulator"


DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of the embedded Postgres. Default: the user's state folder."),
]
_json_is_wanted: ContextVar[bool] = ContextVar("json_is_wanted", default=False)


def note_json(wanted: bool) -> bool:
    """The callback of every `--json`."""
    _json_is_wanted.set(wanted)
    return wanted


def json_is_wanted() -> bool:
    """True if the command that runs was told to print JSON: then it does so in every ending."""
    return _json_is_wanted.get()


AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.", callback=note_json)]


def print_json(value: object, *, on_one_line: bool = False) -> None:
    """A value on stdout, whole and at once."""
    layout = 0 if on_one_line else orjson.OPT_INDENT_2
    sys.stdout.buffer.write(orjson.dumps(value, option=layout | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.flush()


Language = Annotated[
    str | None, typer.Option(help="Language hint where neither list nor archive says one, such as hi.")
]
ForceLanguage = Annotated[
    str | None, typer.Option(help="Language hint for all of them, whatever list and archive say.")
]


@dataclass(frozen=True, slots=True)
class Hints:
    """A person's word on languages; codes."""

    default: str | None = None
    forced: str | None = None

    def add_to(self, videos: Iterable[NewVideo]) -> list[NewVideo]:
        """Videos with the hint that this word gives them."""
        code = self.forced or self.default
        given_by = HintFrom.FORCED if self.forced else HintFrom.DEFAULT
        return [replace(video, language=code, language_from=given_by) if code else video for video in videos]


def hints_of(language: str | None, force_language: str | None) -> Hints:
    """Raises UsageError: a language is none of ours, or two are given."""
    if language and force_language:
        raise UsageError("give --language or --force-language, one of the two")
    return Hints(_code("--language", language), _code("--force-language", force_language))


def _code(option: str, language: str | None) -> str | None:
    from lipika.languages import LANGUAGES, find_language

    hint = find_language(language)
    if language is not None and hint is None:
        raise UsageError(f"{option} {language}: not one of {', '.join(LANGUAGES)}")
    return hint.code if hint else None
