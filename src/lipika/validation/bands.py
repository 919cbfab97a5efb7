"""How fast people speak each language: the limits of the rate checks, from the registry or from calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lipika.languages import LANGUAGES, Language

LOW_FAIL, LOW_WARN, HIGH_WARN, HIGH_FAIL = 1.0, 2.0, 11.0, 14.0
"""Syllables per second of speech, any language (inferred; ordinary speech is 3-10)."""

RAW_LOW_WARN, RAW_HIGH_WARN, RAW_HIGH_FAIL = 3.0, 25.0, 30.0
"""Characters per second of clip, spaces counted (inferred; ordinary speech is 5-22; NeMo Curator cuts at 40)."""

_SLACK_WARN, _SLACK_FAIL = 1.15, 1.4  # above the registry's fastest speaker


@dataclass(frozen=True, slots=True)
class RateBand:
    """Limits for one language. Outside warn limits is odd, outside fail limits cannot be."""

    syllables_low_fail: float = LOW_FAIL
    syllables_low_warn: float = LOW_WARN
    syllables_high_warn: float = HIGH_WARN
    syllables_high_fail: float = HIGH_FAIL
    chars_low_warn: float = RAW_LOW_WARN
    chars_high_warn: float = RAW_HIGH_WARN
    chars_high_fail: float = RAW_HIGH_FAIL


Bands = Mapping[str, RateBand]
"""Language code -> band; `unknown` serves every other language."""

UNKNOWN = "unknown"


def registry_band(language: Language) -> RateBand:
    """The uncalibrated band: the fastest speaker of the registry with some slack."""
    fastest = language.chars_per_second[2]
    return RateBand(
        chars_high_warn=fastest * _SLACK_WARN,
        chars_high_fail=fastest * _SLACK_FAIL,
    )


DEFAULT_BANDS: Bands = {code: registry_band(language) for code, language in LANGUAGES.items()} | {
    UNKNOWN: RateBand()
}
