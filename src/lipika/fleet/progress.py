"""The display of progress: one live panel on a terminal, a plain line now and then elsewhere. On stderr."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lipika.db.budgets import BudgetRow
from lipika.db.stats_queue import QueuePace
from lipika.engine.engine import Engine
from lipika.errors import LipikaError
from lipika.fleet.worker import Worker
from lipika.log import get_logger
from lipika.meters import LastMinute, Sums
from lipika.models import RATE_KINDS
from lipika.pipeline.byte_budget import ByteBudget
from lipika.wording import duration, money, percent

log = get_logger(__name__)

_PANEL_EVERY_S = 0.25
_LOOK_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class FleetContext:
    """Figures that the database knows and a worker does not: budgets by provider, and how far the whole queue is."""

    budgets: Mapping[str, BudgetRow] = field(default_factory=dict)
    outlook: QueuePace | None = None


ReadContext = Callable[[], Awaitable[FleetContext]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The figures of one moment. Dollars are US dollars; None is not known (yet), or no limit."""

    videos: int | None  # to be done in all; None: a worker takes what comes
    videos_done: int
    videos_failed: int
    videos_open: int
    clips: int  # cut so far
    clips_ended: int
    no_speech: int
    failed: int
    discarded: int
    clips_per_minute: float
    in_flight: int
    queued: int
    buffer_mb: float
    spool_mb: float
    rpm: int
    rpm_limit: int | None
    tpm: int
    tpm_limit: int | None
    binds: str  # the fleet's limit that decided last; empty: the batch window does
    waits_for: str
    errors: int
    rate_limited: Mapping[str, int]  # 429s by kind
    cache_rate: float | None  # share of prompt tokens
    usd: float
    usd_per_clip: float | None
    usd_projected: float | None
    eta_s: float | None
    eta_basis: str
    alignment: str = ""  # how the comparison with a second recogniser goes, in words
    opinions: str = ""  # the same of second opinions


class WorkerWatch:
    """Looks at a worker and its engine; they know nothing of it.

    `videos` is how many there are to do, None for a worker that takes what comes: then the outlook is that of the
    whole queue and the whole fleet.
    """

    def __init__(
        self, worker: Worker, engine: Engine, room: ByteBudget, *, videos: int | None, title: str
    ) -> None:
        self._worker = worker
        self._engine = engine
        self._room = room
        self._videos = videos
        self.title = title
        self._started = time.monotonic()
        self._minute = LastMinute(self._started)
        self.around = FleetContext()

    def note_videos(self, videos: int) -> None:
        """There are more to do than was known."""
        self._videos = videos

    def snapshot(self) -> Snapshot:
        counts, totals, tally = self._worker.counts, self._engine.totals, self._worker.tally
        rpm, tpm = self._engine.live()
        budget = self.around.budgets.get(self._engine.provider_in_use)
        ended = counts.transcribed + counts.no_speech + counts.failed
        speed, usage = self._clips_per_minute(ended), totals.usage
        usd = self._worker.usd
        each = usd / ended if ended else None
        left, eta_s, basis = self._outlook(ended, speed)
        return Snapshot(
            videos=self._videos,
            videos_done=tally.done,
            videos_failed=tally.failed,
            videos_open=self._worker.held,
            clips=counts.clips,
            clips_ended=ended,
            no_speech=counts.no_speech,
            failed=counts.failed,
            discarded=counts.discarded,
            clips_per_minute=speed,
            in_flight=self._engine.in_flight,
            queued=self._engine.queued,
            buffer_mb=self._room.used / (1 << 20),
            spool_mb=counts.spooled_bytes / (1 << 20),
            rpm=rpm,
            rpm_limit=budget.requests_per_minute if budget else None,
            tpm=tpm,
            tpm_limit=budget.tokens_per_minute if budget else None,
            binds=self._engine.binds,
            waits_for=self.waits_for(),
            errors=totals.errors,
            rate_limited={str(kind): n for kind, n in totals.failure_kinds.items() if kind in RATE_KINDS},
            cache_rate=usage.cached / usage.prompt if usage.prompt else None,
            usd=usd,
            usd_per_clip=each,
            usd_projected=None if each is None or left is None else usd + each * left,
            eta_s=eta_s,
            eta_basis=basis,
            alignment=self._worker.aligner.words() if self._worker.aligner else "",
            opinions=self._worker.opinions.words() if self._worker.opinions else "",
        )

    def waits_for(self) -> str:
        """The reason why nothing moves, in words; empty while it does."""
        if not self._worker.held and self._worker.held_by_others:
            return (
                f"{self._worker.held_by_others} videos of another worker; if it is dead, its lease ends soon"
            )
        return self._worker.counts.waits_for or self._engine.limited_by()

    def _clips_per_minute(self, ended: int) -> float:
        """Of the last minute, or of the time since the start while that is shorter."""
        now = time.monotonic()
        lately = self._minute.note(now, Sums(clips=ended)).clips
        return lately / max(min(now - self._started, 60.0), 1e-9) * 60

    def _outlook(self, ended: int, speed: float) -> tuple[float | None, float | None, str]:
        """Clips left (of our own, None for a whole fleet's), seconds left, and what that is based on."""
        if self._videos is None:
            outlook = self.around.outlook
            return None, outlook.eta_s if outlook else None, outlook.basis if outlook else ""
        videos_ended = self._worker.tally.done + self._worker.tally.failed
        if not videos_ended:
            return None, None, "unknown until the first video is done"
        begun, clips = videos_ended + self._worker.held, self._worker.counts.clips
        each = clips / begun
        left = clips - ended + max(self._videos - begun, 0) * each
        basis = f"about {left:,.0f} clips left ({each:,.1f} a video so far) at {speed:,.0f} a minute"
        return left, left / speed * 60 if speed > 0 else None, basis


