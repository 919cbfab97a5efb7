"""Filling the queue from a table of videos that is there already, inside the database."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from lipika.db.connection import Database
from lipika.db.migrate import check
from lipika.db.queries import Query, load
from lipika.errors import UsageError
from lipika.languages import LANGUAGES

_QUERIES = load("tables")


@dataclass(frozen=True, slots=True)
class TableReport:
    """The outcome of adding a table."""

    found: int
    added: int
    without_language: int  # of those added: the archive's metadata must tell, or the model
    conflicts: list[str]  # ids there already with another source or output; left as they are
    refused: list[
        str
    ]  # ids: their results would be written over something, or no file could have their names
    hinted: list[dict[str, str]]  # some whose row says a language: video_id, source_key, language


@dataclass(frozen=True, slots=True)
class TableSource:
    """A table, and the way in which its rows become videos."""

    table: str  # name or schema.name
    key_template: str = "{video_id}.tar"
    key_column: str | None = None  # holds the archive's key or URL
    output_prefix: str = ""  # ends in `/` unless empty
    output_suffix: str = "_transcribed.tar"
    language: str | None = None  # where neither table nor archive has one that is known
    forced_language: str | None = None  # whatever they say
    priority: int = 0
    max_attempts: int = 3


@dataclass(frozen=True, slots=True)
class _Key:
    source_key: str


@dataclass(frozen=True, slots=True)
class _Column:
    name: str


async def add_table(database: Database, source: TableSource, *, looked_at: int = 0) -> TableReport:
    """Put all videos of a table into the queue; those that are there already stay untouched.

    The report names up to `looked_at` rows that say a language.

    Raises:
        UsageError: there is no such table with `video_id` and `language`; the message lists those there are.
    """
    statement = await _complete(database, source, _QUERIES["add_table"])
    aliases = {alias: code for code, language in LANGUAGES.items() for alias in _aliases(code, language.name)}
    aliases |= {alias: code for code, language in LANGUAGES.items() for alias in language.aliases}
    params = {
        "aliases": list(aliases),
        "codes": list(aliases.values()),
        "key_template": source.key_template,
        "output_prefix": source.output_prefix,
        "output_suffix": source.output_suffix,
        "language": source.language,
        "forced": source.forced_language,
        "looked_at": looked_at,
        "priority": source.priority,
        "max_attempts": source.max_attempts,
    }
    return await database.row(statement, params, TableReport)


async def find_first_keys(database: Database, source: TableSource, count: int) -> list[str]:
    """The archives of a few rows of a table, by key or URL: any, so that nothing is sorted.

    Raises:
        UsageError: there is no such table or column.
    """
    statement = await _complete(database, source, _QUERIES["first_keys"])
    params = {"key_template": source.key_template, "count": count}
    return [row.source_key for row in await database.rows(statement, params, _Key)]


async def _complete(database: Database, source: TableSource, query: Query) -> Query:
    """A query with the names of its table and of the column that holds the archive's key."""
    schema, table = await _find(database, source.table)
    key: sql.Composable = sql.SQL("null::text")
    if source.key_column is not None:
        columns = await _columns(database, schema, table)
        if source.key_column not in columns:
            raise UsageError(
                f"--key-column {source.key_column}: {schema}.{table} has no column {source.key_column}; it has"
                f" {', '.join(columns)}"
            )
        key = sql.SQL("t.{}::text").format(sql.Identifier(source.key_column))
    statement = sql.SQL(query.sql.decode()).format(table=sql.Identifier(schema, table), key=key)
    return Query(query.name, statement.as_bytes(None))


async def _columns(database: Database, schema: str, table: str) -> list[str]:
    params = {"schema": schema, "table": table}
    return [row.name for row in await database.rows(_QUERIES["columns"], params, _Column)]


def _aliases(code: str, name: str) -> tuple[str, str]:
    return code, name.lower()


async def _find(database: Database, name: str) -> tuple[str, str]:
    known = {
        (table.schema_name, table.table_name): table.row_estimate
        for table in (await check(database)).video_tables
    }
    schema, _, table = name.rpartition(".")
    matches = [(s, t) for s, t in known if t == table and (not schema or s == schema)]
    if len(matches) == 1:
        return matches[0]
    listed = ", ".join(f"{s}.{t}" for s, t in matches or known) or "none"
    problem = "is in several schemas" if matches else "is no table with the columns video_id and language"
    raise UsageError(f"--from-table {name}: {problem}; there are: {listed}")
