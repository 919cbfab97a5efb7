"""The document of one clip in a result archive, as bytes. Pure, reproducible.

Layout of the archive: `metadata.json` (`video_documents`), then `segments/<stem>.flac` and
`transcriptions/<stem>.json`, both in the order of the clips.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from lipika.archive.curator import curator_fields
from lipika.archive.members import DEFAULT_LIMITS, TarLimits, read_folder
from lipika.archive.tar import BinaryReader
from lipika.models import (
    LANES,
    AudioFacts,
    Clip,
    ClipResult,
    ClipStatus,
    Failure,
    FailureKind,
    SegmentName,
    TextSource,
    Usage,
    Verdict,
)

CLIP_FORMAT = "lipika-clip/1"
VIDEO_FORMAT = "lipika-video/1"
METADATA_NAME = "metadata.json"
_LARGEST = 2**31 - 1


def segment_path(stem: str) -> str:
    return f"segments/{stem}.flac"


def transcription_path(stem: str) -> str:
    return f"transcriptions/{stem}.json"


def clip_result_to_json(result: ClipResult) -> bytes:
    """One clip's document: UTF-8, one line, keys in a stable order. `clip_result_from_json` reads it back exactly.

    Raises:
        ValueError: a number is NaN or infinite, or a text is not valid Unicode: JSON cannot hold them.
    """
    clip, answer, verdict = result.clip, result.answer, result.verdict
    document = {
        "format": CLIP_FORMAT,
        "video_id": result.video_id,
        "segment_file": result.segment_file,
        "source_segment": clip.segment.stem,
        "status": result.status,
        "transcription": answer.transcription if answer else None,
        "tagged": answer.tagged if answer else None,
        "text_source": result.text_source,
        "detected_language": answer.detected_language if answer else None,
        "language_hint": result.language_hint,
        "speaker": {
            "id": clip.name.speaker,
            "emotion": answer.speaker_emotion if answer else None,
            "style": answer.speaker_style if answer else None,
            "pace": answer.speaker_pace if answer else None,
            "accent": answer.speaker_accent if answer else None,
        },
        "quality_score": verdict.quality_score if verdict else None,
        "score_parts": dict(sorted(verdict.score_parts.items())) if verdict else None,
        "alignment_score": result.alignment.score if result.alignment else None,
        "alignment": result.alignment,
        "voters": result.voters,
        "agreement": result.consensus,
        "lanes": {lane: getattr(verdict, lane) for lane in LANES} if verdict else None,
        "findings": verdict.findings if verdict else [],
        "checks": _checks(verdict) if verdict else None,
        "trim": {
            "original_start_ms": clip.original_start_ms,
            "original_end_ms": clip.original_end_ms,
            "trimmed_start_ms": clip.trimmed_start_ms,
            "trimmed_end_ms": clip.trimmed_end_ms,
            "leading_pad_ms": clip.leading_pad_ms,
            "trailing_pad_ms": clip.trailing_pad_ms,
            "duration_ms": clip.duration_ms,
            "boundary_score": clip.boundary_score,
            "flags": clip.flags,
            "trimmer_version": clip.trimmer_version,
        },
        "audio": {
            "digest": clip.audio_digest,
            "sample_rate_hz": clip.sample_rate_hz,
            "bit_depth": clip.bit_depth,
            "facts": clip.audio,
        },
        "provenance": result.provenance,
        "usage": result.usage,
        "cost_usd": result.cost_usd,
        "reused": result.reused,
        "failure": result.failure,
        **curator_fields(result),
    }
    if result.model_answer is not None:
        document["model_answer"] = result.model_answer
    if not all(map(math.isfinite, _floats(result))):
        raise ValueError(f"the result of {result.segment_file} holds a number that is not finite")
    return to_json(document, result.segment_file, orjson.OPT_APPEND_NEWLINE)


def failed_result(result: ClipResult, code: str, reason: str) -> ClipResult:
    """The same clip as one that has failed: what it cost stays, what it said does not.

    Whatever could not be written of it is made such that it can be: numbers finite and Python's own, texts Unicode.
    """
    return replace(
        result,
        clip=_plain_clip(result.clip),
        status=ClipStatus.FAILED,
        answer=None,
        verdict=None,
        alignment=None,
        voters=(),
        consensus=None,
        text_source=TextSource.MODEL,
        model_answer=None,
        failure=Failure(FailureKind.DEFECT, _unicode(reason)[:1000], code=code),
        usage=Usage(*(_whole(getattr(result.usage, item.name)) for item in fields(Usage))),
        cost_usd=_finite(result.cost_usd),
        provenance=replace(result.provenance, model_version=_unicode(result.provenance.model_version)),
    )


def _plain_clip(clip: Clip) -> Clip:
    audio = clip.audio
    return Clip(
        name=clip.name,
        segment=clip.segment,
        original_start_ms=_whole(clip.original_start_ms),
        original_end_ms=_whole(clip.original_end_ms),
        trimmed_start_ms=_whole(clip.trimmed_start_ms),
        trimmed_end_ms=_whole(clip.trimmed_end_ms),
        leading_pad_ms=_whole(clip.leading_pad_ms),
        trailing_pad_ms=_whole(clip.trailing_pad_ms),
        duration_ms=_whole(clip.duration_ms),
        sample_rate_hz=_whole(clip.sample_rate_hz),
        bit_depth=_whole(clip.bit_depth),
        boundary_score=_finite(clip.boundary_score),
        flags=tuple(map(_unicode, clip.flags)),
        audio=AudioFacts(
            speech_ms=_whole(audio.speech_ms),
            rms_dbfs=_finite(audio.rms_dbfs),
            peak_dbfs=_finite(audio.peak_dbfs),
            snr_db=_finite(audio.snr_db),
            clipped_share=_finite(audio.clipped_share),
            bandwidth_hz=_whole(audio.bandwidth_hz),
        ),
        audio_digest=clip.audio_digest,
        trimmer_version=clip.trimmer_version,
    )


def _finite(number: float) -> float:
    """Python's own number, 0 where it is none."""
    value = float(number)
    return value if math.isfinite(value) else 0.0


