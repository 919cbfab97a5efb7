"""Hugging Face datasets on disk: Parquet in folders, and what `save_to_disk` writes. Takes pyarrow alone.

Language and split of a file come from the configurations of its README, else from its folders and name. The recording
is the column that the schema calls audio, or one of bytes with a path; its bytes come with the row.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson

from lipika.errors import UsageError
from lipika.languages import find_language
from lipika.packing.items import AudioPlace, SourceItem, SourceRefusal
from lipika.packing.sources.cards import CardFiles, read_card
from lipika.packing.sources.rows import NamedColumns, one_word, place_beside, split_named, take_apart

Given = Iterator[SourceItem | SourceRefusal]

_BATCH_ROWS = 16  # with their audio
_LIGHT_ROWS = 1_000  # without
_SHARD = re.compile(r"(?P<split>.+?)(?:-\d+-of-\d+)?\.(?:parquet|arrow)$")
_NAMES = ("audio", "speech", "wav", "path", "file", "audio_path", "file_name", "audio_filepath")
_GENERIC = {"data", "default", "train", "test", "dev", "audio"}


@dataclass(frozen=True, slots=True)
class HuggingFaceSource:
    """A Parquet file, a dataset's folder of them, or a folder of `save_to_disk`. `kind` is `huggingface`."""

    root: str
    columns: NamedColumns = field(default_factory=NamedColumns)
    kind: str = "huggingface"

    def items(self, audio: bool = True) -> Given:
        """As `PackSource.items`: files by name, rows in their order.

        Raises:
            UsageError: pyarrow is not installed.
        """
        root = Path(self.root)
        if not root.is_dir():
            yield from self._file(root, root.name, _Origin(split=_split_of(root.name)), audio=audio)
            return
        card = read_card(root / "README.md")
        for path, shown in _files(root):
            yield from self._file(path, shown, _origin(shown, card), audio=audio)

    def _file(self, path: Path, shown: str, origin: _Origin, *, audio: bool) -> Given:
        reading = _Arrow(path) if path.suffix == ".arrow" else _Parquet(path)
        try:
            schema = reading.schema()
            column = _audio_column(schema)
            if column is None:
                told = f"no column of recordings; it has {', '.join(map(str, schema.names))}"
                yield SourceRefusal(shown, "no_audio_column", told)
                return
            classes = _classes(schema)
            for number, row in enumerate(reading.rows(column, audio=audio), start=1):
                yield self._row(row, number, column, classes, path, shown, origin)
        except (OSError, ValueError) as error:  # pyarrow's errors are of these
            yield SourceRefusal(shown, "unreadable_file", str(error).partition("\n")[0][:500])

    def _row(
        self,
        row: dict[str, Any],
        number: int,
        column: str,
        classes: Mapping[str, Sequence[str]],
        path: Path,
        shown: str,
        origin: _Origin,
    ) -> SourceItem | SourceRefusal:
        where = f"{shown}:{number}"
        for name, words in classes.items():
            if isinstance(at := row.get(name), int) and 0 <= at < len(words):
                row[name] = words[at]
        cell = row.pop(column)
        place = _place(cell, path, number)
        if place is None:
            return SourceRefusal(where, "no_audio", f"{column} is empty")
        facts = take_apart(row, self.columns)
        named = cell.get("path") if isinstance(cell, dict) else cell if isinstance(cell, str) else None
        return SourceItem(
            name=_name(row, facts.id, one_word(named), where),
            audio=place,
            language=facts.language or origin.language,
            speaker=facts.speaker,
            text=facts.text,
            split=facts.split or origin.split,
            group=shown,
            columns=facts.rest if not isinstance(row.get("id"), int) else {**facts.rest, "id": row["id"]},
        )


def _name(row: Mapping[str, Any], known: str | None, path: str | None, where: str) -> str:
    """An id that is a word, else the recording's own path, else the number: in many sets that is a sentence's."""
    if known and not any(isinstance(row.get(name), int) and str(row[name]) == known for name in row):
        return known
    return path or known or where


def _place(cell: object, path: Path, number: int) -> AudioPlace | None:
    """The place of a row's recording. `offset` counts rows where its bytes come along."""
    if isinstance(cell, bytes):
        return AudioPlace(str(path), number, len(cell), cell)
    if isinstance(cell, str):
        return AudioPlace(place_beside(path.parent, cell)) if cell else None
    if isinstance(cell, dict):
        data, named = cell.get("bytes"), cell.get("path")
        if data is not None or "bytes" not in cell:
            size = len(data) if isinstance(data, bytes) else None
            return AudioPlace(str(path), number, size, data)
        if isinstance(named, str) and named:
            return AudioPlace(place_beside(path.parent, named))
    return None


# ----------------------------------------------------------------------------- files


