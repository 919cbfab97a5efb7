"""Charts as SVG files that need nothing else, readable on light and on dark ground. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from lipika.dataset.card.words import plain
from lipika.wording import short

_WIDTH = 720
_LEFT, _RIGHT = 112, 78  # the columns of names and of figures
_TITLE, _LEGEND, _ROW, _AXIS = 34, 26, 24, 34
_COLUMNS_HEIGHT = 200
_LETTER = 7.2  # width of one in the legend, about
_COLOURS = 5

_STYLE = """
  .ground { fill: #ffffff; stroke: #d9d7d1 } text { font: 13px system-ui, sans-serif; fill: #1d1f24 }
  .title { font-weight: 600; font-size: 15px } .dim { fill: #5b6069 } .grid { stroke: #e6e4df }
  .s0 { fill: #2f5fb3 } .s1 { fill: #c96a14 } .s2 { fill: #23866a } .s3 { fill: #a8397f } .s4 { fill: #6a707b }
  .r0 { fill: #d3d6db } .r1 { fill: #a9c3e8 } .r2 { fill: #729bd6 } .r3 { fill: #3f6fbd } .r4 { fill: #1f437f }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #1d2026; stroke: #3a3f48 } text { fill: #e7e8ea } .dim { fill: #a3a8b2 } .grid { stroke: #333840 }
    .s0 { fill: #7aa5f0 } .s1 { fill: #f0a35c } .s2 { fill: #5cc9a7 } .s3 { fill: #e583c0 } .s4 { fill: #9ba1ac }
    .r0 { fill: #4a505a } .r1 { fill: #2c4f87 } .r2 { fill: #4a7ac4 } .r3 { fill: #7ba6ea } .r4 { fill: #c3d9fb }
  }
"""

Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Bar:
    """A name, a value of each series, and what is written behind them."""

    label: str
    values: Sequence[float]
    figure: str


def draw_stacked(
    title: str, bars: Sequence[Bar], series: Sequence[str], show: Format, *, ramp: bool = False
) -> str:
    """A bar of several parts for each name, its figure behind it. `ramp`: the series are degrees of one thing."""
    top = _top([sum(bar.values) for bar in bars])
    parts = [*_legend(series, ramp=ramp), *_scale(top, len(bars), show)]
    for place, bar in enumerate(bars):
        middle, start = _middle(place), 0.0
        parts.append(_name(bar.label, middle))
        for number, value in enumerate(bar.values):
            words = f"{bar.label}, {series[number]}: {show(value)}"
            parts.append(_box(start, start + value, top, middle - 8, 16, _colour(number, ramp), words))
            start += value
        parts.append(_figure(bar.figure, middle))
    return _svg(title, _bottom(len(bars)) + _AXIS, parts)


def draw_grouped(title: str, bars: Sequence[Bar], series: Sequence[str], show: Format) -> str:
    """Thin bars below each other for each name, one of each series."""
    top = _top([value for bar in bars for value in bar.values])
    parts = [*_legend(series, ramp=False), *_scale(top, len(bars), show)]
    for place, bar in enumerate(bars):
        middle = _middle(place)
        parts.append(_name(bar.label, middle))
        each = 18 / max(len(series), 1)
        for number, value in enumerate(bar.values):
            words = f"{bar.label}, {series[number]}: {show(value)}"
            y = middle - 9 + number * each
            parts.append(_box(0, value, top, y, each - 1, _colour(number, ramp=False), words))
        parts.append(_figure(bar.figure, middle))
    return _svg(title, _bottom(len(bars)) + _AXIS, parts)


def draw_columns(title: str, counts: Sequence[int], label: Callable[[int], str], unit: str) -> str:
    """A column for each count, side by side; `label` names a column by its number."""
    top = _top([float(count) for count in counts])
    floor = _TITLE + _COLUMNS_HEIGHT
    inner = _WIDTH - _LEFT - 24
    step = inner / max(len(counts), 1)
    parts = []
    for tick in _ticks(top):
        y = floor - tick / top * (_COLUMNS_HEIGHT - 10)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + inner}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 10, y + 4, short(tick), "dim", "end"))
    every = max(1, math.ceil(len(counts) / 12))
    for place, count in enumerate(counts):
        x, height = _LEFT + place * step, count / top * (_COLUMNS_HEIGHT - 10)
        parts.append(
            f'<rect class="s0" x="{x + 1:.1f}" y="{floor - height:.1f}" width="{max(step - 2, 0.5):.1f}"'
            f' height="{height:.1f}"><title>{_safe(f"{label(place)} {unit}: {count:,} clips")}</title></rect>'
        )
        if place % every == 0:
            parts.append(_text(x + step / 2, floor + 18, label(place), "dim", "middle"))
    parts.append(_text(_LEFT + inner / 2, floor + 38, unit, "dim", "middle"))
    return _svg(title, floor + 50, parts)


# ----------------------------------------------------------------------------- axes


def _top(values: Sequence[float]) -> float:
    """The end of the axis: a round number."""
    most = max(values, default=0.0)
    if most <= 0:
        return 1.0
    step = _step(most)
    return math.ceil(most / step - 1e-9) * step


def _step(top: float) -> float:
    rough = top / 4
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _ticks(top: float) -> list[float]:
    step = _step(top)
    return [step * place for place in range(math.floor(top / step + 1e-9) + 1)]


def _x(value: float, top: float) -> float:
    return _LEFT + value / top * (_WIDTH - _LEFT - _RIGHT)


def _middle(place: int) -> float:
    return _TITLE + _LEGEND + place * _ROW + _ROW / 2


def _bottom(rows: int) -> float:
    return _TITLE + _LEGEND + rows * _ROW


def _scale(top: float, rows: int, show: Format) -> Iterable[str]:
    bottom = _bottom(rows)
    for tick in _ticks(top):
        x = _x(tick, top)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TITLE + _LEGEND}" y2="{bottom}"/>'
        yield _text(x, bottom + 18, show(tick), "dim", "middle")


# ----------------------------------------------------------------------------- marks


def _colour(number: int, ramp: bool) -> str:
    return f"{'r' if ramp else 's'}{number % _COLOURS}"


def _legend(series: Sequence[str], *, ramp: bool) -> Iterable[str]:
    x = float(_LEFT)
    for number, name in enumerate(series):
        yield f'<rect class="{_colour(number, ramp)}" x="{x:.1f}" y="{_TITLE + 4}" width="11" height="11" rx="2"/>'
        yield _text(x + 16, _TITLE + 14, name, "dim", "start")
        x += 34 + _LETTER * len(name)


def _box(start: float, end: float, top: float, y: float, height: float, colour: str, words: str) -> str:
    x = _x(start, top)
    return (
        f'<rect class="{colour}" x="{x:.1f}" y="{y:.1f}" width="{_x(end, top) - x:.1f}" height="{height:.1f}">'
        f"<title>{_safe(words)}</title></rect>"
    )


def _name(text: str, middle: float) -> str:
    return _text(_LEFT - 10, middle + 4, text, "", "end")


def _figure(text: str, middle: float) -> str:
    return _text(_WIDTH - 14, middle + 4, text, "", "end")


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_safe(text)}</text>'


def _safe(text: str) -> str:
    return escape(plain(text))


def _svg(title: str, height: float, parts: Iterable[str]) -> str:
    size = f'width="{_WIDTH}" height="{height:.0f}" viewBox="0 0 {_WIDTH} {height:.0f}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{_safe(title)}">',
            f"<title>{_safe(title)}</title><style>{_STYLE}</style>",
            f'<rect class="ground" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1:.0f}" rx="8"/>',
            _text(14, 22, title, "title", "start"),
            *parts,
            "</svg>\n",
        )
    )
