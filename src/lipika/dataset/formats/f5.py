"""The input of F5-TTS's and IndicF5's `prepare_csv_wavs.py`, which makes `raw.arrow` and `duration.json` of it.

`<language>/<split>/metadata.csv` has the header `audio_file|text`; audio is in `wavs/<id>.wav` beside it. The script
refuses paths that are not whole, and reads quotes as CSV has them: one that is left open takes in the lines below it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from itertools import chain
from pathlib import Path

from lipika.dataset.formats.base import Index, ShardWriter
from lipika.dataset.formats.files import FileWriter, demand_text, one_line, place_of, to_bytes
from lipika.dataset.formats.metadata_reading import F5_HEADER, LIST
from lipika.dataset.formats.wav_folders import WavFolders
from lipika.dataset.model import Layout, Shard, Utterance


class F5(WavFolders):
    name = "f5"
    reader = "F5-TTS, IndicF5"
    seconds = (0.4, 30.0)  # its trainer passes others over in silence

    def open(self, shard: Shard, folder: Path) -> ShardWriter:
        return _Writer(self, shard, folder)

    def whole(self, layout: Layout, index: Index) -> Iterator[tuple[str, Iterator[bytes]]]:
        for tarset in layout.tarsets:
            rows = index.rows(tarset.language, tarset.split)
            lines = (_line(place_of(layout, row), one_line(row.text)) for row in rows)
            header = "|".join(F5_HEADER) + "\n"
            yield f"{tarset.language}/{tarset.split}/{LIST}", to_bytes(chain([header], lines))


class _Writer(FileWriter):
    def add(self, utterance: Utterance) -> None:
        demand_text(one_line(utterance.row.text), utterance)
        super().add(utterance)


def _line(path: str, text: str) -> str:
    """One row, quoted where a `|` or a quote asks for it."""
    out = StringIO()
    csv.writer(out, delimiter="|", lineterminator="\n").writerow((path, text))
    return out.getvalue()
