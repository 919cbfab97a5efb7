"""Containers of audio, where a decoder has to be helped: tags, lengths never written, streams in a row. Pure.

Nothing here looks at samples. `kind_of` says what some bytes are; the others give bytes that decoders read whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Protocol, overload

from lipika.audio.flac import StreamInfo
from lipika.audio.flac_frames import headers
from lipika.errors import SegmentError

_SEARCHED = 1 << 16  # bytes before the audio, other than a tag that states its length
_MOST_LINKS = 1 << 12  # recordings in a row: each is opened, however short
_W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")


class ByteSource(Protocol):
    """Bytes, or a file that is read like them."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, key: int, /) -> int: ...
    @overload
    def __getitem__(self, key: slice, /) -> bytes: ...
    def find(self, sub: bytes, start: int = 0, end: int | None = None, /) -> int: ...


class FileKind(Enum):
    """The way in which a file is read."""

    FLAC = "FLAC"
    OGG = "Ogg"
    MP3 = "MP3"
    OTHER = "other"  # libsndfile reads it as it is


def kind_of(data: bytes) -> tuple[FileKind, bytes] | None:
    """The kind of a file, and its part that is audio, without what comes before. None if it is nothing we read."""
    start = skip_id3(data)
    rest = data[start:]
    if rest.startswith((b"RIFF", b"RF64", _W64_RIFF)):
        return FileKind.OTHER, rest
    if rest.startswith((b"FORM", b"caff")):
        return FileKind.OTHER, rest
    if rest.startswith(b"fLaC"):
        return FileKind.FLAC, rest
    for kind, find in ((FileKind.OGG, _find_ogg), (FileKind.FLAC, _find_flac), (FileKind.MP3, _find_mp3)):
        at = find(rest)
        if at is not None:
            return kind, rest[at:] if at else rest
    return (FileKind.MP3, data) if start else None


def skip_id3(data: ByteSource, at: int = 0) -> int:
    """The end of the tags that MP3s begin with, and now and then other files."""
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        size = data[at + 6 : at + 10]
        footer = 10 if data[at + 5] & 0x10 else 0
        at += (
            10
            + footer
            + sum((byte & 0x7F) << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=True))
        )
    return min(at, len(data))


def _demand_few(links: int) -> None:
    if links > _MOST_LINKS:
        message = f"more than {_MOST_LINKS:,} recordings follow one another in the file: encode them as one"
        raise SegmentError("unsupported_audio", message)


def _find_flac(data: bytes) -> int | None:
    """The mark of a FLAC, or else its first frame: a stream that was cut out of another begins with that."""
    at = data.find(b"fLaC", 0, _SEARCHED)
    if at >= 0:
        return at
    found = headers(data[:_SEARCHED])
    first = found[0].at if found else None
    follows = any(
        head.number in (found[0].number + 1, found[0].number + found[0].block) for head in found[1:]
    )
    return first if follows else None


def _find_ogg(data: bytes) -> int | None:
    at = data.find(b"OggS\0", 0, 4096)
    return at if at >= 0 else None


# ----------------------------------------------------------------------------- WAV


def wav_links(data: bytes) -> list[bytes]:
    """The WAVs that follow one another in a file, each with its length said. Other files are one."""
    bounds = [0]
    while data.startswith(b"RIFF", bounds[-1]):
        end = bounds[-1] + 8 + int.from_bytes(data[bounds[-1] + 4 : bounds[-1] + 8], "little")
        end += end % 2
        if data[end : end + 4] != b"RIFF" or data[end + 8 : end + 12] != b"WAVE":
            break
        bounds.append(end)
        _demand_few(len(bounds))
    links = [data[start:end] for start, end in pairwise((*bounds, len(data)))]
    return [repair_length(link) if link[:1] in b"Rr" else link for link in links]


def repair_length(data: bytes) -> bytes:
    """A WAV, RF64 or W64 whose writer could not go back and say how long it is, with that said."""
    if data.startswith(_W64_RIFF):
        return _repair_w64_length(data)
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            return _state_length(data, at, size)
        at += 8 + size + size % 2
    return data


def _state_length(data: bytes, at: int, size: int) -> bytes:
    """`size` is what the chunk of samples at byte `at` claims."""
    left = len(data) - at - 8
    ds64 = data.startswith(b"RF64") and data[12:16] == b"ds64"
    stated = int.from_bytes(data[28:36], "little") if ds64 and size == 0xFFFF_FFFF else size
    unwritten = stated in (0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF) or (stated == 0 and not _chunks(data, at + 8))
    if not unwritten or left <= 0 or left >= 0xFFFF_FF00:
        return data
    head = b"RIFF" + (len(data) - 8).to_bytes(4, "little") + data[8:12]
    between = data[20 + int.from_bytes(data[16:20], "little") : at] if ds64 else data[12:at]
    return b"".join((head, between, b"data", left.to_bytes(4, "little"), data[at + 8 :]))


def _chunks(data: bytes, at: int) -> bool:
    """True if all that is left is chunks: then a file that says it holds no samples is right."""
    while at + 8 <= len(data) and data[at : at + 4].isascii() and data[at : at + 4].strip().isalnum():
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return at >= len(data)


def _repair_w64_length(data: bytes) -> bytes:
    at = data.find(_W64_DATA, 40, 1 << 20)
    size = int.from_bytes(data[at + 16 : at + 24], "little") if at >= 0 else 0
    if at < 0 or 24 < size <= len(data) - at:
        return data
    return b"".join(
        (
            _W64_RIFF,
            len(data).to_bytes(8, "little"),
            data[24 : at + 16],
            (len(data) - at).to_bytes(8, "little"),
            data[at + 24 :],
        )
    )


