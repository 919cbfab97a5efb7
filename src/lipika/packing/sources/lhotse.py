"""Lhotse's cuts in JSON lines, over recordings in files; and its Shar folders, where audio lies in tars beside them.

A cut whose one supervision is the whole of it is a stretch with a text; others keep theirs as labels. What is no
plain stretch of one recording (padded, mixed, of several channels), or is changed in the reading, is refused: its
audio exists only in lhotse. Commands are never run.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from lipika.packing.items import AudioPlace, Label, SourceItem, SourceRefusal
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
from lipika.packing.sources.tars import TarredFile, tarred_files

Given = Iterator[SourceItem | SourceRefusal]

_CUTS = re.compile(r"^cuts\..*jsonl(\.gz)?$|cuts?[^/]*\.jsonl(\.gz)?$", re.IGNORECASE)
_SHAR_CUTS = re.compile(r"^cuts\.(?:.*\.)?jsonl(\.gz)?$")
_SLACK_S = 0.005  # by which lhotse rounds
_NOT_PLAIN = {
    "MultiCut": ("multi_channel_cut", "it is of several channels at once: make MonoCuts of it (to_mono)"),
    "PaddingCut": ("padding_cut", "it is padding, and no recording"),
    "MixedCut": ("mixed_cut", "it is mixed or padded in the reading: save its audio first (save_audios)"),
}
_SOURCES = {
    "command": (
        "command_source",
        "its audio is what a command gives, and commands are not run: save it to files",
    ),
    "memory": ("in_memory_audio", "its audio lies in the manifest: save it to files (save_audios)"),
    "shar": ("shar_placeholder", "its audio lies in the tars of a Shar folder: give that folder"),
    "shar_ptr": ("shar_placeholder", "its audio lies in the tars of a Shar folder: give that folder"),
}
_HARMLESS = {"Resample"}
_NEARBY = 1_000  # cuts


class CutRefused(Exception):
    """A cut that is not packed: (reason, detail)."""


@dataclass(frozen=True, slots=True)
class LhotseSource:
    """A file of cuts, or a folder of such files. `kind` is `lhotse`."""

    root: str
    columns: NamedColumns = field(default_factory=NamedColumns)
    kind: str = "lhotse"

    def items(self, audio: bool = True) -> Given:  # noqa: ARG002 - nothing is read
        """As `PackSource.items`: files by name, cuts in their order."""
        root = Path(self.root)
        paths = (
            sorted(path for path in root.iterdir() if _CUTS.search(path.name)) if root.is_dir() else [root]
        )
        for path in paths:
            for number, row in json_rows(path):
                yield self._cut(path, number, row)

    def _cut(self, path: Path, number: int, row: Row | SourceRefusal) -> SourceItem | SourceRefusal:
        if isinstance(row, SourceRefusal):
            return row
        name = one_word(row.get("id")) or f"{path.name}:{number}"
        try:
            place, channel = _file_of(row, path.parent)
            item = cut_item(name, row, place, self.columns)
        except CutRefused as error:
            return SourceRefusal(name, *error.args)
        return replace(item, channel=channel, split=item.split or split_named(path.name))


@dataclass(frozen=True, slots=True)
class SharSource:
    """A Shar folder, or a folder of such: `cuts.*.jsonl` with `recording.*.tar`. `kind` is `shar`."""

    root: str
    columns: NamedColumns = field(default_factory=NamedColumns)
    kind: str = "shar"

    def items(self, audio: bool = True) -> Given:
        """As `PackSource.items`: folders and shards by name, cuts in their order."""
        for folder, folders, names in os.walk(self.root):
            folders.sort()
            for name in sorted(names):
                if _SHAR_CUTS.match(name):
                    yield from self._shard(Path(folder), name, set(names), audio=audio)

    def _shard(self, folder: Path, cuts: str, names: set[str], *, audio: bool) -> Given:
        middle = re.sub(r"jsonl(\.gz)?$", "", cuts.removeprefix("cuts"))  # `.000000.`
        tars = (f"recording{middle}tar", f"recording{middle}tar.gz")
        tar = next((name for name in tars if name in names), "")
        shown = os.path.relpath(folder / cuts, self.root)
        if not tar:
            yield SourceRefusal(shown, "missing_file", f"there is no recording{middle}tar beside it")
            return
        pairs = _Alongside(_pairs(folder / tar, audio=audio))
        fields = {
            name.split(".")[0]: _Alongside(_field_values(folder / name))
            for name in sorted(names)
            if re.fullmatch(rf"(?!cuts\.|recording\.)[^.]+{re.escape(middle)}jsonl(\.gz)?", name)
        }
        for number, row in json_rows(folder / cuts):
            yield self._cut(f"{shown}:{number}", row, pairs, fields)
            yield from pairs.take_refusals()
        for stem in pairs.rest():
            yield SourceRefusal(f"{tar}: {stem[:200]}", "no_row", "there is no cut to it")
        yield from pairs.take_refusals()

    def _cut(
        self, where: str, row: Row | SourceRefusal, pairs: _Alongside, fields: Mapping[str, _Alongside]
    ) -> SourceItem | SourceRefusal:
        if isinstance(row, SourceRefusal):
            return row
        name = one_word(row.get("id")) or where
        place, told = pairs.find(name) or (None, None)
        more = {
            field: line[field]
            for field, lines in fields.items()
            if (line := lines.find(name)) and isinstance(line.get(field), str | int | float | list | dict)
        }
        if place is None:
            return SourceRefusal(name, "missing_member", "the tar of recordings has no audio for it")
        try:
            item = cut_item(name, {**row, "recording": told or row.get("recording")}, place, self.columns)
        except CutRefused as error:
            return SourceRefusal(name, *error.args)
        shard = where.rpartition(":")[0]
        return replace(
            item, split=item.split or split_named(shard), group=shard, columns={**item.columns, **more}
        )


class _Alongside:
    """All that lies in the same order as the cuts, by the cut's id; what is out of order is looked for nearby."""

    def __init__(self, found: Iterator[tuple[str, Any] | SourceRefusal]) -> None:
        self._found = found
        self._waiting: dict[str, Any] = {}
        self._refused: list[SourceRefusal] = []
        self._passed: list[str] = []

    def find(self, name: str) -> Any:
        """None where there is none nearby."""
        pulled = 0
        while name not in self._waiting and pulled < _NEARBY:
            one = next(self._found, None)
            if one is None:
                break
            if isinstance(one, SourceRefusal):
                self._refused.append(one)
                continue
            self._waiting[one[0]] = one[1]
            pulled += 1
            if len(self._waiting) > _NEARBY:
                self._forget(next(iter(self._waiting)))
        return self._waiting.pop(name, None)

    def _forget(self, name: str) -> None:
        del self._waiting[name]
        self._refused.append(SourceRefusal(name, "no_row", "there is no cut to it"))

    def take_refusals(self) -> Iterator[SourceRefusal]:
        refused, self._refused = self._refused, []
        yield from refused

    def rest(self) -> Iterator[str]:
        """The ids of all that no cut asked for."""
        yield from self._waiting
        for one in self._found:
            if isinstance(one, SourceRefusal):
                self._refused.append(one)
            else:
                yield one[0]


