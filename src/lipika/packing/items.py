"""The words between what reads a source and what packs it: a recording, with what its owner says of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from lipika.models import JsonObject


@dataclass(frozen=True, slots=True)
class AudioPlace:
    """The bytes of a recording: a file or URL, a part of a file (a member of a plain tar), or bytes in hand."""

    place: str  # path, or URL
    offset: int = 0  # bytes
    size: int | None = None  # bytes; None: to the end of the file
    data: bytes | None = None  # the bytes themselves, where they came with the row (a Parquet cell)


@dataclass(frozen=True, slots=True)
class Label:
    """A stretch of a recording that its owner has marked, on the recording's clock."""

    start: float  # seconds
    end: float  # seconds
    speaker: str | None = None
    text: str | None = None  # what its owner says was spoken: a reference, never a result
    language: str | None = None
    columns: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One recording, or one stretch of it, of a source.

    With `labels` those are its segments; without any, a short recording is one segment, and a long one is cut at
    speech. Nobody invents a speaker: `speaker` is what the source says, or None.
    """

    name: str  # its owner's own id, unique within the source
    audio: AudioPlace
    start: float = 0.0  # seconds into the audio
    end: float | None = None  # seconds; None: to its end
    channel: int | None = None  # from 0; None: all of them, mixed as `audio.recording` does
    language: str | None = None  # as its owner spells it
    speaker: str | None = None
    text: str | None = None
    split: str | None = None  # train, dev, test: as its owner spells it
    group: str = ""  # recordings of one group are packed together: a folder, a shard
    columns: Mapping[str, object] = field(default_factory=dict)  # whatever else was in the row: JSON values
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceRefusal:
    """A row or a file of a source that gives no recording, and why. The others go on."""

    name: str  # file, or file and line
    reason: str  # a word to count by: `missing_file`, `bad_row`, `unreadable_audio`, `not_audio`, ...
    detail: str = ""  # a sentence for a person


class PackSource(Protocol):
    """Something to be packed. Reads as a stream: a million rows take no more memory than ten."""

    @property
    def kind(self) -> str:
        """`folder`, `list`, `kaldi`, `nemo`, `lhotse`, `shar`, `huggingface`, `webdataset`, ..."""

    @property
    def root(self) -> str:
        """A path, as it was given."""

    def items(self, audio: bool = True) -> Iterator[SourceItem | SourceRefusal]:
        """All of it, in an order that is the same each time; never raises for one bad row.

        Without `audio` the bytes that come with a row are left unread (`AudioPlace.data` is None), to count.
        """
