"""Clips that were asked for in two ways, with both answers judged anew: read from results and answers kept aside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace

from lipika import validation
from lipika.answers.compare import PairedAnswers
from lipika.answers.ways import WayOfAnswers, WaySettings
from lipika.canary.records import Asked
from lipika.config import plain_model
from lipika.db.connection import Database
from lipika.db.paid import PaidAnswers
from lipika.db.result_rows import StoredAnswer
from lipika.db.ways import AskedRow, AskedRowOfVideo, Ways
from lipika.errors import UsageError
from lipika.llm import transcript
from lipika.models import LANES, Answer, Clip, Provenance, Usage
from lipika.pipeline.reuse import hint_difference, was_of
from lipika.validation import Bands


@dataclass(frozen=True, slots=True)
class PairsFound:
    """Pairs in the order of their audios' digests. `all_there` is False where there are more than were wanted."""

    pairs: tuple[PairedAnswers, ...]
    all_there: bool


@dataclass(frozen=True, slots=True)
class _Given:
    answer: Answer
    provenance: Provenance
    usage: Usage
    cost_usd: float


@dataclass(frozen=True, slots=True)
class _Pair:
    row: AskedRowOfVideo
    clip: Clip
    answers: tuple[_Given, _Given]


async def read_pairs(
    database: Database,
    ways: tuple[WayOfAnswers, WayOfAnswers],
    bands: Bands,
    most: int,
    language: str | None = None,
) -> PairsFound:
    """Up to `most` clips that have answers of both ways, a sample by chance where there are more.

    Raises:
        UsageError: results cannot be looked up by their audio yet.
    """
    if not await PaidAnswers(database).is_indexed():
        raise UsageError(
            "results cannot be found by their audio yet: `lipika db migrate` makes the index beside the work"
        )
    found: dict[str, _Pair] = {}
    last = ["g", "g"]  # after every digest: all were looked at
    for walk, (kept, other) in enumerate((ways, ways[::-1])):
        count = 0
        async for digest, pair in _walk(database, kept, other, language, swapped=bool(walk)):
            if digest not in found:
                found[digest] = pair
                count += 1
            if count >= most:
                last[walk] = digest
                break
    up_to = min(last)
    chosen = [found[digest] for digest in sorted(found) if digest <= up_to][:most]
    judged = await asyncio.to_thread(lambda: [_judge(pair, ways, bands) for pair in chosen])
    return PairsFound(tuple(judged), all_there=up_to == "g" and len(found) <= most)


async def _walk(
    database: Database, kept: WayOfAnswers, other: WayOfAnswers, language: str | None, *, swapped: bool
) -> AsyncIterator[tuple[str, _Pair]]:
    """Pairs of answers that are kept in the first way with those of the other, wherever they are."""
    store, paid = Ways(database), PaidAnswers(database)
    async for digests in store.audios(kept.name):
        mine = _group_by_digest(await paid.list_kept(digests, kept.name))
        theirs = _group_by_digest(await paid.list_kept(digests, other.name))
        clips: dict[str, list[AskedRowOfVideo]] = {}
        for clip in await store.clips(digests):
            if language in (None, language_of_row(clip)):
                clips.setdefault(clip.audio_digest, []).append(clip)
        for digest in digests:
            pair = _pair(clips.get(digest, ()), mine.get(digest, ()), theirs.get(digest, ()), other.settings)
            if pair is not None:
                first, second = pair.answers
                yield digest, replace(pair, answers=(second, first)) if swapped else pair


def _pair(
    clips: Sequence[AskedRowOfVideo],
    mine: Sequence[StoredAnswer],
    theirs: Sequence[StoredAnswer],
    other: WaySettings,
) -> _Pair | None:
    for clip in sorted(clips, key=lambda clip: not is_asked_in(clip, other)):
        held, facts = _take_answer(best_of(mine, clip.language_hint)), clip.facts()
        against = (
            _take_answer(clip)
            if is_asked_in(clip, other)
            else _take_answer(best_of(theirs, clip.language_hint))
        )
        if held is not None and against is not None and facts is not None:
            return _Pair(clip, clip.clip(facts), (held, against))
    return None


def best_of(kept: Iterable[StoredAnswer], hint: str) -> StoredAnswer | None:
    """The answer that was asked for under this hint, else one that was heard in its language; real before made up."""
    fitting = [one for one in kept if one.answer and hint_difference(was_of(one), hint or None) is None]
    return min(fitting, key=lambda one: (was_of(one).made_up, one.language_hint != hint), default=None)


def is_asked_in(clip: AskedRow, way: WaySettings) -> bool:
    """True if a clip's result was asked for in this way."""
    return clip.attempts > 0 and settings_of_row(clip) == way


def settings_of_row(clip: AskedRow) -> WaySettings:
    """The way in which a clip's result was asked for."""
    return WaySettings(
        plain_model(clip.model_id),
        None if clip.temperature is None else round(clip.temperature, 4),
        clip.thinking_level,
        clip.prompt_version,
        clip.schema_version,
    )


def language_of_row(clip: AskedRow) -> str:
    """The hint, else the language detected, else `unknown`: as counters have it."""
    return clip.language_hint or clip.detected_language or "unknown"


def _group_by_digest(kept: Iterable[StoredAnswer]) -> dict[str, list[StoredAnswer]]:
    found: dict[str, list[StoredAnswer]] = {}
    for one in kept:
        found.setdefault(one.audio_digest, []).append(one)
    return found


def _take_answer(one: StoredAnswer | AskedRow | None) -> _Given | None:
    if one is None or one.answer is None:
        return None
    return _Given(one.answer, one.provenance, one.usage, one.cost_usd)


def _judge(pair: _Pair, ways: tuple[WayOfAnswers, WayOfAnswers], bands: Bands) -> PairedAnswers:
    first, second = (
        _make_row(pair, given, way.name, bands) for given, way in zip(pair.answers, ways, strict=True)
    )
    return PairedAnswers(first, second)


def _make_row(pair: _Pair, given: _Given, way: str, bands: Bands) -> Asked:
    """The row of a canary that this answer would be."""
    row, answer = pair.row, transcript.tidy_answer(given.answer)
    verdict = validation.validate(answer, pair.clip, row.language_hint or None, bands=bands)
    codes = tuple(finding.code for finding in verdict.findings)
    return Asked(
        arm=way,
        video_id=row.video_id,
        segment_file=row.segment_file,
        language=language_of_row(row),
        duration_ms=row.duration_ms,
        status="no_speech" if answer.no_speech else "transcribed",
        provider=given.provenance.provider,
        model_version=given.provenance.model_version,
        requests=given.provenance.attempts,
        rate_limited=0,
        failure_kinds=(),
        latencies_ms=(float(given.provenance.latency_ms),),
        cache_hits=int(given.usage.cached > 0),
        usage=given.usage,
        cost_usd=given.cost_usd,
        first_findings=codes,
        first_failure="",
        quality_score=verdict.quality_score,
        findings=codes,
        lanes=tuple(name for name in LANES if getattr(verdict, name).eligible),
        detected_language=answer.detected_language,
        transcription=answer.transcription,
    )
