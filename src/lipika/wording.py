"""Figures as people read and write them, in terminal, board and reports: money, spans of time, numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isinf, isnan

NONE = "–"
"""Stands for a figure that is not known."""

_GROUPED = re.compile(r"\d{1,3}([, ]\d{3})+(\.\d*)?")


def read_limit(text: str, *, whole: bool, most: int) -> float:
    """A limit as a person writes it: 18000, 18_000, 18,000, 18 000, $1.50. An int where it is to be `whole`.

    Raises:
        ValueError: it is none from 0 to `most`, with the reason; a decimal comma would be a hundred times as much.
    """
    plain = text.strip().removeprefix("$")
    if ("," in plain or " " in plain) and not _GROUPED.fullmatch(plain):
        raise ValueError(f"{text!r}: commas group thousands (18,000), decimals take a point (1.50)")
    plain = plain.replace(",", "").replace(" ", "")
    try:
        value = int(plain) if whole else float(plain)
    except ValueError:
        value = -1
    if not 0 <= value <= most:
        kind = "whole number" if whole else "number"
        raise ValueError(f"{text!r} will not do; a {kind}, at least 0 and at most {most:,}")
    return value


def money(usd: float | None) -> str:
    """Dollars with the digits that matter: $123,457, $12.35, $0.50, $0.1234, $0.000934."""
    if usd is None or isnan(usd):
        return NONE
    sign, size = "-" if usd < 0 else "", abs(usd)
    if not size:
        return "$0"
    if size < 0.000_000_5:
        return "under $0.000001"
    if size >= 1:
        return f"{sign}${size:,.{0 if size >= 10_000 else 2}f}"
    whole, parts = f"{size:.{4 if size >= 0.01 else 6}f}".split(".")
    return f"{sign}${whole}.{parts.rstrip('0'):0<2}"


def duration(seconds: float | None) -> str:
    """A span of time in its two largest units: 52 s, 1 min 23 s, 1 h 30 min, and from 48 hours on 2 d 8 h."""
    if seconds is None or isnan(seconds):
        return NONE
    if isinf(seconds):
        return "never"
    if 0 < seconds < 0.5:
        return "under 1 s"
    whole, minutes, hours = round(seconds), round(seconds / 60), round(seconds / 3600)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two_units(whole, 60, "min", "s")
    return _two_units(minutes, 60, "h", "min") if minutes < 48 * 60 else _two_units(hours, 24, "d", "h")


def _two_units(count: int, per: int, large: str, small: str) -> str:
    first, rest = divmod(count, per)
    return f"{first:,} {large} {rest} {small}" if rest else f"{first:,} {large}"


def number(value: float | None) -> str:
    """1,234; one decimal of fractions under 100."""
    if value is None or isnan(value):
        return NONE
    return f"{value:,.1f}" if abs(value) < 100 and value != int(value) else f"{value:,.0f}"


def short(value: float | None) -> str:
    """12.3 M: three figures that count."""
    if value is None or isnan(value):
        return NONE
    for size, unit in ((1e9, " bn"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= 10 * size or (size > 1e3 and abs(value) >= size):
            return f"{value / size:.3g}{unit}"
    return number(value)


def percent(share: float | None) -> str:
    """A share of 0..1 as a percentage."""
    if share is None or isnan(share):
        return NONE
    return f"{100 * share:.1f} %" if 0 < share < 0.9995 else f"{100 * share:.0f} %"


def hours(milliseconds: float | None) -> str:
    """Length of audio in hours."""
    if milliseconds is None:
        return NONE
    value = milliseconds / 3_600_000
    return f"{value:,.0f} h" if value >= 100 else f"{value:.1f} h" if value >= 1 else f"{value * 60:.1f} min"


def latency(milliseconds: float | None) -> str:
    """The time of an answer, or another short length: 850 ms, 1.23 s."""
    if milliseconds is None or isnan(milliseconds):
        return NONE
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.2f} s"


def most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The most frequent first, then by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
