"""Do hint, detected language and text speak of the same language?

Scripts settle most languages. What shares a script is told apart by letters (Assamese, Bengali), by function
words and pycld2 (Hindi, Marathi), by pycld2 (Urdu and its neighbours). Romanised text is known by not being
English: no identifier knows romanised Indian languages.
"""

from __future__ import annotations

from collections.abc import Iterator

import pycld2

from lipika.models import Finding
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import finding
from lipika.validation.reading import Reading

_SAMPLE_CHARS = 1_000  # enough to identify a language, and a bound on the cost


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_FUNCTION_WORDS = {
    "hi": _words("""
        है हैं में की के को से ने और नहीं था थी थे यह वह हो पर भी क्या हम आप मुझे मेरा मेरी हूँ गया रहा रही रहे तो ही कि
    """),
    "mr": _words("""
        आहे आहेत आणि नाही मध्ये होता होती होते मला तुम्ही काय करा झाले झाली पण असे हे ते आम्ही माझा माझी माझे आपण तर
    """),
}
_RIVALS = {"hi": "mr", "mr": "hi"}
_LETTERS = {"as": "ৰৱ", "bn": "র"}
_LETTER_RIVALS = {"as": "bn", "bn": "as"}
_ARABIC_RIVALS = frozenset({"ar", "fa", "ps", "sd", "ug", "ku"})
_NOT_URDU = frozenset("كيىة")

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


def same_script(reading: Reading) -> Iterator[Finding]:
    language = reading.language
    if language is None:
        return
    if language.code in _LETTERS:
        yield from _by_letters(reading, language.code)
    elif language.code in _RIVALS:
        yield from _by_words(reading, language.code)
    elif language.code == "ur":
        yield from _urdu(reading)


def _by_letters(reading: Reading, code: str) -> Iterator[Finding]:
    """ৰ and ৱ are only Assamese, র is only Bengali; but Assamese set in Bengali fonts has some র, too."""
    rival = _LETTER_RIVALS[code]
    own = sum(map(reading.plain.count, _LETTERS[code]))
    other = sum(map(reading.plain.count, _LETTERS[rival]))
    evidence = f"{other} letters of {rival}, {own} of {code}"
    if other > own and _reads_as(reading) != code:
        yield finding("same_script_language", evidence)
    elif other:
        yield finding("neighbour_letters", evidence)
    elif not own and _reads_as(reading) == rival:
        yield finding("same_script_language", f"reads as {rival}")


def _by_words(reading: Reading, code: str) -> Iterator[Finding]:
    rival = _RIVALS[code]
    words = set(reading.words)
    own, other = len(words & _FUNCTION_WORDS[code]), len(words & _FUNCTION_WORDS[rival])
    sure = other - own > 1 or (other >= own and _reads_as(reading) == rival)
    if sure and (other or not own):
        yield finding("same_script_language", f"{other} function words of {rival}, {own} of {code}")


def _urdu(reading: Reading) -> Iterator[Finding]:
    found = _reads_as(reading)
    if found in _ARABIC_RIVALS:
        yield finding("same_script_language", f"reads as {found}")
    elif not _NOT_URDU.isdisjoint(reading.plain):
        strangers = sorted(_NOT_URDU & set(reading.plain))
        yield finding("arabic_letters", " ".join(strangers))


def latin_only(reading: Reading) -> Iterator[Finding]:
    """English or romanised, where the video's language has a script of its own."""
    language = reading.hint or reading.language
    if language is None or language.script == "Latin" or len(reading.words) < limit.LATIN_ONLY_WORDS:
        return
    if not reading.letters["Latin"] or reading.letters["Latin"] != reading.letters.total():
        return
    common = sum(word in _ENGLISH for word in reading.words)
    share = common / len(reading.words)
    english = share >= limit.ENGLISH_WORDS_SHARE or (common and _reads_as(reading) == "en")
    code = "english_text" if english else "romanised"
    yield finding(code, f"{common} common English words of {len(reading.words)}, for {language.name}")


def _reads_as(reading: Reading) -> str | None:
    """ISO 639-1 code of a text that is long enough, and that pycld2 is sure about."""
    if reading.letters.total() < limit.LANGUAGE_ID_LETTERS:
        return None
    sample = "".join(filter(str.isprintable, reading.plain[:_SAMPLE_CHARS]))  # it refuses control characters
    reliable, _bytes, ranked = pycld2.detect(sample)
    _name, code, percent, _score = ranked[0]
    return code if reliable and percent >= limit.LANGUAGE_ID_PERCENT else None


CHECKS = (against_hint, same_script, latin_only)
