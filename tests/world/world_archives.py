"""Archives as the world has them, made by seed: other packers' habits, and copies that went wrong.

A habit must change nothing: all segments are found. Damage may cost segments or the video, never more, and never
without a reason that a person can read.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

STEMS = ("sp0_00000_00230", "sp1_00300_00530", "sp0_00600_00830")


@dataclass(frozen=True, slots=True)
class Box:
    """One archive. `whole`: its three segments must be found. `name` is its file's."""

    what: str
    name: str
    data: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class Content:
    """What goes into an archive: three segments, and metadata as they came."""

    segments: tuple[bytes, bytes, bytes]
    metadata: bytes = b'{"video_id": "v", "language": "hi"}'


def a_box(chance: random.Random, number: int, segments: tuple[bytes, bytes, bytes]) -> Box:
    """One archive, of any kind."""
    content = Content(segments)
    if chance.random() < 0.4:
        what, data = chance.choice(_HABITS)(chance, content)
        return Box(what, f"box_{number:05d}.tar", data, whole=True)
    if chance.random() < 0.4:
        what, metadata, good = chance.choice(_METADATA)(chance)
        data = packed(Content(segments, metadata))
        return Box(f"metadata: {what}", f"box_{number:05d}.tar", data, whole=good)
    what, data = _damaged(chance, packed(content))
    return Box(what, f"box_{number:05d}.tar", data, whole=False)


def packed(
    content: Content,
    *,
    folder: str = "segments/",
    before: str = "",
    form: int = tarfile.PAX_FORMAT,
    change: Callable[[tarfile.TarInfo], object] = lambda _info: None,
    extra: tuple[tuple[str, bytes], ...] = (),
) -> bytes:
    """A tar as Python's tarfile writes it; `extra` members come between the segments."""
    members = [(f"{before}metadata.json", content.metadata)]
    for number, (stem, data) in enumerate(zip(STEMS, content.segments, strict=True)):
        members.append((f"{before}{folder}{stem}.flac", data))
        members += [(before + name, more) for name, more in extra[number::3]]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            change(info)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


# ----------------------------------------------------------------------------- habits

Made = tuple[str, bytes]


def _form(chance: random.Random, content: Content) -> Made:
    form = chance.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    return f"format {form}", packed(content, form=form)


def _folders(chance: random.Random, content: Content) -> Made:
    before = chance.choice(
        ("./", "video/", "./video/", "a/b/c/", "/data/", "/mnt/x/y/", "/", "वीडियो/", "a b/", "x" * 120 + "/")
    )
    return f"leading {before[:30]!r}", packed(content, before=before)


def _segments_folder(chance: random.Random, content: Content) -> Made:
    folder = chance.choice(("Segments/", "SEGMENTS/", "./segments/", ""))
    return f"segments in {folder!r}", packed(content, folder=folder)


def _no_end(chance: random.Random, content: Content) -> Made:
    data = packed(content).rstrip(b"\0")
    short = data + bytes(-len(data) % 512)
    return "no end marker", short + bytes(chance.choice((0, 512)))


def _long_end(chance: random.Random, content: Content) -> Made:
    return "more after the end", packed(content) + bytes(512 * chance.randrange(1, 400))


def _beside(chance: random.Random, content: Content) -> Made:
    others = (
        (f"segments/._{STEMS[0]}.flac", b"\0\5\x16\7" + bytes(100)),
        (".DS_Store", b"\0\0\0\1Bud1"),
        ("README.md", b"# about"),
        (f"segments/{STEMS[1]}.txt", b"what was said"),
        (f"segments/{STEMS[1]}.json", b"{}"),
        ("segments/Thumbs.db", b"x"),
        ("__MACOSX/._x", b"x"),
        ("segments/.hidden", b""),
        ("empty", b""),
    )
    return "other files beside", packed(content, extra=tuple(chance.sample(others, 3)))


def _facts(chance: random.Random, content: Content) -> Made:
    """Owners, times and modes that a header can hardly hold."""

    def odd(info: tarfile.TarInfo) -> None:
        info.mtime = chance.choice((0, 1, 2**33, 1_700_000_000, 1_700_000_000.123456))
        info.uid = chance.choice((0, 65_534, 2**22, 2**31))
        info.uname = chance.choice(("", "राम", "a" * 31))
        info.mode = chance.choice((0, 0o777, 0o4755))

    form = chance.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    return "odd owners and times", packed(content, form=form, change=odd)


def _pax(chance: random.Random, content: Content) -> Made:
    def noted(info: tarfile.TarInfo) -> None:
        info.pax_headers = chance.choice(
            (
                {"comment": "x" * 2000},
                {"SCHILY.xattr.user.note": "ö" * 100},
                {"LIBARCHIVE.creationtime": "1.5"},
                {"hdrcharset": "BINARY"},
            )
        )

    return "extended headers", packed(content, change=noted)


