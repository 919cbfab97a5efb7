"""Migrations: the plain, idempotent files of `supabase/migrations`, applied in the order of their names.

Each file enters itself in `lipika_migrations`, so that it does not matter whether lipika, psql or the Supabase CLI
ran it. Running one twice changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lipika.db.connection import Connection, Database
from lipika.db.queries import load
from lipika.errors import SettingsError

_QUERIES = load("migrate")
_OUTPUTS = "20261128000710"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `<version>_<name>.sql`."""

    version: str
    name: str
    sql: bytes

    @property
    def title(self) -> str:
        return f"{self.version}_{self.name}"


@dataclass(frozen=True, slots=True)
class VideoTable:
    """A table or view that lipika did not make and that has a `video_id` and a `language` column."""

    schema_name: str
    table_name: str
    row_estimate: int  # the planner's; -1: never counted


@dataclass(frozen=True, slots=True)
class SharedOutput:
    """Videos of the queue whose results have one name, the earliest first: from before that was refused."""

    video_ids: list[str]
    output_key: str


@dataclass(frozen=True, slots=True)
class ForeignTable:
    """A table or view under one of our names that lipika did not make."""

    table_name: str
    missing: list[str]  # columns that ours has

    def __str__(self) -> str:
        return (
            f"{self.table_name} is not a table of lipika (it lacks {', '.join(self.missing)}) and stays as it is:"
            " give lipika a database of its own, or rename that table"
        )


@dataclass(frozen=True, slots=True)
class TableRights:
    """Facts about one of our tables, for `lipika db check`."""

    table_name: str
    row_security: bool
    writable: bool  # by us
    public: bool  # readable by a role that Supabase's public keys stand for


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The state of the database, before anything is changed."""

    server_version: str
    may_create: bool  # tables, in the schema that unqualified names mean
    applied: tuple[str, ...]
    pending: tuple[str, ...]
    tables: tuple[TableRights, ...]
    video_tables: tuple[VideoTable, ...]
    shared_outputs: tuple[SharedOutput, ...] = ()
    foreign: tuple[ForeignTable, ...] = ()

    def problems(self) -> list[str]:
        """Tasks for a person, one sentence each; empty when all is well."""
        found = []
        if int(self.server_version.split(".")[0]) < 15:
            found.append(f"Postgres {self.server_version} is too old: 15 or newer is needed.")
        found += [f"{table}." for table in self.foreign]
        if self.pending:
            found.append(f"Migrations are missing: {', '.join(self.pending)}. Run `lipika db migrate`.")
            if not self.may_create:
                found.append("This user may not create tables: migrate as the owner of the database.")
        for table in self.tables:
            if not table.row_security:
                found.append(f"Row level security is off for {table.table_name}. Run its migration again.")
            if not table.writable:
                found.append(
                    f"This user may not write to {table.table_name}: connect as its owner, or as a worker's role."
                )
            if table.public:
                found.append(
                    f"Supabase's public keys have rights on {table.table_name}. Run its migration again."
                )
        found.extend(
            f"Videos {', '.join(shared.video_ids[:10])} would all write {shared.output_key}: keep one"
            " (`lipika queue remove` the others), then run `lipika db migrate`."
            for shared in self.shared_outputs
        )
        return found


@dataclass(frozen=True, slots=True)
class _Version:
    version: str


@dataclass(frozen=True, slots=True)
class _LateIndex:
    name: str
    missing: bool
    interrupted: bool


@dataclass(frozen=True, slots=True)
class _Server:
    server_version: str
    may_create: bool
    recorded: bool


def migrations() -> tuple[Migration, ...]:
    """All migrations in order: from the wheel, else from the checkout that this file lies in."""
    packaged = Path(__file__).parent / "migrations"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[3] / "supabase" / "migrations"
    paths = sorted(folder.glob("*.sql"))
    if not paths:
        raise FileNotFoundError(f"no migrations in {folder}")
    return tuple(
        Migration(version, name, path.read_bytes())
        for path in paths
        for version, _, name in [path.stem.partition("_")]
    )


async def migrate(database: Database) -> list[str]:
    """Apply what is missing, each file in a transaction of its own; returns the titles of what was applied.

    Outputs become unique here as soon as no two rows of the queue share one.

    Several processes may do this at once: the second waits for the first and finds the work done.

    Raises:
        SettingsError: tables of somebody else have our names; nothing was changed.
    """
    foreign = await database.rows(_QUERIES["foreign"], {}, ForeignTable)
    if foreign:
        raise SettingsError("; ".join(map(str, foreign)))
    done = []
    for migration in migrations():
        async with database.transaction() as connection:
            await connection.execute(_QUERIES["lock"].sql)
            if migration.version not in await _applied_versions(connection):
                await connection.execute(migration.sql)
                done.append(migration.title)
    await database.execute(_QUERIES["index_outputs"], {})
    return [*done, *[f"{name}, an index" for name in await _make_late_indexes(database)]]


async def _make_late_indexes(database: Database) -> list[str]:
    """The indexes on results that the table was too large to be locked for; beside the work."""
    made = []
    for index in await database.rows(_QUERIES["late_indexes"], {}, _LateIndex):
        if index.interrupted:
            await database.execute(_QUERIES[f"drop_{index.name}"], {})
        if index.interrupted or index.missing:
            await database.execute(_QUERIES[f"make_{index.name}"], {})
            made.append(index.name)
    return made


async def check(database: Database) -> CheckReport:
    """Look at the database without changing anything."""
    server = await database.row(_QUERIES["server"], {}, _Server)
    foreign = await database.rows(_QUERIES["foreign"], {}, ForeignTable)
    others = {table.table_name for table in foreign}
    known = server.recorded and "lipika_migrations" not in others
    applied = (
        {row.version for row in await database.rows(_QUERIES["applied"], {}, _Version)} if known else set()
    )
    shared = (
        await database.rows(_QUERIES["shared_outputs"], {}, SharedOutput)
        if _OUTPUTS in applied and not others
        else []
    )
    return CheckReport(
        server_version=server.server_version,
        may_create=server.may_create,
        applied=tuple(migration.title for migration in migrations() if migration.version in applied),
        pending=tuple(migration.title for migration in migrations() if migration.version not in applied),
        tables=tuple(
            table
            for table in await database.rows(_QUERIES["rights"], {}, TableRights)
            if table.table_name not in others
        ),
        video_tables=tuple(await database.rows(_QUERIES["video_tables"], {}, VideoTable)),
        shared_outputs=tuple(shared),
        foreign=tuple(foreign),
    )


async def _applied_versions(connection: Connection) -> set[str]:
    """The record inside the transaction that holds the lock; none before the first migration."""
    (recorded,) = await (await connection.execute(_QUERIES["recorded"].sql)).fetchone() or (False,)
    if not recorded:
        return set()
    return {version async for (version,) in await connection.execute(_QUERIES["applied"].sql)}
