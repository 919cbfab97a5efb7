"""Tars and JSON lines that anybody may have written, and their audio; what is wrong is noted and passed over."""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, Any, cast

import orjson

from lipika.archive.tar import Source, entries, printable
from lipika.dataset.formats.base import Reader, Tree
from lipika.dataset.formats.fields import flac_md5
from lipika.dataset.formats.sound import listen as sound_of
from lipika.dataset.formats.sound import look
from lipika.dataset.model import Defect, ReadBack
from lipika.errors import ArchiveError, ObjectMissing, SegmentError

_MAX_HEADERS = 4_000_000
_MAX_EXTENSION_BYTES = 1 << 20
_MAX_MEMBER_BYTES = 1 << 29  # an hour and a half of 48 kHz
_PIECE_BYTES = 1 << 20
_LONGEST_LINE = 1 << 26  # bytes
_TRUNCATED = {"truncated", "empty"}  # codes of a broken tar
_EXACT = (".flac", ".wav", ".aiff", ".aif", ".caf", ".w64")
_SPLITS = {
    "train",
    "training",
    "dev",
    "devel",
    "valid",
    "validation",
    "val",
    "test",
    "testing",
    "eval",
    "all",
}
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][A-Za-z]{2,4})?")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file in a tar."""

    path: str  # of the tar
    name: str
    content: bytes

    @property
    def place(self) -> str:
        return f"{self.path}: {printable(self.name)}"


def read_members(tree: Tree, path: str, defects: list[Defect]) -> Iterator[TarMember]:
    """The files of a tar, in order, one in memory at a time."""
    try:
        with closing(tree.open(path)) as stream:
            source = Source(stream)
            for entry in entries(source, _MAX_HEADERS, _MAX_EXTENSION_BYTES):
                if entry.is_folder:
                    continue
                if entry.problem is not None or entry.size > _MAX_MEMBER_BYTES:
                    what = (
                        entry.problem[1]
                        if entry.problem
                        else f"{entry.size:,} bytes are more than a clip has"
                    )
                    defects.append(Defect(f"{path}: {entry.shown}", "unreadable", what))
                    continue
                yield TarMember(path, entry.name, source.take())
            if source.odd_end is not None:
                code, told = source.odd_end
                defects.append(Defect(path, "truncated" if code == "no_end_marker" else code, told))
    except ArchiveError as error:
        code = "truncated" if error.code in _TRUNCATED else "unreadable"
        defects.append(Defect(path, code, error.message))
    except (OSError, ObjectMissing) as error:
        defects.append(Defect(path, "unreadable", str(error)))


def read_rows(tree: Tree, path: str, defects: list[Defect]) -> Iterator[tuple[str, Row]]:
    """(place, object) for every line of JSON; `.gz` is unpacked."""
    number = 0
    try:
        with closing(tree.open(path)) as stream:
            for number, line in enumerate(_lines(stream, path), 1):
                if line.strip():
                    row = _parse(line)
                    if row is not None:
                        yield f"{path}:{number}", row
                    else:
                        defects.append(Defect(f"{path}:{number}", "bad_row", "the line is no JSON object"))
    except (OSError, EOFError, zlib.error) as error:
        defects.append(Defect(f"{path}:{number + 1}", "truncated", f"it cannot be read on: {error}"))
    except ObjectMissing as error:
        defects.append(Defect(path, "unreadable", str(error)))


def _lines(stream: Reader, path: str) -> Iterator[bytes]:
    plain = gzip.GzipFile(fileobj=cast("IO[bytes]", stream)) if path.endswith(".gz") else stream
    rest = b""
    while piece := plain.read(_PIECE_BYTES):
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > _LONGEST_LINE:
            raise OSError(f"a line has more than {_LONGEST_LINE:,} bytes")
    if rest:
        yield rest


