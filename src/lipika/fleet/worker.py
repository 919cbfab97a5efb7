"""The life of a worker: register, renew the lease, claim, transcribe, drain, stop.

A worker is one process life with an id of its own. It holds as many videos as fill the next window. What happens to
one video is told in `custody.py`; here is what happens to all of them.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from lipika.alignment.stage import AlignmentStage
from lipika.archive.sources import OUTPUT_SUFFIX
from lipika.db.queue import Queue
from lipika.db.results import Results
from lipika.db.workers import WorkerInfo, Workers, WorkerStats
from lipika.engine.outcome import Alert
from lipika.errors import DatabaseUnavailable, LipikaError, Unavailable, WorkerStop
from lipika.fleet.calibrating import Calibrating
from lipika.fleet.custody import Custody, Held, Places, Tally, abort_uploads, repeat_in_outages
from lipika.fleet.finishing import Finishing
from lipika.fleet.lease import Lease
from lipika.fleet.notifying import EVERY_S as NOTIFY_EVERY_S
from lipika.fleet.notifying import Notifier
from lipika.log import get_logger
from lipika.meters import LastMinute, Sums
from lipika.models import ClaimedVideo
from lipika.pipeline.opinion_desk import OpinionDesk
from lipika.pipeline.sink import ResultSink
from lipika.pipeline.tools import Counts, Tools
from lipika.storage.store import Place
from lipika.validation import validator_version
from lipika.wording import duration

__all__ = ["Tally", "Worker", "WorkerOptions"]

log = get_logger(__name__)

_GOODBYE_S = 8.0
"""For the last writes of a life; what is away longer is left to the lease."""
_FINISH_S = 4.0
"""For a video whose result stands already, when everything else stops at once."""
_RETRY_S = 2.0
_FIRST_FLUSH_S = 0.2
_TIDY_S = 15.0
_REFUSAL_S = 10.0
"""So long a store may refuse to save answers: then it means it."""
_DISK_RESERVE = 64 << 20
"""Bytes: with less room for work in progress nothing more is claimed."""
_CLAIM_AT_MOST = 16


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Timings and bounds of a worker's life; seconds."""

    heartbeat_s: float = 10.0
    live_s: float = 5.0
    calibrate_s: float = 60.0
    notify_s: float = NOTIFY_EVERY_S
    flush_s: float = 4.0  # with the write itself, an answer is durable within 5
    drain_s: float = 60.0
    max_videos: int = 64
    window: int = 1000  # clips that fill the next batch window
    idle_poll_s: float = 2.0


