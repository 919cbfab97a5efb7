"""The life of a worker: register, heartbeat, claim, transcribe, finish, drain, stop.

A worker is one process life with an id of its own. It holds as many videos as fill the next window.
"""

from __future__ import annotations

import asyncio
import math
import time
import traceback
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from lipika.db.queue import Queue
from lipika.db.results import Results, StoredAnswer
from lipika.db.workers import WorkerInfo, Workers, WorkerStats
from lipika.engine import Alert, Engine
from lipika.errors import Draining, LeaseLost, LipikaError, Unavailable, VideoError, WorkerStop
from lipika.log import get_logger, redact
from lipika.models import Accounting, ClaimedVideo
from lipika.pipeline import Place, Progress, Tools, VideoReport, transcribe_video
from lipika.sink import ResultSink

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Timings and bounds of a worker's life; seconds."""

    heartbeat_s: float = 10.0
    live_s: float = 5.0
    lease_s: float = 120.0
    drain_s: float = 60.0
    max_videos: int = 64
    window: int = 1000  # clips that fill the next batch window
    idle_poll_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Ports:
    """What a worker talks to."""

    queue: Queue
    results: Results
    workers: Workers
    engine: Engine
    sink: ResultSink
    tools: Tools
    alerts: list[Alert]  # emptied into the database with the live figures
    source: Callable[[str], Place]
    target: Callable[[str], Place]


@dataclass(slots=True)
class _Held:
    """A video this worker owns."""

    video: ClaimedVideo
    task: asyncio.Task[None]
    accounting: Accounting = field(default_factory=Accounting)
    reading: bool = True
    lost: bool = False


@dataclass(slots=True)
class Tally:
    """Videos this worker has ended, and why those that failed did."""

    done: int = 0
    failed: int = 0
    released: int = 0
    lost: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)  # the last hundred (video, message)


