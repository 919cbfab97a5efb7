"""Text that goes round in circles. A model that loops runs on until its cap; people repeat themselves a little."""

from __future__ import annotations

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import cycle

from lipika.models import Finding
from lipika.validation import pages
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import finding
from lipika.validation.reading import Reading

# A unit of at most 8 characters: at each position at most 8 x 8 comparisons, whatever the text.
_STUTTER = re.compile(rf"(.{{1,8}}?)\1{{{limit.STUTTER_TIMES - 1},}}")


def loop(reading: Reading) -> Iterator[Finding]:
    words = reading.words
    distinct = len(set(words))
    why = _repeated_phrase(words, distinct) or _few_words(words, distinct) or _stutter(words)
    why = why or _compresses(reading.normal)
    if why:
        yield finding("loop", why)


def _repeated_phrase(words: list[str], distinct: int) -> str | None:
    # Copies that overlap hold few distinct words ("a a a a a a a"), others many: 6 words at least are not new.
    if len(words) - distinct < limit.LOOP_PHRASE_TIMES + 2:
        return None
    phrases = Counter(zip(words, words[1:], words[2:], words[3:], strict=False))
    phrase, times = phrases.most_common(1)[0]
    return f"{' '.join(phrase)!r} {times} times" if times >= limit.LOOP_PHRASE_TIMES else None


def _few_words(words: list[str], distinct: int) -> str | None:
    if len(words) < limit.LOOP_LEAST_WORDS or distinct > limit.LOOP_DISTINCT_SHARE * len(words):
        return None
    return f"{distinct} distinct words of {len(words)}"


def _stutter(words: list[str]) -> str | None:
    least = limit.STUTTER_TIMES - 1  # characters of the word that are not its first of the kind
    for word in words:
        if len(word) > least and len(word) - len(set(word)) >= least and (match := _STUTTER.search(word)):
            return f"{match[1]!r} {len(match[0]) // len(match[1])} times"
    return None


def _compresses(text: str) -> str | None:
    """Compression of one byte per distinct character: UTF-8 makes every Indic text look repetitive."""
    if len(text) < limit.LOOP_LEAST_CHARS:
        return None
    recoded = _number_characters(text)
    ratio = len(recoded) / len(zlib.compress(recoded, 6))
    return f"compresses {ratio:.1f} to 1" if ratio > limit.LOOP_RATIO else None


def _number_characters(text: str) -> bytes:
    """Characters numbered in the order of their first appearance."""
    encoded = pages.encode(text)
    if encoded is None:
        alphabet = defaultdict[str, int](cycle(range(256)).__next__)
        return bytes(map(alphabet.__getitem__, text))
    _page, data = encoded
    order = bytes(dict.fromkeys(data))
    return data.translate(bytes.maketrans(order, bytes(range(len(order)))))


CHECKS = (loop,)
