"""The language that a text is written in, by pycld2: right about sentences, wrong about one headline in fifty."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lipika.validation import thresholds as limit
from lipika.validation.reading import Reading

# There is no wheel of it for some Pythons and processors: there the checks by letters and words must do.
pycld2: Any = import_module("pycld2") if find_spec("pycld2") else None

_SAMPLE_CHARS = 1_000  # enough to identify a language, and a bound on the cost


def reads_as(reading: Reading) -> str | None:
    """ISO 639-1 code of a text that is long enough, and that pycld2 is sure about. About 10 us."""
    return identify(reading.plain) if reading.letters.total() >= limit.LANGUAGE_ID_LETTERS else None


def identify(text: str) -> str | None:
    """ISO 639-1 code of a text that pycld2 is sure about."""
    if pycld2 is None:
        return None
    sample = text[:_SAMPLE_CHARS]
    if not sample.isprintable():  # it refuses control characters
        sample = "".join(filter(str.isprintable, sample))
    reliable, _bytes, ranked = pycld2.detect(sample)
    _name, code, percent, _score = ranked[0]
    return code if reliable and percent >= limit.LANGUAGE_ID_PERCENT else None
