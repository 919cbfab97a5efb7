"""Anybody's Parquet with audio in it, read back: Hugging Face's columns by their names, in the common spellings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, cast

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from lipika.dataset.formats.base import Portion, Tree
from lipika.dataset.formats.tar_reading import Said, TarMember, hear, number_in, text_in
from lipika.dataset.model import Defect, ReadBack

_ROWS = 16  # at a time, with their audio
_READ_BYTES = 1 << 20  # a page at a time, not a column of a row group
_SHARD = re.compile(r"(?P<split>.+?)-(?P<number>\d{4,})-of-(?P<of>\d{4,})(-[0-9a-f]+)?\.parquet")
_OURS = re.compile(r"data/(?P<language>[^/]+)/(part-\d{4}/)?[^/]+")
_LOSSLESS = (b"fLaC", b"RIFF", b"RF64", b"FORM", b"riff")  # how files begin whose coding loses nothing
_NO_SKIP = ("", "False", "0")
_PART = re.compile(r"part-\d{4}")
_UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)
_NO_DATA = {"plan.parquet", "dropped.parquet"}  # what an export keeps of its own

_NAMES: Mapping[str, Sequence[str]] = {
    "text": ("text", "sentence", "transcription", "transcript", "normalized_text", "raw_text"),
    "id": ("id", "utt_id", "segment_id"),
    "language": ("lang", "language", "locale"),
    "speaker": ("speaker_id", "speaker", "client_id"),
    "duration": ("duration", "duration_s"),
    "rate": ("sampling_rate", "sample_rate"),
    "samples": ("num_samples", "samples"),
    "video": ("video_id",),
    "skip": ("skip",),
    "md5": ("audio_md5",),
}
"""What columns are called, the first that is there being taken."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A file's name in parts. `folder` is without that of a part; `of` is 0 where the name counts nothing."""

    path: str
    folder: str
    split: str
    number: int
    of: int
    language: str

    @classmethod
    def parse(cls, path: str) -> _Name:
        where = PurePosixPath(path)
        folder = where.parent.parent if _PART.fullmatch(where.parent.name) else where.parent
        ours = _OURS.fullmatch(path)
        language = ours["language"] if ours else ""
        counted = _SHARD.fullmatch(where.name)
        if counted is None:
            return cls(path, str(folder), "", 0, 0, language)
        return cls(path, str(folder), counted["split"], int(counted["number"]), int(counted["of"]), language)


def tables(paths: Collection[str]) -> list[str]:
    """Those that hold data, in order."""
    return sorted(path for path in paths if path.endswith(".parquet") and path not in _NO_DATA)


def portions(paths: Collection[str], defects: list[Defect]) -> Iterator[Portion]:
    """One for each file; files that are not there by their numbers are put on `defects`."""
    names = [_Name.parse(path) for path in tables(paths)]
    splits: dict[tuple[str, str], list[_Name]] = {}
    for name in names:
        if name.of:
            splits.setdefault((name.folder, name.split), []).append(name)
    for shards in splits.values():
        defects.extend(_gaps(shards))
    for name in names:
        yield Portion(name.language, name.split, (name.path,))


def _gaps(shards: Sequence[_Name]) -> Iterator[Defect]:
    """All that the numbers of a split's files do not say alike, or leave out, or say twice."""
    stated = Counter(shard.of for shard in shards)
    of = stated.most_common(1)[0][0]
    for shard in shards:
        if shard.of != of:
            yield Defect(shard.path, "shard_count", f"its name says {shard.of} files, the others say {of}")
        elif shard.number >= of:
            yield Defect(shard.path, "shard_number", f"number {shard.number} of {of} files, counted from 0")
    seen: dict[int, str] = {}
    for shard in shards:
        if seen.setdefault(shard.number, shard.path) != shard.path:
            message = f"number {shard.number} again: {seen[shard.number]} has it, too"
            yield Defect(shard.path, "shard_number", message)
    first = shards[0]
    for number in sorted(set(range(of)) - seen.keys()):
        place = f"{first.folder}/{first.split}-{number:05d}-of-{of:05d}.parquet"
        yield Defect(place, "missing_shard", f"file {number} of {of} is not there")


# ----------------------------------------------------------------------------- one file