def _whole(number: float) -> int:
    """One that a column of the database holds."""
    return max(min(int(_finite(number)), _LARGEST), -_LARGEST)


def _unicode(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def clip_result_from_json(data: bytes) -> ClipResult:
    """Read what `clip_result_to_json` wrote.

    Raises:
        ValueError: not such a document; the message names the key.
    """
    try:
        document = orjson.loads(data)
        if document["format"] != CLIP_FORMAT:
            raise ValueError(f"this is {document['format']!r}, not {CLIP_FORMAT!r}")
        return _RESULT.validate_python(_nest_fields(document))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a {CLIP_FORMAT} document: {error!r}") from None
    except ValidationError as error:
        raise ValueError(f"not a {CLIP_FORMAT} document: {error}") from None


def read_results(stream: BinaryReader, limits: TarLimits = DEFAULT_LIMITS) -> Iterator[ClipResult]:
    """The results in a result archive, in its order; audio is passed over.

    Raises:
        ArchiveError: the archive is damaged.
        ValueError: a document in it is not one of ours.
    """
    for _name, data in read_folder(stream, "transcriptions", limits):
        yield clip_result_from_json(data)


_RESULT = TypeAdapter(ClipResult)


def _checks(verdict: Verdict) -> dict[str, object]:
    return {
        "lang_mismatch": verdict.lang_mismatch,
        "overlap_suspected": verdict.overlap_suspected,
        "num_unk": verdict.num_unk,
        "num_inaudible": verdict.num_inaudible,
        "num_event_tags": verdict.num_event_tags,
        "text_length_per_sec": verdict.text_length_per_sec,
        "validator_version": verdict.validator_version,
    }


def _nest_fields(document: Mapping[str, Any]) -> dict[str, object]:
    """The document's values arranged as the fields of ClipResult."""
    audio, speaker, lanes = document["audio"], document["speaker"], document["lanes"]
    answer = {
        "transcription": document["transcription"],
        "tagged": document["tagged"],
        "detected_language": document["detected_language"],
        **{f"speaker_{key}": speaker[key] for key in ("emotion", "style", "pace", "accent")},
    }
    verdict = {
        "findings": document["findings"],
        "quality_score": document["quality_score"],
        "score_parts": document["score_parts"],
        **(lanes or {}),
        **(document["checks"] or {}),
    }
    clip = {
        "name": SegmentName.parse(document["segment_file"].removesuffix(".flac")),
        "segment": SegmentName.parse(document["source_segment"]),
        "audio": audio["facts"],
        "audio_digest": audio["digest"],
        "sample_rate_hz": audio["sample_rate_hz"],
        "bit_depth": audio["bit_depth"],
        **document["trim"],
    }
    same = ("video_id", "language_hint", "status", "failure", "usage", "cost_usd", "provenance", "reused")
    return {
        **{key: document[key] for key in same},
        "clip": clip,
        "answer": None if document["transcription"] is None else answer,
        "verdict": None if lanes is None else verdict,
        "alignment": document.get("alignment"),  # earlier documents have none
        "voters": document.get("voters") or (),
        "consensus": document.get("agreement"),
        "text_source": document.get("text_source") or TextSource.MODEL,
        "model_answer": document.get("model_answer"),
    }


def _floats(result: ClipResult) -> Iterator[float]:
    facts = result.clip.audio
    yield from (facts.rms_dbfs, facts.peak_dbfs, facts.snr_db, facts.clipped_share)
    yield from (result.clip.boundary_score, result.cost_usd, result.provenance.temperature or 0.0)
    yield from (asked.usd for asked in result.provenance.cascade)
    if result.verdict is not None:
        yield from (result.verdict.quality_score, result.verdict.text_length_per_sec)
        yield from result.verdict.score_parts.values()
    if result.alignment is not None:
        yield from (result.alignment.score or 0.0, result.alignment.word_score or 0.0)
        yield from (word.confidence or 0.0 for word in result.alignment.words)
    if result.consensus is not None:
        yield result.consensus.distance
    if result.failure is not None:
        yield result.failure.retry_after_s or 0.0


def to_json(document: object, name: str, option: int) -> bytes:
    """Raises ValueError: JSON cannot hold it; `name` is the document's, for the message."""
    try:
        return orjson.dumps(document, option=option)
    except TypeError as error:
        raise ValueError(f"{name} cannot be written as JSON: {error}") from None
