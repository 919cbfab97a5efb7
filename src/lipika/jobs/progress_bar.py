"""A bar on stderr for work whose size is known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(what: str, total: float | None = None) -> Iterator[Any]:
    """A bar on stderr, where that is a terminal. Yields (advance, words) -> None."""
    console = Console(stderr=True)
    columns = (TextColumn(f"{what}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[told]}"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(what, total=total, told="")
        yield lambda step, told: progress.update(task, advance=step, told=told)
