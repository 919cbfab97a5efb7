"""One video in, one result tar out: read, polish, ask, check, pack. The product on a page."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import aclosing, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from lipika import validation
from lipika.alignment.listener import Task
from lipika.alignment.stage import AlignmentStage
from lipika.archive import documents
from lipika.archive import members as tars
from lipika.archive.hints import told_language
from lipika.archive.metadata import Metadata
from lipika.archive.spool import ComposedTar, Spool
from lipika.audio import polish
from lipika.audio.polish import PolishedSegment
from lipika.db.result_rows import StoredAnswer
from lipika.engine.engine import Engine, Outcome, Review
from lipika.errors import (
    AccountingError,
    DiskFull,
    LipikaError,
    OutputRefused,
    StorageError,
    Unavailable,
    WorkerStop,
    WouldPayAgain,
)
from lipika.languages import find_language
from lipika.llm import prompt, transcript
from lipika.log import get_logger, redact
from lipika.models import (
    Accounting,
    Alignment,
    ClaimedVideo,
    Clip,
    ClipResult,
    ClipStatus,
    Discard,
    Failure,
    FailureKind,
    Finding,
    HintFrom,
    Judged,
    Mishap,
    PolishedClip,
    Provenance,
    SegmentName,
    Usage,
    Was,
)
from lipika.pipeline import question, reuse
from lipika.pipeline.byte_budget import ByteBudget
from lipika.pipeline.polishers import DEFECT, Polishers
from lipika.pipeline.reuse import AskedAs
from lipika.pipeline.troubles import Troubles
from lipika.storage import ObjectInfo
from lipika.storage.store import Place
from lipika.validation.bands import DEFAULT_BANDS

T = TypeVar("T")

log = get_logger(__name__)


class Keeper(Protocol):
    """Makes results durable, soon. Each is given as a document, too."""

    async def keep(self, video: ClaimedVideo, result: ClipResult, document: bytes) -> None:
        """Take one result; wait while there is no room for more."""

    def take(self, video: ClaimedVideo, result: ClipResult, document: bytes) -> None:
        """The same at once, wherever the video is by now; never fails."""

    async def settle(self, video: ClaimedVideo) -> Mapping[str, ClipResult]:
        """Write all rows of the video; returns by file those that were refused, as they were written instead."""


TellLanguage = Callable[[ClaimedVideo, str], Awaitable[None]]
"""Writes down what an archive says of its language."""


async def _told_nobody(video: ClaimedVideo, language: str) -> None:
    del video, language


@dataclass(slots=True)
class Progress:
    """What has happened to videos so far, over all of them; a display may look at it at any time."""

    segments: int = 0
    clips: int = 0
    discarded: int = 0
    transcribed: int = 0
    no_speech: int = 0
    failed: int = 0
    reused: int = 0
    audio_ms: int = 0
    spooled_bytes: int = 0  # of clips on disk, to be packed
    waits_for: str = ""  # what no work can go on without, in words
    unwritable: str = ""  # why results cannot be stored at the moment, in words: then nothing is asked


@dataclass(frozen=True, slots=True)
class Tools:
    """What a pipeline works with; shared by all videos of a worker."""

    worker_id: str
    engine: Engine
    keeper: Keeper
    room: ByteBudget  # polished audio in memory
    threads: Executor  # for blocking reads
    polishers: Polishers
    spool_dir: Path
    asked_as: AskedAs
    progress: Progress
    bands: validation.Bands = DEFAULT_BANDS  # how fast each language is spoken
    disk_wait_s: float = 30.0  # while the disk is full; then a video gives up its own room
    aligner: AlignmentStage | None = None  # where a second recogniser listens, too
    troubles: Troubles = field(default_factory=Troubles)  # what went wrong with single clips
    tell_language: TellLanguage = _told_nobody  # what an archive says of itself
    pay_again: bool = False  # for answers that do not fit how clips are asked now


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
    with Spool(tools.spool_dir) as spool, _counted(spool, tools.progress):
        job = _Job(video, tools, spool, earlier, accounting)
        await job.find_language(source)
        job.keep_what_is_paid()
        async with asyncio.TaskGroup() as asking:
            await job.read_and_ask(source, asking)
        job.say_what_is_outdated()
        job.check()
        await job.look_at_the_whole()
        await job.settle()
        return await job.pack(target)


@dataclass(slots=True)
class _Job:
    """One video on its way: the state its steps share."""

    video: ClaimedVideo
    tools: Tools
    spool: Spool
    earlier: Mapping[str, StoredAnswer]
    accounting: Accounting
    language: str | None = None
    metadata: Metadata = Metadata()  # its own, as it came
    unlisted: int = 0  # discards beyond those
    notes: int = 0  # what is worth knowing of the archive
    passed_over: int = 0  # members that are no part of a video
    too_long_names: int = 0  # segments whose names say ten times their length
    discards: list[Discard] = field(default_factory=list)
    summary: documents.Summary = field(default_factory=documents.Summary)
    names: set[SegmentName] = field(default_factory=set)  # of clips
    segments: set[SegmentName] = field(default_factory=set)
    content: hashlib._Hash = field(default_factory=hashlib.sha256)  # over the digests of all clips, in order
    stopped: Exception | None = None  # what ends the video, once its answers are in
    reused: int = 0
    outdated: Counter[str] = field(
        default_factory=Counter
    )  # earlier answers that do not fit any more, by reason

    # ------------------------------------------------------------------------- read, polish

    async def find_language(self, source: Place) -> None:
        """What a person has forced, the row of a list or table, the archive's own, a default: in this order.

        What the archive says goes back to the queue. Only when it comes late is the archive read twice.
        """
        given = hint = find_language(self.video.language)
        if given is None or self.video.language_from.yields:
            told = find_language(await self._in_thread(lambda: told_language(source.store, source.key)))
            hint = told or given
            if told is not None and (told != given or self.video.language_from is HintFrom.DEFAULT):
                await self.tools.tell_language(self.video, told.code)
        self.language = hint.code if hint else None

    def keep_what_is_paid(self) -> None:
        """No answer that was paid for is bought a second time unless a person has said so."""
        if self.tools.pay_again:
            return
        paid = (
            (_was(former), 1, former.cost_usd)
            for former in self.earlier.values()
            if former.answer is not None
        )
        lost = reuse.lost(paid, self.tools.asked_as, self.language)
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
            async with aclosing(self.read_and_polish(source)) as clips:
                async for clip in clips:
                    if await self.admit(clip):
                        task = asking.create_task(self.ask(clip, asking))
                        task.add_done_callback(self.leave(clip))
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

    async def read_and_polish(self, source: Place) -> AsyncGenerator[PolishedClip, None]:
        """Polished clips in the archive's order."""
        async with self.tools.polishers.readers, aclosing(self._polished_segments(source)) as segments:
            async for polished in segments:
                for clip in self._count(polished):
                    yield clip

    async def _polished_segments(self, source: Place) -> AsyncGenerator[PolishedSegment, None]:
        """Handfuls of segments are polished beside this event loop: a few at a time, over all videos together."""
        turns = self.tools.polishers.turns
        pending: deque[asyncio.Future[list[PolishedSegment]]] = deque()
        reader = await self._in_thread(lambda: source.store.open_read(source.key))
        with closing(reader):
            handfuls = _handfuls(tars.read_members(reader))
            try:
                while (work := await self._next_handful(handfuls)) is not None:
                    pending.append(work)
                    # Where others wait too, or memory is dear, bring ours to an end before taking more.
                    while pending and (turns.locked() or self.tools.polishers.has_large):
                        for polished in await pending[0]:
                            yield polished
                        pending.popleft()
                        turns.release()
                while pending:
                    for polished in await pending[0]:
                        yield polished
                    pending.popleft()
                    turns.release()
            finally:
                for work in pending:
                    work.cancel()
                    turns.release()

    async def _next_handful(
        self, handfuls: Iterator[list[tars.Member | tars.BadMember]]
    ) -> asyncio.Future[list[PolishedSegment]] | None:
        """Wait for a turn and begin with the next handful; None at the end of the archive."""
        polishers = self.tools.polishers
        await polishers.turns.acquire()
        try:
            members = await self._in_thread(lambda: next(handfuls, None))
            if members is not None:
                return polishers.polish(list(filter(self._is_segment, members)))
        except BaseException:
            polishers.turns.release()
            raise
        polishers.turns.release()
        return None

    def _is_segment(self, member: tars.Member | tars.BadMember) -> bool:
        """Count a segment; note metadata and what cannot be used."""
        if member.kind is tars.MemberKind.SEGMENT:
            self.accounting.segments += 1
            self.tools.progress.segments += 1
            if isinstance(member, tars.Member):
                self.segments.add(member.segment)
            return True
        if isinstance(member, tars.BadMember):
            self._note(member)
        elif member.metadata is not None:
            self.metadata = member.metadata
        return False

    def _note(self, member: tars.BadMember) -> None:
        """What costs no segment, and what a person should know of the archive."""
        if member.code == "ignored":
            self.passed_over += 1
            return
        self.notes += 1
        if self.notes <= _NOTES_LOGGED:
            log.warning("archive_note", video=self.video.video_id, code=member.code, reason=member.message)
        self._list_discards(Discard(member.name, member.code, member.message, whole_segment=False))

    def _list_discards(self, *discards: Discard) -> None:
        """Remember what went no further; of an archive of rubbish the first ones, and how many more there are."""
        listed = discards[: max(0, _MOST_DISCARDS - len(self.discards))]
        self.discards.extend(listed)
        self.unlisted += len(discards) - len(listed)

    def _all_discards(self) -> tuple[Discard, ...]:
        if not self.unlisted:
            return tuple(self.discards)
        told = f"{self.unlisted:,} more are counted by their reasons and not listed"
        return (*self.discards, Discard("(more)", "not_listed", told, whole_segment=False))

    def _count(self, polished: PolishedSegment) -> Iterator[PolishedClip]:
        if polished.trouble is not None:
            self._trouble(polished.discards[0].segment_file, polished.trouble)
        self._list_discards(*polished.discards)
        self.too_long_names += _named_in_ms(polished)
        self.accounting.polished(len(polished.clips), polished.discards)
        self.tools.progress.discarded += not polished.clips
        return map(self._named_once, polished.clips)

    def _named_once(self, polished: PolishedClip) -> PolishedClip:
        """No two clips of a video share a name: overlapping segments may polish to the same span."""
        name = polished.clip.name
        while name in self.names:
            name = replace(name, end_cs=name.end_cs + 1)
        self.names.add(name)
        if name == polished.clip.name:
            return polished
        clip = replace(polished.clip, name=name, flags=(*polished.clip.flags, "renamed"))
        return replace(polished, clip=clip)

    # ------------------------------------------------------------------------- ask, check

    async def admit(self, polished: PolishedClip) -> bool:
        """Put the clip's packed form on disk, count it, and wait until its sent form fits into memory.

        False when it cannot be packed, or when the disk stays full: then this video stops, so that what it has there
        makes room for others.
        """
        stem = polished.clip.name.stem
        try:
            digest = bytes.fromhex(polished.clip.audio_digest)
            if not await self._spooled(lambda: self.spool.add_clip(stem, polished.packed)):
                return False
        except LipikaError:
            raise
        except Exception as error:  # a clip that no archive takes is that clip's trouble
            self._leave_out(polished.clip, error)
            return False
        self.accounting.clips += 1
        self.tools.progress.clips += 1
        self.content.update(digest)
        self.tools.progress.spooled_bytes += len(polished.packed)
        await self.tools.room.acquire(len(polished.sent))
        return True

    def _leave_out(self, clip: Clip, error: Exception) -> None:
        self._trouble(f"{clip.name.stem}.flac", error)
        self.names.discard(clip.name)
        discard = Discard(
            f"{clip.name.stem}.flac",
            DEFECT,
            f"{type(error).__name__}: {error}",
            whole_segment=False,
            start_ms=clip.original_start_ms,
            end_ms=clip.original_end_ms,
        )
        self._list_discards(discard)
        self.accounting.left_out(discard)

    async def _spooled(self, write: Callable[[], None]) -> bool:
        """Write to the spool; while the disk is full, say so and wait. False when that takes too long."""
        progress, deadline = self.tools.progress, time.monotonic() + self.tools.disk_wait_s
        while True:
            try:
                write()
            except DiskFull as reason:
                if not progress.waits_for:
                    log.warning("disk_full", video=self.video.video_id, reason=str(reason))
                progress.waits_for = str(reason)
                if time.monotonic() > deadline:
                    self.stop(reason)
                    return False
                await asyncio.sleep(0.5)
            else:
                progress.waits_for = ""
                return True

    def leave(self, polished: PolishedClip) -> Callable[[object], None]:
        """Gives the clip's room back when its task ends, even one that was cancelled before it began."""
        return lambda _task: self.tools.room.release(len(polished.sent))

    async def ask(self, polished: PolishedClip, group: asyncio.TaskGroup) -> None:
        """Bring one clip to its end: an earlier answer, a new one, or a failure with its reason. Never fails itself.

        A second recogniser's word comes later, from a task of `group`: nothing waits for it but the packing.
        """
        try:
            result, document = self._documented(await self._ended(polished))
            await self.tools.keeper.keep(self.video, result, document)
            stem = result.clip.name.stem
            if not await self._spooled(lambda: self.spool.add_result(stem, document)):
                return
            self._record(result)
        except Exception as reason:
            self.stop(reason)
            return
        heard = self._offer(polished, result)
        if heard is not None:
            group.create_task(self._amend(result, heard))

    async def _ended(self, polished: PolishedClip) -> ClipResult:
        """How the clip ended. What is wrong with it alone is its failure; what concerns more than it is raised."""
        try:
            return self._reuse(polished) or self._result(polished, await self._answer(polished))
        except LipikaError:
            raise
        except Exception as error:  # the boundary of a clip
            self._trouble(f"{polished.clip.name.stem}.flac", error)
            nothing = Outcome(None, None, Usage(), 0.0, 0, "", "", "", 0.0)
            return documents.failed_result(self._result(polished, nothing), *_why(error))

    def _documented(self, result: ClipResult) -> tuple[ClipResult, bytes]:
        """The result with its document; a failure where no document can be made of it."""
        try:
            return result, documents.clip_result_to_json(result)
        except Exception as error:  # the boundary of a clip
            self._trouble(result.segment_file, error)
            failed = documents.failed_result(result, *_why(error))
            return failed, documents.clip_result_to_json(failed)

    def _trouble(self, what: str, error: Exception | Mishap) -> None:
        self.tools.troubles.note(self.video.video_id, what, error)

    def _offer(self, polished: PolishedClip, result: ClipResult) -> Awaitable[Alignment | None] | None:
        """Let a second recogniser listen, where there is one and it is this clip's turn."""
        aligner = self.tools.aligner
        if aligner is None or result.answer is None or result.alignment is not None:
            return None
        return aligner.offer(Task(polished.sent, result.answer, polished.clip, result.language_hint))

    async def _amend(self, result: ClipResult, heard: Awaitable[Alignment | None]) -> None:
        """Put what was heard into the result; it comes within the stage's deadline, or not at all.

        It is best effort: the answer itself has its place, whatever becomes of this.
        """
        try:
            alignment = await heard
            if alignment is None or result.verdict is None:
                return
            verdict = validation.with_alignment(result.verdict, alignment)
            new = replace(result, verdict=verdict, alignment=alignment)
            document = documents.clip_result_to_json(new)
            self.spool.replace_result(result.clip.name.stem, document)
            self.summary.amend(result.verdict, verdict, result.clip.duration_ms)
            self.summary.align(alignment)
            await self.tools.keeper.keep(self.video, new, document)
        except DiskFull:
            return
        except Exception as error:
            self._trouble(result.segment_file, error)

    async def _answer(self, polished: PolishedClip) -> Outcome:
        request = question.request_for(
            self.video.video_id, polished.clip, self.language, polished.sent, polished.sent_format
        )
        return await self.tools.engine.transcribe(
            request, partial(self._review, polished), partial(self._keep_meanwhile, polished)
        )

    def _keep_meanwhile(self, polished: PolishedClip, paid: Outcome) -> None:
        """Make a paid answer durable though a better one may come, or nobody waits for it any more: the first may
        take a window, in which a worker may die. Called by the engine, which must hear of no trouble of ours.
        """
        try:
            result = self._result(polished, paid)
            self.tools.keeper.take(self.video, result, documents.clip_result_to_json(result))
        except Exception as error:
            self._trouble(f"{polished.clip.name.stem}.flac", error)

    def _review(self, polished: PolishedClip, text: str, varied: bool, switched: bool) -> Review | Failure:
        """Called by the engine: what cannot be judged is a failure of the clip, never an exception."""
        try:
            return question.review(
                text, polished.clip, self.language, self.tools.bands, varied=varied, switched=switched
            )
        except Exception as error:
            self._trouble(f"{polished.clip.name.stem}.flac", error)
            code, reason = _why(error)
            return Failure(FailureKind.DEFECT, reason, code=code)

    def _reuse(self, polished: PolishedClip) -> ClipResult | None:
        """An earlier attempt's answer to the very same audio, prompt and model; judged anew, not paid again."""
        former = self.earlier.get(polished.clip.audio_digest)
        if former is None or former.answer is None:
            return None
        other = reuse.difference(_was(former), self.tools.asked_as, self.language)
        if other is not None:
            self.outdated[other.what] += 1
            return None
        self.reused += 1
        self.tools.progress.reused += 1
        answer = transcript.tidied_answer(former.answer)
        verdict = validation.validate(answer, polished.clip, self.language, bands=self.tools.bands)
        if former.alignment is not None:
            verdict = validation.with_alignment(verdict, former.alignment)
        judged = Judged(answer, verdict)
        return ClipResult(
            video_id=self.video.video_id,
            clip=polished.clip,
            language_hint=self.language or "",  # by which it is judged now
            status=question.status_of(judged),
            answer=answer,
            verdict=verdict,
            failure=None,
            usage=former.usage,
            cost_usd=former.cost_usd,
            provenance=former.provenance,
            reused=True,
            alignment=former.alignment,
        )

    def say_what_is_outdated(self) -> None:
        """Earlier answers that were paid for and cannot be used: asked again, and not in silence."""
        made = polish.TRIMMER_VERSION
        other_cuts = sum(answer.trimmer_version != made for answer in self.earlier.values())
        if other_cuts:
            self.outdated["trimmer version"] = other_cuts
        if self.outdated:
            log.warning(
                "earlier_answers_outdated",
                video=self.video.video_id,
                reused=self.reused,
                of=len(self.earlier),
                because={f"other {reason}": count for reason, count in sorted(self.outdated.items())},
            )

    def _result(self, polished: PolishedClip, outcome: Outcome) -> ClipResult:
        judged, asked = outcome.judged, self.tools.asked_as
        return ClipResult(
            video_id=self.video.video_id,
            clip=polished.clip,
            language_hint=self.language or "",
            status=question.status_of(judged),
            answer=judged.answer if judged else None,
            verdict=judged.verdict if judged else None,
            failure=outcome.failure,
            usage=outcome.usage,
            cost_usd=outcome.cost_usd,
            provenance=Provenance(
                provider=outcome.provider,
                model_id=asked.model_id,
                model_version=outcome.model_version,
                prompt_version=prompt.PROMPT_VERSION,
                schema_version=transcript.SCHEMA_VERSION,
                temperature=asked.temperature,
                thinking_level=asked.thinking_level,
                worker_id=self.tools.worker_id,
                batch_id=outcome.batch_id,
                attempts=outcome.attempts,
                latency_ms=round(outcome.latency_ms),
            ),
        )

    def _record(self, result: ClipResult) -> None:
        """Count the clip's end."""
        self.accounting.end(result.status)
        self.summary.add(result)
        progress = self.tools.progress
        progress.audio_ms += result.clip.duration_ms
        progress.transcribed += result.status is ClipStatus.TRANSCRIBED
        progress.no_speech += result.status is ClipStatus.NO_SPEECH
        progress.failed += result.status is ClipStatus.FAILED

    def check(self) -> None:
        """Nothing may be packed unless every segment and every clip has been accounted for."""
        if self.stopped is not None:
            raise self.stopped
        self._say_what_names_mean()
        problem = self.accounting.problem()
        if problem is not None:
            raise AccountingError(f"video {self.video.video_id}: {problem}")

    def _say_what_names_mean(self) -> None:
        """Names in milliseconds read as centiseconds shift everything that rests on a video's clock."""
        if self.too_long_names * 2 <= len(self.segments) or self.too_long_names < 2:
            return
        told = (
            f"{self.too_long_names} of {len(self.segments)} segments are a tenth as long as their names say: the"
            " times look like milliseconds, and centiseconds are expected; if so, drop the last digit of both"
        )
        self._note(tars.BadMember("(names of segments)", "times_in_ms", told, tars.MemberKind.OTHER))

    async def look_at_the_whole(self) -> None:
        """What no single clip can show: clips that lie under another speaker's voice."""
        shared = validation.overlaps(self.names, self.segments)
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
        verdict = validation.with_findings(old.verdict, (finding,))
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
            progress = self.tools.progress
            progress.transcribed -= old.status is ClipStatus.TRANSCRIBED
            progress.no_speech -= old.status is ClipStatus.NO_SPEECH
            progress.failed += old.status is not ClipStatus.FAILED

    # ------------------------------------------------------------------------- pack

    async def pack(self, target: Place) -> VideoReport:
        """Stream the result tar into the store; it is read back by size and digest before this returns."""
        metadata = await self._in_thread(
            lambda: documents.result_metadata(
                self.metadata,
                self.video.video_id,
                self.language,
                self.accounting,
                self._all_discards(),
                self.summary,
                {"clips_audio_sha256": self.content.hexdigest()},
            )
        )
        return VideoReport(
            await self._stored(target, self.spool.compose(metadata)),
            frozenset(f"{name.stem}.flac" for name in self.names),
            self._all_discards(),
            self.summary.usage,
            self.summary.cost_usd,
            self.reused,
        )

    async def _stored(self, target: Place, tar: ComposedTar) -> ObjectInfo:
        """Upload; all answers have been paid for, so an outage of the store is waited out."""
        try:
            return await self._uploaded(target, tar)
        finally:
            self.tools.progress.unwritable = ""

    async def _uploaded(self, target: Place, tar: ComposedTar) -> ObjectInfo:
        progress = self.tools.progress
        while True:
            try:
                return await target.store.put_stream(target.key, tar.chunks(), tar.size)
            except Unavailable as reason:
                log.warning("result_waits", video=self.video.video_id, reason=str(reason))
                progress.unwritable = str(reason)
                await asyncio.sleep(_STORE_RETRY_S)
                with suppress(
                    LipikaError
                ):  # best effort: else the next attempt, or the bucket's rule, sees to it
                    await target.store.abort_uploads(target.key)
            except StorageError as reason:
                raise OutputRefused(str(reason)) from reason

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.tools.threads, work)


