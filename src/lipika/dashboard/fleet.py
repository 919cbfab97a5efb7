"""The first page: what the fleet does now, against what it may do; and the brakes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import dropwhile
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from lipika.dashboard.board import (
    Board,
    board_of,
    fragment,
    local_path,
    problem,
    redirect_with_message,
    render,
    rights_of,
)
from lipika.db.budgets import Limits
from lipika.db.stats_fleet import FleetNow, MinuteRow, ProviderNow, WorkerRow
from lipika.db.stats_queue import HeldVideos, LanguageProgress, QueuePace
from lipika.db.stats_spend import SpendSummary
from lipika.errors import LipikaError
from lipika.forecast.limits import ALL, LIMITS, Limit
from lipika.wording import read_limit

HISTORY_MINUTES = 60
MAX_WATCHERS = 64


@dataclass(frozen=True, slots=True)
class FleetLook:
    """All that the page shows, as of one moment."""

    now: FleetNow
    outlook: QueuePace
    progress: tuple[LanguageProgress, ...]
    spend: SpendSummary
    workers: tuple[WorkerRow, ...]
    minutes: tuple[MinuteRow, ...]
    held: tuple[HeldVideos, ...]
    at: datetime

    @property
    def videos(self) -> int:
        return sum(row.videos for row in self.progress)

    @property
    def videos_done(self) -> int:
        return sum(row.done for row in self.progress)

    @property
    def active(self) -> tuple[ProviderNow, ...]:
        """Providers that matter for rates: those that workers use, else all."""
        return tuple(row for row in self.now.providers if row.workers) or self.now.providers

    @property
    def rpm(self) -> int:
        return sum(row.rpm for row in self.now.providers)

    @property
    def tpm(self) -> int:
        return sum(row.tpm for row in self.now.providers)

    @property
    def usd_per_minute(self) -> float:
        return sum(row.usd_per_minute for row in self.now.providers)

    @property
    def in_flight(self) -> int:
        return sum(row.in_flight for row in self.now.providers)

    @property
    def cache_rate(self) -> float | None:
        prompt = sum(row.prompt_tokens for row in self.now.providers)
        return sum(row.cached_tokens for row in self.now.providers) / prompt if prompt else None

    @property
    def rpm_limit(self) -> float | None:
        return _total([row.requests_per_minute for row in self.active])

    @property
    def tpm_limit(self) -> float | None:
        return _total([row.tokens_per_minute for row in self.active])

    @property
    def usd_minute_limit(self) -> float | None:
        ten = self._lesser(
            _total([row.spend_10min_usd for row in self.active]), lambda row: row.spend_10min_usd
        )
        return None if ten is None else ten / 10

    @property
    def usd_limit(self) -> float | None:
        """In all; the lesser where there is a cap over all providers, too."""
        return self._lesser(
            _total([row.spend_total_usd for row in self.active]), lambda row: row.spend_total_usd
        )

    def _lesser(self, limit: float | None, of: Callable[[ProviderNow], float | None]) -> float | None:
        overall = of(self.now.overall) if self.now.overall else None
        return min((one for one in (limit, overall) if one is not None), default=None)

    def series(self) -> dict[str, list[float]]:
        """The charts' columns, from the first minute with a worker on; the last place holds what is so now."""
        rows = list(dropwhile(lambda row: not row.workers, self.minutes)) or list(self.minutes[-1:])
        if len(rows) == 1:
            rows = list(self.minutes[-2:])  # a line has two ends
        found: dict[str, list[float]] = {
            "at": [row.minute.timestamp() for row in rows],
            "rpm": [row.rpm for row in rows],
            "tpm": [row.tpm for row in rows],
            "usd": [round(row.usd, 6) for row in rows],
        }
        if rows:
            for name, value in (("rpm", self.rpm), ("tpm", self.tpm), ("usd", round(self.usd_per_minute, 6))):
                found[name][-1] = value
        return found


def _total(limits: Sequence[float | None]) -> float | None:
    """The sum; None where one has no limit, since then the whole has none."""
    known = [limit for limit in limits if limit is not None]
    return sum(known) if known and len(known) == len(limits) else None


class SharedLook:
    """One look at the fleet serves everybody who watches, for a moment."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._look: FleetLook | None = None
        self._taken = float("-inf")
        self.watchers = 0
        self.closing = asyncio.Event()  # the server ends: whoever watches is let go

    async def look(self, board: Board, max_age_s: float) -> FleetLook:
        async with self._lock:
            if self._look is None or time.monotonic() - self._taken > max_age_s:
                self._look = await _take(board)
                self._taken = time.monotonic()
            return self._look


async def _take(board: Board) -> FleetLook:
    stats = board.stats
    now, outlook, progress, held = await asyncio.gather(
        stats.fleet.now(), stats.queue.outlook(), stats.queue.languages(), stats.queue.count_held()
    )
    spend, workers, minutes = await asyncio.gather(
        stats.spend.summary(), stats.fleet.workers(), stats.fleet.minutes(HISTORY_MINUTES)
    )
    return FleetLook(
        now, outlook, tuple(progress), spend, tuple(workers), tuple(minutes), tuple(held), datetime.now(UTC)
    )


def _lookout(request: Request) -> SharedLook:
    found: SharedLook = request.app.state.lookout
    return found


async def page(request: Request) -> Response:
    """Everything at once; `live` keeps it so."""
    board = board_of(request)
    look = await _lookout(request).look(board, max_age_s=0.0)
    return render(request, "fleet.html", {"title": "Fleet", "look": look}, live=True)


async def live(request: Request) -> Response:
    """Server-sent events: `fleet` with the figures as HTML and the charts' columns, `away` while Postgres is."""
    lookout = _lookout(request)
    if lookout.watchers >= MAX_WATCHERS:
        return PlainTextResponse("Too many watch already.\n", 503, {"retry-after": "30"})
    headers = {"x-accel-buffering": "no"}
    return StreamingResponse(_events(request, lookout), media_type="text/event-stream", headers=headers)


