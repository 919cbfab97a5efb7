"""The report of an audit as one HTML file that needs nothing else, on light and dark ground, on a phone too. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template

from lipika.audit.estimates import AuditedRate
from lipika.audit.figures import MOST_MORE, AuditFigures, PartFigures, RateVerdict
from lipika.audit.verdicts import Acceptance
from lipika.languages import LANGUAGES
from lipika.wording import number, percent

LANE_WORDS = {"asr": "ASR", "tts_clean": "TTS, clean", "tts_expressive": "TTS, expressive"}
_LOOK = {Acceptance.ACCEPT: "good", Acceptance.REJECT: "bad", Acceptance.UNDECIDED: "open"}


@dataclass(frozen=True, slots=True)
class Whisker:
    """A rate on an axis from 0 to 100."""

    low: float
    value: float | None
    high: float
    limit: float | None


def language_words(code: str) -> str:
    return LANGUAGES[code].name if code in LANGUAGES else code


def lane_words(lane: str) -> str:
    return LANE_WORDS.get(lane, lane)


def rate_words(rate: AuditedRate) -> str:
    """Such as `4.2 % (3.4 to 5.1 %)`."""
    estimate = rate.estimate
    if math.isnan(estimate.value):
        return "not known"
    return f"{percent(estimate.value)} ({percent(estimate.low)} to {percent(estimate.high)})"


def verdict_words(part: PartFigures, verdict: RateVerdict | None) -> str:
    """Such as `accepted`, `so far`, or `undecided: hear 120 more`."""
    if verdict is None:
        return ""
    if not part.complete:
        return f"so far; {part.drawn - part.heard} to hear"
    if verdict.acceptance is Acceptance.ACCEPT:
        return f"accepted: at most {percent(verdict.limit)}"
    if verdict.acceptance is Acceptance.REJECT:
        return f"rejected: over {percent(verdict.limit)}"
    more = f"hear {verdict.more:,} more" if verdict.more else f"over {MOST_MORE:,} clips more would tell"
    return f"undecided: {more}"


def verdict_look(verdict: RateVerdict | None) -> str:
    return _LOOK[verdict.acceptance] if verdict else "open"


def gain_words(rate: AuditedRate, heard: int) -> str:
    """The second listener's worth."""
    if rate.gain <= 1.005:
        return "people alone"
    return f"as {round(heard * rate.gain):,} clips without the second listener"


def draw_whiskers(parts: Sequence[PartFigures], which: str) -> list[Whisker]:
    """One for each part, all on one axis."""
    rates: list[AuditedRate] = [getattr(part, which) for part in parts]
    limits = [
        verdict.limit
        for part in parts
        if (verdict := part.unusable_verdict if which == "unusable" else part.cer_verdict) is not None
    ]
    known = [rate.estimate.high for rate in rates if not math.isnan(rate.estimate.value)]
    top = min(max([*known, *limits, 0.01]) * 1.1, 1.0)
    limit = limits[0] if limits else None

    def at(value: float) -> float:
        return round(100 * min(value / top, 1.0), 2)

    return [
        Whisker(
            at(rate.estimate.low),
            None if math.isnan(rate.estimate.value) else at(rate.estimate.value),
            at(rate.estimate.high),
            None if limit is None else at(limit),
        )
        for rate in rates
    ]


def make_page(figures: AuditFigures) -> str:
    """The report as HTML."""
    groups = [
        (title, told, parts, draw_whiskers(parts, "cer"), draw_whiskers(parts, "unusable"))
        for title, told, parts in (
            ("Languages", "Of all clips that were drawn from.", figures.languages),
            ("Lanes", "Of the clips that are open for a use.", figures.lanes),
            (
                "Tiers",
                "Of the clips that others agree with, more or less. They have no verdict.",
                figures.tiers,
            ),
        )
        if parts
    ]
    return _template().render(figures=figures, audit=figures.audit, groups=groups)


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        pct=percent,
        n=number,
        language=language_words,
        lane=lane_words,
        rate=rate_words,
        look=verdict_look,
    )
    environment.globals.update(verdict_words=verdict_words, gain_words=gain_words)
    return environment.from_string((files("lipika.audit") / "report.html").read_text("utf-8"))