@contextmanager
def _counted(spool: Spool, progress: Progress) -> Iterator[None]:
    """Takes a video's clips off the count when its spool goes."""
    try:
        yield
    finally:
        progress.spooled_bytes -= spool.clip_bytes


_STORE_RETRY_S = 2.0
_MOST_DISCARDS = 10_000  # listed one by one, a few hundred bytes each; all are counted
_NOTES_LOGGED = 20
_HANDFUL, _HANDFUL_BYTES = 8, 1 << 20
_HANDFUL_EMPTY = 512  # of what holds nothing to polish


def _handfuls(
    members: Iterator[tars.Member | tars.BadMember],
) -> Iterator[list[tars.Member | tars.BadMember]]:
    """Members in groups worth a thread's time; what was read before an error comes before it."""
    group: list[tars.Member | tars.BadMember] = []
    size = full = 0
    error: Exception | None = None
    try:
        for member in members:
            group.append(member)
            held = len(member.data) if isinstance(member, tars.Member) else 0
            size, full = size + held, full + bool(held)
            if size >= _HANDFUL_BYTES or full >= _HANDFUL or len(group) >= _HANDFUL_EMPTY:
                yield group
                group, size, full = [], 0, 0
    except Exception as reason:
        error = reason
    if group:
        yield group
    if error is not None:
        raise error


def _named_in_ms(polished: PolishedSegment) -> bool:
    """Whether a segment lasts about a tenth of what its name says."""
    ends = [clip.clip.original_end_ms for clip in polished.clips]
    if not ends:
        return False
    name = polished.clips[0].clip.segment
    ends += [discard.end_ms for discard in polished.discards if discard.end_ms is not None]
    return 0.09 <= (max(ends) - name.start_ms) / (name.end_ms - name.start_ms) <= 0.11


def _why(error: Exception) -> tuple[str, str]:
    """Code and reason of a clip that an exception of our own has failed."""
    return type(error).__name__, redact(str(error)) or type(error).__name__


def _was(former: StoredAnswer) -> Was:
    how, answer = former.provenance, former.answer
    return Was(
        how.model_id,
        how.model_version,
        how.temperature,
        how.thinking_level,
        how.prompt_version,
        how.schema_version,
        former.trimmer_version,
        former.language_hint,
        answer.detected_language if answer else "",
        answer is not None and answer.no_speech,
    )
