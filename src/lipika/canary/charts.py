"""Charts as inline SVG: no script, no network, colours from the page's own variables. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from lipika.forecast.shares import Estimate
from lipika.wording import percent

_WIDTH = 540
_LABELS = 170  # width of the column of names
_RIGHT = 74  # ... and of the figures
_ROW = 26
_TOP, _BOTTOM = 12, 30

Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Point:
    """One figure with its interval; `series` picks the colour, 0 to 7."""

    estimate: Estimate
    series: int
    name: str


@dataclass(frozen=True, slots=True)
class Row:
    """A name and its points, drawn on one line."""

    label: str
    points: Sequence[Point]
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a stacked bar."""

    value: float
    series: int
    name: str


def intervals(
    rows: Sequence[Row],
    show: Format,
    *,
    limit: float | None = None,
    top: float | None = None,
    log: bool = False,
) -> str:
    """Dots with whiskers, one line for each row. `limit` is a line across; `top` the end of the axis."""
    finite = [
        value
        for row in rows
        for point in row.points
        for value in (point.estimate.low, point.estimate.value, point.estimate.high)
        if math.isfinite(value)
    ]
    if not finite:
        return _nothing()
    axis = _axis([*finite, *([limit] if limit is not None else [])], top=top, log=log)
    parts: list[str] = [_grid(axis, len(rows), show)]
    for place, row in enumerate(rows):
        middle = _TOP + place * _ROW + _ROW / 2
        parts.append(_label(row.label, middle, strong=row.strong))
        parts.extend(_points(row, middle, axis, show))
    if limit is not None:
        x = axis.x(limit)
        bottom = _TOP + len(rows) * _ROW
        parts.append(f'<line class="limit" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>')
    return _svg(_TOP + len(rows) * _ROW + _BOTTOM, parts)


def stacked_bars(rows: Sequence[tuple[str, Sequence[Piece]]], show: Format) -> str:
    """Bars of several parts, one line for each row."""
    totals = [sum(piece.value for piece in pieces) for _, pieces in rows]
    if not totals or max(totals) <= 0:
        return _nothing()
    axis = _axis([0.0, *totals], top=None, log=False)
    parts = [_grid(axis, len(rows), show)]
    for place, ((label, pieces), total) in enumerate(zip(rows, totals, strict=True)):
        middle = _TOP + place * _ROW + _ROW / 2
        parts.append(_label(label, middle))
        start = 0.0
        for piece in pieces:
            x, end = axis.x(start), axis.x(start + piece.value)
            parts.append(
                f'<rect class="s{piece.series}" x="{x:.1f}" y="{middle - 8:.1f}" width="{max(end - x, 0):.1f}"'
                f' height="16"><title>{escape(f"{label}: {piece.name} {show(piece.value)}")}</title></rect>'
            )
            start += piece.value
        parts.append(_figure(show(total), middle))
    return _svg(_TOP + len(rows) * _ROW + _BOTTOM, parts)


def curves(series: Sequence[tuple[str, int, Sequence[float]]], show: Format) -> str:
    """Shares of requests answered within a time: each series is (name, colour, percentiles 0 to 100)."""
    known = [(name, colour, curve) for name, colour, curve in series if len(curve) > 1]
    if not known:
        return _nothing()
    height = 220
    values = [value for _, _, curve in known for value in (curve[1], curve[-1])]
    axis = _axis([max(value, 1e-3) for value in values], top=None, log=True)
    bottom = height - _BOTTOM

    def y(share: float) -> float:
        return bottom - share * (bottom - _TOP)

    parts = [_grid(axis, (bottom - _TOP) / _ROW, show)]
    parts += [
        f'<line class="grid" x1="{_LABELS}" y1="{y(share):.1f}" x2="{_WIDTH - _RIGHT}" y2="{y(share):.1f}"/>'
        f'<text class="tick" x="{_LABELS - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{percent(share)}</text>'
        for share in (0.5, 0.95, 0.99)
    ]
    for name, colour, curve in known:
        steps = [
            f"{axis.x(max(value, 1e-3)):.1f},{y(place / (len(curve) - 1)):.1f}"
            for place, value in enumerate(curve)
        ]
        parts.append(
            f'<polyline class="curve l{colour}" points="{" ".join(steps)}"><title>{escape(name)}</title></polyline>'
        )
    return _svg(height, parts)


def legend(names: Iterable[tuple[int, str]]) -> str:
    """Coloured names above a chart."""
    return "".join(
        f'<span class="key"><i class="b{series}"></i>{escape(name)}</span>' for series, name in names
    )


# ----------------------------------------------------------------------------- axes


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool

    def x(self, value: float) -> float:
        """The place of a value; what is beyond the axis lies at its end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return _LABELS + share * (_WIDTH - _LABELS - _RIGHT)


def _axis(values: Sequence[float], *, top: float | None, log: bool) -> _Axis:
    if log:
        low = 10.0 ** math.floor(math.log10(max(min(values), 1e-9)))
        high = max(10.0 ** math.ceil(math.log10(max(*values, 1e-9)) - 1e-9), low * 10)
        decades = round(math.log10(high / low))
        return _Axis(low, high, tuple(low * 10.0**step for step in range(decades + 1)), log=True)
    high = top if top is not None else max(values)
    low = min(0.0, *values)
    step = _step(max(high - low, 1e-12))
    last = math.ceil(high / step - 1e-9)
    ticks = tuple(step * place for place in range(math.floor(low / step + 1e-9), last + 1))
    return _Axis(min(low, ticks[0]), max(ticks[-1], low + step), ticks, log=False)


def _step(span: float) -> float:
    """A round step that gives four to eight ticks."""
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def _grid(axis: _Axis, rows: float, show: Format) -> str:
    bottom = _TOP + rows * _ROW
    parts = []
    for tick in axis.ticks:
        x = axis.x(tick)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom:.1f}"/>'
            f'<text class="tick" x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{escape(show(tick))}</text>'
        )
    return "".join(parts)


# ----------------------------------------------------------------------------- marks


def _points(row: Row, middle: float, axis: _Axis, show: Format) -> Iterable[str]:
    spread = 7.0 if len(row.points) > 1 else 0.0
    for place, point in enumerate(row.points):
        one = point.estimate
        if not math.isfinite(one.value):
            yield _figure("never" if math.isinf(one.value) else "unknown", middle)
            continue
        y = middle + (place - (len(row.points) - 1) / 2) * spread
        low, high = axis.x(one.low), axis.x(one.high)
        words = f"{row.label}, {point.name}: {show(one.value)} ({show(one.low)} to {show(one.high)})"
        yield (
            f"<g><title>{escape(words)}</title>"
            f'<line class="whisker l{point.series}" x1="{low:.1f}" y1="{y:.1f}" x2="{high:.1f}" y2="{y:.1f}"/>'
            f'<circle class="s{point.series}" cx="{axis.x(one.value):.1f}" cy="{y:.1f}" r="4.5"/></g>'
        )
        if len(row.points) == 1:
            yield _figure(show(one.value), middle)


def _label(text: str, middle: float, *, strong: bool = False) -> str:
    kind = "name strong" if strong else "name"
    return f'<text class="{kind}" x="{_LABELS - 10}" y="{middle + 4:.1f}" text-anchor="end">{escape(text)}</text>'


def _figure(text: str, middle: float) -> str:
    return f'<text class="figure" x="{_WIDTH}" y="{middle + 4:.1f}" text-anchor="end">{escape(text)}</text>'


def _svg(height: float, parts: Iterable[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img">{"".join(parts)}</svg>'


def _nothing() -> str:
    return '<p class="dim">Nothing was measured.</p>'
