"""Listeners to stored clips: one listener in this process, or actors on Ray, on one machine or many.

Either way parts of archives go in and what was heard comes out, in whatever order. Ray reads the parts in tasks,
keeps a bounded number of them under way, and gives them to actors that hold a model each.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lipika.alignment.listener import Listener, ListenerOptions
from lipika.archive.results import ResultArchive
from lipika.errors import ArchiveError, SegmentError, StorageError
from lipika.processes import open_ray
from lipika.rework.realign import ArchivePart, PartAlignments, RealignPlan, read_parts


@dataclass(frozen=True, slots=True)
class Actors:
    """Listeners on Ray. `address` is a running cluster's; empty starts Ray on this machine, on loopback only."""

    count: int
    gpus_each: float = 0.0
    cpus_each: float = 1.0
    address: str = ""


def listen_here(
    archives: Iterable[ResultArchive], plan: RealignPlan, options: ListenerOptions
) -> Iterator[PartAlignments]:
    """With one listener, in this process. Blocks.

    Raises:
        UsageError: the listener cannot be opened.
    """
    listener = Listener(options)
    for archive in archives:
        for part in _parts(archive, plan):
            yield part if isinstance(part, PartAlignments) else _align_part(listener, part)


def listen_on_ray(
    archives: Sequence[ResultArchive], plan: RealignPlan, options: ListenerOptions, actors: Actors
) -> Iterator[PartAlignments]:
    """With actors on Ray Data: archives -> parts (tasks) -> what was heard (actors). Blocks.

    Raises:
        UsageError: ray is not installed.
    """
    ray = _open_ray(actors)
    try:
        items = [{"archive": pickle.dumps((archive, plan))} for archive in archives]
        parts = ray.data.from_items(items, override_num_blocks=len(items)).flat_map(_read_row)
        heard = parts.map_batches(
            _Actor,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=actors.count),
            num_cpus=actors.cpus_each,
            num_gpus=actors.gpus_each or None,
            fn_constructor_args=(options,),
        )
        for row in heard.iter_rows():
            yield pickle.loads(row["heard"])  # noqa: S301 - our own actors wrote it
    finally:
        ray.shutdown()


def _parts(archive: ResultArchive, plan: RealignPlan) -> Iterator[ArchivePart | PartAlignments]:
    """Parts to listen to; at the end of a broken archive its problem."""
    try:
        yield from read_parts(archive, plan)
    except (ArchiveError, StorageError) as error:
        yield PartAlignments(archive, 0, 0, {}, str(error))


def _align_part(listener: Listener, part: ArchivePart) -> PartAlignments:
    try:
        alignments = listener.align(part.tasks)
    except SegmentError as error:
        return PartAlignments(part.archive, part.number, part.parts, {}, error.message)
    return PartAlignments(
        part.archive, part.number, part.parts, dict(zip(part.stems, alignments, strict=True))
    )


# ----------------------------------------------------------------------------- on Ray


def _open_ray(actors: Actors) -> Any:
    cpus = int(actors.count * actors.cpus_each) + 1
    ray = open_ray(actors.address, cpus, "listening with several actors")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return ray


def _read_row(row: dict[str, bytes]) -> list[dict[str, bytes]]:
    archive, plan = pickle.loads(row["archive"])  # noqa: S301 - the driver wrote it
    return [{"part": pickle.dumps(part)} for part in _parts(archive, plan)]


class _Actor:
    """One listener, for as long as the actor lives."""

    def __init__(self, options: ListenerOptions) -> None:
        self._listener = Listener(options)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        parts = [pickle.loads(part) for part in batch["part"]]  # noqa: S301 - a task of ours wrote it
        heard = [
            part if isinstance(part, PartAlignments) else _align_part(self._listener, part) for part in parts
        ]
        return {"heard": [pickle.dumps(one) for one in heard]}
