"""Blind votes on two ways of asking: clips that were drawn with both texts, and what people prefer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from pydantic import TypeAdapter

from lipika.db.connection import Database
from lipika.db.payload import clean_text, to_json
from lipika.db.queries import load

_QUERIES = load("votes")
_PAGE = 500
CHOICES = ("left", "right", "equal", "bad", "skip")
"""All that can be said of two texts: which is better, both are equally good, both are bad, or nothing."""


@dataclass(frozen=True, slots=True)
class ComparedWay:
    """A way of asking as it is looked for: its name, and the settings by which results are known."""

    way: str
    words: str
    model_id: str
    temperature: float | None
    thinking_level: str
    prompt_version: str
    schema_version: str


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """An audio with an answer of one of two ways, and the clip that has both; all None where none has."""

    audio_digest: str
    video_id: str | None
    segment_file: str | None
    duration_ms: int | None
    language: str | None
    first_text: str | None
    second_text: str | None
    first_usd: float | None
    second_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewComparedClip:
    """A clip that was drawn. `differing` is the share of the `letters` of the longer text that differ, 0..1."""

    place: int  # its order within the draw
    doubled: bool
    video_id: str
    segment_file: str
    audio_digest: str
    duration_ms: int
    language: str
    first_text: str
    second_text: str
    differing: float
    letters: int
    first_usd: float
    second_usd: float


@dataclass(frozen=True, slots=True)
class ComparisonRecord:
    """Two ways that people compare."""

    id: int
    first_way: str
    second_way: str
    first_words: str
    second_words: str
    seed: int
    started_by: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class VoteProgress:
    """The progress of one language of a comparison: votes wanted and made, and one person's."""

    language: str
    clips: int
    wanted: int
    made: int
    mine: int


@dataclass(frozen=True, slots=True)
class BlindClip:
    """A clip before one person. Which text is whose is not in it."""

    place: int
    video_id: str
    segment_file: str
    duration_ms: int
    language: str
    left_text: str
    right_text: str


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's word on one clip: first, second, equal, bad or skip."""

    voter: str
    choice: str
    first_left: bool


@dataclass(frozen=True, slots=True)
class ComparedClip:
    """A clip of a comparison with what people said of it, the first word first. `same`: the texts are the same."""

    place: int
    video_id: str
    language: str
    duration_ms: int
    same: bool
    differing: float
    letters: int
    first_usd: float
    second_usd: float
    votes: Sequence[Vote]


