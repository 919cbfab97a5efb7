"""A source to input archives, with a journal and a report: the work behind `lipika pack`, and before `lipika run`."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO

from lipika.archive.sources import is_url, results_root
from lipika.config import Settings
from lipika.errors import ObjectMissing, UsageError
from lipika.packing.archives import OpenArchive
from lipika.packing.fetch import Fetcher
from lipika.packing.items import PackSource, SourceRefusal
from lipika.packing.journal import REFUSED, Journal, PackedVideo
from lipika.packing.kinds import SourceOptions, open_source
from lipika.packing.packer import Packer, PackOptions, PackTally, ReadyArchives
from lipika.packing.values import video_name
from lipika.services import store_settings
from lipika.storage import Store
from lipika.wording import duration

SKIPPED = "skipme"
"""The reason of what the source itself says to leave out."""

NO_LOSS = ("other_file", "link_back", SKIPPED)
"""Reasons that lose no recording: nothing there was one, or its owner does not want it."""

_MARK = b'"packed":{"source":'
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class PackOrder:
    """One packing: of what, to where, and a person's word on it."""

    source: str
    out: str
    options: SourceOptions = field(default_factory=SourceOptions)
    kind: str | None = None
    force_language: str | None = None

    @property
    def destination(self) -> str:
        return results_root(self.out)

    def open(self) -> PackSource:
        """Raises UsageError: it is nothing that can be packed."""
        return open_source(self.source, self.options, self.kind)

    @property
    def language(self) -> str | None:
        """A language for what says none: unless a person names a column, or folders."""
        named = self.options.language
        return None if self.options.column("language") or self.options.from_folder("language") else named


@dataclass(frozen=True, slots=True)
class PackReport:
    """The outcome of a packing: recordings = packed + packed_before + recordings_refused + skipped."""

    source: str
    kind: str
    out: str
    archives: int  # new ones
    archives_before: int  # of this source, from earlier packings
    recordings: int  # all that the source named
    packed: int
    packed_before: int
    recordings_refused: int
    skipped: int  # rows that the source itself says to leave out
    changed: int  # of those packed before: their file is not as it was; they are left as they are
    refused: dict[str, int]  # by reason; labels, stretches and folders that could not be read among them
    examples: dict[str, str]  # the first of each reason
    other_files: int  # of a folder, what is no audio
    segments: int
    hours: float
    languages: dict[str, float]  # hours; "" where none is known
    left_out: dict[str, float]  # hours of long recordings that are no segments, by reason
    notes: list[str]  # sentences for a person
    columns_left_out: int  # segments whose columns were over 64 KiB
    refused_list: str  # where each of them stands; empty if there are none
    seconds: float

    @property
    def lost(self) -> int:
        """Recordings, or labelled stretches of some, that are in no archive."""
        return sum(self.refused.values())


