"""Several texts of a clip: what counts as disagreement, tiers, and the pair that disagrees most."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.alignment.cases import cases
from lipika.alignment.romanise import open_romaniser
from lipika.alignment.voters import (
    TIER_CUTS,
    VOTING_VERSION,
    Ballot,
    TierCuts,
    text_distance,
    voting_version,
    weigh,
)
from lipika.languages import FIRST_CLASS
from lipika.models import Consensus, Tier, Voter, VoterKind

BUILTIN = open_romaniser("builtin")
TEXT = "मैं कल सुबह अपने भाई के साथ बाज़ार गया और हमने ताज़ी सब्ज़ियाँ खरीदीं"
OTHER = "यह किताब मेरी बहन ने पिछले साल दिल्ली में लिखी थी"
NEAR = TEXT.replace("सुबह", "शाम")  # one word of fourteen
WORDS = TEXT.split()
LANGUAGES = st.sampled_from(FIRST_CLASS)
SOME_TEXT = st.one_of(
    st.sampled_from([TEXT, OTHER, NEAR, "", "NO_SPEECH", "हाँ", "25 घर", "please office में call करो"]),
    st.text(max_size=40),
)


def a_voter(text: str, name: str, kind: VoterKind = VoterKind.MODEL) -> Voter:
    return Voter(name, kind, text, f"digest of {name}")


def outcome(*texts: str, language: str = "hi") -> Consensus:
    voters = [a_voter(text, f"voter {number}") for number, text in enumerate(texts)]
    (found,) = weigh([Ballot(language, voters)], BUILTIN)
    assert found is not None
    return found


def between(first: str, second: str, language: str = "hi") -> float:
    return text_distance(first, second, language, BUILTIN)


# ----------------------------------------------------------------------------- distances


@given(SOME_TEXT, SOME_TEXT, LANGUAGES)
def test_a_distance_is_the_same_either_way(first: str, second: str, language: str) -> None:
    assert between(first, second, language) == between(second, first, language)
    assert 0 <= between(first, second, language) <= 1
    assert between(first, first, language) == 0


@given(st.lists(st.sampled_from(WORDS), min_size=4, max_size=12), st.data())
def test_words_left_out_never_bring_texts_closer(words: list[str], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(words)))
    gaps = [between(" ".join(words), " ".join(words[:kept])) for kept in (len(words), count, count // 2)]
    assert gaps == sorted(gaps)


@pytest.mark.parametrize("language", FIRST_CLASS)
def test_spellings_of_the_same_words_are_next_to_nothing_apart(language: str) -> None:
    same = {"same words", "spelling variants", "chillu, nukta, joiners", "digits beside words"}
    pairs = [case for case in cases(language) if case.kind in same][::12]
    assert len(pairs) > 50
    assert max(between(pair.transcription, pair.heard, language) for pair in pairs) <= 0.1


@pytest.mark.parametrize(
    ("first", "second", "language"),
    [
        ("मैंने १९८४ में 25 किताबें लीं।", "मैंने 1984 में पच्चीस किताबें लीं", "hi"),
        ("मैंने 25 किताबें लीं", "मैंने 25 किताबें लीं", "hi"),
        ("Please office में meeting करो", "प्लीज ऑफिस में मीटिंग करो", "hi"),
        ("[breath] ഞാൻ വീട്ടിൽ പോകുന്നു", "ഞാന്\u200d വീട്ടില്\u200d പോകുന്നു", "ml"),
        ("میں office گیا", "میں آفس گیا", "ur"),
        ("", "NO_SPEECH", "hi"),
        ("हाँ", "हां", "hi"),
    ],
)
def test_what_is_said_alike_agrees(first: str, second: str, language: str) -> None:
    assert between(first, second, language) <= 0.1


def test_words_beside_silence_are_as_far_apart_as_can_be() -> None:
    assert between(TEXT, "NO_SPEECH") == between("", TEXT) == 1.0
    assert between("हाँ", "NO_SPEECH") == 1.0


# ----------------------------------------------------------------------------- tiers


def test_all_that_agree_are_gold_and_a_stranger_takes_that_away() -> None:
    assert outcome(TEXT, TEXT.replace("सब्ज़ियाँ", "सब्जियां")) == Consensus(
        Tier.GOLD, 0.0, ("voter 0", "voter 1"), 2, voting_version(BUILTIN)
    )
    assert outcome(TEXT, OTHER).tier is Tier.BRONZE
    disputed = outcome(TEXT, OTHER, NEAR)
    assert (disputed.tier, disputed.between, disputed.voters) == (Tier.SILVER, ("voter 0", "voter 1"), 3)
    assert outcome(OTHER, TEXT, NEAR).tier is Tier.BRONZE  # two agree, and the clip's own text is neither


def test_nearly_the_same_is_silver() -> None:
    third = " ".join([*WORDS[:5], *WORDS[8:]])
    assert TIER_CUTS["hi"].gold < between(TEXT, third) <= TIER_CUTS["hi"].silver
    assert outcome(TEXT, third).tier is Tier.SILVER


def test_a_person_is_the_measure() -> None:
    person = a_voter(TEXT, "Asha", VoterKind.PERSON)
    model, recogniser = a_voter(NEAR, "model"), a_voter(OTHER, "recogniser", VoterKind.RECOGNISER)
    (confirmed,) = weigh([Ballot("hi", [replace(model, text=TEXT), recogniser, person])], BUILTIN)
    (corrected,) = weigh([Ballot("hi", [person, model, recogniser])], BUILTIN)
    (refuted,) = weigh([Ballot("hi", [replace(model, text=OTHER), recogniser, person])], BUILTIN)
    assert confirmed is not None
    assert corrected is not None
    assert refuted is not None
    assert (confirmed.tier, corrected.tier, refuted.tier) == (Tier.GOLD, Tier.GOLD, Tier.BRONZE)
    assert confirmed.between == ("model", "recogniser")


def test_one_voice_is_no_agreement() -> None:
    voter = a_voter(TEXT, "model")
    assert weigh([], BUILTIN) == []
    assert weigh([Ballot("hi", [voter]), Ballot("hi", [])], BUILTIN) == [None, None]
    assert weigh([Ballot("hi", [voter, replace(voter, name="again")])], BUILTIN) == [None]
    english = [a_voter("good morning", "a"), a_voter("good morning", "b")]
    assert weigh([Ballot("en", english), Ballot("", english)], BUILTIN) == [None, None]


def test_clips_of_many_languages_come_back_in_order() -> None:
    ballots = [
        Ballot("bn", [a_voter("আমি বাড়ি যাব কাল সকালে", "a"), a_voter("আমি বাড়ি যাব কাল সকালে", "b")]),
        Ballot("hi", [a_voter(TEXT, "a"), a_voter(OTHER, "b")]),
        Ballot("bn", [a_voter("আমি বাড়ি যাব কাল সকালে", "a")]),
    ]
    found = weigh(ballots, BUILTIN)
    assert [one and one.tier for one in found] == [Tier.GOLD, Tier.BRONZE, None]


@given(st.lists(SOME_TEXT, min_size=2, max_size=4), LANGUAGES)
def test_a_further_voter_never_makes_gold_and_never_closes_the_widest_gap(
    texts: list[str], language: str
) -> None:
    found = [outcome(*texts[:count], language=language) for count in range(2, len(texts) + 1)]
    assert [one.distance for one in found] == sorted(one.distance for one in found)
    golden = [one.tier is Tier.GOLD for one in found]
    assert golden == sorted(golden, reverse=True)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_wider_gap_never_gives_a_better_tier(first: float, second: float) -> None:
    from lipika.alignment import voters

    pair = [a_voter("a", "a"), a_voter("b", "b")]
    best_first = [Tier.GOLD, Tier.SILVER, Tier.BRONZE]
    tiers = [voters._tier(pair, {(0, 1): gap}, TierCuts()) for gap in sorted((first, second))]
    assert best_first.index(tiers[0]) <= best_first.index(tiers[1])


@pytest.mark.parametrize("language", FIRST_CLASS)
def test_cuts_tell_a_fifth_of_the_words_from_noise(language: str) -> None:
    """One letter in 20 misheard is silver or better, a fifth of the words missing is never gold."""
    made = list(cases(language))
    noisy = [case for case in made if case.kind == "1 letter in 20 misheard"]
    short = [case for case in made if case.kind == "a fifth of the words missing"]
    tiers = {
        name: [outcome(case.transcription, case.heard, language=language).tier for case in chosen]
        for name, chosen in (("noisy", noisy), ("short", short))
    }
    assert tiers["noisy"].count(Tier.BRONZE) <= 0.03 * len(noisy)
    assert tiers["noisy"].count(Tier.GOLD) >= 0.6 * len(noisy)
    assert tiers["short"].count(Tier.GOLD) <= 0.03 * len(short)


def test_the_version_names_the_romaniser() -> None:
    assert voting_version(BUILTIN) == f"{VOTING_VERSION}+builtin"
    assert set(TIER_CUTS) == set(FIRST_CLASS)
