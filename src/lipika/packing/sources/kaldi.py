"""Kaldi's data folders: `wav.scp`, with `segments`, `text`, `utt2spk`, `utt2lang` and whatever else there is.

Commands in `wav.scp` are never run. Those that only pass a file on (`cat FILE |`, `flac -c -d -s FILE |`) are
understood as that file; others are refused.
"""

from __future__ import annotations

import os
import re
import shlex
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from lipika.packing.items import AudioPlace, SourceItem, SourceRefusal
from lipika.packing.sources.rows import place_beside, split_named

Given = Iterator[SourceItem | SourceRefusal]

_KNOWN = ("text", "utt2spk", "utt2lang", "spk2gender", "reco2file_and_channel")
_LEFT_OUT = ("utt2dur", "utt2num_frames", "utt2uniq", "utt2category")
"""Lists of utterances that say nothing that the audio does not, or what concerns Kaldi's own training."""

_ARK = re.compile(r"(?P<path>.+\.ark):(?P<offset>\d+)")
_FLAC_OPTIONS = re.compile(r"-[cds]+|--stdout|--decode|--silent|--totally-silent")
_CHANNELS = {"A": 0, "B": 1, "1": 0, "2": 1}
_LONGEST_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class KaldiSource:
    """A data folder, or a folder of such (`train`, `dev`, `test`). `kind` is `kaldi`."""

    root: str
    kind: str = "kaldi"

    def items(self, audio: bool = True) -> Given:  # noqa: ARG002 - nothing is read
        """As `PackSource.items`: folders by name; in each the order of `segments`, or of `wav.scp`."""
        for folder, folders, names in os.walk(self.root):
            folders.sort()
            if "wav.scp" in names:
                shown = os.path.relpath(folder, self.root)
                try:
                    with _Folder(Path(folder), shown, names) as data:
                        yield from data.items()
                except OSError as error:
                    yield SourceRefusal(shown, "unreadable_file", f"{error.filename}: {error.strerror}")


class _Folder:
    """One data folder, whose lists are looked into by id."""

    def __init__(self, folder: Path, shown: str, names: list[str]) -> None:
        self._folder = folder
        self._shown = "" if shown == "." else f"{shown}/"
        self._names = set(names)
        self._owner = ExitStack()
        self._split = split_named(shown if shown != "." else folder.name)
        self._lists = {name: self._list(name) for name in _KNOWN if name in self._names}
        self._more = {
            name.removeprefix("utt2"): self._list(name)
            for name in sorted(self._names)
            if name.startswith("utt2") and "." not in name and name not in (*_KNOWN, *_LEFT_OUT)
        }

    def __enter__(self) -> _Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self._owner.close()

    def _list(self, name: str) -> _List:
        return self._owner.enter_context(_List(self._folder / name))

    def items(self) -> Given:
        segments = "segments" in self._names
        recordings = self._list("wav.scp") if segments else None
        for number, line in _lines(self._folder / ("segments" if segments else "wav.scp")):
            where = f"{self._shown}{'segments' if segments else 'wav.scp'}:{number}"
            try:
                yield self._segment(line, recordings) if recordings else self._recording(line)
            except _Refused as error:
                yield SourceRefusal(where, *error.args)

    def _recording(self, line: str) -> SourceItem:
        name, _, source = line.partition(" ")
        return self._item(name, name, source.strip(), 0.0, None)

    def _segment(self, line: str, recordings: _List) -> SourceItem:
        parts = line.split()
        try:
            name, recording, start, end = parts[0], parts[1], float(parts[2]), float(parts[3])
        except (IndexError, ValueError):
            raise _Refused("bad_row", f"no segment: {line[:200]!r}") from None
        if not 0 <= start < (end if end > 0 else float("inf")):
            raise _Refused("bad_row", f"{name} goes from {start:g} to {end:g} s")
        source = recordings.find(recording)
        if source is None:
            raise _Refused("missing_recording", f"wav.scp has no {recording[:200]!r}")
        return self._item(name, recording, source, start, end if end > 0 else None)

    def _item(self, name: str, recording: str, source: str, start: float, end: float | None) -> SourceItem:
        place = _place(source, self._folder)
        channel = None
        if (listed := self._look("reco2file_and_channel", recording)) and len(parts := listed.split()) == 2:
            channel = _CHANNELS.get(parts[1])
        speaker = self._look("utt2spk", name)
        columns = {
            key: value for key, listed in self._more.items() if (value := listed.find(name)) is not None
        }
        if gender := self._look("spk2gender", speaker or name):
            columns["gender"] = gender
        if recording != name:
            columns["recording"] = recording
        return SourceItem(
            name=name,
            audio=place,
            start=start,
            end=end,
            channel=channel,
            language=self._look("utt2lang", name),
            speaker=speaker,
            text=self._look("text", name),
            split=self._split,
            columns=columns,
        )

    def _look(self, name: str, key: str) -> str | None:
        listed = self._lists.get(name)
        return (listed.find(key) or None) if listed else None