class Packing:
    """A packing under way: archives as they are in place, and the report at the end.

    Raises:
        UsageError: nothing is there that can be packed, or the destination holds what is not ours.
    """

    def __init__(self, settings: Settings, order: PackOrder) -> None:
        self.order = order
        self.source = order.open()
        self._settings = store_settings(settings)
        self.store = Store.open(order.destination, self._settings, create=True)
        self.journal = Journal()
        self.packer: Packer | None = None
        self._started = time.monotonic()
        self._new = 0

    @property
    def tally(self) -> PackTally:
        return self.packer.tally if self.packer else PackTally()

    def is_of_source(self, source: str) -> bool:
        """True if an archive of the journal came of the source that is packed now."""
        return source == self.source.root

    def packed_before(self) -> list[PackedVideo]:
        """Archives of this source that were in place when this packing began, by their ids."""
        return [video for source, video in self.journal.videos.values() if self.is_of_source(source)]

    async def load(self) -> None:
        """Read what earlier packings have done."""
        self.journal = await Journal.load(self.store)

    async def archives(self) -> AsyncIterator[PackedVideo]:
        """Pack; gives each archive when it is in place and in the journal.

        Raises:
            UsageError: an archive of somebody else has its name.
            StorageUnavailable: a store stayed away; the same packing goes on where this one ended.
        """
        with ExitStack() as owner:
            scratch = None if is_url(self.store.url) else Path(self.store.url)
            refused = owner.enter_context(_RefusedList(scratch))
            options = PackOptions(
                language=self.order.language,
                force_language=self.order.force_language,
                prefix=_prefix(self.source.root, self.store.url),
                scratch=scratch,
            )
            fetcher = Fetcher(self._settings, scratch)
            self.packer = Packer(self.source, fetcher, self.journal, options, refused.add)
            ready = self.packer.archives()
            try:
                while (one := await asyncio.to_thread(next, ready, None)) is not None:
                    for video in await self._put(one):
                        self._new += 1
                        yield video
            except (asyncio.CancelledError, GeneratorExit):
                self.packer.stop()
                raise
            await refused.put(self.store)

    async def _put(self, ready: ReadyArchives) -> list[PackedVideo]:
        try:
            videos = [await self._put_one(video_id, archive) for video_id, archive in ready.archives]
            await self.journal.write(self.store, self.source.root, videos, ready.items)
            return videos
        finally:
            ready.close()

    async def _put_one(self, video_id: str, archive: OpenArchive) -> PackedVideo:
        key = f"{video_id}.tar"
        await self._refuse_foreign(key)
        composed = archive.compose(self.source.root, self.source.kind)
        stored = await self.store.put_stream(key, composed.chunks(), composed.size)
        if not is_url(self.store.url):
            await asyncio.to_thread(_settle_on_disk, Path(self.store.url) / key)
        return PackedVideo(
            video_id,
            stored.size,
            stored.sha256,
            archive.segments,
            round(archive.seconds, 3),
            archive.language,
        )

    async def _refuse_foreign(self, key: str) -> None:
        """Nothing is replaced but what a packing has left that was killed."""
        try:
            found = await self.store.head(key)
        except ObjectMissing:
            return
        head = await self.store.get_range(key, 0, min(found.size, _HEAD))
        if _MARK not in head:
            raise UsageError(
                f"{self.store.url}/{key} is there already, and no packing has made it: give another --out"
            )

    def report(self) -> PackReport:
        tally = self.tally
        refused = {reason: n for reason, n in tally.refused.most_common() if reason not in NO_LOSS}
        before = len(self.packed_before()) - self._new
        return PackReport(
            source=self.source.root,
            kind=self.source.kind,
            out=self.store.url,
            archives=self._new,
            archives_before=before,
            recordings=tally.items,
            packed=tally.packed,
            recordings_refused=tally.items_refused - tally.refused[SKIPPED],
            skipped=tally.refused[SKIPPED],
            packed_before=tally.packed_before,
            changed=tally.changed,
            refused=refused,
            examples={reason: _tell(tally.examples[reason]) for reason in refused},
            other_files=tally.refused["other_file"],
            segments=tally.segments,
            hours=round(tally.seconds / 3600, 4),
            languages=as_hours(tally.languages),
            left_out=as_hours(tally.left_out),
            notes=sorted(tally.notes),
            columns_left_out=tally.columns_left_out,
            refused_list=f"{self.store.url}/{REFUSED}" if refused or tally.refused[SKIPPED] else "",
            seconds=round(time.monotonic() - self._started, 2),
        )


async def pack(
    settings: Settings, order: PackOrder, on_archive: Callable[[PackTally], object] = lambda _tally: None
) -> PackReport:
    """Pack a source, going on where an earlier packing of it ended.

    Raises:
        UsageError: as `Packing`.
        StorageUnavailable: a store stayed away.
    """
    packing = Packing(settings, order)
    await packing.load()
    async for _video in packing.archives():
        on_archive(packing.tally)
    return packing.report()


def as_hours(seconds: Counter[str]) -> dict[str, float]:
    """The longest first."""
    return {language: round(one / 3600, 4) for language, one in seconds.most_common()}


def _prefix(root: str, destination: str) -> str:
    """The beginning of the ids of archives: the source's name, and a mark that tells places apart in one queue."""
    mark = blake2b(f"{root}\0{destination}".encode(errors="surrogateescape"), digest_size=2).hexdigest()
    return f"{video_name(Path(root).stem) or 'packed'}-{mark}"


def _tell(refusal: SourceRefusal) -> str:
    return f"{refusal.name}: {refusal.detail}" if refusal.detail else refusal.name


def _settle_on_disk(path: Path) -> None:
    """Let a file, and its name, outlive a loss of power."""
    for place in (path, path.parent):
        fd = os.open(place, os.O_RDONLY)
        try:
            with suppress(OSError):  # some file systems sync no folders
                os.fsync(fd)
        finally:
            os.close(fd)


class _RefusedList:
    """All refusals as CSV, on disk until they are put beside the archives."""

    def __init__(self, scratch: Path | None) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - `__exit__` closes it
        self._count = 0

    def __enter__(self) -> _RefusedList:
        self._write("name", "reason", "detail")
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def add(self, refusal: SourceRefusal) -> None:
        self._count += 1
        self._write(refusal.name, refusal.reason, refusal.detail)

    def _write(self, *fields: str) -> None:
        line = io.StringIO()
        csv.writer(line).writerow(fields)
        self._file.write(line.getvalue().encode("utf-8", "backslashreplace"))

    async def put(self, store: Store) -> None:
        if not self._count:
            await store.delete(REFUSED)
            return
        size = self._file.tell()
        await store.put_stream(REFUSED, self._chunks(), size)

    def _chunks(self) -> Iterator[bytes]:
        self._file.seek(0)
        while piece := self._file.read(1 << 20):
            yield piece


def progress_words(tally: PackTally) -> str:
    """The state of a packing, in a line."""
    refused = sum(count for reason, count in tally.refused.items() if reason not in NO_LOSS)
    told = f"{tally.packed + tally.packed_before:,} recordings, {duration(tally.seconds)}"
    return told + (f", {refused:,} refused" if refused else "")
