"""Votes in figures: a clip counts once, two people's words on it tell how far they agree, and sides are looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lipika.answers.votes import SAME, sum_up, turn_round
from lipika.db.votes import ComparedClip, Vote
from lipika.forecast.shares import sign_test, wilson


def clip(
    place: int, *choices: str, language: str = "hi", left: bool = True, **changes: object
) -> ComparedClip:
    votes = [Vote(f"person {number}", choice, left) for number, choice in enumerate(choices)]
    found = ComparedClip(place, f"v{place % 3}", language, 3_600, False, 0.5, 10, 0.001, 0.002, votes)
    return replace(found, **changes)  # type: ignore[arg-type]


CLIPS = [
    clip(0, "first"),
    clip(1, "first", "first"),
    clip(2, "first", "second", left=False),
    clip(3, "second", "equal"),
    clip(4, "equal", "bad"),
    clip(5, "bad"),
    clip(6, "skip", "first", language="ta"),
    clip(7, "skip", language="ta", differing=0.1, letters=30),
    clip(8, language="ta"),
    clip(9, "bad", differing=0.0, same=True),
]


def test_a_clip_counts_once_and_words_that_are_passed_over_do_not() -> None:
    everything, hindi, tamil, same = sum_up(CLIPS)
    assert [line.language for line in (everything, hindi, tamil, same)] == ["", "hi", "ta", SAME]
    assert (everything.drawn, everything.clips, everything.votes, everything.skipped) == (9, 7, 11, 2)
    assert (hindi.first, hindi.second, hindi.equal, hindi.bad) == (3, 1, 1, 1)
    assert hindi.preference == wilson(3, 4)
    assert hindi.chance == pytest.approx(sign_test(3, 1))
    assert hindi.ties == wilson(2, 6)
    assert (tamil.first, tamil.clips, tamil.drawn, tamil.voters) == (1, 1, 3, 1)
    assert (same.clips, same.bad, same.videos) == (1, 1, 1)


def test_two_people_on_a_clip_agree_where_they_say_the_same_of_both() -> None:
    hindi = sum_up(CLIPS)[1]
    assert (hindi.doubled, hindi.opposed) == (4, 1)
    assert hindi.agreed == wilson(2, 4)  # both first; and neither, be it since both are good or bad


def test_sides_letters_and_dollars() -> None:
    hindi, tamil = sum_up(CLIPS)[1:3]
    # Left: first three times where it stood there, the second once where the first stood on the right.
    assert hindi.sided == 6
    assert hindi.left == wilson(4, 6)
    assert tamil.cer == pytest.approx((0.5 * 10 + 0.1 * 30 + 0.5 * 10) / 50)
    assert tamil.hours == pytest.approx(0.003)
    assert tamil.usd_per_hour == pytest.approx((1.0, 2.0))


def test_the_other_way_round_says_the_same() -> None:
    line = sum_up(CLIPS)[0]
    turned = turn_round(line)
    assert (turned.first, turned.second, turned.chance) == (line.second, line.first, line.chance)
    assert turned.preference.value == pytest.approx(1 - line.preference.value)
    assert turned.usd_per_hour == line.usd_per_hour[::-1]
    assert turn_round(turned) == line


def test_nothing_drawn_and_nothing_voted() -> None:
    assert sum_up([])[0].drawn == 0
    (line,) = sum_up([clip(0)])
    assert (line.language, line.clips, line.preference.low, line.preference.high) == ("hi", 0, 0.0, 1.0)