class Votes:
    """`comparisons`, `comparison_clips` and `comparison_votes`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pairs(
        self, first: ComparedWay, second: ComparedWay, after: str = ""
    ) -> AsyncIterator[list[AnswerPair]]:
        """Pages of audios with an answer of either way kept aside, behind a digest: in an order of chance."""
        ways = [asdict(first) | {"side": "first"}, asdict(second) | {"side": "second"}]
        params = {"first": first.way, "second": second.way, "ways": to_json(ways), "limit": _PAGE}
        while True:
            page = await self._database.rows(_QUERIES["pairs"], params | {"after": after}, AnswerPair)
            if page:
                yield page
            if len(page) < _PAGE:
                return
            after = page[-1].audio_digest

    async def start(self, first: ComparedWay, second: ComparedWay, seed: int, by: str) -> ComparisonRecord:
        """The comparison of two ways, in whichever order it was begun; a new one where there is none."""
        params = {
            "first": first.way,
            "second": second.way,
            "first_words": first.words,
            "second_words": second.words,
            "seed": seed,
            "by": clean_text(by),
        }
        made = await self._database.row(_QUERIES["start"], params, _Id)
        (found,) = await self._comparisons(made.id, 1)
        return found

    async def add(self, comparison_id: int, clips: Sequence[NewComparedClip], by: str) -> int:
        """Add clips behind those that are there; returns how many were new."""
        params = {"id": comparison_id, "clips": to_json(list(clips)), "by": clean_text(by)}
        return (await self._database.row(_QUERIES["add"], params, _Added)).added

    async def drawn(self, comparison_id: int) -> list[str]:
        """Digests of the audios that a comparison has already, in the order of the draws."""
        rows = await self._database.rows(_QUERIES["drawn"], {"id": comparison_id}, _Audio)
        return [row.audio_digest for row in rows]

    async def list_comparisons(self, limit: int = 100) -> list[ComparisonRecord]:
        """The newest first."""
        return await self._comparisons(None, limit)

    async def one(self, comparison_id: int) -> ComparisonRecord | None:
        """None: there is none with this number."""
        return next(iter(await self._comparisons(comparison_id, 1)), None)

    async def find_of_ways(self, first: str, second: str) -> ComparisonRecord | None:
        """The comparison of two ways, by their names in either order; None: nobody has begun one."""
        params = {"first": first, "second": second}
        return next(iter(await self._database.rows(_QUERIES["of_ways"], params, ComparisonRecord)), None)

    async def _comparisons(self, comparison_id: int | None, limit: int) -> list[ComparisonRecord]:
        params = {"id": comparison_id, "limit": limit}
        return await self._database.rows(_QUERIES["comparisons"], params, ComparisonRecord)

    async def progress(self, comparison_id: int, voter: str = "") -> list[VoteProgress]:
        """By language."""
        params = {"id": comparison_id, "voter": clean_text(voter)}
        return await self._database.rows(_QUERIES["progress"], params, VoteProgress)

    async def take(
        self, comparison_id: int, voter: str, languages: Sequence[str] | None, count: int = 2
    ) -> list[BlindClip]:
        """The clips that a person is to vote on next; they are nobody else's for a quarter of an hour."""
        params = {
            "id": comparison_id,
            "voter": clean_text(voter),
            "languages": list(languages) if languages else None,
            "count": count,
        }
        found = await self._database.rows(_QUERIES["take"], params, _Place)
        return await self._blind(comparison_id, voter, [row.place for row in found])

    async def vote(self, comparison_id: int, place: int, voter: str, choice: str) -> bool:
        """Keep a person's word, one of `CHOICES`. False: the clip is not before them, or they have said another
        thing; or a side was preferred where both say the same.
        """
        params = {"id": comparison_id, "place": place, "voter": clean_text(voter), "choice": choice}
        return (await self._database.row(_QUERIES["vote"], params, _Kept)).kept

    async def take_back(self, comparison_id: int, voter: str) -> BlindClip | None:
        """Unsay a person's last word; returns its clip, which is before them again. None: they said nothing."""
        params: dict[str, object] = {"id": comparison_id, "voter": clean_text(voter)}
        place = (await self._database.row(_QUERIES["take_back"], params, _Place)).place
        return next(iter(await self._blind(comparison_id, voter, [place])), None)

    async def _blind(self, comparison_id: int, voter: str, places: Sequence[int | None]) -> list[BlindClip]:
        params = {"id": comparison_id, "voter": clean_text(voter), "places": list(places)}
        return await self._database.rows(_QUERIES["blind"], params, BlindClip)

    async def clips(self, comparison_id: int) -> list[ComparedClip]:
        """All clips of a comparison, in the order in which they are given out."""
        rows = await self._database.rows(_QUERIES["clips"], {"id": comparison_id}, _ClipRow)
        return [_CLIP.validate_python(asdict(row)) for row in rows]


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


@dataclass(frozen=True, slots=True)
class _Added:
    added: int


@dataclass(frozen=True, slots=True)
class _Audio:
    audio_digest: str


@dataclass(frozen=True, slots=True)
class _Kept:
    kept: bool


@dataclass(frozen=True, slots=True)
class _Place:
    place: int | None


@dataclass(frozen=True, slots=True)
class _ClipRow:
    place: int
    video_id: str
    language: str
    duration_ms: int
    same: bool
    differing: float
    letters: int
    first_usd: float
    second_usd: float
    votes: Sequence[Mapping[str, object]]


_CLIP = TypeAdapter(ComparedClip)
