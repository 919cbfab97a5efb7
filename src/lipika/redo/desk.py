"""Clips of one video asked for again: looked up first, asked in turns, each answer stored before anything else."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from lipika.answers.pairing import is_asked_in
from lipika.answers.ways import WaySettings
from lipika.archive.results import ResultArchive, read_files
from lipika.audio.codec import decode, encode_flac, resample_for_model
from lipika.audio.polish import sent_digest
from lipika.config import plain_model
from lipika.db.clip_search import ClipKey
from lipika.db.paid import PaidAnswers
from lipika.db.redos import RedoClip, RedoMark, RedoneAnswer, Redos
from lipika.db.result_rows import StoredAnswer
from lipika.db.ways import SeenClip
from lipika.engine.engine import Engine
from lipika.engine.outcome import Circumstances, Outcome, Review
from lipika.errors import Draining, SegmentError, Unavailable, WorkerStop
from lipika.llm import prompt, transcript
from lipika.log import get_logger
from lipika.models import Failure, SendFormat, TextSource
from lipika.network import patiently
from lipika.pipeline import question
from lipika.pipeline.reuse import AskedAs
from lipika.redo.known import find_stored
from lipika.storage import StoreSettings
from lipika.validation import Bands

_CLIPS_IN_MEMORY = 400  # of 125 kB or so, of all videos together
_LOOK_AGAIN_S = 1.0
"""Somebody else asks for the same audio: so long until it is looked whether the answer is there."""
_STORE_RETRY_S, _STORE_RETRY_MOST_S = 0.5, 10.0

Audio: TypeAlias = tuple[str, str]
"""The digest of an audio, and the way of asking: what an answer belongs to, and a turn."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RedoOptions:
    """The order that is carried out, by whom, and how its clips are asked for."""

    redo_id: int
    holder: str
    lease_s: float
    asked: AskedAs
    bands: Bands
    stores: StoreSettings


@dataclass(slots=True)
class RedoCounts:
    """Counts of this call, and why no more is asked."""

    asked: int = 0
    answered: int = 0
    stored_before: int = 0  # answers that had been paid for already
    failed: int = 0
    usd: float = 0.0
    stopped: str = ""  # the provider refuses


