"""The tar format itself: headers in, content on demand, deterministic headers out. Pure.

A header is 512 bytes of somebody else's data, so nothing in it is trusted. The parser is our own because
`tarfile` remembers every member and reads a long-name record of any size into memory before it looks at it.
Formats: v7, ustar, GNU and pax (POSIX.1-1988, POSIX.1-2001 and the GNU tar manual).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from lipika.errors import ArchiveError

BLOCK = 512
END_OF_ARCHIVE = bytes(2 * BLOCK)

_ZERO_BLOCK = bytes(BLOCK)
_SKIP_BYTES = 1 << 20
_USTAR_MAX_SIZE = 8**11
_MAX_SIZE = 1 << 43  # more than the 5 TiB an object may have in S3 and R2, less than any seek refuses
_SHOWN_NAME = 200  # characters of a hostile name that a message repeats
_LOOK_AFTER_END = (
    1 << 20
)  # bytes after the end of an archive that are looked at: tars are filled up with zeros

_COMPRESSED = (
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"\xfd7zXZ\x00", "xz", "unxz"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    (b"\x04\x22\x4d\x18", "lz4", "unlz4"),
    (b"PK\x03\x04", "zip", "unzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z", "7z x"),
)

Problem = tuple[str, str]
"""What is wrong with a member: a stable code and a sentence about it."""


# ----------------------------------------------------------------------------- reading


class BinaryReader(Protocol):
    """A stream that an archive is read from. `read` may return less than asked, and b"" only at the end."""

    def read(self, size: int, /) -> bytes: ...


@runtime_checkable
class SeekableReader(Protocol):
    """A reader that can also jump, so that a huge member is skipped without being read."""

    def seekable(self) -> bool: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...


class Source:
    """A stream with a position, and one member's content waiting in it.

    `odd_end` is a note on an archive that ended in an unusual way; it is set after the last member.
    """

    def __init__(self, stream: BinaryReader) -> None:
        self.position = 0
        self.odd_end: Problem | None = None
        self._stream = stream
        self._content = self._padding = 0  # bytes of the current member not read yet
        self._seeker = stream if isinstance(stream, SeekableReader) and stream.seekable() else None

    def block(self) -> bytes:
        """The next 512 bytes; fewer only where the stream ends."""
        return self._read(BLOCK)

    def exactly(self, size: int) -> bytes:
        data = self._read(size)
        if len(data) != size:
            raise _truncation_error(self.position)
        return data

    def begin(self, size: int) -> None:
        self._content, self._padding = size, -size % BLOCK

    def take(self) -> bytes:
        """All content of the current member. The caller has checked its size."""
        size, self._content = self._content, 0
        data = self.exactly(size)
        self._pass_padding()
        return data

    def pieces(self, size: int = _SKIP_BYTES) -> Iterator[bytes]:
        """The rest of the current member's content, so much at a time; one need not take it all."""
        while self._content:
            piece = self.exactly(min(self._content, size))
            self._content -= len(piece)
            yield piece

    def finish(self) -> None:
        """Leave the current member, whatever of it has been read."""
        size, self._content = self._content, 0
        self._skip(size)
        self._pass_padding()

    def restart(self) -> bool:
        """Go back to the start; False where the stream cannot."""
        if self._seeker is None:
            return False
        self._seeker.seek(-self.position, 1)
        self.position = 0
        return True

    def _pass_padding(self) -> None:
        """Pass over what fills the last block; where the stream ends there, the content was whole all the same."""
        size, self._padding = self._padding, 0
        self._read(size)

    def _skip(self, size: int) -> None:
        if self._seeker is not None and size > _SKIP_BYTES:
            # A jump past the end succeeds silently; the last byte is read to see that it is there.
            self._seeker.seek(size - 1, 1)
            self.position += size - 1
            size = 1
        while size:
            step = min(size, _SKIP_BYTES)
            self.exactly(step)
            size -= step

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size) if size else b""
        if len(data) < size and data:
            data = self._read_rest(data, size)
        self.position += len(data)
        return data

    def _read_rest(self, first: bytes, size: int) -> bytes:
        chunks, held = [first], len(first)
        while held < size and (chunk := self._stream.read(size - held)):
            chunks.append(chunk)
            held += len(chunk)
        return b"".join(chunks)


