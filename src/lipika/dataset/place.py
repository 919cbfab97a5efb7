"""The folder or prefix that an export is written to. Blocking: jobs run in threads or processes of their own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lipika.dataset.formats.base import Reader
from lipika.dataset.model import FileFact
from lipika.errors import ObjectMissing
from lipika.storage import Store, StoreSettings

WORK = ".lipika"
"""The folder of an export that is not whole yet: records of jobs, their indexes, shards that are being written."""

ERASED = ".lipika-erased"
"""A file beside an export some of whose clips were erased since it was made."""

_CLAIMS = f"{WORK}/ours"
_PIECE = 1 << 20
_SMALL = 1 << 30  # bytes, of what is taken as a whole
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ExportPlace:
    """The destination of an export. It travels to other processes; `scratch` is where files are made for a bucket."""

    url: str
    settings: StoreSettings
    scratch: Path | None = None

    @property
    def folder(self) -> Path | None:
        """The local folder; None for a bucket."""
        return None if "://" in self.url else Path(self.url)

    def store(self) -> Store:
        return Store.open(self.url, self.settings, create=True)

    def open(self, path: str) -> Reader:
        return self.store().open_read(path)

    @contextmanager
    def work_folder(self, name: str) -> Iterator[Path]:
        """An empty folder of one's own, from which files can be moved to the export at once."""
        if self.folder is None:
            with tempfile.TemporaryDirectory(prefix="lipika-export-", dir=self.scratch) as made:
                yield Path(made)
            return
        folder = self.folder / WORK / "work" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put_file(self, file: Path, fact: FileFact) -> None:
        """Move a finished file to its place; readers see it whole or not at all."""
        if self.folder is not None:
            target = self.folder / fact.path
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
            return
        _wait(lambda: self.store().put_stream(fact.path, _pieces(file), fact.size, fact.sha256))

    def put(self, path: str, content: bytes) -> FileFact:
        """A small file."""
        fact = FileFact(path, len(content), hashlib.sha256(content).hexdigest())
        if self.folder is None:
            with self.work_folder("") as folder:
                self._put_content(folder / "file", content, fact)
        else:
            work = self.folder / WORK / "work"
            work.mkdir(parents=True, exist_ok=True)
            self._put_content(work / f"put-{os.getpid()}-{fact.sha256[:16]}", content, fact)
        return fact

    def _put_content(self, file: Path, content: bytes, fact: FileFact) -> None:
        file.write_bytes(content)
        self.put_file(file, fact)

    def put_stream(self, path: str, pieces: Iterator[bytes]) -> FileFact:
        """A file of any size, as it comes."""
        digest, size = hashlib.sha256(), 0
        with self.work_folder(
            f"stream-{os.getpid()}-{hashlib.sha256(path.encode()).hexdigest()[:16]}"
        ) as folder:
            file = folder / "file"
            with file.open("wb") as out:
                for piece in pieces:
                    out.write(piece)
                    digest.update(piece)
                    size += len(piece)
            fact = FileFact(path, size, digest.hexdigest())
            self.put_file(file, fact)
        return fact

    def claim(self, name: str, paths: Iterable[str]) -> None:
        """Note down files as ours before they are there: whoever clears what was stopped knows them by that."""
        self.put_stream(f"{_CLAIMS}/{name}", (f"{path}\n".encode() for path in paths))

    def list_claimed(self) -> Iterator[str]:
        """Paths that `claim` has noted down."""
        for note in self.find(_CLAIMS, lambda _: True):
            yield from self.lines(note)

    def get(self, path: str) -> bytes | None:
        """A small file as a whole; None where there is none."""
        try:
            return _wait(lambda: self.store().get_bytes(path, limit=_SMALL))
        except ObjectMissing:
            return None

    def has(self, path: str) -> bool:
        """True if there is such a file."""
        try:
            _wait(lambda: self.store().head(path))
        except ObjectMissing:
            return False
        return True

    def pieces(self, path: str) -> Iterator[bytes]:
        """A file of any size, a megabyte at a time."""
        with closing(self.open(path)) as reader:
            while piece := reader.read(_PIECE):
                yield piece

    def lines(self, path: str) -> Iterator[str]:
        """A text file of any size."""
        rest = b""
        for piece in self.pieces(path):
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line.decode() for line in lines)

    def look_at(self, path: str) -> FileFact:
        """Facts of a file that is there."""
        digest, size = hashlib.sha256(), 0
        for piece in self.pieces(path):
            digest.update(piece)
            size += len(piece)
        return FileFact(path, size, digest.hexdigest())

    def copy_to(self, path: str, file: Path) -> None:
        """Fetch a file."""
        with file.open("wb") as out:
            out.writelines(self.pieces(path))

    def find(self, below: str, wanted: Callable[[str], bool]) -> list[str]:
        """The paths that are wanted of those below a folder."""

        async def list_all() -> list[str]:
            return [info.key async for info in self.store().list(below) if wanted(info.key)]

        return _wait(list_all)

    def find_other(self, known: Callable[[str], bool]) -> str | None:
        """A file that is not known, if there is one; the listing ends there."""

        async def first() -> str | None:
            async for info in self.store().list():
                if not known(info.key):
                    return info.key
            return None

        return _wait(first)

    def remove_file(self, path: str) -> None:
        """One file."""
        if self.folder is not None:
            (self.folder / path).unlink(missing_ok=True)
        else:
            _wait(lambda: self.store().delete(path))

    def remove(self, below: str) -> None:
        """Remove a folder of ours."""
        if self.folder is not None:
            shutil.rmtree(self.folder / below, ignore_errors=True)
            return

        async def remove_all() -> None:
            store = self.store()
            async for info in store.list(below):
                await store.delete(info.key)

        _wait(remove_all)


def sha256_of_file(file: Path) -> str:
    """Hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            yield piece


def _wait(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """In a thread that has no event loop of its own."""
    return asyncio.run(work())
