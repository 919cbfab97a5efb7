"""The course of an erasure: tombstones first, then whatever there is, then a look whether anything is left.

Every step may be done again: whoever is killed at any of them runs the same order again. Nothing that is removed can
come back meanwhile: the tombstones stand, and the videos are taken from whoever is at work on them, in the first
transaction. What a worker was about to store when its claim was taken is looked for once more when its lease would
have run out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from lipika.archive.erased import ErasedNames, ErasedStretch
from lipika.db.connection import Database
from lipika.db.erasure_places import PLACES, How
from lipika.db.erasures import Erasures, ErasureWork, Mentions, WantedName
from lipika.erasure.objects import Going, VideoPlaces, count_objects, erase_objects
from lipika.erasure.wanted import order_of
from lipika.errors import LipikaError, ObjectMissing, StorageError, UsageError
from lipika.storage.store import Place

_AFTER_LEASE = timedelta(seconds=5)
_SWEEPS = 3

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ErasureOptions:
    """Options of an erasure. `exports`: places of exports that the database does not know."""

    inputs: bool = False
    keep_exports: bool = False
    exports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportHit:
    """An export that holds erased clips: in which of its shards, and how it is made anew."""

    dest: str
    clips: int
    shards: tuple[str, ...]
    command: str


class Surroundings(Protocol):
    """The places of things, for those who know settings and exports."""

    @property
    def spool_dir(self) -> Path | None:
        """For archives that are written anew."""

    def places(self, video_id: str, output_key: str | None) -> VideoPlaces | None:
        """The places of a video's objects; None where nobody knows."""

    def source(self, source_key: str) -> Place:
        """Its archive."""

    def find_exports(self, dests: Sequence[str], is_gone: Callable[[str, str], bool]) -> list[ExportHit]:
        """Those of these exports that hold such clips (video, file). Blocks."""

    def clear_export(self, dest: str, *, keep: bool) -> None:
        """Remove an export, or leave a note there that it is to be made anew. Blocks."""

    async def count_below(self, url: str) -> int:
        """Objects of a folder or prefix."""

    async def remove_below(self, url: str) -> None:
        """Remove them."""


