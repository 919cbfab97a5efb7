"""Clips by what they are, in pages, from a corpus of any size.

An index of marks (`lipika_clip_marks`) holds what a clip may be looked for by, and one of 16384 places that it was
given by chance. A page is looked for place after place: a filter that many clips pass is answered from a place or
two, and one that few pass by looking at all of them. What no index knows (a part of a text, a tier) is looked for
within that, and no longer than `BUDGET_S`: the page then says how far it got.
"""

from __future__ import annotations

import math
import random
import re
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from lipika.db.connection import Database
from lipika.db.payload import clean_text
from lipika.db.queries import load
from lipika.errors import UsageError

PLACES = 16384
COUNTED = 10_000
"""Clips that are counted exactly; of more it is said that there are more."""
BUDGET_S = 0.12
_LOOK_S = 1.0  # where the index knows everything, and so few steps find a page that time is no matter
_ROWS = 4_000  # that are looked at in one step, about
_FEW = 3_000  # clips that are looked at all together
_FEW_READ = 20_000  # the same where each must be read anyway, and of a corpus that has no more
_MOST_PLACES = 256  # in one step: each is a list of its own in the index
_MOST_WITHOUT_INDEX = 200_000  # clips of a corpus whose marks may be made anew for every look
_SURE = 30_000  # so many by a sample are more than `COUNTED`, whatever chance has done

_WEIGHT = {"fail": 0, "warn": 1, "info": 2}

_MARKS = (
    "lipika_clip_marks(r.id, r.status, r.expected_language_hint, r.detected_language, r.quality_score,"
    " r.asr_eligible, r.tts_clean_eligible, r.tts_expressive_eligible, r.findings, r.failure_kind,"
    " r.model_id, r.speaker_id, r.text_source)"
)
_WANTED = """
    (%(video)s::text is null or r.video_id = %(video)s)
    and (%(status)s::text is null or r.status = %(status)s)
    and (%(from_score)s::real is null or r.quality_score >= %(from_score)s)
    and (%(to_score)s::real is null or r.quality_score < %(to_score)s
      or %(to_score)s >= 1 and r.quality_score is not null)
    and (not %(by_model)s or r.text_source = 'model')
    and (%(heard)s::text is null or (
      r.detected_language = %(heard)s and coalesce(nullif(r.expected_language_hint, ''), 'none') = %(hint)s
    ))
    and (%(words)s::text[] is null or lipika_words(r.transcription) @> %(words)s::text[])
    and (%(text)s::text is null or r.transcription ilike %(text)s)
    and (%(tier)s::text is null or exists (
      select from transcription_voters v
      where v.video_id = r.video_id and v.segment_file = r.segment_file and v.tier = %(tier)s
    ))"""
_PAGE = """
  select *, count(*) over () as hits from found
  where %(after_rank)s::int is null
    or (rank, video_id, segment_file) > (%(after_rank)s::int, %(after_video)s::text, %(after_segment)s::text)
  order by rank, video_id, segment_file
  limit %(limit)s"""
_SHOWN = """
select p.video_id, p.segment_file, p.rank, p.hits::bigint as hits, r.status, r.speaker_id, r.duration_ms,
  r.original_start_ms, coalesce(nullif(r.expected_language_hint, ''), r.detected_language, 'unknown') as language,
  r.detected_language, r.quality_score, r.asr_eligible, r.tts_clean_eligible, r.tts_expressive_eligible, r.findings,
  left(coalesce(r.transcription, r.failure_message), 600) as text, r.text_source, v.tier
from page p
join transcription_results r on r.video_id = p.video_id and r.segment_file = p.segment_file
left join transcription_voters v
  on v.video_id = r.video_id and v.segment_file = r.segment_file and v.audio_digest = r.audio_digest
order by p.rank, p.video_id, p.segment_file"""
_QUERIES = load("clip_search", marks=_MARKS, wanted=_WANTED, page=_PAGE, shown=_SHOWN)


