"""The connection pool, and the translation of the driver's errors into ours.

Everything works through a transaction pooler (pgbouncer, Supabase's Supavisor): no prepared statements, no
LISTEN, no session settings or locks, no `options` at connecting; a transaction is short and never waits for anything
but the database.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from types import TracebackType
from typing import Self, TypeAlias, TypeVar

import psycopg
from psycopg import AsyncConnection, conninfo
from psycopg.rows import TupleRow, class_row
from psycopg_pool import AsyncConnectionPool

from lipika.db.queries import Query
from lipika.errors import DatabaseError, DatabaseUnavailable, LipikaError, RowRefused, SettingsError

Row = TypeVar("Row")
Done = TypeVar("Done")
Params: TypeAlias = Mapping[str, object]
Connection: TypeAlias = AsyncConnection[TupleRow]

CONNECT_SECONDS = 10
_RECONNECT_SECONDS = 8.0
"""Attempts of the pool lie 1, 2, 4 ... s apart; after this long it starts over with whoever asks next."""
_OPTIONS: dict[str, str | int] = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "lipika",
    # A peer that vanished without a word is noticed after about a minute of silence, or 30 s with data unsent.
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

_AWAY_CLASSES = ("08", "53")  # connection exception; insufficient resources
_AWAY_STATES = {
    "25006",  # read only: a failover, or a full disk at Supabase
    "40001",  # serialization failure
    "40P01",  # deadlock
    "55P03",  # lock not available
    "57014",  # query cancelled
    "57P01",  # admin shutdown
    "57P02",  # crash shutdown
    "57P03",  # starting up or shutting down
    "57P05",  # idle session timeout
}
_OF_A_SESSION = {
    "25006",  # read only
    "42501",  # not allowed: row_security
    "42883",  # no such function: search_path
    "42P01",  # no such table
}
"""What somebody else's settings may do to a statement: a pooler hands on its connections with them."""
_OUT_OF_TIME = {"55P03", "57014"}  # lock_timeout, statement_timeout
_ROW_CLASSES = ("22", "23", "54")  # data exception; a constraint; beyond a limit
_HINTS = {
    "42P01": "run `lipika db migrate`",
    "42703": "run `lipika db migrate`",
    "42883": "run `lipika db migrate`",
    "3F000": "run `lipika db migrate`",
    "42501": "connect as the owner of the tables (`lipika db check` lists the rights)",
}
# While connecting there is no code, only text.
_REFUSALS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "tenant or user not found")


