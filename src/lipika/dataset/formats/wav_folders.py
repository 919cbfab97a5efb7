"""Folders of WAV with one list beside them, `metadata.csv`: what LJSpeech's and F5's have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lipika.dataset.formats import metadata_reading
from lipika.dataset.formats.base import Format, Portion, Tree
from lipika.dataset.model import AudioForm, Defect, ReadBack, Shard


class WavFolders(Format):
    """`<language>/<split>/metadata.csv`, and audio in `wavs/<id>.wav` beside it."""

    forms = (AudioForm.WAV,)
    clips_per_shard = 5_000
    rows_in_shards = False

    def audio_path(self, shard: Shard, file: str) -> str:
        return f"{shard.language}/{shard.split}/wavs/{file}"

    @classmethod
    def recognises(cls, paths: Collection[str]) -> bool:
        return bool(metadata_reading.lists(paths))

    def portions(self, paths: Collection[str], defects: list[Defect]) -> Iterator[Portion]:
        return metadata_reading.portions(paths, defects)

    def read(
        self, tree: Tree, portion: Portion, defects: list[Defect], *, listen: bool = True
    ) -> Iterator[ReadBack]:
        """Whichever of the two it is: they look the same but for what their lines say."""
        return metadata_reading.read(tree, portion, defects, listen=listen)
