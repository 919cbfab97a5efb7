"""Databases of a test's own on the server of the test run."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from lipika.db import Database
from lipika.db.migrate import migrate

PG_BIN = os.environ.get("LIPIKA_TEST_PG_BIN") or None  # another Postgres to test against
UNSAFE_BUT_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
TEMPLATE = "lipika_template"


def on_database(url: str, name: str) -> str:
    """The same server, another database."""
    return url.rpartition("/")[0] + "/" + name


async def migrate_at(url: str) -> None:
    """Bring the database behind a URL up to date."""
    async with Database(url) as database:
        await migrate(database)


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


def fresh_database(admin_url: str, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(admin_url, autocommit=True) as connection:
        identifiers = (sql.Identifier(name), sql.Identifier(template))
        # Without fsync a copy of the files beats a copy through the log: 20 ms.
        connection.execute(sql.SQL("create database {} template {} strategy file_copy").format(*identifiers))
        yield on_database(admin_url, name)
        connection.execute(sql.SQL("drop database {} with (force)").format(identifiers[0]))
