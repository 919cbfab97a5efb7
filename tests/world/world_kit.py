"""What the world's tests share: a run of the product in a process of its own, and how long to go on."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MINUTES = float(os.environ.get("WORLD_MINUTES") or 0)
"""For how long fresh seeds are tried; 0: one round, with the seed of CI."""
SEED = int(os.environ.get("WORLD_SEED") or (random.randrange(1 << 31) if MINUTES else 20261128))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    code: int
    summary: dict[str, Any]
    said: str


def rounds(share: float) -> Iterator[int]:
    """The seeds to try, until this share of the time is over; each is printed, to be given back as WORLD_SEED."""
    until, seed = time.monotonic() + MINUTES * 60 * share, SEED
    while True:
        print(f"WORLD_SEED={seed}", flush=True)
        yield seed
        seed += 1
        if time.monotonic() > until:
            return


def run(source: Path, out: Path, database_url: str, **settings: str) -> Ended:
    """`lipika run` on a folder, as a user would; an end in bounded time is part of what is tested.

    Without a `database_url` it starts the Postgres of its own.
    """
    clean = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}}
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "faulthandler",
            "-m",
            "lipika",
            "run",
            str(source),
            "--out",
            str(out),
            "--json",
        ],
        env=clean | {"DATABASE_URL": database_url, "BATCH_INTERVAL_SECONDS": "5"} | settings,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = done.stderr[-20_000:]
    assert "\nTraceback" not in f"\n{done.stderr}", said  # those of the log are within its lines
    assert done.stdout, said
    return Ended(done.returncode, json.loads(done.stdout), said)
