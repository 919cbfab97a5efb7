"""Texts of strangers in Markdown, HTML, YAML and plain lines; figures as the card writes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from lipika.languages import LANGUAGES

_JOINERS = "\u200c\u200d"  # part of how words are written
_MARKUP = re.compile(r"[\\`*\[\]~|$]|(?<![^\W_])_|_(?![^\W_])|^[#+=-]|(?<=^\d)[.)]|(?<=^\d\d)[.)]")
_ADDRESS = re.compile(r"(?i)\b(https?|ftp|www|mailto)\b(?=[:.])|@(?=\w)")


def plain(text: str) -> str:
    """One line without characters that nobody sees."""
    seen = (one if one.isprintable() or one in _JOINERS else " " for one in text)
    return " ".join("".join(seen).split())


def markdown(text: str) -> str:
    """The text as Markdown that shows it and does nothing else: no markup, HTML, link or mention, in a table, too."""
    marked = _MARKUP.sub(r"\\\g<0>", escape(plain(text), quote=False))
    return _ADDRESS.sub(r"<span>\g<0></span>", marked)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """A table in Markdown: so many columns of text, then figures. Cells are Markdown already."""
    ruler = [*["---"] * texts, *["---:"] * (len(head) - texts)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ruler, *rows)) + "\n"


def show_hours(seconds: float) -> str:
    """1,234 h, 12.3 h, 0.123 h: a cell that can be compared with the others of its column."""
    value = seconds / 3600
    if not value:
        return "0"
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}" if value >= 10 else f"{value:.3f}"


def name_language(code: str) -> str:
    """Hindi; a code that is none of ours as it is."""
    language = LANGUAGES.get(code)
    return language.name if language else plain(code) or "unknown"


def name_unknown(name: str) -> str:
    """A name that is not known is said to be."""
    return name if plain(name) else "unknown"


def name_range(place: int, ranges: int) -> str:
    """0.9 to 1 for the last of ten ranges of scores."""
    low, high = place / ranges, (place + 1) / ranges
    return f"{low:g}–{high:g}"
