"""From a path and a person's word to the sources that this room knows itself."""

from __future__ import annotations

from pathlib import Path

from lipika.errors import UsageError
from lipika.packing.items import PackSource
from lipika.packing.kinds import SourceOptions
from lipika.packing.sources.folder import FolderSource
from lipika.packing.sources.rows import NamedColumns
from lipika.packing.sources.table import ListColumns, ListSource, column_names, no_place
from lipika.packing.template import PathTemplate


def open_folder(path: Path, options: SourceOptions) -> FolderSource:
    """Raises UsageError: it is told of columns, or the template makes no sense."""
    for fact in ("language", "speaker"):
        if options.column(fact):
            raise UsageError(f"{path}: a folder has no columns; --{fact} folder, or --template, reads names")
    template = PathTemplate.parse(options.template) if options.template else None
    return FolderSource(
        str(path),
        template,
        language_folder=options.from_folder("language"),
        speaker_folder=options.from_folder("speaker"),
    )


def open_table(path: Path, options: SourceOptions) -> ListSource:
    """Raises UsageError: it names no recordings, or lacks a column that a person names."""
    names = column_names(path)
    columns = {fact: options.column(fact) for fact in ("language", "speaker")}
    for fact, column in columns.items():
        if column and column not in names:
            raise UsageError(
                f"{path}: no column {column!r} for --{fact}; it has {', '.join(map(str, names))}"
            )
    if ListColumns.find(names) is None:
        raise UsageError(no_place(path, names))
    return ListSource(str(path), columns["language"], columns["speaker"])


def open_kaldi(path: Path, _options: SourceOptions) -> PackSource:
    from lipika.packing.sources.kaldi import KaldiSource

    return KaldiSource(str(path))


def open_shar(path: Path, options: SourceOptions) -> PackSource:
    from lipika.packing.sources.lhotse import SharSource

    return SharSource(str(path), _columns(options))


def open_lhotse(path: Path, options: SourceOptions) -> PackSource:
    from lipika.packing.sources.lhotse import LhotseSource

    return LhotseSource(str(path), _columns(options))


def open_nemo(path: Path, options: SourceOptions) -> PackSource:
    from lipika.packing.sources.nemo import NemoSource

    return NemoSource(str(path), _columns(options))


def open_hugging_face(path: Path, options: SourceOptions) -> PackSource:
    from lipika.packing.sources.huggingface import HuggingFaceSource

    return HuggingFaceSource(str(path), _columns(options))


def open_webdataset(path: Path, options: SourceOptions) -> PackSource:
    from lipika.packing.sources.webdataset import WebDatasetSource

    return WebDatasetSource(str(path), _columns(options))


def _columns(options: SourceOptions) -> NamedColumns:
    return NamedColumns(options.column("language"), options.column("speaker"))
