"""A video's archive as a stream of members. Pure; knows no audio.

One member at a time is in memory, nothing is trusted, and whatever is wrong with one member costs that member
alone. Compressed archives are refused by name: FLAC does not shrink, and a bomb would.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from lipika.archive.metadata import MAX_BYTES, MAX_DEPTH, Metadata
from lipika.archive.tar import (
    BLOCK,
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
from lipika.errors import ArchiveError, SegmentError
from lipika.models import JsonObject, SegmentName

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

AUDIO_SUFFIXES = (
    ".flac",
    ".wav",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".aif",
    ".aiff",
    ".aifc",
    ".caf",
    ".w64",
    ".rf64",
)
_SOUND_SUFFIXES = (
    *(
        *AUDIO_SUFFIXES,
        ".m4a",
        ".mp4",
        ".aac",
        ".wma",
        ".webm",
        ".mka",
        ".mkv",
        ".amr",
        ".3gp",
    ),
    *(
        ".aifc",
        ".au",
        ".snd",
        ".caf",
        ".w64",
        ".rf64",
        ".ape",
        ".wv",
        ".mp2",
        ".spx",
        ".gsm",
        ".sph",
        ".pcm",
        ".raw",
    ),
)
"""What is meant as audio, be it read or not. Anything else in `segments/` goes beside a segment and is none."""
_AUDIO_MAGIC = (b"fLaC", b"RIFF", b"OggS", b"ID3")
_HIDDEN = (".", "__MACOSX", "@eaDir")
_NAMES_TOLD = 5
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
    metadata: Metadata | None = None  # what METADATA holds

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
    Codes: names with `..` unsafe_name; link, hard_link, device, sparse, unsupported_type; duplicate_name;
    too_large; bad_name; not_flac (extension), not_audio (content), empty; other_folder; bad_header;
    bad_metadata; ignored (unrelated, nothing lost). Of the archive as a whole, at its end: no_end_marker,
    after_the_end, passed_over (what lies elsewhere).
    """

    name: str
    code: str
    message: str
    kind: MemberKind


@dataclass(frozen=True, slots=True)
class TarLimits:
    """Bounds on what an archive may make us hold or do."""

    max_member_bytes: int = 64 << 20  # about 50 minutes of 16 kHz FLAC
    max_metadata_bytes: int = MAX_BYTES
    max_metadata_depth: int = MAX_DEPTH
    max_extension_bytes: int = 1 << 20  # one pax or GNU long-name record
    max_headers: int = 500_000


DEFAULT_LIMITS = TarLimits()


def read_members(stream: BinaryReader, limits: TarLimits = DEFAULT_LIMITS) -> Iterator[Member | BadMember]:
    """Yield the members of a video's archive in the order they are stored.

    The layout is `metadata.json` and `segments/<speaker>_<start>_<end>.flac`, in upper or lower case, below any
    leading folders or a slash. Folders and hidden files (`.DS_Store`, AppleDouble `._*`) are passed over in
    silence. Of two members with one name the first usable one counts. At most one member is held at a time.

    Only where no `segments/` is found, an archive that can be read again gives what is named like a segment and
    lies elsewhere, and if there is none, what lies in hidden folders.

    Raises:
        ArchiveError: the archive is damaged, after yielding what came before. Codes: empty, not_tar,
            compressed, truncated, bad_header, too_many_headers. Errors of `stream.read` pass through.
    """
    source = Source(stream)
    video = _VideoMembers(limits)
    yield from _examine_all(video, source, limits)
    again = not video.segments_seen and video.settle_for_less()
    if again and source.restart():
        yield from _examine_all(video, source, limits)
    if not video.segments_seen:
        raise ArchiveError("empty", _nothing_there(video, source))
    yield from _notes(video, source, read_again=again)


def _examine_all(video: _VideoMembers, source: Source, limits: TarLimits) -> Iterator[Member | BadMember]:
    for entry in entries(source, limits.max_headers, limits.max_extension_bytes):
        member = video.examine(entry, source)
        if member is not None:
            yield member


def _notes(video: _VideoMembers, source: Source, *, read_again: bool) -> Iterator[BadMember]:
    """Notes for a person about an archive that was read: none of them costs a segment."""
    if source.odd_end is not None:
        yield BadMember("(end of the archive)", *source.odd_end, MemberKind.OTHER)
    if not read_again:
        for layout, names in video.put_off.items():
            if names:
                where = "in hidden folders" if layout is _Layout.HIDDEN else "beside segments/"
                message = f"segments {where} are passed over, such as {', '.join(names)}"
                yield BadMember(f"({where})", "passed_over", message, MemberKind.OTHER)


