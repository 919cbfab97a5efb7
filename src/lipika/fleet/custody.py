"""One video in a worker's hands, from its claim to its end: done, failed, given back or lost."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lipika.db.queue import Queue
from lipika.db.result_rows import StoredAnswer
from lipika.db.results import Results
from lipika.db.workers import Workers
from lipika.errors import (
    AccountingError,
    DatabaseError,
    DatabaseUnavailable,
    Draining,
    LeaseLost,
    LipikaError,
    StorageError,
    Unavailable,
    VideoError,
    WorkerStop,
    WouldPayAgain,
)
from lipika.fleet.reach import Blame, Reach
from lipika.log import get_logger, redact
from lipika.machine import exhausted_resource
from lipika.models import Accounting, ClaimedVideo
from lipika.network import patiently
from lipika.pipeline.sink import ResultSink
from lipika.pipeline.tools import Tools
from lipika.pipeline.video import VideoReport, transcribe_video
from lipika.storage.store import Place

log = get_logger(__name__)

_GIVE_BACK_S = 8.0
"""For the last writes for a video; what is away longer is left to the lease."""
_OUTPUT_RETRY_S = 2.0
_LATE_S = 60.0
"""For answers that are on their way to a video that has been lost."""


class Places(Protocol):
    """Finds where the keys of queue rows lie."""

    def source(self, key: str) -> Place:
        """The place of a video's archive."""

    def target(self, key: str) -> Place:
        """The place of its result archive."""


@dataclass(slots=True)
class Held:
    """A video this worker owns."""

    video: ClaimedVideo
    accounting: Accounting = field(default_factory=Accounting)
    task: asyncio.Task[None] | None = None
    lost: bool = False
    ending: bool = False  # its last writes are under way: they notice themselves if the claim is lost
    going_back: bool = False  # the very last: they take some seconds at most
    cancelled: bool = False
    hurry: bool = False  # everything stops: not even answers on their way are waited for
    let_go: asyncio.Event = field(default_factory=asyncio.Event)  # nothing of it will be sent any more

    def cancel(self, grace_s: float = 0.0) -> None:
        """Stop working on it; what has been answered is kept. A video at its end gets `grace_s` to be finished."""
        if self.going_back or self.task is None:
            self.hurry = True
            return
        if self.ending and grace_s > 0:
            asyncio.get_running_loop().call_later(grace_s, self.cancel)
            return
        self.cancelled = True
        self.task.cancel()


@dataclass(slots=True)
class Tally:
    """Videos this worker has ended, and why those that failed did."""

    done: int = 0
    failed: int = 0
    released: int = 0
    lost: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)  # the last hundred (video, message)


@dataclass(frozen=True, slots=True)
class _Earlier:
    """The remains of former attempts: answers by audio digest, and the rows they are stored under."""

    answers: Mapping[str, StoredAnswer]
    rows: frozenset[str]


