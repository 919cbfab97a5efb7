"""The draw of clips on which people compare two ways of asking: a sample by chance, by the digest of their audio."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from random import Random

from rapidfuzz.distance import Levenshtein

from lipika.answers.ways import WayOfAnswers, group_ways
from lipika.db.connection import Database
from lipika.db.paid import PaidAnswers
from lipika.db.votes import AnswerPair, ComparedWay, ComparisonRecord, NewComparedClip, Votes
from lipika.db.ways import Ways
from lipika.errors import UsageError
from lipika.llm.transcript import tidy_text
from lipika.validation.text import normalise, without_tags

MOST_CLIPS = 1_000  # of one draw
_MOST_AUDIOS = 20_000  # looked at for one draw: some seconds
_DOUBLED = 0.2  # share of the clips that two people hear


@dataclass(frozen=True, slots=True)
class BallotOrder:
    """A draw as it is ordered. `seed` counts for the first draw of two ways; later ones go on behind it."""

    first: WayOfAnswers
    second: WayOfAnswers
    clips: int
    drawn_by: str
    seed: int
    language: str | None = None  # a code; None: all
    same_words_too: bool = False


@dataclass(frozen=True, slots=True)
class Drawn:
    """The comparison, the clips that were added to it, and the audios that were looked at for them."""

    comparison: ComparisonRecord
    clips: int
    looked_at: int
    all_looked_at: bool


class Ballots:
    """The ways of asking that there are, clips drawn of two of them, and the votes on those."""

    def __init__(self, database: Database) -> None:
        self.votes = Votes(database)
        self._ways = Ways(database)
        self._paid = PaidAnswers(database)

    async def list_ways(self) -> list[WayOfAnswers]:
        """The ways that have answers, the one with most results first."""
        return group_ways(await self._ways.counts())

    async def draw(self, order: BallotOrder) -> Drawn:
        """Draw clips that have answers of both ways and can be heard, and put them behind those drawn before.

        Raises:
            UsageError: both are one way; or results cannot be looked up by their audio yet.
        """
        if not await self._paid.is_indexed():
            raise UsageError(
                "results cannot be found by their audio yet: `lipika db migrate` makes the index beside the work"
            )
        return await _draw(self.votes, order)


async def _draw(votes: Votes, order: BallotOrder) -> Drawn:
    if order.first.name == order.second.name:
        raise UsageError(f"both are one way, {order.first.name}: choose two")
    ways = compared_way(order.first), compared_way(order.second)
    comparison = await votes.start(*ways, order.seed, order.drawn_by)
    if comparison.first_way != order.first.name:  # it was begun the other way round
        ways = ways[::-1]
    drawn = await votes.drawn(comparison.id)
    known = set(drawn)
    start = drawn[-1] if drawn else hashlib.sha256(str(comparison.seed).encode()).hexdigest()
    chance = Random(f"{comparison.seed}/{len(known)}")
    found: list[NewComparedClip] = []
    looked_at, ended = 0, True
    async for pair in _walk(votes, ways, start):
        looked_at += 1
        clip = None if pair.audio_digest in known else _make_clip(pair)
        if clip and order.language in (None, clip.language) and (clip.differing or order.same_words_too):
            found.append(replace(clip, place=len(found), doubled=chance.random() < _DOUBLED))
        if len(found) >= min(order.clips, MOST_CLIPS) or looked_at >= _MOST_AUDIOS:
            ended = False
            break
    added = await votes.add(comparison.id, found, order.drawn_by) if found else 0
    return Drawn(comparison, added, looked_at, ended)


def compared_way(way: WayOfAnswers) -> ComparedWay:
    """A way as votes keep and look for it."""
    settings = way.settings
    return ComparedWay(
        way.name,
        settings.words,
        settings.model_id,
        settings.temperature,
        settings.thinking_level,
        settings.prompt_version,
        settings.schema_version,
    )


async def _walk(votes: Votes, ways: tuple[ComparedWay, ComparedWay], start: str) -> AsyncIterator[AnswerPair]:
    """All audios, each once: those behind `start` to the end, and from the beginning to it."""
    async for page in votes.pairs(*ways, after=start):
        for pair in page:
            yield pair
    async for page in votes.pairs(*ways):
        for pair in page:
            if pair.audio_digest > start:
                return
            yield pair


def _make_clip(pair: AnswerPair) -> NewComparedClip | None:
    if pair.video_id is None or pair.segment_file is None or pair.language is None:
        return None
    # An answer from before texts were tidied would be known by it.
    texts = tidy_text(pair.first_text or ""), tidy_text(pair.second_text or "")
    differing, letters = _difference(*texts)
    return NewComparedClip(
        place=0,
        doubled=False,
        video_id=pair.video_id,
        segment_file=pair.segment_file,
        audio_digest=pair.audio_digest,
        duration_ms=pair.duration_ms or 0,
        language=pair.language,
        first_text=texts[0],
        second_text=texts[1],
        differing=differing,
        letters=letters,
        first_usd=pair.first_usd or 0.0,
        second_usd=pair.second_usd or 0.0,
    )


def _difference(first: str, second: str) -> tuple[float, int]:
    """(share of letters that differ, letters of the longer text) in one normal form, without tags."""
    said = [normalise(without_tags("" if text == "NO_SPEECH" else text)) for text in (first, second)]
    letters = max(map(len, said))
    return (Levenshtein.distance(*said) / letters if letters else 0.0), letters
