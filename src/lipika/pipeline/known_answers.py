"""Answers that are known before a clip is asked for, of whatever video; and whose turn it is to ask.

Clips whose audio is the same are asked for once: a second one waits for the first while that is under way in this
worker, and finds its answer afterwards in memory or in the database.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Self, TypeAlias

from lipika.config import plain_model
from lipika.db.paid import WayOfAsking
from lipika.db.result_rows import StoredAnswer
from lipika.llm import prompt, transcript
from lipika.models import ClipResult
from lipika.pipeline.reuse import AskedAs, fits, last_step
from lipika.pipeline.saved_answers import as_stored_answer

_GATHER_S = 0.02
"""Clips that come within this time are looked up together."""
_DIGESTS_A_QUERY = 500
_REMEMBERED = 5_000
"""Answers in memory, some 10 MB: more than arrive between two writes of rows."""

LookUp: TypeAlias = Callable[[Sequence[str], WayOfAsking], Awaitable[list[StoredAnswer]]]
"""Finds answers that were paid for by digests of their audio."""

Known: TypeAlias = tuple[StoredAnswer, ...]
"""The answers to one audio: one of each model that it was asked of, in their order in a cascade."""

Patiently: TypeAlias = Callable[[Callable[[], Awaitable[Known]]], Awaitable[Known]]


async def look_nowhere(digests: Sequence[str], way: WayOfAsking) -> list[StoredAnswer]:
    """Find nothing: for those who have no database."""
    del digests, way
    return []


class KnownAnswers:
    """Use as an async context manager, in one event loop. A clip is known by one or two digests of its audio."""

    def __init__(self, look_up: LookUp, asked: AskedAs) -> None:
        self._look_up = look_up
        self._asked = asked
        self._way: WayOfAsking = {
            "model_ids": [plain_model(name) for name in asked.models],
            "temperature": asked.temperature,
            "thinking_level": asked.thinking_level,
            "prompt_versions": prompt.prompt_versions(asked.answer, asked.own),
            "schema_version": transcript.schema_version(asked.answer),
        }
        self._asking: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._remembered: OrderedDict[str, StoredAnswer] = OrderedDict()
        self._wanted: dict[str, asyncio.Future[list[StoredAnswer]]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def remember(self, digests: Iterable[str], result: ClipResult) -> None:
        """Keep a new answer until its row is written, for clips of the same audio."""
        if result.answer is None:
            return
        for digest in digests:
            self._remembered[digest] = as_stored_answer(result)
            self._remembered.move_to_end(digest)
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)

    async def find(self, digests: Sequence[str], language: str | None) -> Known:
        """The answers to this audio that fit how clips are asked now; none where nobody has paid for one.

        Raises:
            DatabaseUnavailable: nobody knows.
        """
        former = self._recall(digests, language)
        if former:
            return former
        found = await asyncio.gather(*map(self._want, digests))
        return self._best((stored for some in found for stored in some), language)

    async def find_many(self, digests: Sequence[str], language: str | None) -> dict[str, StoredAnswer]:
        """The same for many clips of a video, by digest.

        Raises:
            DatabaseUnavailable: nobody knows.
        """
        known: dict[str, StoredAnswer] = {}
        for start in range(0, len(digests), _DIGESTS_A_QUERY):
            for stored in await self._look_up(digests[start : start + _DIGESTS_A_QUERY], self._way):
                digest, before = stored.audio_digest, known.get(stored.audio_digest)
                if fits(stored, self._asked, language) and (
                    before is None or last_step(before, self._asked) <= last_step(stored, self._asked)
                ):
                    known[digest] = stored
        return known

    @asynccontextmanager
    async def turn(
        self, digests: Sequence[str], language: str | None, patiently: Patiently
    ) -> AsyncIterator[Known]:
        """The answers that are known; where none of them will do it is the caller's turn to ask. Meanwhile others
        with this audio wait.

        Where the first got no answer, each of the others asks for itself: nobody waits for more than one.
        `patiently` repeats a look-up for as long as the database is away.
        """
        keys = [(digest, language or "") for digest in digests]
        under_way = next((self._asking[key] for key in keys if key in self._asking), None)
        if under_way is not None:
            await asyncio.shield(under_way)
            yield self._recall(digests, language)
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking |= dict.fromkeys(keys, mine)
        try:
            yield await patiently(lambda: self.find(digests, language))
        finally:
            for key in keys:
                del self._asking[key]
            mine.set_result(None)

    def _recall(self, digests: Sequence[str], language: str | None) -> Known:
        return self._best(
            (self._remembered[digest] for digest in digests if digest in self._remembered), language
        )

    def _best(self, found: Iterable[StoredAnswer], language: str | None) -> Known:
        """Of each model one that was asked for under the same hint, else any that fits; of these, one whose clip has
        gone up furthest."""

        def order(stored: StoredAnswer) -> tuple[bool, int]:
            return stored.language_hint != (language or ""), -last_step(stored, self._asked)

        best: dict[int, StoredAnswer] = {}
        for stored in sorted((one for one in found if fits(one, self._asked, language)), key=order):
            best.setdefault(self._asked.step_of(stored.provenance.model_id), stored)
        return tuple(best[step] for step in sorted(best))

    # ------------------------------------------------------------------------- looking up

    async def _want(self, digest: str) -> list[StoredAnswer]:
        if digest not in self._wanted:
            self._wanted[digest] = asyncio.get_running_loop().create_future()
        wanted = self._wanted[digest]
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_up_all(), name="look up answers")
        return await asyncio.shield(wanted)

    async def _look_up_all(self) -> None:
        await asyncio.sleep(_GATHER_S)
        while self._wanted:
            batch = dict(islice(self._wanted.items(), _DIGESTS_A_QUERY))
            for digest in batch:
                del self._wanted[digest]
            await self._answer_all(batch)

    async def _answer_all(self, batch: Mapping[str, asyncio.Future[list[StoredAnswer]]]) -> None:
        """Give each who asked what there is, or all of them the reason why nobody knows."""
        try:
            found: dict[str, list[StoredAnswer]] = {}
            for stored in await self._look_up(list(batch), self._way):
                found.setdefault(stored.audio_digest, []).append(stored)
        except BaseException as error:
            for wanted in batch.values():
                _fail(wanted, error)
            if not isinstance(error, Exception):
                raise
        else:
            for digest, wanted in batch.items():
                wanted.set_result(found.get(digest, []))


def _fail(wanted: asyncio.Future[list[StoredAnswer]], error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError):
        wanted.cancel()
        return
    wanted.set_exception(error)
    wanted.exception()  # who asked may have gone: then nobody would look at it
