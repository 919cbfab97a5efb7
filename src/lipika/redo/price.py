"""Clips, audio and dollars of a redo before anything is asked: by what was metered, where anything was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lipika.config import Settings
from lipika.db.clip_search import ClipKey
from lipika.db.connection import Database
from lipika.db.paid import PaidAnswers
from lipika.db.redos import RedoCandidate, Redos
from lipika.jobs.asking import CostedWay, cost_today, cost_way, list_arms
from lipika.jobs.expectation import find_caps
from lipika.jobs.outlook import ForecastQuestion
from lipika.pipeline.reuse import AskedAs
from lipika.redo.known import find_stored
from lipika.redo.order import RedoWay
from lipika.wording import duration, money

_PAGE = 1_000
_WINDOW_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class RedoPrice:
    """Before the first request. `clips` are chosen; of those not `to_ask` the others say why."""

    way: str
    clips: int
    videos: int
    to_ask: int
    audio_s: float  # of those
    answered: int  # an answer of this way is there: nothing is paid
    by_person: int
    no_audio: int
    usd: float
    usd_each: float
    metered: bool
    basis: str
    caps: tuple[str, ...]

    def __str__(self) -> str:
        clips = f"{self.clips:,} clip{'' if self.clips == 1 else 's'} of {self.videos:,} videos"
        others = ", ".join(
            f"{count:,} {why}"
            for count, why in (
                (self.answered, "are answered in this way already"),
                (self.by_person, "have a person's word, which stands"),
                (self.no_audio, "lie in no result tar"),
            )
            if count
        )
        caps = ", ".join(self.caps) or "no cap holds (--max-usd, lipika budget set)"
        return (
            f"{clips}: {self.to_ask:,} to ask {self.way}, {duration(self.audio_s)} of audio"
            + (f"; {others}" if others else "")
            + f". About {money(self.usd)}, {money(self.usd_each)} a clip ({self.basis}); caps: {caps}"
        )


async def price_redo(
    settings: Settings,
    database: Database,
    way: RedoWay,
    asked: AskedAs,
    keys: Sequence[ClipKey],
    max_usd: float | None,
) -> RedoPrice:
    """The price of asking for these clips in that way; `settings` are those of today."""
    states: Counter[str] = Counter()
    audio_ms, videos = 0, set[str]()
    for start in range(0, len(keys), _PAGE):
        page = await Redos(database).candidates(keys[start : start + _PAGE])
        videos |= {clip.video_id for clip in page}
        for clip, state in zip(page, await _states(database, asked, page), strict=True):
            states[state] += 1
            audio_ms += clip.duration_ms if state == "waiting" else 0
    costed = await _cost(settings, database, way)
    each = next(figure for figure in costed.figures if figure.name == "dollars")
    to_ask = states["waiting"]
    return RedoPrice(
        way=way.words,
        clips=states.total(),
        videos=len(videos),
        to_ask=to_ask,
        audio_s=audio_ms / 1000,
        answered=states["answered"],
        by_person=states["person"],
        no_audio=states["no_audio"],
        usd=to_ask * each.value,
        usd_each=each.value,
        metered=each.metered,
        basis=each.basis,
        caps=await find_caps(way.settings, database, max_usd),
    )


async def _states(database: Database, asked: AskedAs, page: Sequence[RedoCandidate]) -> list[str]:
    known = await find_stored(PaidAnswers(database), asked, page)
    return [
        "answered" if clip.state == "waiting" and stored is not None else clip.state
        for clip, stored in zip(page, known, strict=True)
    ]


async def _cost(settings: Settings, database: Database, way: RedoWay) -> CostedWay:
    alone = settings.model_copy(update={"model_id": settings.models[-1], "cascade": ""})
    today = await cost_today(database, alone, ForecastQuestion(alone.real_provider), _WINDOW_S)
    return cost_way(way.settings, alone, today, await list_arms(database))
