"""Answers that were paid for, found by their audio: results of any video, and those that other results replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

from lipika.db.columns import AnswerColumns, ProvenanceColumns
from lipika.db.connection import Database
from lipika.db.queries import load
from lipika.db.result_rows import StoredAnswer
from lipika.models import Answer, ClipStatus, Provenance, ServiceTier, Usage

_QUERIES = load("paid")
_LOOKED_AT = 32  # rows of one audio

WayOfAsking: TypeAlias = Mapping[str, object]
"""model_ids (without vendors: any of them), temperature, thinking_level, prompt_versions (any), schema_version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ResultRow(AnswerColumns, ProvenanceColumns):
    audio_digest: str
    expected_language_hint: str | None

    def stored_answer(self) -> StoredAnswer | None:
        if self.answer is None:
            return None
        hint = self.expected_language_hint or ""
        return _make_stored_answer(
            self.audio_digest, hint, self.answer, self.usage, self.cost_usd, self.provenance
        )


@dataclass(frozen=True, slots=True)
class _ReplacedRow:
    audio_digest: str
    provider: str
    model_id: str
    model_version: str
    temperature: float | None
    thinking_level: str
    prompt_version: str
    schema_version: str
    language_hint: str
    answer: Mapping[str, str | None]
    usage: Mapping[str, int]
    cost_usd: float
    batch_id: str
    attempts: int
    latency_ms: int
    service_tier: str | None

    def stored_answer(self) -> StoredAnswer | None:
        """None where it has no text."""
        values = {name: self.answer.get(name) or "" for name in _ANSWER}
        return _make_stored_answer(
            self.audio_digest,
            self.language_hint,
            Answer(**values),
            Usage(**{kind: self.usage.get(kind, 0) for kind in _TOKENS}),
            self.cost_usd,
            Provenance(
                provider=self.provider,
                model_id=self.model_id,
                model_version=self.model_version,
                prompt_version=self.prompt_version,
                schema_version=self.schema_version,
                temperature=self.temperature,
                thinking_level=self.thinking_level,
                worker_id="",
                batch_id=self.batch_id,
                attempts=self.attempts,
                latency_ms=self.latency_ms,
                service_tier=ServiceTier.read(self.service_tier or "") or ServiceTier.STANDARD,
            ),
        )


_ANSWER = tuple(field.name for field in fields(Answer))
_TOKENS = tuple(field.name for field in fields(Usage))


@dataclass(frozen=True, slots=True)
class _Indexed:
    found: bool


class PaidAnswers:
    """Look-ups by audio in `transcription_answers` and `transcription_results`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._indexed = False

    async def find(self, digests: Sequence[str], way: WayOfAsking) -> list[StoredAnswer]:
        """Answers to audios of these digests that were asked for in this way, under whatever hint; of each digest a
        few are looked at. Results are looked up where there is an index on their audio.
        """
        params = {"digests": list(digests), "most": _LOOKED_AT, **way}
        replaced = await self._database.rows(_QUERIES["replaced"], params, _ReplacedRow)
        found: list[_ReplacedRow | _ResultRow] = [*replaced]
        if await self.is_indexed():
            found += await self._database.rows(_QUERIES["results"], params, _ResultRow)
        return [stored for row in found if (stored := row.stored_answer()) is not None]

    async def list_kept(self, digests: Sequence[str], way: str) -> list[StoredAnswer]:
        """Answers to audios of these digests that are kept aside, asked for in the way of that name, under whatever
        hint.
        """
        params = {"digests": list(digests), "way": way}
        rows = await self._database.rows(_QUERIES["kept"], params, _ReplacedRow)
        return [stored for row in rows if (stored := row.stored_answer()) is not None]

    async def is_indexed(self) -> bool:
        """True where results can be looked up by their audio."""
        return self._indexed or await self._is_indexed()

    async def _is_indexed(self) -> bool:
        self._indexed = (await self._database.row(_QUERIES["indexed"], {}, _Indexed)).found
        return self._indexed


def _make_stored_answer(
    digest: str, hint: str, answer: Answer, usage: Usage, cost_usd: float, provenance: Provenance
) -> StoredAnswer | None:
    if not answer.transcription:
        return None
    return StoredAnswer(
        segment_file="",
        audio_digest=digest,
        trimmer_version="",
        language_hint=hint,
        status=ClipStatus.NO_SPEECH if answer.no_speech else ClipStatus.TRANSCRIBED,
        answer=answer,
        failure=None,
        usage=usage,
        cost_usd=cost_usd,
        provenance=provenance,
    )