@dataclass(frozen=True, slots=True)
class _Origin:
    """Facts that the place of a file tells."""

    language: str | None = None
    split: str | None = None


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    """Parquet and Arrow files, by name; of Arrow those of `save_to_disk`, and not what `datasets` has cached."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        saved = "state.json" in names
        for name in sorted(names):
            if name.endswith(".parquet") or (
                saved and name.endswith(".arrow") and not name.startswith("cache-")
            ):
                path = Path(folder) / name
                yield path, os.path.relpath(path, root)


def _origin(shown: str, card: CardFiles) -> _Origin:
    """By the card, else by folders and name."""
    for config, split, pattern in card.files:
        if fnmatch.fnmatch(shown, pattern) or shown == pattern:
            known = config if find_language(config) else None
            return _Origin(known or _language_of(shown) or card.language, split or _split_of(shown))
    return _Origin(_language_of(shown) or card.language, _split_of(shown))


def _language_of(shown: str) -> str | None:
    parts = Path(shown).parts[:-1]
    return next((part for part in parts if part.lower() not in _GENERIC and find_language(part)), None)


def _split_of(shown: str) -> str | None:
    """The split that a path says: `data/hi/train-00000-of-00042.parquet`, `train/data-00000-of-00001.arrow`."""
    parts = Path(shown).parts
    found = _SHARD.match(parts[-1])
    named = split_named(found["split"] if found else parts[-1])
    return named or next((split for part in reversed(parts[:-1]) if (split := split_named(part))), None)


# ----------------------------------------------------------------------------- columns


def _audio_column(schema: Any) -> str | None:
    """By the schema's own word, else by form and name."""
    features = _features(schema)
    told = [name for name in schema.names if features.get(name, {}).get("_type") == "Audio"]
    if told:
        return "audio" if "audio" in told else str(told[0])
    types = import_module("pyarrow.types")
    forms: dict[str, Any] = {name: schema.field(name).type for name in schema.names}
    structs = [
        name
        for name, form in forms.items()
        if types.is_struct(form)
        and {"bytes", "path"} <= {form.field(at).name for at in range(form.num_fields)}
    ]
    if structs:
        return "audio" if "audio" in structs else structs[0]
    fitting = {
        name
        for name, form in forms.items()
        if types.is_binary(form)
        or types.is_large_binary(form)
        or types.is_string(form)
        or types.is_large_string(form)
    }
    return next((name for name in _NAMES if name in fitting), None)


def _features(schema: Any) -> Mapping[str, Any]:
    try:
        told = orjson.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
    return {k: v for k, v in features.items() if isinstance(v, dict)} if isinstance(features, dict) else {}


def _classes(schema: Any) -> dict[str, Sequence[str]]:
    """The words of columns that are numbers of classes."""
    return {
        name: list(map(str, told["names"]))
        for name, told in _features(schema).items()
        if told.get("_type") == "ClassLabel" and isinstance(told.get("names"), list)
    }


# ----------------------------------------------------------------------------- reading


def _pyarrow(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise UsageError("reading Parquet takes pyarrow: pip install 'lipika-speech[parquet]'") from None


@dataclass(frozen=True, slots=True)
class _Parquet:
    path: Path

    def schema(self) -> Any:
        return _pyarrow("pyarrow.parquet").read_schema(self.path)

    def rows(self, column: str, *, audio: bool) -> Iterator[dict[str, Any]]:
        """A few rows at a time. Without `audio` its bytes are not read."""
        with _pyarrow("pyarrow.parquet").ParquetFile(self.path, buffer_size=1 << 20) as file:
            wanted = _light_columns(file.schema_arrow, column) if not audio else None
            for batch in file.iter_batches(
                _BATCH_ROWS if audio else _LIGHT_ROWS, columns=wanted, use_threads=False
            ):
                yield from _as_rows(batch, column)


@dataclass(frozen=True, slots=True)
class _Arrow:
    path: Path

    def schema(self) -> Any:
        with _pyarrow("pyarrow").memory_map(str(self.path)) as source:
            return _pyarrow("pyarrow.ipc").open_stream(source).schema

    def rows(self, column: str, *, audio: bool) -> Iterator[dict[str, Any]]:
        """A few rows at a time, of a file that is mapped and not read."""
        with _pyarrow("pyarrow").memory_map(str(self.path)) as source:
            for batch in _pyarrow("pyarrow.ipc").open_stream(source):
                for at in range(0, batch.num_rows, _BATCH_ROWS):
                    for row in _as_rows(batch.slice(at, _BATCH_ROWS), column):
                        yield row if audio else _light(row, column)


def _light(row: dict[str, Any], column: str) -> dict[str, Any]:
    cell = row[column]
    return {**row, column: {"path": cell.get("path")}} if isinstance(cell, dict) else row


def _light_columns(schema: Any, column: str) -> list[str]:
    """All but the bytes of recordings."""
    form = schema.field(column).type
    if not import_module("pyarrow.types").is_struct(form):
        return list(schema.names)
    return [name if name != column else f"{column}.path" for name in schema.names]


def _as_rows(batch: Any, column: str) -> Iterator[dict[str, Any]]:
    for row in batch.to_pylist():
        yield {name: value for name, value in row.items() if name == column or _fits(value)}


def _fits(value: object) -> bool:
    """False for what no row of text holds: arrays of samples, pictures, recordings beside the first."""
    if isinstance(value, bytes):
        return False
    return not (isinstance(value, dict) and isinstance(value.get("bytes"), bytes))
