"""The report as one HTML page that needs nothing else: inline styles and SVG, light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from lipika.canary import charts
from lipika.canary.advice import clips_that_tell, margin_words, points
from lipika.canary.arms import ArmKind
from lipika.canary.charts import Piece, Point, Row
from lipika.canary.judgement import percent_range
from lipika.canary.measures import ArmMeasures
from lipika.canary.report import CanaryReport
from lipika.canary.texts import differing_words
from lipika.forecast.forecast import LIMIT_WORDS
from lipika.forecast.shares import Estimate
from lipika.languages import LANGUAGES
from lipika.wording import duration, latency, money, number, percent

_TOKENS = (
    ("text", "prompt text"),
    ("audio", "audio"),
    ("cached", "cached"),
    ("answer", "answer"),
    ("thoughts", "thoughts"),
)


def render(report: CanaryReport) -> str:
    """The page."""
    return _template().render(
        report=report,
        charts=_charts(report),
        mark={"go": "Go", "warn": "Go, with warnings", "no-go": "No-go"}[report.judgement.mark],
        percent=percent,
        percent_range=percent_range,
        latency=latency,
        money=money,
        duration=duration,
        number=number,
        language_name=_language_name,
        points=points,
        margin_words=margin_words,
        clips_that_tell=lambda one: clips_that_tell(one, report.plan.design),
        right_to_left=lambda code: code == "ur",
        limit_words=LIMIT_WORDS,
        isinf=math.isinf,
        isnan=math.isnan,
        differing_words=differing_words,
        is_experimental=lambda name: any(arm.name == name and arm.is_experimental for arm in report.arms),
    )


@cache
def _template() -> Template:
    text = resources.files("lipika.canary").joinpath("report.html").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)


# ----------------------------------------------------------------------------- charts


def _charts(report: CanaryReport) -> Mapping[str, Markup]:
    arms = report.measures.arms
    colour = {one.arm.name: place % 8 for place, one in enumerate(arms)}
    drawn = {
        "looping": charts.intervals(
            [_row(one, one.looped, colour) for one in arms], percent, limit=report.limits.looped_at_most
        ),
        "cost": charts.intervals([_row(one, one.cost_each, colour) for one in arms], money),
        "tokens": charts.stacked_bars(
            [
                (
                    one.arm.name,
                    [
                        Piece(getattr(one.tokens, field), place, name)
                        for place, (field, name) in enumerate(_TOKENS)
                    ],
                )
                for one in arms
            ],
            number,
        ),
        "tokens_key": charts.legend(enumerate(name for _, name in _TOKENS)),
        "latency": charts.curves(
            [(one.arm.name, colour[one.arm.name], [ms / 1000 for ms in one.latency.curve]) for one in arms],
            lambda seconds: latency(1000 * seconds),
        ),
        "arms_key": charts.legend((colour[one.arm.name], one.arm.name) for one in arms),
        "languages": _languages(report, colour),
        "languages_key": charts.legend(
            (colour[one.arm.name], one.arm.name) for one in arms if _is_compared(one)
        ),
        "agreement": _agreement(report),
        "limits": _limits(report),
    }
    return {name: Markup(svg) for name, svg in drawn.items()}  # noqa: S704 - made here; names are escaped in it


def _row(one: ArmMeasures, estimate: Estimate, colour: Mapping[str, int]) -> Row:
    return Row(one.arm.name, [Point(estimate, colour[one.arm.name], one.arm.words)])


def _is_compared(one: ArmMeasures) -> bool:
    return one.arm.kind in {ArmKind.BASELINE, ArmKind.PROVIDER}


def _languages(report: CanaryReport, colour: Mapping[str, int]) -> str:
    compared = [one.arm.name for one in report.measures.arms if _is_compared(one)]
    found = {(one.arm, one.language): one for one in report.measures.languages}
    codes = sorted({one.language for one in report.measures.languages}, key=_language_name)
    rows = [
        Row(
            _language_name(code),
            [Point(found[(arm, code)].asr, colour[arm], arm) for arm in compared if (arm, code) in found],
        )
        for code in codes
    ]
    return charts.intervals(rows, percent, limit=report.limits.asr_of_a_language_at_least, top=1.0)


def _agreement(report: CanaryReport) -> str:
    providers = {one.arm.name for one in report.measures.arms if one.arm.kind is ArmKind.PROVIDER}
    rows = []
    for one in (one for one in report.measures.against if one.arm in providers):
        rows.append(Row(f"all: {one.arm}", [Point(one.cer, 1, "all languages")], strong=True))
        rows += [
            Row(_language_name(code), [Point(cer, 1, one.arm)]) for code, cer in one.cer_by_language.items()
        ]
    return charts.intervals(rows, percent, limit=report.limits.cer_at_most) if rows else ""


def _limits(report: CanaryReport) -> str:
    if report.outlook is None:
        return ""
    limits = report.outlook.forecast.limits
    longest = max((one.seconds.high for one in limits if math.isfinite(one.seconds.high)), default=1.0)
    unit_s = next(unit for unit in (86_400.0, 3600.0, 60.0, 1.0) if longest >= 2 * unit or unit == 1.0)
    rows = [
        Row(
            LIMIT_WORDS[one.name],
            [Point(_scale(unit_s, one.seconds), 5 if one.binds else 0, "alone")],
            strong=one.binds,
        )
        for one in limits
    ]
    return charts.intervals(rows, lambda value: duration(value * unit_s), log=True)


def _scale(unit_s: float, seconds: Estimate) -> Estimate:
    return Estimate(*(max(value / unit_s, 0.01) for value in (seconds.value, seconds.low, seconds.high)))


# ----------------------------------------------------------------------------- figures in words


def _language_name(code: str) -> str:
    return LANGUAGES[code].name if code in LANGUAGES else code
