"""The page on the quality of the corpus so far: scores, lanes, findings, languages heard."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from lipika.dashboard.board import board_of, render, text_of
from lipika.db.calibrations import calibration_line
from lipika.db.stats_quality import (
    SCORE_STEP,
    ClipStatusCount,
    FindingCount,
    HeardLanguage,
    LaneYield,
    ScoreBucket,
    TierCount,
)
from lipika.models import LANES, Tier

_BUCKETS = round(1 / SCORE_STEP)
_FINDINGS = 40
_MANY_SHARE = 0.05  # of a hint's clips heard in another language: worth a look


@dataclass(slots=True)
class LanguageYield:
    """One language's hours, and how many of them each lane takes."""

    language: str
    clips: int = 0
    hours: float = 0.0
    no_speech: int = 0
    failed: int = 0
    lanes: dict[str, float] = field(default_factory=lambda: dict.fromkeys(LANES, 0.0))

    def share(self, lane: str) -> float:
        return self.lanes[lane] / self.hours if self.hours else 0.0


@dataclass(slots=True)
class LanguageTiers:
    """One language's clips that were weighed against other voters, by tier."""

    language: str
    clips: Counter[str] = field(default_factory=Counter)

    def share(self, tier: str) -> float:
        return self.clips[tier] / self.clips.total() if self.clips.total() else 0.0


@dataclass(frozen=True, slots=True)
class FoundCode:
    """One finding over all languages, and where it is commonest."""

    code: str
    severity: str
    clips: int
    languages: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """Clips with one hint in which one language was heard; `look` is how much that matters."""

    clips: int
    look: str


async def page(request: Request) -> Response:
    """All languages, or one."""
    quality = board_of(request).stats.quality
    language = text_of(request, "language")
    scores, lanes, found, confused, weighed = await asyncio.gather(
        quality.scores(), quality.lanes(), quality.findings(), quality.confusion(), quality.tiers()
    )
    # After the lanes: a clip that is written meanwhile makes no lane hold more hours than there are.
    statuses, failed = await asyncio.gather(quality.statuses(), quality.failures())
    limits = await board_of(request).stats.calibrations.newest_for_people()
    yields = yields_of(statuses, lanes)
    findings = count_by_code(found, language)
    hints, heard, cells = confusion(confused)
    shown = [row for row in yields if language in (None, row.language)]
    failures = Counter[str]()
    for row in failed:
        if language in (None, row.language):
            failures[row.kind] += row.clips
    context = {
        "title": "Quality",
        "rate_limits": calibration_line(limits),
        "language": language,
        "languages": [row.language for row in yields],
        "yields": shown,
        "total": sum_yields(shown),
        "lanes": LANES,
        "tiers": tuple(Tier),
        "weighed": tiers_of(weighed, language),
        "histogram": histogram(scores, language),
        "findings": findings[:_FINDINGS],
        "more": max(len(findings) - _FINDINGS, 0),
        "failures": failures.most_common(),
        "hints": hints,
        "heard": heard,
        "cells": cells,
    }
    return render(request, "quality.html", context)


def histogram(scores: Iterable[ScoreBucket], language: str | None) -> list[int]:
    """Clips in each of the buckets of the score, from 0 to 1."""
    clips = [0] * _BUCKETS
    for row in scores:
        if language in (None, row.language):
            clips[min(round(row.low / SCORE_STEP), _BUCKETS - 1)] += row.clips
    return clips


def yields_of(statuses: Iterable[ClipStatusCount], lanes: Iterable[LaneYield]) -> list[LanguageYield]:
    """By language, the most hours first."""
    found: dict[str, LanguageYield] = {}
    for row in statuses:
        entry = found.setdefault(row.language, LanguageYield(row.language))
        entry.clips += row.clips
        entry.hours += row.hours
        entry.no_speech += row.clips if row.status == "no_speech" else 0
        entry.failed += row.clips if row.status == "failed" else 0
    for lane in lanes:
        if lane.language in found and lane.lane in LANES:
            found[lane.language].lanes[lane.lane] += lane.hours
    return sorted(found.values(), key=lambda row: -row.hours)


def sum_yields(rows: Sequence[LanguageYield]) -> LanguageYield:
    total = LanguageYield("")
    for row in rows:
        total.clips += row.clips
        total.hours += row.hours
        total.no_speech += row.no_speech
        total.failed += row.failed
        for lane in LANES:
            total.lanes[lane] += row.lanes[lane]
    return total


def tiers_of(rows: Iterable[TierCount], language: str | None) -> list[LanguageTiers]:
    """By language, the most clips first."""
    found: dict[str, LanguageTiers] = {}
    for row in rows:
        if language in (None, row.language):
            found.setdefault(row.language, LanguageTiers(row.language)).clips[row.tier] += row.clips
    return sorted(found.values(), key=lambda one: (-one.clips.total(), one.language))


def count_by_code(rows: Iterable[FindingCount], language: str | None) -> list[FoundCode]:
    """By code, the commonest first; each with the languages that show it most."""
    clips: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        if language in (None, row.language):
            clips.setdefault((row.code, row.severity), Counter())[row.language] += row.clips
    codes = [
        FoundCode(code, severity, count.total(), tuple(count.most_common(4)))
        for (code, severity), count in clips.items()
    ]
    return sorted(codes, key=lambda row: (-row.clips, row.code))


def confusion(rows: Iterable[HeardLanguage]) -> tuple[list[str], list[str], dict[tuple[str, str], Cell]]:
    """(hints, languages heard, cells by both)."""
    counted = {(row.hint, row.heard): row.clips for row in rows}
    of_hint = Counter[str]()
    for (hint, _), clips in counted.items():
        of_hint[hint] += clips
    cells = {
        (hint, heard): Cell(clips, _look(hint, heard, clips / of_hint[hint]))
        for (hint, heard), clips in counted.items()
    }
    return sorted(of_hint), sorted({heard for _, heard in counted}), cells


def _look(hint: str, heard: str, share: float) -> str:
    if hint == heard:
        return "same"
    if hint == "none" or heard == "none":
        return ""
    return "many" if share > _MANY_SHARE else "other"
