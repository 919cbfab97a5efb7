"""Groups of columns of `transcription_results`, each written down once for all that read them.

A row of a query is made of the groups that it needs and a few columns of its own. In the query, `{{answer.*}}` stands
for the columns of a group, and `{{r.answer.*}}` for those of the table `r`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from lipika.models import Answer, AskedModel, Failure, FailureKind, Provenance, ServiceTier, Usage

_TOKENS = tuple(field.name for field in fields(Usage))
_PLACE = re.compile(r"\{\{(?:(\w+)\.)?(\w+)\.\*\}\}")


# Groups have no slots of their own, so that a row with slots can be made of several.
@dataclass(frozen=True, kw_only=True)
class ClipColumns:
    """The clip by name, what became of it, and which audio an answer of it belongs to."""

    __slots__ = ()

    segment_file: str
    status: str
    audio_digest: str
    trimmer_version: str
    expected_language_hint: str | None

    @property
    def language_hint(self) -> str:
        return self.expected_language_hint or ""


@dataclass(frozen=True, kw_only=True)
class CutColumns:
    """The way a clip was cut. Times are ms on the video's clock; `audio_facts` are missing in old rows."""

    __slots__ = ()

    source_segment: str
    original_start_ms: int
    original_end_ms: int
    trimmed_start_ms: int
    trimmed_end_ms: int
    leading_pad_ms: int
    trailing_pad_ms: int
    duration_ms: int
    flags: Sequence[str]
    boundary_score: float | None
    audio_facts: Mapping[str, object] | None


@dataclass(frozen=True, kw_only=True)
class AnswerColumns:
    """What was heard; all null where the clip failed."""

    __slots__ = ()

    transcription: str | None
    tagged: str | None
    detected_language: str | None
    speaker_emotion: str | None
    speaker_style: str | None
    speaker_pace: str | None
    speaker_accent: str | None
    text_source: str

    @property
    def answer(self) -> Answer | None:
        """None where the clip failed."""
        if self.transcription is None:
            return None
        return Answer(
            self.transcription,
            self.tagged or "",
            self.detected_language or "",
            self.speaker_emotion or "",
            self.speaker_style or "",
            self.speaker_pace or "",
            self.speaker_accent or "",
        )


@dataclass(frozen=True, kw_only=True)
class JudgementColumns:
    """What validation says of the answer. A finding has code, severity, evidence and span."""

    __slots__ = ()

    quality_score: float | None
    asr_eligible: bool
    tts_clean_eligible: bool
    tts_expressive_eligible: bool
    findings: Sequence[Mapping[str, Any]]
    validator_version: str | None


@dataclass(frozen=True, kw_only=True)
class FailureColumns:
    """Why the clip failed; all null where it did not."""

    __slots__ = ()

    failure_kind: str | None
    failure_code: str | None
    failure_message: str | None

    @property
    def failure(self) -> Failure | None:
        if self.failure_kind is None:
            return None
        return Failure(
            FailureKind(self.failure_kind), self.failure_message or "", code=self.failure_code or ""
        )


@dataclass(frozen=True, kw_only=True)
class ProvenanceColumns:
    """Where the answer comes from, and what it cost."""

    __slots__ = ()

    provider: str
    model_id: str
    model_version: str
    prompt_version: str
    schema_version: str
    temperature: float | None
    thinking_level: str
    worker_id: str
    batch_id: str
    attempts: int
    latency_ms: int
    token_usage_json: Mapping[str, int]
    cost_usd: float
    service_tier: str | None  # null: the standard one
    cascade: Sequence[Mapping[str, Any]] | None  # null: the clip did not go up in one

    @property
    def provenance(self) -> Provenance:
        return Provenance(
            provider=self.provider,
            model_id=self.model_id,
            model_version=self.model_version,
            prompt_version=self.prompt_version,
            schema_version=self.schema_version,
            temperature=self.temperature,
            thinking_level=self.thinking_level,
            worker_id=self.worker_id,
            batch_id=self.batch_id,
            attempts=self.attempts,
            latency_ms=self.latency_ms,
            service_tier=ServiceTier.read(self.service_tier or "") or ServiceTier.STANDARD,
            asked=self.attempts > 0,
            cascade=tuple(AskedModel(**one) for one in self.cascade or ()),
        )

    @property
    def usage(self) -> Usage:
        """Tokens. A kind that another release knows is left out, one that it did not know is 0."""
        tokens = self.token_usage_json
        return Usage(**{kind: tokens.get(kind, 0) for kind in _TOKENS})


GROUPS = {
    "clip": ClipColumns,
    "cut": CutColumns,
    "answer": AnswerColumns,
    "judgement": JudgementColumns,
    "failure": FailureColumns,
    "provenance": ProvenanceColumns,
}


def insert_columns(sql: str) -> str:
    """The statement with columns where it names groups.

    Raises:
        KeyError: there is no group of that name.
    """

    def list_columns(place: re.Match[str]) -> str:
        table, group = place.groups()
        return ", ".join(
            f"{table}.{column.name}" if table else column.name for column in fields(GROUPS[group])
        )

    return _PLACE.sub(list_columns, sql)