# ----------------------------------------------------------------------------- forms


def panel(now: Snapshot, title: str) -> Panel:
    """The live panel."""
    grid = Table.grid(padding=(0, 3), expand=True)
    for _ in range(4):
        grid.add_column(justify="left")
    refused = sum(now.rate_limited.values())
    grid.add_row(
        _pair("clips", f"{now.clips_ended:,}/{now.clips:,}"),
        _pair("clips/min", f"{now.clips_per_minute:,.0f}"),
        _pair("in flight", f"{now.in_flight:,}"),
        _pair("queued", f"{now.queued:,} ({now.buffer_mb:,.0f} MB)"),
    )
    grid.add_row(
        _pair("RPM", _count_beside_limit(now.rpm, now.rpm_limit)),
        _pair("TPM", _count_beside_limit(now.tpm, now.tpm_limit)),
        _pair("429s", f"{refused:,}" + _kinds(now.rate_limited)),
        _pair("errors", f"{now.errors:,}"),
    )
    grid.add_row(
        _pair("spent", money(now.usd)),
        _pair("per clip", money(now.usd_per_clip)),
        _pair("in the end", money(now.usd_projected)),
        _pair("cached", percent(now.cache_rate)),
    )
    grid.add_row(
        _pair("no speech", f"{now.no_speech:,}"),
        _pair("failed", f"{now.failed:,}"),
        _pair("discarded", f"{now.discarded:,}"),
        _pair("spooled", f"{now.spool_mb:,.0f} MB"),
    )
    grid.add_row(_pair("limit", now.binds or "the batch window"))
    parts: list[RenderableType] = [_bar(now), grid]
    if now.eta_basis:
        parts.append(Text(now.eta_basis, style="dim"))
    parts += [Text(told, style="dim") for told in (now.alignment, now.opinions) if told]
    if now.waits_for:
        parts.append(Text(f"waits for {now.waits_for}", style="yellow"))
    return Panel(Group(*parts), title=title, border_style="cyan")


