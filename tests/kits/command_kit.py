"""The command line in a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def lipika(
    *arguments: str,
    env: dict[str, str] | None = None,
    timeout: float = 110,
    cwd: Path | None = None,
    through: tuple[str, ...] = (),
) -> Any:
    """Run the command line in a process of its own, with nothing of our environment but what it needs."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if key in {"PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH"}
    }
    return subprocess.run(
        [*through, sys.executable, "-m", "lipika", *arguments],
        env=clean | (env or {}),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
    )


async def lipika_beside(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    clean = {
        key: value
        for key, value in os.environ.items()
        if key in {"PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH"}
    }
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "lipika", *arguments],
        env=clean | dict(env),
        capture_output=True,
        text=True,
        timeout=110,
    )