@dataclass(frozen=True, slots=True)
class ClipSelection:
    """A choice of clips; what is empty or None is any."""

    language: str = ""  # as counted: the hint, else what was heard
    lane: str = ""
    from_score: float | None = None
    to_score: float | None = None  # not included, but for 1
    finding: str = ""
    tier: str = ""
    speaker: str = ""
    video: str = ""
    model: str = ""
    status: str = ""
    failure: str = ""
    text_source: str = ""  # model, person, reference
    hint: str = ""  # with `heard`: a clip hinted as the one and heard as the other; none: without hint
    heard: str = ""
    words: tuple[str, ...] = ()  # whole ones, all of them
    text: str = ""  # a part of the transcript
    seed: int | None = None  # an order by chance, the same for the same number

    @property
    def is_narrowed_by_reading(self) -> bool:
        """True if it asks for something that no index knows."""
        return bool(self.text or self.tier)

    def marks(self) -> list[str]:
        """The marks that a clip must have."""
        given = (
            *(("l", self.language), ("a", self.lane), ("f", self.finding), ("v", self.speaker)),
            *(("m", self.model), ("x", self.failure)),
            ("s", self.status if self.status != "transcribed" else ""),
            ("t", self.text_source if self.text_source != "model" else ""),
        )
        found = [f"{kind}:{value}" for kind, value in given if value]
        hint = self.hint or "none"
        if self.heard:
            found.append(f"l:{self.heard}" if hint == self.heard else f"h:{hint}>{self.heard}")
        return found

    def scores(self) -> list[str] | None:
        """The twentieths that its scores lie in; None: any."""
        if self.from_score is None and self.to_score is None:
            return None
        low = int((self.from_score or 0) * 20 + 1e-6)
        high = 20 if self.to_score is None else math.ceil(self.to_score * 20 - 1e-6)
        return [f"q:{part}" for part in range(min(low, 19), max(min(high, 20), low + 1))]


@dataclass(frozen=True, slots=True)
class FoundClip:
    """A clip in a list. `text`: the first 600 characters of its transcript, or why it failed."""

    video_id: str
    segment_file: str
    rank: int
    hits: int
    status: str
    speaker_id: str
    duration_ms: int
    original_start_ms: int
    language: str
    detected_language: str | None
    quality_score: float | None
    asr_eligible: bool
    tts_clean_eligible: bool
    tts_expressive_eligible: bool
    findings: Sequence[Mapping[str, Any]]
    text: str | None
    text_source: str
    tier: str | None

    @property
    def codes(self) -> list[tuple[str, str]]:
        """(code, severity) of what speaks against it, each once, the most serious first."""
        found = {str(one["code"]): str(one["severity"]) for one in self.findings}
        return sorted(found.items(), key=lambda one: (_WEIGHT.get(one[1], 3), one[0]))


@dataclass(frozen=True, slots=True)
class ClipPlace:
    """The place of a clip in the order of a list; without a name: the start of a place."""

    rank: int
    video_id: str = ""
    segment_file: str = ""


@dataclass(frozen=True, slots=True)
class ClipPage:
    """Clips, and where the next page begins; None: there are no more.

    `looked_at`: a share (0..1) of the corpus where the budget ended before the page was full.
    """

    clips: list[FoundClip]
    next: ClipPlace | None = None
    looked_at: float | None = None


@dataclass(frozen=True, slots=True)
class ClipCount:
    """`clips` exactly, or more than that. None: so much would have to be read that it is not counted."""

    clips: int | None
    more: bool = False


@dataclass(frozen=True, slots=True)
class Corpus:
    """Clips in all, and whether they can be found by marks and by words."""

    clips: int
    marked: bool
    worded: bool

    @property
    def waits_for_marks(self) -> bool:
        """True if nothing but single videos can be looked at until `lipika db migrate` has made the index."""
        return not self.marked and self.clips > _MOST_WITHOUT_INDEX


@dataclass(frozen=True, slots=True)
class Choice:
    """One value that a filter may have, with the clips that have it."""

    kind: str
    key: str
    clips: int


@dataclass(frozen=True, slots=True)
class SavedFilter:
    """A filter with a name: the query of its page's address."""

    name: str
    query: str
    saved_by: str
    saved_at: datetime


@dataclass(frozen=True, slots=True)
class ClipKey:
    """A clip by its name."""

    video_id: str
    segment_file: str


@dataclass(frozen=True, slots=True)
class _Clips:
    clips: int


@dataclass(slots=True)
class _Walk:
    """A page in the making: what was found, and how far the places have been looked at."""

    at: ClipPlace
    clips: list[FoundClip] = field(default_factory=list)
    hits: int = 0
    looked: int = 0  # places


