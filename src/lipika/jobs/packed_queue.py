"""Sources that are packed on their way into the queue, and which those are."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from lipika.archive.sources import OUTPUT_SUFFIX, is_url, object_url, results_root
from lipika.config import Settings
from lipika.jobs.pack import Packing, PackOrder, PackReport
from lipika.models import NewVideo
from lipika.packing.journal import PackedVideo
from lipika.packing.kinds import Sight, look, names_videos

AddVideo = Callable[[NewVideo], Awaitable[object]]


def has_to_be_packed(source: str) -> bool:
    """True if a source can be packed, and is no archive, folder or bucket of archives, or list of videos."""
    if is_url(source) and not source.startswith("file://"):
        return False
    path = Path(source.removeprefix("file://")).expanduser()
    if not os.path.exists(path):  # noqa: PTH110 - a name may be too long to ask
        return "_OP_" in path.name and path.parent.is_dir()
    seen = look(source)
    if names_videos(seen.path):
        return False
    if seen.kind is None or seen.kind.holds_tars:
        return seen.kind is not None
    return not any(
        name.lower().endswith(".tar") and not name.lower().endswith(OUTPUT_SUFFIX)
        for name in Sight(seen.path).below
    )


def part_sources(sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """(archives and what holds them, what has to be packed), each in their order."""
    packed = [source for source in sources if has_to_be_packed(source)]
    return [source for source in sources if source not in packed], packed


def place_beside(out: str) -> str:
    """The place of archives on their way, where nobody names one: beside the results."""
    return f"{results_root(out).rstrip('/')}.packed"


def as_video(packing: Packing, packed: PackedVideo, out: str, priority: int = 0) -> NewVideo:
    """An archive as a video for the queue, its result below `out`; or a key below OUTPUT_URL where that is empty."""
    name = f"{packed.video_id}{OUTPUT_SUFFIX}"
    return NewVideo(
        packed.video_id,
        object_url(packing.store.url, f"{packed.video_id}.tar"),
        object_url(results_root(out), name) if out else name,
        priority=priority,
        segment_count=packed.segments,
        source_bytes=packed.size,
    )


async def add_packed(settings: Settings, order: PackOrder, add: AddVideo, out: str) -> PackReport:
    """Pack a source for the queue: `add` each archive when it is in place, and those of earlier packings."""
    packing = Packing(settings, order)
    await packing.load()
    for packed in packing.packed_before():
        await add(as_video(packing, packed, out))
    async for packed in packing.archives():
        await add(as_video(packing, packed, out))
    return packing.report()
