"""The bytes of a recording as a file to be read: a file, a part of one, or bytes in hand."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast, overload

from lipika.errors import PackingError
from lipika.packing.items import AudioPlace


class FilePart(io.RawIOBase):
    """The bytes [offset, offset + size) of a file that can seek, as a file of their own. The file stays open."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file = file
        self._offset = offset
        self._size = max(size, 0)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, to: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + to, 0)  # libsndfile asks for bytes before the first of what is damaged
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # of the buffer protocol
        wanted = min(len(buffer), max(self._size - self._at, 0))
        self._file.seek(self._offset + self._at)
        data = self._file.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


@contextmanager
def open_place(place: AudioPlace) -> Iterator[BinaryIO]:
    """The bytes of `place`, from their beginning; can seek.

    Raises:
        PackingError: `missing_file`, `unreadable_file`; `not_local`: it is a URL, and somebody else fetches.
    """
    if place.data is not None:
        yield io.BytesIO(place.data)
        return
    if "://" in place.place:
        raise PackingError("not_local", f"{place.place} is a URL: fetch it, and decode what came")
    path = Path(place.place)
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise PackingError("missing_file", f"{path}: there is no such file") from error
    except (OSError, ValueError) as error:
        raise PackingError("unreadable_file", f"{path}: {error}") from error
    with file:
        yield part_of(file, place.offset, place.size)


def part_of(file: BinaryIO, offset: int, size: int | None) -> BinaryIO:
    """The file itself, or a part of it that ends where the file does."""
    whole = size_of(file)
    if not offset and (size is None or size >= whole):
        return file
    size = whole - offset if size is None else min(size, whole - offset)
    return patient_part(file, offset, size)


def patient_part(file: BinaryIO, offset: int, size: int) -> BinaryIO:
    """The part, which lets itself be asked for any byte."""
    return cast("BinaryIO", io.BufferedReader(FilePart(file, offset, size), 1 << 16))


def size_of(file: BinaryIO) -> int:
    """In bytes; the file is at its beginning afterwards."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


class FileBytes:
    """A file read like bytes, a piece at a time: for what looks for marks in it."""

    _PIECE = 1 << 20

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = size_of(file)
        self._first, self._piece = 0, b""

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, key: int, /) -> int: ...
    @overload
    def __getitem__(self, key: slice, /) -> bytes: ...
    def __getitem__(self, key: int | slice, /) -> int | bytes:
        if isinstance(key, int):
            return self._bytes(key, key + 1)[0]
        start, end, _ = key.indices(self._size)
        return self._bytes(start, end)

    def find(self, sub: bytes, start: int = 0, end: int | None = None, /) -> int:
        """As `bytes.find`."""
        end = self._size if end is None else min(end, self._size)
        while start + len(sub) <= end:
            reach = min(start + self._PIECE, end)
            at = self._bytes(start, reach).find(sub)
            if at >= 0:
                return start + at
            if reach == end:
                break
            start = reach - len(sub) + 1
        return -1

    def _bytes(self, start: int, end: int) -> bytes:
        if start < self._first or end > self._first + len(self._piece):
            self._file.seek(start)
            self._first, self._piece = start, self._file.read(max(end - start, self._PIECE))
        return self._piece[start - self._first : end - self._first]
