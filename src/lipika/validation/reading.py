"""One answer, read once against its clip: the counts that several checks share."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache

from lipika.languages import LANGUAGES, Language, find_language
from lipika.llm.transcript import NO_SPEECH
from lipika.models import Answer, Clip
from lipika.validation import pages
from lipika.validation.bands import DEFAULT_BANDS, Bands, RateBand
from lipika.validation.text import NEUTRAL, SCRIPT_OF, Tags, normalise, read_tags, without_tags

_VIRAMAS = "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d"
_JOINED = re.compile(rf"[{_VIRAMAS}](?=[^\W\d_])")
_LETTER_SYLLABLES = {"Latin": 0.5, "Arabic": 0.6}
"""Syllables a letter where vowels are letters (Latin) or mostly left out (Arabic: so that Urdu at the characters a
second of the other languages has their syllables a second, too)."""
_DIGIT = re.compile(r"\d")
_READ_CHARS = 8_000  # more than a clip can hold ten times over: the length alone condemns the rest
_DIGIT_SYLLABLES = 3.0  # of a digit at most: ten digits of a telephone number take five seconds
_PAUSE = re.compile(r"(?:\.{3}|…)(?=\s*[^\W\d_])")  # an ellipsis that speech goes on after
_PAUSE_SYLLABLES, _PAUSED_SHARE = 4.0, 0.25  # of all syllables at most
_INAUDIBLE_SYLLABLES = 8.0
_SPARE_S = 0.3  # of speech, and ...
_SPARE_SPAN_S = 0.5  # ... of a clip, that one short word may fill
_LEAST_ACTIVE_SHARE = 0.35  # of a clip: a floor under the measured speech time, which misses soft voices ...
_LEAST_ACTIVE_IN_NOISE = (
    0.6  # ... and, near the noise, all but the loudest (measured without it: 0.59 and more)
)
_NOISY_SNR_DB, _QUIET_RMS_DBFS = 22.0, -50.0


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer as the checks look at it. `words` are normalised; `plain` is the transcription without tags.

    Of texts beyond 8,000 characters only the beginning is split, normalised and counted.
    """

    answer: Answer
    clip: Clip
    hint: Language | None
    detected: Language | None
    band: RateBand
    plain: str
    chars: int  # of the whole transcription without tags
    tagged_plain: str
    normal: str
    tagged_normal: str
    words: list[str]
    letters: Counter[str]  # script name (or `other`) -> letters and marks
    syllables: float
    spare_syllables: float  # that digits and pauses may have taken on top
    tags: Tags  # of `tagged`
    own_tags: Tags  # of `transcription`
    says_no_speech: bool

    @property
    def language(self) -> Language | None:
        """The language the text should be in: what the model heard, else the hint."""
        return self.detected or self.hint

    @property
    def span_s(self) -> float:
        """Seconds of audio without pads; never 0."""
        return max(self.clip.trimmed_end_ms - self.clip.trimmed_start_ms, 1) / 1000

    @property
    def speech_s(self) -> float:
        """Seconds above the silence threshold, with a floor; never 0."""
        audio = self.clip.audio
        unsure = audio.snr_db < _NOISY_SNR_DB or audio.rms_dbfs < _QUIET_RMS_DBFS
        least = _LEAST_ACTIVE_IN_NOISE if unsure else _LEAST_ACTIVE_SHARE
        return max(audio.speech_ms / 1000, least * self.span_s)

    @property
    def most_syllables_per_second(self) -> float:
        """As `syllables_per_second`, where what is written short may have taken long."""
        return (self.syllables + self.spare_syllables) / max(self.speech_s - _SPARE_S, 0.1)

    @property
    def most_chars_per_second(self) -> float:
        """As `chars_per_second`, where what is written short may have taken long."""
        return (self.chars + 2 * self.spare_syllables) / max(self.span_s - _SPARE_SPAN_S, 0.1)

    @property
    def chars_per_second(self) -> float:
        return self.chars / self.span_s

    @property
    def syllables_per_second(self) -> float:
        return self.syllables / self.speech_s


