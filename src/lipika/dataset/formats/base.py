"""The things every format does, and the tar files that three of them are made of."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import orjson

from lipika.archive.tar import END_OF_ARCHIVE, member_header, padding
from lipika.dataset.model import AudioForm, Defect, Layout, ReadBack, Shard, Utterance


class ShardWriter(Protocol):
    """Writes one shard below a folder of its own; nobody else reads there until `finish` has returned."""

    def add(self, utterance: Utterance) -> None: ...

    def finish(self) -> Iterable[WrittenFile]:
        """Write what is left and close the files; they are told as they were meant to be."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of a shard, hashed while it was written. `sha256` is in hexadecimal, `size` in bytes."""

    path: Path
    size: int
    sha256: str


class Index(Protocol):
    """Exported clips, for what is written over all shards; read again and again.

    They come by speaker, and those of a speaker by id, both in the order of bytes (`LC_ALL=C sort`): Kaldi's lists
    are sorted so, and none of the others cares.
    """

    def rows(self, language: str, split: str) -> Iterator[IndexRow]: ...


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One exported clip. `path` is relative to the export; in a tar, that tar's."""

    id: str
    path: str
    text: str
    speaker: str
    sample_rate_hz: int
    num_samples: int


class Format(ABC):
    """One format of datasets. Stateless: it travels to other processes by its name."""

    name: ClassVar[str]
    reader: ClassVar[str]  # what reads it, in words: "NeMo (tarred)"
    forms: ClassVar[Sequence[AudioForm]]  # what it can hold; the first is the usual one
    clips_per_shard: ClassVar[int]
    most_bits: ClassVar[int] = 24  # of a sample of FLAC that its readers take
    seconds: ClassVar[tuple[float, float]] = (0.0, 3600.0)  # of a clip that its readers take
    rows_in_shards: ClassVar[bool] = True  # False: they are in files over all shards, which `whole` writes

    @abstractmethod
    def audio_path(self, shard: Shard, file: str) -> str:
        """The place of a clip's audio in the export: its own file, or the tar or table that holds it."""

    @abstractmethod
    def open(self, shard: Shard, folder: Path) -> ShardWriter:
        """Begin a shard. Files are made below `folder` under the paths that they will have in the export."""

    @abstractmethod
    def whole(self, layout: Layout, index: Index) -> Iterator[tuple[str, Iterator[bytes]]]:
        """(path, content) of what is written once over all shards."""

    @classmethod
    @abstractmethod
    def recognises(cls, paths: Collection[str]) -> bool:
        """True if these files, relative to their folder, look like an export of this format."""

    @abstractmethod
    def portions(self, paths: Collection[str], defects: list[Defect]) -> Iterator[Portion]:
        """The parts that can be read apart: a shard, or a tarset where its rows are in one file.

        What the paths alone give away, such as gaps in numbering or a tar without its rows, is put on `defects`.
        """

    @abstractmethod
    def read(
        self, tree: Tree, portion: Portion, defects: list[Defect], *, listen: bool = True
    ) -> Iterator[ReadBack]:
        """Every clip of a portion, whoever wrote it. To `listen` is to decode the audio to its end.

        What cannot be read, has no row or has no audio is put on `defects` and passed over; nothing is raised for it.
        Memory: the rows of the portion, and the audio of one clip.
        """


@dataclass(frozen=True, slots=True)
class Portion:
    """Files that belong together. Language and split are as the paths say; "" where they do not."""

    language: str
    split: str
    paths: tuple[str, ...]


class Reader(Protocol):
    """An open file; in a bucket, too."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...
    def seekable(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    def close(self) -> None: ...


class Tree(Protocol):
    """A folder or prefix whose files can be read."""

    def open(self, path: str) -> Reader: ...


class HashedFile:
    """A new file, written front to back and hashed on the way."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._file = path, path.open("wb")
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> WrittenFile:
        self._file.close()
        return WrittenFile(self._path, self.size, self._digest.hexdigest())

    @property
    def closed(self) -> bool:
        return self._file.closed


class TarFile:
    """A tar written front to back, deterministic: no times, no owners."""

    def __init__(self, path: Path) -> None:
        self._file = HashedFile(path)

    @property
    def size(self) -> int:
        return self._file.size

    def add(self, name: str, content: bytes) -> int:
        """Write a member; returns the offset of its header."""
        at = self.size
        for piece in (member_header(name, len(content)), content, padding(len(content))):
            self._file.write(piece)
        return at

    def close(self) -> WrittenFile:
        self._file.write(END_OF_ARCHIVE)
        return self._file.close()


class Lines:
    """A text file written line by line, in UTF-8."""

    def __init__(self, path: Path) -> None:
        self._file = HashedFile(path)

    @property
    def size(self) -> int:
        return self._file.size

    def json(self, row: Mapping[str, object]) -> int:
        """Write a line of JSON, keys in their own order; returns where it begins."""
        at = self.size
        self._file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        return at

    def close(self) -> WrittenFile:
        return self._file.close()
