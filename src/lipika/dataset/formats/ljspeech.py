"""LJSpeech's folders, which most trainers of text to speech read.

`<language>/<split>/metadata.csv` has lines `id|text|normalized text` and no header; audio is in `wavs/<id>.wav`
beside it. Readers split at `|` and know no quotes, so that there is no `|` in a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lipika.dataset.formats.base import Index, IndexRow, ShardWriter
from lipika.dataset.formats.files import FileWriter, demand_text, one_line, to_bytes
from lipika.dataset.formats.metadata_reading import LIST
from lipika.dataset.formats.wav_folders import WavFolders
from lipika.dataset.model import Layout, Shard, Utterance


class LJSpeech(WavFolders):
    name = "ljspeech"
    reader = "trainers that read LJSpeech"

    def open(self, shard: Shard, folder: Path) -> ShardWriter:
        return _Writer(self, shard, folder)

    def whole(self, layout: Layout, index: Index) -> Iterator[tuple[str, Iterator[bytes]]]:
        for tarset in layout.tarsets:
            lines = map(_line, index.rows(tarset.language, tarset.split))
            yield f"{tarset.language}/{tarset.split}/{LIST}", to_bytes(lines)


class _Writer(FileWriter):
    def add(self, utterance: Utterance) -> None:
        demand_text(written_text(utterance.row.text), utterance)
        super().add(utterance)


def written_text(text: str) -> str:
    """One line, one space between words, no `|`."""
    return one_line(text.replace("|", " "))


def _line(row: IndexRow) -> str:
    """The text stands there twice: what was spoken has been normalised at planning."""
    text = written_text(row.text)
    return f"{row.id}|{text}|{text}\n"