# ----------------------------------------------------------------------------- Ogg


@dataclass(slots=True)
class _Link:
    """One logical stream."""

    start: int
    end: int
    codec: bytes


def ogg_links(data: bytes) -> list[bytes]:
    """The streams of an Ogg that follow one another, each as an Ogg of its own, or as a FLAC where it is one.

    Streams side by side, as in a film, stay together: libsndfile takes the first.
    """
    return [_link(data, link) for link in _ogg_links(data)] or [data]


def ogg_spans(data: ByteSource) -> list[tuple[int, int]]:
    """The first byte and the end of each stream that `ogg_links` gives."""
    return [(link.start, link.end) for link in _ogg_links(data)] or [(0, len(data))]


def _ogg_links(data: ByteSource) -> list[_Link]:
    """None where the first page begins no stream."""
    links: list[_Link] = []
    open_serials: set[bytes] = set()
    for start, end, flags, serial in _pages(data):
        if flags & 2 and not open_serials:
            at = start + 27 + data[start + 26]
            links.append(_Link(start, end, data[at : at + 8]))
            _demand_few(len(links))
        if flags & 2:
            open_serials.add(serial)
        if not links:
            return []
        links[-1].end = end
        if flags & 4:
            open_serials.discard(serial)
    return links


def _link(data: bytes, link: _Link) -> bytes:
    part = data[link.start : link.end]
    return _flac_of(part) if link.codec.startswith(b"\x7fFLAC") else part


def _pages(data: ByteSource) -> Iterator[tuple[int, int, int, bytes]]:
    """Start, end, flags and serial number of each page."""
    at = data.find(b"OggS\0")
    while at >= 0 and at + 27 <= len(data):
        segments = data[at + 26]
        end = at + 27 + segments + sum(data[at + 27 : at + 27 + segments])
        if end > len(data):
            return
        yield at, end, data[at + 5], data[at + 14 : at + 18]
        at = data.find(b"OggS\0", end)


def _flac_of(data: bytes) -> bytes:
    """The FLAC in an Ogg: its packets are the mark with the header, other metadata, and a frame each."""
    serial, flac = data[14:18], bytearray()
    for start, end, _, of in _pages(data):
        if of == serial:
            flac += data[start + 27 + data[start + 26] : end]
    return bytes(flac[9:])  # before the mark: what says that the Ogg holds a FLAC


# ----------------------------------------------------------------------------- MP3

_BIT_RATES = {  # kbit/s by layer and code, for version 1 and for 2 and 2.5
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MP3_TAGS = (b"Xing", b"Info", b"VBRI")


def _mp3_frame(data: ByteSource, at: int) -> int:
    """The size in bytes of the MP3 frame that begins there; 0 if none does."""
    if len(data) < at + 4 or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return 0
    version, layer = data[at + 1] >> 3 & 3, 4 - (data[at + 1] >> 1 & 3)
    bit_code, rate_code, padding = data[at + 2] >> 4, data[at + 2] >> 2 & 3, data[at + 2] >> 1 & 1
    if version == 1 or layer == 4 or bit_code in (0, 15) or rate_code == 3:
        return 0
    family = 1 if version == 3 else 2
    bits = _BIT_RATES[family, layer][bit_code] * 1_000
    rate = _MP3_RATES[version][rate_code]
    if layer == 1:
        return (12 * bits // rate + padding) * 4
    return (72 if layer == 3 and family == 2 else 144) * bits // rate + padding


def _find_mp3(data: bytes) -> int | None:
    """The first place where three frames follow one another, or all there is."""
    if data[:1] == b"\xff" and len(data) > 1 and data[1] & 0xE0 == 0xE0 and data[1] & 6:
        return 0
    at = data.find(b"\xff", 0, _SEARCHED)
    while at >= 0:
        second = at + _mp3_frame(data, at)
        if second > at:
            third = second + _mp3_frame(data, second)
            if third > second and (third >= len(data) or _mp3_frame(data, third)):
                return at
        at = data.find(b"\xff", at + 1, _SEARCHED)
    return None


def mp3_links(data: bytes) -> list[bytes]:
    """The MP3s that follow one another in a file, each from its own tag on; without tags they are one.

    A decoder takes the length from the first tag and leaves out what comes after.
    """
    return [data[start:end] for start, end in pairwise((*mp3_starts(data), len(data)))]


def mp3_starts(data: ByteSource) -> list[int]:
    """The bytes at which the MP3s begin that follow one another in a file."""
    starts, at = [0], skip_id3(data)
    first, lost = True, 0
    while at + 4 <= len(data) and lost < _SEARCHED:
        size = _mp3_frame(data, at)
        if not size:
            lost += 1
            after = skip_id3(data, at)
            at = after if after > at else data.find(b"\xff", at + 1)
            if at < 0:
                break
            continue
        frame = data[at : at + min(size, 64)]
        if any(mark in frame for mark in _MP3_TAGS):
            if not first:
                starts.append(at)
                _demand_few(len(starts))
            first = False
        at += size
    return starts


def flac_info(data: bytes) -> StreamInfo | None:
    """As `StreamInfo.read`, wherever among the metadata it stands."""
    at, last = 4, not data.startswith(b"fLaC")
    while not last and at + 4 <= len(data):
        last, kind = data[at] > 127, data[at] & 127
        if kind == 0:
            return StreamInfo.read(b"fLaC\x80\0\0\x22" + data[at + 4 : at + 38] + b"\0")
        at += 4 + int.from_bytes(data[at + 1 : at + 4])
    return None
