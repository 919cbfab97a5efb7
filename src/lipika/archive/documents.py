"""Documents of a result archive, as bytes: one JSON per clip and the video's `metadata.json`. Pure, reproducible.

Layout of the archive: `metadata.json`, then `segments/<stem>.flac` and `transcriptions/<stem>.json`, both in the
order of the clips. The same results give the same bytes in whatever order they arrived.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from lipika import __version__
from lipika.archive.curator import curator_fields
from lipika.archive.members import DEFAULT_LIMITS, TarLimits, read_folder
from lipika.archive.metadata import Metadata, join_members
from lipika.archive.tar import BinaryReader
from lipika.languages import find_language
from lipika.models import (
    LANES,
    Accounting,
    AudioFacts,
    Clip,
    ClipResult,
    ClipStatus,
    Discard,
    Failure,
    FailureKind,
    Finding,
    JsonObject,
    Lane,
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


# ----------------------------------------------------------------------------- one clip


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
    if not all(map(math.isfinite, _floats(result))):
        raise ValueError(f"the result of {result.segment_file} holds a number that is not finite")
    return _dump(document, result.segment_file, orjson.OPT_APPEND_NEWLINE)


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
    }


def _floats(result: ClipResult) -> Iterator[float]:
    facts = result.clip.audio
    yield from (facts.rms_dbfs, facts.peak_dbfs, facts.snr_db, facts.clipped_share)
    yield from (result.clip.boundary_score, result.cost_usd, result.provenance.temperature or 0.0)
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


def _dump(document: object, name: str, option: int) -> bytes:
    try:
        return orjson.dumps(document, option=option)
    except TypeError as error:
        raise ValueError(f"{name} cannot be written as JSON: {error}") from None


# ----------------------------------------------------------------------------- one video


@dataclass(slots=True)
class _LaneCount:
    clips: int = 0
    audio_ms: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, lane: Lane, duration_ms: int) -> None:
        self.clips += lane.eligible
        self.audio_ms += duration_ms if lane.eligible else 0
        self.reasons.update(lane.reasons)

    def remove(self, lane: Lane, duration_ms: int) -> None:
        self.clips -= lane.eligible
        self.audio_ms -= duration_ms if lane.eligible else 0
        self.reasons.subtract(lane.reasons)
        self.reasons += Counter()


class Summary:
    """Figures over a video's results, gathered one by one; a few bytes a clip are kept.

    Sums of fractions are exact (`math.fsum`), so that the order of arrival does not show in the result.
    """

    def __init__(self) -> None:
        self.usage = Usage()
        self._clips = self._audio_ms = self._reused = self._not_asked = 0
        self._costs, self._scores = array("d"), array("d")
        self._lanes = {lane: _LaneCount() for lane in LANES}
        self._counts: dict[str, Counter[str]] = {
            key: Counter()
            for key in (
                *("statuses", "detected_languages", "findings", "failures", "clip_flags", "agreements"),
                "tiers",
            )
        }
        self._versions: dict[str, Counter[str]] = {
            key: Counter()
            for key in ("models", "prompt", "schema", "trimmer", "validator", "aligner", "voting")
        }

    @property
    def cost_usd(self) -> float:
        return math.fsum(self._costs)

    def replace_failed(self, old: ClipResult, new: ClipResult) -> None:
        """Count `new`, which has failed, instead of `old` for one clip that has been added before."""
        self._counts["statuses"][old.status.value] -= 1
        self._counts["statuses"][new.status.value] += 1
        self._counts["failures"][new.failure.kind.value if new.failure else ""] += 1
        if old.failure is not None:
            self._counts["failures"][old.failure.kind.value] -= 1
        if old.answer is not None:
            self._counts["detected_languages"][old.answer.detected_language] -= 1
        self._remove_heard(old)
        if old.verdict is not None:
            self._remove_verdict(old.verdict, old.clip.duration_ms)
        for counts in (*self._counts.values(), *self._versions.values()):
            counts += Counter()  # drops what came to nothing

    def add(self, result: ClipResult) -> None:
        """Count one clip's end."""
        clip, asked = result.clip, result.provenance
        self.usage += result.usage
        self._costs.append(result.cost_usd)
        self._clips += 1
        self._audio_ms += clip.duration_ms
        self._reused += result.reused
        self._not_asked += not asked.asked
        self._counts["statuses"][result.status.value] += 1
        self._counts["clip_flags"].update(clip.flags)
        if result.answer is not None:
            self._counts["detected_languages"][result.answer.detected_language] += 1
        if result.failure is not None:
            self._counts["failures"][result.failure.kind.value] += 1
        if result.verdict is not None:
            self._add_verdict(result.verdict, clip.duration_ms)
        self._add_heard(result)
        if asked.asked:
            self._versions["models"][
                " ".join((asked.provider, asked.model_id, asked.model_version)).strip()
            ] += 1
            self._versions["prompt"][asked.prompt_version] += 1
            self._versions["schema"][asked.schema_version] += 1
        self._versions["trimmer"][clip.trimmer_version] += 1

    def _add_verdict(self, verdict: Verdict, duration_ms: int) -> None:
        self._scores.append(verdict.quality_score)
        self._versions["validator"][verdict.validator_version] += 1
        self._counts["findings"].update(map(_finding_name, verdict.findings))
        for name, count in self._lanes.items():
            count.add(getattr(verdict, name), duration_ms)

    def amend_heard(self, old: ClipResult, new: ClipResult) -> None:
        """Count `new`, with what others made of the clip, instead of `old` for one that has been added before."""
        if old.verdict is not None and new.verdict is not None:
            self.amend(old.verdict, new.verdict, old.clip.duration_ms)
        self._remove_heard(old)
        self._add_heard(new)

    def _add_heard(self, result: ClipResult) -> None:
        if result.alignment is not None:
            self._counts["agreements"][result.alignment.agreement.value] += 1
            self._versions["aligner"][result.alignment.version] += 1
        if result.consensus is not None:
            self._counts["tiers"][result.consensus.tier.value] += 1
            self._versions["voting"][result.consensus.version] += 1

    def _remove_heard(self, result: ClipResult) -> None:
        if result.alignment is not None:
            self._counts["agreements"][result.alignment.agreement.value] -= 1
            self._versions["aligner"][result.alignment.version] -= 1
        if result.consensus is not None:
            self._counts["tiers"][result.consensus.tier.value] -= 1
            self._versions["voting"][result.consensus.version] -= 1
        for counts in (self._counts["agreements"], self._counts["tiers"], *self._versions.values()):
            counts += Counter()  # drops what came to nothing

    def amend(self, old: Verdict, new: Verdict, duration_ms: int) -> None:
        """Count `new` instead of `old` for one clip that has been added before."""
        self._remove_verdict(old, duration_ms)
        self._add_verdict(new, duration_ms)

    def _remove_verdict(self, old: Verdict, duration_ms: int) -> None:
        self._scores.remove(old.quality_score)
        self._counts["findings"].subtract(map(_finding_name, old.findings))
        self._counts["findings"] += Counter()  # drops what came to nothing
        self._versions["validator"][old.validator_version] -= 1
        for name, count in self._lanes.items():
            count.remove(getattr(old, name), duration_ms)

    def document(self) -> dict[str, object]:
        """The figures, for `metadata.json`: counts by name, scores, tokens, dollars, versions."""
        return {
            "clips": self._clips,
            "audio_ms": self._audio_ms,
            "reused": self._reused,
            "not_asked": self._not_asked,
            "usage": {**_fields(self.usage), "total": self.usage.total},
            "cost_usd": self.cost_usd,
            "quality_score": _distribution(self._scores),
            "lanes": {
                name: {"clips": lane.clips, "audio_ms": lane.audio_ms, "reasons": _sort_counts(lane.reasons)}
                for name, lane in self._lanes.items()
            },
            **{key: _sort_counts(counts) for key, counts in self._counts.items()},
            "versions": {"lipika": __version__, **self.versions()},
        }

    def versions(self) -> dict[str, dict[str, int]]:
        """Clips by what they were made with."""
        return {key: _sort_counts(counts) for key, counts in self._versions.items()}


