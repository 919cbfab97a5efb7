"""Rates at which people speak each language: the limits of the rate checks, from the registry or from calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lipika.languages import LANGUAGES, Language

LOW_FAIL, LOW_WARN, HIGH_WARN, HIGH_FAIL = 1.0, 2.0, 13.0, 16.0
"""Syllables per second of speech, any language. Inferred: languages are read at 5-8 a second (Pellegrino et al.
2011), writing counts some that speech drops, and the speech time misses soft ends."""

CHARS_HIGH_WARN, CHARS_HIGH_FAIL = 25.0, 30.0
"""Characters per second of clip, spaces counted, for an unknown language (inferred; ordinary speech is 5-22)."""

STOPPED = 3.0
"""Syllables per second of speech, for an unknown language: below nearly all speakers."""

_SLACK_WARN, _SLACK_FAIL = 1.15, 1.4  # above the registry's fastest speaker
_STOPPED_SHARE = (
    0.24  # syllables per second of speech for a typical character per second of clip: a typical speaker
)
# gives 0.54 (measured: 1.95 to 2.5 characters a syllable in the benchmark's sentences, at 85 % speech)


@dataclass(frozen=True, slots=True)
class RateBand:
    """Limits for one language. Outside a warn limit is odd, outside a fail limit cannot be.

    `syllables_stopped` is where a text without an end begins to look cut off.
    """

    syllables_low_fail: float = LOW_FAIL
    syllables_low_warn: float = LOW_WARN
    syllables_stopped: float = STOPPED
    syllables_high_warn: float = HIGH_WARN
    syllables_high_fail: float = HIGH_FAIL
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
    _slow, typical, fastest = language.chars_per_second
    return RateBand(
        syllables_stopped=round(typical * _STOPPED_SHARE, 2),
        chars_high_warn=round(fastest * _SLACK_WARN, 2),
        chars_high_fail=round(fastest * _SLACK_FAIL, 2),
    )


DEFAULT_BANDS = Bands({code: registry_band(language) for code, language in LANGUAGES.items()})
