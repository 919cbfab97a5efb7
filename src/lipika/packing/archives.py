"""Input archives in the making: segments on disk, and what their owner says of them in `metadata.json`.

    {"language": "hi", "packed": {"source": ..., "kind": ..., "segments": {"<speaker>_<start>_<end>": {"id": ...,
     "text": ..., "split": ..., "speaker": ..., "columns": {...}}}, "recordings": {...}}}

The same segments give the same bytes.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import orjson

from lipika.archive.spool import ComposedTar
from lipika.archive.tar import END_OF_ARCHIVE, member_header, member_size, padding
from lipika.languages import find_language
from lipika.models import SegmentName
from lipika.packing.values import json_value, speaker_name

PACKED = "packed"
"""The key of `metadata.json` under which everything of the source lies."""

_PIECE = 1 << 20
_SLACK = 1e-6  # of a centisecond: what binary fractions add
_LONGEST_SAID = 64 << 10  # bytes that one segment's columns may take


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Limits of an archive of many recordings. A result's own figures must fit into 1 MiB beside `said_bytes`."""

    segments: int = 500
    audio_bytes: int = 256 << 20
    said_bytes: int = 384 << 10


@dataclass(slots=True)
class OpenArchive:
    """One archive in the making, in an unnamed file of `folder`: nothing is left of it when the process ends."""

    language: str  # a code, or its owner's word; "" where none is known
    folder: Path | None = None
    seconds: float = 0.0
    clock_cs: int = 0  # where the next recording begins
    said_bytes: int = 0
    columns_left_out: int = 0
    _stems: dict[str, bytes] = field(default_factory=dict)
    _recordings: dict[str, bytes] = field(default_factory=dict)
    _file: IO[bytes] | None = None
    _size: int = 0

    @property
    def segments(self) -> int:
        return len(self._stems)

    @property
    def audio_bytes(self) -> int:
        return self._size

    def is_full(self, limits: ArchiveLimits) -> bool:
        return (
            self.segments >= limits.segments
            or self._size >= limits.audio_bytes
            or self.said_bytes >= limits.said_bytes
        )

    def add(
        self,
        speaker: str | None,
        times: tuple[float, float],
        audio: tuple[bytes, str],
        said: Mapping[str, object],
    ) -> str:
        """Add a segment; returns its stem.

        Args:
            speaker: as its owner spells it.
            times: start and end in seconds after `clock_cs`.
            audio: the bytes, and the ending of the member's name.
            said: the words of its owner: JSON values once they have passed `json_value`.
        """
        start = self.clock_cs + math.floor(times[0] * 100 + _SLACK)
        end = max(self.clock_cs + math.ceil(times[1] * 100 - _SLACK), start + 1)
        name = SegmentName(speaker_name(speaker), start, end)
        while name.stem in self._stems:  # marked twice: the same stretch of the same speaker
            name = SegmentName(name.speaker, start, name.end_cs + 1)
        data, suffix = audio
        member = f"segments/{name.stem}{suffix}"
        file = self._open()
        for piece in (member_header(member, len(data)), data, padding(len(data))):
            file.write(piece)
        self._size += member_size(member, len(data))
        self._stems[name.stem] = self._say(said, len(name.stem))
        self.seconds += times[1] - times[0]
        return name.stem

    def add_recording(self, name: str, said: Mapping[str, object]) -> None:
        """Note what is said of a whole recording, of which segments are stretches."""
        self._recordings[name] = self._say(said, len(name))

    def advance(self, seconds: float) -> None:
        """Let the next recording begin a second after one of `seconds` that began at `clock_cs`."""
        self.clock_cs += math.ceil(seconds * 100) + 100

    def _say(self, said: Mapping[str, object], name_bytes: int) -> bytes:
        value = {key: json_value(one) for key, one in said.items() if one not in (None, {}, "")}
        text = orjson.dumps(value)
        if len(text) > _LONGEST_SAID and value.pop("columns", None) is not None:
            self.columns_left_out += 1
            text = orjson.dumps({**value, "columns_left_out": len(text)})
        self.said_bytes += len(text) + name_bytes + 4
        return text

    def _open(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 - `close` closes it
        return self._file

    def compose(self, source: str, kind: str) -> ComposedTar:
        """The finished archive; reading it blocks."""
        packed: dict[str, object] = {"source": json_value(source), "kind": kind}
        if self._recordings:
            packed["recordings"] = {name: orjson.Fragment(one) for name, one in self._recordings.items()}
        packed["segments"] = {stem: orjson.Fragment(one) for stem, one in self._stems.items()}
        language = find_language(self.language)
        whole = {"language": language.code if language else self.language} if self.language else {}
        metadata = orjson.dumps({**whole, PACKED: packed})
        size = member_size("metadata.json", len(metadata)) + self._size + len(END_OF_ARCHIVE)
        return ComposedTar(size, lambda: self._chunks(metadata))

    def _chunks(self, metadata: bytes) -> Iterator[bytes]:
        yield member_header("metadata.json", len(metadata)) + metadata + padding(len(metadata))
        file = self._open()
        file.seek(0)
        left = self._size
        while left and (piece := file.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece
        yield END_OF_ARCHIVE

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
