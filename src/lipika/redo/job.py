"""The work of `lipika redo`: an order given or found, carried out; and orders that people gave on the board."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from lipika.config import Settings, require_key
from lipika.dashboard import clip_filters
from lipika.db.clip_search import ClipKey, ClipSearch, ClipSelection
from lipika.db.connection import Database
from lipika.db.redos import MOST_CLIPS, RedoInHand, RedoOrder, Redos
from lipika.errors import SettingsError, Unavailable, UsageError
from lipika.jobs.progress_bar import progress_bar
from lipika.jobs.run_cap import RunCap
from lipika.jobs.wiring import ask_who_answers, reuse_conditions
from lipika.log import get_logger
from lipika.processes import stop_signals
from lipika.redo.carry_out import RedoDone, make_holder, open_redo, refuse
from lipika.redo.order import way_of
from lipika.redo.price import RedoPrice, price_redo
from lipika.wording import duration

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RedoRequest:
    """A redo as ordered on the command line. `asked`: settings by name; `limit` None: as many as an order holds."""

    choice: ClipSelection
    asked: Mapping[str, Any] = field(default_factory=dict)
    keep_both: bool = False
    limit: int | None = None
    max_usd: float | None = None

    def order(self) -> RedoOrder:
        query = clip_filters.filter_query(self.choice)
        return RedoOrder(query, dict(self.asked), self.keep_both, _user(), self.limit)


async def price_of(settings: Settings, database: Database, request: RedoRequest) -> RedoPrice:
    """The price of a redo that nobody has ordered; nothing is asked."""
    way = way_of(settings, request.asked)
    said = await ask_who_answers(way.settings)
    asked = reuse_conditions(way.settings, said.get(way.settings.provider))
    keys = await _choose(database, request)
    return await price_redo(settings, database, way, asked, keys, request.max_usd)


async def redo_clips(settings: Settings, database: Database, request: RedoRequest) -> RedoDone | None:
    """Order a redo and carry it out, or go on with the same one where it was stopped; None: no clip is chosen.

    Raises:
        UsageError: another process has it in hand.
    """
    require_key(way_of(settings, request.asked).settings)
    redos, order = Redos(database), request.order()
    redo_id = await redos.find_unfinished(order)
    if redo_id is None:
        keys = await _choose(database, request)
        new = await redos.order(order, keys) if keys else None
        if new is None:
            return None
        redo_id = new.id
    holder = make_holder(settings)
    redo = await redos.claim(holder, settings.lease_seconds, redo_id)
    if redo is None:
        held = await redos.find_holder(redo_id)
        who = f"{held.holder} has it in hand" if held else "another process has taken it"
        wait = f"; if that is dead, it is free in {duration(held.seconds)}" if held else ""
        raise UsageError(f"redo {redo_id} of these clips is under way already: {who}{wait}")
    return await _carry_out(settings, database, redo, holder, RunCap(request.max_usd))


async def redo_queued(
    settings: Settings, database: Database, max_usd: float | None
) -> AsyncIterator[RedoDone]:
    """Every order that waits, the oldest first, each when it has ended. An order that cannot be asked is failed."""
    redos, passed, cap = Redos(database), list[int](), RunCap(max_usd)
    while True:
        holder = make_holder(settings)
        redo = await redos.claim(holder, settings.lease_seconds, passed=passed)
        if redo is None:
            return
        passed.append(redo.id)
        try:
            done = await _carry_out(settings, database, redo, holder, cap)
        except (UsageError, SettingsError) as error:  # such as a model that nobody knows
            done = await refuse(redos, redo, holder, str(error))
        yield done
        if done.stopped:
            return


async def _carry_out(
    settings: Settings, database: Database, redo: RedoInHand, holder: str, cap: RunCap
) -> RedoDone:
    videos = await Redos(database).videos(redo.id)
    async with open_redo(settings, database, redo, holder, cap) as running:
        task = asyncio.create_task(running.work(), name="redo")
        with (
            progress_bar(f"redo {redo.id}", sum(video.clips for video in videos)) as advance,
            stop_signals(running.stop, lambda: _cancel(task)),
        ):
            telling = asyncio.create_task(running.report(advance), name="progress of redo")
            try:
                await asyncio.wait([task])
            finally:
                telling.cancel()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            with suppress(Unavailable):  # else its lease runs out
                await Redos(database).end(redo.id, holder, "queued", str(error))
            raise error
        return await running.end()


async def _choose(database: Database, request: RedoRequest) -> list[ClipKey]:
    """The clips of a new order; that it leaves some to the next one is said."""
    most = request.limit or MOST_CLIPS
    keys = await ClipSearch(database).list_keys(request.choice, most + 1)
    if len(keys) > most and request.limit is None:
        log.warning(
            "redo_takes_no_more", clips=most, reason="the same command, once this has ended, takes others"
        )
    return keys[:most]


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
