"""One video in, one result tar out: read, polish, ask, check, pack. The product on a page."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

from lipika import validation
from lipika.archive import documents, video_documents
from lipika.archive.spool import ComposedTar, Spool
from lipika.db.result_rows import StoredAnswer
from lipika.engine.outcome import Circumstances, Outcome, Review
from lipika.errors import (
    AccountingError,
    DiskFull,
    Draining,
    ErasedMeanwhile,
    LipikaError,
    OutputRefused,
    StorageError,
    Unavailable,
    WorkerStop,
    WouldPayAgain,
)
from lipika.log import get_logger, redact
from lipika.models import (
    Accounting,
    ClaimedVideo,
    Clip,
    ClipResult,
    ClipStatus,
    Discard,
    Failure,
    FailureKind,
    Finding,
    Judged,
    Mishap,
    PolishedClip,
    SegmentName,
    TextSource,
    Usage,
)
from lipika.network import patiently
from lipika.pipeline import cascade, question
from lipika.pipeline.clip_results import make_result, make_reused
from lipika.pipeline.known_answers import Known
from lipika.pipeline.other_voices import OtherVoices
from lipika.pipeline.polishers import DEFECT
from lipika.pipeline.reading import ClipReader, find_hint, run_blocking
from lipika.pipeline.reuse import EarlierAnswers, last_step
from lipika.pipeline.spooled import SpooledClip
from lipika.pipeline.tools import Counts, Tools
from lipika.storage import ObjectInfo
from lipika.storage.store import Place

T = TypeVar("T")
_Join = Callable[[ClipResult], ClipResult]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VideoReport:
    """A finished video: its output object, its clips, what was discarded, what it cost."""

    output: ObjectInfo
    segment_files: frozenset[str]  # of its clips
    discards: tuple[Discard, ...]
    usage: Usage
    cost_usd: float
    reused: int  # clips whose earlier answer was used again


async def transcribe_video(
    video: ClaimedVideo,
    source: Place,
    target: Place,
    tools: Tools,
    earlier: Mapping[str, StoredAnswer],
    accounting: Accounting,
) -> VideoReport:
    """Transcribe one video and store its result tar; the caller marks it done.

    `earlier` holds paid answers of former attempts by the digest of their audio: they are not asked again.
    `accounting` starts at zero and may be looked at while the video is under way.

    Raises:
        ArchiveError: the archive is damaged; results up to there have been kept.
        AccountingError: segments and clips do not add up; nothing has been stored.
        Draining: the worker is stopping; results so far have been kept.
        WouldPayAgain: earlier answers do not fit how clips are asked now; nothing has been asked.
        WorkerStop: the provider refuses everything.
        Unavailable: the store is away, or the disk for work in progress is full.
    """
    with Spool(tools.spool_dir) as spool, _count_off(spool, tools.counts):
        erased = await _ask_database(tools, video.video_id, lambda: tools.erased.look_up(video.video_id))
        language = await find_hint(video, source, tools)
        reader = ClipReader(
            video.video_id, tools, accounting, erased, partial(_find_erased, tools, video.video_id)
        )
        job = _Job(
            video, tools, spool, EarlierAnswers(dict(earlier), tools.asked_as), reader, language, accounting
        )
        await job.refuse_to_pay_again()
        try:
            async with asyncio.TaskGroup() as asking:
                await job.read_and_ask(source, asking)
            if job.stopped is None or isinstance(
                job.stopped, Draining
            ):  # with which those under way come yet
                await job.voices.wait()
        finally:
            await job.voices.let_go()
        job.log_unusable_answers()
        job.check()
        await job.add_overlap_findings()
        await job.settle()
        await job.refuse_erased()
        return await job.pack(target)


class _Digest(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def hexdigest(self) -> str: ...


@dataclass(slots=True)
class _Job:
    """One video on its way: the state its steps share."""

    video: ClaimedVideo
    tools: Tools
    spool: Spool
    earlier: EarlierAnswers
    reader: ClipReader
    language: str | None  # the hint
    accounting: Accounting
    summary: video_documents.Summary = field(default_factory=video_documents.Summary)
    content: _Digest = field(default_factory=hashlib.sha256)  # over the digests of all clips, in order
    digests: bytearray = field(default_factory=bytearray)  # of all clips, 32 bytes each
    stopped: Exception | None = None  # what ends the video, once its answers are in
    voices: OtherVoices = field(init=False)

    def __post_init__(self) -> None:
        self.voices = OtherVoices(self.video, self.tools, self.spool, self.summary)

    # ------------------------------------------------------------------------- read, polish

    async def refuse_to_pay_again(self) -> None:
        """No answer that was paid for is bought a second time unless a person has said so: what was asked for as now
        before, here or for another video, takes the places of those that do not fit.
        """
        outdated = self.earlier.list_outdated(self.language)
        if outdated:
            known, video_id = self.tools.known, self.video.video_id
            look_up = partial(known.find_many, outdated, self.language)
            self.earlier.replace(await _ask_database(self.tools, video_id, look_up))
        if self.tools.pay_again:
            return
        lost = self.earlier.count_paid_again(self.language)
        if lost.clips:
            raise WouldPayAgain(
                f"{self.video.video_id}: this would pay again for {lost}. Ask as before, or agree: run --again;"
                f" for workers PAY_AGAIN=1, then lipika queue release {self.video.video_id}"
            )

    async def read_and_ask(self, source: Place, asking: asyncio.TaskGroup) -> None:
        """Read on and ask for each clip, until something stops the video.

        What stops it is remembered, not raised, whatever it is: the group would cancel the others, whose answers are
        on their way and paid for.
        """
        try:
            async with aclosing(self.reader.read_clips(source)) as clips:
                async for polished in clips:
                    clip = await self.admit(self.earlier.rename_known(polished))
                    del polished  # its audio is on disk now
                    if clip is not None:
                        task = asking.create_task(self.ask(clip, asking))
                        task.add_done_callback(_leave(clip))
                    if self.stopped is not None:
                        return
        except Exception as reason:
            self.stop(reason)

    def stop(self, reason: Exception) -> None:
        """Remember why this video ends: the first reason, save that one which stops the worker outranks all."""
        if self.stopped is None or (
            isinstance(reason, WorkerStop) and not isinstance(self.stopped, WorkerStop)
        ):
            self.stopped = reason

    # ------------------------------------------------------------------------- ask, check

    async def admit(self, polished: PolishedClip) -> SpooledClip | None:
        """Put the clip's packed and sent forms on disk, count it, and wait until so much may lie there unsent.

        None when it cannot be packed, or when the disk stays full: then this video stops, so that what it has there
        makes room for others.
        """
        stem = polished.clip.name.stem
        try:
            digest = bytes.fromhex(polished.clip.audio_digest)
            if not await self._write_to_spool(lambda: self.spool.add_clip(stem, polished.packed)):
                return None
            sent = [self.spool.audio(stem)]
            if polished.sent is not polished.packed and not await self._write_to_spool(
                lambda: sent.append(self.spool.keep(polished.sent))
            ):
                return None
        except LipikaError:
            raise
        except Exception as error:  # a clip that no archive takes is that clip's trouble
            self._leave_out(polished.clip, error)
            return None
        self.accounting.clips += 1
        self.tools.counts.clips += 1
        self.content.update(digest)
        self.digests += digest
        self.tools.counts.spooled_bytes += len(polished.packed)
        clip = SpooledClip.from_polished(polished, sent[-1], self.tools.room)
        await clip.admit()
        return clip

    def _leave_out(self, clip: Clip, error: Exception) -> None:
        self._trouble(f"{clip.name.stem}.flac", error)
        self.reader.names.discard(clip.name)
        discard = _discard_of(clip, error)
        self.reader.list_discards(discard)
        self.accounting.add_left_out(discard)

    async def _write_to_spool(self, write: Callable[[], None]) -> bool:
        """Write to the spool; while the disk is full, say so and wait. False when that takes too long."""
        counts, deadline = self.tools.counts, time.monotonic() + self.tools.disk_wait_s
        while True:
            try:
                write()
            except DiskFull as reason:
                if not counts.waits_for:
                    log.warning("disk_full", video=self.video.video_id, reason=str(reason))
                counts.waits_for = str(reason)
                if time.monotonic() > deadline:
                    self.stop(reason)
                    return False
                await asyncio.sleep(0.5)
            else:
                counts.waits_for = ""
                return True

    async def ask(self, polished: SpooledClip, group: asyncio.TaskGroup) -> None:
        """Bring one clip to its end: an earlier answer, a new one, or a failure with its reason. Never fails itself.

        What others make of it comes later: nothing waits for that but the packing.
        """
        try:
            result, document = self._make_document(await self._bring_clip_to_its_end(polished))
            await self.tools.keeper.keep(self.video, result, document)
            stem = result.clip.name.stem
            if not await self._write_to_spool(lambda: self.spool.add_result(stem, document)):
                return
            self._record(result)
        except Exception as reason:
            self.stop(reason)
            return
        self.voices.ask(polished, result, group)

    async def _bring_clip_to_its_end(self, polished: SpooledClip) -> ClipResult:
        """How the clip ended. What is wrong with it alone is its failure; what concerns more than it is raised."""
        try:
            former = self.earlier.find(polished.clip.audio_digest, self.language)
            if former is not None:
                result = self._reuse(polished, former)
                if self._ends(former, result):
                    return self._count_reused(result)
            elif polished.silent and not self.tools.ask_silence:
                bands, worker = self.tools.limits.bands, self.tools.worker_id
                return question.answer_unasked(
                    self.video.video_id, polished.clip, self.language, bands, worker
                )
            return await self._ask_once(polished, () if former is None else (former,))
        except LipikaError:
            raise
        except Exception as error:  # the boundary of a clip
            self._trouble(f"{polished.clip.name.stem}.flac", error)
            nothing = Outcome(None, None, Usage(), 0.0, 0, "", "", "", 0.0)
            return documents.failed_result(self._result(polished, nothing), *_code_and_reason(error))

    async def _ask_once(self, polished: SpooledClip, own: Known) -> ClipResult:
        """An answer to the same audio that was paid for elsewhere, or is under way; else a new one. In a cascade, of
        the first model that none of them is of; `own` is what this clip has already."""
        digests = list(dict.fromkeys(filter(None, (polished.clip.audio_digest, polished.other_digest))))
        patience = partial(_ask_database, self.tools, self.video.video_id)
        async with self.tools.known.turn(digests, self.language, patience) as found:
            former = [(stored, self._reuse(polished, stored)) for stored in (*own, *found)]
            best = max((result for _, result in former), key=cascade.rank, default=None)
            if best is not None and any(self._ends(stored, result) for stored, result in former):
                return self._count_reused(best)
            step = max((last_step(stored, self.tools.asked_as) for stored, _ in former), default=-1) + 1
            own_best = any(result is best for _, result in former[: len(own)])
            join = partial(cascade.join, best, own=own_best)
            result = await self._answer(polished, step, best, join)
            self.tools.known.remember(digests, result)
            return result

    def _ends(self, stored: StoredAnswer, result: ClipResult) -> bool:
        """True if nobody is left to be asked for a better answer, or it needs none: a person's word is one."""
        asked = self.tools.asked_as
        if stored.text_source is not TextSource.MODEL:
            return True
        return last_step(stored, asked) >= len(asked.above) or not cascade.is_doubted(result)

    def _make_document(self, result: ClipResult) -> tuple[ClipResult, bytes]:
        """The result with its document; a failure where no document can be made of it."""
        try:
            return result, documents.clip_result_to_json(result)
        except Exception as error:  # the boundary of a clip
            self._trouble(result.segment_file, error)
            failed = documents.failed_result(result, *_code_and_reason(error))
            return failed, documents.clip_result_to_json(failed)

    def _trouble(self, what: str, error: Exception | Mishap) -> None:
        self.tools.troubles.note(self.video.video_id, what, error)

    async def _answer(
        self, polished: SpooledClip, step: int, former: ClipResult | None, join: _Join
    ) -> ClipResult:
        """A new answer, beginning with that model of a cascade; `former` is the best that those before have said, and
        `join` keeps it where it is the better of the two."""
        request = question.request_for(
            self.video.video_id,
            polished.clip,
            self.language,
            polished,
            polished.sent_format,
            form=self.tools.asked_as.answer,
            own=self.tools.asked_as.own,
        )
        before = None
        if former is not None and former.answer is not None and former.verdict is not None:
            before = Judged(former.answer, former.verdict)
        outcome = await self.tools.engine.transcribe(
            request,
            partial(self._review, polished),
            partial(self._keep_meanwhile, polished, join),
            step=step,
            before=before,
        )
        if polished.trouble is not None and outcome.judged is None:
            raise polished.trouble  # the spool's, and no failure of the clip
        return join(self._result(polished, outcome))

    def _keep_meanwhile(self, polished: SpooledClip, join: _Join, paid: Outcome) -> None:
        """Make a paid answer durable though a better one may come, or nobody waits for it any more: the first may
        take a window, in which a worker may die. Called by the engine, which must hear of no trouble of ours.
        """
        try:
            result = join(self._result(polished, paid))
            self.tools.keeper.take(self.video, result, documents.clip_result_to_json(result))
        except Exception as error:
            self._trouble(f"{polished.clip.name.stem}.flac", error)

    def _review(self, polished: SpooledClip, text: str, asked: Circumstances) -> Review | Failure:
        """Called by the engine: what cannot be judged is a failure of the clip, never an exception."""
        try:
            return question.review(text, polished.clip, self.language, self.tools.limits.bands, asked)
        except Exception as error:
            self._trouble(f"{polished.clip.name.stem}.flac", error)
            code, reason = _code_and_reason(error)
            return Failure(FailureKind.DEFECT, reason, code=code)

    def _count_reused(self, result: ClipResult) -> ClipResult:
        self.tools.counts.reused += 1
        return result

    def _reuse(self, polished: SpooledClip, former: StoredAnswer) -> ClipResult:
        return make_reused(self.video.video_id, polished.clip, self.language, former, self.tools)

    def log_unusable_answers(self) -> None:
        """Earlier answers that were paid for and cannot be used: asked again, and not in silence."""
        because = self.earlier.reasons_not_reused()
        if because:
            log.warning(
                "earlier_answers_outdated",
                video=self.video.video_id,
                reused=self.earlier.reused,
                of=len(self.earlier.answers),
                because=because,
            )

    def _result(self, polished: SpooledClip, outcome: Outcome) -> ClipResult:
        return make_result(self.video.video_id, polished.clip, self.language, outcome, self.tools)

    def _record(self, result: ClipResult) -> None:
        """Count the clip's end."""
        self.accounting.end(result.status)
        self.summary.add(result)
        self.tools.counts.end(result)

    def check(self) -> None:
        """Nothing may be packed unless every segment and every clip has been accounted for."""
        if self.stopped is not None:
            raise self.stopped
        self.reader.note_doubtful_names()
        problem = self.accounting.problem()
        if problem is not None:
            raise AccountingError(f"video {self.video.video_id}: {problem}")

    async def add_overlap_findings(self) -> None:
        """Add a finding to each clip that lies under another speaker's voice: no clip shows it alone."""
        shared = validation.overlaps(self.reader.names, self.reader.segments)
        for name, finding in validation.overlap_findings(shared).items():
            try:
                await self._add_finding(name, finding)
            except LipikaError:
                raise
            except Exception as error:  # its answer stands without the finding
                self._trouble(f"{name.stem}.flac", error)

    async def _add_finding(self, name: SegmentName, finding: Finding) -> None:
        old = documents.clip_result_from_json(self.spool.result(name.stem))
        if old.verdict is None:
            return
        verdict = validation.add_findings(old.verdict, (finding,))
        new = replace(old, verdict=verdict)
        document = documents.clip_result_to_json(new)
        self.spool.replace_result(name.stem, document)
        self.summary.amend(old.verdict, verdict, old.clip.duration_ms)
        await self.tools.keeper.keep(self.video, new, document)

    async def settle(self) -> None:
        """Write the last rows before the archive is made: a clip whose row was refused has failed there, too."""
        for segment_file, failed in (await self.tools.keeper.settle(self.video)).items():
            stem = segment_file.removesuffix(".flac")
            old = documents.clip_result_from_json(self.spool.result(stem))
            self.spool.replace_result(stem, documents.clip_result_to_json(failed))
            self.summary.replace_failed(old, failed)
            self.accounting.end_again(old.status, failed.status)
            counts = self.tools.counts
            counts.transcribed -= old.status is ClipStatus.TRANSCRIBED
            counts.no_speech -= old.status is ClipStatus.NO_SPEECH
            counts.failed += old.status is not ClipStatus.FAILED

    async def refuse_erased(self) -> None:
        """What was erased while the video was under way is not packed: it starts over, without."""
        tools, video_id = self.tools, self.video.video_id
        now = await _ask_database(tools, video_id, lambda: tools.erased.look_up(video_id))
        digests = (self.digests[at : at + 32].hex() for at in range(0, len(self.digests), 32))
        alike = [digest for digest in digests if tools.erased.may_be(digest)]
        found = await _find_erased(tools, video_id, alike) if alike else set()
        if found or any(now.covers(name) for name in self.reader.names):
            raise ErasedMeanwhile(
                f"{self.video.video_id}: some of its clips were erased meanwhile; it starts over"
            )

    # ------------------------------------------------------------------------- pack

    async def pack(self, target: Place) -> VideoReport:
        """Stream the result tar into the store; it is read back by size and digest before this returns."""
        metadata = await run_blocking(
            self.tools,
            lambda: video_documents.result_metadata(
                self.reader.own_metadata(),
                self.video.video_id,
                self.language,
                self.accounting,
                self.reader.all_discards(),
                self.summary,
                {"clips_audio_sha256": self.content.hexdigest()},
            ),
        )
        return VideoReport(
            await self._store_archive(target, self.spool.compose(metadata)),
            frozenset(f"{name.stem}.flac" for name in self.reader.names),
            self.reader.all_discards(),
            self.summary.usage,
            self.summary.cost_usd,
            self.earlier.reused,
        )

    async def _store_archive(self, target: Place, tar: ComposedTar) -> ObjectInfo:
        """Upload; all answers have been paid for, so an outage of the store is waited out."""
        try:
            return await self._upload_patiently(target, tar)
        finally:
            self.tools.counts.unwritable = ""

    async def _upload_patiently(self, target: Place, tar: ComposedTar) -> ObjectInfo:
        left_open = False

        async def upload() -> ObjectInfo:
            if left_open:
                with suppress(LipikaError):  # else the next attempt, or the bucket's rule, sees to it
                    await target.store.abort_uploads(target.key)
            return await target.store.put_stream(target.key, tar.chunks(), tar.size)

        def say(reason: Unavailable, _wait_s: float) -> None:
            nonlocal left_open
            left_open = True
            log.warning("result_waits", video=self.video.video_id, reason=str(reason))
            self.tools.counts.unwritable = str(reason)

        try:
            return await patiently(upload, say, first_s=_STORE_RETRY_S, most_s=_STORE_RETRY_S)
        except StorageError as reason:
            raise OutputRefused(str(reason)) from reason


