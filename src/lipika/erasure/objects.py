"""The objects of one video in a store, and what waits of it on this machine: counted, and taken away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import orjson

from lipika.archive.rewrite import read_contents
from lipika.erasure.archives import Named, Shrunk, shrink_archive
from lipika.errors import ObjectMissing
from lipika.pipeline.saved_answers import FOLDER, file_here
from lipika.storage.store import Place


@dataclass(frozen=True, slots=True)
class VideoPlaces:
    """The places of a video's objects."""

    video_id: str
    result: Place
    saved_here: Path  # folder of answers that could be kept nowhere else


@dataclass(frozen=True, slots=True)
class Going:
    """The part of a video that is to go: all of it, or the clips of these files and of who is named."""

    whole: bool
    files: AbstractSet[str] = frozenset()
    named: Named = lambda _text: False

    def is_gone(self, segment_file: str) -> bool:
        return self.whole or segment_file in self.files or self.named(segment_file)


async def count_objects(places: VideoPlaces, going: Going) -> dict[str, int]:
    """Objects with something to erase, by kind; kinds without any are left out."""
    store, key = places.result.store, places.result.key
    counts = {
        "results": await _count_result(places.result, going),
        "saved_answers": sum([1 async for _ in _find_saved(places, going)]),
        "open_uploads": len([one for one in await store.open_uploads(key) if one == key]),
        "saved_answers_here": int(await asyncio.to_thread(_is_here, places, going)),
    }
    return {kind: count for kind, count in counts.items() if count}


async def erase_objects(places: VideoPlaces, going: Going, spool_dir: Path | None) -> Shrunk | None:
    """Take them away; what is not going is written anew. Again, it changes nothing.

    Returns what the result archive counts now; None where there is none.
    """
    store = places.result.store
    await store.abort_uploads(places.result.key)
    async for key, rest in _find_saved(places, going):
        if rest:
            await store.put_bytes(key, rest)
        else:
            await store.delete(key)
    await asyncio.to_thread(_erase_here, places, going)
    if going.whole:
        await store.delete(places.result.key)
        return None
    return await shrink_archive(places.result, places.video_id, going.files, going.named, spool_dir)


async def _count_result(place: Place, going: Going) -> int:
    try:
        await place.store.head(place.key)
    except ObjectMissing:
        return 0
    if going.whole:
        return 1
    names = await asyncio.to_thread(_names_in, place)
    return int(any(map(going.is_gone, names)))


def _names_in(place: Place) -> list[str]:
    contents = read_contents(place.store, place.key, None)
    block = orjson.loads(contents.metadata)["transcription"]
    return [f"{one.stem}.flac" for one in contents.documents] + [
        one["segment_file"] for one in block["discards"]
    ]


async def _find_saved(places: VideoPlaces, going: Going) -> AsyncGenerator[tuple[str, bytes], None]:
    """(key, what stays of it) of the saved answers of which something goes."""
    parent, slash, name = places.result.key.rpartition("/")
    store = places.result.store
    for key in [entry.key async for entry in store.list(f"{parent}{slash}{FOLDER}/{name}")]:
        if going.whole:
            yield key, b""
            continue
        try:
            content = await store.get_bytes(key)
        except ObjectMissing:
            continue
        rest = _rest_of(content, going.is_gone)
        if rest != content:
            yield key, rest


def _rest_of(content: bytes, is_gone: Callable[[str], bool]) -> bytes:
    return b"".join(_lines_that_stay(content.splitlines(keepends=True), is_gone))


def _lines_that_stay(lines: Iterable[bytes], is_gone: Callable[[str], bool]) -> Iterable[bytes]:
    """Lines of JSON of other clips; what cannot be read is nobody's answer, and goes."""
    for line in lines:
        try:
            if not is_gone(str(orjson.loads(line)["segment_file"])):
                yield line
        except (ValueError, KeyError, TypeError):
            continue


def _file_here(places: VideoPlaces) -> Path:
    return places.saved_here / file_here(places.video_id)


def _is_here(places: VideoPlaces, going: Going) -> bool:
    path = _file_here(places)
    return path.is_file() and (going.whole or _rest_of(path.read_bytes(), going.is_gone) != path.read_bytes())


def _erase_here(places: VideoPlaces, going: Going) -> None:
    path = _file_here(places)
    if not path.is_file():
        return
    rest = b"" if going.whole else _rest_of(path.read_bytes(), going.is_gone)
    if rest:
        path.write_bytes(rest)
    else:
        path.unlink()
