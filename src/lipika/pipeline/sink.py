"""Results on their way to safety: rows in batches into the database, answers as partial objects into the store.

Either may be away for minutes; the other goes on meanwhile. Rows that pile up go to disk, and when that is full too,
whoever brings more has to wait.
"""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from lipika.archive.documents import clip_result_from_json, clip_result_to_json, failed_result
from lipika.db.results import Results
from lipika.errors import LeaseLost, LipikaError, RowRefused, Unavailable
from lipika.log import get_logger, redact
from lipika.models import BatchReport, ClaimedVideo, ClipResult
from lipika.network import patiently
from lipika.pipeline.saved_answers import Partials
from lipika.pipeline.troubles import Troubles
from lipika.wording import duration

log = get_logger(__name__)

_SETTLE_RETRY_S = 1.0
_SAVE_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class SinkLimits:
    """Limits on what may wait for its write."""

    write_at: int = 500  # rows that are worth a write of their own
    write_rows: int = 1000  # in one statement, about 2 MB
    memory_rows: int = 5000  # some 20 MB; the rest goes to disk
    disk_bytes: int = 1 << 30  # then whoever brings more waits
    unsaved: int = 5000  # answers that wait for the store; rows alone must do for the rest


_Spilled: TypeAlias = tuple[int, int]
"""Where a row lies on disk, and its length."""


@dataclass(slots=True)
class _Waiting:
    """Results of one claim of a video that wait for their write. A clip that comes again replaces its row."""

    video: ClaimedVideo
    rows: dict[str, ClipResult | _Spilled] = field(
        default_factory=dict
    )  # answers aside among them, by `_aside_key`
    unsaved: list[bytes] = field(default_factory=list)  # documents of answers
    refused: dict[str, ClipResult] = field(
        default_factory=dict
    )  # rows that failed, as they were written instead
    erased: bool = False  # nothing of it may be kept anywhere
    lost: bool = False  # no row of it will be taken any more; its answers can still be saved


