"""Tombstones, asked by whoever may bring back what was erased. Digests and keys, no names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lipika.db.connection import Database
from lipika.db.queries import load

_QUERIES = load("tombstones")


@dataclass(frozen=True, slots=True)
class NameTombstone:
    """A video, a speaker of it, or a stretch of one; ms on the video's clock."""

    video_key: str
    speaker_key: str  # empty: the whole video
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class AudioTombstone:
    """The beginning (16 hex digits) of a digest of erased audio, and the erasure it came with."""

    erasure_id: int
    beginning: str


@dataclass(frozen=True, slots=True)
class _ErasedVideo:
    video_id: str
    erasure_id: int


@dataclass(frozen=True, slots=True)
class _Digest:
    audio_digest: str


class Tombstones:
    """The tombstones of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_of(self, video_id: str) -> list[NameTombstone]:
        """All that is erased of one video."""
        return await self._database.rows(_QUERIES["list_of"], {"video_id": video_id}, NameTombstone)

    async def videos(self, video_ids: Sequence[str]) -> Mapping[str, int]:
        """Those of these videos that are erased as a whole, with the number of the erasure."""
        params = {"video_ids": list(video_ids)}
        found = await self._database.rows(_QUERIES["videos"], params, _ErasedVideo)
        return {row.video_id: row.erasure_id for row in found}

    async def audio(self, digests: Sequence[str]) -> set[str]:
        """Those of these digests that are of erased audio."""
        if not digests:
            return set()
        params = {"digests": list(digests)}
        return {row.audio_digest for row in await self._database.rows(_QUERIES["audio"], params, _Digest)}

    async def list_since(self, erasure_id: int) -> list[AudioTombstone]:
        """All digests of this erasure and later ones, by their beginnings."""
        return await self._database.rows(_QUERIES["since"], {"erasure": erasure_id}, AudioTombstone)