class Worker:
    """Runs until stopped, or until the queue has nothing more for it.

    Args:
        info: what the fleet is told of this worker.
        tools: what its videos work with.
        sink: where results go; the tools' `keeper`.
        places: where the keys of queue rows lie.
        alerts: of engine and recogniser; emptied into the database with the live figures.
        lease: how long it may act as owner of its videos.
        calibrating: keeps the tools' limits at what the fleet has learned; None: they stay as they are.
        finishing: keeps a deadline at Flex, where there is one.
        notifier: tells people of what happens while nobody watches.
    """

    def __init__(
        self,
        info: WorkerInfo,
        tools: Tools,
        *,
        queue: Queue,
        results: Results,
        workers: Workers,
        sink: ResultSink,
        places: Places,
        alerts: list[Alert],
        lease: Lease,
        calibrating: Calibrating | None = None,
        finishing: Finishing | None = None,
        notifier: Notifier | None = None,
        options: WorkerOptions | None = None,
    ):
        self._info = info
        self._tools = tools
        self._queue = queue
        self._workers = workers
        self._sink = sink
        self._places = places
        self._alerts = alerts
        self._lease = lease
        self._calibrating = calibrating
        self._finishing = finishing
        self._notifier = notifier
        self._options = options or WorkerOptions()
        self._custody = Custody(
            info.worker_id,
            tools,
            queue=queue,
            results=results,
            workers=workers,
            sink=sink,
            places=places,
            reachable=self._answers,
            on_stop=self._stop_because,
        )
        self._held: dict[str, Held] = {}
        self._draining = False
        self._said_left = False
        self._stop: Exception | None = None
        self._wake = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None  # of alerts and troubles
        self._unsure = False  # whether what was written last of them is there
        self._minute = LastMinute(time.monotonic())
        self._clips_per_video = 50.0  # a guess, corrected by every finished video
        self._disk_is_full = self._database_is_away = False
        self._refused_since = math.inf  # when the store began to refuse answers
        self.held_by_others = 0  # videos that another worker, perhaps a dead one, has a lease on

    @property
    def tally(self) -> Tally:
        return self._custody.tally

    @property
    def held(self) -> int:
        """Videos under way."""
        return len(self._held)

    @property
    def draining(self) -> bool:
        """True if it has been told to stop."""
        return self._draining

    @property
    def lease_is_over(self) -> bool:
        """True if it should have ended by itself."""
        return self._lease.is_over

    @property
    def counts(self) -> Counts:
        return self._tools.counts

    @property
    def aligner(self) -> AlignmentStage | None:
        return self._tools.aligner

    @property
    def opinions(self) -> OpinionDesk | None:
        return self._tools.opinions

    @property
    def usd(self) -> float:
        """US dollars spent so far, second opinions among them."""
        return self._tools.engine.totals.cost_usd + (self.opinions.usd if self.opinions else 0.0)

    async def run(
        self,
        *,
        only: Sequence[str] | None = None,
        until_empty: bool = False,
        more: Callable[[], bool] = lambda: False,
    ) -> Tally:
        """Work until drained; with `until_empty`, until no video (of `only`) is left to do.

        While there is `more` to come, `only` grows, and none left to do is no end.

        Raises:
            WorkerStop: going on would only burn money or quota, or no heartbeat reached the database for too long.
            DatabaseError: Postgres refuses what a worker needs; recorded where it could be.
        """
        if self._calibrating is not None:
            await repeat_in_outages(self._calibrating.take_over)
            version = validator_version(self._tools.limits.bands)
            self._info = replace(self._info, config={**self._info.config, "validator_version": version})
        await repeat_in_outages(lambda: self._workers.register(self._info))
        await repeat_in_outages(lambda: self._compare(whole_queue=only is None))
        self._lease.note_renewal(self._lease.now())  # nothing is held yet
        background = self._start_background()
        try:
            await self._tidy_uploads()
            async with asyncio.TaskGroup() as videos:
                try:
                    await self._claim_forever(videos, only, until_empty, more)
                except Exception as error:  # the boundary of a life: it ends with its reason on record
                    self._stop_because(error)
        finally:
            await self._end(background)
        if self._stop is not None:
            raise self._stop
        return self.tally

    async def _compare(self, *, whole_queue: bool) -> None:
        """An alert where two models or two trimmers work on one queue: transcripts of two kinds are mixed."""
        model_id, trimmer = self._info.config.get("model_id"), self._info.config.get("trimmer_version")
        for other in await self._workers.other_ways(self._info.worker_id):
            if not (other.live or whole_queue):
                continue  # a run of some archives is none of the queue's
            who = f"{other.workers} other worker{'' if other.workers == 1 else 's'} of this queue"
            they = f"and {who} {'have' if other.live else 'had'}"
            if model_id is not None and other.model_id != model_id:
                self._alert("two_models", f"MODEL_ID is {model_id} here, {they} {other.model_id}")
            if trimmer is not None and other.trimmer_version not in (None, trimmer):
                self._alert(
                    "two_trimmers", f"this worker's trimmer is {trimmer}, {they} {other.trimmer_version}"
                )

    def _alert(self, code: str, message: str) -> None:
        log.warning(code, reason=message)
        self._alerts.append(Alert(code, message))

    def drain(self) -> None:
        """Claim and launch nothing more; answers in flight are awaited for `drain_s`, then videos go back."""
        if self._draining:
            return
        self._draining = True
        log.info("draining", videos=len(self._held), in_flight=self._tools.engine.in_flight)
        self._tools.engine.drain()
        if self._tools.opinions is not None:
            self._tools.opinions.drain()
        asyncio.get_running_loop().call_later(self._options.drain_s, self.stop_now)
        self._wake.set()

    def stop_now(self) -> None:
        """Give every video back at once; what is in flight is lost and will be asked again."""
        self._draining = True
        self._say_left()
        self._tools.engine.drain()
        if self._tools.opinions is not None:
            self._tools.opinions.hurry()
        grace_s = _FINISH_S if self._reachable() else 0.0
        for held in self._held.values():
            held.cancel(grace_s)
        self._wake.set()

    def _say_left(self) -> None:
        """Tell what is under way and will be asked, and paid for, again."""
        left = self._tools.engine.in_flight
        if left and not self._said_left:
            self._said_left = True
            log.warning(
                "answers_left",
                requests=left,
                videos=len(self._held),
                usd=round(left * self._tools.engine.routes[0].usual_usd, 4),
                reason="answers under way are not waited for any longer; their clips will be asked again"
                " (DRAIN_SECONDS says how long a drain waits)",
            )

    def _reachable(self) -> bool:
        """True if the last that was heard of Postgres was good, and not too long ago."""
        return self._lease.holds and self._answers()

    def _answers(self) -> bool:
        """True if the last that was heard of Postgres was good. Then videos are given back, each by its token, even
        by a worker that slept through its lease: what nobody else has taken need not wait, nor lose its attempt.
        """
        return not self._database_is_away

    def forget(self, video: ClaimedVideo) -> None:
        """Another worker owns this video: stop working on it and write nothing more."""
        held = self._held.get(video.video_id)
        mine = held is not None and held.video.claim_token == video.claim_token
        if held is not None and mine and not held.ending and not held.lost:
            held.lost = True
            held.cancel()

    # ------------------------------------------------------------------------- claiming

    async def _claim_forever(
        self,
        videos: asyncio.TaskGroup,
        only: Sequence[str] | None,
        until_empty: bool,
        more: Callable[[], bool],
    ) -> None:
        while not self._draining:
            self._hold_where_unwritable()
            wanted, coming = self._videos_wanted(), more()
            claimed = await self._claim(wanted, only) if wanted else []
            for video in claimed or ():
                self._hold(videos, video)
            idle = bool(wanted) and not claimed
            if idle and until_empty and not (coming or self._held) and await self._all_done(only):
                return
            away = claimed is None or not self._lease.holds
            await self._pause(self._options.idle_poll_s if away or (idle and not until_empty) else 0.2)

    def _hold_where_unwritable(self) -> None:
        """Nothing is asked, and nothing more claimed, while results or answers cannot be stored."""
        reason = self.counts.unwritable or self._sink.unsaved_reason
        if reason and not self._lease.hold:
            log.warning("asking_waits", reason=reason)
        self._lease.hold = reason

    def _unwritable(self) -> str:
        return f"results cannot be stored: {self._lease.hold}" if self._lease.hold else ""

    def _videos_wanted(self) -> int:
        """The number of videos that fill the next window: none while enough clips wait or memory or disk is short."""
        room, options = self._tools.room, self._options
        alone = any(held.video.alone for held in self._held.values())
        if (
            alone
            or not self._lease.holds
            or self._lease.hold
            or room.used > room.limit // 2
            or self._disk_is_short()
        ):
            return 0
        expected = self._tools.engine.queued + sum(
            max(self._clips_per_video - held.accounting.clips, 0.0) for held in self._held.values()
        )
        missing = math.ceil((options.window - expected) / max(self._clips_per_video, 1.0))
        return max(min(missing, options.max_videos - len(self._held), _CLAIM_AT_MOST), 0)

    def _disk_is_short(self) -> bool:
        """True if the disk for work in progress is as good as full; says so once."""
        folder = self._tools.spool_dir
        full = shutil.disk_usage(folder).free < _DISK_RESERVE
        if full and not self._disk_is_full:
            reason = (
                f"no room in {folder}: nothing more is claimed until there is; free some or set SPOOL_DIR"
            )
            log.warning("disk_full", reason=reason)
            self._tools.counts.waits_for = reason
        if self._disk_is_full and not full:
            log.info("disk_has_room")
            self._tools.counts.waits_for = ""
        self._disk_is_full = full
        return full

    async def _claim(self, wanted: int, only: Sequence[str] | None) -> list[ClaimedVideo] | None:
        """Videos that are ours now; None while Postgres is away."""
        try:
            claimed = await self._queue.claim(
                self._info.worker_id,
                self._lease.lease_s,
                wanted,
                max_bytes=shutil.disk_usage(self._tools.spool_dir).free // 2,
                only=only,
                alone=not self._held,
                without=[*self._held, *self._custody.reach.resting()],
            )
        except Unavailable as error:
            self._database_is_away = True
            log.warning("claim_waits", reason=str(error))
            return None
        self._database_is_away = False
        return claimed

    async def _all_done(self, only: Sequence[str] | None) -> bool:
        try:
            counts = await self._queue.counts(only)
        except Unavailable:
            return False
        self.held_by_others = counts.claimed + counts.processing
        return counts.pending + counts.claimed + counts.processing == 0

    def _hold(self, videos: asyncio.TaskGroup, video: ClaimedVideo) -> None:
        held = Held(video)
        self._held[video.video_id] = held
        held.task = videos.create_task(self._carry(held), name=f"video {video.video_id}")

    async def _carry(self, held: Held) -> None:
        before = self.tally.done
        try:
            await self._custody.bring_to_its_end(held)
        finally:
            self._held.pop(held.video.video_id, None)
            if self.tally.done > before:
                self._clips_per_video += 0.3 * (held.accounting.clips - self._clips_per_video)
            self._wake.set()

    async def _pause(self, seconds: float) -> None:
        self._wake.clear()
        timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)
        await self._wake.wait()
        timer.cancel()

    # ------------------------------------------------------------------------- in the background

    def _start_background(self) -> list[asyncio.Task[None]]:
        """Loops that no work holds up, and that do not hold up each other."""
        options = self._options
        flush_s = min(options.flush_s, options.live_s)
        loops: list[tuple[float, Callable[[], Coroutine[Any, Any, None]]]] = [
            (options.heartbeat_s, self._renew),
            (options.heartbeat_s, self._heartbeat),
            (options.live_s, self._live),
            (flush_s, self._flush),
            (flush_s, self._save),
        ]
        if self._calibrating is not None:
            loops.append((options.calibrate_s, self._calibrating.calibrate))
        if self._finishing is not None:
            loops.append((options.heartbeat_s, self._finishing.look))
        if self._notifier is not None:
            loops.append((options.notify_s, self._notifier.tell))
        tasks = [
            asyncio.create_task(self._every(seconds, work), name=work.__name__) for seconds, work in loops
        ]
        first = asyncio.create_task(self._flush_first(flush_s), name="_flush_first")
        return [*tasks, first, asyncio.create_task(self._watch_lease(), name="watch")]

    async def _tidy_uploads(self) -> None:
        """Before anything is claimed: abort uploads that were left open of results which nobody is at work on. Those
        of a dead worker's videos are seen to when they are claimed. Never fails, nor waits for long.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_TIDY_S):
                await self._abort_idle_uploads()

    async def _abort_idle_uploads(self) -> None:
        try:
            base = self._places.target(OUTPUT_SUFFIX)
            folder = base.key.removesuffix(OUTPUT_SUFFIX)
            found = await base.store.open_uploads(folder)
            names = {key.removeprefix(folder): key for key in found}
            names |= {f"{base.store.url}/{key}": key for key in found}
            for name in await self._queue.idle_outputs(list(names)) if found else ():
                await abort_uploads(Place(base.store, names[name]))
        except (LipikaError, OSError) as error:
            log.info("uploads_not_aborted", reason=str(error))

    async def _every(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` again and again, whatever happens in it."""
        while True:
            started, wait_s = time.monotonic(), seconds
            try:
                await work()
            except Unavailable as error:
                self._database_is_away |= isinstance(error, DatabaseUnavailable)
                log.warning("background_waits", task=work.__name__, reason=str(error))
                wait_s = min(seconds, _RETRY_S)
            except WorkerStop as error:
                self._stop_because(error)
            except (
                Exception
            ) as error:  # the boundary of a background loop: it must outlive any single failure
                await self._custody.report(error)
            await asyncio.sleep(max(started + wait_s - time.monotonic(), wait_s / 4))

    async def _watch_lease(self) -> None:
        """Looks at the clock only: it works while the database, and whoever waits for it, hangs."""
        while not self._lease.is_over:  # noqa: ASYNC110 - no event says that a lease has run out
            await asyncio.sleep(min(self._lease.lease_s / 20, 1.0))
        if self._draining:
            self.stop_now()  # it was told to go anyway
            return
        self._stop_because(
            WorkerStop(
                f"no heartbeat reached the database for {duration(self._lease.age_s)}, longer than the lease of"
                f" {duration(self._lease.lease_s)}: other workers may own this worker's videos by now, so it stops"
            )
        )

    async def _renew(self) -> None:
        """Renew all leases and let go of videos that are no longer ours, before anything more is sent."""
        mine, asked_at = [held for held in self._held.values() if not held.lost], self._lease.now()
        owned = await self._extend([held.video for held in mine])
        lost = [held for held in mine if held.video.video_id not in owned]
        for held in lost:
            self.forget(held.video)
        with suppress(TimeoutError):
            async with asyncio.timeout(_RETRY_S):
                for held in lost:
                    if held.lost:
                        await held.let_go.wait()
        self._lease.note_renewal(asked_at)

    async def _extend(self, claims: Sequence[ClaimedVideo]) -> set[str]:
        try:
            async with asyncio.timeout(self._lease.lease_s / 3):
                owned = await self._queue.extend(claims, self._lease.lease_s)
        except (Unavailable, TimeoutError):
            raise DatabaseUnavailable("Postgres does not answer: the lease was not renewed") from None
        self._database_is_away = False
        return owned

    async def _heartbeat(self) -> None:
        """Say how things are."""
        await self._workers.heartbeat(self._info.worker_id, self._stats())
        # What was lost or ended meanwhile is passed over; `_renew` tells which.
        under_way = [held for held in self._held.values() if not held.ending]
        await self._queue.progress_of_many((held.video, held.accounting) for held in under_way)

    async def _live(self) -> None:
        """Live figures, and what a person should know now."""
        rpm, tpm = self._tools.engine.live()
        fleet = await self._workers.live(
            self._info.worker_id,
            active_rpm=rpm,
            active_tpm=tpm,
            requests_in_flight=self._tools.engine.in_flight,
            limited_by=self._tools.counts.waits_for
            or self._unwritable()
            or self._tools.engine.limited_by()
            or None,
            minute=self._minute.note(time.monotonic(), self._sums()),
            draining=self._draining,
        )
        self._database_is_away = False
        if fleet.drain and not self._draining:
            log.info("drain_requested")
            self.drain()
        await self._write_alerts()

    async def _flush(self) -> None:
        self._database_is_away |= not await self._sink.flush()

    async def _flush_first(self, flush_s: float) -> None:
        """A worker's first rows soon after their answers, so that whoever watches sees them; then ever less often,
        until the regular flushes are as frequent."""
        wait_s = _FIRST_FLUSH_S
        while wait_s < flush_s:
            await asyncio.sleep(wait_s)
            if not self._sink.waiting:
                continue
            wait_s *= 2
            try:
                await self._flush()
            except Exception as error:  # the boundary of a background loop: the regular flushes go on
                await self._custody.report(error)

    async def _save(self) -> None:
        """Save answers, above all while Postgres is away; but after a long sleep see first whose the videos are."""
        if not (self._lease.holds or self._database_is_away):
            return
        sink = self._sink
        if await sink.save() or isinstance(sink.save_error, Unavailable):
            self._refused_since = math.inf
            return
        self._refused_since = min(self._refused_since, time.monotonic())
        if time.monotonic() - self._refused_since > _REFUSAL_S:
            self._stop_because(
                WorkerStop(
                    f"answers cannot be saved: {sink.save_error}. Nothing more is asked; the rows have them"
                )
            )

    async def _write_alerts(self) -> None:
        """Write down what a person should know now, where errors are looked for, each once.

        The end of the loop that writes does not end a write: whether its row is there would not be known.
        """
        previous = self._writing
        self._writing = asyncio.create_task(self._write_all(previous), name="alerts")
        await asyncio.shield(self._writing)

    async def _write_all(self, previous: asyncio.Task[None] | None) -> None:
        if previous is not None:
            await asyncio.wait([previous])
        alerts = self._alerts
        while alerts:
            await self._record(None, f"Alert:{alerts[0].code}", alerts[0].message, "")
            alerts.pop(0)
        await self._write_troubles()

    async def _record(self, video_id: str | None, kind: str, message: str, traceback: str) -> None:
        """Write one of those rows. Where the last attempt had no answer, nobody knows whether its row is there."""
        again, self._unsure = self._unsure, True
        await self._workers.record_error(
            self._info.worker_id, video_id, kind, message, traceback, again=again
        )
        self._unsure = False

    async def _write_troubles(self) -> None:
        notes = self._tools.troubles.waiting
        while notes:
            note = notes[0]
            await self._record(note.video_id, note.trouble.kind, note.message, note.trouble.traceback)
            if notes and notes[0] is note:  # else it made room for others meanwhile
                notes.popleft()

    def _stats(self) -> WorkerStats:
        totals, counts = self._tools.engine.totals, self.counts
        return WorkerStats(
            provider=self._tools.engine.provider_in_use,
            current_video_id=next(iter(self._held), None),
            segments_remaining=self._tools.engine.queued + self._tools.engine.in_flight,
            segments_sent=totals.requests,
            segments_completed=counts.transcribed + counts.no_speech,
            segments_failed=counts.failed,
            segments_429=totals.rate_limited,
            cache_hits=totals.cache_hits,
            batches_completed=totals.batches,
            avg_batch_latency_ms=totals.latency_ms / totals.requests if totals.requests else 0.0,
            spend_usd=self.usd,
            prompt_tokens=totals.usage.prompt,
            cached_tokens=totals.usage.cached,
            output_tokens=totals.usage.output,
            failures=dict(totals.failure_kinds),
            alignment=self.aligner.figures() if self.aligner else None,
        )

    def _sums(self) -> Sums:
        totals, counts = self._tools.engine.totals, self.counts
        return Sums(
            clips=counts.transcribed + counts.no_speech + counts.failed,
            usd=self.usd,
            prompt_tokens=totals.usage.prompt,
            cached_tokens=totals.usage.cached,
            failures=dict(totals.failure_kinds),
            latency_counts=tuple(totals.latency_counts),
        )

    # ------------------------------------------------------------------------- stopping

    def _stop_because(self, error: Exception) -> None:
        if self._stop is None:
            self._stop = error
            log.error("worker_stops", reason=str(error))
        self.stop_now()

    async def _end(self, background: Sequence[asyncio.Task[None]]) -> None:
        """End the loops, then say goodbye; nothing of it may take for ever."""
        for task in background:
            task.cancel()
        await asyncio.wait(background, timeout=_GOODBYE_S)
        if self._answers():
            try:
                async with asyncio.timeout(_GOODBYE_S):
                    await self._say_goodbye()
            except (LipikaError, TimeoutError) as error:
                log.warning("goodbye_failed", reason=str(error) or f"not within {_GOODBYE_S:g} s")
        else:
            log.warning("goodbye_failed", reason="Postgres is away")
        if self._writing is not None:
            self._writing.cancel()

    async def _say_goodbye(self) -> None:
        """The last writes of this life; what fails now is left to the leases."""
        if self._stop is not None:
            await self._custody.report(self._stop, told=True)
        await self._sink.flush()
        await self._write_alerts()
        await self._workers.heartbeat(self._info.worker_id, self._stats())
        await self._workers.offline(self._info.worker_id, failed=self._stop is not None)
        if self._notifier is not None:
            await self._notifier.tell()  # the end of the queue, where this was the last of its work