class Custody:
    """Brings the videos of one worker to their ends.

    Args:
        worker_id: whose videos.
        tools: what they are transcribed with.
        sink: where their results go; the tools' `keeper`.
        places: where their archives lie.
        reachable: whether it makes sense to ask the database for anything more.
        on_stop: told of what should stop the worker.
    """

    def __init__(
        self,
        worker_id: str,
        tools: Tools,
        *,
        queue: Queue,
        results: Results,
        workers: Workers,
        sink: ResultSink,
        places: Places,
        reachable: Callable[[], bool],
        on_stop: Callable[[WorkerStop], None],
    ) -> None:
        self._worker_id = worker_id
        self._tools = tools
        self._queue = queue
        self._results = results
        self._workers = workers
        self._sink = sink
        self._places = places
        self._reachable = reachable
        self._on_stop = on_stop
        self.reach = Reach()
        self.tally = Tally()

    async def bring_to_its_end(self, held: Held) -> None:
        """The unit boundary: whatever happens to one video ends here."""
        video = held.video
        try:
            await self._transcribe(held)
        except (asyncio.CancelledError, Draining):
            await self._give_back(held)
        except LeaseLost as error:
            held.lost = True
            log.warning("lease_lost", video=video.video_id, reason=str(error))
            await self._let_go(held)
        except WorkerStop as error:
            await self._give_back(held)
            self._on_stop(error)
        except WouldPayAgain as error:
            await self._put_aside(held, error)
        except Unavailable as error:
            # Nothing is wrong with the video: it goes back with its attempt.
            log.warning("video_waits", video=video.video_id, reason=str(error))
            await self._give_back(held)
        except StorageError as error:
            await self._judge_store_refusal(held, error)
        except Exception as error:  # one video's trouble is never the worker's
            await self._fail(held, error)
        finally:
            held.let_go.set()
            self._sink.drop(video)
            self._sink.partials.forget(video)
            self._tools.troubles.forget(video.video_id)
            self.tally.lost += held.lost

    async def _judge_store_refusal(self, held: Held, error: StorageError) -> None:
        """A store refused: where that is the store's own trouble, the video is as good as before."""
        video = held.video
        try:
            source, target = self._places.source(video.source_key), self._places.target(video.output_key)
            blame = await self.reach.blame(video.video_id, source.store, target.store, target.key, error)
        except asyncio.CancelledError:
            await self._give_back(held)
            return
        except StorageError as closed:  # not even to be opened
            blame, error = Blame.STORE, closed
        if blame is Blame.VIDEO:
            await self._fail(held, error)
            return
        log.warning("video_waits", video=video.video_id, reason=str(error))
        await self._give_back(held)
        if blame is Blame.STORE:
            self._on_stop(
                WorkerStop(f"{error}. It is the store's trouble, not one video's: no video was failed for it")
            )

    async def _ready_to_write(self, held: Held, target: Place) -> None:
        """Make sure, before anything is paid for, that its result can be stored. An outage is waited out."""
        counts, video = self._tools.counts, held.video

        def say(reason: Unavailable, _wait_s: float) -> None:
            log.warning("output_waits", video=video.video_id, reason=str(reason))
            counts.unwritable = str(reason)

        try:
            await patiently(
                lambda: self.reach.can_write(target.store, target.key, video.claim_token),
                say,
                first_s=_OUTPUT_RETRY_S,
                most_s=_OUTPUT_RETRY_S,
            )
        finally:
            counts.unwritable = ""

    async def _transcribe(self, held: Held) -> None:
        video, started = held.video, time.monotonic()
        await repeat_in_outages(lambda: self._queue.start(video), held)
        target = self._places.target(video.output_key)
        await self._ready_to_write(held, target)
        if video.attempt > 1:
            await abort_uploads(target)
        earlier = await self._earlier(held)
        report = await transcribe_video(
            video,
            self._places.source(video.source_key),
            self._places.target(video.output_key),
            self._tools,
            earlier.answers,
            held.accounting,
        )
        held.ending = True
        await repeat_in_outages(lambda: self._finish(held, earlier, report), held)
        self.tally.done += 1
        self.reach.note_success(video.video_id)
        accounting = held.accounting
        log.info(
            "video_done",
            video=video.video_id,
            attempt=video.attempt,
            segments=accounting.segments,
            discarded=accounting.segments_discarded,
            clips=accounting.clips,
            transcribed=accounting.transcribed,
            no_speech=accounting.no_speech,
            failed=accounting.failed,
            reused=report.reused,
            bytes=report.output.size,
            cost_usd=round(report.cost_usd, 6),
            seconds=round(time.monotonic() - started, 2),
        )

    async def _earlier(self, held: Held) -> _Earlier:
        """Paid answers of former attempts, from the database and from the store: either may have been lost."""
        video = held.video
        answers: dict[str, StoredAnswer] = {}
        rows: set[str] = set()

        async def read_rows() -> None:
            async for stored in self._results.stored_answers(video.video_id):
                rows.add(stored.segment_file)
                if stored.answer is not None:
                    answers[stored.audio_digest] = stored

        await repeat_in_outages(read_rows, held)
        partials = self._sink.partials
        saved = await partials.load(video) or ([] if rows else await partials.load_result(video))
        for stored in reversed(saved):  # what was saved last for a clip counts
            known = answers.get(stored.audio_digest)
            # A row may be older than what came for its clip when the claim had been lost already.
            if stored.answer is not None and (known is None or _attempts(known) < _attempts(stored)):
                answers[stored.audio_digest] = stored
            elif known is not None:
                answers[stored.audio_digest] = known.add_words(stored)
        return _Earlier(answers, frozenset(rows))

    async def _finish(self, held: Held, earlier: _Earlier, report: VideoReport) -> None:
        """Rows first, then `done` in the one statement that checks the claim. May be repeated as a whole."""
        video = held.video
        if not await self._sink.flush_video(video):
            raise DatabaseUnavailable(f"{video.video_id}: its last rows are not written yet")
        await self._results.write_discards(video, report.discards)
        stale = earlier.rows - report.segment_files
        if stale:  # another trimmer cut the video into other clips
            log.warning("stale_rows_removed", video=video.video_id, rows=len(stale))
            await self._results.remove(video, sorted(stale))
        await self._sink.partials.look_again(video)
        await self._queue.progress(video, held.accounting)  # raises LeaseLost before anything is deleted
        await self._sink.leave_unsaved(video)
        await self._sink.partials.clear(video)
        await self._queue.finish(
            video, held.accounting, output_bytes=report.output.size, output_digest=report.output.sha256
        )

    async def _give_back(self, held: Held) -> None:
        """Keep what has been answered, then let another worker have the video; the attempt is given back."""
        if held.lost:
            await self._let_go(held)
            return
        held.ending = held.going_back = True
        _cancellation_heard()
        video, sink = held.video, self._sink
        saved = await self._finish_in_time(sink.save())
        # While Postgres is away the lease runs out by itself, and the attempt has been charged.
        written = self._reachable() and await self._finish_in_time(sink.flush())
        if not (written and await self._finish_in_time(self._release(video))):
            log.warning("release_failed", video=video.video_id)
        if not (saved or written):
            log.warning("answers_kept_here", video=video.video_id, answers=sink.save_on_disk(video))

    async def _let_go(self, held: Held) -> None:
        """The claim is no longer ours, and no row may be written. What has been paid for is saved for whoever comes
        next, answers that are on their way among it: the video is carried until then, so that this worker at least
        does not claim it before.
        """
        held.going_back = True
        _cancellation_heard()
        video = held.video
        self._sink.lose(video)
        held.let_go.set()
        if not await self._finish_in_time(self._drop_erased(held)):
            await self._finish_in_time(self._sink.save_video(video))
        give_up = time.monotonic() + _LATE_S
        while self._tools.engine.in_flight_of(video.video_id):
            if held.hurry or time.monotonic() > give_up:
                break
            await asyncio.sleep(0.05)
        if not await self._finish_in_time(self._drop_erased(held)):
            await self._finish_in_time(self._sink.save_video(video))

    async def _drop_erased(self, held: Held) -> bool:
        """True if the video went because somebody's voice was erased: then nothing of it is saved, and a result that
        was stored before anybody could know goes again."""
        video = held.video
        try:
            erased = await self._tools.erased.look_up(video.video_id)
            if not erased:
                return False
            log.warning("video_erased", whole=erased.whole)
            await self._sink.erase(video)
            if erased.whole:
                target = self._places.target(video.output_key)
                await target.store.delete(target.key)
                await self._sink.partials.look_again(video)
                await self._sink.partials.clear(video)
        except LipikaError as error:
            log.warning("erased_not_known", reason=str(error))
            return False
        return True

    async def _put_aside(self, held: Held, reason: WouldPayAgain) -> None:
        """Hold a video, with the reason, until a person decides; the attempt is given back."""
        held.ending = True
        video, said = held.video, redact(str(reason))
        log.warning("video_held", video=video.video_id, reason=said)
        self.tally.errors = [*self.tally.errors[-99:], (video.video_id, said)]
        try:
            await repeat_in_outages(lambda: self._queue.put_aside(video, "would_pay_again", said), held)
        except LipikaError as lost:
            log.warning("hold_not_stored", video=video.video_id, reason=str(lost))

    async def _release(self, video: ClaimedVideo) -> bool:
        try:
            await self._queue.release(video)
        except LipikaError as error:
            log.warning("release_failed", video=video.video_id, reason=str(error))
            return False
        self.tally.released += 1
        return True

    async def _finish_in_time(self, work: Coroutine[Any, Any, bool]) -> bool:
        """The outcome of a last write; False when it takes too long."""
        try:
            async with asyncio.timeout(_GIVE_BACK_S):
                return await work
        except TimeoutError:
            return False

    async def _fail(self, held: Held, error: Exception) -> None:
        """Record why, and give the video up: for good where its content is at fault, else until the next attempt."""
        held.ending = True
        video = held.video
        code = error.code if isinstance(error, VideoError) else type(error).__name__
        message = redact(f"{video.video_id}: {error}")
        log.error("video_failed", video=video.video_id, attempt=video.attempt, code=code, reason=message)
        self.tally.failed += 1
        self.tally.errors = [*self.tally.errors[-99:], (video.video_id, message)]
        try:
            await self._sink.flush()
            await self._sink.save()
            await self.report(error, video.video_id, told=True)
            await repeat_in_outages(lambda: self._queue.progress(video, held.accounting), held)
            retry = not isinstance(error, VideoError)
            await repeat_in_outages(lambda: self._queue.fail(video, code, message, retry=retry), held)
        except LipikaError as lost:
            log.warning("failure_not_stored", video=video.video_id, reason=str(lost))

    async def report(self, error: BaseException, video_id: str | None = None, *, told: bool = False) -> None:
        """Put an exception into log and database; never fails itself.

        The database always gets the traceback, the log that of a defect. What else there is to say is a line, which
        may have been `told` already.
        """
        text = redact("".join(traceback.format_exception(error)))
        kind, reason = type(error).__name__, redact(str(error))
        if is_defect(error):
            log.error("error", video=video_id, kind=kind, traceback=text)
        elif not told:
            log.error("error", video=video_id, kind=kind, reason=reason)
        try:
            await self._workers.record_error(self._worker_id, video_id, kind, reason, text)
        except LipikaError as away:
            log.warning("error_not_stored", reason=str(away))


