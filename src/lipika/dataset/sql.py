"""Values and names as SQL has them, and what a database says of its errors. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from lipika.errors import StorageError, UsageError

_SHOWN = 300  # characters of an error


def error_words(error: duckdb.Error) -> str:
    """A database's error in one line."""
    words = " ".join(str(error).partition("\n\n")[0].split())
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."


@contextmanager
def errors_in_words(memory: str, out: Path) -> Iterator[None]:
    """Errors of the database that a person can do something about."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise UsageError(f"--memory {memory} is too little to plan this: {error_words(error)}") from None
    except (duckdb.ParserException, duckdb.InvalidInputException, duckdb.SyntaxException) as error:
        raise UsageError(f"--memory {memory}: {error_words(error)}; write it as 2GB or 500MB") from None
    except duckdb.IOException as error:
        raise StorageError(f"planning in {out}: {error_words(error)}") from None


def sql_path(path: Path) -> str:
    """A path as a text in SQL."""
    return sql_text(str(path))


def sql_text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"


def sql_name(name: str) -> str:
    """The name of a column in SQL."""
    return '"' + name.replace('"', '""') + '"'