class ClipSearch:
    """Pages, counts, and what is done with all that a filter finds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def corpus(self) -> Corpus:
        return await self._database.row(_QUERIES["corpus"], {}, Corpus)

    async def choices(self) -> list[Choice]:
        """Languages, findings, failures and tiers that there are, the commonest first."""
        return await self._database.rows(_QUERIES["choices"], {}, Choice)

    async def page(
        self,
        wanted: ClipSelection,
        *,
        limit: int = 50,
        after: ClipPlace | None = None,
        budget_s: float = BUDGET_S,
    ) -> ClipPage:
        """One page: of a video in the order of its clock, of all else mixed over the corpus."""
        if wanted.video:
            return _cut_page(await self._look("of_video", wanted, limit + 1, after), limit)
        corpus = await self.corpus()
        if corpus.waits_for_marks:
            return ClipPage([])
        reads = wanted.is_narrowed_by_reading or (bool(wanted.words) and not corpus.worded)
        candidates = await self._candidates(wanted, corpus) if reads else corpus.clips
        if candidates <= _FEW_READ:
            return _cut_page(await self._look("everywhere", wanted, limit + 1, after), limit)
        walk = _Walk(after or ClipPlace(0))
        until = time.monotonic() + (budget_s if reads else max(budget_s, _LOOK_S))
        # Places for as many clips as may be looked at in one step.
        step = max(1, min(_MOST_PLACES // (4 if reads else 1), round(_ROWS / 4 * PLACES / candidates)))
        while len(walk.clips) <= limit and walk.at.rank < PLACES:
            if time.monotonic() > until and walk.looked:
                return ClipPage(walk.clips, walk.at, walk.at.rank / PLACES)
            if not reads and _is_rare(walk, corpus.clips):
                rest = await self._look("everywhere", wanted, limit + 1 - len(walk.clips), walk.at)
                return _cut_page([*walk.clips, *rest], limit)
            await self._step(wanted, walk, step, limit + 1 - len(walk.clips))
            if not reads:
                step = _next_step(walk, step, limit + 1 - len(walk.clips))
        return _cut_page(walk.clips, limit)

    async def count(self, wanted: ClipSelection) -> ClipCount:
        """Clips that pass, exactly up to `COUNTED`."""
        params = self._params(wanted) | {"most": COUNTED + 1}
        if not wanted.video:
            corpus = await self.corpus()
            if wanted == ClipSelection(seed=wanted.seed):
                return _limit_count(corpus.clips)
            if corpus.waits_for_marks:
                return ClipCount(None)
            candidates = await self._candidates(wanted, corpus)
            reads = wanted.is_narrowed_by_reading or (bool(wanted.words) and not corpus.worded)
            if candidates > _SURE:
                return ClipCount(None) if reads or wanted.words else ClipCount(COUNTED, more=True)
        name = "count_of_video" if wanted.video else "count"
        return _limit_count((await self._database.row(_QUERIES[name], params, _Clips)).clips)

    async def keys(self, wanted: ClipSelection) -> list[ClipKey] | None:
        """The names of all clips that pass; None if they are more than `COUNTED`, or too many to be looked at."""
        found = await self.count(wanted)
        if found.clips is None or found.more:
            return None
        name = "keys_of_video" if wanted.video else "keys"
        params = self._params(wanted) | {"most": COUNTED + 1}
        keys = await self._database.rows(_QUERIES[name], params, ClipKey)
        return keys if len(keys) <= COUNTED else None

    async def list_keys(self, wanted: ClipSelection, most: int) -> list[ClipKey]:
        """The names of clips that pass, `most` of them, however long the look takes.

        Raises:
            UsageError: the index that clips are found by is not there yet.
        """
        if not wanted.video and (await self.corpus()).waits_for_marks:
            raise UsageError(
                "the index that clips are found by is not there yet: run `lipika db migrate`, or name a --video"
            )
        name = "keys_of_video" if wanted.video else "keys"
        return await self._database.rows(_QUERIES[name], self._params(wanted) | {"most": most}, ClipKey)

    # ---- what is done with them

    async def resolve_flags(self, keys: Sequence[ClipKey], *, by: str, note: str = "") -> int:
        """Close all open flags of these clips; returns how many."""
        params = {
            "videos": [key.video_id for key in keys],
            "clips": [key.segment_file for key in keys],
            "by": clean_text(by),
            "note": clean_text(note),
        }
        return await self._database.execute(_QUERIES["resolve_flags"], params)

    async def list_saved(self) -> list[SavedFilter]:
        """By name."""
        return await self._database.rows(_QUERIES["saved"], {}, SavedFilter)

    async def save(self, name: str, query: str, *, by: str) -> None:
        params = {"name": clean_text(name), "query": clean_text(query), "by": clean_text(by)}
        await self._database.execute(_QUERIES["save"], params)

    async def forget(self, name: str) -> int:
        return await self._database.execute(_QUERIES["forget"], {"name": clean_text(name)})

    async def index_words(self, *, drop: bool = False) -> None:
        """Make the index of whole words beside the work, or drop it. One that was interrupted is made anew."""
        if drop or not (await self.corpus()).worded:
            await self._database.execute(_QUERIES["drop_words"], {})
        if not drop:
            await self._database.execute(_QUERIES["index_words"], {})

    # ---- single looks

    async def _look(
        self, name: str, wanted: ClipSelection, limit: int, after: ClipPlace | None
    ) -> list[FoundClip]:
        return await self._database.rows(_QUERIES[name], self._params(wanted, limit, after), FoundClip)

    async def _step(self, wanted: ClipSelection, walk: _Walk, places: int, limit: int) -> None:
        """Look at the next places, and move on."""
        first, last = walk.at.rank, min(walk.at.rank + places, PLACES)
        order = _order(wanted.seed)
        params = self._params(wanted, limit, walk.at)
        params |= {"first": first, "places": [f"p:{place}" for place in order[first:last]]}
        found = await self._database.rows(_QUERIES["in_places"], params, FoundClip)
        walk.clips += found
        walk.hits += found[0].hits if found else 0
        walk.looked += last - first
        walk.at = ClipPlace(last)

    async def _candidates(self, wanted: ClipSelection, corpus: Corpus) -> int:
        """About how many clips have the marks that are asked for: by a sample."""
        places = max(1, min(PLACES, round(_ROWS * PLACES / max(corpus.clips, 1))))
        params = self._params(wanted) | {"places": [f"p:{place}" for place in range(places)]}
        found = await self._database.row(_QUERIES["candidates"], params, _Clips)
        return found.clips * PLACES // places

    def _params(
        self, wanted: ClipSelection, limit: int = 0, after: ClipPlace | None = None
    ) -> dict[str, object]:
        return {
            "marks": [clean_text(mark) for mark in wanted.marks()],
            "scores": wanted.scores(),
            "video": clean_text(wanted.video) or None,
            "status": wanted.status or None,
            "from_score": wanted.from_score,
            "to_score": wanted.to_score,
            "heard": wanted.heard or None,
            "hint": wanted.hint or "none",
            "by_model": wanted.text_source == "model",
            "words": list(map(clean_text, wanted.words)) or None,
            "text": _like(wanted.text) if wanted.text else None,
            "tier": wanted.tier or None,
            "ranks": _ranks(wanted.seed) if wanted.seed is not None else None,
            "limit": limit,
            "after_rank": after.rank if after else None,
            "after_video": after.video_id if after else None,
            "after_segment": after.segment_file if after else None,
        }


def words_of(text: str) -> tuple[str, ...]:
    """The whole words of what somebody types, as `lipika_words` makes them."""
    lowered = "".join(c.lower() if c.isascii() else c for c in unicodedata.normalize("NFC", text))
    return tuple(dict.fromkeys(word for word in _NO_WORD.split(lowered) if word))


_NO_WORD = re.compile(r"""[][ \n\r\t.,;:!?"“”‘’'()<>{}|/\\…–—।॥۔،؟-]+""")


