"""One clip of a dataset: what is wrong with it by itself, and what it may have in common with others. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from lipika.dataset.ledger import Trait, hash_text
from lipika.dataset.model import Defect, ReadBack
from lipika.languages import find_language
from lipika.llm.transcript import compose_unicode

_HALF_A_SAMPLE = 0.5 + 1e-6  # the product of seconds and rate is rounded, too
_LOSSY_S = 0.1  # by which decoders of audio coded with loss differ in length
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\ufeff\ufffd]")


def check_clip(clip: ReadBack, language: str) -> Iterator[Defect]:
    """Defects of a clip in a folder of that language."""
    for code, message in (*_audio_problems(clip), *_text_problems(clip)):
        yield Defect(clip.place, code, f"{clip.id}: {message}")
    if language and clip.language and _code(language) != _code(clip.language):
        yield Defect(clip.place, "language", f"{clip.id} is {clip.language} in a folder of {language}")


def _audio_problems(clip: ReadBack) -> Iterator[tuple[str, str]]:
    if not clip.audio_samples or not clip.audio_rate_hz:
        yield "bad_audio", "there is no sample in it"
        return
    if clip.sample_rate_hz and clip.sample_rate_hz != clip.audio_rate_hz:
        yield "sample_rate", f"the row says {clip.sample_rate_hz:,} Hz, the audio has {clip.audio_rate_hz:,}"
    if clip.num_samples and clip.exact and clip.num_samples != clip.audio_samples:
        yield "num_samples", f"the row says {clip.num_samples:,}, the audio has {clip.audio_samples:,}"
    most = _HALF_A_SAMPLE if clip.exact else _LOSSY_S * clip.audio_rate_hz
    if clip.duration_s and abs(clip.duration_s * clip.audio_rate_hz - clip.audio_samples) > most:
        there = clip.audio_samples / clip.audio_rate_hz
        yield "duration", f"the row says {clip.duration_s!r} s, the audio has {there!r}"


def _text_problems(clip: ReadBack) -> Iterator[tuple[str, str]]:
    if not clip.text.strip() and not clip.skip:
        yield "empty_text", "it has no text"
    if not clip.text.isascii() and compose_unicode(clip.text) != clip.text:
        yield "not_nfc", "its text is not in NFC"
    odd = _ODD.search(clip.text)
    if odd is not None:
        yield "control_character", f"U+{ord(odd[0]):04X} at character {odd.start() + 1} of its text"


def _code(language: str) -> str:
    known = find_language(language)
    return known.code if known is not None else language.lower()


def hashes_of(clip: ReadBack, ids_within: str) -> dict[Trait, int]:
    """Hashes of all that it may have in common with others; of a clip to be passed over that is its id alone."""
    own_id = {Trait.ID: hash_text(f"{ids_within}\0{clip.id}")}
    if clip.skip:
        return own_id
    return own_id | {
        Trait.TEXT: hash_text(bare_text(clip.text)),
        Trait.AUDIO: hash_text(clip.digest),
        Trait.VIDEO: hash_text(clip.video_id),
        Trait.SPEAKER: hash_text(clip.speaker),
    }


def bare_text(text: str) -> str:
    """Lower-case letters, marks and digits with single spaces, without joiners and other characters that nobody sees:
    what makes two sentences the same for a split."""
    return " ".join(text.translate(_BARE).split())


class _Bare(dict[int, str]):
    """Each character as it counts, looked up once: in lower case by itself, as the plan's SQL has it."""

    def __missing__(self, code: int) -> str:
        character = chr(code).lower()[0]
        category = unicodedata.category(character)
        self[code] = found = character if category[0] in "LMN" else "" if category == "Cf" else " "
        return found


_BARE = _Bare()
