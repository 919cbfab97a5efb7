"""Two texts as sounds: distances, words that either lacks, and English words by their sound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.alignment.english import english_sound, sound_out_english
from lipika.alignment.sounds import Coverage, coverage, distance, edits, is_mixed

WORDS = st.lists(st.text("abcdefghij", min_size=1, max_size=8), max_size=12)


@given(WORDS, WORDS)
def test_a_distance_is_the_same_either_way_and_between_none_and_all(
    first: list[str], second: list[str]
) -> None:
    assert distance(first, second) == distance(second, first)
    assert 0 <= distance(first, second) <= 1
    assert edits(first, second) == edits(second, first)
    assert distance(first, first) == 0


@given(WORDS)
def test_where_words_begin_makes_no_distance(words: list[str]) -> None:
    assert distance(words, ["".join(words)]) == 0
    assert coverage(words, ["".join(words)]) == Coverage()


@given(WORDS, WORDS)
def test_shares_of_words_are_shares_and_turn_with_the_texts(first: list[str], second: list[str]) -> None:
    found, turned = coverage(first, second), coverage(second, first)
    assert 0 <= found.missing <= found.lacking <= 1
    assert 0 <= found.unheard <= 1
    assert (found.lacking > 0) is (turned.unheard > 0) or edits(first, second) > 0


@given(WORDS.filter(bool), st.data())
def test_words_that_are_left_out_are_missing_and_nothing_is_unheard(
    heard: list[str], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(heard)))
    count = data.draw(st.integers(0, len(heard) - at))
    found = coverage([*heard[:at], *heard[at + count :]], heard)
    assert found.unheard == 0
    assert found.missing == found.lacking


def test_each_kind_of_error_shows_in_its_share() -> None:
    heard = ["gulab", "kamal", "patang", "mitti", "dopahar"]
    assert coverage(heard, heard) == Coverage()
    assert coverage(heard[:3], heard) == Coverage(lacking=0.4, missing=0.4)
    assert coverage([*heard, "nisex", "vorum"], heard) == Coverage(unheard=0.2857)
    swapped = coverage([*heard[:4], "jeevans"], heard)
    assert (swapped.lacking, swapped.unheard, swapped.missing) == (0.2, 0.2, 0.0)
    assert coverage(heard, []) == Coverage(unheard=1.0)
    assert coverage([], heard) == Coverage(lacking=1.0, missing=1.0)


@pytest.mark.parametrize(
    ("word", "sound"),
    [
        ("office", "ofis"), ("time", "taim"), ("right", "rait"), ("nature", "nachar"), ("school", "skul"),
        ("phone", "fon"), ("action", "akshan"), ("discount", "diskaunt"), ("question", "kveshan"), ("okay", "oke"),
    ],
)  # fmt: skip
def test_english_words_are_spelt_as_they_sound(word: str, sound: str) -> None:
    assert english_sound(word) == sound


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=30))
def test_every_word_has_a_sound_in_letters(word: str) -> None:
    assert english_sound(word).isascii()
    assert all(character.isalpha() for character in english_sound(word))


def test_only_latin_words_are_sounded_out() -> None:
    assert sound_out_english("मैं Phone's लाया") == f"मैं {english_sound('phones')} लाया"
    assert sound_out_english("घर 25") == "घर 25"


def test_a_text_is_mixed_by_its_share_of_latin_letters() -> None:
    assert not is_mixed("मैं कल सुबह अपने भाई के साथ office गया था", "hi")
    assert is_mixed("please office में meeting करो", "hi")
    assert is_mixed("میں office گیا", "ur")
    assert not is_mixed("", "hi")
