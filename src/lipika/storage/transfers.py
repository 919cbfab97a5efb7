"""Bytes on their way out of a store and into it, a bounded number at a time."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self

from lipika.errors import StorageError

_md5 = partial(hashlib.md5, usedforsecurity=False)

_MAX_PARTS = 10_000  # of one multipart upload, in S3 and R2
_MIN_PART_BYTES = 5 << 20


class ObjectReader:
    """An object as a blocking file: `read`, `seek`, `tell`, `close`. For one thread; `close` may come from another.

    Errors of `read` are those of the store; after `close` it raises ValueError, as files do.
    """

    def __init__(
        self, size: int, step: int, fetch: Callable[[int, int], memoryview], closing: threading.Event
    ) -> None:
        self.size = size
        self._step = step
        self._fetch = fetch  # (start, end) -> those bytes
        self._closing = closing
        self._position = 0
        self._held = memoryview(b"")
        self._held_at = 0

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, fewer only at the end; all that is left if negative."""
        left = max(0, self.size - self._position)
        wanted = left if size < 0 else min(size, left)
        pieces = []
        while wanted:
            piece = self._window()[:wanted]
            pieces.append(piece)
            self._position += len(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    @property
    def closed(self) -> bool:
        return self._closing.is_set()

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Jump; beyond the end reads give nothing. What is held is kept, as it may serve again."""
        self._position = max(0, offset + (0, self._position, self.size)[whence])
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        """Let go of the buffer, and end a read that waits for the store in another thread."""
        self._closing.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _window(self) -> memoryview:
        """The bytes held from the current position on, fetched if there are none."""
        if self.closed:
            self._held = memoryview(b"")
            raise ValueError("read of a closed object")
        offset = self._position - self._held_at
        if not 0 <= offset < len(self._held):
            self._held = memoryview(b"")  # never two ranges at a time
            self._held = self._fetch(self._position, min(self._position + self._step, self.size))
            self._held_at, offset = self._position, 0
        return self._held[offset:]


FOLDER_BYTES = 1 << 20
"""At a time, to or from a file in a folder. Memory is found and cleared in pieces as large as the request, and large
ones are dear: 5 MB at once took five times the CPU of 1 MB at a time, read or written (ext4, Linux 6.18)."""


def part_size(size: int, wanted: int) -> int:
    """Bytes of a part so that `size` bytes fit into the parts an upload may have; a whole number of MiB."""
    smallest = -(-size // _MAX_PARTS)
    return max(wanted, _MIN_PART_BYTES, -(-smallest // (1 << 20)) << 20)


class UploadParts:
    """Cuts chunks into equal parts on their way out; counts, hashes and compares with what was promised."""

    def __init__(self, size: int, part_bytes: int, promised: str | None, *, with_etag: bool) -> None:
        self.size = size
        self.part_bytes = part_bytes
        self.sha256 = hashlib.sha256()
        self._promised = promised
        self._with_etag = with_etag  # MD5 is three quarters of the hashing, and folders have no use for it
        self._parts = 0
        self._seen = 0
        self._stopped = False
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._md5 = _md5()
        self._md5s: list[bytes] = []
        self._error: Exception | None = None

    def whole(self, chunks: Iterator[bytes]) -> list[bytes]:
        """All there is as it comes, where it goes in one request: joining it would be a copy for nothing."""
        with self._noting_errors():
            for chunk in chunks:
                self._take(chunk)
                self._hold(chunk)
            return self._take_whole()

    async def whole_async(self, chunks: AsyncIterator[bytes]) -> list[bytes]:
        with self._noting_errors():
            async for chunk in chunks:
                self._take(chunk)
                self._hold(chunk)
            return self._take_whole()

    def cut(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        with self._noting_errors():
            for chunk in chunks:
                yield from self._add(chunk)
            yield from self._finish()

    async def cut_async(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        with self._noting_errors():
            async for chunk in chunks:
                for part in self._add(chunk):
                    yield part
            for part in self._finish():
                yield part

    def etag(self) -> str:
        """The tag of S3 and R2 for these parts, unless they encrypt with a key of the user's; needs `with_etag`."""
        if self.size <= self.part_bytes:
            return self._md5s[0].hex()
        joined = hashlib.md5(b"".join(self._md5s), usedforsecurity=False).hexdigest()
        return f"{joined}-{len(self._md5s)}"

    def stop(self) -> None:
        """Break the upload off at the next chunk."""
        self._stopped = True

    @contextmanager
    def own_error(self) -> Iterator[None]:
        """Lets an error of the source through as it was, instead of what the store made of it."""
        try:
            yield
        except Exception:
            if self._error is not None:
                raise self._error from None
            raise

    @contextmanager
    def _noting_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._error = error
            raise

    def _take(self, chunk: bytes) -> None:
        if self._stopped:
            raise StorageError("the upload was cancelled; nothing was stored")
        self._seen += len(chunk)
        if self._seen > self.size:
            raise StorageError(
                f"the source gives more than the promised {self.size:,} bytes; nothing was stored"
            )
        self.sha256.update(chunk)

    def _add(self, chunk: bytes) -> Iterator[bytes]:
        self._take(chunk)
        while self._held_bytes + len(chunk) >= self.part_bytes:
            missing = self.part_bytes - self._held_bytes
            self._hold(chunk[:missing])
            chunk = chunk[missing:]
            yield self._part()
        self._hold(chunk)

    def _hold(self, piece: bytes) -> None:
        self._held.append(piece)
        self._held_bytes += len(piece)
        if self._with_etag:
            self._md5.update(piece)

    def _take_whole(self) -> list[bytes]:
        self._check_all_came()
        return self._end_part()

    def _finish(self) -> Iterator[bytes]:
        self._check_all_came()
        if self._held_bytes or not self._parts:
            yield self._part()

    def _check_all_came(self) -> None:
        if self._seen != self.size:
            raise StorageError(f"the source gave {self._seen:,} of {self.size:,} bytes; nothing was stored")
        if self._promised is not None and self._promised != self.sha256.hexdigest():
            raise StorageError("the source's bytes are not those of its SHA-256; nothing was stored")

    def _part(self) -> bytes:
        return b"".join(self._end_part())

    def _end_part(self) -> list[bytes]:
        """The part that is held; counted."""
        part, self._held, self._held_bytes = self._held, [], 0
        self._parts += 1
        self._md5s.append(self._md5.digest())
        self._md5 = _md5()
        return part
