"""Sources named on the command line (tars, folders, s3:// prefixes), as videos for the queue."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lipika.errors import ObjectMissing, UsageError
from lipika.log import get_logger
from lipika.models import NewVideo
from lipika.storage import Store, StoreSettings, split_url

OUTPUT_SUFFIX = "_transcribed.tar"

PACKING = "lipika pack makes such tars of recordings, lists and corpora"

_UNSAFE = re.compile(r"[/\x00-\x1f\x7f]")
_COMPRESSED = re.compile(r"\.(tar\.(gz|bz2|xz|zst|lz4|Z)|tgz|tbz2?|txz|tzst|zip|7z|rar)$", re.IGNORECASE)
_HIDDEN = (".", "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN")
_ODD_TOLD = 10

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Archive:
    """An input tar that exists: its full URL, its key, its size in bytes."""

    url: str
    key: str
    size: int


def is_url(text: str) -> bool:
    """True if `text` names its store itself, rather than a folder of this machine."""
    return "://" in text


def object_url(root: str, key: str) -> str:
    """The full name of an object below a store's root."""
    return f"{root.rstrip('/')}/{key}"


def video_id_of(key: str) -> str:
    """The name of the tar without folders and suffix."""
    name = key.rpartition("/")[2]
    return name[: -len(".tar")] if name.lower().endswith(".tar") else name


async def find_archives(source: str, settings: StoreSettings) -> AsyncIterator[Archive]:
    """All tars that one argument names, in the order of their keys; our own results are passed over.

    In a bucket it may also be the beginning of keys. What is passed over, and looks like an archive, is logged.

    Raises:
        UsageError: it names nothing, or not a tar.
    """
    root, key = _root_and_key(source)
    store = Store.open(root, settings)
    notes = _Notes(source)
    if key:
        if not notes.passes_over(key):
            yield Archive(object_url(store.url, key), key, await _size(store, key, source))
        notes.tell()
        return
    found = [entry async for entry in store.list(odd=notes.odd.append) if notes.wants(entry.key)]
    if not found and is_url(root) and not source.endswith("/"):
        root, _, start = root.rpartition("/")
        if not root.endswith("/"):  # there is a key after the bucket
            store, notes = Store.open(root, settings), _Notes(source)
            beginning = store.list(start, odd=notes.odd.append, unfinished=True)
            found = [entry async for entry in beginning if notes.wants(entry.key)]
    if not found:
        raise UsageError(
            ". ".join(
                (
                    f"{source}: no .tar archives there. Each video is one tar with segments/*.flac in it; {PACKING}",
                    *notes.sentences(),
                )
            )
        )
    notes.tell()
    for entry in sorted(found, key=lambda entry: entry.key):
        yield Archive(object_url(store.url, entry.key), entry.key, entry.size)


async def _size(store: Store, key: str, source: str) -> int:
    try:
        return (await store.head(key)).size
    except ObjectMissing as error:
        if "*" not in key:
            raise
        raise UsageError(
            f"{error}. Buckets know no wildcards: name a folder ({source.rpartition('/')[0]}/) or the beginning of"
            " keys"
        ) from None


@dataclass(slots=True)
class _Notes:
    """Notes on what is passed over in one place, gathered into a few sentences."""

    place: str
    odd: list[str] = field(default_factory=list)  # what cannot be read at all, a sentence each
    hidden: list[str] = field(default_factory=list)
    compressed: list[str] = field(default_factory=list)

    def wants(self, key: str) -> bool:
        """True if it is an input archive."""
        if _COMPRESSED.search(key):
            self.compressed.append(key)
        name = key.lower()
        return name.endswith(".tar") and not name.endswith(OUTPUT_SUFFIX) and not self.passes_over(key)

    def passes_over(self, key: str) -> bool:
        """True if it is hidden: what a Mac or a NAS leaves beside files (`._a.tar`), bins, snapshots."""
        hidden = any(part.startswith(_HIDDEN) for part in key.split("/"))
        if hidden:
            self.hidden.append(key)
        return hidden

    def sentences(self) -> Iterator[str]:
        if self.hidden:
            yield f"{_such(self.hidden)}: hidden, and passed over"
        if self.compressed:
            yield f"{_such(self.compressed)}: compressed, and passed over; unpack them to plain .tar (gunzip, unzip)"
        if self.odd:
            yield f"Passed over: {'; '.join(self.odd[:_ODD_TOLD])}" + (
                f"; and {len(self.odd) - _ODD_TOLD:,} more" if len(self.odd) > _ODD_TOLD else ""
            )

    def tell(self) -> None:
        for sentence in self.sentences():
            log.warning("passed_over", source=self.place, what=sentence)


def _such(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{len(keys):,} archives, such as {keys[0]}"


def _root_and_key(source: str) -> tuple[str, str]:
    """(store root, key of one tar or "" for all below the root)."""
    if is_url(source) and not source.startswith("file://"):
        root, key = split_url(source)
        return (root, key) if key.lower().endswith(".tar") else (source.rstrip("/"), "")
    # Without links resolved, but without `..` either: one archive has one name.
    root, key = split_url(os.path.abspath(Path(source.removeprefix("file://")).expanduser()))  # noqa: PTH100
    path = Path(root) / key
    if not path.exists():
        raise UsageError(f"{source}: there is no such file or folder")
    if key and _COMPRESSED.search(key):
        raise UsageError(f"{source}: a compressed archive; unpack it to a plain .tar first (gunzip, unzip)")
    if key and path.suffix.lower() != ".tar":
        raise UsageError(
            f"{source}: not a .tar archive (a video is one tar with segments/*.flac in it); {PACKING}"
        )
    return root, key


def results_root(out: str) -> str:
    """The root that results go to, as queue rows name it: a URL as it is, a folder with its full path."""
    return out if is_url(out) else os.path.abspath(Path(out).expanduser())  # noqa: PTH100 - resolves `..`, not links


async def find_videos(
    sources: Sequence[str], out: str, settings: StoreSettings, *, limit: int | None = None
) -> list[NewVideo]:
    """Videos for the queue, each with the place its result will have below `out`.

    Raises:
        UsageError: nothing is there, or two archives would have one video id.
    """
    root = results_root(out)
    videos: dict[str, NewVideo] = {}
    for source in sources:
        async for archive in find_archives(source, settings):
            video_id = video_id_of(archive.key)
            if _UNSAFE.search(video_id) or not video_id:
                raise UsageError(f"{archive.url!r}: control characters in the name; rename the archive")
            other = videos.get(video_id)
            if other is not None and other.source_key != archive.url:
                raise UsageError(
                    f"{other.source_key} and {archive.url} would both be video {video_id!r}: rename one of them"
                )
            videos[video_id] = NewVideo(
                video_id,
                archive.url,
                object_url(root, f"{video_id}{OUTPUT_SUFFIX}"),
                source_bytes=archive.size,
            )
            if limit is not None and len(videos) >= limit:
                return _apart(list(videos.values()))
    return _apart(list(videos.values()))


def _apart(videos: list[NewVideo]) -> list[NewVideo]:
    """The videos, none of whose results would be written over an archive, by whatever path either is named."""
    read = {_true_name(video.source_key): video for video in videos}
    for video in videos:
        other = read.get(_true_name(video.output_key))
        if other is not None:
            raise UsageError(
                f"the result of {video.video_id} would be written over the archive {other.source_key}:"
                " give another --out, or rename one of them"
            )
    return videos


def _true_name(name: str) -> str:
    """A file with all links of its path resolved; a URL as it is."""
    return name if is_url(name) else os.path.realpath(name)
