"""A choice of clips as the address of a page, in words, and as options of `lipika export`. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from urllib.parse import urlencode

from lipika.dashboard import words
from lipika.db.clip_search import ClipSelection, words_of
from lipika.models import LANES, ClipStatus, TextSource, Tier

_TEXTS = (
    "language",
    "lane",
    "finding",
    "tier",
    "speaker",
    "video",
    "model",
    "status",
    "failure",
    "hint",
    "heard",
)
_EXPORTED = {"lane", "language", "finding", "tier", "speaker", "model", "source", "from", "seed"}
_MAX_TEXT = 200
_MAX_SEED = 10**9
_CHOSEN: Mapping[str, set[str]] = {
    "lane": set(LANES),
    "tier": set(Tier),
    "status": set(ClipStatus),
    "source": set(TextSource),
}
NAMES = (*_TEXTS, "source", "from", "to", "words", "text", "seed")
"""Parameters of the address that choose clips."""


def read_filter(query: Mapping[str, str]) -> ClipSelection:
    """The choice that an address names; what makes no sense in it is passed over."""
    given = {name: _text(query, name) for name in (*_TEXTS, "source", "words", "text", "seed")}
    for name, values in _CHOSEN.items():
        given[name] = given[name] if given[name] in values else ""
    low, high = _score(query.get("from", "")), _score(query.get("to", ""))
    if low is not None and high is not None and low > high:
        low, high = high, low
    seed = given["seed"]
    return ClipSelection(
        **{name: given[name] for name in _TEXTS},
        text_source=given["source"],
        from_score=low,
        to_score=high,
        words=words_of(given["words"]),
        text=given["text"],
        seed=int(seed) if seed.isascii() and seed.isdigit() and int(seed) <= _MAX_SEED else None,
    )


def filter_query(wanted: ClipSelection) -> str:
    """The shortest address's query that `read_filter` reads as this choice."""
    given: dict[str, object] = {name: getattr(wanted, name) for name in _TEXTS}
    given |= {
        "source": wanted.text_source,
        "from": _number(wanted.from_score),
        "to": _number(wanted.to_score),
        "words": " ".join(wanted.words),
        "text": wanted.text,
        "seed": "" if wanted.seed is None else wanted.seed,
    }
    return urlencode({name: value for name, value in given.items() if value != ""})


def clips_url(**given: object) -> str:
    """The page of these clips: `clips_url(finding="loop", language="hi")`; None and "" are left out."""
    query = urlencode({name: value for name, value in given.items() if value not in (None, "")})
    return "/clips" + (f"?{query}" if query else "")


def describe(wanted: ClipSelection) -> list[tuple[str, str]]:
    """(parameter, what it asks for), for each part of the choice, which goes with its parameter."""
    hint = words.language(wanted.hint or "none")
    heard = wanted.heard and f"heard as {words.language(wanted.heard)}, hint {hint}"
    said = [
        ("language", wanted.language and words.language(wanted.language)),
        ("lane", wanted.lane and f"fit for {words.lane(wanted.lane)}"),
        ("finding", wanted.finding and words.finding(wanted.finding)),
        ("tier", wanted.tier),
        ("status", wanted.status and words.state(wanted.status)),
        ("failure", wanted.failure and words.failure(wanted.failure)),
        ("source", wanted.text_source and f"text by {wanted.text_source}"),
        ("heard", heard),
        ("from", "" if wanted.from_score is None else f"score from {wanted.from_score:g}"),
        ("to", "" if wanted.to_score is None else f"score below {wanted.to_score:g}"),
        ("speaker", wanted.speaker and f"speaker {wanted.speaker}"),
        ("video", wanted.video and f"video {wanted.video}"),
        ("model", wanted.model),
        ("words", " ".join(wanted.words) and f"with {' '.join(wanted.words)}"),
        ("text", wanted.text and f"with “{wanted.text}” in it"),
        ("seed", "" if wanted.seed is None else f"shuffled, {wanted.seed}"),
    ]
    return [(name, text) for name, text in said if text]


def export_command(wanted: ClipSelection) -> tuple[str, list[str]]:
    """(the plan of an export of these clips, what of the choice it cannot say)."""
    options = {
        "--lane": wanted.lane,
        "--language": wanted.language,
        "--with-finding": wanted.finding,
        "--tier": wanted.tier,
        "--speaker": wanted.speaker,
        "--model": wanted.model,
        "--text-source": wanted.text_source,
        "--min-score": _number(wanted.from_score),
    }
    said = " ".join(f"{option} {shlex.quote(str(value))}" for option, value in options.items() if value != "")
    left = [text for name, text in describe(wanted) if name not in _EXPORTED]
    return f"lipika export plan nemo FOLDER {said}".rstrip(), left


def _text(query: Mapping[str, str], name: str) -> str:
    value = query.get(name, "").replace("\0", "").strip()[:_MAX_TEXT]
    return (
        value if value.isprintable() else "".join(c for c in value if c.isprintable() or c in "\u200c\u200d")
    )


def _score(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
