"""Facts of a clip beside its text and audio, under names that no trainer takes for its own. Pure.

The speaker's emotion is not called `emotion`: Canary's prompt has a slot of that name with words of its own, and an
utterance with another one stops the training.
"""

from __future__ import annotations

import hashlib
import re
from operator import attrgetter

import orjson

from lipika.audio.flac import StreamInfo
from lipika.dataset.model import AudioForm, PlanRow, Utterance

_TEXTS = {
    "video_id": "video_id",
    "verbatim": "verbatim",
    "tagged": "tagged",
    "detected_language": "detected_language",
    "language_hint": "language_hint",
    "lanes": "lanes",
    "findings": "findings",
    "flags": "flags",
    "tier": "tier",
    "speaker_emotion": "emotion",
    "speaker_style": "style",
    "speaker_pace": "pace",
    "speaker_accent": "accent",
    "model": "model",
    "provider": "provider",
    "prompt_version": "prompt_version",
    "validator_version": "validator_version",
    "text_source": "text_source",
    "audio_digest": "audio_digest",
}
_NUMBERS = {"start_ms": "start_ms", "end_ms": "end_ms", "quality_score": "quality_score"}
_MEASURES = {name: name for name in ("snr_db", "speech_ms", "bandwidth_hz", "alignment_score")}

_ALWAYS = _TEXTS | _NUMBERS
_values_always, _measures = attrgetter(*_ALWAYS.values()), attrgetter(*_MEASURES.values())

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,94}")
"""With its ending it fits the plain header of a tar, the only one that lhotse reads by an index.
`datasets` passes over what begins with `__`."""

_PART_OF_FILE = re.compile(r"-sub\d+$")  # NeMo takes it for a part of another file
_PUNCTUATION = re.compile(r"[?!;…।॥؟؛،۔]|(?<!\d)[.,:]|[.,:](?!\d)")  # not that of numbers and times
_MD5 = slice(26, 42)  # of the samples, in the head of a FLAC


def stable_fields(row: PlanRow) -> dict[str, object]:
    """Those that every clip has: the same names and types for all, texts being empty where nothing is known."""
    return dict(zip(_ALWAYS, _values_always(row), strict=True))


def known_fields(row: PlanRow) -> dict[str, object]:
    """Those of which something is known: no nulls, no empty texts."""
    fields = stable_fields(row) | dict(zip(_MEASURES, _measures(row), strict=True))
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def word_times(row: PlanRow) -> list[tuple[str, float, float, float | None]]:
    """Each word of `verbatim` that was aligned: the word, its start and end in seconds, its confidence (0 to 1)."""
    if not row.words:
        return []
    return [
        (word, start_ms / 1000, end_ms / 1000, confidence)
        for word, start_ms, end_ms, confidence in orjson.loads(row.words)
    ]


def known_words(row: PlanRow) -> dict[str, object]:
    """The same as a field; nothing where nothing is known."""
    return {"words": word_times(row)} if row.words else {}


def source_fields(row: PlanRow) -> dict[str, str]:
    """The words of its owner, under the same names for every clip of a packed corpus; of others nothing."""
    said = row.source
    if said is None:
        return {}
    return {"source_id": said.id, "reference": said.reference, "source": said.columns}


def known_source(row: PlanRow) -> dict[str, str]:
    """The same without what is empty."""
    return {name: value for name, value in source_fields(row).items() if value}


def audio_md5(utterance: Utterance) -> dict[str, str]:
    """The MD5 of the samples, which a FLAC carries in its head: it costs nothing and tells like-sized audio apart."""
    return {"audio_md5": flac_md5(utterance.audio)} if utterance.form is AudioForm.FLAC else {}


def flac_md5(audio: bytes) -> str:
    """As hex digits; "" where it is not stated, or this is no FLAC."""
    stated = audio[_MD5] if StreamInfo.read(audio) else b""
    return stated.hex() if any(stated) else ""


def audio_mark(audio: bytes) -> str:
    """A text that no other audio has: the MD5 of its samples where it states that, else the SHA-256 of its bytes."""
    return flac_md5(audio) or hashlib.sha256(audio).hexdigest()


def has_punctuation(text: str) -> bool:
    """True if its sentences are marked; the point of a number and the colon of a time are no marks."""
    return _PUNCTUATION.search(text) is not None


def member_name(utterance: Utterance) -> str:
    """The name of its file in a tar.

    Raises:
        ValueError: trainers would take it for another: it holds a dot or a slash, ends as parts of files do, or
            needs a longer header than every reader knows.
    """
    name = utterance.row.id
    if not _SAFE_ID.fullmatch(name) or _PART_OF_FILE.search(name):
        allowed = "up to 95 letters of ASCII, digits, _ and -, not first, and no -sub1 at the end"
        raise ValueError(f"{name!r} cannot be the name of a clip: {allowed}")
    return utterance.file
