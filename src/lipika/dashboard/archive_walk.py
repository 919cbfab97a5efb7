"""The places of an archive's members, by reading ranges of it: never the whole tar.

Tars carry no table of contents. Headers are found by walking from one to the next, in several stretches at a time;
where a stretch begins, the next header is looked for.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lipika.archive.tar import BLOCK, Entry, Source, entries
from lipika.errors import ArchiveError
from lipika.storage.store import Place

_HEADER_BYTES = 4 * BLOCK  # a header with its pax record
_SCAN_BYTES = 64 << 10
_STRETCH_BYTES = 4 << 20
_MAX_STRETCHES = 16
_MAX_MEMBERS = 50_000  # of an archive that somebody else may have made


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


@dataclass(frozen=True, slots=True)
class TarLayout:
    """An archive's layout. `ends`: nothing that is kept comes after this member. `begins`: what looks like the header
    of such a member in the middle of the archive is one."""

    keeps: Callable[[Entry], bool]
    ends: Callable[[Entry], bool] = lambda _entry: False
    begins: Callable[[Entry], bool] = lambda _entry: True


Contents = dict[str, Span]
"""By the name as stored. Of several members with one name the last."""


async def members_in(
    place: Place, size: int, layout: TarLayout, *, stretches: int = _MAX_STRETCHES
) -> Contents:
    """The place of each member that the layout keeps, in the order of the archive.

    Raises:
        ArchiveError: it is no tar, is damaged, or has far too many members.
    """
    count = max(1, min(stretches, size // _STRETCH_BYTES))
    starts = [size * part // count // BLOCK * BLOCK for part in range(count)]
    ends = [*starts[1:], size]
    walks = (_walk(place, start, end, size, layout) for start, end in zip(starts, ends, strict=True))
    found = await asyncio.gather(*walks)
    return {name: span for contents in found for name, span in contents.items()}


async def _walk(place: Place, start: int, end: int, size: int, layout: TarLayout) -> Contents:
    found: Contents = {}
    at, seen = start if start == 0 else await _next_header(place, start, end, size, layout), 0
    while at is not None and at < end:
        member = await _header(place, at, size)
        if member is None or layout.ends(member[0]):
            break
        seen += 1
        if seen > _MAX_MEMBERS:
            raise ArchiveError("too_many_headers", f"{place.key} has more than {_MAX_MEMBERS:,} members")
        entry, span = member
        if layout.keeps(entry):
            found[entry.name] = span
        at = span.next_header
    return found


async def _header(place: Place, at: int, size: int) -> tuple[Entry, Span] | None:
    """The member whose header lies at `at`; long names of other packers take a second look."""
    window = await place.store.get_range(place.key, at, min(at + _HEADER_BYTES, size))
    try:
        return _member(window, at)
    except ArchiveError:
        if len(window) < _HEADER_BYTES:
            raise
    return _member(await place.store.get_range(place.key, at, min(at + _SCAN_BYTES, size)), at)


async def _next_header(place: Place, start: int, end: int, size: int, layout: TarLayout) -> int | None:
    """The first header at or after `start`."""
    while start < end:
        stop = min(start + _SCAN_BYTES, end)
        window = await place.store.get_range(place.key, start, min(stop + _HEADER_BYTES, size))
        for offset in _candidates(window[: stop - start]):
            try:
                member = _member(window[offset : offset + _HEADER_BYTES], start + offset)
            except ArchiveError:
                continue  # bytes of some audio that look like a header
            if member is not None and layout.begins(member[0]):
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
    entry = next(entries(source, max_headers=6, max_extension_bytes=_SCAN_BYTES), None)
    return None if entry is None else (entry, Span(at + source.position, entry.size))
