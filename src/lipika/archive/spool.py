"""A video's result archive in the making: clips and results go to disk as they come, the tar is composed at the end.

Memory holds an index of some tens of bytes a clip, so that an archive of gigabytes costs next to nothing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lipika.archive.documents import METADATA_NAME, segment_path, transcription_path
from lipika.archive.tar import BLOCK, END_OF_ARCHIVE, member_header, member_size, padding
from lipika.errors import AccountingError, DiskFull, StorageError

_CHUNK = 1 << 20
_MISSING = -1


class Spool:
    """Files without a name in `folder`: they are gone when the spool closes or the process dies.

    `add_clip` fixes the order; results may follow in any order, one for each clip. `keep` is for what is no part of
    the archive. Not for use by two threads at the same time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._position: dict[str, int] = {}  # clip -> its place in the arrays below
        self._clip_at = array("q")
        self._clip_sizes = array("q")
        self._result_at = array("q")
        self._result_sizes = array("q")
        self._results_size = 0  # of the members to come
        self._kept: _Append | None = None

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._clips = _Append(self._folder, self._open)
            self._results = _Append(self._folder, self._open)
        except OSError as error:
            self._open.close()
            raise _trouble(self._folder, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def add_clip(self, stem: str, flac: bytes) -> None:
        """Append a clip's audio.

        Raises:
            AccountingError: there is a clip of that name.
            DiskFull: nothing was added; the call may be repeated.
            StorageError: the disk is gone.
        """
        if stem in self._position:
            raise AccountingError(f"two clips are named {stem}")
        header = member_header(segment_path(stem), len(flac))
        start = self._write(self._clips, header, flac, padding(len(flac)))
        self._position[stem] = len(self._clip_sizes)
        self._clip_at.append(start + len(header))
        self._clip_sizes.append(len(flac))
        self._result_at.append(_MISSING)
        self._result_sizes.append(0)

    def audio(self, stem: str) -> SpooledPiece:
        """The place of a clip's audio."""
        place = self._position[stem]
        return SpooledPiece(self._clips, self._clip_at[place], self._clip_sizes[place])

    def keep(self, data: bytes) -> SpooledPiece:
        """Put bytes aside that are no part of the archive.

        Raises:
            DiskFull: nothing was kept; the call may be repeated.
            StorageError: the disk is gone.
        """
        if self._kept is None:
            self._kept = self._open_kept()
        return SpooledPiece(self._kept, self._write(self._kept, data), len(data))

    def _open_kept(self) -> _Append:
        try:
            return _Append(self._folder, self._open)
        except OSError as error:
            raise _trouble(self._folder, error) from error

    @property
    def clip_bytes(self) -> int:
        """Bytes of audio."""
        return sum(self._clip_sizes)

    def add_result(self, stem: str, document: bytes) -> None:
        """Append a clip's transcription document.

        Raises:
            AccountingError: no clip of that name, or it has its result already.
            DiskFull: nothing was added; the call may be repeated.
            StorageError: the disk is gone.
        """
        place = self._position.get(stem)
        if place is None:
            raise AccountingError(f"a result for {stem}, which is no clip")
        if self._result_at[place] != _MISSING:
            raise AccountingError(f"a second result for {stem}")
        self._write_result(place, document)
        self._results_size += member_size(transcription_path(stem), len(document))

    def replace_result(self, stem: str, document: bytes) -> None:
        """Put another document in the place of a clip's result; the old one stays in the file, unused."""
        place = self._position[stem]
        path, old_size = transcription_path(stem), self._result_sizes[place]
        self._write_result(place, document)
        self._results_size += member_size(path, len(document)) - member_size(path, old_size)

    def result(self, stem: str) -> bytes:
        """A clip's document, as it was added."""
        return self._result(self._position[stem])

    def _write_result(self, place: int, document: bytes) -> None:
        self._result_at[place] = self._write(self._results, document)
        self._result_sizes[place] = len(document)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the contents of all segments, and of all transcriptions, each joined in the clips' order."""
        self._check_complete()
        segments, transcriptions = hashlib.sha256(), hashlib.sha256()
        at = 0
        for (stem, place), size in zip(self._position.items(), self._clip_sizes, strict=True):
            end = at + member_size(segment_path(stem), size)
            for piece in self._clips.pieces(end - size - -size % BLOCK, size):
                segments.update(piece)
            at = end
            transcriptions.update(self._result(place))
        return {"segments_sha256": segments.hexdigest(), "transcriptions_sha256": transcriptions.hexdigest()}

    def compose(self, metadata: bytes) -> ComposedTar:
        """The finished archive; reading it blocks.

        Raises:
            AccountingError: a clip has no result.
            StorageError: while it is read: the disk is gone.
        """
        self._check_complete()
        size = member_size(METADATA_NAME, len(metadata)) + self._clips.size + self._results_size
        return ComposedTar(size + len(END_OF_ARCHIVE), lambda: _join_small_parts(self._parts(metadata)))

    def _parts(self, metadata: bytes) -> Iterator[bytes]:
        yield _member(METADATA_NAME, metadata)
        yield from self._clips.pieces(0, self._clips.size)
        for stem, place in self._position.items():
            yield _member(transcription_path(stem), self._result(place))
        yield END_OF_ARCHIVE

    def _result(self, place: int) -> bytes:
        return b"".join(self._results.pieces(self._result_at[place], self._result_sizes[place]))

    def _check_complete(self) -> None:
        missing = [stem for stem, place in self._position.items() if self._result_at[place] == _MISSING]
        if missing:
            raise AccountingError(f"{len(missing)} clips have no result, such as {missing[0]}")

    def _write(self, file: _Append, *pieces: bytes) -> int:
        try:
            return file.write(pieces)
        except OSError as error:
            raise _trouble(self._folder, error) from error


@dataclass(frozen=True, slots=True)
class SpooledPiece:
    """Bytes in a spool."""

    _file: _Append
    _start: int
    size: int

    def read(self) -> bytes:
        """The bytes.

        Raises:
            StorageError: the spool has been closed, or its disk is gone.
        """
        return self._file.read(self._start, self.size)


@dataclass(frozen=True, slots=True)
class ComposedTar:
    """A result archive of `size` bytes. `chunks` streams it in pieces of about a megabyte, again and again."""

    size: int
    chunks: Callable[[], Iterator[bytes]]


class _Append:
    """An unnamed file that grows at its end and is read anywhere. A write that fails leaves no trace."""

    def __init__(self, folder: Path, owner: ExitStack) -> None:
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - the owner closes it
        self._file = owner.enter_context(file)
        self._fd = file.fileno()
        self.size = 0

    def write(self, pieces: Iterable[bytes]) -> int:
        """The position at which they begin."""
        start = end = self.size
        left = [memoryview(piece) for piece in pieces]
        while left:
            written = os.pwritev(self._fd, left, end)
            end += written
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if left:
                left[0] = left[0][written:]
        self.size = end
        return start

    def read(self, start: int, size: int) -> bytes:
        """`size` bytes from `start` on. A number of a file that was closed may be another file's by now."""
        if self._file.closed:
            raise StorageError("the spool has been closed")
        try:
            return b"".join(self.pieces(start, size))
        except OSError as error:
            raise StorageError(
                f"the spool cannot be read: {error.strerror or error}; check SPOOL_DIR"
            ) from error

    def pieces(self, start: int, size: int) -> Iterator[bytes]:
        """`size` bytes from `start` on, about a megabyte at a time."""
        end = start + size
        while start < end:
            piece = os.pread(self._fd, min(_CHUNK, end - start), start)
            if not piece:
                raise StorageError("the spool ends too early: its disk lost data")
            yield piece
            start += len(piece)


def _member(name: str, data: bytes) -> bytes:
    return member_header(name, len(data)) + data + padding(len(data))


def _join_small_parts(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Small parts joined until they make about a megabyte."""
    held: list[bytes] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= _CHUNK:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def _trouble(folder: Path, error: OSError) -> StorageError | DiskFull:
    reason = f"cannot spool to {folder}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"{reason}; free some space or set SPOOL_DIR to a larger disk")
    return StorageError(f"{reason}; check SPOOL_DIR")