def read(answer: Answer, clip: Clip, language_hint: str | None, bands: Bands = DEFAULT_BANDS) -> Reading:
    """Split, normalise and count, in time linear in the text (Unicode's own normal forms are not)."""
    whole = " ".join(without_tags(answer.transcription).split())
    plain = whole[:_READ_CHARS]
    same = answer.tagged == answer.transcription  # as most are: half of the reading
    tagged_plain = plain if same else " ".join(without_tags(answer.tagged).split())[:_READ_CHARS]
    normal = normalise(plain)
    tagged_normal = normal if tagged_plain == plain else normalise(tagged_plain)
    letters, syllables = _count(plain)
    tags = read_tags(answer.tagged)
    detected = LANGUAGES.get(answer.detected_language)
    hint = find_language(language_hint)
    return Reading(
        answer=answer,
        clip=clip,
        hint=hint,
        detected=detected,
        band=bands.band(detected or hint),
        plain=plain,
        chars=len(whole),
        tagged_plain=tagged_plain,
        normal=normal,
        tagged_normal=tagged_normal,
        words=normal.split(),
        letters=letters,
        syllables=syllables,
        spare_syllables=_spare_syllables(plain, syllables, tags.markers["INAUDIBLE"]),
        tags=tags,
        own_tags=tags if same else read_tags(answer.transcription),
        says_no_speech=NO_SPEECH in answer.transcription,
    )


def _count(text: str) -> tuple[Counter[str], float]:
    """Letters and marks by script, and orthographic syllables.

    A syllable is a letter of an Indic script that no virama joins to the one before it; 0.5 or 0.6
    for a letter of an alphabet; a digit counts as one, since most are spoken as one or two.
    """
    letters: Counter[str] = Counter()
    syllables = 0.0
    for (script, weight), count in _kinds(text):
        syllables += count * weight
        if script != NEUTRAL:
            letters[script] += count
    return letters, round(syllables - len(_JOINED.findall(text)), 1)


def _spare_syllables(text: str, syllables: float, inaudible: int) -> float:
    """What digits, pauses and stretches that nobody can make out may have taken on top."""
    digits = sum(map(str.isdecimal, text)) if _DIGIT.search(text) else 0
    pauses = len(_PAUSE.findall(text)) if "..." in text or "…" in text else 0
    paused = min(_PAUSE_SYLLABLES * pauses, _PAUSED_SHARE * syllables)
    return (_DIGIT_SYLLABLES - 1.0) * digits + paused + _INAUDIBLE_SYLLABLES * inaudible


def count_syllables(text: str) -> float:
    """Orthographic syllables of a text."""
    return _count(text)[1]


_Kind = tuple[str, float]
"""Script and syllables of a character."""


def _kind(character: str) -> _Kind:
    script = SCRIPT_OF[character]
    if script == NEUTRAL:
        return script, float(character.isdecimal())
    if not character.isalpha():
        return script, 0.0
    return script, _LETTER_SYLLABLES.get(script, 1.0)


def _kinds(text: str) -> list[tuple[_Kind, int]]:
    """Counts of characters of each kind, in order of appearance; a kind may come several times."""
    encoded = pages.encode(text)
    if encoded is None:
        return [(_kind(character), count) for character, count in Counter(text).items()]
    page, data = encoded
    kinds, table = _kinds_on(page)
    numbers = data.translate(table)
    return [(kinds[number], numbers.count(number)) for number in dict.fromkeys(numbers)]


@cache
def _kinds_on(page: pages.CodePage) -> tuple[list[_Kind], bytes]:
    """The kinds of a page's characters, and the table from code to number of the kind."""
    kind_of = {character: _kind(character) for character in page.characters}
    kinds = list(dict.fromkeys(kind_of.values()))
    return kinds, page.table({character: kinds.index(kind) for character, kind in kind_of.items()})
