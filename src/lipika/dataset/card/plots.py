"""The charts of a card: its figures as bars. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from lipika.dataset.card import charts
from lipika.dataset.card.charts import Bar
from lipika.dataset.card.words import name_language, show_hours
from lipika.dataset.summary import SCORE_RANGES, ExportSummary
from lipika.wording import percent, short

_STEPS = (0.0, 0.6, 0.7, 0.8, 0.9)
"""Where the shades of the chart of scores begin: below 0.6 there is little, and it is all doubtful."""


def plots(summary: ExportSummary) -> Iterator[tuple[str, str]]:
    """(path, SVG) of every chart; none of an export of nothing."""
    if not summary.exported:
        return
    yield "card/hours.svg", _hours(summary)
    if summary.open_lanes:
        yield "card/lanes.svg", _lanes(summary)
    yield "card/scores.svg", _scores(summary)
    yield (
        "card/durations.svg",
        charts.draw_columns(
            "Clips by length", summary.durations, lambda second: f"{second}–{second + 1}", "s"
        ),
    )


def _show(hours: float) -> str:
    return show_hours(hours * 3600)


def _hours(summary: ExportSummary) -> str:
    bars = []
    for code in summary.languages:
        found = [summary.tarset(code, split) for split in summary.splits]
        hours = [one.hours if one else 0.0 for one in found]
        bars.append(Bar(name_language(code), hours, _show(sum(hours))))
    return charts.draw_stacked("Hours of each language", bars, summary.splits, _show)


def _lanes(summary: ExportSummary) -> str:
    bars = []
    for code in summary.languages:
        lanes = summary.lanes.get(code, {})
        hours = [lanes[lane].hours if lane in lanes else 0.0 for lane in summary.open_lanes]
        bars.append(Bar(name_language(code), hours, _show(hours[0])))
    return charts.draw_grouped("Hours open for each lane", bars, summary.open_lanes, _show)


def _scores(summary: ExportSummary) -> str:
    """Shares of a language's clips, in fewer ranges than are counted."""
    edges = [round(step * SCORE_RANGES) for step in (*_STEPS, 1.0)]
    bars = []
    for code in sorted(summary.scores):
        clips = summary.scores[code]
        whole = sum(clips)
        shares = [sum(clips[low:high]) / (whole or 1) for low, high in pairwise(edges)]
        bars.append(Bar(name_language(code), shares, short(whole)))
    names = [f"{low / SCORE_RANGES:g}–{high / SCORE_RANGES:g}" for low, high in pairwise(edges)]
    return charts.draw_stacked("Clips of each language by quality score", bars, names, percent, ramp=True)
