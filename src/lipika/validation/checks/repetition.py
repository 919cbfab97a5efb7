"""Text that goes round in circles.

A model that loops runs on until its cap: more than anybody can say in the time. People repeat themselves, too (a
slogan, a refrain, "no, no, no"), at the rate of speech; what two askings agree on is speech.
"""

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
    if distinct == len(words) and len(reading.normal) < limit.LOOP_LEAST_CHARS and not _stutter(words):
        return
    filled = _filled_end(words, distinct)
    why = filled or _twice(words) or _repeated_phrase(words, distinct) or _few_words(words, distinct)
    why = why or _stutter(words) or _compresses(reading.normal)
    if not why:
        return
    rate = reading.syllables_per_second
    if rate > limit.LOOP_SYLLABLES_PER_SECOND:
        yield finding("loop", f"{why}; {rate:.1f} syllables/s")
    elif filled:
        yield finding("repeated_end", filled)
    else:
        yield finding("repetition", why)


def _filled_end(words: list[str], distinct: int) -> str | None:
    """Two words or more, three times at the end of a text that begins with others."""
    if len(words) - distinct < 2 * limit.FILLED_WORDS:
        return None
    for period in range(limit.FILLED_WORDS, limit.FILLED_LONGEST + 1):
        run = 0
        while run + period < len(words) and words[-1 - run] == words[-1 - run - period]:
            run += 1
        times = (run + period) / period
        if times < limit.FILLED_TIMES:
            continue
        unit, head = words[-period:], words[: len(words) - run - period]
        if (
            len(set(unit)) > 1
            and len(head) >= limit.FILLED_HEAD
            and len(set(head) - set(unit)) >= limit.FILLED_HEAD
        ):
            return f"{' '.join(unit)!r} {times:.0f} times after {len(head)} other words"
    return None


def _twice(words: list[str]) -> str | None:
    half = len(words) // 2
    if half >= limit.TWICE_WORDS and words[:half] == words[-half:]:
        return f"{half} words twice"
    return None


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