class ResultSink:
    """Buffers clip results and batch reports. Use as a context manager: `folder` gets a file without a name.

    `on_lost` is told of a video whose lease another worker holds; its rows are dropped.
    """

    def __init__(
        self,
        results: Results,
        partials: Partials,
        folder: Path,
        limits: SinkLimits | None = None,
        troubles: Troubles | None = None,
    ) -> None:
        self.on_lost: Callable[[ClaimedVideo], None] = lambda video: log.warning(
            "lease_lost", video=video.video_id
        )
        self.partials = partials
        self._troubles = troubles or Troubles()
        self._results = results
        self._limits = limits or SinkLimits()
        self._waiting: dict[str, _Waiting] = {}  # by claim token: a video may have been claimed again
        self._batches: list[BatchReport] = []
        self._spill = _Spill(folder)
        self._count = self._in_memory = self._unsaved = 0
        self._writing, self._saving = asyncio.Lock(), asyncio.Lock()
        self._room = asyncio.Event()
        self._room.set()
        self.save_error: LipikaError | None = None  # why the last save failed
        self._saving_since = math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spill.close()

    @property
    def waiting(self) -> int:
        """Rows that are not in the database yet."""
        return self._count

    async def keep(self, video: ClaimedVideo, result: ClipResult, document: bytes) -> None:
        """Take one result, and what `clip_result_to_json` makes of it.

        Writes when enough have gathered; waits while neither memory nor disk has room.
        """
        self.take(video, result, document)
        if not self._has_room():
            log.warning("results_hold", rows=self._count, reason="neither memory nor disk has room for more")
            self._room.clear()
            await self._room.wait()
        elif self._count >= self._limits.write_at and self._count % self._limits.write_at == 0:
            await self.flush()

    def take(self, video: ClaimedVideo, result: ClipResult, document: bytes) -> None:
        """The same at once. A claim that has been lost takes no row, but an answer to be saved."""
        waiting = self._waiting.setdefault(video.claim_token, _Waiting(video))
        if waiting.erased:
            return
        if not waiting.lost:
            for answer in result.aside:
                self._take(waiting, _aside_key(answer), answer, clip_result_to_json(answer))
            self._take(waiting, result.segment_file, result, document)
        paid = not result.reused and result.answer is not None and result.provenance.asked
        if paid and self._unsaved < self._limits.unsaved:
            waiting.unsaved.append(document)
            self._unsaved += 1

    def keep_batch(self, report: BatchReport) -> None:
        """Take one batch report, to be written with the next flush."""
        self._batches.append(report)

    # ------------------------------------------------------------------------- rows

    async def flush(self) -> bool:
        """Write all rows there are; False when Postgres is away and it must be tried again."""
        return await self._flush(list(self._waiting), batches=True)

    async def flush_video(self, video: ClaimedVideo) -> bool:
        """The same for the rows of one video alone: the others gather until they are worth a statement."""
        return await self._flush([video.claim_token], batches=False)

    async def settle(self, video: ClaimedVideo) -> Mapping[str, ClipResult]:
        """Write the rows of one video, however long Postgres is away; returns by file those that were refused, as
        they were written instead."""
        await patiently(
            lambda: self._write_all([video.claim_token], batches=False),
            self._say_rows_wait,
            first_s=_SETTLE_RETRY_S,
            most_s=_SETTLE_RETRY_S,
        )
        waiting = self._waiting.get(video.claim_token)
        return dict(waiting.refused) if waiting is not None else {}

    async def _flush(self, tokens: Sequence[str], *, batches: bool) -> bool:
        try:
            await self._write_all(tokens, batches=batches)
        except Unavailable as error:
            self._say_rows_wait(error)
            return False
        return True

    async def _write_all(self, tokens: Sequence[str], *, batches: bool) -> None:
        """Write the rows of these claims; what an outage cuts short goes on where it was.

        Raises:
            Unavailable: Postgres is away.
        """
        async with self._writing:
            for token in tokens:
                await self._write(token)
            while batches and self._batches:
                await self._results.write_batch(self._batches[0])
                self._batches.pop(0)

    def _say_rows_wait(self, reason: Unavailable, _wait_s: float = 0.0) -> None:
        log.warning("results_wait", rows=self._count, on_disk=self._spill.rows, reason=str(reason))

    async def flush_all(self, retry_s: float = 2.0) -> None:
        """Write all rows there are, however long Postgres is away."""
        await patiently(
            lambda: self._write_all(list(self._waiting), batches=True),
            self._say_rows_wait,
            first_s=retry_s,
            most_s=retry_s,
        )

    async def _write(self, token: str) -> None:
        waiting = self._waiting.get(token)
        while waiting is not None and waiting.rows:
            part = dict(islice(waiting.rows.items(), self._limits.write_rows))
            aside = {name: row for name, row in part.items() if _ASIDE in name}
            rows = {name: row for name, row in part.items() if name not in aside}
            try:
                await self._write_aside(waiting, self._load_rows(waiting, aside))
                await self._write_rows(waiting, self._load_rows(waiting, rows))
            except LeaseLost:
                self.lose(waiting.video)
                self.on_lost(waiting.video)
                return
            for name, row in part.items():
                if waiting.rows.get(name) is row:  # else it came again meanwhile
                    self._let_go(waiting.rows.pop(name))

    async def _write_rows(self, waiting: _Waiting, rows: Sequence[ClipResult]) -> None:
        """Write rows of one claim. Where they are refused for what they hold, those at fault are looked for by
        halves, and written as failures; the others are written as they are.

        Raises:
            LeaseLost, DatabaseUnavailable: nothing of a part, or all of it, was written.
            DatabaseError: it is not the rows that are refused.
        """
        if not rows:
            return
        try:
            await self._results.write(waiting.video, rows)
        except RowRefused as error:
            reason: Exception = error
        except LipikaError:
            raise
        except Exception as error:  # a row that cannot even be written down
            reason = error
        else:
            return
        if len(rows) > 1:
            middle = len(rows) // 2
            await self._write_rows(waiting, rows[:middle])
            await self._write_rows(waiting, rows[middle:])
        elif rows[0].segment_file not in waiting.refused:
            await self._write_refusal(waiting, rows[0], reason)
        else:  # the failure is refused as well: the archive alone will tell of this clip
            log.error("row_left_out", video=waiting.video.video_id, row=rows[0].segment_file)

    async def _write_aside(self, waiting: _Waiting, answers: Sequence[ClipResult]) -> None:
        """Write answers of one claim that are no clip's result. One that is refused for what it holds is left out.

        Raises: as `_write_rows`.
        """
        if not answers:
            return
        try:
            await self._results.keep_answers(waiting.video, answers)
        except RowRefused as error:
            middle = len(answers) // 2
            if middle:
                await self._write_aside(waiting, answers[:middle])
                await self._write_aside(waiting, answers[middle:])
            else:
                self._troubles.note(waiting.video.video_id, answers[0].segment_file, error)

    async def _write_refusal(self, waiting: _Waiting, row: ClipResult, reason: Exception) -> None:
        self._troubles.note(waiting.video.video_id, row.segment_file, reason)
        failed = failed_result(row, type(reason).__name__, f"its row was refused: {redact(str(reason))}")
        waiting.refused[row.segment_file] = failed
        await self._write_rows(waiting, [failed])

    def _load_rows(self, waiting: _Waiting, rows: Mapping[str, ClipResult | _Spilled]) -> list[ClipResult]:
        """The rows of a part; one that cannot be read back from disk is left out, with a note."""
        loaded = []
        for name, row in rows.items():
            try:
                loaded.append(self._load_row(row))
            except Exception as error:
                self._troubles.note(waiting.video.video_id, name, error)
        return loaded

    def _take(self, waiting: _Waiting, key: str, result: ClipResult, document: bytes) -> None:
        former = waiting.rows.pop(key, None)
        if former is not None:
            self._let_go(former)
        row: ClipResult | _Spilled = result
        if self._in_memory >= self._limits.memory_rows and self._spill.size < self._limits.disk_bytes:
            row = self._spill.add(document) or result
        waiting.rows[key] = row
        self._count += 1
        self._in_memory += row is result

    def _load_row(self, row: ClipResult | _Spilled) -> ClipResult:
        return row if isinstance(row, ClipResult) else clip_result_from_json(self._spill.read(row))

    def _let_go(self, row: ClipResult | _Spilled) -> None:
        self._count -= 1
        if isinstance(row, ClipResult):
            self._in_memory -= 1
        else:
            self._spill.forget()
        if self._has_room():
            self._room.set()

    def _has_room(self) -> bool:
        return self._in_memory < self._limits.memory_rows or (
            self._spill.size < self._limits.disk_bytes and not self._spill.full
        )

    # ------------------------------------------------------------------------- partial objects

    @property
    def unsaved_reason(self) -> str:
        """The reason why answers that wait for the store cannot be saved; empty where they can."""
        waits_s = time.monotonic() - self._saving_since
        if self.save_error is None and waits_s > _SAVE_PATIENCE_S:
            return f"the store has not answered for {duration(waits_s)}"
        return str(self.save_error or "")

    async def save(self) -> bool:
        """Save all answers there are as partial objects; False when the store is away and it must be tried again."""
        async with self._saving:
            self._saving_since = time.monotonic()
            try:
                for token in list(self._waiting):
                    if not await self._save(token):
                        return False
            finally:
                self._saving_since = math.inf
            self.save_error = None
        return True

    async def save_video(self, video: ClaimedVideo) -> bool:
        """The same for one claim."""
        async with self._saving:
            return await self._save(video.claim_token)

    async def _save(self, token: str) -> bool:
        waiting = self._waiting.get(token)
        if waiting is None or not waiting.unsaved:
            return True
        part = list(waiting.unsaved)
        try:
            await self.partials.save(waiting.video, part)
        except LipikaError as error:
            self.save_error = error
            video_id = waiting.video.video_id
            log.warning("answers_wait", video=video_id, answers=self._unsaved, reason=str(error))
            return False
        if self._waiting.get(token) is waiting:
            del waiting.unsaved[: len(part)]
            self._unsaved -= len(part)
            if waiting.lost and not waiting.unsaved:
                self._waiting.pop(token)
        return True

    def save_on_disk(self, video: ClaimedVideo) -> int:
        """Both the database and the store are away and this worker ends: keep on this disk what neither has.

        The next worker on this machine that holds the video finds the answers.
        """
        waiting = self._waiting.get(video.claim_token)
        rows = self._load_rows(waiting, waiting.rows) if waiting is not None else []
        answers = [row for row in rows if row.answer is not None and not row.reused]
        return self.partials.save_on_disk(video, answers)

    async def leave_unsaved(self, video: ClaimedVideo) -> None:
        """The result stands: no partial object of this video will be written any more, nor is one on its way."""
        async with self._saving:
            waiting = self._waiting.get(video.claim_token)
            if waiting is not None:
                self._unsaved -= len(waiting.unsaved)
                waiting.unsaved.clear()

    def lose(self, video: ClaimedVideo) -> None:
        """The claim is another's: no row of it can be written any more. Answers are saved yet, for whoever has it."""
        waiting = self._waiting.setdefault(video.claim_token, _Waiting(video))
        waiting.lost = True
        while waiting.rows:
            self._let_go(waiting.rows.popitem()[1])

    async def erase(self, video: ClaimedVideo) -> None:
        """The claim went because of an erasure: nothing of it is kept, and nothing that comes yet."""
        self.lose(video)
        self._waiting[video.claim_token].erased = True
        await self.leave_unsaved(video)

    def drop(self, video: ClaimedVideo) -> None:
        """Forget what waits of a claim that has ended."""
        waiting = self._waiting.pop(video.claim_token, None)
        if waiting is None:
            return
        self._unsaved -= len(waiting.unsaved)
        while waiting.rows:
            self._let_go(waiting.rows.popitem()[1])


_ASIDE = "\n"


def _aside_key(answer: ClipResult) -> str:
    """The place of an answer that is no clip's result: no file of a clip has such a name."""
    return f"{answer.segment_file}{_ASIDE}{answer.provenance.model_id}"


class _Spill:
    """A file without a name for rows that memory has no room for; emptied when the last of them has gone."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by its owner
        self.size = self.rows = 0
        self.full = False

    def add(self, data: bytes) -> _Spilled | None:
        """The place of `data`; None when the disk has no room for it."""
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(self._file.fileno(), data[done:], self.size + done)
        except OSError as error:
            self.full = True
            log.warning("disk_full", reason=str(error))
            return None
        place = (self.size, len(data))
        self.full, self.size, self.rows = False, self.size + len(data), self.rows + 1
        return place

    def read(self, place: _Spilled) -> bytes:
        return os.pread(self._file.fileno(), place[1], place[0])

    def forget(self) -> None:
        self.rows -= 1
        if not self.rows:
            self._file.truncate(0)
            self.size, self.full = 0, False

    def close(self) -> None:
        self._file.close()