def result_metadata(
    original: Metadata | JsonObject,
    video_id: str,
    language_hint: str | None,
    accounting: Accounting,
    discards: Sequence[Discard],
    summary: Summary,
    digests: Mapping[str, str] | None = None,
) -> bytes:
    """The result archive's `metadata.json`: the video's own metadata, its values as they were written, plus
    `transcription`.

    `digests` are SHA-256 by name, of the archive's folders. Where the original already has a `transcription`,
    as an archive that is transcribed again, it is kept as `transcription.previous`.

    Raises:
        ValueError: the original holds what JSON cannot.
    """
    block: dict[str, object] = {
        "format": VIDEO_FORMAT,
        "video_id": video_id,
        "language_hint": language_hint,
        "accounting": {
            **_fields(accounting),
            "discard_reasons": dict(sorted(accounting.discard_reasons.items())),
        },
        "discards": discards,
        **summary.document(),
        "digests": dict(digests or {}),
    }
    members = (original if isinstance(original, Metadata) else Metadata.from_fields(original)).members()
    own = {key: _text(value, 2) for key, value in block.items()}
    if "transcription" in members:
        own["previous"] = members["transcription"]
    return _add_block(members, own)


def amend_metadata(
    metadata: bytes,
    summary: Summary,
    keys: Iterable[str],
    versions: Iterable[str],
    digests: Callable[[], dict[str, str]],
) -> bytes:
    """A result's `metadata.json` with a new summary's values under `keys`, and its versions of some tiers.

    All others stay as they were written. `digests` are asked for where the metadata hold those of transcriptions.
    """
    members = Metadata(metadata).members()
    block = Metadata(members["transcription"].encode()).members()
    old, fresh = orjson.loads(f"[{block['versions']},{block['digests']}]"), summary.document()
    changes = {key: fresh[key] for key in keys}
    changes["versions"] = old[0] | {version: summary.versions()[version] for version in versions}
    if "transcriptions_sha256" in old[1]:
        changes["digests"] = old[1] | digests()
    return _add_block(members, block | {key: _text(value, 2) for key, value in changes.items()})


