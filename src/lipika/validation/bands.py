"""Rates at which people speak each language: the limits of the rate checks, from the registry or from calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lipika.languages import LANGUAGES, Language

LOW_FAIL, LOW_WARN, HIGH_WARN, HIGH_FAIL = 1.5, 3.6, 11.0, 13.0
"""Syllables per second of speech, any language. Measured on 158 recordings of eight languages: 3.8 to 10.1, median
6.8. Writing counts some syllables that speech drops, and the speech time misses soft ends."""

ORDINARY = 6.8
"""The median of those recordings."""

SLOW = 4.25
"""Syllables per second of speech below which few characters a second, too, mean that words are missing."""

STOPPED = 4.6
"""Syllables per second of speech below which a text without an end is worth a second look."""

CHARS_SLOW, CHARS_HIGH_WARN, CHARS_HIGH_FAIL = 5.7, 21.0, 25.0
"""Characters per second of clip, spaces counted, for an unknown language. The same recordings: 6.8 to 15.6."""

_SLOW_SHARE, _SLOWEST_CHARS = (
    0.95,
    6.4,
)  # of the registry's slowest speaker; below the slowest that was measured
_SLACK_WARN, _SLACK_FAIL = 0.95, 1.15  # of the registry's fastest


@dataclass(frozen=True, slots=True)
class RateBand:
    """Limits for one language. Outside a warn limit is odd, outside a fail limit cannot be.

    Below both `slow` limits words are missing; below `syllables_stopped` a text without an end looks cut off.
    """

    syllables_low_fail: float = LOW_FAIL
    syllables_low_warn: float = LOW_WARN
    syllables_slow: float = SLOW
    syllables_stopped: float = STOPPED
    syllables_high_warn: float = HIGH_WARN
    syllables_high_fail: float = HIGH_FAIL
    chars_slow: float = CHARS_SLOW
    chars_high_warn: float = CHARS_HIGH_WARN
    chars_high_fail: float = CHARS_HIGH_FAIL


@dataclass(frozen=True, slots=True)
class Bands:
    """Rate limits by language code. `version` is empty for the registry's own, else it marks every verdict."""

    by_language: Mapping[str, RateBand]
    version: str = ""

    def band(self, language: Language | None) -> RateBand:
        return self.by_language.get(language.code, _UNKNOWN) if language else _UNKNOWN


_UNKNOWN = RateBand()


def registry_band(language: Language) -> RateBand:
    """The uncalibrated band: the fastest speaker of the registry with some slack."""
    slowest, _typical, fastest = language.chars_per_second
    return RateBand(
        chars_slow=round(min(slowest * _SLOW_SHARE, _SLOWEST_CHARS), 2),
        chars_high_warn=round(fastest * _SLACK_WARN, 2),
        chars_high_fail=round(fastest * _SLACK_FAIL, 2),
    )


DEFAULT_BANDS = Bands({code: registry_band(language) for code, language in LANGUAGES.items()})