def _nothing_there(video: _VideoMembers, source: Source) -> str:
    told = f"the archive holds no segments/*.flac in {source.position:,} bytes"
    put_off = [name for names in video.put_off.values() for name in names]
    if put_off:
        told += f"; a stream that cannot be read twice hides {', '.join(put_off)}: move them to segments/"
    if video.others:
        told += f"; what is there: {', '.join(video.others)}"
    return f"{told}; {source.odd_end[1]}" if source.odd_end is not None else told


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
    """The object in a `metadata.json`, to look at; `Metadata` is how it is kept.

    Raises:
        ValueError: not JSON, not an object, nested too deeply, or text that is not valid Unicode.
    """
    return Metadata.read(data, max_depth).fields()


# ----------------------------------------------------------------------------- the layout


class _Layout(IntEnum):
    """Places of segments, the best first. What lies elsewhere is read only where there is nothing better."""

    USUAL = 0  # right inside `segments/`
    LOOSE = 1  # named as segments are, without such a folder
    HIDDEN = 2  # in `segments/` below a folder that is hidden, such as `.Trash`


@dataclass(frozen=True, slots=True)
class _Place:
    """The facts in a member's path. `folder` is the video's; `parts` are those of the path."""

    kind: MemberKind
    parts: list[str]
    layout: _Layout = _Layout.USUAL
    folder: str = ""
    deeper: bool = False  # in a folder inside `segments/`


class _VideoMembers:
    """Decides about one entry after the other; remembers only what duplicates and folders need."""

    def __init__(self, limits: TarLimits) -> None:
        self.segments_seen = False
        self.put_off: dict[_Layout, list[str]] = {_Layout.LOOSE: [], _Layout.HIDDEN: []}
        self.others: list[str] = []  # the first few
        self._limits = limits
        self._layout = _Layout.USUAL
        self._seen: set[str] = set()
        self._folder: str | None = None  # that of the first segment

    def settle_for_less(self) -> bool:
        """True if there is a poorer layout to be read, now that no segment has been found in a better one."""
        self._layout = next((layout for layout, names in self.put_off.items() if names), _Layout.USUAL)
        return self._layout is not _Layout.USUAL

    def examine(self, entry: Entry, source: Source) -> Member | BadMember | None:
        """The member to yield for this entry, None for what is passed over in silence or put off."""
        place = _find_place(entry.name)
        leaf = place.parts[-1]
        if entry.is_folder or leaf.startswith("."):
            return None
        if place.layout is not self._layout:
            self._note_put_off(place, entry)
            return None
        kind = place.kind
        head = b""
        if kind is MemberKind.SEGMENT and not leaf.lower().endswith(_SOUND_SUFFIXES):
            head = next(source.pieces(BLOCK), b"")
            if not _looks_like_audio(head):
                return BadMember(
                    printable(leaf), "ignored", f"{entry.shown}: it is no audio", MemberKind.OTHER
                )
        self.segments_seen |= kind is MemberKind.SEGMENT
        try:
            identity = self._admit(entry, place, source)
            data = source.take()
            metadata = self._check_content(data, kind)
        except SegmentError as error:
            if kind is MemberKind.OTHER and len(self.others) < _NAMES_TOLD:
                self.others.append(entry.shown)
            name = entry.shown if kind is MemberKind.OTHER else printable(leaf)
            return BadMember(name, error.code, f"{entry.shown}: {error.message}", kind)
        self._seen.add(identity)
        return Member(leaf, kind, data, metadata)

    def _note_put_off(self, place: _Place, entry: Entry) -> None:
        names = self.put_off.get(place.layout)
        if place.kind is MemberKind.SEGMENT and names is not None and len(names) < _NAMES_TOLD:
            names.append(entry.shown)

    def _admit(self, entry: Entry, place: _Place, source: Source) -> str:
        """The identity of the member, once nothing is wrong with its type, name and size."""
        if entry.problem is not None:
            raise SegmentError(*entry.problem)
        if ".." in place.parts:
            raise SegmentError("unsafe_name", "a name with .. in it points outside the archive")
        if place.kind is MemberKind.OTHER:
            raise SegmentError("ignored", "it is no part of the layout metadata.json, segments/*.flac")
        identity = self._segment_stem(place) if place.kind is MemberKind.SEGMENT else "metadata.json"
        if identity in self._seen:
            raise SegmentError("duplicate_name", "an earlier member has the same name; that one is used")
        self._check_size(entry.size, place.kind, source)
        return identity

    def _segment_stem(self, place: _Place) -> str:
        """The canonical stem: `a_00000_00850.flac` and `a_000000_000850.wav` are the same segment."""
        leaf = place.parts[-1]
        if place.deeper:
            raise SegmentError("bad_name", "segments belong right inside segments/")
        stem, dot, suffix = leaf.rpartition(".")
        if f"{dot}{suffix}".lower() not in AUDIO_SUFFIXES:
            raise SegmentError("not_flac", f"the extension is none of {' '.join(AUDIO_SUFFIXES)}")
        if len(leaf.encode()) > _MAX_FILE_NAME:
            raise SegmentError("bad_name", f"the file name is longer than {_MAX_FILE_NAME} bytes")
        try:
            name = SegmentName.parse(stem)
        except ValueError as error:
            raise SegmentError("bad_name", str(error)) from None
        self._check_folder(place.folder)
        return name.stem

    def _check_folder(self, folder: str) -> None:
        if self._folder is None:
            self._folder = folder
        if folder != self._folder:
            raise SegmentError(
                "other_folder",
                f"earlier segments lie in {printable(self._folder) or 'the root'}; one archive is one video",
            )

    def _check_size(self, size: int, kind: MemberKind, source: Source) -> None:
        if kind is not MemberKind.METADATA:
            if size > self._limits.max_member_bytes:
                raise SegmentError(
                    "too_large",
                    f"it claims {size:,} bytes; at most {self._limits.max_member_bytes:,} are read",
                )
            return
        if size > self._limits.max_metadata_bytes:
            dropped = f"it claims {size:,} bytes; at most {self._limits.max_metadata_bytes:,} are kept"
            if size <= self._limits.max_member_bytes:
                dropped += _dropping_note(source.pieces())
            raise SegmentError("bad_metadata", dropped)

    def _check_content(self, data: bytes, kind: MemberKind) -> Metadata | None:
        if kind is MemberKind.METADATA:
            try:
                return Metadata.read(data, self._limits.max_metadata_depth)
            except ValueError as error:
                raise SegmentError("bad_metadata", f"it {error}{_dropping_note([data])}") from None
        if not data:
            raise SegmentError("empty", "it holds no bytes")
        if not _looks_like_audio(data) and not _is_known_container(data):
            raise SegmentError("not_audio", f"it starts with {data[:4]!r}: not FLAC, WAV, Ogg or MP3")
        return None


