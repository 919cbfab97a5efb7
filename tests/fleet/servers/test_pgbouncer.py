"""Whole workers behind a transaction pooler with two server connections, as with Supabase."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_kit import a_stage, rows
from lipika.db import Database, Queue
from pooler import a_pooler


@pytest.fixture
def pooled_url(database_url: str, open_dir: Path) -> Iterator[str]:
    """The same database through pgbouncer in transaction mode, two server connections in all."""
    with a_pooler(database_url, open_dir / "pooler") as url:
        yield url


async def test_three_workers_share_two_connections_and_leave_nothing_behind(
    pooled_url: str, database_url: str, tmp_path: Path
) -> None:
    before = rows(database_url, "select count(*) from pg_locks where locktype = 'advisory'")
    async with a_stage(tmp_path, pooled_url) as stage:
        await stage.queue(6, 8)
        founds = await asyncio.gather(*(stage.work(max_videos=2) for _ in range(3)))
        assert await stage.repaid() == 0
        (sessions,) = rows(
            database_url,
            "select count(*) as n from pg_stat_activity where datname = current_database()"
            " and application_name = 'lipika' and pid <> pg_backend_pid()",
        )
    assert sessions.n <= 2
    assert sum(found.worker.tally.done for found in founds) == 6
    async with Database(pooled_url) as database:
        assert (await Queue(database).counts()).done == 6
    (table,) = rows(database_url, "select count(*) as n from transcription_results")
    assert table.n == 48
    assert {row.status for row in rows(database_url, "select status from workers")} == {"offline"}
    assert rows(database_url, "select count(*) from pg_locks where locktype = 'advisory'") == before
