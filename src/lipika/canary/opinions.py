"""Second opinions: another model asked for a sample of finished clips and for those in doubt, for dollars of its own.

Each answer is stored as it comes, by its audio and the way it was asked for: none is paid for twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from lipika.archive.results import ResultArchive, read_files
from lipika.audio.codec import decode, encode_flac, resample_for_model
from lipika.canary.dollar_cap import LOOK_EVERY_S, DollarCap
from lipika.canary.recording import Recorder
from lipika.config import Settings, load_settings, require_key
from lipika.db.connection import Database
from lipika.db.voters import Voters
from lipika.engine.engine import Engine
from lipika.engine.outcome import EngineOptions
from lipika.engine.pacing import Probing
from lipika.engine.route import Reserve, Route
from lipika.errors import Draining, WorkerStop
from lipika.jobs.vote import OpinionCounts, VoteCounts, VoteOrder, vote_on_stored
from lipika.jobs.wiring import engine_options, fleet_ledger, make_provider, probing
from lipika.llm.capabilities import Capabilities, load_capabilities
from lipika.llm.provider import BaseProvider
from lipika.models import AnswerForm, ClipResult, SendFormat, Voter
from lipika.pipeline import question
from lipika.pipeline.opinions import (
    OpinionPlan,
    reviewer_of,
    second_answer,
    settings_of_opinions,
    wants_opinion,
)
from lipika.rework.limits import find_bands
from lipika.services import open_database, store_settings
from lipika.storage import StoreSettings
from lipika.validation import Bands
from lipika.wording import money

_CAP_REACHED_AFTER_S = 3.0  # as in a canary: slots that were not used come back within two seconds


@dataclass(frozen=True, slots=True)
class OpinionOptions(OpinionPlan):
    """The model that is asked, the share of the clips, and the dollars for it."""

    max_usd: float
    stores: StoreSettings
    bands: Bands
    engine: EngineOptions = EngineOptions()
    probing: Probing = field(default_factory=Probing)
    max_in_flight: int = 200


class SecondOpinions:
    """A model at work. Use as an async context manager; the provider is the caller's to open and close."""

    def __init__(
        self,
        options: OpinionOptions,
        provider: BaseProvider,
        capabilities: Capabilities,
        reserve: Reserve,
        answers: Voters,
    ) -> None:
        self.counts = OpinionCounts()
        self._options = options
        self._answers = answers
        self._cap = DollarCap(options.max_usd)
        self._recorder = Recorder(provider, capabilities)
        guarded = self._cap.guard("second opinions", reserve, lambda: self._recorder.usd)
        route = Route(
            self._recorder,
            capabilities,
            max_in_flight=options.max_in_flight,
            reserve=guarded,
            probing=options.probing,
        )
        self._engine = Engine([route], worker_id="second opinions", options=options.engine)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._engine)
        self._watch = asyncio.create_task(self._watch_cap(), name="cap of second opinions")
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        self._engine.drain()
        await self._stack.aclose()
        self.counts.usd = self._recorder.usd

    async def ask(self, archive: ResultArchive, results: Sequence[ClipResult]) -> dict[str, Voter]:
        """Voters of those clips that want one, by segment file; fewer where the dollars are used up."""
        chosen = [result for result in results if wants_opinion(result, self._options)]
        if not chosen:
            return {}
        texts = await self._answers.find_answers(chosen, self._options.way)
        self.counts.stored_before += len(texts)
        rest = {result.clip.name.stem: result for result in chosen if result.segment_file not in texts}
        try:
            async with asyncio.TaskGroup() as group:
                async for stem, audio in self._audio(archive, rest):
                    group.create_task(self._ask_one(rest[stem], audio, texts))
        except ExceptionGroup as several:  # one is enough to say what is wrong: a store, a database
            raise several.exceptions[0] from several
        return {file: self._options.voter(text) for file, text in texts.items()}

    async def _audio(
        self, archive: ResultArchive, wanted: Mapping[str, ClipResult]
    ) -> AsyncIterator[tuple[str, bytes]]:
        """The clips as they are sent, one at a time; none once it has ended."""
        if not wanted:
            return
        files = read_files(archive, self._options.stores, "segments")
        while not self.counts.ended:
            item = await asyncio.to_thread(next, files, None)
            if item is None:
                return
            if item[0] in wanted:
                yield item[0], await asyncio.to_thread(_as_sent, item[1])

    async def _ask_one(self, result: ClipResult, audio: bytes, texts: dict[str, str]) -> None:
        hint = result.language_hint or None
        request = question.request_for(
            result.video_id, result.clip, hint, audio, SendFormat.FLAC, form=self._options.answer
        )
        self.counts.asked += 1
        try:
            outcome = await self._engine.transcribe(request, reviewer_of(result, self._options.bands))
        except Draining:
            return
        except WorkerStop as reason:
            self.counts.ended = self.counts.ended or str(reason)
            return
        finally:
            self._recorder.attempts_at(request.clip_id)
        if outcome.judged is not None:
            await self._answers.keep_answer(second_answer(result, self._options, outcome, outcome.judged))
            self.counts.answered += 1
            texts[result.segment_file] = outcome.judged.answer.transcription

    async def _watch_cap(self) -> None:
        """End the asking once nothing more can be paid for: a clip would wait for ever."""
        idle_since = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = time.monotonic()
            if self._engine.in_flight:
                idle_since = now
            refused = now - self._cap.refused_at < 2 * LOOK_EVERY_S + 1
            if refused and now - idle_since > _CAP_REACHED_AFTER_S:
                self.counts.ended = (
                    f"the cap of {money(self._options.max_usd)} is reached (SECOND_OPINION_USD)"
                )
                self._engine.drain()
                return


def _as_sent(packed: bytes) -> bytes:
    return encode_flac(resample_for_model(decode(packed)))


@asynccontextmanager
async def open_opinions(
    settings: Settings, database: Database, max_usd: float | None
) -> AsyncIterator[SecondOpinions]:
    """Second opinions as the settings have them; `max_usd` goes before SECOND_OPINION_USD.

    Raises:
        UsageError: no model is named, or it is the one whose answers are to be held against it.
        SettingsError: the provider has no key.
    """
    chosen = settings_of_opinions(settings)
    require_key(chosen)
    options = OpinionOptions(
        model_id=chosen.model_id,
        temperature=chosen.temperature,
        thinking_level=chosen.thinking_level,
        answer=AnswerForm(chosen.answer),
        share=settings.second_opinion,
        max_usd=max_usd or settings.second_opinion_usd,
        stores=store_settings(settings),
        bands=await find_bands(settings, database),
        engine=engine_options(settings),
        probing=probing(settings),
        max_in_flight=settings.max_in_flight,
    )
    capabilities = load_capabilities(chosen.model_id, settings.models_file)
    async with make_provider(chosen, chosen.provider) as provider:
        ledger = fleet_ledger(database, f"second-opinion-{time.time_ns():x}")
        async with SecondOpinions(options, provider, capabilities, ledger, Voters(database)) as opinions:
            yield opinions


async def vote_with_opinions(order: VoteOrder, max_usd: float | None) -> VoteCounts:
    """`vote_on_stored`, and another model is asked first. What was answered is kept whatever ends it."""
    settings = load_settings(lipika_data_dir=order.data_dir)
    async with (
        open_database(settings) as database,
        open_opinions(settings, database, max_usd) as opinions,
    ):
        done = await vote_on_stored(order, opinions.ask)
        done.opinions = opinions.counts
    return done
