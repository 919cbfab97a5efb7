"""What is counted and folded by page comes to the same as character by character."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.languages import FIRST_CLASS, LANGUAGES
from lipika.validation import pages
from lipika.validation.checks import repetition
from lipika.validation.reading import _count
from lipika.validation.text import normalise

PAGES = tuple(pages._PAGES)


def results(text: str) -> Iterator[object]:
    letters, syllables = _count(text)
    yield list(letters.items()), syllables
    yield normalise(text)
    yield repetition._number_characters(text)


def long_way(text: str) -> list[object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "encode", lambda _text: None)
        return list(results(text))


@given(st.sampled_from(PAGES).flatmap(lambda page: st.text(page.characters)))
def test_a_text_of_one_page_reads_as_it_does_the_long_way(text: str) -> None:
    assert list(results(text)) == long_way(text)


@given(st.text(st.characters() | st.sampled_from("".join(page.characters for page in PAGES))))
def test_so_does_any_other(text: str) -> None:
    assert list(results(text)) == long_way(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"U+{ord(page.characters[-1]):04X}")
def test_every_character_of_a_page_reads_as_it_does_the_long_way(page: pages.CodePage) -> None:
    for character in page.characters:
        for text in (character, f"{page.characters[-1]}{character}", f"a {character}{character} b"):
            assert list(results(text)) == long_way(text)


@pytest.mark.parametrize("language", FIRST_CLASS)
def test_every_language_has_a_page(language: str) -> None:
    assert pages.encode(f"{LANGUAGES[language].native_name}, (2) “ok”…") is not None


def test_a_text_in_two_scripts_has_none() -> None:
    assert pages.encode("नमस्ते") is not None
    assert pages.encode("नमस्ते ಇಂದು") is None
    assert pages.encode("漢字") is None
