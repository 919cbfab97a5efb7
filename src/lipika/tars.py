"""A video's archive as a stream of members. Pure; knows no audio.

One member at a time is in memory, nothing is trusted, and whatever is wrong with one member costs that member
alone. Compressed archives are refused by name: FLAC does not shrink, and a bomb would.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import orjson

from lipika.errors import ArchiveError, SegmentError
from lipika.models import JsonObject, SegmentName
from lipika.tarformat import (
    END_OF_ARCHIVE,
    BinaryReader,
    Entry,
    Source,
    entries,
    member_header,
    member_size,
    padding,
    printable,
)

__all__ = [
    "DEFAULT_LIMITS",
    "END_OF_ARCHIVE",
    "BadMember",
    "BinaryReader",
    "Member",
    "MemberKind",
    "TarLimits",
    "member_header",
    "member_size",
    "padding",
    "parse_metadata",
    "read_folder",
    "read_members",
]

AUDIO_SUFFIXES = (".flac", ".wav", ".ogg", ".oga", ".opus", ".mp3")
_AUDIO_MAGIC = (b"fLaC", b"RIFF", b"OggS", b"ID3")
_MAX_FILE_NAME = 255  # bytes, as on every common file system


class MemberKind(StrEnum):
    METADATA = "metadata"
    SEGMENT = "segment"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Member:
    """A usable member. `name` is its file name without folders: `metadata.json`, `<stem>.flac`."""

    name: str
    kind: MemberKind
    data: bytes

    @property
    def segment(self) -> SegmentName:
        """The parsed name; only for segments, where it always parses."""
        return SegmentName.parse(self.name.rpartition(".")[0])


@dataclass(frozen=True, slots=True)
class BadMember:
    """A member that is not used, and why.

    `kind` says what was lost: a SEGMENT counts in the video's accounting, OTHER (a README, a path outside the
    layout) does not. `name` is the file name as for a Member, or the whole path for OTHER; it is printable and
    short, whatever the archive holds.
    Codes: absolute or `..` names unsafe_name; link, hard_link, device, sparse, unsupported_type; duplicate_name;
    too_large; bad_name; not_flac (extension), not_audio (content), empty; other_folder; bad_header;
    bad_metadata; ignored (unrelated, nothing lost).
    """

    name: str
    code: str
    message: str
    kind: MemberKind


@dataclass(frozen=True, slots=True)
class TarLimits:
    """Bounds on what an archive may make us hold or do."""

    max_member_bytes: int = 64 << 20  # about 50 minutes of 16 kHz FLAC
    max_metadata_bytes: int = 32 << 20
    max_metadata_depth: int = 64
    max_extension_bytes: int = 1 << 20  # one pax or GNU long-name record
    max_headers: int = 2_000_000


DEFAULT_LIMITS = TarLimits()


def read_members(stream: BinaryReader, limits: TarLimits = DEFAULT_LIMITS) -> Iterator[Member | BadMember]:
    """Yield the members of a video's archive in the order they are stored.

    The layout is `metadata.json` and `segments/<speaker>_<start>_<end>.flac`, with or without one leading
    folder. Folders and hidden files (`.DS_Store`, AppleDouble `._*`) are passed over in silence. Of two
    members with one name the first usable one counts. At most one member is held at a time.

    Raises:
        ArchiveError: the archive is damaged, after yielding what came before. Codes: empty, not_tar,
            compressed, truncated, bad_header, too_many_headers. Errors of `stream.read` pass through.
    """
    source = Source(stream)
    video = _VideoMembers(limits)
    for entry in entries(source, limits.max_headers, limits.max_extension_bytes):
        member = video.examine(entry, source)
        if member is not None:
            yield member
    if not video.segments_seen:
        raise ArchiveError("empty", f"the archive holds no segments/*.flac in {source.position} bytes")


def read_folder(
    stream: BinaryReader, folder: str, limits: TarLimits = DEFAULT_LIMITS
) -> Iterator[tuple[str, bytes]]:
    """Yield (file name, content) of the plain files right below `folder`, for archives we wrote ourselves.

    Raises:
        ArchiveError: the archive is damaged, or one of the files is unusable.
    """
    source = Source(stream)
    for entry in entries(source, limits.max_headers, limits.max_extension_bytes):
        parts = _parts(entry.name)
        if entry.is_folder or len(parts) != 2 or parts[0] != folder:
            continue
        if entry.problem is not None or entry.size > limits.max_member_bytes:
            raise ArchiveError("bad_member", f"{entry.shown} is damaged or larger than allowed")
        yield parts[1], source.take()


def parse_metadata(data: bytes, max_depth: int = DEFAULT_LIMITS.max_metadata_depth) -> JsonObject:
    """The object in a `metadata.json`. A byte order mark and NaN, as pandas writes it, are forgiven.

    Raises:
        ValueError: not JSON, not an object, nested too deeply, or text that is not valid Unicode.
    """
    try:
        value: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = _forgiving_json(data)
    if not isinstance(value, dict):
        raise ValueError(f"holds a JSON {type(value).__name__}, not an object")  # noqa: TRY004 - bad data, not a bug
    if _depth(value, max_depth) > max_depth:
        raise ValueError(f"is nested deeper than {max_depth} levels")
    try:
        orjson.dumps(value)  # what cannot be written again must not get in: lone surrogates, huge integers
    except TypeError as error:
        raise ValueError(f"cannot be written back as JSON: {error}") from None
    return value


def _forgiving_json(data: bytes) -> object:
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    return value


def _depth(value: object, limit: int) -> int:
    """Levels of nesting, counted no further than `limit` + 1."""
    depth, level = 0, [value]
    while level and depth <= limit:
        depth += 1
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)  # type: ignore[attr-defined]
            if isinstance(child, dict | list)
        ]
    return depth


# ----------------------------------------------------------------------------- the layout


class _VideoMembers:
    """Decides about one entry after the other; remembers only what duplicates and folders need."""

    def __init__(self, limits: TarLimits) -> None:
        self.segments_seen = False
        self._limits = limits
        self._seen: set[str] = set()
        self._folder: str | None = None  # the leading folder of the first segment

    def examine(self, entry: Entry, source: Source) -> Member | BadMember | None:
        """The member to yield for this entry, None for what is passed over in silence."""
        parts = _parts(entry.name)
        if entry.is_folder or parts[-1].startswith("."):
            return None
        kind = _classify(parts)
        self.segments_seen |= kind is MemberKind.SEGMENT
        try:
            identity = self._admit(entry, parts, kind)
            data = source.take()
            self._check_content(data, kind)
        except SegmentError as error:
            name = entry.shown if kind is MemberKind.OTHER else printable(parts[-1])
            return BadMember(name, error.code, f"{entry.shown}: {error.message}", kind)
        self._seen.add(identity)
        return Member(parts[-1], kind, data)

    def _admit(self, entry: Entry, parts: list[str], kind: MemberKind) -> str:
        """What identifies the member, once nothing is wrong with its type, name and size."""
        if entry.problem is not None:
            raise SegmentError(*entry.problem)
        if entry.name.startswith("/") or ".." in parts:
            raise SegmentError("unsafe_name", "an absolute name or one with .. points outside the archive")
        if kind is MemberKind.OTHER:
            raise SegmentError("ignored", "it is no part of the layout metadata.json, segments/*.flac")
        identity = self._segment_stem(parts) if kind is MemberKind.SEGMENT else parts[-1]
        if identity in self._seen:
            raise SegmentError("duplicate_name", "an earlier member has the same name; that one is used")
        self._check_size(entry.size, kind)
        return identity

    def _segment_stem(self, parts: list[str]) -> str:
        """The canonical stem: `a_00000_00850.flac` and `a_000000_000850.wav` are the same segment."""
        depth = parts.index("segments")
        if depth > 1 or len(parts) != depth + 2:
            raise SegmentError("bad_name", "segments belong right inside segments/, below one folder at most")
        stem, dot, suffix = parts[-1].rpartition(".")
        if f"{dot}{suffix}".lower() not in AUDIO_SUFFIXES:
            raise SegmentError("not_flac", f"the extension is none of {' '.join(AUDIO_SUFFIXES)}")
        if len(parts[-1].encode()) > _MAX_FILE_NAME:
            raise SegmentError("bad_name", f"the file name is longer than {_MAX_FILE_NAME} bytes")
        try:
            name = SegmentName.parse(stem)
        except ValueError as error:
            raise SegmentError("bad_name", str(error)) from None
        self._check_folder(parts[0] if depth else "")
        return name.stem

    def _check_folder(self, folder: str) -> None:
        if self._folder is None:
            self._folder = folder
        if folder != self._folder:
            raise SegmentError(
                "other_folder", "earlier segments lie in another folder; one archive is one video"
            )

    def _check_size(self, size: int, kind: MemberKind) -> None:
        metadata = kind is MemberKind.METADATA
        limit = self._limits.max_metadata_bytes if metadata else self._limits.max_member_bytes
        if size > limit:
            code = "bad_metadata" if metadata else "too_large"
            raise SegmentError(code, f"it claims {size:,} bytes; at most {limit:,} are read")

    def _check_content(self, data: bytes, kind: MemberKind) -> None:
        if kind is MemberKind.METADATA:
            try:
                parse_metadata(data, self._limits.max_metadata_depth)
            except ValueError as error:
                raise SegmentError("bad_metadata", f"it {error}") from None
        elif not data:
            raise SegmentError("empty", "it holds no bytes")
        elif not _looks_like_audio(data):
            raise SegmentError("not_audio", f"it starts with {data[:4]!r}: not FLAC, WAV, Ogg or MP3")


def _parts(name: str) -> list[str]:
    """The path without `.` and empty components; never empty."""
    return [part for part in name.split("/") if part not in ("", ".")] or [""]


def _classify(parts: list[str]) -> MemberKind:
    if "segments" in parts[:-1]:
        return MemberKind.SEGMENT
    if parts[-1] == "metadata.json" and len(parts) <= 2:
        return MemberKind.METADATA
    return MemberKind.OTHER


def _looks_like_audio(data: bytes) -> bool:
    if data.startswith(_AUDIO_MAGIC):
        return True
    # An MP3 frame: eleven bits of sync, then a layer that is not the reserved one.
    return len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06 != 0
