"""The audio of one clip, out of its result archive: two or three ranges are read, never the whole tar.

Result archives carry no table of contents. Headers are found by walking from one to the next, in several
stretches at a time; where a stretch begins, the next header is looked for. What was found is kept for the next clip.
"""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from lipika.archive.documents import segment_path
from lipika.archive.tar import BLOCK, Entry, Source, entries
from lipika.errors import ArchiveError, ObjectMissing
from lipika.services import Stores
from lipika.storage.store import Place

MAX_CLIP_BYTES = 32 << 20

_HEADER_BYTES = 4 * BLOCK  # a header with its pax record
_SCAN_BYTES = 64 << 10
_STRETCH_BYTES = 4 << 20
_MAX_STRETCHES = 16
_MAX_ARCHIVES = 64
_MAX_CLIPS = 8  # their bytes: a player asks more than once
_FOLDERS = ("metadata.json", "segments/", "transcriptions/")


@dataclass(frozen=True, slots=True)
class Span:
    """The place of a member's content in its archive, in bytes."""

    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size

    @property
    def next_header(self) -> int:
        return self.end + -self.size % BLOCK


Contents = dict[str, Span]
Key = TypeVar("Key")
Value = TypeVar("Value")


class ClipAudio:
    """Reads clips; remembers where the clips of the last archives lie."""

    def __init__(self, stores: Stores, output_url: str) -> None:
        self._stores = stores
        self._output_url = output_url
        self._known: OrderedDict[tuple[str, str | None], Contents] = OrderedDict()
        self._heard: OrderedDict[tuple[str, str | None, str], bytes] = OrderedDict()

    async def read(self, output_key: str, segment_file: str) -> bytes:
        """The packed FLAC of one clip.

        Raises:
            ObjectMissing: no such archive, or no such clip in it.
            ArchiveError: what lies there is no result archive.
        """
        place = self._stores.place(output_key, self._output_url)
        info = await place.store.head(place.key)
        name = (f"{place.store.url}/{place.key}", info.etag)
        flac = self._heard.get((*name, segment_file))
        if flac is None:
            flac = await self._fetch_clip(place, info.size, name, segment_file)
            _remember(self._heard, (*name, segment_file), flac, _MAX_CLIPS)
        return flac

    async def _fetch_clip(
        self, place: Place, size: int, name: tuple[str, str | None], segment_file: str
    ) -> bytes:
        contents = self._known.get(name)
        if contents is None:
            contents = await clips_in(place, size)
            _remember(self._known, name, contents, _MAX_ARCHIVES)
        span = contents.get(segment_path(segment_file.removesuffix(".flac")))
        if span is None:
            raise ObjectMissing(f"{place.key} holds no clip {segment_file}")
        if span.size > MAX_CLIP_BYTES:
            raise ArchiveError("too_large", f"{segment_file} has {span.size:,} bytes")
        return await place.store.get_range(place.key, span.start, span.end)


def _remember(held: OrderedDict[Key, Value], key: Key, value: Value, limit: int) -> None:
    """Keep it, and no more than `limit`: the oldest goes."""
    held[key] = value
    while len(held) > limit:
        held.popitem(last=False)


async def clips_in(place: Place, size: int) -> Contents:
    """The place of each clip of an archive. Transcriptions, which follow the clips, are not walked through."""
    count = max(1, min(_MAX_STRETCHES, size // _STRETCH_BYTES))
    starts = [size * part // count // BLOCK * BLOCK for part in range(count)]
    stretches = zip(starts, [*starts[1:], size], strict=True)
    found = await asyncio.gather(*(_walk(place, start, end, size) for start, end in stretches))
    return {name: span for contents in found for name, span in contents.items()}


async def _walk(place: Place, start: int, end: int, size: int) -> Contents:
    found: Contents = {}
    at = start if start == 0 else await _next_header(place, start, end, size)
    while at is not None and at < end:
        window = await place.store.get_range(place.key, at, min(at + _HEADER_BYTES, size))
        member = _member(window, at)
        if member is None or member[0].name.startswith("transcriptions/"):
            break
        entry, span = member
        if entry.name.startswith("segments/"):
            found[entry.name] = span
        at = span.next_header
    return found


async def _next_header(place: Place, start: int, end: int, size: int) -> int | None:
    """The first header at or after `start`."""
    while start < end:
        stop = min(start + _SCAN_BYTES, end)
        window = await place.store.get_range(place.key, start, min(stop + _HEADER_BYTES, size))
        for offset in _candidates(window[: stop - start]):
            try:
                member = _member(window[offset : offset + _HEADER_BYTES], start + offset)
            except ArchiveError:
                continue  # bytes of some audio that look like a header
            # A name with `?` is the short form of one whose record stands before it: belongs to the stretch before.
            if member is not None and member[0].name.startswith(_FOLDERS) and "?" not in member[0].name:
                return start + offset
        start = stop
    return None


def _candidates(window: bytes) -> Iterator[int]:
    return (
        offset
        for offset in range(0, len(window) - BLOCK + 1, BLOCK)
        if window[offset + 257 : offset + 262] == b"ustar"
    )


def _member(window: bytes, at: int) -> tuple[Entry, Span] | None:
    """The member whose header begins the window, which lies at `at`; None at the archive's end."""
    # A source at its very start wants an archive's first block; every header of ours would do as one.
    source = Source(io.BytesIO(window))
    entry = next(entries(source, max_headers=3, max_extension_bytes=_HEADER_BYTES), None)
    return None if entry is None else (entry, Span(at + source.position, entry.size))
