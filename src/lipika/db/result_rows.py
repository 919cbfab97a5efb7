"""Results as rows: what a clip, a flag and a batch are written as, and a stored answer read back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace

from pydantic import TypeAdapter

from lipika.db.columns import AnswerColumns, ClipColumns, FailureColumns, ProvenanceColumns
from lipika.models import (
    LANES,
    Alignment,
    Answer,
    AskedModel,
    AudioFacts,
    BatchReport,
    ClipResult,
    ClipStatus,
    Consensus,
    Discard,
    Failure,
    Finding,
    Provenance,
    ServiceTier,
    Severity,
    TextSource,
    TierSums,
    Usage,
    Verdict,
    words_from_json,
    words_to_json,
)

_ALIGNMENT = TypeAdapter(Alignment)
_OF_ALIGNMENT = tuple(item.name for item in fields(Alignment))


def _no_reasons() -> Mapping[str, tuple[str, ...]]:
    return dict.fromkeys(LANES, ())


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The paid outcome of an earlier attempt at a clip. It belongs to the audio with this digest only."""

    segment_file: str
    audio_digest: str
    trimmer_version: str
    language_hint: str
    status: ClipStatus
    answer: Answer | None
    failure: Failure | None
    usage: Usage
    cost_usd: float
    provenance: Provenance
    alignment: Alignment | None = None
    text_source: TextSource = TextSource.MODEL

    def add_words(self, saved: StoredAnswer) -> StoredAnswer:
        """The same with the words of another's alignment, where it differs in them alone: rows have none."""
        ours, theirs = self.alignment, saved.alignment
        if ours is None or theirs is None or ours != replace(theirs, words=()):
            return self
        return replace(self, alignment=theirs)


@dataclass(slots=True, kw_only=True)  # not frozen: that takes three times as long to make, for each clip
class JudgedRow:
    """The columns that come of a verdict and an alignment; they keep their defaults where a clip has none."""

    segment_file: str
    lang_mismatch_flag: bool | None = None
    num_unk: int | None = None
    num_inaudible: int | None = None
    num_event_tags: int | None = None
    text_length_per_sec: float | None = None
    overlap_suspected: bool | None = None
    quality_score: float | None = None
    score_parts: Mapping[str, float] | None = None
    alignment_score: float | None = None
    alignment: dict[str, object] | None = None
    asr_eligible: bool = False
    tts_clean_eligible: bool = False
    tts_expressive_eligible: bool = False
    lane_reasons: Mapping[str, tuple[str, ...]] = field(default_factory=_no_reasons)
    findings: tuple[Finding, ...] = ()
    validator_version: str | None = None

    def put_verdict(self, verdict: Verdict) -> None:
        self.lang_mismatch_flag = verdict.lang_mismatch
        self.num_unk, self.num_inaudible = verdict.num_unk, verdict.num_inaudible
        self.num_event_tags = verdict.num_event_tags
        self.text_length_per_sec = verdict.text_length_per_sec
        self.overlap_suspected = verdict.overlap_suspected
        self.quality_score = verdict.quality_score
        # They are to be shown; all digits of one would take ten bytes of a row.
        self.score_parts = {part: round(value, 4) for part, value in verdict.score_parts.items()}
        asr, clean, expressive = verdict.asr, verdict.tts_clean, verdict.tts_expressive
        self.asr_eligible, self.tts_clean_eligible = asr.eligible, clean.eligible
        self.tts_expressive_eligible = expressive.eligible
        reasons = asr.reasons, clean.reasons, expressive.reasons
        self.lane_reasons = dict(zip(LANES, reasons, strict=True))
        self.findings, self.validator_version = verdict.findings, verdict.validator_version

    def put_alignment(self, alignment: Alignment, consensus: Consensus | None = None) -> None:
        """All of it, its words in little space; with what the voters come to, on its way into a table of its own."""
        self.alignment_score = alignment.score
        self.alignment = {name: getattr(alignment, name) for name in _OF_ALIGNMENT} | {
            "words": words_to_json(alignment.words)
        }
        if consensus is not None:
            self.alignment["consensus"] = consensus


