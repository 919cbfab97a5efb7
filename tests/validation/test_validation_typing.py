"""Checks of a text while it is typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.languages import LANGUAGES
from lipika.validation.typing import check_typed

URDU = "آج موسم بہت اچھا ہے اور ہم باہر جائیں گے۔"


def found(text: str, code: str | None = "hi") -> dict[str, str]:
    """Code of each remark, with the part of the text that it is of."""
    return {one.code: text[one.start : one.end] for one in check_typed(text, code)}


def test_an_ordinary_text_is_left_alone() -> None:
    assert found("भारत में आज 25 लोग आए [laugh] और meeting हुई।") == {}
    assert found(URDU, "ur") == {}
    assert found("NO_SPEECH") == {}


@pytest.mark.parametrize(
    ("text", "code", "at"),
    [
        ("आज ਮੌਸਮ अच्छा है", "foreign_script", "ਮੌਸਮ"),
        ("आज २५ लोग आए", "native_digits", "२५"),
        ("वह हँसा [Laughter] और गया", "misspelt_tag", "[Laughter]"),
        ("वह हँसा [joy] और गया", "unknown_tag", "[joy]"),
        ("वह हँसा [laugh और गया", "unbalanced_tag", "["),
        ("वह हँसा laugh] और गया", "unbalanced_tag", "]"),
        ("आज मौसम\u200b अच्छा है", "invisible_characters", "\u200b"),
        ("आज मौसम\x07 अच्छा है", "invisible_characters", "\x07"),
        ("[noise] [UNK]", "no_words", ""),
        ("", "no_words", ""),
        ("NO_SPEECH आज मौसम", "no_speech_mixed", ""),
        (URDU, "wrong_script", ""),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, code: str, at: str) -> None:
    assert (code, at) in [(one.code, text[one.start : one.end]) for one in check_typed(text, "hi")]


@given(st.text(max_size=200), st.sampled_from([*LANGUAGES, "other", "", "xx", None]))
def test_any_text_can_be_typed(text: str, code: str | None) -> None:
    for one in check_typed(text, code):
        assert 0 <= one.start <= one.end <= len(text)


def test_a_heap_of_brackets_is_looked_at_as_far_as_a_clip_can_go() -> None:
    assert len(check_typed("[" * 100_000, "hi")) < 10_000
