"""Hint, detected language and text, which are to speak of the same language.

Scripts settle most languages; what shares a script is the matter of `neighbours`. Romanised text is known by not
being English: no identifier knows romanised Indian languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lipika.models import Finding
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import finding
from lipika.validation.identify import identify, reads_as
from lipika.validation.reading import Reading


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Without "to", "is", "me", "do", "so", "he", "are": these are Indian words, too, once romanised.
_ENGLISH = _words("""
    the of and a an i you it that this these those was were with for on at by from will would can could should have
    has had been not what when where which who why how my your our their his her its there then than but if because
    about into after before all any some every more most very just only now yes please we they she him them am does
    did going be no as or get got let like know think good great nice right fine well okay ok hello hi thank thanks
    sorry welcome sir madam morning evening night day today tomorrow one two first new old time people everyone
    everything make take come go see look want need really much many too also again here up down out over
""")


def against_hint(reading: Reading) -> Iterator[Finding]:
    said = reading.answer.detected_language
    if said == "other":
        yield finding("language_other", f"hint {reading.hint.code if reading.hint else 'unknown'}")
    elif reading.hint and reading.detected and reading.hint is not reading.detected:
        yield finding("hint_mismatch", f"hint {reading.hint.code}, detected {said}")


def latin_only(reading: Reading) -> Iterator[Finding]:
    """English or romanised, where the video's language has a script of its own."""
    language = reading.hint or reading.language
    if language is None or language.script == "Latin":
        return
    if len(reading.words) < (2 if len(_ROMAN_INDIC.findall(reading.normal)) > 1 else limit.LATIN_ONLY_WORDS):
        return
    if not reading.letters["Latin"] or reading.letters["Latin"] != reading.letters.total():
        return
    common = sum(word in _ENGLISH for word in reading.words)
    share = common / len(reading.words)
    english = share >= limit.ENGLISH_WORDS_SHARE or (common and reads_as(reading) == "en")
    code = "english_text" if english else "romanised"
    yield finding(code, f"{common} common English words of {len(reading.words)}, for {language.name}")


def latin_run(reading: Reading) -> Iterator[Finding]:
    """Words of the language in Latin letters in a part of the text; English words and names are code-mixing."""
    language = reading.hint or reading.language
    latin, total = reading.letters["Latin"], reading.letters.total()
    if language is None or language.script == "Latin" or not 0 < latin < total:
        return
    run: list[str] = []
    for word in (*reading.plain.split(), ""):
        bare = word.strip(_AROUND)
        if bare.isascii() and bare.isalpha() and bare.islower():
            run.append(bare)
            continue
        if _is_romanised(run):
            yield finding("romanised_part", " ".join(run)[:80])
            return
        run.clear()


def _is_romanised(words: list[str]) -> bool:
    """True if two of two words, one of three or any of four look like an Indian language, and not like English."""
    if len(words) < limit.ROMANISED_WORDS:
        return False
    looks = sum(word in _ROMAN_WORDS or _ROMAN_INDIC.search(word) is not None for word in words)
    return looks >= limit.ROMANISED_SIGNS + 2 - len(words) and not _is_english(words)


_AROUND = ".,!?;:'\"()-–।॥۔؟"
_ROMAN_WORDS = _words("""
    hai hain nahi nahin mein aur kya tha thi raha rahe rahi gaya gayi kar karo karke wala bhi toh hum tum aap
    mera meri mere tera uska unka kaise kyun kahan abhi bahut accha theek bolo chalo aahe nahi ani mhanun kay
    ami tumi achhe korchi naan enna illa vandhu unga meeru nenu undi kaadu naanu alla beku njan aanu ille
""")
_ROMAN_INDIC = re.compile(r"aa|ii|uu|chh|[bdj]h|kh")
"""Letters that stand together where an Indian language is romanised, and seldom in English."""


def _is_english(words: list[str]) -> bool:
    common = sum(word in _ENGLISH for word in words)
    return common >= limit.ENGLISH_WORDS_SHARE * len(words) or identify(" ".join(words)) == "en"


CHECKS = (against_hint, latin_only, latin_run)
