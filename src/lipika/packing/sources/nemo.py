"""NeMo's manifests, and its tarred sets: `audio_<n>.tar` beside `manifest_<n>.json`. NeMo Curator and Granary, too.

Rows that they mark (`_skipme`, `_skip_me`) are left out with that reason, and a shard that NeMo Curator has not
finished (it lays a `.done` beside those it has). Without an `offset` a row is the whole of its recording, as NeMo
reads it; rows of a tar whose names end in `-sub<n>` are stretches of the member without it.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lipika.packing.items import AudioPlace, SourceItem, SourceRefusal
from lipika.packing.sources.rows import (
    NamedColumns,
    Row,
    json_rows,
    one_word,
    place_beside,
    seconds_of,
    split_named,
    take_apart,
)
from lipika.packing.sources.tars import shown_member, tarred_files

SKIPPED = ("_skipme", "_skip_me")
"""Marks of a row that is to be left out."""

_MANIFESTS = re.compile(r"\.jsonl?(\.gz)?$", re.IGNORECASE)
_MANIFEST = re.compile(r"manifest[^/]*_(\d+)[^/]*\.jsonl?(?:\.gz)?$")
_TAR = re.compile(r"audio[^/]*_(\d+)[^/]*\.tar(?:\.gz)?$")
_RANGE = re.compile(r"(?:_OP_|\{)(\d+)\.\.(\d+)(?:_CL_|\})")
_COPY = re.compile(r"(?P<stem>.+)-sub\d+(?P<suffix>\.\w+)?")
_SHARDS = "sharded_manifests"
_PATHS = ("audio_filepath", "audio_file")
_TRANSLATED = ("ast", "s2t_translation", "translation")
_OPEN_SHARDS = 4  # of one manifest over all of them, whose members are kept in mind
_MOST_SHARDS = 1 << 20

Given = Iterator[SourceItem | SourceRefusal]


@dataclass(frozen=True, slots=True)
class NemoSource:
    """A manifest, a set of them (`manifest__OP_0..511_CL_.json`, or with braces), or a folder of either.

    `kind` is `nemo`.
    """

    root: str
    columns: NamedColumns = field(default_factory=NamedColumns)
    kind: str = "nemo"

    def items(self, audio: bool = True) -> Given:  # noqa: ARG002 - nothing is read
        """As `PackSource.items`: manifests by name and shards by number, rows in their order."""
        root = Path(self.root)
        if _RANGE.search(root.name):
            found = [root.with_name(name) for name in _expand(root.name)]
            yield from self._set(_Set.sort(found, root.parent))
        elif root.is_dir():
            for folder, folders, names in os.walk(root):
                folders.sort()
                if _SHARDS in folders:
                    folders.remove(_SHARDS)
                    names += [f"{_SHARDS}/{path.name}" for path in (Path(folder) / _SHARDS).iterdir()]
                manifests = [Path(folder) / name for name in sorted(names) if _MANIFESTS.search(name)]
                yield from self._set(_Set.sort(manifests, Path(folder)))
        else:
            alone = _Set.sort([root], root.parent)
            if alone.shards:
                alone.tars = {number: alone.tars[number] for number in alone.shards}
            yield from self._set(alone)

    def _set(self, found: _Set) -> Given:
        for path in found.unfinished:
            told = "others beside it have a .done file, this one has none: its writer was not ready with it"
            yield SourceRefusal(self._short_name(path), "unfinished_shard", told)
        for number, manifest in sorted(found.shards.items()):
            yield from self._shard(manifest, found.tars[number])
        for number, manifest in sorted(found.lonely.items()):
            yield SourceRefusal(
                self._short_name(manifest), "missing_file", f"there is no audio_{number}.tar to it"
            )
        for number in sorted(found.tars.keys() - found.shards.keys()) if found.shards else ():
            yield SourceRefusal(
                self._short_name(found.tars[number]), "no_row", "no manifest names what is in it"
            )
        for path in found.plain:
            yield from self._whole(path, found.tars)

    def _short_name(self, path: Path) -> str:
        root = Path(self.root)
        return os.path.relpath(path, root if root.is_dir() else root.parent)

    def _shard(self, manifest: Path, tar: Path) -> Given:
        """One manifest and its tar."""
        members = _Members()
        yield from members.read(tar)
        for number, row in json_rows(manifest):
            yield self._row(row, manifest, number, members)
        yield from members.list_unnamed()

    def _whole(self, manifest: Path, tars: dict[int, Path]) -> Given:
        """A manifest of plain files, or of all shards; rows tell which by their `shard_id`."""
        open_shards: dict[int, _Members] = {}
        named: dict[int, bytearray] = {}
        told: set[int] = set()
        for number, row in json_rows(manifest):
            shard = row.get("shard_id") if isinstance(row, dict) else None
            if isinstance(shard, int) and shard in tars:
                members = open_shards.pop(shard, None)
                if members is None:
                    if len(open_shards) == _OPEN_SHARDS:
                        open_shards.pop(next(iter(open_shards)))
                    members = _Members(flags=named.setdefault(shard, bytearray()))
                    troubles = list(members.read(tars[shard]))
                    yield from troubles if shard not in told else ()
                    told.add(shard)
                open_shards[shard] = members
                yield self._row(row, manifest, number, members)
            else:
                yield self._row(row, manifest, number, None)
        open_shards.clear()
        for shard, flags in sorted(named.items()):
            if not all(flags):
                members = _Members(flags=flags)
                list(members.read(tars[shard]))
                yield from members.list_unnamed()

    def _row(
        self, row: Row | SourceRefusal, manifest: Path, number: int, members: _Members | None
    ) -> SourceItem | SourceRefusal:
        if isinstance(row, SourceRefusal):
            return row
        where = f"{manifest.name}:{number}"
        path = next((word for name in _PATHS if (word := one_word(row.get(name)))), None)
        if path is None:
            return SourceRefusal(where, "bad_row", "it names no recording: there is no audio_filepath")
        if "\0" in path:
            return SourceRefusal(where, "bad_row", "no file has such a name")
        place = AudioPlace(place_beside(manifest.parent, path)) if members is None else members.find(path)
        skipped = next((row[name] for name in SKIPPED if row.get(name)), None)
        if skipped:
            return SourceRefusal(where, "skipme", f"the manifest leaves it out: {str(skipped)[:200]}")
        if place is None:
            told = f"{path[:200]!r} is not in {members.tar.name if members else ''}"
            return SourceRefusal(where, "missing_member", told)
        try:
            return self._item(row, manifest, path, place, tarred=members is not None)
        except ValueError as error:
            return SourceRefusal(where, "bad_row", str(error))

    def _item(self, row: Row, manifest: Path, path: str, place: AudioPlace, *, tarred: bool) -> SourceItem:
        """Raises ValueError: its times make no sense."""
        offset, duration = seconds_of(row, "offset"), seconds_of(row, "duration")
        stretch = offset is not None or (tarred and _COPY.fullmatch(path) is not None)
        facts = take_apart(row, self.columns, SKIPPED)
        rest, text = facts.rest, facts.text
        if text is not None and _is_translation(row):
            rest, text = {**rest, "translation": text}, None
        start = offset or 0.0
        return SourceItem(
            name=facts.id or (f"{path}#{start:.10g}" if stretch and not _COPY.fullmatch(path) else path),
            audio=place,
            start=start,
            end=start + duration if stretch and duration else None,
            language=facts.language,
            speaker=facts.speaker,
            text=None if text == "-" else text,
            split=facts.split or split_named(manifest.name) or split_named(manifest.parent.name),
            group=self._short_name(Path(place.place)) if tarred else "",
            columns=rest,
        )


def _is_translation(row: Row) -> bool:
    task = one_word(row.get("task")) or one_word(row.get("taskname"))
    target, source = one_word(row.get("target_lang")), one_word(row.get("source_lang"))
    return task in _TRANSLATED or bool(target and source and target != source)


def _expand(name: str) -> Iterator[str]:
    """The names that a pattern stands for, at most a million."""
    found = _RANGE.search(name)
    if found is None:
        yield name
        return
    first, last = int(found[1]), min(int(found[2]), int(found[1]) + _MOST_SHARDS)
    width = len(found[1]) if found[1].startswith("0") and len(found[1]) > 1 else 0
    for number in range(first, last + 1):
        yield from _expand(f"{name[: found.start()]}{number:0{width}}{name[found.end() :]}")


@dataclass(slots=True)
class _Set:
    """Manifests and tars that belong together."""

    shards: dict[int, Path] = field(default_factory=dict)  # manifests of one tar each
    plain: list[Path] = field(default_factory=list)  # manifests of files, or of all tars
    lonely: dict[int, Path] = field(default_factory=dict)  # numbered manifests whose tar is not there
    tars: dict[int, Path] = field(default_factory=dict)
    unfinished: list[Path] = field(default_factory=list)

    @classmethod
    def sort(cls, manifests: Sequence[Path], folder: Path) -> _Set:
        """Sort manifests of one folder, with the tars in it, or in the folder above."""
        made = cls(tars=_tars(folder))
        if not made.tars and folder.name == _SHARDS:
            made.tars = _tars(folder.parent)
        done = [path for path in manifests if _is_done(path)]
        if done:
            made.unfinished = [path for path in manifests if path not in set(done) and _looks_right(path)]
            manifests = done
        for path in manifests:
            found = _MANIFEST.search(path.name)
            number = int(found[1]) if found else -1
            if found and number in made.tars:
                made.shards[number] = path
            elif found and made.tars:
                made.lonely[number] = path
            elif _looks_right(path):
                made.plain.append(path)
        if made.shards:  # the manifest of all shards says the same again
            made.plain = [path for path in made.plain if not _has_shard_ids(path)]
        return made


def _tars(folder: Path) -> dict[int, Path]:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return {}
    return {int(found[1]): folder / name for name in names if (found := _TAR.search(name))}


def _is_done(path: Path) -> bool:
    return path.with_name(f"{path.name}.done").exists() or path.with_suffix(".done").exists()


def _first_row(path: Path) -> Row:
    for _, row in json_rows(path):
        return row if isinstance(row, dict) else {}
    return {}


def _has_shard_ids(path: Path) -> bool:
    return "shard_id" in _first_row(path)


def _looks_right(path: Path) -> bool:
    """True for a manifest, and for a file that is to be refused as one that is not there."""
    if not path.exists():
        return True
    return bool(_first_row(path).keys() & set(_PATHS))


class _Members:
    """The files of one tar, and which of them rows have named."""

    def __init__(self, flags: bytearray | None = None) -> None:
        self.tar = Path()
        self._numbers: dict[str, int] = {}
        self._offsets, self._sizes = array("q"), array("q")
        self._flags = bytearray() if flags is None else flags

    def read(self, tar: Path) -> Iterator[SourceRefusal]:
        """Take the tar in; what is wrong with it is given."""
        self.tar = tar
        if tar.suffix == ".gz":
            yield SourceRefusal(
                tar.name, "packed_archive", "members of a packed tar lie nowhere: gunzip it first"
            )
            return
        for found in tarred_files(tar):
            if isinstance(found, SourceRefusal):
                yield found
                continue
            self._numbers[found.name.removeprefix("./")] = len(self._offsets)
            self._offsets.append(found.place.offset)
            self._sizes.append(found.place.size or 0)
        self._flags.extend(bytes(len(self._offsets) - len(self._flags)))

    def find(self, path: str) -> AudioPlace | None:
        """The member of a row, by the name that it gives or the one of which that is a copy."""
        path = path.removeprefix("./")
        number = self._numbers.get(path)
        if number is None and (copy := _COPY.fullmatch(path)):
            number = self._numbers.get(f"{copy['stem']}{copy['suffix'] or ''}")
        if number is None:
            return None
        self._flags[number] = 1
        return AudioPlace(str(self.tar), self._offsets[number], self._sizes[number])

    def list_unnamed(self) -> Iterator[SourceRefusal]:
        """The members that no row names."""
        for name, number in self._numbers.items():
            if not self._flags[number]:
                yield SourceRefusal(shown_member(self.tar, name), "no_row", "no row of the manifest names it")


def is_manifest(path: Path) -> bool:
    """True if a file is a list whose rows have NeMo's own columns."""
    if not _MANIFESTS.search(path.name):
        return False
    row: Any = _first_row(path)
    return "audio_filepath" in row and "duration" in row
