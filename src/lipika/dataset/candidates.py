"""The columns of a candidate: all that is known of a clip before it is chosen, for `--where` to name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a candidate. `path` is where its value lies in a clip's document."""

    name: str
    kind: pa.DataType
    meaning: str
    path: str = ""


_TEXT, _INT, _REAL, _YES = pa.string(), pa.int64(), pa.float64(), pa.bool_()

COLUMNS = (
    Column("video_id", _TEXT, "The video", "video_id"),
    Column("clip", _TEXT, "Stem of the clip's file in the result archive"),
    Column("archive", _TEXT, "Result archive; null where the video is not done"),
    Column("bytes", _INT, "Bytes of the clip's FLAC; of rows an estimate"),
    Column("status", _TEXT, "transcribed, no_speech or failed", "status"),
    Column("transcription", _TEXT, "What was said", "transcription"),
    Column("tagged", _TEXT, "The same with event tags", "tagged"),
    Column("detected_language", _TEXT, "As the model heard it", "detected_language"),
    Column("language_hint", _TEXT, "As list or archive said", "language_hint"),
    Column("speaker_id", _TEXT, "Speaker within the video", "speaker.id"),
    Column("emotion", _TEXT, "The speaker's", "speaker.emotion"),
    Column("style", _TEXT, "The speaker's", "speaker.style"),
    Column("pace", _TEXT, "The speaker's", "speaker.pace"),
    Column("accent", _TEXT, "The speaker's", "speaker.accent"),
    Column("quality_score", _REAL, "0 to 1", "quality_score"),
    Column("asr", _YES, "The lane is open", "lanes.asr.eligible"),
    Column("tts_clean", _YES, "The lane is open", "lanes.tts_clean.eligible"),
    Column("tts_expressive", _YES, "The lane is open", "lanes.tts_expressive.eligible"),
    Column("findings", _TEXT, "Codes of findings, separated by spaces"),
    Column("flags", _TEXT, "Of the cut: forced_cut, abrupt_start, ..."),
    Column("tier", _TEXT, "gold, silver or bronze, where others were heard", "agreement.tier"),
    Column("alignment_score", _REAL, "0 to 1, where a second recogniser listened", "alignment_score"),
    Column("words", _TEXT, "JSON: word, start_ms, end_ms, confidence, of each word that was aligned"),
    Column("num_unk", _INT, "Markers [UNK]", "checks.num_unk"),
    Column("num_inaudible", _INT, "Markers [INAUDIBLE]", "checks.num_inaudible"),
    Column("start_ms", _INT, "Start of what was kept, on the video's clock", "trim.trimmed_start_ms"),
    Column("end_ms", _INT, "Its end", "trim.trimmed_end_ms"),
    Column("duration_ms", _INT, "Length with pads", "trim.duration_ms"),
    Column("boundary_score", _REAL, "0 to 1; 1: both edges lie in silence", "trim.boundary_score"),
    Column("speech_ms", _INT, "Time with speech", "audio.facts.speech_ms"),
    Column("snr_db", _REAL, "Of frames' energy, a proxy", "audio.facts.snr_db"),
    Column("rms_dbfs", _REAL, "Level", "audio.facts.rms_dbfs"),
    Column("clipped_share", _REAL, "Share of samples at full scale", "audio.facts.clipped_share"),
    Column("bandwidth_hz", _INT, "Highest frequency with energy", "audio.facts.bandwidth_hz"),
    Column("audio_digest", _TEXT, "SHA-256 over the samples that were sent", "audio.digest"),
    Column("provider", _TEXT, "Who answered", "provenance.provider"),
    Column("model_id", _TEXT, "The model that was asked", "provenance.model_id"),
    Column("model_version", _TEXT, "The version that answered", "provenance.model_version"),
    Column("prompt_version", _TEXT, "Of the prompt", "provenance.prompt_version"),
    Column("validator_version", _TEXT, "Of the rules", "checks.validator_version"),
    Column("text_source", _TEXT, "model, person or reference", "text_source"),
    Column("source_segment", _TEXT, "Stem of the segment that the clip was cut of", "source_segment"),
    Column("source_split", _TEXT, "The split it had before it was packed; null in rows"),
    Column("written_at", pa.timestamp("us", tz="UTC"), "When the row was written; null in archives"),
)
SCHEMA = pa.schema([(column.name, column.kind) for column in COLUMNS])

_PATHS = tuple((column.name, column.path.split(".")) for column in COLUMNS if column.path)


def candidate_of(document: Mapping[str, Any], stem: str, archive: str, size: int | None) -> dict[str, object]:
    """The candidate that a clip's document tells of. Missing values are None."""
    row: dict[str, object] = {name: _value(document, path) for name, path in _PATHS}
    row |= {"clip": stem, "archive": archive, "bytes": size, "written_at": None, "source_split": None}
    row["findings"] = " ".join(sorted({found["code"] for found in document.get("findings") or ()}))
    row["flags"] = " ".join((document.get("trim") or {}).get("flags") or ())
    row["words"] = _words((document.get("alignment") or {}).get("words"))
    row["text_source"] = row["text_source"] or "model"
    return row


def _words(words: Any) -> str | None:
    """Word times in little space."""
    if not words:
        return None
    times = [[word["text"], word["start_ms"], word["end_ms"], word["confidence"]] for word in words]
    return orjson.dumps(times).decode()


def _value(document: Any, path: list[str]) -> object:
    for key in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(key)
    return document