async def _events(request: Request, lookout: SharedLook) -> AsyncIterator[bytes]:
    board = board_of(request)
    lookout.watchers += 1
    try:
        while board.signer.session_is_open(request.state.session) and not lookout.closing.is_set():
            yield await _event(request, board, lookout)
            with suppress(TimeoutError):
                await asyncio.wait_for(lookout.closing.wait(), board.live_s)
    finally:
        lookout.watchers -= 1


async def _event(request: Request, board: Board, lookout: SharedLook) -> bytes:
    try:
        look = await lookout.look(board, board.live_s / 4)
    except LipikaError as error:
        return b"event: away\ndata: " + orjson.dumps(str(error)) + b"\n\n"
    context = {"look": look, "csrf": request.state.csrf, **rights_of(request)}
    news = {
        "top": fragment("fleet_top.html", context),
        "rest": fragment("fleet_rest.html", context),
        "series": look.series(),
    }
    return b"event: fleet\ndata: " + orjson.dumps(news) + b"\n\n"


# ----------------------------------------------------------------------------- the brakes


async def drain(request: Request) -> Response:
    """Ask a worker to stop."""
    form = await request.form(max_files=0, max_fields=10)
    asked = await board_of(request).workers.drain([str(form.get("worker", ""))])
    return redirect_with_message(request, _back(form.get("back")), "draining", asked)


async def pause(request: Request) -> Response:
    """Send nothing more to a provider."""
    form = await request.form(max_files=0, max_fields=10)
    provider = await _provider(request, str(form.get("provider", "")))
    if provider is None:
        return _unknown(request)
    await board_of(request).budgets.pause(provider, "paused on the board")
    return redirect_with_message(request, _back(form.get("back")), "paused")


async def resume(request: Request) -> Response:
    form = await request.form(max_files=0, max_fields=10)
    provider = await _provider(request, str(form.get("provider", "")))
    if provider is None:
        return _unknown(request)
    return redirect_with_message(
        request, _back(form.get("back")), "resumed", int(await board_of(request).budgets.resume(provider))
    )


async def budget(request: Request) -> Response:
    """The budget of the whole fleet with a provider: a form, and its answer."""
    provider = await _provider(request, request.query_params.get("provider", ""))
    if provider is None:
        return _unknown(request)
    budgets = board_of(request).budgets
    held = next(iter(await budgets.show(provider)), None)
    limits_of = [limit for limit in LIMITS if provider != ALL or not limit.whole]
    values = {limit.column: getattr(held, limit.column) if held else None for limit in limits_of}
    if request.method == "GET":
        return await _budget_form(request, provider, values)
    form = await request.form(max_files=0, max_fields=20)
    given = {limit.column: str(form.get(limit.column, "")).strip() for limit in limits_of}
    try:
        limits = Limits(**{limit.column: _limit(limit, given[limit.column]) for limit in limits_of})
    except ValueError as error:
        return await _budget_form(request, provider, given, str(error), 400)
    await budgets.set_limits(provider, limits)
    return redirect_with_message(request, "/", "budget")


async def _budget_form(
    request: Request, provider: str, values: Mapping[str, object], wrong: str = "", status: int = 200
) -> Response:
    limits = [limit for limit in LIMITS if limit.column in values]
    now = (await board_of(request).stats.fleet.now()).budgets
    in_use = next((row.in_use for row in now if row.provider == provider), {})
    context = {
        "title": "Limits",
        "provider": provider,
        "limits": limits,
        "values": values,
        "in_use": in_use,
        "wrong": wrong,
    }
    return render(request, "budget.html", context, status=status)


def _limit(limit: Limit, text: str) -> Any:
    """A limit as typed, an integer for a whole number; None for nothing. Raises ValueError with a sentence."""
    if not text:
        return None
    try:
        value = read_limit(text, whole=limit.whole, most=limit.most)
    except ValueError as error:
        raise ValueError(f"{limit.title}: {error}, or nothing") from None
    return int(value) if limit.whole else value


async def _provider(request: Request, name: str) -> str | None:
    """`name` if it is a provider that the fleet uses or has a budget for."""
    known = {row.provider for row in (await board_of(request).stats.fleet.now()).providers}
    return name if name in known | {"aistudio", "openrouter", "simulator", ALL} else None


def _unknown(request: Request) -> Response:
    return problem(request, 404, "There is no such provider", "")


def _back(to: object) -> str:
    return local_path(str(to or "/"))