def _like(text: str) -> str:
    escaped = clean_text(text).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _limit_count(clips: int) -> ClipCount:
    return ClipCount(min(clips, COUNTED), more=clips > COUNTED)


def _cut_page(clips: list[FoundClip], limit: int) -> ClipPage:
    """The page of so many clips at most, of which there is one more where another page follows."""
    if len(clips) <= limit:
        return ClipPage(clips)
    last = clips[limit - 1]
    return ClipPage(clips[:limit], ClipPlace(last.rank, last.video_id, last.segment_file))


def _is_rare(walk: _Walk, corpus: int) -> bool:
    """True if so few pass, by what has been looked at, that all of them can be."""
    if walk.looked * corpus / PLACES < 6 * _ROWS:
        return False
    return walk.hits * PLACES / walk.looked <= _FEW


def _next_step(walk: _Walk, step: int, needed: int) -> int:
    """Places that have as many clips as are needed yet, and half as many more."""
    density = walk.hits / walk.looked
    return max(1, min(_MOST_PLACES, 8 * step, round(1.5 * needed / density) + 1 if density else 8 * step))


@lru_cache(maxsize=32)
def _order(seed: int | None) -> tuple[int, ...]:
    """Places in the order in which they are gone through."""
    places = list(range(PLACES))
    if seed is not None:
        random.Random(seed).shuffle(places)
    return tuple(places)


def _ranks(seed: int) -> list[int]:
    """The rank of each place in that order."""
    ranks = [0] * PLACES
    for rank, place in enumerate(_order(seed)):
        ranks[place] = rank
    return ranks
