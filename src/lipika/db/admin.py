"""Whole databases of a server that is ours: made anew for the demo."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from lipika.db.connection import translate_driver_errors
from lipika.errors import UsageError


async def fresh_database(url: str, name: str) -> str:
    """Drop the database `name` on the server of `url` if it is there, create it empty, and return its URL.

    Raises:
        UsageError: somebody is connected to it.
        DatabaseUnavailable: the server is away.
    """
    with translate_driver_errors("fresh_database"):
        connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
        async with connection:
            try:
                await connection.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(name)))
            except psycopg.errors.ObjectInUse:
                raise UsageError(
                    f"the database {name} is in use by another process: wait until it ends, or use another --data-dir"
                ) from None
            await connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return another_database(url, name)


def another_database(url: str, name: str) -> str:
    """The URL of the database `name` on the server of `url`."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
