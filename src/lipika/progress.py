"""What a person watching sees: one live panel on a terminal, a plain line now and then elsewhere. On stderr."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lipika.engine import Engine
from lipika.worker import Worker

_PLAIN_EVERY_S = 5.0


class Watch:
    """Looks at a worker and its engine; they know nothing of it."""

    def __init__(self, worker: Worker, engine: Engine, *, videos: int, title: str):
        self._worker = worker
        self._engine = engine
        self._videos = videos
        self._title = title
        self._started = time.monotonic()

    @property
    def _ended_clips(self) -> int:
        progress = self._worker.progress
        return progress.transcribed + progress.no_speech + progress.failed

    def clips_per_minute(self) -> float:
        return self._ended_clips / max(time.monotonic() - self._started, 1e-9) * 60

    def eta_s(self) -> float | None:
        """Seconds left, from the videos ended so far; None before the first."""
        ended = self._worker.tally.done + self._worker.tally.failed
        if not ended or not self._videos:
            return None
        return (time.monotonic() - self._started) / ended * max(self._videos - ended, 0)

    def panel(self) -> Panel:
        """The live panel."""
        progress, totals, tally = self._worker.progress, self._engine.totals, self._worker.tally
        rpm, tpm = self._engine.live()
        ended = tally.done + tally.failed
        eta = self.eta_s()
        grid = Table.grid(padding=(0, 3), expand=True)
        for _ in range(4):
            grid.add_column(justify="left")
        grid.add_row(
            _pair("clips", f"{self._ended_clips}/{progress.clips}"),
            _pair("clips/min", f"{self.clips_per_minute():,.0f}"),
            _pair("in flight", f"{self._engine.in_flight}"),
            _pair("queued", f"{self._engine.queued}"),
        )
        grid.add_row(
            _pair("RPM", f"{rpm:,}"),
            _pair("TPM", f"{tpm:,}"),
            _pair("429s", f"{totals.rate_limited}"),
            _pair("errors", f"{totals.errors}"),
        )
        grid.add_row(
            _pair("spent", f"${totals.cost_usd:.4f}"),
            _pair("no speech", f"{progress.no_speech}"),
            _pair("failed", f"{progress.failed}"),
            _pair("discarded", f"{progress.discarded}"),
        )
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(width=22)
        bar.add_column(ratio=1)
        bar.add_column(justify="right", width=12)
        bar.add_row(
            Text(f"videos {ended}/{self._videos}, {self._worker.held} open"),
            ProgressBar(total=max(self._videos, 1), completed=ended),
            Text(f"ETA {_duration(eta)}" if eta is not None else "ETA ..."),
        )
        parts: list[RenderableType] = [bar, grid]
        if reason := self.waits_for():
            parts.append(Text(f"waits for {reason}", style="yellow"))
        return Panel(Group(*parts), title=self._title, border_style="cyan")

    def waits_for(self) -> str:
        """Why nothing moves, in words; empty while it does."""
        if not self._worker.held and self._worker.held_by_others:
            return (
                f"{self._worker.held_by_others} videos of another worker; if it is dead, its lease ends soon"
            )
        return self._engine.limited_by()

    def line(self) -> str:
        """The same in one plain line."""
        progress, totals, tally = self._worker.progress, self._engine.totals, self._worker.tally
        eta = self.eta_s()
        return (
            f"videos {tally.done + tally.failed}/{self._videos}  clips {self._ended_clips}/{progress.clips}"
            f"  {self.clips_per_minute():,.0f}/min  in flight {self._engine.in_flight}"
            f"  429s {totals.rate_limited}  ${totals.cost_usd:.4f}"
            + (f"  ETA {_duration(eta)}" if eta is not None else "")
            + (f"  waits for {reason}" if (reason := self.waits_for()) else "")
        )


@asynccontextmanager
async def shown(watch: Watch, console: Console, *, quiet: bool = False) -> AsyncIterator[None]:
    """Show the watch for the length of a block."""
    if quiet:
        yield
        return
    task = asyncio.create_task(_live(watch, console) if console.is_terminal else _plain(watch))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _live(watch: Watch, console: Console) -> None:
    with Live(watch.panel(), console=console, transient=True, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(0.25)
            live.update(watch.panel(), refresh=True)


async def _plain(watch: Watch) -> None:
    while True:
        await asyncio.sleep(_PLAIN_EVERY_S)
        print(watch.line(), file=sys.stderr, flush=True)  # noqa: T201 - this is the display


def _pair(name: str, value: str) -> Text:
    return Text.assemble((f"{name} ", "dim"), (value, "bold"))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
