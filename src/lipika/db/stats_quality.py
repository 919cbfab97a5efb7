"""The quality of the corpus so far: scores, findings, lanes, languages, as counted when clips are written."""

from __future__ import annotations

from dataclasses import dataclass

from lipika.db.connection import Database
from lipika.db.queries import load

_QUERIES = load("stats_quality")
_HOUR_MS = 3_600_000
SCORE_STEP = 0.05


@dataclass(frozen=True, slots=True)
class ScoreBucket:
    """Clips of one language with a score from `low` to `low` + 0.05 (the last one up to 1)."""

    language: str
    low: float
    clips: int


@dataclass(frozen=True, slots=True)
class FindingCount:
    """Clips of one language that show one finding at least once."""

    language: str
    severity: str
    code: str
    clips: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class LaneYield:
    """The yield of one lane in one language. `share` (0..1) is that of the hours of all clips."""

    language: str
    lane: str  # asr, tts_clean, tts_expressive
    clips: int
    hours: float
    share: float


@dataclass(frozen=True, slots=True)
class HeardLanguage:
    """Clips by hint (`none`: without one) and the language the model heard."""

    hint: str
    heard: str
    clips: int


@dataclass(frozen=True, slots=True)
class ClipFailure:
    """Clips that ended without an answer, by failure kind."""

    language: str
    kind: str
    clips: int


@dataclass(frozen=True, slots=True)
class ClipStatusCount:
    """Clips by how they ended."""

    language: str
    status: str  # transcribed, no_speech, failed
    clips: int
    hours: float


@dataclass(frozen=True, slots=True)
class TierCount:
    """Clips of one language and tier: gold, silver, bronze."""

    language: str
    tier: str
    clips: int


@dataclass(frozen=True, slots=True)
class LanguageQuality:
    """One language's clips so far. Percentages and the mean score are None where nothing was scored."""

    language: str
    clips: int
    transcribed: int
    no_speech: int
    failed: int
    mean_quality: float | None
    percent_asr: float | None
    hours: float
    cost_usd: float


@dataclass(frozen=True, slots=True)
class _Trait:
    language: str
    key: str
    clips: int
    duration_ms: int


class QualityStats:
    """Reads `clip_counts`, `tier_counts` and `quality_rollup`, never the result rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def scores(self) -> list[ScoreBucket]:
        """The histogram of quality scores by language; empty buckets are left out."""
        return [
            ScoreBucket(row.language, round(int(row.key) * SCORE_STEP, 2), row.clips)
            for row in await self._traits("score")
        ]

    async def findings(self) -> list[FindingCount]:
        """Findings by code and language, the commonest first."""
        return await self._database.rows(_QUERIES["findings"], {}, FindingCount)

    async def lanes(self) -> list[LaneYield]:
        """Hours in each lane by language."""
        total: dict[str, int] = {}
        for row in await self._traits("status"):
            total[row.language] = total.get(row.language, 0) + row.duration_ms
        return [
            LaneYield(
                row.language,
                row.key,
                row.clips,
                row.duration_ms / _HOUR_MS,
                row.duration_ms / total[row.language] if total.get(row.language) else 0.0,
            )
            for row in await self._traits("lane")
        ]

    async def confusion(self) -> list[HeardLanguage]:
        """Hints against languages heard."""
        return [HeardLanguage(row.language, row.key, row.clips) for row in await self._traits("heard")]

    async def failures(self) -> list[ClipFailure]:
        return [ClipFailure(row.language, row.key, row.clips) for row in await self._traits("failure")]

    async def statuses(self) -> list[ClipStatusCount]:
        return [
            ClipStatusCount(row.language, row.key, row.clips, row.duration_ms / _HOUR_MS)
            for row in await self._traits("status")
        ]

    async def not_asked(self) -> int:
        """Clips without speech for which no request was made."""
        return sum(row.clips for row in await self._traits("finding:info") if row.key == "not_asked")

    async def tiers(self) -> list[TierCount]:
        """Clips that were weighed against other voters, by language and tier."""
        return await self._database.rows(_QUERIES["tiers"], {}, TierCount)

    async def languages(self) -> list[LanguageQuality]:
        """Mean score, share for ASR, hours and dollars by language."""
        return await self._database.rows(_QUERIES["languages"], {}, LanguageQuality)

    async def _traits(self, kind: str) -> list[_Trait]:
        return await self._database.rows(_QUERIES["traits"], {"kind": kind}, _Trait)
