"""A fair sample of a language's clips, out of any number of them, by a few thousand look-ups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lipika.db.connection import Database
from lipika.db.queries import load
from lipika.db.stored import AnsweredClip
from lipika.models import SIMULATED

_QUERIES = load("clip_samples")
_LOOKED_AT = 50_000
"""Videos among which those of one language are looked for, at most."""


@dataclass(frozen=True, slots=True)
class _Video:
    video_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleClip(AnsweredClip):
    """A transcribed clip to learn from."""


class ClipSamples:
    """`video_queue` and `transcription_results`, looked into here and there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def videos(self, language: str, limit: int, *, looked_at: int = _LOOKED_AT) -> list[str]:
        """Ids of videos that may hold clips of a language, chosen by chance: those first that are said to.

        They are looked for among `looked_at` videos, at most.
        """
        params = {"language": language, "limit": limit, "looked_at": looked_at}
        rows = await self._database.rows(_QUERIES["videos"], params, _Video)
        return [row.video_id for row in rows]

    async def clips(
        self, video_ids: Sequence[str], language: str, each: int, *, simulated: bool
    ) -> list[SampleClip]:
        """Transcribed clips of a language, at most `each` of a video, chosen by chance."""
        params = {
            "video_ids": list(video_ids),
            "language": language,
            "each": each,
            "made_up": SIMULATED,
            "simulated": simulated,
        }
        return await self._database.rows(_QUERIES["clips"], params, SampleClip)