@dataclass(slots=True)
class Entry:
    """One member as its headers describe it. `name` is as stored and may be hostile; `problem` is None
    for plain files and folders that can be used.
    """

    name: str
    kind: bytes
    size: int
    problem: Problem | None = None

    @property
    def is_folder(self) -> bool:
        return self.kind == _FOLDER

    @property
    def shown(self) -> str:
        return printable(self.name)


def printable(name: str) -> str:
    """A hostile name made printable and short, for people, logs and database rows."""
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name[:_SHOWN_NAME])
    return clean if len(name) <= _SHOWN_NAME else f"{clean}…"


_FOLDER = b"5"
_FILES = (b"0", b"\0", b"7")
_WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", _FOLDER, b"6")
_LONG_NAME, _LONG_LINK, _PAX, _PAX_SUN, _PAX_GLOBAL, _GNU_SPARSE = b"L", b"K", b"x", b"X", b"g", b"S"
_EXTENSIONS = (_LONG_NAME, _LONG_LINK, _PAX, _PAX_SUN, _PAX_GLOBAL)
_GNU_FOLDER = b"D"  # of an incremental backup; its content is a list of names
_VOLUME_LABEL = b"V"


_TYPES: Mapping[bytes, Problem] = {
    b"1": ("hard_link", "it is a hard link; store the file itself (tar --hard-dereference)"),
    b"2": ("link", "it is a symbolic link; store the file itself (tar -h)"),
    b"3": ("device", "it is a character device"),
    b"4": ("device", "it is a block device"),
    b"6": ("device", "it is a named pipe"),
    _GNU_SPARSE: ("sparse", "it is a sparse file; write the archive without --sparse"),
}


def _type_problem(kind: bytes) -> Problem | None:
    if kind in _FILES or kind == _FOLDER:
        return None
    return _TYPES.get(kind) or ("unsupported_type", f"tar member type {kind!r} is not a plain file")


def entries(source: Source, max_headers: int, max_extension_bytes: int) -> Iterator[Entry]:
    """Every member; long names and pax records are folded into the one they belong to.

    A member's content may be taken from `source` until the next member is asked for.

    Raises:
        ArchiveError: empty, not_tar, compressed, truncated, bad_header or too_many_headers.
    """
    overrides = _Overrides()
    for _ in range(max_headers):
        block = _next_header(source)
        if block is None:
            return
        kind, size = block[156:157], _size(block, source.position)
        source.begin(0 if kind in _WITHOUT_CONTENT else size)
        if kind in _EXTENSIONS:
            overrides.read(kind, size, source, max_extension_bytes)
        elif kind != _VOLUME_LABEL:
            if kind == _GNU_SPARSE:
                _skip_sparse_map(block, source)
            entry = overrides.apply(block, kind, size)
            source.begin(0 if kind in _WITHOUT_CONTENT else entry.size)
            yield entry
            overrides = _Overrides()
        source.finish()
    raise ArchiveError("too_many_headers", f"the archive has more than {max_headers:,} headers")


def _next_header(source: Source) -> bytes | None:
    """The next header block; None after the zero blocks that end an archive, or where it ends after a member.

    Not every writer ends an archive with zero blocks; one that was cut between two members looks just the same.
    """
    zeros = 0
    while True:
        start = source.position
        block = source.block()
        if start == 0:
            _check_first_block(block)
        if len(block) < BLOCK:
            if block.strip(b"\0"):
                raise _truncation_error(source.position)
            if not zeros:
                source.odd_end = _missing_end_problem(source.position)
            return None
        if block != _ZERO_BLOCK:
            break
        zeros += 1
        if zeros == 2:
            source.odd_end = _trailing_data_problem(source)
            return None
    if not _checksum_fits(block):
        code = "not_tar" if start == 0 else "bad_header"
        what = "this is not a tar archive" if start == 0 else "the archive is damaged"
        raise ArchiveError(code, f"{what}: no valid tar header at byte {start:,}")
    return block


