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
_ALPHABET_SYLLABLE = 0.5  # syllables a letter where vowels are letters (Latin) or left out (Arabic)
_READ_CHARS = 8_000  # more than a clip can hold ten times over: the length alone condemns the rest
_LEAST_ACTIVE_SHARE = 0.35  # of a clip: a floor under the measured speech time, which misses soft voices


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
        return max(self.clip.audio.speech_ms / 1000, _LEAST_ACTIVE_SHARE * self.span_s)

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
        tags=tags,
        own_tags=tags if same else read_tags(answer.transcription),
        says_no_speech=NO_SPEECH in answer.transcription,
    )


def _count(text: str) -> tuple[Counter[str], float]:
    """Letters and marks by script, and orthographic syllables.

    A syllable is a letter of an Indic script that no virama joins to the one before it; half a letter of an
    alphabet; a digit counts as one, since most are spoken as one or two.
    """
    letters: Counter[str] = Counter()
    syllables = 0.0
    for (script, weight), count in _kinds(text):
        syllables += count * weight
        if script != NEUTRAL:
            letters[script] += count
    return letters, syllables - len(_JOINED.findall(text))


_Kind = tuple[str, float]
"""Script and syllables of a character."""


def _kind(character: str) -> _Kind:
    script = SCRIPT_OF[character]
    if script == NEUTRAL:
        return script, float(character.isdecimal())
    if not character.isalpha():
        return script, 0.0
    return script, _ALPHABET_SYLLABLE if script in {"Latin", "Arabic"} else 1.0


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
