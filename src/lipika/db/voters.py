"""Texts of others for clips, and answers that were replaced: the tables beside the results."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from lipika.db.connection import Database
from lipika.db.payload import clean_text, to_json
from lipika.db.queries import load
from lipika.db.stored import Rewritten
from lipika.models import SIMULATED, Answer, ClipResult, Consensus, Usage, Voter, is_made_up

_QUERIES = load("voters")
_ROWS_PER_STATEMENT = 1_000


@dataclass(frozen=True, slots=True)
class VoterRow:
    """The columns that `write` reads, by name."""

    segment_file: str
    audio_digest: str
    text_digest: str  # SHA-256 of the clip's own text: what was weighed is that and no other
    voters: tuple[Voter, ...]
    tier: str | None
    consensus: Consensus | None


@dataclass(frozen=True, slots=True)
class ReplacedAnswer:
    """An answer that was paid for and is no clip's result any more."""

    provider: str
    model_id: str
    model_version: str
    temperature: float | None
    thinking_level: str
    prompt_version: str
    schema_version: str
    language_hint: str
    answer: Mapping[str, str]
    usage: Mapping[str, int]
    cost_usd: float
    created_at: datetime


def voter_row(result: ClipResult) -> VoterRow | None:
    """The row of a clip that has an answer, and of which more is known than that."""
    if result.answer is None or not (result.voters or result.consensus):
        return None
    text = clean_text(result.answer.transcription)
    return VoterRow(
        segment_file=result.segment_file,
        audio_digest=result.clip.audio_digest,
        text_digest=hashlib.sha256(text.encode()).hexdigest(),
        voters=result.voters,
        tier=result.consensus.tier.value if result.consensus else None,
        consensus=result.consensus,
    )


@dataclass(frozen=True, slots=True)
class SecondAnswer:
    """An answer to the audio of a clip that is not the clip's own. `language_hint` is empty where there was none."""

    audio_digest: str
    provider: str
    model_id: str
    model_version: str
    temperature: float | None
    thinking_level: str
    prompt_version: str
    schema_version: str
    language_hint: str
    answer: Answer
    usage: Usage
    cost_usd: float


@dataclass(frozen=True, slots=True)
class _Found:
    segment_file: str
    text: str


@dataclass(frozen=True, slots=True)
class _Readers:
    audio_digest: str
    voters: Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class _Heard:
    audio_digest: str
    voters: Sequence[Mapping[str, str]]
    heard: str


_VOTERS = TypeAdapter(tuple[Voter, ...])


class Voters:
    """`transcription_voters` and `transcription_answers`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, video_id: str, results: Sequence[ClipResult]) -> Rewritten:
        """Store voters and tiers of results of one video; those whose rows say something else by now are left out."""
        rows = [row for result in results if (row := voter_row(result)) is not None]
        written = 0
        for start in range(0, len(rows), _ROWS_PER_STATEMENT):
            params = {"video_id": video_id, "rows": to_json(rows[start : start + _ROWS_PER_STATEMENT])}
            outcome = await self._database.row(_QUERIES["write"], params, Rewritten)
            if outcome.busy:
                return Rewritten(written, busy=True)
            written += outcome.written
        return Rewritten(written, busy=False)

    async def keep_answer(self, answer: SecondAnswer) -> None:
        """Store an answer beside the results; repeating it changes nothing."""
        await self._database.execute(_QUERIES["keep_answer"], {"row": to_json(answer)})

    async def keep_opinions(self, worker_id: str, answers: Sequence[SecondAnswer]) -> None:
        """Store answers that a worker has asked for beside its work; repeating it changes nothing."""
        params = {"worker_id": worker_id, "key": self._database.key, "rows": to_json(answers)}
        await self._database.execute(_QUERIES["keep_opinions"], params)

    async def find_answers(self, results: Sequence[ClipResult], way: Mapping[str, object]) -> dict[str, str]:
        """Texts that this way of asking has brought for these clips before, by segment file.

        `way`: model_id, temperature, thinking_level, prompt_version, schema_version.
        """
        clips = [
            {
                "segment_file": result.segment_file,
                "audio_digest": result.clip.audio_digest,
                "language_hint": result.language_hint,
                "made_up": is_made_up(result.provenance.model_version),
            }
            for result in results
        ]
        params = {"clips": to_json(clips), "simulated": SIMULATED, **way}
        found = await self._database.rows(_QUERIES["find_answers"], params, _Found)
        return {row.segment_file: row.text for row in found}

    async def find_people(self, video_id: str) -> dict[str, tuple[Voter, ...]]:
        """The readings of a video's clips by people, by the digest of the audio that they heard."""
        found = await self._database.rows(_QUERIES["people"], {"video_id": video_id}, _Readers)
        return {row.audio_digest: _VOTERS.validate_python(row.voters) for row in found}

    async def find_voices(self, video_ids: Sequence[str]) -> dict[str, tuple[tuple[Voter, ...], str]]:
        """(voters, text of the second recogniser) of all clips of these videos, by the audio's digest."""
        found = await self._database.rows(_QUERIES["voices"], {"video_ids": list(video_ids)}, _Heard)
        return {row.audio_digest: (_VOTERS.validate_python(row.voters), row.heard) for row in found}

    async def replaced_answers(self, audio_digest: str) -> list[ReplacedAnswer]:
        """Answers to this audio that were replaced, the latest first."""
        return await self._database.rows(_QUERIES["answers"], {"audio_digest": audio_digest}, ReplacedAnswer)
