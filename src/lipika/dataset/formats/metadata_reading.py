"""Anybody's `metadata.csv` with audio beside it, read back: LJSpeech's, or F5's, as the first line says."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lipika.dataset.formats.base import Portion, Tree
from lipika.dataset.formats.files_reading import (
    AUDIO_ENDINGS,
    AudioFiles,
    Claim,
    Line,
    check_text,
    is_audio,
    portions_by_list,
    read_clip,
    read_lines,
)
from lipika.dataset.model import Defect, ReadBack

LIST = "metadata.csv"
F5_HEADER = ("audio_file", "text")


def lists(paths: Collection[str]) -> list[str]:
    return sorted(path for path in paths if PurePosixPath(path).name == LIST)


def portions(paths: Collection[str], defects: list[Defect]) -> Iterator[Portion]:
    """One for each folder; audio in `wavs` without a list is put on `defects`."""
    there = set(lists(paths))
    yield from portions_by_list(paths, there)
    folders = {where.parent for where in map(PurePosixPath, paths) if is_audio(where.name)}
    for folder in sorted(one for one in folders if one.name == "wavs"):
        path = str(folder.parent / LIST)
        if path not in there:
            defects.append(Defect(path, "missing_list", f"there is no such file for {folder}"))


def read(tree: Tree, portion: Portion, defects: list[Defect], *, listen: bool) -> Iterator[ReadBack]:
    """Every clip with a row, in the order of the list."""
    files = AudioFiles.gather(portion)
    rows = _Rows(portion, files, defects)
    for line in read_lines(tree, portion.paths[0], defects):
        claim = rows.claim(line)
        clip = read_clip(tree, claim, defects, listen=listen) if claim else None
        if clip is not None:
            yield clip
    rows.finish()


@dataclass(slots=True)
class _Rows:
    """The rows of one list, one after another. `width` is the number of fields that the first of LJSpeech's has."""

    portion: Portion
    files: AudioFiles
    defects: list[Defect]
    is_f5: bool | None = None
    width: int = 0
    places: dict[str, str] = field(default_factory=dict)
    relative: list[str] = field(default_factory=list)

    def claim(self, line: Line) -> Claim | None:
        """The words of a row about its clip; None where it is the header, or names no audio that is there."""
        if self.is_f5 is None:
            return self._begin(line)
        found = self._f5(line) if self.is_f5 else self._ljspeech(line)
        if found is None:
            return None
        name, text, stated = found
        before = self.places.setdefault(name, line.place)
        if before != line.place:
            self._say(line, "duplicate_id", f"{name} stands in {before} already")
            return None
        check_text(text, name, line.place, self.defects)
        path = next(filter(None, map(self.files.find, stated)), None)
        if path is None:
            self._say(line, "missing_audio", f"{name}: there is no {stated[0]}")
            return None
        self.files.claim(path, name, line.place, self.defects)
        return Claim(id=name, place=line.place, text=text, language=self.portion.language, path=path)

    def finish(self) -> None:
        if self.relative:
            message = (
                f"{len(self.relative):,} paths are not whole, the first of them here: F5-TTS refuses the list"
            )
            self.defects.append(Defect(self.relative[0], "relative_path", message))
        self.defects.extend(self.files.strays())

    def _say(self, line: Line, code: str, message: str) -> None:
        self.defects.append(Defect(line.place, code, message))

    def _begin(self, line: Line) -> Claim | None:
        fields = [one.strip() for one in line.text.split("|")]
        headed = tuple(fields[:2]) == F5_HEADER
        self.is_f5 = headed or is_audio(fields[0])
        self.width = len(fields) if len(fields) in (2, 3) else 3
        if headed:
            return None
        if self.is_f5:
            self._say(line, "header", f"the first line is not {'|'.join(F5_HEADER)}: F5-TTS refuses the list")
        return self.claim(line)

    def _ljspeech(self, line: Line) -> tuple[str, str, list[str]] | None:
        """Id, text, and the paths that its audio may have."""
        name, *texts = line.text.split("|")
        if 1 + len(texts) != self.width:
            message = f"{1 + len(texts)} fields between |, where the first line has {self.width}"
            self._say(line, "bad_row", message)
            return None
        if not name or name != name.strip():
            self._say(line, "bad_row", f"the id is {name!r}")
            return None
        return name, texts[-1], [f"wavs/{name}{ending}" for ending in AUDIO_ENDINGS]

    def _f5(self, line: Line) -> tuple[str, str, list[str]] | None:
        """Id, text, and the path of its audio."""
        try:
            fields = next(csv.reader([line.text], delimiter="|", strict=True))
        except csv.Error:
            self._say(
                line, "open_quote", "a quote that opens a field is not closed: it takes in the lines below"
            )
            return None
        if len(fields) != len(F5_HEADER) or not fields[0].strip():
            self._say(line, "bad_row", f"it is no path and text with one | between: {len(fields)} fields")
            return None
        stated, text = fields[0].strip(), fields[1]
        if not stated.startswith(("/", "~")):
            self.relative.append(line.place)
        return PurePosixPath(stated).stem, text, [stated]