def _parse(line: bytes) -> Row | None:
    """An object; NaN is read, as Python writes it."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return None
    return row if isinstance(row, dict) else None


def parse_document(member: TarMember, defects: list[Defect]) -> Row:
    """The object in a JSON file; empty where there is none."""
    row = _parse(member.content)
    if row is None:
        defects.append(Defect(member.place, "bad_row", "it is no JSON object"))
    return row or {}


# ----------------------------------------------------------------------------- one clip


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A row's words about its clip; 0 and "" where it says nothing."""

    id: str
    place: str
    text: str = ""
    language: str = ""
    speaker: str = ""
    video_id: str = ""
    duration_s: float = 0.0
    sample_rate_hz: int = 0
    num_samples: int = 0
    md5: str = ""  # of the samples
    skip: bool = False

    def join(self, heard: HeardAudio, defects: list[Defect]) -> ReadBack:
        """The clip as row and audio have it."""
        if self.md5 and heard.md5 and self.md5 != heard.md5:
            message = (
                f"{self.id} has other audio than its row was written for: the MD5 of the samples differs"
            )
            defects.append(Defect(self.place, "swapped_audio", message))
        return ReadBack(
            id=self.id,
            place=self.place,
            text=self.text,
            language=self.language,
            duration_s=self.duration_s,
            sample_rate_hz=self.sample_rate_hz,
            num_samples=self.num_samples,
            speaker=self.speaker,
            audio=heard.audio,
            audio_rate_hz=heard.sample_rate_hz,
            audio_samples=heard.num_samples,
            video_id=self.video_id,
            exact=heard.exact,
            skip=self.skip,
        )


@dataclass(frozen=True, slots=True)
class HeardAudio:
    """Facts of audio."""

    sample_rate_hz: int
    num_samples: int
    audio: bytes = field(repr=False)
    md5: str
    exact: bool  # coded without loss


def hear(member: TarMember, defects: list[Defect], *, listen: bool) -> HeardAudio | None:
    """Facts of a member's audio, by its header or as it decodes; None, and a defect, where that fails."""
    try:
        sound = sound_of(member.content) if listen else look(member.content)
    except SegmentError as error:
        defects.append(Defect(member.place, "bad_audio", error.message))
        return None
    return HeardAudio(
        sound.sample_rate_hz,
        sound.num_samples,
        member.content,
        flac_md5(member.content),
        member.name.lower().endswith(_EXACT),
    )


def text_in(row: Row, *names: str) -> str:
    """The first of these that is a text; "" if none is."""
    return next((value for name in names if isinstance(value := row.get(name), str)), "")


def number_in(row: Row, *names: str) -> float:
    """The first of these that is a finite number; 0 if none is."""
    for name in names:
        value = row.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return 0.0


# ----------------------------------------------------------------------------- paths


def language_and_split(folder: str) -> tuple[str, str]:
    """Language and split as the last folders of a path say them; "" where they do not."""
    parts = PurePosixPath(folder).parts
    if not parts:
        return "", ""
    *above, last = parts
    if last not in _SPLITS and not above and _LANGUAGE.fullmatch(last):
        return last, ""
    language = above[-1] if above and above[-1] not in _SPLITS and _LANGUAGE.fullmatch(above[-1]) else ""
    return language, last if language or last in _SPLITS else ""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A file with a shard's number in its name."""

    folder: str
    before: str
    digits: str
    after: str

    @property
    def number(self) -> int:
        return int(self.digits)

    @property
    def path(self) -> str:
        return self._path(self.digits)

    def at(self, number: int) -> str:
        """The path that another number would have."""
        width = len(self.digits) if self.digits.startswith("0") and len(self.digits) > 1 else 1
        return self._path(f"{number:0{width}d}")

    def _path(self, digits: str) -> str:
        return f"{self.folder}{self.before}{digits}{self.after}"


def find_numbered(pattern: re.Pattern[str], paths: Sequence[str]) -> Iterator[Numbered]:
    """The files whose names fit `pattern`, with its groups `before`, `digits`, `after`. `folder` ends in a slash."""
    for path in paths:
        folder, slash, name = path.rpartition("/")
        match = pattern.fullmatch(name)
        if match is not None:
            yield Numbered(folder + slash, match["before"], match["digits"], match["after"])


def find_gaps(shards: Sequence[Numbered], first: int | None = None) -> Iterator[Defect]:
    """Numbers left out among the shards of one tarset, which come in order; `first` is what they begin with."""
    expected = shards[0].number if first is None else first
    for shard in shards:
        if shard.number > expected:
            last = shard.number - 1
            left_out = f"{expected} to {last}" if last > expected else f"{last}"
            message = f"there is no shard {left_out}: numbers must have no gaps"
            yield Defect(shard.at(expected), "missing_shard", message)
        elif shard.number < expected:
            yield Defect(shard.path, "shard_number", f"number {shard.number} is there twice")
        expected = shard.number + 1
