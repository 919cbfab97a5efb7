"""Values and names as SQL has them, and what a database says of its errors. Pure."""

from __future__ import annotations

from pathlib import Path

import duckdb

_SHOWN = 300  # characters of an error


def error_words(error: duckdb.Error) -> str:
    """A database's error in one line."""
    words = " ".join(str(error).partition("\n\n")[0].split())
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."


def sql_path(path: Path) -> str:
    """A path as a text in SQL."""
    return sql_text(str(path))


def sql_text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"


def sql_name(name: str) -> str:
    """The name of a column in SQL."""
    return '"' + name.replace('"', '""') + '"'
