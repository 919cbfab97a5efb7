"""Lists of recordings: CSV, TSV, JSON lines and Parquet, a row at a time.

A row names its recording in `path`, `url`, `audio_filepath` or `audio`; a relative path lies below the list's own
folder. Other columns are known by the names that other tools write; those that are not travel with the segment.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import orjson

from lipika.errors import UsageError
from lipika.packing.items import AudioPlace, SourceItem, SourceRefusal
from lipika.packing.values import json_value, valid_text

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
PLACES = (
    "audio_filepath",
    "path",
    "url",
    "audio",
    "file",
    "filename",
    "file_name",
    "audio_path",
    "wav",
    "file_path",
)
"""Columns that name a recording, the surest first."""

_COLUMNS = {
    "id": ("id", "utt_id", "utterance_id", "segment_id", "key", "uid"),
    "start": ("offset", "start", "start_time", "begin"),
    "end": ("end", "end_time", "stop"),
    "duration": ("duration", "duration_s", "length"),
    "channel": ("channel",),
    "text": ("text", "transcript", "transcription", "sentence", "normalized_text"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk", "spk_id"),
    "language": ("language", "lang", "locale", "language_id"),
    "split": ("split", "subset"),
}
_MOST_FIELD = 16 << 20  # bytes of one field of a CSV
_MOST_LINE = 64 << 20  # bytes of one line of JSON
_BATCH_ROWS = 1_000
_MOST_FORMS = 1_000  # sets of columns that rows of JSON have, remembered
_LOOKED_AT = 100  # rows of JSON lines, each of which may have columns of its own


@dataclass(frozen=True, slots=True)
class ListColumns:
    """The column of each fact, of those that a list has."""

    place: str
    facts: Mapping[str, str]

    @classmethod
    def find(
        cls, names: list[str], language: str | None = None, speaker: str | None = None
    ) -> ListColumns | None:
        """None where no column names a recording."""
        low = {name.strip().lower(): name for name in reversed(names)}
        place = next((low[name] for name in PLACES if name in low), None)
        if place is None:
            return None
        facts = {
            fact: found
            for fact, known in _COLUMNS.items()
            if (found := next((low[name] for name in known if name in low and low[name] != place), None))
        }
        facts |= {fact: name for fact, name in (("language", language), ("speaker", speaker)) if name}
        return cls(place, facts)


@dataclass(frozen=True, slots=True)
class ListSource:
    """A list. `language` and `speaker` name the columns that say these, where they are called otherwise.

    `kind` is `list`.
    """

    root: str
    language: str | None = None
    speaker: str | None = None
    kind: str = "list"

    def items(self, audio: bool = True) -> Iterator[SourceItem | SourceRefusal]:
        """As `PackSource.items`, in the order of the rows.

        Raises:
            UsageError: the file cannot be read, or no column names a recording.
        """
        path = Path(self.root)
        forms: dict[tuple[str, ...], ListColumns | None] = {}
        any_place = False
        for number, row in read_rows(path):
            where = f"{path.name}:{number}"
            if isinstance(row, str):
                yield SourceRefusal(where, "bad_row", row)
                continue
            form = tuple(row)
            if form not in forms:
                if len(forms) >= _MOST_FORMS:
                    forms.clear()
                forms[form] = ListColumns.find(list(form), self.language, self.speaker)
            columns = forms[form]
            if columns is None:
                if not any_place:
                    raise UsageError(no_place(path, list(form)))
                yield SourceRefusal(where, "bad_row", f"none of {', '.join(PLACES)}")
                continue
            any_place = True
            try:
                yield self._item(row, columns, path, number, audio=audio)
            except ValueError as error:
                yield SourceRefusal(where, "bad_row", str(error))

    def _item(
        self, row: Mapping[str, object], columns: ListColumns, path: Path, number: int, *, audio: bool
    ) -> SourceItem:
        """Raises ValueError: the row says no recording, or what it says makes no sense."""
        place = _place(row.get(columns.place), columns.place, path, audio=audio)
        start = _seconds(row, columns, "start") or 0.0
        end, duration = _seconds(row, columns, "end"), _seconds(row, columns, "duration")
        if end is None and duration:
            end = start + duration
        if end is not None and end <= start:
            raise ValueError(f"ends at {end:g} s, at or before its start {start:g} s")
        used = {columns.place, *columns.facts.values()}
        known = _text(row, columns, "id")
        name = place.place if "://" in place.place else os.path.relpath(place.place, path.parent)
        stretch = f"#{start:g}" if start or columns.facts.keys() & {"start"} else ""
        return SourceItem(
            name=valid_text(known or f"{name}{stretch}" if place.place else f"{path.name}:{number}"),
            audio=place,
            start=start,
            end=end,
            channel=_channel(row, columns),
            language=_text(row, columns, "language"),
            speaker=_text(row, columns, "speaker"),
            text=_text(row, columns, "text"),
            split=_text(row, columns, "split"),
            columns={
                str(key): json_value(value)
                for key, value in row.items()
                if key not in used and value is not None
            },
        )


def no_place(path: Path, names: list[str]) -> str:
    """The sentence about a list whose columns name no recording."""
    return (
        f"{path}: no column names a recording. It has {', '.join(map(str, names)) or 'none'}; one of"
        f" {', '.join(PLACES)} is wanted"
    )


def holds_audio(path: Path) -> bool:
    """True for a Parquet file with the bytes of recordings in a column. Raises UsageError: it cannot be read."""
    types = (str(one.type) for one in _parquet_file(path).schema_arrow)
    return any(one.startswith("struct<") and "bytes: " in one for one in types)


def column_names(path: Path) -> list[str]:
    """The columns of a list, without reading the whole of it.

    Raises:
        UsageError: it cannot be read.
    """
    if path.suffix.lower() == ".parquet":
        return list(_parquet_file(path).schema_arrow.names)
    names: dict[str, None] = {}
    for at, (_, row) in enumerate(read_rows(path)):
        if not isinstance(row, str):
            names |= dict.fromkeys(row)
        if at >= _LOOKED_AT or path.suffix.lower() in (".csv", ".tsv"):
            break
    return list(names)


def read_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object] | str]]:
    """(line or row from 1, the row or what is wrong with it).

    Raises:
        UsageError: the file cannot be read at all.
    """
    try:
        match path.suffix.lower():
            case ".csv":
                yield from _csv(path, None)
            case ".tsv":
                yield from _csv(path, "\t")
            case ".parquet":
                yield from enumerate(_parquet(path), 1)
            case _:
                yield from _json_lines(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None


def _csv(path: Path, delimiter: str | None) -> Iterator[tuple[int, Mapping[str, object] | str]]:
    csv.field_size_limit(_MOST_FIELD)
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        lines = (line.replace("\0", "") for line in file)
        head = next(lines, "")
        if delimiter is None:
            delimiter = max(",;\t|", key=head.count)
        plain = delimiter == "\t" and '"' not in head
        quoting: Literal[0, 3] = csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL
        names = next(csv.reader([head], delimiter=delimiter, quoting=quoting), [])
        reader = csv.reader(lines, delimiter=delimiter, quoting=quoting)
        while True:
            at = reader.line_num + 2
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield at, f"not CSV: {error}"
                continue
            if not fields:
                continue
            if len(fields) != len(names):
                yield at, f"{len(fields)} fields where the first line names {len(names)}"
            else:
                yield at, dict(zip(names, fields, strict=True))


def _json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, object] | str]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_MOST_LINE):
            number += 1
            if number == 1 and line.lstrip(b"\xef\xbb\xbf \t").startswith(b"["):
                raise UsageError(
                    f"{path}: one large JSON array; JSON lines are wanted, an object a line:"
                    " jq -c '.[]' FILE > list.jsonl"
                )
            if not line.strip():
                continue
            try:
                row = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
            except orjson.JSONDecodeError as error:
                yield number, f"not JSON: {error}"
                continue
            yield number, row if isinstance(row, dict) else "not an object"


def _parquet_file(path: Path) -> Any:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise UsageError(
            f"{path}: reading Parquet needs pyarrow (the extra `parquet`): pip install pyarrow, or give it as CSV"
            " or JSON lines"
        ) from None
    try:
        return parquet.ParquetFile(path)
    except arrow.ArrowInvalid as error:
        raise UsageError(f"{path} is no Parquet file: {error}") from None


def _parquet(path: Path) -> Iterator[Mapping[str, object]]:
    file = _parquet_file(path)
    wide = any(str(one.type).startswith(("struct", "binary", "large_binary")) for one in file.schema_arrow)
    try:
        for batch in file.iter_batches(16 if wide else _BATCH_ROWS):
            yield from batch.to_pylist()
    except import_module("pyarrow").ArrowInvalid as error:
        raise UsageError(f"{path} is damaged: {error}") from None


def _place(value: object, column: str, path: Path, *, audio: bool) -> AudioPlace:
    if isinstance(value, Mapping):  # as `datasets` writes audio: its bytes, and the name they had
        data, name = value.get("bytes"), value.get("path")
        if isinstance(data, bytes | bytearray):
            return AudioPlace("", data=bytes(data) if audio else None)
        value = name
    if isinstance(value, bytes | bytearray):
        return AudioPlace("", data=bytes(value) if audio else None)
    text = str(value).strip() if value is not None else ""
    if not text:
        raise ValueError(f"nothing in {column}")
    if "\0" in text:
        raise ValueError(f"a NUL in {column}")
    if "://" in text:
        return AudioPlace(text)
    return AudioPlace(os.path.normpath(os.path.join(path.parent, text)))  # noqa: PTH118 - of whatever bytes


def _text(row: Mapping[str, object], columns: ListColumns, fact: str) -> str | None:
    value = row.get(columns.facts.get(fact, ""))
    if value is None or isinstance(value, list | dict | bytes) or value == "":
        return None
    text = str(value).strip()
    if fact == "text" and valid_text(text) != text:
        raise ValueError("the text is not UTF-8")
    return valid_text(text) or None


def _seconds(row: Mapping[str, object], columns: ListColumns, fact: str) -> float | None:
    value = row.get(columns.facts.get(fact, ""))
    if value is None or value == "":
        return None
    try:
        seconds = float(str(value))
    except ValueError:
        raise ValueError(f"{columns.facts[fact]} is {str(value)[:40]!r}: seconds are wanted") from None
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{columns.facts[fact]} is {seconds}: seconds are wanted, from 0")
    return seconds


def _channel(row: Mapping[str, object], columns: ListColumns) -> int | None:
    value = row.get(columns.facts.get("channel", ""))
    if value is None or value == "" or isinstance(value, list):
        return None
    try:
        return int(str(value))
    except ValueError:
        raise ValueError(f"channel is {str(value)[:40]!r}: a number from 0 is wanted") from None