def _missing_end_problem(position: int) -> Problem:
    told = (
        f"the archive ends at byte {position:,} without the two zero blocks that mark the end of a tar. Some tools"
        " leave them out; but if it was cut there, what came after is missing: compare its size with the original's"
    )
    return "no_end_marker", told


def _trailing_data_problem(source: Source) -> Problem | None:
    """A note on what follows the archive's end, if that is anything but zeros; tar itself passes over it, too."""
    end, looked_at = source.position, 0
    while looked_at < _LOOK_AFTER_END and (block := source.block()):
        looked_at += len(block)
        if not block.strip(b"\0"):
            continue
        if len(block) < BLOCK or not _checksum_fits(block):
            return "after_the_end", f"what follows the end, at byte {end:,}, is no tar and is passed over"
        told = (
            f"another tar follows the end of this one, at byte {source.position - BLOCK:,}, and is passed over, as"
            " tar does: give each video a tar of its own; what belongs together is joined by tar -A, not by cat"
        )
        return "after_the_end", told
    return None


def _check_first_block(block: bytes) -> None:
    if not block:
        raise ArchiveError("empty", "the archive is zero bytes long")
    for magic, name, tool in _COMPRESSED:
        if block.startswith(magic):
            raise ArchiveError(
                "compressed", f"the archive is {name}, not a plain tar: unpack it with {tool} first"
            )
    if len(block) < BLOCK:
        raise ArchiveError("not_tar", f"this is not a tar archive: it is only {len(block)} bytes long")


def _truncation_error(position: int) -> ArchiveError:
    return ArchiveError("truncated", f"the archive breaks off at byte {position:,}: copy or upload it again")


def _checksum_fits(block: bytes) -> bool:
    """True if the header's checksum holds, summed as unsigned bytes or, as old tars did, as signed ones."""
    stored = _number(block[148:156])
    rest = block[:148] + block[156:]
    total = 256 + sum(rest)
    return stored == total or stored == total - 256 * sum(byte > 127 for byte in rest)


