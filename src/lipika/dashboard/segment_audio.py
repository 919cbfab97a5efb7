"""A member of an input archive, as somebody else packed it: what a clip was made from, or what was left out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from lipika.archive.tar import Entry, printable
from lipika.dashboard.archive_walk import Contents, TarLayout, members_in
from lipika.dashboard.clip_audio import MAX_CLIP_BYTES, remember
from lipika.errors import ArchiveError, ObjectMissing
from lipika.models import SegmentName
from lipika.services import Stores
from lipika.storage.store import Place

_MAX_ARCHIVES = 16
_MAX_SEGMENTS = 4


def _is_plain(entry: Entry) -> bool:
    return not entry.is_folder and entry.problem is None and not _leaf(entry.name).startswith(".")


_LAYOUT = TarLayout(keeps=_is_plain)


@dataclass(frozen=True, slots=True)
class Segment:
    """A member's bytes. `name`: what its file name says, where it says anything."""

    data: bytes
    name: SegmentName | None


class SegmentAudio:
    """Reads members; remembers where those of the last archives lie."""

    def __init__(self, stores: Stores, store_url: str) -> None:
        self._stores = stores
        self._store_url = store_url
        self._known: OrderedDict[tuple[str, str | None], Contents] = OrderedDict()
        self._read: OrderedDict[tuple[str, str | None, str], bytes] = OrderedDict()

    async def read(self, source_key: str, segment_file: str, *, last: bool = False) -> Segment:
        """The member that flags and clips call `segment_file`; of several with that name the first, or the `last`.

        Raises:
            ObjectMissing: no such archive, or no such member in it that is a plain file.
            ArchiveError: what lies there is no tar, or the member is too large to be heard here.
        """
        place = self._stores.place(source_key, self._store_url)
        info = await place.store.head(place.key)
        archive = (f"{place.store.url}/{place.key}", info.etag)
        name = await self._find(place, info.size, archive, segment_file, last=last)
        span = self._known[archive][name]
        if span.size > MAX_CLIP_BYTES:
            raise ArchiveError(
                "too_large", f"{segment_file} has {span.size:,} bytes; {MAX_CLIP_BYTES:,} can be heard here"
            )
        data = self._read.get((*archive, name))
        if data is None:
            data = await place.store.get_range(place.key, span.start, span.end) if span.size else b""
            remember(self._read, (*archive, name), data, _MAX_SEGMENTS)
        return Segment(data, _parse_name(name))

    async def _find(
        self, place: Place, size: int, archive: tuple[str, str | None], segment_file: str, *, last: bool
    ) -> str:
        contents = self._known.get(archive)
        name = _find_name(contents or {}, segment_file, last=last)
        if name is None:
            # In one go where that finds nothing: a tar inside of a tar, or headers of before 1988, mislead it.
            for stretches in (16, 1):
                contents = await members_in(place, size, _LAYOUT, stretches=stretches)
                name = _find_name(contents, segment_file, last=last)
                if name is not None:
                    break
        if name is None or contents is None:
            raise ObjectMissing(f"{place.key} holds no plain file {segment_file}")
        remember(self._known, archive, contents, _MAX_ARCHIVES)
        return name


def _find_name(names: Contents, segment_file: str, *, last: bool) -> str | None:
    """The member's name as stored: by its file name, its path, its times, or what it gave a clip of."""
    wanted = _parse_name(segment_file)
    for found in (
        [name for name in names if segment_file in (printable(_leaf(name)), printable(name))],
        [name for name in names if wanted is not None and _parse_name(name) == wanted],
        _around(names, wanted) if wanted is not None else [],
    ):
        if found:
            usual = [name for name in found if "segments/" in name.lower().replace("\\", "/")] or found
            return usual[-1 if last else 0]
    return None


def _around(names: Iterable[str], clip: SegmentName) -> list[str]:
    """Segments of the clip's speaker that hold its whole span."""
    return [
        name
        for name in names
        if (of := _parse_name(name)) is not None
        and of.speaker == clip.speaker
        and of.start_cs <= clip.start_cs
        and clip.end_cs <= of.end_cs
    ]


def _leaf(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _parse_name(name: str) -> SegmentName | None:
    stem = _leaf(name).rpartition(".")[0]
    try:
        return SegmentName.parse(stem)
    except ValueError:
        return None
