"""Figures as people read them."""

from __future__ import annotations


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