@dataclass(slots=True, kw_only=True)
class ResultRow(JudgedRow):
    """The columns that `write` reads, by name. Those of an answer, a verdict and a failure are null without one."""

    source_segment: str
    speaker_id: str
    status: str
    original_start_ms: int
    original_end_ms: int
    trimmed_start_ms: int
    trimmed_end_ms: int
    leading_pad_ms: int
    trailing_pad_ms: int
    duration_ms: int
    flags: tuple[str, ...]
    boundary_score: float
    audio_digest: str
    audio_facts: AudioFacts
    expected_language_hint: str
    detected_language: str | None = None
    transcription: str | None = None
    tagged: str | None = None
    text_source: str = TextSource.MODEL
    speaker_emotion: str | None = None
    speaker_style: str | None = None
    speaker_pace: str | None = None
    speaker_accent: str | None = None
    failure_kind: str | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    prompt_version: str
    schema_version: str
    trimmer_version: str
    provider: str
    model_id: str
    model_version: str
    temperature: float | None
    thinking_level: str
    worker_id: str
    batch_id: str
    attempts: int
    latency_ms: int
    cache_hit: bool
    token_usage_json: Usage
    cost_usd: float
    service_tier: str | None  # null: the standard one
    cascade: tuple[AskedModel, ...] | None = None  # null: it did not go up


def result_row(result: ClipResult) -> ResultRow:
    """The row in which a clip's result is written."""
    clip, source = result.clip, result.provenance
    row = ResultRow(
        segment_file=result.segment_file,
        source_segment=f"{clip.segment.stem}.flac",
        speaker_id=clip.name.speaker,
        status=result.status,
        original_start_ms=clip.original_start_ms,
        original_end_ms=clip.original_end_ms,
        trimmed_start_ms=clip.trimmed_start_ms,
        trimmed_end_ms=clip.trimmed_end_ms,
        leading_pad_ms=clip.leading_pad_ms,
        trailing_pad_ms=clip.trailing_pad_ms,
        duration_ms=clip.duration_ms,
        flags=clip.flags,
        boundary_score=clip.boundary_score,
        audio_digest=clip.audio_digest,
        audio_facts=clip.audio,
        expected_language_hint=result.language_hint,
        prompt_version=source.prompt_version,
        schema_version=source.schema_version,
        trimmer_version=clip.trimmer_version,
        provider=source.provider,
        model_id=source.model_id,
        model_version=source.model_version,
        temperature=source.temperature,
        thinking_level=source.thinking_level,
        worker_id=source.worker_id,
        batch_id=source.batch_id,
        attempts=source.attempts,
        latency_ms=source.latency_ms,
        cache_hit=result.usage.cached > 0,
        token_usage_json=result.usage,
        cost_usd=result.cost_usd,
        text_source=result.text_source,
        service_tier=_tier_column(source),
        cascade=source.cascade or None,
    )
    if result.answer:
        _put_answer(row, result.answer)
    if result.verdict:
        row.put_verdict(result.verdict)
    if result.failure:
        row.failure_kind, row.failure_code = result.failure.kind, result.failure.code
        row.failure_message = result.failure.message
    if result.alignment:
        row.put_alignment(result.alignment, result.consensus)
    return row


def _put_answer(row: ResultRow, answer: Answer) -> None:
    row.transcription, row.tagged = answer.transcription, answer.tagged
    row.detected_language = answer.detected_language
    row.speaker_emotion, row.speaker_style = answer.speaker_emotion, answer.speaker_style
    row.speaker_pace, row.speaker_accent = answer.speaker_pace, answer.speaker_accent


def _tier_column(source: Provenance) -> str | None:
    return None if source.service_tier is ServiceTier.STANDARD else source.service_tier


def kept_row(result: ClipResult) -> Mapping[str, object]:
    """An answer as `keep_answers` takes it, for what is paid for and no clip's result."""
    source = result.provenance
    return {
        "audio_digest": result.clip.audio_digest,
        "provider": source.provider,
        "model_id": source.model_id,
        "model_version": source.model_version,
        "temperature": source.temperature,
        "thinking_level": source.thinking_level,
        "prompt_version": source.prompt_version,
        "schema_version": source.schema_version,
        "language_hint": result.language_hint,
        "answer": result.answer,
        "usage": result.usage,
        "cost_usd": result.cost_usd,
        "batch_id": source.batch_id,
        "attempts": source.attempts,
        "latency_ms": source.latency_ms,
        "service_tier": _tier_column(source),
    }


