"""Parquet as Hugging Face `datasets`, its viewer and NeMo read it: rows with their audio in them.

`data/<language>/<split>-00000-of-00042.parquet`; of splits in more than a thousand files,
`data/<language>/part-0003/<split>-03017-of-04200.parquet`, since a repository on the hub may hold no more than 10,000
entries a folder. Audio lies there as it was packed: no compression, no statistics, so that a viewer reads a page and
a copy costs what copying costs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lipika.dataset.formats import parquet_reading
from lipika.dataset.formats.base import Format, HashedFile, Index, Portion, ShardWriter, Tree, WrittenFile
from lipika.dataset.formats.fields import audio_md5, source_fields
from lipika.dataset.model import AudioForm, Defect, Layout, ReadBack, Shard, Tarset, Utterance

ROW_GROUP_ROWS = 100
"""Rows a viewer has to read to show one: 9 MB of 8-second clips. Beyond 286 MiB it refuses."""

FILES_PER_FOLDER = 1_000
"""Of one split: nine of them share a folder before it holds 10,000 entries."""

AUDIO = "audio"
_PAGE_BYTES = 1 << 20

_STRING, _FLOAT, _INT, _LONG = pa.string(), pa.float64(), pa.int32(), pa.int64()
COLUMNS: dict[str, pa.DataType] = {
    "id": _STRING,
    AUDIO: pa.struct({"bytes": pa.binary(), "path": _STRING}),
    "text": _STRING,  # names that NeMo looks for unasked: id, audio, text, duration, lang
    "verbatim": _STRING,
    "tagged": _STRING,
    "lang": _STRING,
    "duration": _FLOAT,  # seconds
    "num_samples": _LONG,
    "sampling_rate": _INT,  # Hz
    "speaker_id": _STRING,
    "video_id": _STRING,
    "start_ms": _LONG,
    "end_ms": _LONG,
    "tier": _STRING,
    "quality_score": _FLOAT,
    "lanes": _STRING,  # words, not a list: `datasets` before 4 cannot load the lists of later ones
    "findings": _STRING,
    "flags": _STRING,
    "snr_db": _FLOAT,
    "speech_ms": _LONG,
    "bandwidth_hz": _INT,
    "alignment_score": _FLOAT,
    "speaker_emotion": _STRING,  # not `emotion`: Canary's prompt takes a column of that name for its own
    "speaker_style": _STRING,
    "speaker_pace": _STRING,
    "speaker_accent": _STRING,
    "detected_language": _STRING,
    "language_hint": _STRING,
    "text_source": _STRING,
    "model": _STRING,
    "provider": _STRING,
    "prompt_version": _STRING,
    "validator_version": _STRING,
    "audio_digest": _STRING,
    "audio_md5": _STRING,
    "skip": _STRING,
    "words": _STRING,  # JSON: word, start_ms, end_ms, confidence; lists of `datasets` before 4 differ from later ones
}
"""Every column and its type."""


SOURCE_COLUMNS: dict[str, pa.DataType] = {"source_id": _STRING, "reference": _STRING, "source": _STRING}
"""More of them, in an export of what was packed."""


def _schema(columns: dict[str, pa.DataType]) -> pa.Schema:
    about = json.dumps({"info": {"features": _features(columns)}})
    return pa.schema(list(columns.items()), metadata={"huggingface": about})


def _features(columns: dict[str, pa.DataType]) -> dict[str, dict[str, str]]:
    """The columns in the words of `datasets`, which takes a struct for audio only where it is told to."""
    names = {_STRING: "string", _FLOAT: "float64", _INT: "int32", _LONG: "int64"}
    return {
        name: {"_type": "Audio"} if name == AUDIO else {"dtype": names[kind], "_type": "Value"}
        for name, kind in columns.items()
    }


SCHEMA, _SCHEMA_WITH_SOURCES = _schema(COLUMNS), _schema(COLUMNS | SOURCE_COLUMNS)


class Parquet(Format):
    name = "parquet"
    reader = "Hugging Face datasets, NeMo (Parquet)"
    forms = (AudioForm.FLAC, AudioForm.WAV)
    clips_per_shard = 5_000  # of 8 seconds: about 500 MB

    def audio_path(self, shard: Shard, file: str) -> str:
        del file
        return path_of(shard)

    def open(self, shard: Shard, folder: Path) -> ShardWriter:
        return _Writer(folder / path_of(shard), _SCHEMA_WITH_SOURCES if shard.has_sources else SCHEMA)

    def whole(self, layout: Layout, index: Index) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Nothing: which files belong together stands in the front matter of the card, see `configs`."""
        del layout, index
        yield from ()

    @classmethod
    def recognises(cls, paths: Collection[str]) -> bool:
        return bool(parquet_reading.tables(paths))

    def portions(self, paths: Collection[str], defects: list[Defect]) -> Iterator[Portion]:
        return parquet_reading.portions(paths, defects)

    def read(
        self, tree: Tree, portion: Portion, defects: list[Defect], *, listen: bool = True
    ) -> Iterator[ReadBack]:
        """Rows are numbered from 0, as `datasets` does."""
        for path in portion.paths:
            yield from parquet_reading.read(tree, path, portion.language, defects, decode=listen)


