"""Signs of things that people do not say: labels of speakers, times, directions, lists, broken letters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lipika.models import Finding
from lipika.validation import thresholds as limit
from lipika.validation.catalogue import finding
from lipika.validation.checks.matching import first_match, texts_of
from lipika.validation.checks.stock import groups_of
from lipika.validation.reading import Reading, count_syllables
from lipika.validation.text import normalise

_NATIVE = "\u0600-\u06ff\u0900-\u0d7f"

# Every pattern is a set of literals or of runs with a small cap: none of them can back-track far. Those named
# `..._SIGN` find a character without which the dearer ones cannot match, as most texts have none.
_LABEL = re.compile(
    r"^[^\w\n]{0,4}(?:(?P<sign>>{1,3})"
    r"|(?P<latin>[A-Z]\d{0,2}|(?:S|SPK|SPEAKER)[ _-]?\w{1,3}|(?:speaker|person|male|female|man|woman|boy|girl"
    r"|host|guest|anchor|interviewer|interviewee|narrator|caller|agent|customer|doctor|patient|teacher|student|reporter|voice"
    r"|user|child|announcer|moderator)(?:[ _-]\w{1,3})?)[ \t]?[:：](?![:/\d])"
    rf"|(?P<native>[{_NATIVE}]{{1,24}}(?:[ _-](?:\d{{1,3}}|[{_NATIVE}]{{1,20}})){{0,2}})[ \t]?[:：](?![:/\d]))",
    re.MULTILINE | re.IGNORECASE,
)
_OF_DAY = r"(?!\s*(?:a\.?m|p\.?m|बज|वाज|टा|মিনিট|ট|বাজ|বজ|વાગ|ਵਜ|ଟ|ବେଳ|மணி|గంట|ಗಂಟೆ|മണി|بج))"
_TIME = re.compile(
    rf"^\W{{0,3}}0{{1,2}}:[0-5]\d(?![\d:]){_OF_DAY}|-->|\d{{1,2}}:[0-5]\d[.,]\d"
    r"|\[\d{1,2}:[0-5]\d"
    rf"|\b\d{{2}}:[0-5]\d:[0-5]\d\b|^\W{{0,3}}[0-2]:[0-5][1-46-9](?=\s+[^\W\d]){_OF_DAY}"
    r"|^\W{0,3}\d{1,3}\.\d{1,3}[ \t]?(?:s\b|[:>]|[-–][ \t]?\d{1,3}\.\d{1,3}[ \t]?(?:s\b|[:\]>]))"
    r"|^\d{1,3}[ \t]{0,3}\n",
    re.MULTILINE | re.IGNORECASE,
)
_TIME_SIGN = re.compile(r"[:>\n]|\.\d")
_MARKUP = re.compile(
    r"</?[A-Za-z][^<>\n]{0,40}>|\*\*|__|~~|`|^[ \t]{0,4}(?:#{1,6}|[-*•]) |&(?:[a-z]{2,8}|#\d{1,5});|\\[nrtu\"]"
    r"|[{}♪♫]|\([^()\n]{1,40}\)|https?://",
    re.MULTILINE,
)
_SIGNS = re.compile(
    r"[(){}<>【】（）［］〈〉《》「」『』*_~`|\\^=♪♫▁\u2581Ġ]|(?<!\w)#(?!\w)|\[[^\[\]]{41,}|\[[^\]]{0,80}$|^[^\[]{0,80}\]"
)
_ARITHMETIC = re.compile(r"(?<=\d)\s?[=*<>]\s?(?=\d)")
_NUMBERED = re.compile(
    r"^[ \t]{0,4}\W?\d{1,2}[.)][ \t][^\n]{1,400}\n[ \t]{0,4}\W?\d{1,2}[.)][ \t]", re.MULTILINE
)
_QUOTED = re.compile(r"\A\s*[\"“‘'„«]([^\"“”‘’„«»]{2,2000})[\"”’'»]\W{0,2}\Z")
_JSON = re.compile(
    r"\"\s{0,3}[}\]]|\"[a-z_]{2,20}\"\s{0,3}:|\",\s{0,3}\"(?:[a-z_]{2,20}|\Z)|['\"]\s{0,2}\]|^\s{0,3}\"[a-z_]{2,20}\""
)
_MARKUP_SIGN = re.compile(r"[<>*_~`#\-•&\\{}()\[\]/|=^\"\n♪♫▁\u2581Ġ【】（）［］〈〉《》「」『』]")
_MOJIBAKE = re.compile(
    "[\u00c2-\u00f4][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u2022\u2026"
    "\u2030\u2039\u203a\u20ac\u2122\ufffd]|(?:[\u00c0-\u00ff][^\\s\\w]?){3}"
)
_MOJIBAKE_SIGN = re.compile("[\u00c0-\u00ff]")
_LOST_LETTERS = re.compile(r"(?<![^\s\"'“‘(])\?{3,}")
_SIGN_RUN = re.compile(r"([.!?,;:\-–—…।॥'\"۔؟،])(?:[ \t]?\1){5,}")
_DOTTED = re.compile(r"\w(?:\.{2,}|…)|[\u0900-\u0dff](?:\.{2,}|…)")
_LATIN_INSIDE = re.compile(rf"(?<=[{_NATIVE}])[A-Za-z]{{1,2}}(?=[{_NATIVE}])")
_LONGEST = max(limit.LONGEST_WORD.values())


def labels(reading: Reading) -> Iterator[Finding]:
    for text in texts_of(reading):
        if not (":" in text or ">" in text or "：" in text):
            continue
        for match in _LABEL.finditer(text):
            if match["native"] is None or _is_label(match["native"], reading):
                yield finding(
                    "speaker_label",
                    repr(match[0]),
                    match.span() if text == reading.answer.transcription else None,
                )
                return


def _is_label(words: str, reading: Reading) -> bool:
    """True if one of them is a word for a speaker, and none a verb of saying."""
    if reading.language is None:
        return False
    groups = [groups_of(word, reading.language.code) for word in normalise(words).split()]
    if words.rstrip()[-1].isdigit() and " " in words:
        return True
    return any(not _SPEAKERS.isdisjoint(each) for each in groups) and not any(
        "say" in each for each in groups
    )


_SPEAKERS = frozenset({"label", "person", "speaker"})


def times(reading: Reading) -> Iterator[Finding]:
    if any(map(_TIME_SIGN.search, texts_of(reading))):
        yield from first_match(reading, "timestamp", _TIME)


def signs(reading: Reading) -> Iterator[Finding]:
    said = reading.answer.transcription
    if any(map(_MARKUP_SIGN.search, texts_of(reading))):
        yield from list(first_match(reading, "markup", _MARKUP)) or _rests(reading)
    if match := _QUOTED.match(said):
        yield finding("quoted", repr(match[0][:1] + match[0].rstrip()[-1:]))
    if match := _SIGN_RUN.search(said):
        yield finding("sign_run", repr(match[0][:20]), match.span())
    elif ("..." in said or "…" in said) and _is_dotted(said):
        yield finding("sign_run", "an ellipsis after words")


def _rests(reading: Reading) -> Iterator[Finding]:
    """Single signs and lists, where nobody calculates; brackets of tags are another check's in `tagged`."""
    said = reading.answer.transcription
    plain = _ARITHMETIC.sub(_blank, said)
    for pattern in (_SIGNS, _NUMBERED, _JSON):
        if match := pattern.search(plain):
            yield finding("markup", repr(match[0][:40]), match.span())
            return


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _is_dotted(said: str) -> bool:
    dotted = len(_DOTTED.findall(said))
    return dotted >= limit.DOTTED_WORDS and dotted >= limit.DOTTED_SHARE * len(said.split())


def letters(reading: Reading) -> Iterator[Finding]:
    said = reading.answer.transcription
    broken = _MOJIBAKE.search(said) if _MOJIBAKE_SIGN.search(said) else None
    broken = broken or _LOST_LETTERS.search(said)
    if broken:
        yield finding("broken_letters", repr(broken[0]), broken.span())
    if reading.letters["Latin"] and (match := _LATIN_INSIDE.search(said)):
        yield finding("mixed_word", repr(said[max(match.start() - 6, 0) : match.end() + 6]), match.span())


_NO_DIGITS = str.maketrans("", "", "0123456789")


def spaces(reading: Reading) -> Iterator[Finding]:
    most = limit.LONGEST_WORD.get(reading.language.code if reading.language else "", _LONGEST)
    if " " in reading.plain:
        most += limit.LONGER_BESIDE_OTHERS
    long = (word.translate(_NO_DIGITS) for word in reading.words if len(word) > most)
    longest = max(long, key=len, default="")
    if len(longest) > most and count_syllables(longest) > most:
        yield finding("no_spaces", longest[:60])


CHECKS = (labels, times, signs, letters, spaces)