class RedoDesk:
    """Asks for clips of several videos at a time, by one engine, which is the caller's."""

    def __init__(self, options: RedoOptions, engine: Engine, redos: Redos, paid: PaidAnswers) -> None:
        self.counts = RedoCounts()
        self._options = options
        self._engine = engine
        self._redos = redos
        self._paid = paid
        self._room = asyncio.Semaphore(_CLIPS_IN_MEMORY)
        self._storing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait for answers that came when nobody waited for them any more."""
        await asyncio.gather(*self._storing, return_exceptions=True)

    def way(self, hint: str) -> WaySettings:
        """The way in which clips of this hint are asked for."""
        asked = self._options.asked
        return WaySettings(
            plain_model(asked.model_id),
            None if asked.temperature is None else round(asked.temperature, 4),
            asked.thinking_level,
            prompt.prompt_version(asked.answer, own=asked.own, language=hint or None),
            transcript.schema_version(asked.answer),
        )

    async def answer_video(
        self, video_id: str, archive: ResultArchive, clips: Sequence[RedoClip], rows: Mapping[str, SeenClip]
    ) -> None:
        """Bring each clip that waits to an answer, or to why it has none. What the engine's end cuts short waits on.

        Raises:
            StorageError, ArchiveError: the archive cannot be read; what was answered is stored.
        """
        marks = [mark for clip in clips if (mark := self._settle(clip, rows.get(clip.segment_file)))]
        await self._store(lambda: self._redos.mark(self._options.redo_id, video_id, marks))
        settled = {mark.segment_file for mark in marks}
        rest = {
            clip.segment_file: rows[clip.segment_file]
            for clip in clips
            if clip.state == "waiting" and clip.segment_file not in settled
        }
        while rest and not self._engine.stopped:
            rest = await self._go_round(video_id, archive, rest)

    def _settle(self, clip: RedoClip, row: SeenClip | None) -> RedoMark | None:
        """The end of a clip that need not be asked for; None where it must."""
        if row is None or row.audio_digest != clip.audio_digest:
            return RedoMark(clip.segment_file, "gone", note="other audio lies under its name, or none")
        if row.text_source != TextSource.MODEL:
            return RedoMark(clip.segment_file, "person")
        if row.transcription is not None and is_asked_in(row, self.way(row.language_hint)):
            # Answered before: then it was made the result, and the record of it was cut short.
            return RedoMark(clip.segment_file, "already" if clip.state == "waiting" else "replaced")
        return None

    async def _go_round(
        self, video_id: str, archive: ResultArchive, rest: dict[str, SeenClip]
    ) -> dict[str, SeenClip]:
        """Take what is stored, ask for what nobody else asks for just now; returns the others."""
        rest = await self._take_stored(video_id, rest)
        first: dict[Audio, SeenClip] = {}
        for row in rest.values():
            first.setdefault(self._audio_of(row), row)
        taken = await self._redos.take_turns(list(first), self._options.holder, self._options.lease_s)
        mine = {row.segment_file: row for audio, row in first.items() if audio in taken}
        try:
            await self._ask_all(video_id, archive, await self._take_stored(video_id, mine))
        finally:
            with suppress(Unavailable):  # else they run out
                await self._redos.give_turns(list(taken), self._options.holder)
        others = {name: row for name, row in rest.items() if name not in mine}
        if others and not mine:
            await asyncio.sleep(_LOOK_AGAIN_S)
        return others

    def _audio_of(self, row: SeenClip) -> Audio:
        way = self.way(row.language_hint)
        named = f"{way.words} {way.schema_version} {row.language_hint}"
        return row.audio_digest, hashlib.sha256(named.encode()).hexdigest()[:32]

    # ------------------------------------------------------------------------- answers that are there

    async def _take_stored(self, video_id: str, rows: dict[str, SeenClip]) -> dict[str, SeenClip]:
        """Those for which nobody has paid yet; of the others the answer is put on record."""
        known = await find_stored(self._paid, self._options.asked, list(rows.values()))
        left: dict[str, SeenClip] = {}
        for (name, row), stored in zip(rows.items(), known, strict=True):
            if stored is None:
                left[name] = row
                continue
            await self._keep(ClipKey(video_id, name), _as_kept(stored), paid=0.0, final=True)
            self.counts.stored_before += 1
        return left

    # ------------------------------------------------------------------------- asking

    async def _ask_all(self, video_id: str, archive: ResultArchive, rows: dict[str, SeenClip]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                async for row, audio in self._read_audio(video_id, archive, rows):
                    await self._room.acquire()
                    group.create_task(self._ask(video_id, row, audio))
        except ExceptionGroup as several:  # one is enough to say what is wrong: a store, a database
            raise several.exceptions[0] from several

    async def _read_audio(
        self, video_id: str, archive: ResultArchive, rows: dict[str, SeenClip]
    ) -> AsyncIterator[tuple[SeenClip, bytes]]:
        """The clips as they are sent, one at a time; none once nothing more is launched."""
        wanted = {name.removesuffix(".flac"): row for name, row in rows.items()}
        if not wanted:
            return
        marks: list[RedoMark] = []
        files = read_files(archive, self._options.stores, "segments")
        try:
            while wanted and not self._engine.stopped:
                item = await asyncio.to_thread(next, files, None)
                if item is None:
                    marks += [_no_audio(row, "the result tar does not hold it") for row in wanted.values()]
                    break
                row = wanted.pop(item[0], None)
                if row is None:
                    continue
                try:
                    audio = await asyncio.to_thread(_as_sent, item[1], row.audio_digest)
                except SegmentError as error:
                    marks.append(_no_audio(row, str(error)))
                else:
                    yield row, audio
        finally:
            await asyncio.to_thread(files.close)
        await self._store(lambda: self._redos.mark(self._options.redo_id, video_id, marks))

    async def _ask(self, video_id: str, row: SeenClip, audio: bytes) -> None:
        clip, hint, noted = row.clip(row.known_facts()), row.language_hint or None, 0.0
        asked = self._options.asked
        request = question.request_for(
            video_id, clip, hint, audio, SendFormat.FLAC, form=asked.answer, own=asked.own
        )
        key = ClipKey(video_id, row.segment_file)
        doubted: list[asyncio.Task[None]] = []

        def review(text: str, how: Circumstances) -> Review | Failure:
            return question.review(text, clip, hint, self._options.bands, how)

        def keep_doubted(paid: Outcome) -> None:
            nonlocal noted
            answer, more, noted = self._as_answer(row, paid), paid.cost_usd - noted, paid.cost_usd
            if answer is not None:
                doubted.append(asyncio.create_task(self._keep(key, answer, paid=more, final=False)))
                self._storing.add(doubted[-1])
                doubted[-1].add_done_callback(self._storing.discard)

        try:
            outcome = await self._engine.transcribe(request, review, keep_doubted)
            self.counts.asked += 1
            await asyncio.gather(*doubted)  # the later answer takes their place
            await self._end(key, row, outcome, outcome.cost_usd - noted)
        except Draining:
            return
        except WorkerStop as reason:
            self.counts.stopped = self.counts.stopped or str(reason)
        finally:
            self._room.release()

    async def _end(self, key: ClipKey, row: SeenClip, outcome: Outcome, paid: float) -> None:
        answer = self._as_answer(row, outcome)
        self.counts.usd += outcome.cost_usd
        if answer is not None:
            await self._keep(key, answer, paid=paid, final=True)
            self.counts.answered += 1
            return
        failure = outcome.failure
        note = f"{failure.kind}: {failure.message}" if failure else ""
        mark = RedoMark(key.segment_file, "failed", paid, note[:300])
        await self._store(lambda: self._redos.mark(self._options.redo_id, key.video_id, [mark]))
        self.counts.failed += 1

    def _as_answer(self, row: SeenClip, outcome: Outcome) -> RedoneAnswer | None:
        if outcome.judged is None:
            return None
        way = self.way(row.language_hint)
        return RedoneAnswer(
            audio_digest=row.audio_digest,
            provider=outcome.provider,
            model_id=self._options.asked.model_id,
            model_version=outcome.model_version,
            temperature=way.temperature,
            thinking_level=way.thinking_level,
            prompt_version=way.prompt_version,
            schema_version=way.schema_version,
            language_hint=row.language_hint,
            answer=outcome.judged.answer,
            usage=outcome.usage,
            cost_usd=outcome.cost_usd,
            batch_id=outcome.batch_id,
            attempts=outcome.attempts,
            latency_ms=round(outcome.latency_ms),
            service_tier=str(outcome.tier),
            worker_id=self._options.holder,
        )

    # ------------------------------------------------------------------------- storing

    async def _keep(self, key: ClipKey, answer: RedoneAnswer, *, paid: float, final: bool) -> None:
        await self._store(
            lambda: self._redos.keep(self._options.redo_id, key, answer, paid=paid, final=final)
        )

    async def _store(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do some work until it is done: an answer that was paid for is stored however long the database is away."""

        def say(reason: Unavailable, wait_s: float) -> None:
            log.warning("answers_wait", reason=str(reason), seconds=round(wait_s, 1))

        await patiently(work, say, first_s=_STORE_RETRY_S, most_s=_STORE_RETRY_MOST_S)


