"""A file that is touched while the event loop turns: what a container's health check looks at.

It says that the process lives, and nothing of the database or the network: a worker that waits out an outage is
healthy, and killing it would lose what it holds.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from lipika.errors import SettingsError

EVERY_S = 5.0


@asynccontextmanager
async def pulse(file: Path | None, *, every_s: float = EVERY_S) -> AsyncIterator[None]:
    """Touch `file` every few seconds while the block runs, and remove it at its end; None: do nothing.

    Raises:
        SettingsError: the file cannot be made.
    """
    if file is None:
        yield
        return
    try:
        _touch(file)
    except OSError as error:
        raise SettingsError(f"HEALTH_FILE: {file} cannot be written: {error.strerror}") from error
    beating = asyncio.create_task(_beat(file, every_s), name="pulse")
    try:
        yield
    finally:
        beating.cancel()
        _remove(file)


async def _beat(file: Path, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            _touch(file)
        except OSError:  # a full disk: the health check will say so, the work goes on
            continue


def _touch(file: Path) -> None:
    """In the loop itself, not in a thread: that the loop turns is what it shows."""
    if file.is_dir():  # which could be touched, too
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    file.touch()


def _remove(file: Path) -> None:
    with suppress(OSError):  # the work is done: a file that stays harms nobody
        file.unlink()