class Database:
    """A small pool of connections to one Postgres.

    Args:
        url: `postgresql://user:password@host:port/database`; a function is asked for it with each connection, for a
            server whose address may change. Never logged, never part of an error.
        max_size: connections at most.
        wait_seconds: how long to wait for a free connection before it counts as an outage.
    """

    def __init__(
        self, url: str | Callable[[], str], *, max_size: int = 2, wait_seconds: float = 10.0
    ) -> None:
        self._url = url
        self._conninfo()  # what is wrong with it is known before anybody waits for it
        self.key = secrets.token_hex(16)
        """What this process life shows to speak for its worker; no other role of the database can read it."""
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._conninfo,
            kwargs={"autocommit": True, "prepare_threshold": None},
            min_size=1,
            max_size=max_size,
            timeout=wait_seconds,
            max_idle=300,
            reconnect_timeout=_RECONNECT_SECONDS,
            name="lipika",
            open=False,
        )

    @property
    def url(self) -> str:
        """Where it is at present, for another process that opens it for itself. Never to be logged or shown."""
        return self._conninfo()

    def _conninfo(self) -> str:
        return _check_url(self._url if isinstance(self._url, str) else self._url())

    async def open(self) -> Self:
        """Connect once to learn what is wrong, if anything, then open the pool.

        Raises:
            SettingsError: the server refuses this user, password or database.
            DatabaseUnavailable: it cannot be reached.
        """
        try:
            async with await AsyncConnection.connect(self._conninfo(), autocommit=True):
                pass
        except psycopg.OperationalError as error:
            reason = _first_line(error)
            if any(text in reason.lower() for text in _REFUSALS):
                raise SettingsError(f"DATABASE_URL: Postgres refuses it: {reason}") from None
            raise DatabaseUnavailable(f"Postgres cannot be reached: {reason}") from error
        await self._pool.open()
        return self

    async def close(self) -> None:
        await self._pool.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit mode. Driver errors leave as DatabaseUnavailable or DatabaseError."""
        with translate_driver_errors():
            async with self._pool.connection() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside one transaction: committed at the end, rolled back on an error. Keep it short."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def execute(self, query: Query, params: Params) -> int:
        """Run one statement; returns the number of rows it touched."""

        async def run(connection: Connection) -> int:
            return (await connection.execute(query.sql, params or None)).rowcount

        return await self._run(query, run)

    async def rows(self, query: Query, params: Params, kind: type[Row]) -> list[Row]:
        """All rows of one statement as instances of `kind`, built by column name."""

        async def run(connection: Connection) -> list[Row]:
            async with connection.cursor(row_factory=class_row(kind)) as cursor:
                await cursor.execute(query.sql, params or None)
                return await cursor.fetchall()

        return await self._run(query, run)

    async def row(self, query: Query, params: Params, kind: type[Row]) -> Row:
        """The one row of a statement that always gives one."""
        (row,) = await self.rows(query, params, kind)
        return row

    async def _run(self, query: Query, run: Callable[[Connection], Awaitable[Done]]) -> Done:
        """Run it; once more with settings of its own where it may have failed by those of another client.

        A statement that failed has done nothing, so that it may be repeated.
        """
        with translate_driver_errors(query.name):
            async with self._pool.connection() as connection:
                try:
                    return await run(connection)
                except psycopg.Error as error:
                    first = error
                if first.sqlstate in _OUT_OF_TIME:  # not again: it may have taken long by itself
                    with suppress(psycopg.Error):
                        await _run_in_clean_session(connection, _nothing)
                if first.sqlstate not in _OF_A_SESSION:
                    raise first
                try:
                    return await _run_in_clean_session(connection, run)
                except psycopg.errors.FeatureNotSupported:  # a standby writes for nobody
                    raise first from None


async def _run_in_clean_session(connection: Connection, run: Callable[[Connection], Awaitable[Done]]) -> Done:
    """In one transaction, and so on one connection of a pooler, which stays clean.

    Where the server itself is read only, as Supabase's with a full disk, it stays so.
    """
    async with connection.transaction():
        await connection.execute("set transaction isolation level read committed")
        await connection.execute("reset all")
        cursor = await connection.execute("show default_transaction_read_only")
        if await cursor.fetchone() == ("off",):
            await connection.execute("set transaction read write")
        return await run(connection)


async def _nothing(_connection: Connection) -> None:
    """Only clean it."""


@contextmanager
def translate_driver_errors(what: str = "") -> Iterator[None]:
    """Turn the driver's errors into ours; `what` names the query.

    A cancellation that came meanwhile is raised again: before Python 3.12 `asyncio.wait_for`, which the driver waits
    with, loses one that arrives together with the reply.
    """
    before = _cancel_requests()
    try:
        yield
    except psycopg.Error as error:
        if _cancel_requests() > before:
            raise asyncio.CancelledError from error
        raise _translate(error, what) from error
    if _cancel_requests() > before:
        raise asyncio.CancelledError


def _cancel_requests() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def _translate(error: psycopg.Error, what: str) -> LipikaError:
    state = error.sqlstate or ""
    reason = f"{what}: {_first_line(error)}" if what else _first_line(error)
    lost = not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    if lost or state in _AWAY_STATES or state.startswith(_AWAY_CLASSES):
        return DatabaseUnavailable(f"Postgres is away: {reason}")
    hint = f"; {_HINTS[state]}" if state in _HINTS else ""
    of_a_row = state.startswith(_ROW_CLASSES) or (not state and isinstance(error, psycopg.DataError))
    kind = RowRefused if of_a_row else DatabaseError
    return kind(f"Postgres refused {reason} ({state or type(error).__name__}){hint}")


def _first_line(error: psycopg.Error) -> str:
    """The driver's own sentence. It names host and user, never the password: `_check_url` has read the URL."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _check_url(url: str) -> str:
    """The URL with our defaults, as the driver takes it.

    A URL whose parts are not what they seem is refused, before its pieces can turn up in an error.

    Raises:
        SettingsError: without any part of the URL in its text.
    """
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        parts = {}
    host, port, name = (str(parts.get(key) or "") for key in ("host", "port", "dbname"))
    misread = (
        any(character in host for character in "@?#") or "@" in name or not re.fullmatch(r"[\d,]*", port)
    )
    if not host or misread:
        raise SettingsError(
            "DATABASE_URL is not a valid Postgres URL: postgresql://user:password@host:port/database is expected."
            " Write special characters of the password as %40 (@), %3A (:), %2F (/), %3F (?), %23 (#), and leave out"
            " parameters that are not Postgres' own, such as pgbouncer=true."
        )
    return conninfo.make_conninfo("", **{**_OPTIONS, **parts})
