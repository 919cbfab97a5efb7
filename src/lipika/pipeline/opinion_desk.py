"""Second opinions beside the work: another model asked for finished clips, for dollars of its own.

Nothing here can hold up a clip: what does not fit is not taken, and a video waits for what is under way for a while
at most. An answer that comes is paid for, and stored whether anybody waits for it or not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Self

from lipika.alignment.romanise import Romaniser
from lipika.alignment.voters import ballot_of, weigh
from lipika.db.voters import SecondAnswer, Voters
from lipika.engine.engine import Engine
from lipika.engine.outcome import Outcome
from lipika.errors import DatabaseError, Draining, LipikaError, RowRefused, Unavailable, WorkerStop
from lipika.log import get_logger, redact
from lipika.models import ClipResult, Voter
from lipika.pipeline import question
from lipika.pipeline.opinions import OpinionPlan, reviewer_of, second_answer, wants_opinion
from lipika.pipeline.spooled import SpooledClip
from lipika.pipeline.troubles import Troubles
from lipika.validation import Bands

log = get_logger(__name__)

MOST_BYTES = 16 << 20
"""Of audio that waits for an opinion, on disk; what comes beyond is left out."""
_LOOK_S = 0.05
_STORE_RETRY_S = 1.0
_LAST_STORE_S = 5.0


@dataclass(slots=True)
class OpinionTally:
    """Counts of clips that want a second opinion: `wanted` is the sum of those that follow, once all has ended."""

    wanted: int = 0
    stored_before: int = 0  # paid for before, by whomever
    answered: int = 0
    failed: int = 0  # asked, without an answer that can be used
    left: int = 0  # to a later `lipika vote out/ --ask`: nothing could be asked, or its video went on without
    late: int = 0  # of those left: the answer came yet, and is stored


class OpinionDesk:
    """Offers finished clips to another model. Use as an async context manager.

    `engine` is its own, opened and closed here; it has one route. `on_off` is told once, in words, why nothing more
    is asked. `bands` gives the limits in force; `grace_s`: for answers under way, when everything ends in peace.
    """

    def __init__(
        self,
        plan: OpinionPlan,
        engine: Engine,
        answers: Voters,
        romaniser: Romaniser,
        *,
        worker_id: str,
        bands: Callable[[], Bands],
        wait_s: float = 15.0,
        grace_s: float = 15.0,
        troubles: Troubles | None = None,
        on_off: Callable[[str], object] = lambda _reason: None,
    ) -> None:
        self.counts = OpinionTally()
        self.off_because = ""
        self.wait_s = wait_s  # a video waits no longer for its opinions, once its own answers are in
        self.engine = engine
        self._plan = plan
        self._answers = answers
        self._romaniser = romaniser
        self._worker_id = worker_id
        self._bands = bands
        self._grace_s = grace_s
        self._troubles = troubles or Troubles()
        self._on_off = on_off
        self._bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._unstored: dict[
            str, SecondAnswer
        ] = {}  # by clip: the later answer takes the place of a doubted one
        self._has_unstored = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._thread = self._stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="weigh"))
        await self._stack.enter_async_context(self.engine)
        self._storing = asyncio.create_task(self._store_forever(), name="store opinions")
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.engine.drain()
        try:
            await self._await_last_answers()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._stack.aclose()
            self._storing.cancel()
            await asyncio.gather(self._storing, return_exceptions=True)
            await self._store_last()

    async def _await_last_answers(self) -> None:
        give_up = time.monotonic() + self._grace_s
        while self.engine.in_flight and time.monotonic() < give_up:  # noqa: ASYNC110 - no event says that all are back
            await asyncio.sleep(_LOOK_S)

    # ------------------------------------------------------------------------- asking

    def offer(self, result: ClipResult, clip: SpooledClip) -> asyncio.Future[Voter | None] | None:
        """Ask for a clip, if it wants an opinion; None where it does not. The future may come to None.

        Whoever waits no longer cancels the future.
        """
        if not wants_opinion(result, self._plan):
            return None
        self.counts.wanted += 1
        if self._bytes + len(clip) > MOST_BYTES:
            self.counts.left += 1
            return None
        done: asyncio.Future[Voter | None] = asyncio.get_running_loop().create_future()
        self._bytes += len(clip)
        task = asyncio.create_task(self._bring(result, clip, done))
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._let_go(ended, clip))
        done.add_done_callback(lambda given_up: task.cancel() if given_up.cancelled() else None)
        return done

    def _let_go(self, ended: asyncio.Task[None], clip: SpooledClip) -> None:
        self._tasks.discard(ended)
        self._bytes -= len(clip)
        self.counts.left += ended.cancelled()

    async def _bring(self, result: ClipResult, clip: SpooledClip, done: asyncio.Future[Voter | None]) -> None:
        """One clip's opinion: stored before, or asked for. Whatever goes wrong is this clip's and no other's."""
        text: str | None = None
        try:
            text = await self._find(result)
            if text is None:
                text = await self._ask(result, clip)
        except (Draining, Unavailable):  # where nobody knows what is stored, nothing is asked
            self.counts.left += 1
        except WorkerStop as reason:
            self.counts.left += 1
            self.switch_off(str(reason))
        except Exception as error:  # the boundary of an opinion: it is best effort
            self.counts.failed += 1
            self._note(result.video_id, result.segment_file, error)
        if not done.done():
            done.set_result(None if text is None else self._plan.voter(text))

    async def _find(self, result: ClipResult) -> str | None:
        found = (await self._answers.find_answers([result], self._plan.way)).get(result.segment_file)
        self.counts.stored_before += found is not None
        return found

    async def _ask(self, result: ClipResult, clip: SpooledClip) -> str | None:
        request = question.request_for(
            result.video_id,
            result.clip,
            result.language_hint or None,
            clip,
            clip.sent_format,
            form=self._plan.answer,
        )
        mine = asyncio.current_task()

        def keep(paid: Outcome) -> None:
            """The engine's word of an answer that may be bettered, or that nobody waits for any more."""
            self.counts.late += mine is not None and (mine.done() or mine.cancelling() > 0)
            self._keep(result, paid)

        outcome = await self.engine.transcribe(request, reviewer_of(result, self._bands()), keep)
        if outcome.judged is None:
            self.counts.failed += 1
            return None
        self._keep(result, outcome)
        self.counts.answered += 1
        return outcome.judged.answer.transcription

    async def weigh(self, result: ClipResult) -> ClipResult:
        """The result with the tier of all its voters."""
        ballots = [ballot_of(result)]
        loop = asyncio.get_running_loop()
        (consensus,) = await loop.run_in_executor(self._thread, weigh, ballots, self._romaniser)
        return replace(result, consensus=consensus)

    # ------------------------------------------------------------------------- storing

    def _keep(self, result: ClipResult, paid: Outcome) -> None:
        if paid.judged is None:
            return
        self._unstored[f"{result.clip.audio_digest} {result.language_hint}"] = second_answer(
            result, self._plan, paid, paid.judged
        )
        self._has_unstored.set()

    async def _store_forever(self) -> None:
        while True:
            await self._has_unstored.wait()
            try:
                await self._store()
            except LipikaError as error:
                log.warning("opinions_wait", answers=len(self._unstored), reason=str(error))
                if isinstance(error, DatabaseError):
                    self.switch_off(str(error))
                await asyncio.sleep(_STORE_RETRY_S)

    async def _store(self) -> None:
        """Store all answers there are. Raises LipikaError: the rest of them could not be, for the reason given."""
        batch = dict(self._unstored)
        try:
            if batch:
                await self._answers.keep_opinions(self._worker_id, list(batch.values()))
        except RowRefused:  # for what one of them holds
            for key, answer in batch.items():
                await self._store_one(key, answer)
        for key, answer in batch.items():
            if self._unstored.get(key) is answer:
                del self._unstored[key]
        if not self._unstored:
            self._has_unstored.clear()

    async def _store_one(self, key: str, answer: SecondAnswer) -> None:
        try:
            await self._answers.keep_opinions(self._worker_id, [answer])
        except RowRefused as error:
            self._note("", key, error)

    def _note(self, video_id: str, what: str, error: Exception) -> None:
        """Write a clip's own trouble down; that of the database stops the asking."""
        if isinstance(error, DatabaseError) and not isinstance(error, RowRefused):
            self.switch_off(str(error))
        else:
            self._troubles.note(video_id, what, error)

    async def _store_last(self) -> None:
        try:
            async with asyncio.timeout(_LAST_STORE_S):
                await self._store()
        except (LipikaError, TimeoutError) as error:
            log.warning("opinions_lost", answers=len(self._unstored), reason=redact(str(error)) or "too late")

    # ------------------------------------------------------------------------- ending

    def drain(self) -> None:
        """Ask nothing more; answers under way may come back."""
        self.engine.drain()

    def hurry(self) -> None:
        """Everything stops: not even answers under way are waited for."""
        self.engine.drain()
        self._grace_s = 0.0

    def switch_off(self, reason: str) -> None:
        """Ask nothing more, and say why; what is stored is still used."""
        self.engine.drain()
        if not self.off_because:
            self.off_because = redact(reason)
            log.warning("second_opinions_off", reason=self.off_because)
            self._on_off(
                f"{self.off_because}; the run goes on without them, `lipika vote out/ --ask` asks later"
            )

    @property
    def unstored(self) -> int:
        """Answers on their way into the database."""
        return len(self._unstored)

    @property
    def model_id(self) -> str:
        """The model that is asked."""
        return self._plan.model_id

    @property
    def usd(self) -> float:
        """US dollars so far."""
        return self.engine.totals.cost_usd

    def words(self) -> str:
        """The state of it in a few words, for people."""
        if self.off_because:
            return f"second opinions are off: {self.off_because}"
        counts = self.counts
        return (
            f"second opinions: {counts.answered:,} for ${self.usd:,.2f}, {counts.stored_before:,} stored before,"
            f" {counts.failed:,} failed, {counts.left:,} left"
        )
