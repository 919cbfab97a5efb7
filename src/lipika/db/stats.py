"""Read-only questions, shared by the command line, the dashboard and the metrics.

Each is answered from counters that triggers keep, from a few hundred worker rows, or from one page of an index: at
10M clips as quickly as at ten. `Stats` is all of them in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lipika.db.calibrations import Calibrations
from lipika.db.clip_search import ClipSearch
from lipika.db.clips import ClipQueries
from lipika.db.connection import Database
from lipika.db.datasets import Datasets
from lipika.db.errors import ErrorQueries
from lipika.db.flags import FlagQueries
from lipika.db.queries import load
from lipika.db.redos import Redos
from lipika.db.stats_fleet import FleetStats
from lipika.db.stats_quality import QualityStats
from lipika.db.stats_queue import QueueStats
from lipika.db.stats_spend import SpendStats

_QUERIES = load("stats")


@dataclass(frozen=True, slots=True)
class VideoTotals:
    """Totals over a set of videos. Segments are of the input, clips are what was asked and is packed."""

    videos: int
    videos_done: int
    videos_failed: int
    videos_empty: int  # done, and without a transcript
    segments: int
    discarded: int  # whole segments
    parts_discarded: int
    clips: int
    transcribed: int
    no_speech: int
    failed: int
    requests: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Segments, and parts of them, that went no further for one reason."""

    reason: str
    discards: int
    example: str  # why one of them did not


@dataclass(frozen=True, slots=True)
class EmptyVideo:
    """A done video of which nothing is left."""

    video_id: str
    segment_count: int
    discard_reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Yield:
    """Hours of audio of one language: of all its clips, and in each lane."""

    language: str
    clips: int
    hours: float
    asr: float
    tts_clean: float
    tts_expressive: float


@dataclass(frozen=True, slots=True)
class Found:
    """Clips that show one finding at least once."""

    code: str
    severity: str
    clips: int


class Stats:
    """The read model: `fleet`, `queue`, `quality`, `spend`, `flags`, `clips`, `search`, `errors`,
    `calibrations`, `datasets` and `redos`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.fleet = FleetStats(database)
        self.queue = QueueStats(database)
        self.quality = QualityStats(database)
        self.spend = SpendStats(database)
        self.flags = FlagQueries(database)
        self.clips = ClipQueries(database)
        self.search = ClipSearch(database)
        self.errors = ErrorQueries(database)
        self.calibrations = Calibrations(database)
        self.datasets = Datasets(database)
        self.redos = Redos(database)

    async def ping(self) -> None:
        """Ask Postgres for a sign of life. Raises DatabaseUnavailable if there is none."""
        await self._database.execute(_QUERIES["ping"], {})

    async def totals(self, video_ids: Sequence[str]) -> VideoTotals:
        """The sums over these videos (thousands, not millions: it reads their result rows)."""
        return await self._database.row(_QUERIES["totals"], {"video_ids": list(video_ids)}, VideoTotals)

    async def list_left_out(self, video_ids: Sequence[str]) -> list[LeftOut]:
        """Reasons of discards in these videos, the most frequent first."""
        return await self._database.rows(_QUERIES["left_out"], {"video_ids": list(video_ids)}, LeftOut)

    async def empty_videos(self, video_ids: Sequence[str], *, limit: int = 100) -> list[EmptyVideo]:
        """Those of the videos that are done without a transcript."""
        parameters = {"video_ids": list(video_ids), "limit": limit}
        return await self._database.rows(_QUERIES["empty_videos"], parameters, EmptyVideo)

    async def yields(self, video_ids: Sequence[str]) -> list[Yield]:
        """Hours by language and lane in these videos, most hours first."""
        return await self._database.rows(_QUERIES["yields"], {"video_ids": list(video_ids)}, Yield)

    async def findings(self, video_ids: Sequence[str]) -> list[Found]:
        """Findings in these videos, the commonest first."""
        return await self._database.rows(_QUERIES["findings_of"], {"video_ids": list(video_ids)}, Found)