@dataclass(frozen=True, slots=True)
class FlagColumns:
    """The columns of a flag, by name."""

    segment_file: str
    flag_type: str
    start_ms: int
    end_ms: int | None
    severity: Severity
    details: str


def result_flags(result: ClipResult) -> list[FlagColumns]:
    """The flags of a clip: what needs a person's attention."""
    clip = result.clip
    span = (result.segment_file, clip.original_start_ms, clip.original_end_ms)
    flags = [
        flag_row(span, finding.code, finding.severity, finding.evidence)
        for finding in (result.verdict.findings if result.verdict else ())
        if finding.severity is Severity.FAIL
    ]
    if result.failure:
        flags.append(flag_row(span, f"failed:{result.failure.kind}", Severity.FAIL, result.failure.message))
    return flags


def flag_row(span: tuple[str, int, int], flag_type: str, severity: Severity, details: str) -> FlagColumns:
    """A flag on `span`: the file, and where it begins and ends in the video, in milliseconds."""
    segment_file, start_ms, end_ms = span
    return FlagColumns(segment_file, flag_type, start_ms, end_ms, severity, details)


def discard_flag(discard: Discard) -> FlagColumns:
    """The flag that tells why audio went no further."""
    span = (discard.segment_file, discard.start_ms or 0, discard.end_ms or 0)
    return flag_row(span, f"discard:{discard.reason}", Severity.WARN, discard.message)


def distinct_flags(flags: Iterable[FlagColumns]) -> list[FlagColumns]:
    """One flag per key; the details of several of a kind are joined, a duplicate member's among them."""
    merged: dict[tuple[str, str, int], FlagColumns] = {}
    for flag in flags:
        key = (flag.segment_file, flag.flag_type, flag.start_ms)
        known = merged.setdefault(key, flag)
        if known is not flag and flag.details not in known.details:
            span = (flag.segment_file, flag.start_ms, known.end_ms or 0)
            merged[key] = flag_row(span, flag.flag_type, flag.severity, f"{known.details}; {flag.details}")
    return list(merged.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow(ClipColumns, AnswerColumns, FailureColumns, ProvenanceColumns):
    """The columns that `stored_answers` gives, by name."""

    alignment: Mapping[str, object] | None

    def stored_answer(self) -> StoredAnswer:
        return StoredAnswer(
            segment_file=self.segment_file,
            audio_digest=self.audio_digest,
            trimmer_version=self.trimmer_version,
            language_hint=self.language_hint,
            status=ClipStatus(self.status),
            answer=self.answer,
            failure=self.failure,
            usage=self.usage,
            cost_usd=self.cost_usd,
            provenance=self.provenance,
            alignment=None if self.alignment is None else read_alignment(self.alignment),
            text_source=TextSource(self.text_source),
        )


def read_alignment(column: Mapping[str, object]) -> Alignment:
    """An alignment as its column has it."""
    words = column.get("words", ())
    known = {name: column[name] for name in _OF_ALIGNMENT if name in column}
    return _ALIGNMENT.validate_python(
        known | {"words": words_from_json(words if isinstance(words, list | tuple) else ())}
    )


def batch_params(report: BatchReport) -> Mapping[str, object]:
    """A batch as a row of its table."""
    flex = report.tiers.get(ServiceTier.FLEX, TierSums())
    return {
        "batch_id": report.batch_id,
        "worker_id": report.worker_id,
        "video_ids": list(report.video_ids),
        "started_at": report.started_at,
        "segments_sent": report.segments_sent,
        "segments_returned": report.segments_returned,
        "segments_429": report.segments_429,
        "segments_error": report.segments_error,
        "segments_retried": report.segments_retried,
        "provider_used": report.provider_used,
        "cache_hits": report.cache_hits,
        "cached_tokens": report.usage.cached,
        "prompt_tokens": report.usage.prompt,
        "audio_tokens": report.usage.prompt_audio,
        "output_tokens": report.usage.output,
        "thought_tokens": report.usage.thoughts,
        "cost_usd": report.cost_usd,
        "avg_latency_ms": report.avg_latency_ms,
        "p95_latency_ms": report.p95_latency_ms,
        "batch_duration_ms": report.batch_duration_ms,
        "failure_kinds": report.failure_kinds,
        "validation_scores_summary": report.validation_scores,
        "latency_counts": list(report.latency_counts),
        "flex_answers": flex.answers,
        "flex_usd": flex.usd,
        "models": report.models or None,
    }