def path_of(shard: Shard) -> str:
    """The place of a shard in the export."""
    part = f"part-{shard.number // FILES_PER_FOLDER:04d}/" if shard.of > FILES_PER_FOLDER else ""
    return f"data/{shard.language}/{part}{shard.split}-{shard.number:05d}-of-{shard.of:05d}.parquet"


def configs(tarsets: Sequence[Tarset]) -> list[dict[str, Any]]:
    """`configs` of a card's front matter: one for each language, with the files of its splits."""
    found: dict[str, list[dict[str, str]]] = {}
    for tarset in tarsets:
        if tarset.shards:
            folder = f"data/{tarset.language}/" + "part-*/" * (tarset.shards > FILES_PER_FOLDER)
            files = {"split": tarset.split, "path": f"{folder}{tarset.split}-*"}
            found.setdefault(tarset.language, []).append(files)
    return [{"config_name": language, "data_files": files} for language, files in found.items()]


class _Writer:
    """One file, a row group at a time."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._out, self._schema = HashedFile(path), schema
        texts = [name for name in schema.names if name != AUDIO]
        leaves = {f"{AUDIO}.bytes": "none", f"{AUDIO}.path": "none"}
        self._file = pq.ParquetWriter(
            pa.PythonFile(self._out, mode="w"),
            schema,
            compression={**dict.fromkeys(texts, "zstd"), **leaves},
            use_dictionary=texts,
            write_statistics=texts,
            column_encoding=dict.fromkeys(leaves, "PLAIN"),
            data_page_size=_PAGE_BYTES,
            write_page_index=True,
            write_page_checksum=True,
        )
        self._rows = list[dict[str, object]]()

    def add(self, utterance: Utterance) -> None:
        self._rows.append(_row(utterance))
        if len(self._rows) == ROW_GROUP_ROWS:
            self._flush()

    def finish(self) -> Iterable[WrittenFile]:
        self._flush()
        self._file.close()
        return (self._out.close(),)

    def _flush(self) -> None:
        if self._rows:
            self._file.write_batch(pa.RecordBatch.from_pylist(self._rows, self._schema), ROW_GROUP_ROWS)
            self._rows.clear()


def _row(utterance: Utterance) -> dict[str, object]:
    """The values of all columns: what the audio says, and the rest as planned."""
    row = utterance.row
    ours: dict[str, object] = {
        AUDIO: {"bytes": utterance.audio, "path": utterance.file},
        "lang": row.language,
        "duration": utterance.duration_s,
        "num_samples": utterance.num_samples,
        "sampling_rate": utterance.sample_rate_hz,
        "speaker_id": row.speaker,
        "audio_md5": audio_md5(utterance).get("audio_md5", ""),
        "speaker_emotion": row.emotion,
        "speaker_style": row.style,
        "speaker_pace": row.pace,
        "speaker_accent": row.accent,
    }
    known = {name: ours[name] if name in ours else getattr(row, name) for name in COLUMNS}
    return known | source_fields(row)
