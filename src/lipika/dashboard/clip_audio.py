"""The audio of one clip, out of its result archive: two or three ranges are read, never the whole tar.

What was found is kept for the next clip.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from lipika.archive.documents import segment_path
from lipika.archive.tar import Entry
from lipika.dashboard.archive_walk import Contents, TarLayout, members_in
from lipika.errors import ArchiveError, ObjectMissing
from lipika.services import Stores
from lipika.storage.store import Place

MAX_CLIP_BYTES = 32 << 20

_MAX_ARCHIVES = 64
_MAX_CLIPS = 8  # their bytes: a player asks more than once
_FOLDERS = ("metadata.json", "segments/", "transcriptions/")

Key = TypeVar("Key")
Value = TypeVar("Value")


def _begins(entry: Entry) -> bool:
    # A name with `?` is the short form of one whose record stands before it: belongs to the stretch before.
    return entry.name.startswith(_FOLDERS) and "?" not in entry.name


_LAYOUT = TarLayout(
    keeps=lambda entry: entry.name.startswith("segments/"),
    ends=lambda entry: entry.name.startswith("transcriptions/"),  # they follow the clips
    begins=_begins,
)


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
            remember(self._heard, (*name, segment_file), flac, _MAX_CLIPS)
        return flac

    async def _fetch_clip(
        self, place: Place, size: int, name: tuple[str, str | None], segment_file: str
    ) -> bytes:
        contents = self._known.get(name)
        if contents is None:
            contents = await members_in(place, size, _LAYOUT)
            remember(self._known, name, contents, _MAX_ARCHIVES)
        span = contents.get(segment_path(segment_file.removesuffix(".flac")))
        if span is None:
            raise ObjectMissing(f"{place.key} holds no clip {segment_file}")
        if span.size > MAX_CLIP_BYTES:
            raise ArchiveError("too_large", f"{segment_file} has {span.size:,} bytes")
        return await place.store.get_range(place.key, span.start, span.end)


def remember(held: OrderedDict[Key, Value], key: Key, value: Value, limit: int) -> None:
    """Keep it, and no more than `limit`: the oldest goes."""
    held[key] = value
    while len(held) > limit:
        held.popitem(last=False)
