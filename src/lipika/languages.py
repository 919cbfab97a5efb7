"""The language registry: the 12 first-class languages and English. Imports nothing of ours.

Rates are characters per second with spaces counted (slow, typical, fast); with code points per grapheme they
are inferred figures for read and conversational speech, to be recalibrated on real data.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """One language. `code` is ISO 639-1, the same as IndicConformer's and FLEURS'."""

    code: str
    name: str
    native_name: str
    script: str  # Unicode script property value, as the `regex` module knows it
    chars_per_second: tuple[int, int, int]
    code_points_per_grapheme: float
    aliases: tuple[str, ...]  # spellings met in metadata, lower case
    aksharamukha: str | None  # source name for romanisation; None = compare in native script
    indicconformer: str | None


_LANGUAGES = (
    Language("as", "Assamese", "অসমীয়া", "Bengali", (7, 13, 20), 1.7, ("asm", "asamiya"), "Assamese", "as"),
    Language("bn", "Bengali", "বাংলা", "Bengali", (7, 13, 20), 1.8, ("ben", "bangla"), "Bengali", "bn"),
    Language("gu", "Gujarati", "ગુજરાતી", "Gujarati", (7, 13, 20), 1.7, ("guj",), "Gujarati", "gu"),
    Language("hi", "Hindi", "हिन्दी", "Devanagari", (8, 14, 22), 1.8, ("hin",), "Devanagari", "hi"),
    Language("kn", "Kannada", "ಕನ್ನಡ", "Kannada", (6, 12, 20), 2.0, ("kan",), "Kannada", "kn"),
    Language("ml", "Malayalam", "മലയാളം", "Malayalam", (8, 15, 23), 2.4, ("mal",), "Malayalam", "ml"),
    Language("mr", "Marathi", "मराठी", "Devanagari", (8, 14, 22), 1.9, ("mar",), "Devanagari", "mr"),
    Language("or", "Odia", "ଓଡ଼ିଆ", "Oriya", (6, 12, 20), 1.7, ("ori", "ory", "oriya"), "Oriya", "or"),
    Language("pa", "Punjabi", "ਪੰਜਾਬੀ", "Gurmukhi", (8, 14, 22), 1.7, ("pan", "panjabi"), "Gurmukhi", "pa"),
    Language("ta", "Tamil", "தமிழ்", "Tamil", (8, 14, 22), 1.8, ("tam",), "Tamil", "ta"),
    Language("te", "Telugu", "తెలుగు", "Telugu", (6, 12, 20), 1.9, ("tel",), "Telugu", "te"),
    Language("ur", "Urdu", "اردو", "Arabic", (7, 13, 20), 1.0, ("urd",), None, "ur"),
    Language("en", "English", "English", "Latin", (8, 15, 25), 1.0, ("eng",), None, None),
)

LANGUAGES: dict[str, Language] = {language.code: language for language in _LANGUAGES}
FIRST_CLASS: tuple[str, ...] = tuple(code for code in LANGUAGES if code != "en")
DETECTABLE: tuple[str, ...] = (*LANGUAGES, "other", "none")
"""What the model may answer as `detected_language`."""

_BY_ALIAS = {
    alias: language.code
    for language in _LANGUAGES
    for alias in (language.code, language.name.lower(), *language.aliases)
}


def find_language(text: str | None) -> Language | None:
    """The language a metadata value means: `hi`, `hi-IN`, `Hindi`, `hin`; None when unknown."""
    if not text:
        return None
    key = text.strip().lower().replace("_", "-")
    code = _BY_ALIAS.get(key) or _BY_ALIAS.get(key.split("-")[0])
    return LANGUAGES[code] if code else None