class Worker:
    """Runs until stopped, or until the queue has nothing more for it."""

    def __init__(self, info: WorkerInfo, ports: Ports, options: WorkerOptions | None = None):
        self._info = info
        self._ports = ports
        self._options = options or WorkerOptions()
        self._held: dict[str, _Held] = {}
        self._draining = False
        self._stop: WorkerStop | None = None
        self._wake = asyncio.Event()
        self._clips_per_video = 50.0  # a guess, corrected by every finished video
        self._main: asyncio.Task[Any] | None = None
        self.held_by_others = 0  # videos that another worker, perhaps a dead one, has a lease on
        self.tally = Tally()

    @property
    def held(self) -> int:
        """Videos under way."""
        return len(self._held)

    @property
    def draining(self) -> bool:
        """Whether it has been told to stop."""
        return self._draining

    @property
    def progress(self) -> Progress:
        return self._ports.tools.progress

    async def run(self, *, only: Sequence[str] | None = None, until_empty: bool = False) -> Tally:
        """Work until drained; with `until_empty`, until no video (of `only`) is left to do.

        Raises:
            WorkerStop: going on would only burn money or quota.
        """
        self._main = asyncio.current_task()
        await self._ports.workers.register(self._info)
        background = [
            asyncio.create_task(self._every(self._options.heartbeat_s, self._heartbeat), name="heartbeat"),
            asyncio.create_task(self._every(self._options.live_s, self._live), name="live"),
        ]
        try:
            async with asyncio.TaskGroup() as videos:
                await self._claim_forever(videos, only, until_empty)
        finally:
            await self._say_goodbye(background)
        if self._stop is not None:
            raise self._stop
        return self.tally

    def drain(self) -> None:
        """Claim and launch nothing more; answers in flight are awaited for `drain_s`, then videos go back."""
        if self._draining:
            return
        self._draining = True
        log.info("draining", videos=len(self._held), in_flight=self._ports.engine.in_flight)
        self._ports.engine.drain()
        asyncio.get_running_loop().call_later(self._options.drain_s, self.stop_now)
        self._wake.set()

    def stop_now(self) -> None:
        """Give every video back at once; what is in flight is lost and will be asked again."""
        self._draining = True
        self._ports.engine.drain()
        for held in self._held.values():
            held.task.cancel()
        self._wake.set()

    def forget(self, video: ClaimedVideo) -> None:
        """Another worker owns this video: stop working on it and write nothing more."""
        if (held := self._held.get(video.video_id)) is not None:
            held.lost = True
            held.task.cancel()

    # ------------------------------------------------------------------------- claiming

    async def _claim_forever(
        self, videos: asyncio.TaskGroup, only: Sequence[str] | None, until_empty: bool
    ) -> None:
        while not self._draining:
            wanted = self._videos_wanted()
            claimed = await self._claim(wanted, only) if wanted else []
            for video in claimed:
                self._hold(videos, video)
            if wanted and not claimed and until_empty and not self._held and await self._all_done(only):
                return
            idle = wanted > 0 and not claimed
            await self._pause(self._options.idle_poll_s if idle and not until_empty else 0.2)

    def _videos_wanted(self) -> int:
        """How many more videos fill the next window: none while enough clips wait or memory is half used."""
        room, options = self._ports.tools.room, self._options
        expected = self._ports.engine.queued + sum(
            max(self._clips_per_video - held.accounting.clips, 0.0)
            for held in self._held.values()
            if held.reading
        )
        if expected >= options.window or room.used > room.limit // 2:
            return 0
        missing = math.ceil((options.window - expected) / max(self._clips_per_video, 1.0))
        return max(min(missing, options.max_videos - len(self._held), 16), 0)

    async def _claim(self, wanted: int, only: Sequence[str] | None) -> list[ClaimedVideo]:
        try:
            return await self._ports.queue.claim(
                self._info.worker_id, self._options.lease_s, wanted, only=only
            )
        except Unavailable as error:
            log.warning("claim_waits", reason=str(error))
            return []

    async def _all_done(self, only: Sequence[str] | None) -> bool:
        counts = await self._ports.queue.counts(only)
        self.held_by_others = counts.claimed + counts.processing
        return counts.pending + counts.claimed + counts.processing == 0

    def _hold(self, videos: asyncio.TaskGroup, video: ClaimedVideo) -> None:
        task = videos.create_task(self._work_on(video), name=f"video {video.video_id}")
        self._held[video.video_id] = _Held(video, task)

    async def _pause(self, seconds: float) -> None:
        self._wake.clear()
        timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)
        await self._wake.wait()
        timer.cancel()

    # ------------------------------------------------------------------------- one video

    async def _work_on(self, video: ClaimedVideo) -> None:
        """The unit boundary: whatever happens to one video ends here."""
        held = self._held[video.video_id]
        try:
            await self._transcribe(video, held)
        except asyncio.CancelledError:
            await self._give_back(video, held)
        except Draining:
            await self._give_back(video, held)
        except LeaseLost as error:
            held.lost = True
            log.warning("lease_lost", video=video.video_id, reason=str(error))
        except WorkerStop as error:
            await self._give_back(video, held)
            self._stop_because(error)
        except Exception as error:  # the unit boundary: one video's trouble is never the worker's
            await self._fail(video, held.accounting, error)
        finally:
            self._ports.sink.drop(video.video_id)
            self._held.pop(video.video_id, None)
            self.tally.lost += held.lost
            self._wake.set()

    async def _transcribe(self, video: ClaimedVideo, held: _Held) -> None:
        ports, started = self._ports, time.monotonic()
        await ports.queue.start(video)
        earlier = await self._earlier_answers(video)
        report = await transcribe_video(
            video,
            ports.source(video.source_key),
            ports.target(video.output_key),
            ports.tools,
            earlier,
            held.accounting,
        )
        await self._patiently(lambda: self._finish(video, held.accounting, report))
        self.tally.done += 1
        self._clips_per_video += 0.3 * (held.accounting.clips - self._clips_per_video)
        log.info(
            "video_done",
            video=video.video_id,
            attempt=video.attempt,
            segments=held.accounting.segments,
            discarded=held.accounting.segments_discarded,
            clips=held.accounting.clips,
            transcribed=held.accounting.transcribed,
            no_speech=held.accounting.no_speech,
            failed=held.accounting.failed,
            reused=len(earlier),
            bytes=report.output.size,
            cost_usd=round(report.cost_usd, 6),
            seconds=round(time.monotonic() - started, 2),
        )

    async def _earlier_answers(self, video: ClaimedVideo) -> dict[str, StoredAnswer]:
        """Paid answers of former attempts, by audio digest; a first attempt has none."""
        stored = self._ports.results.stored_answers(video.video_id)
        return {answer.audio_digest: answer async for answer in stored}

    async def _finish(self, video: ClaimedVideo, accounting: Accounting, report: VideoReport) -> None:
        """Rows first, then `done` in the one statement that checks the claim."""
        await self._ports.sink.flush_all()
        await self._ports.results.write_discards(video, report.discards)
        await self._ports.queue.finish(
            video, accounting, output_bytes=report.output.size, output_digest=report.sha256
        )

    async def _give_back(self, video: ClaimedVideo, held: _Held) -> None:
        """Keep what has been answered, then let another worker have the video; the attempt is given back."""
        if held.lost:
            return
        try:
            await self._ports.sink.flush()
            await self._ports.queue.release(video)
            self.tally.released += 1
        except (Unavailable, LeaseLost) as error:
            # The lease will run out by itself, and then the attempt has been charged.
            log.warning("release_failed", video=video.video_id, reason=str(error))

    async def _fail(self, video: ClaimedVideo, accounting: Accounting, error: Exception) -> None:
        """Record why, and give the video up: for good where its content is at fault, else until the next attempt."""
        code = error.code if isinstance(error, VideoError) else type(error).__name__
        message = redact(f"{video.video_id}: {error}")
        log.error("video_failed", video=video.video_id, attempt=video.attempt, code=code, reason=message)
        self.tally.failed += 1
        self.tally.errors = [*self.tally.errors[-99:], (video.video_id, message)]
        try:
            await self._ports.sink.flush()
            await self._report(error, video.video_id)
            await self._patiently(lambda: self._ports.queue.progress(video, accounting))
            await self._patiently(
                lambda: self._ports.queue.fail(video, code, message, retry=not isinstance(error, VideoError))
            )
        except LeaseLost as lost:
            log.warning("lease_lost", video=video.video_id, reason=str(lost))

    async def _report(self, error: BaseException, video_id: str | None = None) -> None:
        """Put an exception with its traceback into the database; never fails itself for want of one."""
        text = redact("".join(traceback.format_exception(error)))
        try:
            await self._ports.workers.record_error(
                self._info.worker_id, video_id, type(error).__name__, redact(str(error)), text
            )
        except LipikaError:
            log.exception("error_not_stored", error=text)

    async def _patiently(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Repeat a database write while Postgres is away; each is conditional on the claim, so it may be repeated."""
        wait_s = 1.0
        while True:
            try:
                await work()
            except Unavailable as error:
                log.warning("database_waits", reason=str(error), wait_s=wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, 30.0)
            else:
                return

    # ------------------------------------------------------------------------- heartbeat and live figures

    async def _every(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` on time, whatever happens in it; a worker without heartbeat for a lease stops itself."""
        last_good = time.monotonic()
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
                last_good = time.monotonic()
            except Unavailable as error:
                log.warning("heartbeat_failed", reason=str(error))
            except WorkerStop as error:
                self._stop_because(error)
            except (
                Exception
            ) as error:  # the boundary of a background loop: it must outlive any single failure
                log.exception("background_failed", task=work.__name__)
                await self._report(error)
            if time.monotonic() - last_good > self._options.lease_s:
                self._stop_because(
                    WorkerStop(
                        f"no heartbeat reached the database for {self._options.lease_s:g} s: other workers may own"
                        " this worker's videos by now, so it stops"
                    )
                )

    async def _heartbeat(self) -> None:
        """Renew all leases, say how things are, and let go of videos that are no longer ours."""
        ports = self._ports
        mine = set(self._held)
        owned = await ports.queue.extend(self._info.worker_id, self._options.lease_s)
        for video_id in mine - owned:
            if (held := self._held.get(video_id)) is not None:
                self.forget(held.video)
        await ports.workers.heartbeat(self._info.worker_id, self._stats())
        for held in list(self._held.values()):
            try:
                await ports.queue.progress(held.video, held.accounting)
            except LeaseLost:  # finished or lost since `extend`
                continue

    async def _live(self) -> None:
        """Live figures and everything answered since the last time, every few seconds."""
        rpm, tpm = self._ports.engine.live()
        await self._ports.workers.live(
            self._info.worker_id,
            active_rpm=rpm,
            active_tpm=tpm,
            requests_in_flight=self._ports.engine.in_flight,
            limited_by=self._ports.engine.limited_by() or None,
        )
        await self._ports.sink.flush()
        await self._write_alerts()

    async def _write_alerts(self) -> None:
        """What a person should know now goes where errors are looked for."""
        alerts = self._ports.alerts
        while alerts:
            await self._ports.workers.record_error(
                self._info.worker_id, None, f"Alert:{alerts[0].code}", alerts[0].message, ""
            )
            alerts.pop(0)

    def _stats(self) -> WorkerStats:
        totals, progress = self._ports.engine.totals, self.progress
        return WorkerStats(
            provider=self._ports.engine.provider_in_use,
            current_video_id=next(iter(self._held), None),
            segments_remaining=self._ports.engine.queued + self._ports.engine.in_flight,
            segments_sent=totals.requests,
            segments_completed=progress.transcribed + progress.no_speech,
            segments_failed=progress.failed,
            segments_429=totals.rate_limited,
            cache_hits=totals.cache_hits,
            batches_completed=totals.batches,
            avg_batch_latency_ms=totals.latency_ms / totals.requests if totals.requests else 0.0,
            spend_usd=totals.cost_usd,
        )

    # ------------------------------------------------------------------------- stopping

    def _stop_because(self, error: WorkerStop) -> None:
        if self._stop is None:
            self._stop = error
            log.error("worker_stops", reason=str(error))
        self.stop_now()

    async def _say_goodbye(self, background: Sequence[asyncio.Task[None]]) -> None:
        """The last writes of this life; what fails now is left to the leases."""
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        try:
            if self._stop is not None:
                await self._report(self._stop)
            await self._ports.sink.flush()
            await self._write_alerts()
            await self._ports.workers.heartbeat(self._info.worker_id, self._stats())
            await self._ports.workers.offline(self._info.worker_id, failed=self._stop is not None)
        except LipikaError as error:
            log.warning("goodbye_failed", reason=str(error))
