"""Scripts, the normal form, and tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.llm.transcript import EVENT_TAGS, MARKERS
from lipika.validation.text import NEUTRAL, SCRIPT_OF, canonical_tag, normalise, read_tags, without_tags

ANYTHING = st.text() | st.text(
    st.characters(min_codepoint=0x0600, max_codepoint=0x0D7F) | st.sampled_from("\u200c\u200d\u093c ്ന।,'ßİŉﬀ")
)


@given(ANYTHING)
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(ANYTHING, ANYTHING)
def test_the_normal_form_knows_no_punctuation_or_case(text: str, more: str) -> None:
    assert normalise(f"{text} ।, {more}!") == normalise(f"{text} {more}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("बाज़ार", "बाजार"),  # nukta
        ("\u0958लम", "\u0915\u093cलम"),  # composed nukta letter
        ("അവന്\u200d", "അവൻ"),  # chillu
        ("హైదరాబాద్\u200cలో", "హైదరాబాద్లో"),  # joiner
        ("१२ बजे", "12 बजे"),
        ("۱۲ بجے", "12 بجے"),
        ("يہ كيا", "یہ کیا"),  # Arabic look-alikes
        ("مُحَبَّت", "محبت"),  # vowel points
        ("Meeting है।", "meeting है"),
        ("don't", "dont"),
        ("हाँ, ठीक है!", "हाँ  ठीक है"),
        ("é", "e\u0301"),
    ],
)
def test_spellings_of_the_same_are_equal(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"), [("कम", "काम"), ("তর", "তৰ"), ("দশ", "দস"), ("12", "13"), ("ன", "ண")]
)
def test_different_words_stay_different(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


@pytest.mark.parametrize(
    ("characters", "script"),
    [
        ("कि्ँऽ", "Devanagari"),
        ("কৰৱ্", "Bengali"),
        ("ਕੱੰ", "Gurmukhi"),
        ("કા", "Gujarati"),
        ("କଡ଼", "Oriya"),
        ("க்", "Tamil"),
        ("కా", "Telugu"),
        ("ಕಾ", "Kannada"),
        ("കൻ", "Malayalam"),
        ("کیے", "Arabic"),
        ("aéZ", "Latin"),
        ("я漢α", "other"),
        ("।॥,.!? 0९৫₹%\u200d\u0301♪", NEUTRAL),
    ],
)
def test_scripts(characters: str, script: str) -> None:
    assert {SCRIPT_OF[character] for character in characters} == {script}


def test_tags_are_sorted_counted_and_forgiven_their_spelling() -> None:
    tags = read_tags("[laugh] हाँ [Laughter] [clears throat] [UNK] [unk] [explosion] [breath")
    assert tags.events == {"laugh": 2, "throat_clear": 1}
    assert tags.markers == {"UNK": 2}
    assert tags.misspelt == ("Laughter", "clears throat", "unk")
    assert tags.unknown == ("explosion",)


@pytest.mark.parametrize("name", [*EVENT_TAGS, *MARKERS])
def test_every_tag_is_its_own_spelling(name: str) -> None:
    assert canonical_tag(name) == canonical_tag(name.upper()) == canonical_tag(f" {name} ") == name


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("giggle", "laugh"),
        ("sobbing", "cry"),
        ("inhale", "breath"),
        ("sneeze", "cough"),
        ("tsk", "lip_smack"),
        ("applause", "noise"),
        ("singing", "music"),
        ("lip-smack", "lip_smack"),
        ("unintelligible", "INAUDIBLE"),
        ("crosstalk", "OVERLAP"),
        ("hindi", None),
        ("", None),
    ],
)
def test_aliases(alias: str, name: str | None) -> None:
    assert canonical_tag(alias) == name


@given(st.lists(st.sampled_from([*EVENT_TAGS, *MARKERS])), st.text(st.characters(exclude_characters="[]")))
def test_what_is_put_in_brackets_is_read_and_removed(names: list[str], words: str) -> None:
    text = words.join(f"[{name}]" for name in names) if names else words
    tags = read_tags(text)
    assert tags.events.total() + tags.markers.total() == len(names)
    assert "[" not in without_tags(text)