def _as_kept(stored: StoredAnswer) -> RedoneAnswer:
    how = stored.provenance
    if stored.answer is None:
        raise ValueError("an answer without a text is no answer")
    return RedoneAnswer(
        audio_digest=stored.audio_digest,
        provider=how.provider,
        model_id=how.model_id,
        model_version=how.model_version,
        temperature=how.temperature,
        thinking_level=how.thinking_level,
        prompt_version=how.prompt_version,
        schema_version=how.schema_version,
        language_hint=stored.language_hint,
        answer=stored.answer,
        usage=stored.usage,
        cost_usd=stored.cost_usd,
        batch_id=how.batch_id,
        attempts=how.attempts,
        latency_ms=how.latency_ms,
        service_tier=str(how.service_tier),
        worker_id=how.worker_id,
    )


def _no_audio(row: SeenClip, why: str) -> RedoMark:
    return RedoMark(row.segment_file, "no_audio", note=why[:300])


def _as_sent(packed: bytes, digest: str) -> bytes:
    """A clip as it is sent, whatever the form in which it was sent first.

    Raises:
        SegmentError: it cannot be read, or it is not the audio that the row is about.
    """
    whole = decode(packed)
    heard = resample_for_model(whole)
    sent = packed if heard is whole else encode_flac(heard)
    known = {sent_digest(heard, SendFormat.FLAC), sent_digest(heard, SendFormat.OGG)}
    known.add(hashlib.sha256(sent).hexdigest())  # of earlier releases
    if digest not in known:
        raise SegmentError("other_audio", "the result tar holds other audio under its name")
    return sent
