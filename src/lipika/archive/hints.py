"""Languages that archives name, held against those that a list or table names for them."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from lipika.archive import members, metadata
from lipika.errors import LipikaError
from lipika.languages import find_language
from lipika.models import HintFrom, NewVideo
from lipika.storage import Store

LOOKED_AT = 1000
"""Archives that are opened, at most: those of a longer list are drawn by chance."""
_ENOUGH_BYTES = 8 << 20
"""Of one archive. Metadata that come later are for the worker to find."""
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class HintConflict:
    """A video whose row says another language than its archive; codes."""

    video_id: str
    row: str
    archive: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Counts of archives that name a language of their own, and those that name another one."""

    compared: int
    conflicts: tuple[HintConflict, ...]


class Draw:
    """Remembers some of the videos that go by, of those whose row says a language: the same ones every time."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str, NewVideo]] = []

    def watch(self, videos: Iterable[NewVideo]) -> Iterator[NewVideo]:
        """The same videos."""
        for video in videos:
            if video.language is not None and video.language_from is HintFrom.ROW:
                rank = int.from_bytes(hashlib.blake2b(video.video_id.encode(), digest_size=8).digest(), "big")
                entry = (-rank, video.video_id, video)
                if len(self._heap) < LOOKED_AT:
                    heapq.heappush(self._heap, entry)
                else:
                    heapq.heappushpop(self._heap, entry)
            yield video

    @property
    def videos(self) -> list[NewVideo]:
        return [video for _, _, video in sorted(self._heap, key=lambda entry: entry[1])]


async def compare(hinted: Iterable[NewVideo], place: Callable[[str], tuple[Store, str]]) -> Comparison:
    """Open archives and look. What cannot be read from here, or says nothing, is passed over: workers will see it."""

    def look(video: NewVideo) -> str:
        try:
            store, key = place(video.source_key)
            found = find_language(language_in_metadata(store, key, _ENOUGH_BYTES))
        except (LipikaError, OSError, ValueError):
            return ""
        return found.code if found else ""

    given = list(hinted)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="hints") as threads:
        said = await asyncio.gather(*(loop.run_in_executor(threads, look, video) for video in given))
    told = [(video, archive) for video, archive in zip(given, said, strict=True) if archive]
    return Comparison(
        len(told),
        tuple(
            HintConflict(video.video_id, video.language or "", archive)
            for video, archive in told
            if archive != video.language
        ),
    )


def language_in_metadata(store: Store, key: str, enough_bytes: int | None = None) -> str | None:
    """The language that an archive's metadata name, wherever they stand; usually they are the first member.

    Raises:
        LipikaError: it cannot be read.
    """
    read = 0
    with closing(store.open_read(key)) as reader:
        for member in members.read_members(reader):
            if not isinstance(member, members.Member):
                continue
            if member.metadata is not None:
                return metadata.language_of(member.metadata.fields())
            read += len(member.data)
            if enough_bytes is not None and read > enough_bytes:
                return None
    return None