def _add_block(members: Mapping[str, str], block: Mapping[str, str]) -> bytes:
    return join_members({**members, "transcription": join_members(block, 1)}).encode() + b"\n"


def _text(value: object, level: int) -> str:
    """JSON as people read it, so many levels deep in a document."""
    lines = _dump(value, METADATA_NAME, orjson.OPT_INDENT_2).decode()
    return lines.replace("\n", "\n" + level * "  ")


def _finding_name(finding: Finding) -> str:
    return f"{finding.code}:{finding.severity}"


def _fields(value: Usage | Accounting) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__slots__}


def _sort_counts(counts: Counter[str]) -> dict[str, int]:
    """Most frequent first, then by name: stable, and pleasant to read."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _distribution(values: array[float]) -> dict[str, object] | None:
    """Mean and percentiles (nearest rank); None without values."""
    if not values:
        return None
    ranked = sorted(values)
    percentiles = {f"p{p}": ranked[math.ceil(p / 100 * len(ranked)) - 1] for p in (10, 50, 90)}
    return {"count": len(ranked), "mean": math.fsum(ranked) / len(ranked), "min": ranked[0], **percentiles}


# ----------------------------------------------------------------------------- the video's own metadata

# The most reliable first: YouTube's `defaultLanguage` is that of the title.
_LANGUAGE_KEYS = (
    "language",
    "languagecode",
    "lang",
    "langcode",
    "audiolanguage",
    "spokenlanguage",
    "defaultaudiolanguage",
    "detectedlanguage",
    "languages",
    "defaultlanguage",
    "locale",
)


def language_of(metadata: JsonObject) -> str | None:
    """The ISO code of the language a video's metadata names, at the top or one level down; None if it names none.

    Keys are compared without case, `-` and `_`; values may be a code, a name, a list of these, or an object with a
    code or name. Values that mean no language of the registry are passed over.
    """
    for scope in (metadata, *(child for child in metadata.values() if isinstance(child, Mapping))):
        folded = {str(key).lower().replace("_", "").replace("-", ""): value for key, value in scope.items()}
        for key in _LANGUAGE_KEYS:
            code = _language_code(folded.get(key))
            if code is not None:
                return code
    return None


def _language_code(value: object) -> str | None:
    for candidate in value if isinstance(value, list) else [value]:
        text = (
            (candidate.get("code") or candidate.get("name")) if isinstance(candidate, Mapping) else candidate
        )
        language = find_language(text) if isinstance(text, str) else None
        if language is not None:
            return language.code
    return None
