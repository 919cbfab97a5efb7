"""Phrases that models invent or decline with, in every language: closing lines, refusals, credits, talk of the audio.

Words are told by their beginnings (stock.toml), so that spelling and endings may differ. A phrase is some groups of
them close together; where ordinary speech might say the same, it has to be the whole answer or stand at an end of it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from lipika.models import Finding
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import finding
from lipika.validation.reading import Reading
from lipika.validation.text import normalise


@dataclass(frozen=True, slots=True)
class _Phrase:
    """Groups whose words make a phrase when they stand close together (`STOCK_SPAN_WORDS`).

    `most`: words of an answer that is nothing but this phrase, give or take a few; 0: the span decides.
    """

    kind: str
    groups: tuple[str, ...]
    most: int = 0


_PHRASES = (
    _Phrase("closing", ("subscribe",)),
    _Phrase("credits", ("subtitle",), most=5),
    _Phrase("credits", ("subtitle", "by")),
    _Phrase("credits", ("dialogue", "lines"), most=6),
    _Phrase("credits", ("transcribe", "by"), most=8),
    _Phrase("credits", ("transcribe",), most=5),
    _Phrase("refusal", ("transcribe",), most=16),
    _Phrase("closing", ("like", "share")),
    _Phrase("closing", ("channel", "like")),
    _Phrase("closing", ("channel", "share")),
    _Phrase("closing", ("thanks", "watch"), most=9),
    _Phrase("closing", ("thanks", "video"), most=9),
    _Phrase("closing", ("thanks", "channel"), most=9),
    _Phrase("closing", ("next", "video", "meet")),
    _Phrase("closing", ("video", "share"), most=14),
    _Phrase("closing", ("see", "next", "time"), most=14),
    _Phrase("refusal", ("sorry", "audio")),
    _Phrase("refusal", ("sorry", "voice", "unclear"), most=10),
    _Phrase("refusal", ("audio", "unclear"), most=12),
    _Phrase("no_speech", ("audio", "neg"), most=10),
    _Phrase("no_speech", ("audio", "only"), most=10),
    _Phrase("no_speech", ("audio", "speech"), most=12),
    _Phrase("no_speech", ("audio", "music"), most=10),
    _Phrase("no_speech", ("one", "speech", "neg"), most=6),
    _Phrase("no_speech", ("one", "voice", "found"), most=6),
    _Phrase("no_speech", ("speech", "found"), most=5),
    _Phrase("no_speech", ("only", "music"), most=5),
    _Phrase("asks", ("please", "audio"), most=14),
    _Phrase("asks", ("audio", "give"), most=14),
    _Phrase("asks", ("audio", "file"), most=14),
    _Phrase("talk", ("audio", "copy"), most=18),
    _Phrase("talk", ("audio", "person"), most=18),
    _Phrase("talk", ("speaker", "say"), most=10),
    _Phrase("talk", ("audio", "say"), most=18),
)
_VERBS = frozenset({"watch", "say", "meet", "give", "unclear"})
"""Groups whose short stems stand for all forms of a verb; other stems of under four letters are whole words."""

_SHORT = 4
_KEY = 2  # letters; the few stems of a single one are whole words
_LONGEST_ANSWER = max(limit.STOCK_WORDS, *(phrase.most for phrase in _PHRASES))


@dataclass(frozen=True, slots=True)
class _Table:
    """One language of stock.toml: beginnings of words to their groups, by their first two letters for speed."""

    stems: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]]

    def groups_of(self, word: str) -> tuple[str, ...]:
        found: tuple[str, ...] = ()
        for stem, groups in self.stems.get(word[:_KEY], ()):
            if word == stem or (len(stem) >= _SHORT and word.startswith(stem)):
                found += groups
            elif word.startswith(stem):
                found += tuple(group for group in groups if group in _VERBS)
        return found


@cache
def _tables() -> dict[str, _Table]:
    raw = resources.files("lipika.validation").joinpath("stock.toml").read_text(encoding="utf-8")
    return {code: _table(groups) for code, groups in tomllib.loads(raw).items()}


def _table(groups: Mapping[str, str]) -> _Table:
    by_stem: dict[str, tuple[str, ...]] = {}
    for group, stems in groups.items():
        for stem in normalise(stems).split():
            by_stem[stem] = (*by_stem.get(stem, ()), group)
    by_key: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for stem, named in by_stem.items():
        by_key.setdefault(stem[:_KEY], []).append((stem, named))
    return _Table({key: tuple(stems) for key, stems in by_key.items()})


def groups_of(word: str, language: str) -> tuple[str, ...]:
    """The groups of stock.toml that a word in normal form belongs to."""
    table = _tables().get(language)
    return table.groups_of(word) if table else ()


def stock_phrases(reading: Reading) -> Iterator[Finding]:
    words = reading.words
    code = reading.language.code if reading.language else "en"
    for name in dict.fromkeys((code, "en") if reading.letters["Latin"] else (code,)):
        table = _tables().get(name)
        found = _find(words, table) if table else None
        if found:
            kind, heard = found
            yield finding("stock_phrase", f"{kind}: {' '.join(heard)}")
            return


def _find(words: Sequence[str], table: _Table) -> tuple[str, Sequence[str]] | None:
    """The kind and the words of the first phrase that stands where a model puts it."""
    places: dict[str, list[int]] = {}
    edge = limit.STOCK_SPAN_WORDS + limit.STOCK_EDGE_WORDS + 1
    for at, word in enumerate(words):
        if edge <= at < len(words) - edge and len(words) > _LONGEST_ANSWER:
            continue  # no phrase is in place there
        for group in table.groups_of(word):
            places.setdefault(group, []).append(at)
    if not places:
        return None
    for phrase in _PHRASES:
        span = _span(phrase, places)
        if span and _is_in_place(phrase, span, len(words)):
            return phrase.kind, words[span[0] : span[1] + 1]
    return None


def _span(phrase: _Phrase, places: Mapping[str, list[int]]) -> tuple[int, int] | None:
    """The last stretch that holds a word of every group, each a word of its own."""
    if not all(map(places.__contains__, phrase.groups)):
        return None
    best = None
    for first in places[phrase.groups[0]]:
        chosen = {first}
        for group in phrase.groups[1:]:
            near = [at for at in places[group] if at not in chosen]
            if not near:
                break
            chosen.add(min(near, key=lambda at: abs(at - first)))
        else:
            if max(chosen) - min(chosen) < limit.STOCK_SPAN_WORDS:
                best = (min(chosen), max(chosen))
    return best


def _is_in_place(phrase: _Phrase, span: tuple[int, int], words: int) -> bool:
    if phrase.most and words <= phrase.most:
        return True
    if phrase.kind == "credits":
        return words - 1 - span[1] <= limit.STOCK_CREDIT_WORDS
    if phrase.most and phrase.kind != "closing":
        return False
    return (
        words <= limit.STOCK_WORDS
        or words - 1 - span[1] <= limit.STOCK_EDGE_WORDS
        or (span[0] <= limit.STOCK_EDGE_WORDS and phrase.kind == "closing")
    )


CHECKS = (stock_phrases,)
