"""LJSpeech's folders, which most trainers of text to speech read.

`<language>/<split>/metadata.csv` has lines `id|text|normalized text` and no header; audio is in `wavs/<id>.wav`
beside it. Readers split at `|` and know no quotes, so that there is no `|` in a text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from lipika.dataset.formats import metadata_reading
from lipika.dataset.formats.base import Format, Index, IndexRow, Portion, ShardWriter, Tree
from lipika.dataset.formats.files import FileWriter, demand_text, one_line, to_bytes
from lipika.dataset.formats.metadata_reading import LIST
from lipika.dataset.model import AudioForm, Defect, Layout, ReadBack, Shard, Utterance


class LJSpeech(Format):
    name = "ljspeech"
    reader = "trainers that read LJSpeech"
    forms = (AudioForm.WAV,)
    clips_per_shard = 5_000
    rows_in_shards = False

    def audio_path(self, shard: Shard, file: str) -> str:
        return f"{shard.language}/{shard.split}/wavs/{file}"

    def open(self, shard: Shard, folder: Path) -> ShardWriter:
        return _Writer(self, shard, folder)

    def whole(self, layout: Layout, index: Index) -> Iterator[tuple[str, Iterator[bytes]]]:
        for tarset in layout.tarsets:
            lines = map(_line, index.rows(tarset.language, tarset.split))
            yield f"{tarset.language}/{tarset.split}/{LIST}", to_bytes(lines)

    @classmethod
    def recognises(cls, paths: Collection[str]) -> bool:
        return bool(metadata_reading.lists(paths))

    def portions(self, paths: Collection[str], defects: list[Defect]) -> Iterator[Portion]:
        return metadata_reading.portions(paths, defects)

    def read(
        self, tree: Tree, portion: Portion, defects: list[Defect], *, listen: bool = True
    ) -> Iterator[ReadBack]:
        """Also F5's, which looks the same but for what its lines say."""
        return metadata_reading.read(tree, portion, defects, listen=listen)


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
