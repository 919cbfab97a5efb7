"""What tests do to the processes of an embedded Postgres."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lipika.embedded.supervisor import try_lock


def server_of(data_dir: Path) -> int:
    return int((data_dir / "cluster" / "postmaster.pid").read_text().split()[0])


def supervisor_of(data_dir: Path) -> int:
    return int(Path(f"/proc/{server_of(data_dir)}/stat").read_text().rpartition(")")[2].split()[1])


def port_of(data_dir: Path) -> int:
    return int(json.loads((data_dir / "server.json").read_text())["port"])


@contextmanager
def port_taken(data_dir: Path) -> Iterator[None]:
    """Kill the supervisor, and its server with it; before they come back another program listens at their port."""
    server, port = server_of(data_dir), port_of(data_dir)
    os.kill(supervisor_of(data_dir), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (lock := try_lock(data_dir / "supervisor.lock")) is None:  # before a user's watcher looks
        assert time.monotonic() < deadline
    try:
        while Path(f"/proc/{server}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        squatter = socket.create_server(("127.0.0.1", port))
    finally:
        os.close(lock)
    with squatter:
        yield
