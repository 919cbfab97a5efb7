"""A memory of every clip of an export, for what is there twice or in two splits: hashes, on disk.

A clip is eight bytes for its id, text, audio, video and speaker each. Of these one is in memory at a time, and of a
pair of splits only that of the smaller one. The places of clips lie compressed, and are looked up for a few.
"""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Hashes: TypeAlias = NDArray[np.uint64]

NOTHING = 0
"""The hash of what is not known; it is never equal to another."""

_BLOCK = 1 << 20  # hashes
_PLACES_END = "\0"


class Trait(StrEnum):
    """A thing that clips may have in common."""

    ID = "id"
    TEXT = "text"
    AUDIO = "audio"
    VIDEO = "video"
    SPEAKER = "speaker"


def hash_text(text: str) -> int:
    """64 bits; `NOTHING` of nothing. Among 100 million two differ and meet with a chance of 1 in 4,000."""
    if not text:
        return NOTHING
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) or 1


class Page:
    """The clips of one portion, to be carried to the ledger."""

    def __init__(self) -> None:
        self._hashes: dict[Trait, list[int]] = {trait: [] for trait in Trait}
        self._places = list[str]()

    def add(self, place: str, hashes: dict[Trait, int]) -> None:
        for trait, found in self._hashes.items():
            found.append(hashes.get(trait, NOTHING))
        self._places.append(place)

    def __len__(self) -> int:
        return len(self._places)

    def pack(self) -> PackedPage:
        columns = {trait: np.array(found, np.uint64).tobytes() for trait, found in self._hashes.items()}
        places = zlib.compress(_PLACES_END.join(self._places).encode("utf-8", "surrogatepass"), 1)
        return PackedPage(len(self), columns, places)


@dataclass(frozen=True, slots=True)
class PackedPage:
    """A page as bytes, which are quick to send from process to process."""

    clips: int
    columns: dict[Trait, bytes]
    places: bytes


@dataclass(frozen=True, slots=True)
class Match:
    """A clip that has something in common with another. Splits are as they were given to `ClipLedger.add`."""

    place: str
    split: str
    other_place: str
    other_split: str


@dataclass(slots=True)
class _Split:
    """The pages of a split, in the order in which they came."""

    clips: int = 0
    ends: list[int] = field(default_factory=list)  # clips up to and with each page
    pages: list[tuple[int, int]] = field(default_factory=list)  # where their places lie: offset, bytes


class ClipLedger:
    """Pages in, matches out. Use as a context: its files are in a folder of its own."""

    def __init__(self, parent: Path | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lipika-verify-", dir=parent)
        self._root = Path(self._folder.name)
        self._splits: dict[str, _Split] = {}
        self._places = (self._root / "places").open("w+b")

    def __enter__(self) -> ClipLedger:
        return self

    def __exit__(self, *_error: object) -> None:
        self._places.close()
        self._folder.cleanup()

    def add(self, split: str, page: PackedPage) -> None:
        if not page.clips:
            return
        held = self._splits.setdefault(split, _Split())
        for trait, column in page.columns.items():
            with self._file(split, trait).open("ab") as file:
                file.write(column)
        held.pages.append((self._places.seek(0, 2), len(page.places)))
        self._places.write(page.places)
        held.clips += page.clips
        held.ends.append(held.clips)

    def find_repeated(self, trait: Trait, first: int) -> tuple[int, list[Match]]:
        """Clips that repeat an earlier one: how many, and the first ones with what they repeat."""
        values = self._all(trait)
        values.sort()
        twice = np.unique(values[1:][values[1:] == values[:-1]])
        twice = twice[twice != NOTHING]
        del values
        seen: dict[int, tuple[str, int]] = {}
        count, matches = 0, list[Match]()
        for split in self._splits if len(twice) else []:
            for at, value in self._positions(split, trait, twice):
                if value not in seen:
                    seen[value] = split, at
                    continue
                count += 1
                if len(matches) < first:
                    matches.append(self._match((split, at), seen[value]))
        return count, matches

    def find_shared(self, trait: Trait, first: int) -> tuple[int, list[Match]]:
        """Clips with something that another split has, too, counted in the smaller one: how many, and the first."""
        count, matches = 0, list[Match]()
        named = [split for split in self._splits if split]
        for pair in combinations(named, 2):
            smaller, larger = sorted(pair, key=lambda split: self._splits[split].clips)
            values = np.unique(self._column(smaller, trait))
            values = self._among(larger, trait, values[values != NOTHING])
            shown = list[tuple[int, int]]()
            for found in self._positions(smaller, trait, values) if len(values) else []:
                count += 1
                if len(matches) + len(shown) < first:
                    shown.append(found)
            others = self._first_positions(larger, trait, {value for _, value in shown})
            matches += [self._match((smaller, at), (larger, others[value])) for at, value in shown]
        return count, matches

    def _among(self, split: str, trait: Trait, values: Hashes) -> Hashes:
        """Those of the sorted `values` that a split holds."""
        held = np.zeros(len(values), np.bool_)
        for _, block in self._blocks(split, trait) if len(values) else []:
            places = np.minimum(np.searchsorted(values, block), len(values) - 1)
            held[places[values[places] == block]] = True
        return values[held]

    def _positions(self, split: str, trait: Trait, values: Hashes) -> Iterator[tuple[int, int]]:
        """(clip of the split, value) of those that have one of the sorted `values`."""
        for start, block in self._blocks(split, trait):
            places = np.minimum(np.searchsorted(values, block), len(values) - 1)
            for at in np.flatnonzero(values[places] == block).tolist():
                yield start + at, int(block[at])

    def _first_positions(self, split: str, trait: Trait, values: set[int]) -> dict[int, int]:
        wanted, found = np.array(sorted(values), np.uint64), dict[int, int]()
        if values:
            for at, value in self._positions(split, trait, wanted):
                found.setdefault(value, at)
                if len(found) == len(values):
                    break
        return found

    def _match(self, one: tuple[str, int], other: tuple[str, int]) -> Match:
        return Match(self._place(*one), one[0], self._place(*other), other[0])

    def _place(self, split: str, clip: int) -> str:
        held = self._splits[split]
        page = bisect_right(held.ends, clip)
        offset, size = held.pages[page]
        self._places.seek(offset)
        places = zlib.decompress(self._places.read(size)).decode("utf-8", "surrogatepass").split(_PLACES_END)
        return places[clip - (held.ends[page - 1] if page else 0)]

    def _file(self, split: str, trait: Trait) -> Path:
        return self._root / f"{list(self._splits).index(split)}-{trait}"

    def _column(self, split: str, trait: Trait) -> Hashes:
        return np.fromfile(self._file(split, trait), np.uint64)

    def _all(self, trait: Trait) -> Hashes:
        values = np.empty(sum(held.clips for held in self._splits.values()), np.uint64)
        at = 0
        for split in self._splits:
            for _, block in self._blocks(split, trait):
                values[at : at + len(block)] = block
                at += len(block)
        return values

    def _blocks(self, split: str, trait: Trait) -> Iterator[tuple[int, Hashes]]:
        """(number of the first clip, hashes)."""
        with self._file(split, trait).open("rb") as file:
            start = 0
            while len(block := np.fromfile(file, np.uint64, _BLOCK)):
                yield start, block
                start += len(block)