def _is_known_container(data: bytes) -> bool:
    from lipika.audio.containers import kind_of  # with numpy, which those who only list archives do without

    return kind_of(data) is not None


def _dropping_note(pieces: Iterable[bytes]) -> str:
    """A digest by which to find what is not kept."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return f"; dropped, its SHA-256 is {digest.hexdigest()}"


def _parts(name: str) -> list[str]:
    """The path without `.` and empty components, and so without a leading slash; never empty."""
    return [part for part in name.split("/") if part not in ("", ".")] or [""]


def _find_place(name: str) -> _Place:
    """The facts in the path; where it says nothing, backslashes are taken for slashes, as Windows writes them."""
    place = _classify(_parts(name))
    if "\\" in name and (place.kind is MemberKind.OTHER or place.layout is _Layout.LOOSE):
        windows = _classify(_parts(name.replace("\\", "/")))
        return place if windows.kind is MemberKind.OTHER else windows
    return place


def _classify(parts: list[str]) -> _Place:
    folders = parts[:-1]
    hidden = any(folder.startswith(_HIDDEN) and folder != ".." for folder in folders)
    depth = next((at for at in reversed(range(len(folders))) if folders[at].lower() == "segments"), None)
    if depth is not None:
        layout = _Layout.HIDDEN if hidden else _Layout.USUAL
        folder, deeper = "/".join(folders[:depth]), depth + 1 < len(folders)
        return _Place(MemberKind.SEGMENT, parts, layout, folder, deeper)
    layout = _Layout.HIDDEN if hidden else _Layout.USUAL
    if parts[-1].lower() == "metadata.json":
        return _Place(MemberKind.METADATA, parts, layout)
    if _is_segment_name(parts[-1]) and not hidden:
        return _Place(MemberKind.SEGMENT, parts, _Layout.LOOSE, "/".join(folders))
    return _Place(MemberKind.OTHER, parts, layout)


def _is_segment_name(leaf: str) -> bool:
    stem, dot, suffix = leaf.rpartition(".")
    if f"{dot}{suffix}".lower() not in AUDIO_SUFFIXES:
        return False
    try:
        SegmentName.parse(stem)
    except ValueError:
        return False
    return True


def _looks_like_audio(data: bytes) -> bool:
    if data.startswith(_AUDIO_MAGIC):
        return True
    # An MP3 frame: eleven bits of sync, then a layer that is not the reserved one.
    return len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06 != 0
