"""A real Postgres for every test that asks for one: the embedded server, once per test run."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from lipika import redaction
from lipika.db import Database
from lipika.db.migrate import migrate
from lipika.embedded.postgres import EmbeddedPostgres

ALLOW_SKIPS = os.environ.get("LIPIKA_ALLOW_SKIPS", "1") != "0"
"""CI installs every package a test may want, and then a skipped test is a failed one."""

PG_BIN = os.environ.get("LIPIKA_TEST_PG_BIN") or None  # another Postgres to test against
UNSAFE_BUT_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
TEMPLATE = "lipika_template"

LONGEST_FIRST = (
    "test_streams",
    "test_run",
    "world/test_world_replies",
    "test_foreign_audio",
    "test_worker",
    "test_supervisor_killed",
    "test_outages",
    "test_canary",
    "test_paid_once",
    "test_made_up",
    "test_hints",
    "test_refusals",
    "test_user_errors",
    "test_board_browser",
    "test_chaos",
    "test_governor",
    "test_hostile_memory",
    "test_fallback",
    "world/test_world_audio",
    "test_alignment_stage",
    "test_align_command",
    "test_vast",
    "test_sources",
    "test_deploy_files",
    "world/test_world_archives",
    "test_progress",
    "test_embedded",
    "test_poison_run",
    "test_forecast",
    "test_speed_guard",
    "test_docs",
    "test_troubles",
    "test_poison",
    "test_same_bytes",
    "test_small_things",
)
"""Test files of twenty seconds and more: begun last, they would be waited for by an idle machine."""


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
        asyncio.run(_migrate(on_database(server.url, TEMPLATE)))
        yield server.url


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database of this test's own, with nothing in it."""
    yield from _fresh_database(postgres_url, "template1")


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    yield from _fresh_database(postgres_url, TEMPLATE)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as database:
        yield database


def on_database(url: str, name: str) -> str:
    """The same server, another database."""
    return url.rpartition("/")[0] + "/" + name


def body_of(url: str, function: LiteralString) -> str:
    """The text of a function of the database, with its parameters as the driver's: `p_name` is `%(name)s`."""
    query = """
        select prosrc, array(select format_type(t, null) from unnest(proargtypes) t), proargnames
        from pg_proc where proname = %s
    """
    with psycopg.connect(url) as connection:
        source, types, names = connection.execute(query, [function]).fetchone() or ("", [], [])
    text: str = source.replace("%", "%%")
    for name, kind in zip(names, types, strict=False):  # what it returns has names, too
        text = re.sub(rf"\b{name}\b", f"%({name.removeprefix('p_')})s::{kind}", text)
    return text


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")


def _fresh_database(admin_url: str, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(admin_url, autocommit=True) as connection:
        identifiers = (sql.Identifier(name), sql.Identifier(template))
        # Without fsync a copy of the files beats a copy through the log: 20 ms.
        connection.execute(sql.SQL("create database {} template {} strategy file_copy").format(*identifiers))
        yield on_database(admin_url, name)
        connection.execute(sql.SQL("drop database {} with (force)").format(identifiers[0]))


async def _migrate(url: str) -> None:
    async with Database(url) as database:
        await migrate(database)


@pytest.fixture(autouse=True)
def wide_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some test tools set COLUMNS for the whole process, and tables would be folded to that."""
    monkeypatch.delenv("COLUMNS", raising=False)
