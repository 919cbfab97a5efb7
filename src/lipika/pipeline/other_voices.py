"""The part of others in one video: a recogniser's words and another model's answer to its clips, and what follows.

All of it comes after the clip's own answer has its place, and amends it: document, figures, row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

from lipika.alignment.listener import Task
from lipika.alignment.voters import apply_alignment
from lipika.archive import documents, video_documents
from lipika.archive.spool import Spool
from lipika.errors import DiskFull, StorageError
from lipika.models import Alignment, ClaimedVideo, ClipResult, Voter
from lipika.pipeline.spooled import SpooledClip
from lipika.pipeline.tools import Tools


class OtherVoices:
    """The others' part in one video. Best effort: the answers have their places, whatever becomes of this."""

    def __init__(
        self, video: ClaimedVideo, tools: Tools, spool: Spool, summary: video_documents.Summary
    ) -> None:
        self._video = video
        self._tools = tools
        self._spool = spool
        self._summary = summary
        self._now: dict[str, ClipResult] = {}  # by clip, of those that wait for an opinion
        self._amending = asyncio.Lock()
        self._opinions: set[asyncio.Task[None]] = set()

    def ask(self, polished: SpooledClip, result: ClipResult, group: asyncio.TaskGroup) -> None:
        """Ask whoever there is about a clip that has its answer.

        The recogniser's word comes to a task of `group`, within its stage's deadline; opinions are awaited apart.
        """
        self._ask_model(polished, result)
        heard = self._offer(polished, result)
        if heard is not None:
            group.create_task(self._hear_recogniser(polished, result, heard))

    def _offer(self, polished: SpooledClip, result: ClipResult) -> Awaitable[Alignment | None] | None:
        """Let a second recogniser listen, where there is one and it is this clip's turn."""
        aligner = self._tools.aligner
        if aligner is None or result.answer is None or result.alignment is not None:
            return None
        try:
            audio = polished.read()
        except StorageError as error:  # the clip has its answer: it stands without this word
            self._tools.troubles.note(self._video.video_id, result.segment_file, error)
            return None
        return aligner.offer(Task(audio, result.answer, polished.clip, result.language_hint))

    def _ask_model(self, polished: SpooledClip, result: ClipResult) -> None:
        """Ask another model, where there is one and the clip is of the sample or in doubt; once for a clip."""
        stem = result.clip.name.stem
        if self._tools.opinions is None or stem in self._now:
            return
        opinion = self._tools.opinions.offer(result, polished)
        if opinion is None:
            return
        self._now[stem] = result
        task = asyncio.create_task(self._hear_model(stem, opinion))
        self._opinions.add(task)
        task.add_done_callback(self._opinions.discard)
        task.add_done_callback(lambda _task: opinion.cancel())  # where it was not waited for to its end

    # ------------------------------------------------------------------------- hearing

    async def _hear_recogniser(
        self, polished: SpooledClip, result: ClipResult, heard: Awaitable[Alignment | None]
    ) -> None:
        try:
            alignment = await heard
            if alignment is None or result.verdict is None:
                return
            async with self._amending:
                old = self._now.get(result.clip.name.stem, result)
                new = await self._amend(old, apply_alignment(old, alignment))
            self._ask_model(polished, new)  # it may be in doubt by now
        except DiskFull:
            return
        except Exception as error:
            self._tools.troubles.note(self._video.video_id, result.segment_file, error)

    async def _hear_model(self, stem: str, opinion: asyncio.Future[Voter | None]) -> None:
        try:
            voter = await opinion
            if voter is None:
                return
            async with self._amending:
                old = self._now[stem]
                await self._amend(old, replace(old, voters=(*old.voters, voter)))
        except DiskFull:
            return
        except Exception as error:
            self._tools.troubles.note(self._video.video_id, f"{stem}.flac", error)

    async def _amend(self, old: ClipResult, new: ClipResult) -> ClipResult:
        """Put what was said into the result, and write it down; returns it as it is then."""
        if new.voters and self._tools.opinions is not None:
            new = await self._tools.opinions.weigh(new)
        stem, document = new.clip.name.stem, documents.clip_result_to_json(new)
        self._spool.replace_result(stem, document)
        self._summary.amend_heard(old, new)
        if stem in self._now:
            self._now[stem] = new
        await self._tools.keeper.keep(self._video, new, document)
        return new

    # ------------------------------------------------------------------------- ending

    async def wait(self) -> None:
        """Wait for the opinions under way, for so long as their desk thinks fit; then go on without."""
        if self._opinions and self._tools.opinions is not None:
            await asyncio.wait(self._opinions, timeout=self._tools.opinions.wait_s)
        await self.let_go()

    async def let_go(self) -> None:
        """Nobody waits any more: nothing of this video is amended from here on."""
        opinions = list(self._opinions)
        for task in opinions:
            task.cancel()
        await asyncio.gather(*opinions, return_exceptions=True)
