"""The input of F5-TTS's and IndicF5's `prepare_csv_wavs.py`, which makes `raw.arrow` and `duration.json` of it.

`<language>/<split>/metadata.csv` has the header `audio_file|text`; audio is in `wavs/<id>.wav` beside it. The script
refuses paths that are not whole, and reads quotes as CSV has them: one that is left open takes in the lines below it.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from io import StringIO
from itertools import chain
from pathlib import Path

from lipika.dataset.formats import metadata_reading
from lipika.dataset.formats.base import Format, Index, Portion, ShardWriter, Tree
from lipika.dataset.formats.files import FileWriter, demand_text, one_line, place_of, to_bytes
from lipika.dataset.formats.metadata_reading import F5_HEADER, LIST
from lipika.dataset.model import AudioForm, Defect, Layout, ReadBack, Shard, Utterance


class F5(Format):
    name = "f5"
    reader = "F5-TTS, IndicF5"
    forms = (AudioForm.WAV,)
    clips_per_shard = 5_000
    seconds = (0.4, 30.0)  # its trainer passes others over in silence
    rows_in_shards = False

    def audio_path(self, shard: Shard, file: str) -> str:
        return f"{shard.language}/{shard.split}/wavs/{file}"

    def open(self, shard: Shard, folder: Path) -> ShardWriter:
        return _Writer(self, shard, folder)

    def whole(self, layout: Layout, index: Index) -> Iterator[tuple[str, Iterator[bytes]]]:
        for tarset in layout.tarsets:
            rows = index.rows(tarset.language, tarset.split)
            lines = (_line(place_of(layout, row), one_line(row.text)) for row in rows)
            header = "|".join(F5_HEADER) + "\n"
            yield f"{tarset.language}/{tarset.split}/{LIST}", to_bytes(chain([header], lines))

    @classmethod
    def recognises(cls, paths: Collection[str]) -> bool:
        return bool(metadata_reading.lists(paths))

    def portions(self, paths: Collection[str], defects: list[Defect]) -> Iterator[Portion]:
        return metadata_reading.portions(paths, defects)

    def read(
        self, tree: Tree, portion: Portion, defects: list[Defect], *, listen: bool = True
    ) -> Iterator[ReadBack]:
        """Also LJSpeech's, which looks the same but for what its lines say."""
        return metadata_reading.read(tree, portion, defects, listen=listen)


class _Writer(FileWriter):
    def add(self, utterance: Utterance) -> None:
        demand_text(one_line(utterance.row.text), utterance)
        super().add(utterance)


def _line(path: str, text: str) -> str:
    """One row, quoted where a `|` or a quote asks for it."""
    out = StringIO()
    csv.writer(out, delimiter="|", lineterminator="\n").writerow((path, text))
    return out.getvalue()
