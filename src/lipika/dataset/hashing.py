"""Files read again and held against the SHA-256 that they should have, at the cost of one reading."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import closing

from lipika.dataset.formats.base import Reader
from lipika.dataset.model import Defect
from lipika.errors import ObjectMissing

SUMS = "SHA256SUMS"
"""The file with the checksums of all others."""

_PIECE = 1 << 20


class HashingTree:
    """Files that have a checksum. What is read of them is hashed on the way."""

    def __init__(self, open_file: Callable[[str], Reader], sums: Mapping[str, str]) -> None:
        self._open, self._sums = open_file, sums
        self._found: dict[str, str] = {}

    def open(self, path: str) -> Reader:
        reader = self._open(path)
        return _Hashing(reader, path, self._found) if path in self._sums else reader

    def check(self) -> list[Defect]:
        """Files with other bytes than they should have; those that were not read to their end are read now."""
        defects = []
        for path, sha256 in self._sums.items():
            try:
                found = self._found.get(path) or self._hash(path)
            except (ObjectMissing, FileNotFoundError):
                found = "none"
            if found != sha256.lower():
                defects.append(Defect(path, "checksum", f"its SHA-256 is {found}, and was to be {sha256}"))
        return defects

    def _hash(self, path: str) -> str:
        digest = hashlib.sha256()
        with closing(self._open(path)) as reader:
            while piece := reader.read(_PIECE):
                digest.update(piece)
        return digest.hexdigest()


class _Hashing:
    """A reader that hashes what passes, as long as nobody jumps."""

    def __init__(self, reader: Reader, path: str, found: dict[str, str]) -> None:
        self._reader, self._path, self._found = reader, path, found
        self._digest, self._at = hashlib.sha256(), 0

    def read(self, size: int = -1, /) -> bytes:
        start = self._reader.tell()
        data = self._reader.read(size)
        if start == self._at:
            self._digest.update(data)
            self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()

    def seekable(self) -> bool:
        return self._reader.seekable()

    @property
    def closed(self) -> bool:
        return self._reader.closed

    def close(self) -> None:
        """The rest is read, where it is but little."""
        if self.closed:
            return
        if self._reader.tell() == self._at:
            rest = self._reader.read(_PIECE)
            self._digest.update(rest)
            if len(rest) < _PIECE:
                self._found[self._path] = self._digest.hexdigest()
        self._reader.close()
