"""From a path and a person's word to the sources that this room knows itself."""

from __future__ import annotations

from pathlib import Path

from lipika.errors import UsageError
from lipika.packing.kinds import SourceOptions
from lipika.packing.sources.folder import FolderSource
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