def _pairs(
    tar: Path, *, audio: bool
) -> Iterator[tuple[str, tuple[AudioPlace | None, Row | None]] | SourceRefusal]:
    """(id of a cut, (its audio, its recording in lhotse's words)) of each pair in a tar: data, then words."""
    held: TarredFile | None = None
    for found in tarred_files(tar, (".json", ".nodata", ".nometa"), audio=audio):
        if isinstance(found, SourceRefusal):
            yield found
        elif held is None:
            held = found
        else:
            stem = held.name.rpartition(".")[0].removeprefix("./")
            empty = held.name.endswith(".nodata")
            yield stem, (None if empty else held.place, _object(found.data or b""))
            held = None
    if held is not None:
        yield SourceRefusal(f"{tar.name}: {held.name[:200]}", "damaged_archive", "no words follow its audio")


def _field_values(path: Path) -> Iterator[tuple[str, Row] | SourceRefusal]:
    for _, row in json_rows(path):
        if isinstance(row, SourceRefusal):
            yield row
        elif name := one_word(row.get("cut_id")):
            yield name, row


def _object(data: bytes) -> Row | None:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


# ----------------------------------------------------------------------------- cuts


def cut_item(name: str, row: Row, place: AudioPlace, columns: NamedColumns) -> SourceItem:
    """A cut as a stretch of its recording, whose bytes are at `place`.

    Raises:
        CutRefused: it is no plain stretch of one recording.
    """
    kind = row.get("type", "MonoCut")
    if kind != "MonoCut":
        raise CutRefused(*_NOT_PLAIN.get(str(kind), ("bad_row", f"a {str(kind)[:80]} is no cut")))
    recording = row.get("recording") or {}
    transforms = {
        str(one.get("name")) if isinstance(one, dict) else "?" for one in recording.get("transforms") or ()
    }
    if transforms - _HARMLESS:
        names = ", ".join(sorted(transforms))
        told = f"lhotse changes it in the reading ({names}): save its audio first (save_audios)"
        raise CutRefused("changed_audio", told)
    try:
        start = seconds_of(row, "start") or 0.0
        duration, whole = seconds_of(row, "duration"), seconds_of(recording, "duration")
        if not duration:
            raise ValueError("it has no duration")
        is_whole = start == 0 and whole is not None and abs(duration - whole) < _SLACK_S
        item = SourceItem(name, place, start, None if is_whole else start + duration)
        return _add_supervisions(item, row, start + duration, columns)
    except ValueError as error:
        raise CutRefused("bad_row", str(error)) from None