def read(tree: Tree, path: str, language: str, defects: list[Defect], *, decode: bool) -> Iterator[ReadBack]:
    """Every clip of a file whose audio is sound; the rest is put on `defects`.

    A row group that cannot be read is passed over. Memory: the ids, and the audio of a few rows.
    """
    try:
        with closing(tree.open(path)) as stream:
            file = pq.ParquetFile(
                pa.PythonFile(stream, mode="r"), buffer_size=_READ_BYTES, page_checksum_verification=True
            )
            columns = _Columns.find(file)
            if columns is None:
                message = f"no column of bytes and path, as audio has it, among {', '.join(file.schema_arrow.names)}"
                defects.append(Defect(path, "no_audio_column", message))
                return
            yield from _Table(path, file, columns, language, defects, decode).clips()
    except _UNREADABLE as error:
        defects.append(Defect(path, "truncated", f"no whole Parquet file: {_first_line(error)}"))


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a file that are read, by what they are to us; "" is not there."""

    audio: str
    names: Mapping[str, str]

    @classmethod
    def find(cls, file: pq.ParquetFile) -> _Columns | None:
        schema = file.schema_arrow
        audio = _audio_column(schema)
        if audio is None:
            return None
        there = set(schema.names)
        names = {
            ours: next((name for name in theirs if name in there), "") for ours, theirs in _NAMES.items()
        }
        return cls(audio, names)

    @property
    def all(self) -> list[str]:
        return [self.audio, *filter(None, self.names.values())]


def _audio_column(schema: pa.Schema) -> str | None:
    """The one that `datasets` calls audio, else the one that looks like it."""
    fit = [
        field.name
        for field in schema
        if pa.types.is_struct(field.type) and {"bytes", "path"} <= {child.name for child in field.type.fields}
    ]
    features = _features(schema.metadata or {})
    marked = [name for name in fit if features.get(name) == "Audio"]
    return next(iter(marked or [name for name in fit if name == "audio"] or fit), None)


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, object]:
    """The type of each column, as `datasets` noted it down; none where it did not."""
    try:
        features = orjson.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: feature.get("_type") for name, feature in features.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


@dataclass(frozen=True, slots=True)
class _Table:
    """An open file."""

    path: str
    file: pq.ParquetFile
    columns: _Columns
    language: str
    defects: list[Defect]
    decode: bool

    def clips(self) -> Iterator[ReadBack]:
        ids = self._ids()
        first = 0
        for group in range(self.file.num_row_groups):
            rows = self.file.metadata.row_group(group).num_rows
            try:
                yield from self._group(group, first, ids)
            except _UNREADABLE as error:
                message = f"rows {first} to {first + rows - 1} cannot be read: {_first_line(error)}"
                self.defects.append(Defect(self.path, "truncated", message))
            first += rows

    def _ids(self) -> frozenset[str]:
        """All ids of the file, as far as they can be read."""
        column = self.columns.names["id"]
        found = set[str]()
        for group in range(self.file.num_row_groups if column else 0):
            try:
                found.update(map(str, self.file.read_row_group(group, [column])[column].to_pylist()))
            except _UNREADABLE:
                continue  # reading its rows says so
        return frozenset(found)

    def _group(self, group: int, first: int, ids: frozenset[str]) -> Iterator[ReadBack]:
        number = first
        for batch in self.file.iter_batches(_ROWS, [group], self.columns.all):
            for row in batch.to_pylist():
                clip = self._clip(cast("dict[str, Any]", row), number, ids)
                number += 1
                if clip is not None:
                    yield clip

    def _clip(self, row: Mapping[str, Any], number: int, ids: frozenset[str]) -> ReadBack | None:
        place = f"{self.path} row {number}"
        audio = row[self.columns.audio] or {}
        content, file = audio.get("bytes"), audio.get("path") or ""
        said = self._words_of(
            row, place, PurePosixPath(file).stem or f"{PurePosixPath(self.path).stem}-{number}"
        )
        if not content:
            lack = "no audio" if content is None else "audio of 0 bytes"
            self.defects.append(Defect(place, "missing_audio", f"{said.id}: {lack}"))
            return None
        if (stem := PurePosixPath(file).stem) != said.id and stem in ids:
            self.defects.append(
                Defect(place, "swapped_audio", f"{said.id} has the audio of {stem}, by its path")
            )
            said = replace(said, md5="")
        heard = hear(TarMember(place, file or said.id, content), self.defects, listen=self.decode)
        if heard is None:
            return None
        return said.join(replace(heard, exact=content.startswith(_LOSSLESS)), self.defects)

    def _words_of(self, row: Mapping[str, Any], place: str, name: str) -> Said:
        """The words of a row; `name` is its id where it has none."""
        names = self.columns.names
        stated = {what: row.get(names[what]) for what in ("id", "speaker", "video", "skip")}
        words = {what: "" if value is None else str(value) for what, value in stated.items()}
        return Said(
            id=words["id"] or name,
            place=place,
            text=text_in(row, names["text"]),
            language=text_in(row, names["language"]) or self.language,
            speaker=words["speaker"],
            video_id=words["video"],
            duration_s=number_in(row, names["duration"]),
            sample_rate_hz=int(number_in(row, names["rate"])),
            num_samples=int(number_in(row, names["samples"])),
            md5=text_in(row, names["md5"]),
            skip=words["skip"] not in _NO_SKIP,
        )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