@dataclass(slots=True)
class Scope:
    """All that an erasure is to remove, by name, while it goes on."""

    names: list[WantedName]
    options: ErasureOptions
    videos: list[dict[str, Any]] = field(default_factory=list)  # video_id, whole, source_key, output_key
    held: list[str] = field(default_factory=list)  # by us
    until: str | None = None  # when the last lease that was taken would have run out
    canaries: list[dict[str, Any]] = field(default_factory=list)  # run_id, output_url
    exports: list[dict[str, Any]] = field(default_factory=list)  # as ExportHit
    datasets: list[int] = field(default_factory=list)  # rows of these exports
    equal_audio: int = 0  # clips of videos that are not named

    def document(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Scope:
        options = ErasureOptions(**{**document["options"], "exports": tuple(document["options"]["exports"])})
        names = [WantedName(**name) for name in document["names"]]
        return cls(
            names, options, **{key: document[key] for key in document if key not in ("names", "options")}
        )


@dataclass(frozen=True, slots=True)
class Looked:
    """All there is to remove, by place; and what is told besides."""

    found: Mapping[str, int]
    scope: Scope
    busy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Erased:
    """An erasure that is done: figures without names, and what only the person who asked is told."""

    id: int
    certificate: Mapping[str, Any]
    scope: Scope


class Eraser:
    """Erasures in one database and its stores."""

    def __init__(self, database: Database, around: Surroundings, say: Say = lambda _sentence: None) -> None:
        self._erasures = Erasures(database)
        self._around = around
        self._say = say

    # ------------------------------------------------------------------------- looking

    async def look(self, names: Sequence[WantedName], options: ErasureOptions) -> Looked:
        """Look for all that an erasure would remove. Nothing of it stays in the database."""
        scope = Scope(list(names), options)
        async with self._erasures.rehearsal() as work:
            number = await work.rehearse()
            await work.entomb(number, names)
            busy = await self._read_scope(work, number, scope)
            found = await work.count(number, _mentions(scope))
            goings = await self._goings(work, number, scope)
        found = {**found, **await self._count_outside(scope, goings)}
        return Looked(found, scope, busy)

    async def _read_scope(self, work: ErasureWork, erasure_id: int, scope: Scope) -> tuple[str, ...]:
        """Fill the scope from what the database knows; returns the videos that somebody is at work on."""
        videos = await work.videos(erasure_id)
        scope.videos = [
            {
                "video_id": one.video_id,
                "whole": one.whole,
                "source_key": one.source_key,
                "output_key": one.output_key,
            }
            for one in videos
        ]
        scope.held = [one.video_id for one in videos if one.held is False and not one.whole]
        ends = [one.lease_expires_at for one in videos if one.busy and one.lease_expires_at is not None]
        scope.until = (max(ends) + _AFTER_LEASE).isoformat() if ends else None
        scope.canaries = [asdict(one) for one in await work.canaries(erasure_id)]
        scope.equal_audio = len(await work.equal_files(erasure_id, scope.names))
        return tuple(one.video_id for one in videos if one.busy)

    async def _goings(self, work: ErasureWork, erasure_id: int, scope: Scope) -> dict[str, Going]:
        goings = {}
        for video in scope.videos:
            video_id = video["video_id"]
            if video["whole"]:
                goings[video_id] = Going(whole=True)
                continue
            files = frozenset(await work.files(erasure_id, video_id))
            goings[video_id] = Going(False, files, (await self._names(video_id, work)).names)
        return goings

    async def _names(self, video_id: str, work: ErasureWork) -> ErasedNames:
        return ErasedNames(
            [
                ErasedStretch(one.video_key, one.speaker_key, one.start_ms, one.end_ms)
                for one in await work.tombstones_of(video_id)
            ]
        )

    async def _count_outside(self, scope: Scope, goings: Mapping[str, Going]) -> dict[str, int]:
        """Count what lies outside of the database. Fills the scope's exports."""
        counts: dict[str, int] = {}

        def add(kind: str, number: int) -> None:
            if number:
                counts[kind] = counts.get(kind, 0) + number

        for video in scope.videos:
            places = self._around.places(video["video_id"], video["output_key"])
            if places is not None:
                for kind, number in (await count_objects(places, goings[video["video_id"]])).items():
                    add(kind, number)
            if scope.options.inputs and video["whole"] and video["source_key"]:
                add("inputs", await _exists(self._around.source(video["source_key"])))
        for canary in scope.canaries:
            if canary["output_url"]:
                add("canary_files", await self._around.count_below(canary["output_url"]))
        for hit in await self._find_exports(scope, goings):
            if not scope.options.keep_exports:
                add("exports", 1)
            if hit.dest not in {known["dest"] for known in scope.exports}:
                scope.exports.append(asdict(hit))
        return counts

    async def _find_exports(self, scope: Scope, goings: Mapping[str, Going]) -> list[ExportHit]:
        async with self._erasures.transaction() as work:
            known = await work.datasets()
        dests = [one.dest for one in known if one.state != "planned"]

        def is_gone(video_id: str, file: str) -> bool:
            going = goings.get(video_id)
            return going is not None and going.is_gone(file)

        hits = await asyncio.to_thread(
            self._around.find_exports, list(dict.fromkeys([*dests, *scope.options.exports])), is_gone
        )
        found = {hit.dest for hit in hits}
        scope.datasets = sorted({*scope.datasets, *(one.id for one in known if one.dest in found)})
        return hits

    # ------------------------------------------------------------------------- erasing

    async def erase(self, names: Sequence[WantedName], by: str, options: ErasureOptions) -> Erased:
        """Remove all of it, or go on where the same order was stopped; returns when it has been looked for again.

        Raises:
            StorageError: something cannot be removed; it goes on when it is run again.
        """
        async with self._erasures.transaction() as work:
            scope = Scope(list(names), options)
            begun = await work.begin(order_of(names), by, scope.document())
            await work.entomb(begun.id, names)
            if not begun.resumed:
                await self._read_scope(work, begun.id, scope)
                await work.keep_scope(begun.id, scope.document(), {})
            await work.take(begun.id)
        return await self.go_on(begun.id)

    async def go_on(self, erasure_id: int) -> Erased:
        """Bring an erasure that was begun to its end.

        Raises:
            UsageError: it is done, or there is none of this number.
        """
        row = await self._erasures.find(erasure_id)
        if row is None:
            raise UsageError(f"there is no erasure {erasure_id}: `lipika erase list` shows those there are")
        if row.scope is None:
            raise UsageError(
                f"erasure {erasure_id} is done: `lipika erase show {erasure_id}` says what it removed"
            )
        scope, found = Scope.read(row.scope), dict(row.found)
        async with self._erasures.transaction() as work:
            counted = await work.count(erasure_id, _mentions(scope))
            goings = await self._goings(work, erasure_id, scope)
        outside = await self._count_outside(scope, goings)
        if not found:
            found = {**counted, **outside, "erasure": 1}
            async with self._erasures.transaction() as work:
                await work.keep_scope(erasure_id, scope.document(), found)
        await self._sweep(erasure_id, scope)
        await self._outwait(scope)
        left = await self._sweep_until_gone(erasure_id, scope)
        if left:
            told = ", ".join(f"{place} {number:,}" for place, number in left.items())
            raise StorageError(
                f"erasure {erasure_id}: something is left and could not be removed: {told}; run it again"
            )
        return await self._finish(erasure_id, scope, found)

    async def _outwait(self, scope: Scope) -> None:
        """Wait until whoever held a video must have noticed."""
        if scope.until is None:
            return
        wait_s = (datetime.fromisoformat(scope.until) - datetime.now(UTC)).total_seconds()
        if wait_s > 0:
            self._say(
                f"videos were taken from workers: waiting {wait_s:.0f} s until these must have let go of them"
            )
            await asyncio.sleep(wait_s)

    async def _sweep_until_gone(self, erasure_id: int, scope: Scope) -> Mapping[str, int]:
        left: Mapping[str, int] = {}
        for _ in range(_SWEEPS):
            await self._sweep(erasure_id, scope)
            async with self._erasures.transaction() as work:
                await work.entomb(erasure_id, scope.names)
                rows = await work.count(erasure_id, _mentions(scope))
                goings = await self._goings(work, erasure_id, scope)
            left = {**rows, **await self._count_outside(scope, goings)}
            if not left:
                break
        return left

    async def _sweep(self, erasure_id: int, scope: Scope) -> None:
        """Remove all there is; of the database last, since it knows where the rest lies."""
        async with self._erasures.transaction() as work:
            await work.entomb(erasure_id, scope.names)
            known = {video["video_id"] for video in scope.videos}
            late = [one for one in await work.videos(erasure_id) if one.video_id not in known]
            scope.videos += [
                {
                    "video_id": one.video_id,
                    "whole": one.whole,
                    "source_key": one.source_key,
                    "output_key": one.output_key,
                }
                for one in late
            ]
            scope.held += [one.video_id for one in late if one.held is False and not one.whole]
            await work.keep_scope(erasure_id, scope.document(), {})
            await work.take(erasure_id)
            goings = await self._goings(work, erasure_id, scope)
        for hit in scope.exports:
            await asyncio.to_thread(self._around.clear_export, hit["dest"], keep=scope.options.keep_exports)
        for canary in scope.canaries:
            if canary["output_url"]:
                await self._around.remove_below(canary["output_url"])
        counted = {video["video_id"]: await self._sweep_video(video, goings, scope) for video in scope.videos}
        async with self._erasures.transaction() as work:
            await work.remake(
                scope.datasets, "some of its clips were erased: make it anew, by the same command"
            )
        for place in PLACES:
            if place.how in (How.CLIPS, How.OWN):
                async with self._erasures.transaction() as work:
                    await work.erase(erasure_id, _mentions(scope), place.table)
        async with self._erasures.transaction() as work:
            for video in scope.videos:
                if not video["whole"]:
                    await work.recount(video["video_id"], counted[video["video_id"]])

    async def _sweep_video(
        self, video: Mapping[str, Any], goings: Mapping[str, Going], scope: Scope
    ) -> Mapping[str, object] | None:
        """Its objects; returns what its archive counts, where one stays."""
        if scope.options.inputs and video["whole"] and video["source_key"]:
            source = self._around.source(video["source_key"])
            await source.store.delete(source.key)
        places = self._around.places(video["video_id"], video["output_key"])
        if places is None:
            return None
        try:
            shrunk = await erase_objects(places, goings[video["video_id"]], self._around.spool_dir)
        except LipikaError as error:
            raise StorageError(
                f"{places.result.store.url}/{places.result.key}: {error}; run it again"
            ) from error
        return None if shrunk is None else shrunk.counted

    async def _finish(self, erasure_id: int, scope: Scope, found: Mapping[str, int]) -> Erased:
        row = await self._erasures.find(erasure_id)
        assert row is not None  # noqa: S101 - it was there a moment ago
        certificate = {
            "removed": {
                place: {"found": number, "left": 0} for place, number in found.items() if place != "erasure"
            },
            "names": len(scope.names),
            "videos": len(scope.videos),
            "equal_audio": scope.equal_audio,
            "exports": [{"clips": hit["clips"], "shards": len(hit["shards"])} for hit in scope.exports],
            "exports_kept": scope.options.keep_exports,
            "inputs_kept": 0
            if scope.options.inputs
            else sum(bool(one["source_key"]) for one in scope.videos),
        }
        async with self._erasures.transaction() as work:
            await work.release(scope.held)
            await work.finish(erasure_id, certificate)
        done = await self._erasures.find(erasure_id)
        assert done is not None and done.finished_at is not None  # noqa: S101, PT018
        told = {
            "erasure": erasure_id,
            "requested_by": row.requested_by,
            "started_at": row.started_at.isoformat(),
            "finished_at": done.finished_at.isoformat(),
            **certificate,
        }
        return Erased(erasure_id, told, scope)


def _mentions(scope: Scope) -> Mentions:
    runs = tuple(canary["run_id"] for canary in scope.canaries)
    return Mentions(Mentions.from_names(scope.names).pattern, runs)


async def _exists(place: Place) -> int:
    try:
        await place.store.head(place.key)
    except ObjectMissing:
        return 0
    return 1
