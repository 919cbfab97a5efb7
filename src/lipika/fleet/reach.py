"""Blame for what cannot be read or written: one video's trouble, or that of a store which all share.

A store that refuses is no fault of a video: whoever fails forty videos for one wrong key has paid for all of them. So
the place for results is tried with an object of its own before a clip is paid for, and an error that several videos
share, with nothing going well in between, is held to be the store's.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from enum import StrEnum

from lipika.errors import LipikaError, ObjectMissing, OutputRefused, StorageError, Unavailable
from lipika.log import get_logger
from lipika.storage import Store

log = get_logger(__name__)

PROBE = ".lipika-probe"
_SHARED_BY = 3
"""Videos in a row, with nothing going well in between: then it is the store's."""
_LOOKS = 3
"""At a video that alone cannot be read or stored; then it has failed."""
_REST_S = 1.0
"""Before a second look at a video; doubled for the third."""


class Blame(StrEnum):
    """The party at fault."""

    VIDEO = "video"
    STORE = "store"
    UNKNOWN = "unknown"  # look again, later


@dataclass(slots=True)
class _Seen:
    """Of one video: how often it was looked at in vain, when to look again, and what had gone well until then."""

    looks: int = 0
    rests_until: float = 0.0
    went_well: int = 0


@dataclass(slots=True)
class Reach:
    """Knowledge of one worker about the stores it reads and writes. `second_look_s`: before a refusal is believed."""

    second_look_s: float = 2.0
    _tried: set[tuple[str, str]] = field(default_factory=set)  # store and folder that took an object
    _trying: asyncio.Lock = field(default_factory=asyncio.Lock)
    _seen: dict[str, _Seen] = field(default_factory=dict)  # by video
    _in_a_row: set[str] = field(default_factory=set)
    _went_well: int = 0

    async def can_write(self, store: Store, key: str, name: str) -> None:
        """Make sure once that results can be stored beside `key`; `name` is of the one who asks, used by nobody else.

        Raises:
            OutputRefused: the store refuses, twice.
            Unavailable: it is away, or has no room.
        """
        folder = key.rpartition("/")[0]
        async with self._trying:
            if (store.url, folder) in self._tried:
                return
            try:
                await _try_to_write(store, folder, name)
            except StorageError as error:
                log.warning("output_refused", reason=str(error))
                await asyncio.sleep(self.second_look_s)
                try:
                    await _try_to_write(store, folder, name)
                except StorageError as again:
                    raise OutputRefused(str(again)) from None
            self._tried.add((store.url, folder))

    def note_success(self, video_id: str) -> None:
        """A video was read and its result stored."""
        self._went_well += 1
        self._in_a_row.clear()
        self._seen.pop(video_id, None)

    def resting(self) -> list[str]:
        """Videos that are not to be claimed for a moment."""
        now = time.monotonic()
        return [video_id for video_id, seen in self._seen.items() if seen.rests_until > now]

    async def blame(
        self, video_id: str, source: Store, target: Store, key: str, error: StorageError
    ) -> Blame:
        """The party at fault for the `error` that ended a video. The stores are asked, which takes a moment."""
        folder = key.rpartition("/")[0]
        if isinstance(error, OutputRefused):
            self._tried.discard((target.url, folder))
            try:
                await self.can_write(target, key, video_id_safe(video_id))
            except OutputRefused:
                return Blame.STORE
            except Unavailable:
                return Blame.UNKNOWN
        elif await is_gone(source):
            await asyncio.sleep(self.second_look_s)
            if await is_gone(source):
                return Blame.STORE
        return self._count_refusal(video_id, missing=isinstance(error, ObjectMissing))

    def _count_refusal(self, video_id: str, *, missing: bool) -> Blame:
        seen = self._seen.setdefault(video_id, _Seen(went_well=self._went_well))
        seen.looks += 1
        self._in_a_row.add(video_id)
        others_do_well = self._went_well > seen.went_well
        shared = len(self._in_a_row) >= _SHARED_BY
        if shared and seen.looks > 1:  # each has been looked at twice, with time enough for others to do well
            return Blame.STORE
        if not shared and (seen.looks >= _LOOKS or (missing and seen.looks > 1 and others_do_well)):
            self._seen.pop(video_id)
            self._in_a_row.discard(video_id)
            return Blame.VIDEO
        seen.rests_until = time.monotonic() + _REST_S * seen.looks
        return Blame.UNKNOWN


def video_id_safe(video_id: str) -> str:
    """A name for an object, of a video's id."""
    return "".join(character if character.isalnum() else "-" for character in video_id)[:80]


async def is_gone(store: Store) -> bool:
    """True if there is nothing at all where the archives are, as where a disk is not mounted."""
    try:
        async for _ in store.list():
            return False
    except Unavailable:
        return False
    except LipikaError as error:  # a key may read objects and not list them
        log.info("listing_refused", store=store.url, reason=str(error))
        return False
    return True


async def _try_to_write(store: Store, folder: str, name: str) -> None:
    key = f"{folder}/{PROBE}-{name}".lstrip("/")
    await store.put_bytes(key, b"lipika asks whether results can be stored here\n")
    try:
        await store.delete(key)
    except LipikaError as error:  # what cannot be deleted is only untidy
        log.warning("probe_left_behind", key=key, reason=str(error))
