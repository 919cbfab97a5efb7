"""Whole workers behind a transaction pooler with two server connections, as with Supabase."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fleet_kit import a_stage, rows
from lipika.db import Database, Queue


@pytest.fixture
def pooled_url(database_url: str, open_dir: Path) -> Iterator[str]:
    """The same database through pgbouncer in transaction mode, two server connections in all."""
    binary = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if binary is None:
        pytest.skip("pgbouncer is not installed (Debian package pgbouncer)")
    parts = urlsplit(database_url)
    folder = open_dir / "pooler"
    folder.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "users.txt").write_text(f'"{parts.username}" "{parts.password}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={parts.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {folder}/users.txt\n"
        "pool_mode = transaction\ndefault_pool_size = 2\nserver_check_delay = 0\nserver_reset_query =\n"
    )
    command = [binary, "-q", str(folder / "pgbouncer.ini")]
    if os.geteuid() == 0:
        command += ["-u", "nobody"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        yield f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)


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
