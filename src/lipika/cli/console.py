"""The console on which commands print their findings."""

from __future__ import annotations

import os
import sys

from rich.console import Console

_WIDE = 10_000
"""Columns in a file or a pipe, whose reader has no screen that tables must be folded to."""


def open_console() -> Console:
    """stdout: as wide as the terminal, or COLUMNS; wide where there is neither."""
    narrow = (sys.stdout is not None and sys.stdout.isatty()) or "COLUMNS" in os.environ
    return Console(highlight=False, width=None if narrow else _WIDE)
