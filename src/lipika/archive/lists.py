"""Lists of videos (CSV, JSON lines, Parquet) as rows for the queue.

Columns: `video_id`, and where there are any `source_key` (or `url`, or `path`), `output_key`, `language`, `priority`,
`segment_count` and `source_bytes`; others are passed over, and named by `list_other_columns`. Without `source_key`
the archive's key is made from the video id. Keys are below STORE_URL; where there is none, a `path` is one beside the
list.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from lipika.archive.sources import OUTPUT_SUFFIX, object_url
from lipika.errors import UsageError
from lipika.languages import find_language
from lipika.models import HintFrom, NewVideo

SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet")
_KEYS = ("source_key", "url", "path")
_COLUMNS = ("video_id", *_KEYS, "output_key", "language", "priority", "segment_count", "source_bytes")
_LOOKED_AT = 1000  # rows of JSON lines, each of which may have columns of its own
_BATCH_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Defaults:
    """Values for what a row does not say itself."""

    out: str = ""  # root of the results; empty: keys below the workers' OUTPUT_URL
    key_template: str = "{video_id}.tar"
    language: str | None = None
    priority: int = 0
    forced_language: str | None = None  # goes before what a row says
    below_store: bool = True  # whether there is a STORE_URL, below which keys can be

    def source_key(self, video_id: str) -> str:
        return self.key_template.replace("{video_id}", video_id)

    def output_key(self, video_id: str) -> str:
        name = f"{video_id}{OUTPUT_SUFFIX}"
        return object_url(self.out, name) if self.out else name


def is_list(source: str) -> bool:
    """True if a source is a list of videos rather than an archive or a folder."""
    return Path(source).suffix.lower() in SUFFIXES


def read_list(path: Path, defaults: Defaults) -> Iterator[NewVideo]:
    """The videos of a list, in its order.

    Raises:
        UsageError: the file cannot be read or a row will not do; names file, row and cause.
    """
    with _named_troubles(path):
        for number, row in _rows(path):
            yield _video(row, defaults, path, f"{path}, row {number}")


def list_other_columns(path: Path) -> list[str]:
    """The columns of a list that mean nothing here, in its order.

    Raises:
        UsageError: the file cannot be read.
    """
    with _named_troubles(path):
        if path.suffix.lower() == ".parquet":
            names = list(_parquet_file(path).schema_arrow.names)
        else:
            names = [name for _, row in islice(_rows(path), _LOOKED_AT) for name in row]
    return [name for name in dict.fromkeys(map(str, names)) if name not in (*_COLUMNS, "None")]


@contextmanager
def _named_troubles(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is not a list of videos in UTF-8: {error}") from None


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    match path.suffix.lower():
        case ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                if "video_id" not in (reader.fieldnames or ()):
                    raise UsageError(f"{path}: its first line must name the columns, video_id among them")
                yield from enumerate(reader, 1)
        case ".parquet":
            yield from enumerate(_parquet(path), 1)
        case _:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield number, _object(line, f"{path}, row {number}")


def _object(line: bytes, where: str) -> Mapping[str, object]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise UsageError(f'{where}: an object such as {{"video_id": "a"}} is expected')
    return row


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
    columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
    try:
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
            yield from batch.to_pylist()
    except import_module("pyarrow").ArrowInvalid as error:
        raise UsageError(f"{path} is damaged: {error}") from None


def _video(row: Mapping[str, object], defaults: Defaults, path: Path, where: str) -> NewVideo:
    video_id = _text(row, "video_id")
    if not video_id:
        raise UsageError(f"{where}: no video_id")
    if any(character < " " for character in video_id):
        raise UsageError(f"{where}: control characters in video_id {video_id!r}")
    said = find_language(_text(row, "language"))
    language, given_by = defaults.language, HintFrom.DEFAULT
    if defaults.forced_language is not None:
        language, given_by = defaults.forced_language, HintFrom.FORCED
    elif said is not None:
        language, given_by = said.code, HintFrom.ROW
    return NewVideo(
        video_id,
        _source_key(row, defaults, path, where) or defaults.source_key(video_id),
        _text(row, "output_key") or defaults.output_key(video_id),
        language,
        _number(row, "priority", where) or defaults.priority,
        _number(row, "segment_count", where),
        _number(row, "source_bytes", where),
        given_by,
    )


def _source_key(row: Mapping[str, object], defaults: Defaults, path: Path, where: str) -> str:
    given = {column: text for column in _KEYS if (text := _text(row, column))}
    if len(set(given.values())) > 1:
        told = ", ".join(f"{column} {text}" for column, text in given.items())
        raise UsageError(f"{where}: it names several archives: {told}. Leave the column of the true one")
    for column, text in given.items():
        if column == "path" and not defaults.below_store and is_relative(text):
            return str(path.parent.resolve() / text)
        return text
    return ""


def is_relative(key: str) -> bool:
    """True if a key is one below a store: neither a URL nor a whole path."""
    return not key.startswith("/") and "://" not in key


def _text(row: Mapping[str, object], column: str) -> str:
    value = row.get(column)
    return "" if value is None else str(value).strip()


def _number(row: Mapping[str, object], column: str, where: str) -> int | None:
    text = _text(row, column)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{where}: {column} is {text!r}, which is not a whole number") from None