def _bar(now: Snapshot) -> Table:
    ended = now.videos_done + now.videos_failed
    bar = Table.grid(padding=(0, 1), expand=True)
    bar.add_column(width=34)
    bar.add_column(ratio=1)
    bar.add_column(justify="right", width=len("ETA 47 h 59 min"))
    bar.add_row(
        Text(_videos(now)),
        ProgressBar(total=max(now.videos, 1), completed=ended) if now.videos is not None else Text(),
        Text(f"ETA {duration(now.eta_s)}"),
    )
    return bar


def line(now: Snapshot) -> str:
    """The same in one plain line."""
    parts = [
        _videos(now),
        f"clips {now.clips_ended:,}/{now.clips:,}",
        f"{now.clips_per_minute:,.0f}/min",
        f"RPM {_count_beside_limit(now.rpm, now.rpm_limit)}",
        f"TPM {_count_beside_limit(now.tpm, now.tpm_limit)}",
        f"in flight {now.in_flight:,}",
        f"429s {sum(now.rate_limited.values()):,}{_kinds(now.rate_limited)}",
        money(now.usd),
    ]
    if now.eta_s is not None:
        parts.append(f"ETA {duration(now.eta_s)}")
    if now.waits_for:
        parts.append(f"waits for {now.waits_for}")
    return "  ".join(parts)


def _videos(now: Snapshot) -> str:
    ended = now.videos_done + now.videos_failed
    told = (
        f"videos {ended:,}" + ("" if now.videos is None else f"/{now.videos:,}") + f", {now.videos_open} open"
    )
    return told + (f", {now.videos_failed:,} failed" if now.videos_failed else "")


def _count_beside_limit(used: int, limit: int | None) -> str:
    return f"{used:,}" if limit is None else f"{used:,} of {limit:,}"


def _kinds(kinds: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{kind} {count:,}' for kind, count in sorted(kinds.items()))})" if kinds else ""


def _pair(name: str, value: str) -> Text:
    return Text.assemble((f"{name} ", "dim"), (value, "bold"))


# ----------------------------------------------------------------------------- showing


@dataclass(frozen=True, slots=True)
class Show:
    """The way in which progress is shown: a panel where `console` is a terminal, else a line every `line_every_s`."""

    console: Console
    quiet: bool = False
    as_events: bool = False  # log events instead of lines, for machines that read logs
    line_every_s: float = 5.0

    @property
    def has_panel(self) -> bool:
        return self.console.is_terminal and not self.quiet and not self.as_events


@asynccontextmanager
async def show_progress(watch: WorkerWatch, show: Show, look: ReadContext) -> AsyncIterator[None]:
    """Show the watch for the length of a block; `look` is asked every few seconds for what lies around."""
    if show.quiet:
        yield
        return
    display = _live(watch, show.console) if show.has_panel else _plain(watch, show)
    tasks = [asyncio.create_task(display), asyncio.create_task(_look_around(watch, look))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _look_around(watch: WorkerWatch, look: ReadContext) -> None:
    while True:
        with suppress(LipikaError):  # Postgres away, or refusing: the worker says so itself
            watch.around = await look()
        await asyncio.sleep(_LOOK_EVERY_S)


async def _live(watch: WorkerWatch, console: Console) -> None:
    def picture() -> Panel:
        return panel(watch.snapshot(), watch.title)

    with Live(picture(), console=console, transient=True, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(_PANEL_EVERY_S)
            live.update(picture(), refresh=True)


async def _plain(watch: WorkerWatch, show: Show) -> None:
    while True:
        await asyncio.sleep(show.line_every_s)
        now = watch.snapshot()
        if show.as_events:
            log.info("progress", **_event(now))
        else:
            print(line(now), file=sys.stderr, flush=True)  # noqa: T201 - this is the display


def _event(now: Snapshot) -> dict[str, object]:
    rounded = {
        name: round(value, 6) if isinstance(value, float) else value
        for name in Snapshot.__slots__
        if (value := getattr(now, name)) not in (None, "", {})
    }
    return dict(rounded)
