"""Figures as people read and write them."""

from __future__ import annotations

import re
from collections.abc import Mapping

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
    """Dollars with the digits that matter at that size."""
    if usd is None:
        return "$?"
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}" if usd >= 0.01 or not usd else f"${usd:.6f}"


def duration(seconds: float | None) -> str:
    """1:23, 4:05:06, or 2 d 3 h."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The most frequent first, then by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
