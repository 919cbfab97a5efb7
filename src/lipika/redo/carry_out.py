"""An order carried out: its clips asked for, the better answers made the results. What stops it, it survives."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from lipika.answers.pairing import is_asked_in
from lipika.answers.promote import PromotePlan, promote_video
from lipika.answers.ways import AnswerSums, WayOfAnswers, WaySettings
from lipika.archive.results import archive_on_record
from lipika.config import Settings
from lipika.db.connection import Database
from lipika.db.paid import PaidAnswers
from lipika.db.redos import RedoInHand, RedoMark, RedoProblem, Redos
from lipika.db.results import Results
from lipika.db.stored import Stored
from lipika.db.ways import SeenClip, Ways
from lipika.engine.engine import Engine
from lipika.engine.escalation import Escalation
from lipika.engine.outcome import Events
from lipika.engine.route import Reserve
from lipika.errors import ArchiveError, DatabaseError, StorageError, StorageUnavailable, Unavailable
from lipika.fleet.lease import Lease
from lipika.jobs.run_cap import RunCap
from lipika.jobs.wiring import (
    ask_who_answers,
    engine_options,
    fleet_ledger,
    open_routes,
    reuse_conditions,
)
from lipika.machine import instance_name
from lipika.models import BatchReport, TextSource
from lipika.redo.desk import RedoDesk, RedoOptions
from lipika.redo.order import way_of
from lipika.rework.limits import find_bands
from lipika.services import store_settings

_VIDEOS_AT_A_TIME = 8
_RENEWALS_A_LEASE = 4
_PROBLEMS = 20

OnProgress = Callable[[int, str], object]
"""Told of so many more clips that have ended, and of how it goes in words."""


@dataclass(frozen=True, slots=True)
class RedoDone:
    """An order after a call. `states` counts all of its clips, by now; dollars are those of this call."""

    id: int
    query: str
    way: str
    keep_both: bool
    states: Mapping[str, int]
    asked: int
    stored_before: int
    usd: float
    left_alone: tuple[tuple[str, str], ...]  # videos, and why
    problems: tuple[RedoProblem, ...]
    stopped: str = ""  # why it ended before its end
    capped: bool = False
    interrupted: bool = False
    refused: str = ""  # it can be asked by nobody

    @property
    def left(self) -> int:
        """Clips that are left to do."""
        return self.states.get("waiting", 0) + self.states.get("answered", 0)


async def refuse(redos: Redos, redo: RedoInHand, holder: str, why: str) -> RedoDone:
    """End an order that cannot be asked for, such as one of a model that nobody knows."""
    await redos.end(redo.id, holder, "failed", why)
    (progress,) = await redos.list_progress(1, redo.id)
    return RedoDone(
        redo.id, redo.query, "", redo.keep_both, dict(progress.states), 0, 0, 0.0, (), (), refused=why
    )


def make_holder(settings: Settings) -> str:
    """A name for this process as it holds an order, with random letters: a restart revives nobody."""
    return f"redo-{instance_name(settings.worker_instance_id)}-{secrets.token_hex(3)}"


@dataclass(slots=True)
class RedoInProgress:
    """An order under way, and what stops it: `stop` lets answers that are on their way come in."""

    redo: RedoInHand
    holder: str
    way: str
    desk: RedoDesk
    engine: Engine
    database: Database
    plan: PromotePlan
    output_url: str
    cap: RunCap
    interrupted: bool = False
    lost: str = ""
    left_alone: dict[str, str] = field(default_factory=dict)
    _names: dict[WaySettings, str] = field(default_factory=dict)

    def stop(self) -> None:
        self.interrupted = True
        self.engine.drain()

    # ------------------------------------------------------------------------- videos

    async def work(self) -> None:
        """All videos that are left to do.

        Raises:
            DatabaseUnavailable: what was answered is stored, and the order goes on later.
        """
        room = asyncio.Semaphore(_VIDEOS_AT_A_TIME)
        try:
            async with asyncio.TaskGroup() as group:
                for video in await Redos(self.database).videos(self.redo.id):
                    await room.acquire()
                    if self.interrupted or self.lost:
                        break
                    task = group.create_task(self._work_on(video.video_id))
                    task.add_done_callback(lambda _task: room.release())
        except ExceptionGroup as several:
            raise several.exceptions[0] from several

    async def _work_on(self, video_id: str) -> None:
        try:
            await self._ask_and_weigh(video_id)
        except (ArchiveError, StorageError, StorageUnavailable, ValueError) as error:
            self.left_alone[video_id] = str(error)

    async def _ask_and_weigh(self, video_id: str) -> None:
        stored, redos = Stored(self.database), Redos(self.database)
        record, key = await stored.record(video_id), await stored.output_key(video_id)
        if record is None or record.busy or key is None:
            reasons = {
                True: "it is not in the queue",
                False: "it is not done: its clips lie in no result tar yet",
            }
            held = record is not None and record.busy
            self.left_alone[video_id] = "a worker holds it" if held else reasons[record is None]
            return
        rows = {row.segment_file: row for row in await Ways(self.database).rows(video_id)}
        clips = await redos.clips(self.redo.id, video_id)
        await self.desk.answer_video(video_id, archive_on_record(key, self.output_url), clips, rows)
        if not (self.interrupted or self.lost):
            await self._weigh(video_id, rows)

    # ------------------------------------------------------------------------- which answer is the result

    async def _weigh(self, video_id: str, rows: Mapping[str, SeenClip]) -> None:
        redos = Redos(self.database)
        answered = [
            rows[clip.segment_file]
            for clip in await redos.clips(self.redo.id, video_id)
            if clip.state == "answered" and clip.segment_file in rows
        ]
        if self.redo.keep_both:
            await redos.mark(self.redo.id, video_id, [RedoMark(row.segment_file, "kept") for row in answered])
            return
        asked_in: dict[WaySettings, set[str]] = {}
        for row in answered:
            asked_in.setdefault(self.desk.way(row.language_hint), set()).add(row.segment_file)
        for way, files in asked_in.items():
            plan = replace(self.plan, way=await self._name_way(way), only=frozenset(files))
            report = await promote_video(plan, self.database, video_id)
            if report.left_alone:
                self.left_alone[video_id] = report.left_alone[0][1]
                return
        now = {row.segment_file: row for row in await Ways(self.database).rows(video_id)}
        marks = [RedoMark(row.segment_file, self._ending(now.get(row.segment_file))) for row in answered]
        await redos.mark(self.redo.id, video_id, marks)

    def _ending(self, row: SeenClip | None) -> str:
        if row is None:
            return "gone"
        if row.text_source != TextSource.MODEL:
            return "person"
        return "replaced" if is_asked_in(row, self.desk.way(row.language_hint)) else "kept"

    async def _name_way(self, way: WaySettings) -> WayOfAnswers:
        if way not in self._names:
            columns = {
                "model_id": way.model_id,
                "temperature": way.temperature,
                "thinking_level": way.thinking_level,
                "prompt_version": way.prompt_version,
                "schema_version": way.schema_version,
            }
            self._names[way] = await Redos(self.database).name_way(columns)
        return WayOfAnswers(self._names[way], way, AnswerSums(), AnswerSums(), {}, {}, 0)

    # ------------------------------------------------------------------------- holding it

    async def renew(self, lease: Lease) -> None:
        """Hold the order for as long as this runs; what is lost stops the work."""
        while True:
            await asyncio.sleep(lease.lease_s / _RENEWALS_A_LEASE)
            asked_at = lease.now()
            with suppress(Unavailable):
                if not await Redos(self.database).renew(self.redo.id, self.holder, lease.lease_s):
                    self.lost = "the order was dropped, or another process has taken it over"
                    self.engine.drain()
                    return
                lease.note_renewal(asked_at)

    async def report(self, on_progress: OnProgress) -> None:
        """Tell how it goes, again and again."""
        told = 0
        while True:
            counts = self.desk.counts
            ended = counts.answered + counts.failed + counts.stored_before
            waits = self.engine.limited_by()
            on_progress(ended - told, f"${counts.usd:.2f}{f'; {waits}' if waits else ''}")
            told = ended
            await asyncio.sleep(0.25)

    async def end(self) -> RedoDone:
        """Let go of the order: done where nothing is left."""
        redos, counts = Redos(self.database), self.desk.counts
        (progress,) = await redos.list_progress(1, self.redo.id)
        stopped = self.lost or self.cap.reason or counts.stopped
        if self.interrupted and not stopped:
            stopped = "interrupted"
        note = stopped or "; ".join(f"{video}: {why}" for video, why in list(self.left_alone.items())[:3])
        await redos.end(self.redo.id, self.holder, "queued" if progress.left else "done", note)
        return RedoDone(
            id=self.redo.id,
            query=self.redo.query,
            way=self.way,
            keep_both=self.redo.keep_both,
            states=dict(progress.states),
            asked=counts.asked,
            stored_before=counts.stored_before,
            usd=counts.usd,
            left_alone=tuple(self.left_alone.items()),
            problems=tuple(await redos.list_problems(self.redo.id, _PROBLEMS)),
            stopped=stopped,
            capped=bool(self.cap.reason),
            interrupted=self.interrupted,
        )


@asynccontextmanager
async def open_redo(
    settings: Settings, database: Database, redo: RedoInHand, holder: str, cap: RunCap
) -> AsyncIterator[RedoInProgress]:
    """Everything that an order takes: the engine, its providers, and the lease, which is renewed.

    Raises:
        UsageError, SettingsError: it cannot be asked for in that way.
    """
    way = way_of(settings, redo.asked)
    said = await ask_who_answers(way.settings)
    lease = Lease(settings.lease_seconds)
    bands = await find_bands(settings, database)
    options = RedoOptions(
        redo.id,
        holder,
        settings.lease_seconds,
        reuse_conditions(way.settings, said.get(way.settings.provider)),
        bands,
        store_settings(settings),
    )
    nothing = WayOfAnswers("", WaySettings("", None, "", "", ""), AnswerSums(), AnswerSums(), {}, {}, 0)
    plan = PromotePlan(
        nothing,
        bands,
        options.stores,
        spool_dir=settings.spool_dir,
        database_url=database.url,
        output_url=settings.output_url,
        better_only=True,
    )

    def ledger_of(step: int) -> Reserve:
        del step  # one model is asked
        return cap.guard(holder, fleet_ledger(database, holder, lambda: lease.holds))

    async with AsyncExitStack() as stack:
        routes = await stack.enter_async_context(open_routes(way.settings, ledger_of, lease))
        batches = _Batches(database)
        stack.push_async_callback(batches.close)
        engine = Engine(
            routes[0],
            worker_id=holder,
            options=engine_options(way.settings),
            events=Events(on_batch=batches.take),
            escalation=Escalation(math.inf if settings.flex_patience is None else settings.flex_patience),
        )
        desk = RedoDesk(options, engine, Redos(database), PaidAnswers(database))
        stack.push_async_callback(desk.close)  # after the engine's end, which may bring answers yet
        await stack.enter_async_context(engine)
        running = RedoInProgress(
            redo, holder, way.words, desk, engine, database, plan, settings.output_url, cap
        )
        cap.on_reached = lambda _reason: engine.drain()
        renewing = asyncio.create_task(running.renew(lease), name="renew redo")
        stack.callback(renewing.cancel)
        yield running


class _Batches:
    """Windows of the engine, written as they close. They are figures: an outage is not waited out."""

    def __init__(self, database: Database) -> None:
        self._results = Results(database)
        self._writing: set[asyncio.Task[None]] = set()

    def take(self, report: BatchReport) -> None:
        task = asyncio.create_task(self._write(report))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, report: BatchReport) -> None:
        with suppress(DatabaseError, Unavailable):
            await self._results.write_batch(report)

    async def close(self) -> None:
        await asyncio.gather(*self._writing)