def _twice(_chance: random.Random, content: Content) -> Made:
    data = packed(content)
    return "joined with itself", data + data


_HABITS: tuple[Callable[[random.Random, Content], Made], ...] = (
    _form,
    _folders,
    _segments_folder,
    _no_end,
    _long_end,
    _beside,
    _facts,
    _pax,
    _twice,
)


# ----------------------------------------------------------------------------- metadata

Described = tuple[str, bytes, bool]
"""What it is, the document, and whether the video must come through all the same."""


def _nested(chance: random.Random) -> Described:
    depth = chance.choice((10, 31, 60, 500, 100_000))
    return f"{depth} lists in each other", b'{"a": ' + b"[" * depth + b"]" * depth + b"}", True


def _wide(chance: random.Random) -> Described:
    size = chance.choice((10_000, 900_000, 3_000_000))
    return f"{size} bytes", json.dumps({"note": "x" * size}).encode(), True


def _many(_chance: random.Random) -> Described:
    return "200,000 keys", json.dumps({str(key): key for key in range(200_000)}).encode(), True


def _odd(chance: random.Random) -> Described:
    what, data = chance.choice(
        (
            ("a big integer", b'{"id": 123456789012345678901234567890}'),
            ("a float that is one", b'{"x": 1.0, "y": 1e400, "z": -0.0}'),
            ("NaN", b'{"snr": NaN, "language": "hi"}'),
            ("Infinity", b'{"snr": -Infinity}'),
            ("a mark at its start", b'\xef\xbb\xbf{"language": "hi"}'),
            ("latin-1", '{"title": "caf\xe9", "language": "hi"}'.encode("latin-1")),
            ("UTF-16", '{"language": "hi"}'.encode("utf-16")),
            ("a lone surrogate", b'{"title": "\\ud83d", "language": "hi"}'),
            ("a key twice", b'{"language": "hi", "language": "ta"}'),
            ("no object", b'["hi"]'),
            ("only a number", b"7"),
            ("nothing", b""),
            ("no JSON", b"language: hi\n"),
            ("a comma too many", b'{"language": "hi",}'),
            ("zeros", bytes(1000)),
            ("our own word in it", b'{"transcription": {"clips": -1}, "language": "hi"}'),
            ("an odd language", b'{"language": ["hi", 3]}'),
            ("an unknown language", b'{"language": "xx-Klingon"}'),
        )
    )
    return what, data, True


_METADATA: tuple[Callable[[random.Random], Described], ...] = (_nested, _wide, _many, _odd, _odd, _odd, _odd)


# ----------------------------------------------------------------------------- damage


def _damaged(chance: random.Random, data: bytes) -> Made:
    """The same bytes after something has happened to them."""
    broken = bytearray(data)
    done = []
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.randrange(len(broken)) if broken else 0
        header = at // 512 * 512
        match chance.randrange(8):
            case 0:
                done.append("cut off")
                del broken[at:]
            case 1:
                done.append("bits flipped")
                for _ in range(min(chance.randrange(1, 40), len(broken))):
                    broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
            case 2:
                done.append("a hole")
                del broken[at : at + chance.randrange(1, 3_000)]
            case 3:
                done.append("a stretch twice")
                broken[at:at] = broken[at : at + chance.randrange(1, 3_000)]
            case 4:
                done.append("a lying size")
                size = chance.choice((0, 1, 2**33 - 1, 600, chance.getrandbits(33)))
                _rewrite(broken, _a_header(broken, chance), 124, f"{size:011o}\0".encode())
            case 5:
                done.append("another type")
                _rewrite(
                    broken, _a_header(broken, chance), 156, chance.choice(b"12345678SDKLNxgXZ").to_bytes()
                )
            case 6:
                done.append("an odd name")
                name = chance.choice(
                    (b"../../etc/passwd", b"\xff\xfe\x00", b"segments/\r\n.flac", b"/", b"a" * 100)
                )
                _rewrite(broken, _a_header(broken, chance), 0, name.ljust(100, b"\0"))
            case _:
                done.append("noise in it")
                broken[header : header + 600] = chance.randbytes(600)
    return ", ".join(done), bytes(broken)


def _a_header(data: bytearray, chance: random.Random) -> int:
    places = [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"]
    return chance.choice(places) if places else 0


def _rewrite(data: bytearray, header: int, at: int, field: bytes) -> None:
    """Change a header's field and mend its checksum: only what is said is wrong, not the header."""
    if len(data) < header + 512:
        return
    data[header + at : header + at + len(field)] = field
    data[header + 148 : header + 156] = b" " * 8
    total = sum(data[header : header + 512])
    data[header + 148 : header + 156] = f"{total:06o}\0 ".encode()
