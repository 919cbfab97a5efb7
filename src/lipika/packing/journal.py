"""The journal of a packing: which recordings lie in which archives, a file for each step beside them.

`pack/<video id>.jsonl` below the archives: the first line says what was written, the others name a recording each. It
is written when its archives are in place, so that what it names is there, and what it does not name is packed again
under the same name.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

import orjson

from lipika.errors import UsageError
from lipika.packing.items import SourceItem
from lipika.storage.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FOLDER = "pack"
REFUSED = f"{FOLDER}/refused.csv"
_AT_A_TIME = 16
_BUFFER = 1 << 16


def item_key(root: str, item: SourceItem) -> int:
    """A number for one recording, or stretch, of one source."""
    place = item.audio
    parts = (root, item.name, place.place, place.offset, item.start, item.end, item.channel)
    return _hash("\0".join(map(str, parts)))


def print_key(key: int, fingerprint: str) -> int:
    """A number for one recording as its file was then."""
    return _hash(f"{key}\0{fingerprint}")


def _hash(text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


class KeySet:
    """Numbers of 64 bits, eight bytes each: a million takes 8 MB."""

    def __init__(self) -> None:
        import numpy as np

        self._sorted: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._new: set[int] = set()

    def __contains__(self, key: int) -> bool:
        if key in self._new:
            return True
        at = bisect_left(self._sorted, key)
        return at < len(self._sorted) and int(self._sorted[at]) == key

    def __len__(self) -> int:
        return len(self._new) + len(self._sorted)

    def add(self, key: int) -> None:
        self._new.add(key)
        if len(self._new) >= _BUFFER:
            import numpy as np

            both = np.concatenate((self._sorted, np.fromiter(self._new, np.uint64, len(self._new))))
            both.sort()
            self._sorted = both
            self._new.clear()


@dataclass(frozen=True, slots=True)
class PackedVideo:
    """An archive that is in place."""

    video_id: str
    size: int  # bytes
    sha256: str
    segments: int
    seconds: float  # of audio
    language: str  # "" where none is known


@dataclass(slots=True)
class Journal:
    """All steps of one destination."""

    videos: dict[str, tuple[str, PackedVideo]] = field(default_factory=dict)  # by id; (source, archive)
    _keys: KeySet = field(default_factory=KeySet)
    _prints: KeySet = field(default_factory=KeySet)
    _numbers: dict[str, int] = field(default_factory=dict)

    @classmethod
    async def load(cls, store: Store) -> Journal:
        """The journal of a destination; empty where nothing has been packed yet.

        Raises:
            UsageError: a part of it cannot be read.
        """
        journal = cls()
        parts = [found.key async for found in store.list(FOLDER) if found.key.endswith(".jsonl")]
        parts.sort()
        for at in range(0, len(parts), _AT_A_TIME):
            chosen = parts[at : at + _AT_A_TIME]
            for key, data in zip(chosen, await asyncio.gather(*map(store.get_bytes, chosen)), strict=True):
                journal.take(f"{store.url}/{key}", data)
        return journal

    def take(self, where: str, data: bytes) -> None:
        try:
            head, *items = map(orjson.loads, filter(None, data.split(b"\n")))
            videos = [PackedVideo(**video) for video in head["videos"]]
            keys = [(int(item["key"], 16), int(item["print"], 16)) for item in items]
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{where} is no part of a journal of `lipika pack` ({error}): move it away; what it names is packed"
                " again"
            ) from None
        self._note(head["source"], videos, keys)

    def _note(self, source: str, videos: Sequence[PackedVideo], keys: Iterable[tuple[int, int]]) -> None:
        for video in videos:
            self.videos[video.video_id] = (source, video)
        for key, mark in keys:
            self._keys.add(key)
            self._prints.add(mark)

    def has(self, key: int) -> bool:
        return key in self._keys

    def has_changed(self, key: int, fingerprint: str) -> bool:
        """True if the file of a recording that is packed is not as it was."""
        return bool(fingerprint) and print_key(key, fingerprint) not in self._prints

    def choose_id(self, name: str, *, numbered: bool) -> str:
        """The next id that no archive has: `name_00001` and on, or `name` itself, else `name_2` and on."""
        number = self._numbers.get(name, 0)
        while True:
            number += 1
            chosen = f"{name}_{number:05d}" if numbered else name if number == 1 else f"{name}_{number}"
            if chosen not in self.videos:
                self._numbers[name] = number
                return chosen

    async def write(
        self, store: Store, source: str, videos: Sequence[PackedVideo], items: Sequence[tuple[str, int, str]]
    ) -> None:
        """Note archives that are in place, with their recordings: (name, key, fingerprint)."""
        keys = [(key, print_key(key, fingerprint)) for _, key, fingerprint in items]
        lines: Iterator[object] = iter(
            (
                {"source": source, "videos": [asdict(video) for video in videos]},
                *(
                    {"item": name, "key": f"{key:016x}", "print": f"{mark:016x}"}
                    for (name, _, _), (key, mark) in zip(items, keys, strict=True)
                ),
            )
        )
        data = b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
        await store.put_bytes(f"{FOLDER}/{videos[0].video_id}.jsonl", data)
        self._note(source, videos, keys)
