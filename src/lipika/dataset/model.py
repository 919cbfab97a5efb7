"""The nouns of an export. Pure.

A *tarset* is all that is exported of one language and split; its shards are numbered from 0 without gaps. A *job* is
a batch of videos whose archives are read once, and all shards that their clips are dealt to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum


class AudioForm(StrEnum):
    """The form of exported audio."""

    FLAC = "flac"  # as packed, byte for byte
    WAV = "wav"  # decoded: 16-bit, resampled where asked for


@dataclass(frozen=True, slots=True)
class SourceWords:
    """What the owner of a packed corpus says of a clip; "" is unknown."""

    id: str = ""
    reference: str = ""  # their text, where the clip is a whole segment
    columns: str = ""  # JSON: an object of all others


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One planned clip: the columns of `plan.parquet` that formats write. Texts are NFC; "" is unknown."""

    id: str  # unique in the export, and a safe file name: up to 95 of ASCII's letters, digits, `_`, `-`
    video_id: str
    clip: str  # stem of its file in the result archive
    job: int
    language: str  # of the tarset
    split: str
    shard: int
    text: str  # as the text view has it: what is trained on
    verbatim: str
    tagged: str
    detected_language: str
    language_hint: str
    speaker: str  # unique in the export; of its video alone unless the user's own columns say otherwise
    duration_ms: int  # rounded: seconds come from the samples
    start_ms: int  # on the video's clock, with pads
    end_ms: int
    quality_score: float
    lanes: str  # open lanes, separated by spaces
    findings: str  # codes, separated by spaces
    flags: str
    tier: str  # gold, silver, bronze
    snr_db: float | None
    speech_ms: int | None
    bandwidth_hz: int | None
    alignment_score: float | None
    emotion: str
    style: str
    pace: str
    accent: str
    model: str  # the version that answered, or the model's name
    provider: str
    prompt_version: str
    validator_version: str
    text_source: str  # model, person, reference
    audio_digest: str  # SHA-256 over the samples that were sent
    skip: str  # with `--all --skipme`: why trainers should pass it over; "" where they should not
    words: str = ""  # JSON: [word, start_ms, end_ms, confidence or null], ... of `verbatim`; "" is unknown
    source: SourceWords | None = (
        None  # None: nothing that is exported was packed. No column: a job reads it of archives
    )


PLAN_COLUMNS = tuple(item.name for item in fields(PlanRow) if item.name != "source")
"""The columns of `plan.parquet` that make a `PlanRow`."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A planned clip with its audio, as a format writes it."""

    row: PlanRow
    audio: bytes
    form: AudioForm
    sample_rate_hz: int
    num_samples: int

    @property
    def duration_s(self) -> float:
        """Exactly: a sum of rounded seconds is not the number of samples."""
        return self.num_samples / self.sample_rate_hz

    @property
    def file(self) -> str:
        """Its file name."""
        return f"{self.row.id}.{self.form}"


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """One shard of a tarset; `of` is the number of shards there.

    `has_sources`: the corpus was packed, and rows say what their owner says. It is the same for a whole export.
    """

    language: str
    split: str
    number: int
    of: int
    has_sources: bool = False


@dataclass(frozen=True, slots=True)
class Tarset:
    """All that was exported of one language and split. Seconds are of the samples."""

    language: str
    split: str
    shards: int
    clips: int
    seconds: float

    @property
    def hours(self) -> float:
        return self.seconds / 3600


@dataclass(frozen=True, slots=True)
class FileFact:
    """A file of an export. `path` is relative to it, `sha256` in hexadecimal."""

    path: str
    size: int  # bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class ReadBack:
    """A clip as it was read back from an export: what its row says, and what its audio is.

    `place` names the file and line (or member) for messages. `exact` is False where the audio is coded
    with loss: how many samples it has is then up to the decoder.
    """

    id: str
    place: str
    text: str
    language: str
    duration_s: float
    sample_rate_hz: int  # 0 where the row does not say
    num_samples: int  # 0 where the row does not say
    speaker: str
    audio: bytes = field(repr=False)
    audio_rate_hz: int
    audio_samples: int
    video_id: str = ""
    exact: bool = True
    skip: bool = False  # its row says that trainers should pass it over

    @property
    def digest(self) -> str:
        """SHA-256 of the audio's bytes."""
        return hashlib.sha256(self.audio).hexdigest()


@dataclass(frozen=True, slots=True)
class Defect:
    """Something wrong with an export. `place` is a file, with a line or member where there is one."""

    place: str
    code: str  # truncated, missing_audio, missing_row, duration, ... (`verify` lists them)
    message: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A finished export, for what a format writes over all shards."""

    tarsets: Sequence[Tarset]
    audio_root: str  # put before relative paths where a format wants whole ones; "" is none
    title: str = ""
    facts: Mapping[str, object] | None = None
