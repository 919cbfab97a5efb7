"""The bytes of a recording, wherever they lie: in memory where they are few, else in a file. Blocks."""

from __future__ import annotations

import os
import stat
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import unquote, urlsplit

from lipika.audio.decoders import scratch_file
from lipika.errors import ObjectMissing, PackingError, Unavailable
from lipika.packing.items import AudioPlace
from lipika.storage.opening import StoreSettings, split_url
from lipika.storage.store import Store

IN_MEMORY = 64 << 20
"""Bytes: as many as a member of an input archive may have."""

_PIECE = 1 << 20
_TRIES, _PATIENCE_S = 3, 30.0


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A recording's bytes: `data`, or a plain file at `path` that stays until the block ends."""

    size: int
    data: bytes = b""
    path: Path | None = None
    name: str = ""

    @property
    def place(self) -> AudioPlace:
        """As decoders are given it."""
        return AudioPlace(self.name, data=self.data) if self.path is None else AudioPlace(str(self.path))

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """A descriptor of a file that holds them."""
        if self.path is None:
            with scratch_file(self.data) as fd:
                yield fd
        else:
            with self.path.open("rb") as file:
                yield file.fileno()


class Fetcher:
    """Opens places.

    Args:
        settings: for reaching buckets.
        scratch: folder for what is too large for memory and lies elsewhere.
    """

    def __init__(self, settings: StoreSettings | None = None, scratch: Path | None = None) -> None:
        self._settings = settings or StoreSettings()
        self._scratch = scratch
        self._stores: dict[str, Store] = {}

    @contextmanager
    def open(self, place: AudioPlace) -> Iterator[Fetched]:
        """The bytes, while the block lasts.

        Raises:
            PackingError: `missing_file`, `empty_file`, `unreadable_file`, `no_such_url`.
            Unavailable: a store stayed away.
        """
        if place.data is not None:
            if not place.data:
                raise PackingError("empty_file", "0 bytes came with the row")
            yield Fetched(len(place.data), data=place.data, name=place.place)
            return
        scheme = place.place.partition("://")[0].lower() if "://" in place.place else ""
        with self._open_file(place) if scheme in ("", "file") else self._open_url(place, scheme) as fetched:
            if fetched.size == 0:
                raise PackingError("empty_file", "0 bytes")
            yield fetched

    def fingerprint(self, place: AudioPlace) -> str:
        """Size and time of change of a file here; "" where that takes asking somebody else, or it is not there."""
        if place.data is not None or "://" in place.place:
            return ""
        with suppress(OSError, ValueError):
            about = os.stat(place.place)  # noqa: PTH116 - of whatever bytes the name is made
            return f"{about.st_size}:{about.st_mtime_ns}"
        return ""

    @contextmanager
    def _open_file(self, place: AudioPlace) -> Iterator[Fetched]:
        path = Path(unquote(urlsplit(place.place).path) if "://" in place.place else place.place)
        try:
            about = path.stat()
            if not stat.S_ISREG(about.st_mode):
                raise PackingError("not_a_file", "a folder, or a device")
            whole = about.st_size if place.size is None else min(place.offset + place.size, about.st_size)
            size = whole - place.offset
            if size <= IN_MEMORY or place.offset or whole < about.st_size:
                with path.open("rb") as file:
                    file.seek(place.offset)
                    with self._hold(place, file, max(size, 0)) as fetched:
                        yield fetched
            else:
                yield Fetched(size, path=path)
        except FileNotFoundError:
            raise PackingError("missing_file", "there is no such file") from None
        except (OSError, ValueError) as error:  # a NUL in a name is a ValueError
            told = getattr(error, "strerror", None) or str(error)
            raise PackingError("unreadable_file", told) from None

    @contextmanager
    def _open_url(self, place: AudioPlace, scheme: str) -> Iterator[Fetched]:
        if scheme == "s3":
            root, key = split_url(place.place)
            try:
                reader = self._store(root).open_read(key)
            except ObjectMissing:
                raise PackingError("missing_file", "there is no such object") from None
            try:
                reader.seek(place.offset)
                left = max(reader.size - place.offset, 0)
                with self._hold(
                    place, reader, left if place.size is None else min(left, place.size)
                ) as fetched:
                    yield fetched
            finally:
                reader.close()
        elif scheme in ("http", "https"):
            with tempfile.SpooledTemporaryFile(
                IN_MEMORY, dir=str(self._scratch) if self._scratch else None
            ) as file:
                _download(place.place, file)
                size = file.tell()
                file.seek(place.offset)
                whole = size - place.offset
                with self._hold(
                    place, file, whole if place.size is None else min(whole, place.size)
                ) as fetched:
                    yield fetched
        else:
            raise PackingError("no_such_url", f"{scheme}:// is not read: s3, http and https are, and files")

    def _store(self, root: str) -> Store:
        if root not in self._stores:
            self._stores[root] = Store.open(root, self._settings)
        return self._stores[root]

    @contextmanager
    def _hold(self, place: AudioPlace, source: _Readable, size: int) -> Iterator[Fetched]:
        if size <= IN_MEMORY:
            yield Fetched(size, data=b"".join(_pieces(source, size)), name=place.place)
            return
        with tempfile.NamedTemporaryFile(dir=self._scratch) as file:
            for piece in _pieces(source, size):
                file.write(piece)
            file.flush()
            yield Fetched(size, path=Path(file.name))


def _pieces(source: _Readable, size: int) -> Iterator[bytes]:
    while size > 0 and (piece := source.read(min(size, _PIECE))):
        size -= len(piece)
        yield piece


def _download(url: str, file: IO[bytes]) -> None:
    """Raises PackingError `no_such_url` where the server says so, Unavailable where it is away."""
    for attempt in range(_TRIES):
        file.seek(0)
        file.truncate()
        try:
            with urllib.request.urlopen(url, timeout=_PATIENCE_S) as reply:  # noqa: S310 - http alone comes here
                stated = reply.headers.get("Content-Length")
                for piece in iter(lambda: reply.read(_PIECE), b""):
                    file.write(piece)
            if stated is None or int(stated) == file.tell():
                return
            trouble = f"{file.tell():,} of {stated} bytes came"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise PackingError("no_such_url", f"the server says {error.code} {error.reason}") from None
            trouble = f"the server says {error.code} {error.reason}"
        except (OSError, ValueError) as error:
            trouble = str(getattr(error, "reason", None) or error)
        if attempt + 1 < _TRIES:
            time.sleep(2.0**attempt)
    host = urlsplit(url).netloc.rpartition("@")[2]
    raise Unavailable(f"{host}: {trouble}, {_TRIES} times. Run the same command again to go on")