def _number(field: bytes) -> int | None:
    """A header's number: octal digits, or GNU's base 256 where the first bit is set; None if neither."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:])
    text = field.partition(b"\0")[0].strip()
    if not text:
        return 0
    return int(text, 8) if _OCTAL.fullmatch(text) else None


_OCTAL = re.compile(rb"[0-7]+")


def _size(block: bytes, position: int) -> int:
    size = _number(block[124:136])
    if size is None or size > _MAX_SIZE:
        raise ArchiveError(
            "bad_header", f"the archive is damaged: impossible size in the header before {position:,}"
        )
    return size


def _skip_sparse_map(block: bytes, source: Source) -> None:
    """Old GNU sparse files carry more of their map in blocks between header and content."""
    more = block[482]
    while more:
        more = source.exactly(BLOCK)[504]


class _Overrides:
    """Facts from long-name and pax records about the member that follows them."""

    __slots__ = ("_name", "_problem", "_size", "_sparse")

    def __init__(self) -> None:
        self._name: bytes | None = None
        self._size: int | None = None
        self._sparse = False
        self._problem: Problem | None = None

    def read(self, kind: bytes, size: int, source: Source, max_bytes: int) -> None:
        if kind in (_LONG_LINK, _PAX_GLOBAL):
            return  # where links point and what holds for all members (comments) is of no use here
        if size > max_bytes:
            self._problem = ("bad_header", f"its name or pax record claims {size:,} bytes")
        elif kind == _LONG_NAME:
            self._name = source.take().partition(b"\0")[0]
        else:
            self._read_pax(source.take())

    def apply(self, block: bytes, kind: bytes, size: int) -> Entry:
        """The member described by `block` and these records."""
        raw = self._name if self._name is not None else _header_name(block)
        problem = self._problem
        name = raw.decode(errors="backslashreplace")
        if not _is_utf8(raw.rpartition(b"/")[2]):  # a folder may be named as it likes
            problem = problem or ("bad_name", "the name is not UTF-8")
        if kind == _GNU_FOLDER or (kind in _FILES and name.endswith("/")):
            kind = _FOLDER  # v7 archives mark folders by the slash alone
        if self._sparse:
            kind = _GNU_SPARSE
        problem = problem or _type_problem(kind)
        return Entry(name, kind, size if self._size is None else self._size, problem)

    def _read_pax(self, data: bytes) -> None:
        try:
            for key, value in _pax_records(data):
                self._set(key, value)
        except ValueError:
            self._problem = ("bad_header", "its pax record is damaged")

    def _set(self, key: bytes, value: bytes) -> None:
        if key in (b"path", b"GNU.sparse.name"):
            self._name = value
        elif key == b"size":
            self._size = _pax_size(value)
        self._sparse |= key.startswith(b"GNU.sparse.")


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _pax_size(value: bytes) -> int:
    if not value.isdigit() or len(value) > 20 or int(value) > _MAX_SIZE:
        raise ValueError("impossible size in a pax record")
    return int(value)


def _pax_records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """`<length> <key>=<value>\\n` one after the other. Raises ValueError on anything else."""
    at = 0
    while at < len(data) and data[at]:
        match = _PAX_LENGTH.match(data, at)
        end = at + int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise ValueError("damaged pax record")
        key, equals, value = data[match.end() : end - 1].partition(b"=")
        if not equals:
            raise ValueError("damaged pax record")
        yield key, value
        at = end


_PAX_LENGTH = re.compile(rb"(\d{1,8}) ")


def _header_name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    if block[257:263] != b"ustar\0":
        return name  # GNU and v7 archives keep other things where ustar has the prefix
    prefix = block[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix else name


# ----------------------------------------------------------------------------- writing


def member_header(name: str, size: int) -> bytes:
    """The header of a plain file: ustar, mode 0644, no owner, no time; pax in front only if `name` needs it.

    Raises:
        ValueError: the name is empty or holds a NUL, or the size is negative or 8 GiB and more.
    """
    if not name or "\0" in name or not 0 <= size < _USTAR_MAX_SIZE:
        raise ValueError(f"cannot write a tar member named {name!r} of {size} bytes")
    header = _ustar_header(name.encode("ascii", "replace")[:100], size, b"0")
    if len(name) <= 100 and name.isascii():
        return header
    record = _pax_record("path", name.encode())
    return _ustar_header(b"././@PaxHeader", len(record), b"x") + record + padding(len(record)) + header


def padding(size: int) -> bytes:
    """The zeros that fill the last block of `size` bytes of content."""
    return bytes(-size % BLOCK)


def member_size(name: str, size: int) -> int:
    """Bytes a member takes in the archive: header, content and padding."""
    return len(member_header(name, size)) + size + -size % BLOCK


def _ustar_header(name: bytes, size: int, kind: bytes) -> bytes:
    fields = (
        name.ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,  # mode, uid, gid
        b"%011o\0" % size,
        b"00000000000\0",  # mtime
        b" " * 8,  # the checksum counts itself as spaces
        kind,
        bytes(100),  # link name
        b"ustar\x0000",
        bytes(64),  # user and group names
        b"0000000\0" * 2,  # device numbers
        bytes(167),  # prefix, unused
    )
    block = b"".join(fields)
    return b"%b%06o\0 %b" % (block[:148], sum(block), block[156:])


def _pax_record(key: str, value: bytes) -> bytes:
    body = b" %b=%b\n" % (key.encode(), value)
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return b"%d%b" % (length, body)
