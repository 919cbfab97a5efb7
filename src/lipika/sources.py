"""What a person names on the command line (tars, folders, s3:// prefixes) as videos for the queue."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lipika.errors import UsageError
from lipika.models import NewVideo
from lipika.storage import Store, StoreSettings, split_url

OUTPUT_SUFFIX = "_transcribed.tar"

_UNSAFE = re.compile(r"[/\x00-\x1f]")


@dataclass(frozen=True, slots=True)
class Archive:
    """An input tar that exists: its full URL, its key, its size in bytes."""

    url: str
    key: str
    size: int


def is_url(text: str) -> bool:
    """Whether `text` names its store itself, rather than a folder of this machine."""
    return "://" in text


def object_url(root: str, key: str) -> str:
    """The full name of an object below a store's root."""
    return f"{root.rstrip('/')}/{key}"


def video_id_of(key: str) -> str:
    """The name of the tar without folders and suffix."""
    return key.rpartition("/")[2].removesuffix(".tar")


async def find_archives(source: str, settings: StoreSettings) -> AsyncIterator[Archive]:
    """All tars that one argument names, in the order of their keys; our own results are passed over.

    Raises:
        UsageError: it names nothing, or not a tar.
    """
    root, key = _root_and_key(source)
    store = Store.open(root, settings)
    if key:
        yield Archive(object_url(store.url, key), key, (await store.head(key)).size)
        return
    found = [
        entry
        async for entry in store.list()
        if entry.key.endswith(".tar") and not entry.key.endswith(OUTPUT_SUFFIX)
    ]
    if not found:
        raise UsageError(
            f"{source}: no .tar archives there. Each video is one tar with segments/*.flac in it"
        )
    for entry in sorted(found, key=lambda entry: entry.key):
        yield Archive(object_url(store.url, entry.key), entry.key, entry.size)


def _root_and_key(source: str) -> tuple[str, str]:
    """(store root, key of one tar or "" for all below the root)."""
    if is_url(source) and not source.startswith("file://"):
        root, key = split_url(source)
        return (root, key) if key.endswith(".tar") else (source.rstrip("/"), "")
    # Without links resolved, but without `..` either: one archive has one name.
    root, key = split_url(os.path.abspath(Path(source.removeprefix("file://")).expanduser()))  # noqa: PTH100
    path = Path(root) / key
    if not path.exists():
        raise UsageError(f"{source}: there is no such file or folder")
    if key and path.suffix != ".tar":
        raise UsageError(f"{source}: not a .tar archive (a video is one tar with segments/*.flac in it)")
    return root, key


def results_root(out: str) -> str:
    """Where results go, as queue rows name it: a URL as it is, a folder with its full path."""
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
                return list(videos.values())
    return list(videos.values())
