"""Exports whose clips are files of their own beside lists of texts: what writing Kaldi's and those of TTS shares."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from posixpath import join

from lipika.dataset.formats.base import Format, IndexRow, WrittenFile
from lipika.dataset.model import Layout, Shard, Utterance
from lipika.errors import UsageError

_LINES = 1_000  # written at a time
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ufeff]")


def one_line(text: str) -> str:
    """A text whose words stand apart by one space, without control characters."""
    return " ".join(_CONTROLS.sub(" ", text).split())


def demand_text(written: str, utterance: Utterance) -> None:
    """Raises UsageError where a text as it is written leaves nothing to train on."""
    if not written:
        row = utterance.row
        raise UsageError(
            f"{row.id} has no text that can be written: {row.text!r}; plan the export without it"
        )


class FileWriter:
    """A shard whose clips are files of their own; the rows are written over all shards."""

    def __init__(self, written_by: Format, shard: Shard, folder: Path) -> None:
        self._folder = (folder / written_by.audio_path(shard, "_")).parent
        self._folder.mkdir(parents=True, exist_ok=True)
        self._written = list[WrittenFile]()

    def add(self, utterance: Utterance) -> None:
        path = self._folder / utterance.file
        with path.open("xb") as file:
            file.write(utterance.audio)
        sha256 = hashlib.sha256(utterance.audio).hexdigest()
        self._written.append(WrittenFile(path, len(utterance.audio), sha256))

    def finish(self) -> Iterable[WrittenFile]:
        """Every file is closed already."""
        return self._written


def place_of(layout: Layout, row: IndexRow) -> str:
    """The path of a clip's audio where the export will lie."""
    return join(layout.audio_root, row.path)


def to_bytes(lines: Iterable[str]) -> Iterator[bytes]:
    """Lines, or parts of them, a thousand at a time."""
    rest = iter(lines)
    while piece := "".join(islice(rest, _LINES)):
        yield piece.encode()