def _add_supervisions(item: SourceItem, row: Row, end: float, columns: NamedColumns) -> SourceItem:
    """Raises ValueError: times that make no sense."""
    custom = take_apart(row.get("custom") or {}, columns)
    said = [one for one in row.get("supervisions") or () if isinstance(one, dict)]
    item = replace(
        item, language=custom.language, speaker=custom.speaker, split=custom.split, columns=custom.rest
    )
    length = end - item.start
    if len(said) == 1 and _is_all(said[0], length):
        facts = _facts(said[0], columns)
        return replace(
            item,
            text=facts.text or custom.text,
            language=facts.language or item.language,
            speaker=facts.speaker or item.speaker,
            columns={**item.columns, **facts.rest},
        )
    labels = [label for one in said if (label := _label(one, item.start, end, columns))]
    labels.sort(key=lambda label: (label.start, label.end))
    return replace(item, text=None if labels else custom.text, labels=tuple(labels))


def _is_all(said: Row, length: float) -> bool:
    start, duration = said.get("start", 0), said.get("duration", length)
    return (
        isinstance(start, int | float)
        and isinstance(duration, int | float)
        and (abs(start) < _SLACK_S and abs(start + duration - length) < _SLACK_S)
    )


def _facts(said: Row, columns: NamedColumns) -> Any:
    custom = said.get("custom")
    flat = {**(custom if isinstance(custom, dict) else {}), **said}
    left = ("id", "recording_id", "start", "duration", "channel", "custom", "alignment")
    return take_apart(flat, columns, left)


def _label(said: Row, start: float, end: float, columns: NamedColumns) -> Label | None:
    """A supervision on the recording's clock; None where it lies outside of the cut.

    One that goes beyond the cut keeps its stretch in it, and its text as a column: it is not all spoken there.
    """
    begins, length = said.get("start", 0.0), said.get("duration")
    if not isinstance(begins, int | float) or not isinstance(length, int | float):
        raise ValueError("a supervision without its times")  # noqa: TRY004 - of a row, not of ours
    if not math.isfinite(begins) or not math.isfinite(length):
        raise ValueError("a supervision whose times are no numbers")
    first, last = start + begins, start + begins + length
    facts = _facts(said, columns)
    rest, text = facts.rest, facts.text
    if name := one_word(said.get("id")):
        rest = {"id": name, **rest}
    if text and (first < start - _SLACK_S or last > end + _SLACK_S):
        rest, text = {**rest, "text_beyond_cut": text}, None
    first, last = max(first, start), min(last, end)
    if last - first < _SLACK_S:
        return None
    return Label(first, last, facts.speaker, text, facts.language, rest)


def _file_of(row: Row, folder: Path) -> tuple[AudioPlace, int | None]:
    """The file of a cut's recording, and the channel in it.

    Raises:
        CutRefused: there is none.
    """
    if row.get("type", "MonoCut") in _NOT_PLAIN:
        raise CutRefused(*_NOT_PLAIN[row["type"]])
    recording = row.get("recording")
    if not isinstance(recording, dict) or not isinstance(recording.get("sources"), list):
        raise CutRefused("bad_row", "it has no recording")
    channel = row.get("channel", 0)
    for source in recording["sources"]:
        channels = source.get("channels") if isinstance(source, dict) else None
        if not isinstance(channels, list) or channel not in channels:
            continue
        kind, place = source.get("type"), source.get("source")
        if kind in _SOURCES:
            raise CutRefused(*_SOURCES[kind])
        if kind not in ("file", "url") or not isinstance(place, str) or not place:
            raise CutRefused("bad_row", f"a source of the type {str(kind)[:80]!r}")
        alone = len(channels) == 1
        return AudioPlace(place_beside(folder, place)), None if alone else channels.index(channel)
    raise CutRefused("bad_row", f"its recording has no channel {str(channel)[:80]}")


def is_cuts(path: Path) -> bool:
    """True for a file of lhotse's cuts."""
    if not re.search(r"\.jsonl(\.gz)?$", path.name):
        return False
    for _, row in json_rows(path):
        return isinstance(row, dict) and str(row.get("type", "")).endswith("Cut")
    return False
