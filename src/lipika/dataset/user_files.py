"""Files of the user that decide what is exported: lists of videos, more columns, splits of an earlier export."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from lipika.dataset.sql import error_words, sql_name, sql_path, sql_text
from lipika.errors import UsageError

WANTED, COLUMNS, EARLIER = "wanted_videos", "user_columns", "earlier"
"""The tables that they become."""

SPEAKER = "speaker"
"""The column that may name one person over several videos."""

_TEXTS = frozenset(
    {"video_id", "split", SPEAKER}
)  # whatever they look like: 0042 is no number, nor is 2024-01-02
_TABLE = "header = true, all_varchar = true"
_READERS: Mapping[str, str] = {
    ".parquet": "read_parquet({path})",
    ".jsonl": "read_json({path}, format = 'newline_delimited'{columns})",
    ".json": "read_json({path}{columns})",
    ".csv": f"read_csv({{path}}, {_TABLE})",
    ".tsv": f"read_csv({{path}}, {_TABLE}, delim = '\t')",
}
_PLAIN = (
    "read_csv({path}, header = false, all_varchar = true, delim = '\\0', quote = '', names = ['video_id'])"
)
_DOUBLE = """
select video_id from user_columns where video_id is not null group by video_id having count(*) > 1 limit 1
"""
_OTHER = """
select video_id, coalesce(split, '') from earlier
where not coalesce(list_contains($splits, split), false) order by all limit 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFiles:
    """Paths; None is not given."""

    videos: Path | None = None  # a list: only these
    columns: Path | None = None  # a table by video_id
    splits_of: Path | None = None  # plan.parquet of an earlier export


def read_videos(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """A list of videos as the table `WANTED`.

    Raises:
        UsageError: it cannot be read, or has no column `video_id`.
    """
    _read(connection, WANTED, path, ("video_id",))


def read_columns(connection: duckdb.DuckDBPyConnection, path: Path, known: Collection[str]) -> dict[str, str]:
    """More columns as the table `COLUMNS`. Returns each with the name that it goes by, as SQL has it.

    Raises:
        UsageError: it cannot be read, has no column `video_id`, a column of a `known` name, or a video twice.
    """
    names = _read(connection, COLUMNS, path, ("video_id",))
    extra = [name for name in names if name.lower() != "video_id"]
    if taken := sorted(name for name in extra if name.lower() in known):
        raise UsageError(f"{path}: rename the column {taken[0]}: every clip has one of that name already")
    double = connection.execute(_DOUBLE).fetchone()
    if double is not None:
        raise UsageError(f"{path}: video {double[0]} stands there twice; one row a video is wanted")
    return {name.lower() if name.lower() == SPEAKER else name: sql_name(name) for name in extra}


def read_splits(connection: duckdb.DuckDBPyConnection, path: Path, splits: Sequence[str]) -> None:
    """Splits of an earlier export by video as the table `EARLIER`.

    Raises:
        UsageError: it cannot be read, lacks a column, or has a split that is not among `splits`.
    """
    _read(connection, EARLIER, path, ("video_id", "split"))
    other = connection.execute(_OTHER, {"splits": list(splits)}).fetchone()
    if other is not None:
        raise UsageError(
            f"{path}: video {other[0]} is in the split {other[1]!r}, and --split has {', '.join(splits)}:"
            " give that one a share, too"
        )


def _read(connection: duckdb.DuckDBPyConnection, table: str, path: Path, needed: Sequence[str]) -> list[str]:
    """A file as a table: Parquet, CSV, JSON lines, or a plain list of videos. Returns the names of its columns."""
    reader, found = _READERS.get(path.suffix.lower(), _PLAIN), {"path": sql_path(path), "columns": ""}
    try:
        there = connection.sql(f"from {reader.format_map(found)}")
        kinds = {name: str(kind) for name, kind in zip(there.columns, there.types, strict=True)}
        if "{columns}" in reader and kinds:
            # What is read as a number or a date would not be written as it was.
            wanted = (f"{sql_text(name)}: {sql_text(_kind(name, kind))}" for name, kind in kinds.items())
            found["columns"] = f", columns = {{{', '.join(wanted)}}}"
        chosen = ", ".join(_column(name, plain=reader is _PLAIN) for name in kinds)
        connection.sql(f"from {reader.format_map(found)}").select(chosen).create(table)
    except duckdb.Error as error:
        raise UsageError(f"{path} cannot be read: {error_words(error)}") from None
    lower = {name.lower() for name in kinds}
    if missing := [name for name in needed if name not in lower]:
        raise UsageError(f"{path} has no column {missing[0]}; there are {', '.join(sorted(kinds))}")
    return list(kinds)


def _kind(name: str, kind: str) -> str:
    return "VARCHAR" if name.lower() in _TEXTS else kind


def _column(name: str, *, plain: bool) -> str:
    if name.lower() not in _TEXTS:
        return sql_name(name)
    value = f"{sql_name(name)}::varchar"
    return f"{f'trim({value}, chr(32) || chr(9))' if plain else value} as {sql_name(name)}"