async def _ask_database(tools: Tools, video_id: str, work: Callable[[], Awaitable[T]]) -> T:
    """Ask the database; while it is away nobody knows what has been paid for, and nothing is asked."""

    def say(reason: Unavailable, wait_s: float) -> None:
        if tools.engine.stopped:
            raise Draining("the worker is stopping") from reason
        log.warning("answers_not_known", video=video_id, reason=str(reason), wait_s=wait_s)

    return await patiently(work, say, first_s=_LOOK_UP_RETRY_S, most_s=_LOOK_UP_RETRY_S)


async def _find_erased(tools: Tools, video_id: str, digests: Sequence[str]) -> set[str]:
    return await _ask_database(tools, video_id, lambda: tools.erased.find(digests))


def _discard_of(clip: Clip, error: Exception) -> Discard:
    return Discard(
        f"{clip.name.stem}.flac",
        DEFECT,
        f"{type(error).__name__}: {error}",
        whole_segment=False,
        start_ms=clip.original_start_ms,
        end_ms=clip.original_end_ms,
    )


def _leave(clip: SpooledClip) -> Callable[[object], None]:
    """Gives the clip's room back when its task ends, even one that was cancelled before it began."""
    return lambda _task: clip.leave()


@contextmanager
def _count_off(spool: Spool, counts: Counts) -> Iterator[None]:
    """Takes a video's clips off the count when its spool goes."""
    try:
        yield
    finally:
        counts.spooled_bytes -= spool.clip_bytes


_STORE_RETRY_S = 2.0
_LOOK_UP_RETRY_S = 0.5


def _code_and_reason(error: Exception) -> tuple[str, str]:
    """Code and reason of a clip that an exception of our own has failed."""
    return type(error).__name__, redact(str(error)) or type(error).__name__
