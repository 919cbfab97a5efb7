"""The checks: small pure functions from a `Reading` to findings, listed in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lipika.models import Finding
from lipika.validation.checks import (
    audio,
    form,
    language,
    neighbours,
    numbers,
    rate,
    repetition,
    script,
    speech,
    stock,
    stray,
    tags,
)
from lipika.validation.reading import Reading

Check = Callable[[Reading], Iterator[Finding]]

ON_SPEECH: tuple[Check, ...] = (
    *speech.CHECKS,
    *rate.CHECKS,
    *script.CHECKS,
    *language.CHECKS,
    *neighbours.CHECKS,
    *tags.CHECKS,
    *repetition.CHECKS,
    *form.CHECKS,
    *stray.CHECKS,
    *stock.CHECKS,
    *numbers.CHECKS,
    *audio.CHECKS,
)
"""For answers with words."""

ON_NO_SPEECH: tuple[Check, ...] = (*speech.NO_SPEECH_CHECKS, *audio.NO_SPEECH_CHECKS)
"""For answers that say NO_SPEECH; how well silence was recorded is nobody's concern."""
