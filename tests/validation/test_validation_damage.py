"""Damage to an answer: what is worse never fares better."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from importlib import resources
from typing import TypeAlias

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lipika.models import Advice, Verdict
from lipika.validation import retry_advice, say_the_same, validate
from lipika.validation.checks import stock, stray
from lipika.validation.reading import count_syllables
from verdict_kit import answer, clip, codes

Pattern: TypeAlias = re.Pattern[str]

SENTENCES = {
    "hi": "कल सुबह हम सब लोग स्टेशन के पास मिले और वहाँ से साथ में बाज़ार गए जहाँ बहुत भीड़ थी।",
    "ta": "நேற்று காலையில் நாங்கள் எல்லோரும் நிலையத்தின் அருகே சந்தித்து அங்கிருந்து சந்தைக்குச் சென்றோம்.",
    "bn": "কাল সকালে আমরা সবাই স্টেশনের কাছে দেখা করে সেখান থেকে একসঙ্গে বাজারে গিয়েছিলাম।",
    "ur": "کل صبح ہم سب لوگ اسٹیشن کے پاس ملے اور وہاں سے ایک ساتھ بازار گئے جہاں بہت بھیڑ تھی۔",
    "te": "నిన్న ఉదయం మేమందరం స్టేషన్ దగ్గర కలుసుకుని అక్కడి నుండి కలిసి మార్కెట్‌కు వెళ్ళాము.",
}


def judged(text: str, language: str, span_ms: int, share: float) -> Verdict:
    heard = clip(span_ms)
    heard = replace(heard, audio=replace(heard.audio, speech_ms=round(span_ms * share)))
    return validate(answer(text, language=language), heard, language)


@given(
    language=st.sampled_from(sorted(SENTENCES)),
    chars_per_second=st.floats(6.8, 15.6),
    share=st.floats(0.59, 0.83),
    stop=st.booleans(),
    ends=st.lists(st.integers(1, 12), min_size=2, max_size=2),
)
def test_cutting_further_never_opens_a_lane_or_raises_the_score(
    language: str, chars_per_second: float, share: float, stop: bool, ends: list[int]
) -> None:
    text = SENTENCES[language]
    words = text.rstrip("।.۔").split()
    short, long = sorted(ends)
    span_s = len(text) / chars_per_second
    assume(count_syllables(text) <= 10.1 * share * span_s)  # the fastest that was measured

    def cut(count: int) -> Verdict:
        left = " ".join(words[:count]) + ("।" if stop else "")
        return judged(left, language, round(span_s * 1000), share)

    worse, better = cut(short), cut(long)
    assert worse.quality_score <= better.quality_score
    for lane in ("asr", "tts_clean", "tts_expressive"):
        assert getattr(worse, lane).eligible <= getattr(better, lane).eligible


@pytest.mark.parametrize("language", sorted(SENTENCES))
@pytest.mark.parametrize("end", ["", "।"])
def test_a_third_of_the_words_keeps_no_lane(language: str, end: str) -> None:
    words = SENTENCES[language].split()
    left = " ".join(words[: round(0.3 * len(words))]) + end
    verdict = judged(left, language, len(SENTENCES[language]) * 100, 0.73)
    assert not verdict.asr.eligible
    assert retry_advice(verdict) is Advice.VARY


@pytest.mark.parametrize(
    ("text", "span_ms", "share"),
    [
        ("हाँ।", 900, 0.6),
        ("जी नहीं।", 1_300, 0.7),
        ("मैं... मुझे... पता नहीं।", 3_200, 0.6),
        ("9 8 4 5 0 1 2 3 4 5", 6_500, 0.65),
        ("मेरा नंबर 9 8 4 5 0 1 2 3 4 5 है।", 7_000, 0.7),
        ("भारत माता की जय, भारत माता की जय, भारत माता की जय, भारत माता की जय!", 6_000, 0.75),
        ("नहीं नहीं नहीं नहीं नहीं नहीं नहीं नहीं नहीं नहीं", 5_000, 0.7),
    ],
)
def test_short_slow_and_repeated_speech_keeps_its_lane(text: str, span_ms: int, share: float) -> None:
    verdict = judged(text, "hi", span_ms, share)
    assert verdict.asr.eligible, codes(verdict)


def test_what_two_askings_agree_on_is_speech() -> None:
    refrain = "उसने मंच पर चढ़कर कहा, जय हो भारत, जय हो भारत, जय हो भारत, जय हो भारत।"
    first, again, other = answer(refrain), answer(refrain.replace(",", "")), answer(SENTENCES["hi"])
    heard = clip(8_000)
    alone = validate(first, heard, "hi")
    assert "repeated_end" in codes(alone)
    assert not alone.asr.eligible
    assert say_the_same(again, first)
    assert not say_the_same(other, first)
    agreed = validate(again, heard, "hi", agreed=True)
    assert codes(agreed) == {"repetition_agreed"}
    assert agreed.asr.eligible
    assert retry_advice(agreed) is Advice.KEEP


def test_one_fault_of_form_costs_once_and_is_found_in_the_tagged_text_too() -> None:
    said = "भारत में आज 25 लोग आए और मिलकर गए।"
    heard = clip(5_000)
    for spoilt in (f"**{said}**", f"<b>{said}</b>", f"{said} (हँसी)", f"{said} ♪"):
        verdict = validate(answer(spoilt), heard, "hi")
        assert [found.code for found in verdict.findings].count("markup") == 1, spoilt
    for code, tagged in (("speaker_label", f"Speaker 1: {said}"), ("timestamp", f"00:05 {said}")):
        verdict = validate(answer(said, tagged), heard, "hi")
        assert code in codes(verdict)


def test_every_group_of_the_tables_of_phrases_is_used_and_every_phrase_has_its_groups() -> None:
    table = resources.files("lipika.validation").joinpath("stock.toml").read_text("utf-8")
    groups = {group for language in tomllib.loads(table).values() for group in language}
    used = {group for phrase in stock._PHRASES for group in phrase.groups} | stray._SPEAKERS | {"say"}
    assert groups == used


def test_stems_of_a_single_letter_are_whole_words() -> None:
    """They are looked up by the first two letters of a word, as all others are."""
    table = resources.files("lipika.validation").joinpath("stock.toml").read_text("utf-8")
    for groups in tomllib.loads(table).values():
        short = {group for group, stems in groups.items() for stem in stems.split() if len(stem) == 1}
        assert short.isdisjoint(stock._VERBS)
    assert stock.groups_of("ન", "gu") == ("neg",)
    assert not stock.groups_of("નવ", "gu")


SIGNED = [
    (stray._TIME_SIGN, stray._TIME),
    (stray._MARKUP_SIGN, stray._MARKUP),
    (stray._MARKUP_SIGN, stray._SIGNS),
    (stray._MARKUP_SIGN, stray._NUMBERED),
    (stray._MARKUP_SIGN, stray._JSON),
    (stray._MOJIBAKE_SIGN, stray._MOJIBAKE),
]


@given(st.sampled_from(SIGNED).flatmap(lambda pair: st.tuples(st.just(pair), st.from_regex(pair[1]))))
def test_whatever_a_dear_pattern_finds_has_its_sign(found: tuple[tuple[Pattern, Pattern], str]) -> None:
    """Texts without it are not looked through."""
    (sign, pattern), text = found
    match = pattern.search(text)
    assert match is not None
    assert sign.search(match[0])


MARKUP = (
    "<b>",
    "**",
    "__",
    "~~",
    "`",
    "&nbsp;",
    "\\n",
    "{",
    "}",
    "♪",
    "♫",
    "(a)",
    "http://",
    "# a",
    "- a",
    "* a",
    "• a",
)


@pytest.mark.parametrize("text", MARKUP)
def test_every_kind_of_markup_has_a_sign(text: str) -> None:
    assert stray._MARKUP.search(text)
    assert stray._MARKUP_SIGN.search(text)