def is_defect(error: BaseException) -> bool:
    """True if it says more of the program than of an archive, a store, a setting or a service."""
    ours = isinstance(error, (AccountingError, DatabaseError)) or not isinstance(error, LipikaError)
    return ours and exhausted_resource(error) is None


def _cancellation_heard() -> None:
    """Let this task do its own work next, whoever ended what it did before. Python 3.11 to 3.11.2 takes the end of
    a time limit for that cancellation otherwise, and answers that were to be kept would be lost.
    """
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


def _attempts(stored: StoredAnswer) -> int:
    return stored.provenance.attempts


async def abort_uploads(target: Place) -> None:
    """Abort what was left open of a result by whoever was killed over it, or failed to complete it. Never fails."""
    try:
        aborted = await target.store.abort_uploads(target.key)
    except (
        LipikaError,
        OSError,
    ) as error:  # a key may write and not list uploads
        log.info("uploads_not_aborted", key=target.key, reason=str(error))
        return
    if aborted:
        log.info("uploads_aborted", key=target.key, uploads=aborted)


async def repeat_in_outages(
    work: Callable[[], Coroutine[Any, Any, object]], held: Held | None = None
) -> None:
    """Repeat database work while Postgres is away; each write is conditional on the claim, so it may be repeated.

    It ends with `held`, even where a driver has swallowed the cancellation.
    """

    def say(reason: Unavailable, wait_s: float) -> None:
        if held is not None and held.cancelled:
            raise asyncio.CancelledError from reason
        log.warning("database_waits", reason=str(reason), wait_s=wait_s)

    await patiently(work, say, first_s=0.5, most_s=10.0)
