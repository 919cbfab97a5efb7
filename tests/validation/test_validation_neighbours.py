"""Languages of one script: a clip fails for its neighbour's words on strong evidence only."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest

from benchmarks.validation.corpus import sentences
from lipika.languages import LANGUAGES
from lipika.models import Verdict
from lipika.validation import validate
from lipika.validation.text import normalise
from verdict_kit import answer, clip, codes


def judged(language: str, text: str) -> Verdict:
    return validate(answer(text, language=language), clip(max(1_800, len(text) * 75)), language)


ORDINARY = [
    ("mr", "की तो येईल?"),
    ("mr", "तो की ही?"),
    ("mr", "हो, तो ही येतो."),
    ("mr", "मग तो रहा इथे."),
    ("mr", "पर तो गया हो."),
    ("mr", "मुख्यमंत्री शहर सडक योजना"),
    ("mr", "सुगंधित तंबाखू घातक"),
    ("mr", "फायर चीफ रॉबर्ट ऑर्टेगा"),
    ("hi", "ऐसा होता रहता।"),
    ("hi", "हे राम, करा दो।"),
    ("hi", "केला तर गया।"),
    ("hi", "नोबेल पुरस्कार विजेता लेखक"),
    ("hi", "गांधी जयंती, विश्वप्रेमी राष्ट्रवादी"),
    ("as", "এই কর্ম"),
    ("as", "প্রতি সচেতন"),
    ("as", "মই এজন আদর্শ"),
    ("as", "বিশ্ব ঐতিহ্যবাহী স্থান মানস"),
    ("bn", "আনুষ্ঠানিক মধ্যাহ্নভোজে যোগ"),
    ("bn", "ৰমা এসেছে।"),
    ("ur", "فطری مطالبات، دیگر مخلوقات"),
    ("ur", "علاقائی اور مقامی سیاسی"),
    ("ur", "دل و جان"),
]


@pytest.mark.parametrize(("language", "text"), ORDINARY)
def test_short_clips_with_words_that_both_know_are_left_alone(language: str, text: str) -> None:
    assert "same_script_language" not in codes(judged(language, text))


FOREIGN = [
    ("hi", "मला वाटतं की तो येईल"),
    ("hi", "त्याला ते नको आहे."),
    ("mr", "मुझे लगता है कि वह आएगा।"),
    ("mr", "हम कल वहाँ नहीं थे।"),
    ("as", "তিনি এখন বাজারে গিয়ে ফিরে আসবেন।"),
    ("bn", "মই কালি ঘৰলৈ যাম।"),
    ("ur", "من فردا صبح به بازار می‌روم و سبزی می‌خرم"),
    ("ur", "ذهبت إلى السوق صباح اليوم لشراء الفاكهة"),
]


@pytest.mark.parametrize(("language", "text"), FOREIGN)
def test_the_neighbours_words_are_found_out(language: str, text: str) -> None:
    assert "same_script_language" in codes(judged(language, text))


def test_weak_signs_are_noted_without_a_consequence() -> None:
    verdict = judged("mr", "मुख्यमंत्री शहर सडक योजना")
    assert codes(verdict) == {"neighbour_words"}
    assert verdict.asr.eligible
    assert verdict.tts_clean.eligible


def test_a_quotation_does_not_change_the_language() -> None:
    """Two words of Hindi in a Marathi sentence are code-mixing."""
    assert "same_script_language" not in codes(
        judged("mr", "तो मला म्हणाला, क्या बात है, आणि मग आम्ही दोघे हसलो.")
    )


@pytest.mark.parametrize("language", ["as", "bn", "hi", "mr", "ur"])
def test_fragments_of_correct_sentences_do_not_fail(language: str) -> None:
    """Clips end anywhere: every three and four words in a row of the benchmark's sentences."""
    fragments = {
        " ".join(words[start : start + size])
        for sentence in sentences(language)[::3]
        for words in [sentence.text.split()]
        for size in (3, 4)
        for start in range(len(words) - size + 1)
    }
    failed = [text for text in fragments if "same_script_language" in codes(judged(language, text))]
    assert len(fragments) > 500
    assert failed == []


TABLE = tomllib.loads(
    resources.files("lipika.validation").joinpath("neighbours.toml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("language", TABLE)
def test_the_lists_share_nothing_with_the_neighbour(language: str) -> None:
    own = TABLE[language]
    assert language in LANGUAGES
    rival = TABLE.get(own.get("rival", ""), {})
    for kind in ("words", "letters"):
        split = str.split if kind == "words" else list
        mine, others = ({*map(normalise, split(table.get(kind, "")))} for table in (own, rival))
        assert mine.isdisjoint(others)
    assert not [
        word
        for word in map(normalise, rival.get("words", "").split())
        if set(own.get("letters", "")) & set(word)
        or (len(word) >= 5 and word.endswith(tuple(map(normalise, own.get("endings", "").split()))))
    ]
