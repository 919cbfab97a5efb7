"""Blind votes on two ways in figures: which is preferred, how surely, and how far people agree. Pure.

A clip counts once, by the first vote on it; a second person's vote on the same clip tells how far people agree.
Shares have Wilson's interval at 95 %, the preference the exact sign test. Clips are taken as independent, which those
of one speaker are not quite: the number of videos stands beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lipika.db.votes import ComparedClip, Vote
from lipika.forecast.shares import Estimate, sign_test, wilson

SAME = "same"
"""The line of clips whose two texts have the same words: they are in no other line."""


@dataclass(frozen=True, slots=True)
class VotesBeside:
    """One language; all of them (`language` is empty); or clips of the same words (`same`).

    `drawn`, `videos`, `cer`, `hours` and `usd_per_hour` are of all clips that were drawn, whether voted on or not.
    """

    language: str
    drawn: int
    videos: int
    clips: int  # that were voted on
    first: int  # clips of which the first way's text was preferred
    second: int
    equal: int  # both equally good
    bad: int  # both bad
    preference: Estimate  # share of those who prefer one that prefer the first
    chance: float  # of so clear a preference where there is none
    ties: Estimate  # share of clips of which neither was preferred
    votes: int
    voters: int
    skipped: int
    sided: int  # votes for a side
    left: Estimate  # share of those that are for the left: a half, if nobody minds the side
    left_chance: float
    doubled: int  # clips with votes of two
    agreed: Estimate  # share of those on which the two say the same
    opposed: int  # on which each prefers another
    cer: float  # letters that differ, of those of the longer text
    hours: float
    usd_per_hour: tuple[float, float]  # 0 where nothing was metered


def sum_up(clips: Sequence[ComparedClip]) -> list[VotesBeside]:
    """All languages first, then each; at the end the clips of the same words, where there are any."""
    differing = [clip for clip in clips if clip.differing > 0]
    same = [clip for clip in clips if clip.differing == 0]
    codes = sorted({clip.language for clip in differing})
    lines = [_line(code, [clip for clip in differing if clip.language == code]) for code in codes]
    if len(codes) != 1:
        lines.insert(0, _line("", differing))
    return [*lines, *([_line(SAME, same)] if same else [])]


def turn_round(line: VotesBeside) -> VotesBeside:
    """The same with the second way as the first."""
    of = line.first + line.second
    return replace(
        line,
        first=line.second,
        second=line.first,
        preference=wilson(line.second, of),
        usd_per_hour=(line.usd_per_hour[1], line.usd_per_hour[0]),
    )


def _line(language: str, clips: Sequence[ComparedClip]) -> VotesBeside:
    spoken = [[vote for vote in clip.votes if vote.choice != "skip"] for clip in clips]
    heard = [votes for votes in spoken if votes]
    votes = [vote for of_clip in heard for vote in of_clip]
    firsts = [of_clip[0].choice for of_clip in heard]
    first, second, equal, bad = (firsts.count(one) for one in ("first", "second", "equal", "bad"))
    sides = [_is_left(vote) for vote in votes if vote.choice in ("first", "second")]
    twice = [(_opinion(of_clip[0]), _opinion(of_clip[1])) for of_clip in heard if len(of_clip) > 1]
    letters = sum(clip.letters for clip in clips)
    hours = sum(clip.duration_ms for clip in clips) / 3_600_000
    return VotesBeside(
        language=language,
        drawn=len(clips),
        videos=len({clip.video_id for clip in clips}),
        clips=len(heard),
        first=first,
        second=second,
        equal=equal,
        bad=bad,
        preference=wilson(first, first + second),
        chance=sign_test(first, second),
        ties=wilson(equal + bad, len(heard)),
        votes=len(votes),
        voters=len({vote.voter for vote in votes}),
        skipped=sum(vote.choice == "skip" for clip in clips for vote in clip.votes),
        sided=len(sides),
        left=wilson(sum(sides), len(sides)),
        left_chance=sign_test(sum(sides), len(sides) - sum(sides)),
        doubled=len(twice),
        agreed=wilson(sum(one == other for one, other in twice), len(twice)),
        opposed=sum({one, other} == {"first", "second"} for one, other in twice),
        cer=sum(clip.differing * clip.letters for clip in clips) / letters if letters else 0.0,
        hours=hours,
        usd_per_hour=(
            sum(clip.first_usd for clip in clips) / hours if hours else 0.0,
            sum(clip.second_usd for clip in clips) / hours if hours else 0.0,
        ),
    )


def _is_left(vote: Vote) -> bool:
    return (vote.choice == "first") == vote.first_left


def _opinion(vote: Vote) -> str:
    return vote.choice if vote.choice in ("first", "second") else "neither"
