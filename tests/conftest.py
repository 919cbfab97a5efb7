"""A real Postgres for every test that asks for one: the embedded server, once per test run."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from lipika import redaction
from lipika.db import Database
from lipika.embedded.postgres import EmbeddedPostgres
from order import LONGEST_FIRST
from postgres_kit import PG_BIN, TEMPLATE, UNSAFE_BUT_FAST, fresh_database, migrate_at, on_database

ALLOW_SKIPS = os.environ.get("LIPIKA_ALLOW_SKIPS", "1") != "0"
"""CI installs every package a test may want, and then a skipped test is a failed one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {f"tests/{name}.py": place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.nodeid.split("::")[0], len(places)))


@pytest.fixture(autouse=True)
def _secrets_of_one_test() -> Iterator[None]:
    """What one test gives as a secret, such as an ordinary word, is not hidden from the texts of the next."""
    known = list(redaction._known)
    yield
    redaction._known[:] = known


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: nearly half of its time a test waits, for processes, servers and clocks."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn skips into failures where none are allowed."""
    del item, call
    report = yield
    if report.skipped and not ALLOW_SKIPS and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but LIPIKA_ALLOW_SKIPS=0: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paid services cannot be reached from a test, whatever key lies in the environment."""
    for name in ("GEMINI_API_KEY", "OPENROUTER_API_KEY", "DATABASE_URL", "GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if host and not str(host).startswith(("127.", "::1", "localhost")):
            raise AssertionError(f"a test tried to reach {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def open_dir() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own: as root, Postgres runs as somebody else."""
    folder = Path(tempfile.mkdtemp(prefix="lipika test "))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_url(open_dir: Path) -> Iterator[str]:
    """Superuser URL of the test run's own server, with a migrated template database."""
    binaries = Path(PG_BIN) if PG_BIN else None
    with EmbeddedPostgres(open_dir / "postgres", pg_bin=binaries, settings=UNSAFE_BUT_FAST) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(TEMPLATE)))
        asyncio.run(migrate_at(on_database(server.url, TEMPLATE)))
        yield server.url


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database of this test's own, with nothing in it."""
    yield from fresh_database(postgres_url, "template1")


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    yield from fresh_database(postgres_url, TEMPLATE)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as database:
        yield database


@pytest.fixture(autouse=True)
def wide_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some test tools set COLUMNS for the whole process, and tables would be folded to that."""
    monkeypatch.delenv("COLUMNS", raising=False)