class _Refused(Exception):
    """A line that gives no recording: (reason, detail)."""


def _place(source: str, folder: Path) -> AudioPlace:
    """The file that an entry of `wav.scp` is.

    Raises:
        _Refused: it is a command, or a place in a file of another kind.
    """
    if source.endswith("|"):
        source = _passed_on(source.removesuffix("|").strip())
    elif found := _ARK.fullmatch(source):
        return _find_in_ark(place_beside(folder, found["path"]), int(found["offset"]))
    if not source or source == "-":
        raise _Refused("bad_row", "wav.scp names no file")
    return AudioPlace(place_beside(folder, source))


def _passed_on(command: str) -> str:
    try:
        tool, *words = shlex.split(command)
    except ValueError:
        tool, words = command.partition(" ")[0], []
    files = [word for word in words if not word.startswith("-")]
    plain = len(files) == 1 and not set(command) & set("|;&<>$`*?(){}\n")
    if plain and tool == "cat" and len(words) == 1:
        return files[0]
    if plain and tool == "flac" and all(word in files or _FLAC_OPTIONS.fullmatch(word) for word in words):
        return files[0]
    raise _Refused(
        "command",
        f"its audio is what a command gives, and commands are not run: {command[:200]!r}. Write it to files first",
    )


def _find_in_ark(path: str, offset: int) -> AudioPlace:
    """A WAV in an archive of Kaldi's, as `wav-copy` writes it: its header says where it ends."""
    try:
        with Path(path).open("rb") as file:
            file.seek(offset)
            head = file.read(12)
    except OSError as error:
        raise _Refused("missing_file", f"{path}: {error.strerror or error}") from None
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise _Refused("not_audio", f"at byte {offset:,} of {path} there is no WAV")
    return AudioPlace(path, offset, 8 + int.from_bytes(head[4:8], "little"))


# ----------------------------------------------------------------------------- lists


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, blanks at their ends left out."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            text = line.decode("utf-8", "surrogateescape").strip().replace("\t", " ")
            if text:
                yield number, text


class _List:
    """A file of `id value` lines, in any order: 16 bytes a line in memory. The first of an id counts."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._keys: array[int] = array("Q")
        self._offsets: array[int] = array("Q")
        at, last, in_order = 0, -1, True
        while line := self._file.readline(_LONGEST_LINE):
            if key := line.split(None, 1)[:1]:
                number = _number(key[0])
                in_order = in_order and number > last
                last = number
                self._keys.append(number)
                self._offsets.append(at)
            at += len(line)
        if not in_order:
            self._sort()

    def _sort(self) -> None:
        import numpy as np

        keys = np.frombuffer(self._keys, np.uint64)
        order = keys.argsort(kind="stable")
        offsets = np.frombuffer(self._offsets, np.uint64)[order]
        self._keys, self._offsets = array("Q", keys[order].tobytes()), array("Q", offsets.tobytes())

    def __enter__(self) -> _List:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def find(self, name: str) -> str | None:
        """The value of an id; None where it is not in it."""
        wanted = name.encode("utf-8", "surrogateescape")
        number = _number(wanted)
        at = bisect_left(self._keys, number)
        while at < len(self._keys) and self._keys[at] == number:
            self._file.seek(self._offsets[at])
            key, *value = self._file.readline(_LONGEST_LINE).split(None, 1)
            if key == wanted:
                return value[0].decode("utf-8", "surrogateescape").strip() if value else ""
            at += 1
        return None


def _number(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest())
