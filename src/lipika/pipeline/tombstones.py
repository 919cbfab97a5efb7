"""Tombstones for a worker, of what it must not send, pack or save.

It asks before each video, and once more before it packs.

The beginnings of all digests of erased audio are in memory, so that no clip waits for the database; one that is like
one of them is looked up in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lipika.archive.erased import NOTHING_ERASED, ErasedNames, ErasedStretch
from lipika.db.tombstones import AudioTombstone, NameTombstone

_BEGINNING = 16  # hex digits


class TombstoneSource(Protocol):
    """Tombstones as the database has them. Each raises DatabaseUnavailable while it is away."""

    async def list_of(self, video_id: str) -> Sequence[NameTombstone]:
        """All of one video's names."""

    async def audio(self, digests: Sequence[str]) -> set[str]:
        """The digests that are of erased audio."""

    async def list_since(self, erasure_id: int) -> Sequence[AudioTombstone]:
        """All digests of this erasure and later ones."""


class _NoTombstones:
    """Nothing was ever erased."""

    async def list_of(self, video_id: str) -> Sequence[NameTombstone]:
        del video_id
        return ()

    async def audio(self, digests: Sequence[str]) -> set[str]:
        del digests
        return set()

    async def list_since(self, erasure_id: int) -> Sequence[AudioTombstone]:
        del erasure_id
        return ()


@dataclass(slots=True)
class ErasedAudio:
    """Tombstones over all videos of a worker."""

    source: TombstoneSource = field(default_factory=_NoTombstones)
    _beginnings: set[int] = field(default_factory=set)  # 64 bits each: some 60 MB a million
    _newest: int = 0

    async def look_up(self, video_id: str) -> ErasedNames:
        """Look up what is erased of a video; what has been erased since the last call is known from now on."""
        for one in await self.source.list_since(self._newest):
            self._beginnings.add(int(one.beginning, 16))
            self._newest = max(self._newest, one.erasure_id)
        found = await self.source.list_of(video_id)
        if not found:
            return NOTHING_ERASED
        return ErasedNames(
            [ErasedStretch(one.video_key, one.speaker_key, one.start_ms, one.end_ms) for one in found]
        )

    def may_be(self, digest: str) -> bool:
        """True if a digest begins as one of erased audio."""
        return bool(self._beginnings) and digest != "" and int(digest[:_BEGINNING], 16) in self._beginnings

    async def find(self, digests: Sequence[str]) -> set[str]:
        """Those of these digests that are of erased audio, as the database has it now."""
        return await self.source.audio(digests)
