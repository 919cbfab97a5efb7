"""Orders to ask for clips again: given, taken in hand, kept account of; and whose turn it is to ask for an audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lipika.db.clip_search import ClipKey
from lipika.db.connection import Database
from lipika.db.payload import clean_text, to_json
from lipika.db.queries import load
from lipika.models import SIMULATED, Answer, Usage

_QUERIES = load("redos")
MOST_CLIPS = 100_000
"""Clips of one order."""
ERASED_CHOICE = "(erased)"
"""The query of an order about something that was erased."""


@dataclass(frozen=True, slots=True)
class RedoOrder:
    """An order as it is given. `query` is the choice, `asked` settings by name, `most` None: all that are chosen."""

    query: str
    asked: Mapping[str, Any]
    keep_both: bool
    ordered_by: str
    most: int | None = None


@dataclass(frozen=True, slots=True)
class NewRedo:
    """An order that stands, with its clips."""

    id: int
    clips: int


@dataclass(frozen=True, slots=True)
class RedoInHand:
    """An order that its holder carries out."""

    id: int
    query: str
    most: int | None
    asked: Mapping[str, Any]
    keep_both: bool
    ordered_by: str


@dataclass(frozen=True, slots=True)
class RedoCandidate:
    """A clip that may be asked for. `state` is that of a clip of an order: waiting, person, no_audio."""

    video_id: str
    segment_file: str
    audio_digest: str
    duration_ms: int
    language_hint: str
    state: str


@dataclass(frozen=True, slots=True)
class RedoVideo:
    """A video with clips that are left to do."""

    video_id: str
    clips: int


@dataclass(frozen=True, slots=True)
class RedoClip:
    """A clip that is left to do: waiting, or answered and not weighed yet."""

    segment_file: str
    audio_digest: str
    state: str


@dataclass(frozen=True, slots=True)
class RedoMark:
    """The end of one clip of an order. `usd`: dollars that it took beside those of its answer."""

    segment_file: str
    state: str
    usd: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class RedoneAnswer:
    """An answer that was paid for, as it is stored: by the audio and the way of asking."""

    audio_digest: str
    provider: str
    model_id: str
    model_version: str
    temperature: float | None
    thinking_level: str
    prompt_version: str
    schema_version: str
    language_hint: str
    answer: Answer
    usage: Usage
    cost_usd: float
    batch_id: str
    attempts: int
    latency_ms: int
    service_tier: str
    worker_id: str


@dataclass(frozen=True, slots=True)
class RedoProgress:
    """An order with how far it is: `states` counts its clips."""

    id: int
    query: str
    most: int | None
    asked: Mapping[str, Any]
    keep_both: bool
    state: str
    note: str
    ordered_by: str
    ordered_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    states: Mapping[str, int]
    usd: float
    audio_ms: int

    @property
    def clips(self) -> int:
        return sum(self.states.values())

    @property
    def left(self) -> int:
        return self.states.get("waiting", 0) + self.states.get("answered", 0)


@dataclass(frozen=True, slots=True)
class RedoHolder:
    """The process that has an order in hand, and for how many seconds it is its own if nothing more is heard."""

    holder: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RedoProblem:
    """A clip without a new answer."""

    video_id: str
    segment_file: str
    state: str
    note: str


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


@dataclass(frozen=True, slots=True)
class _Turn:
    audio_digest: str
    way: str


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(frozen=True, slots=True)
class _Done:
    done: bool


class Redos:
    """`redos`, `redo_clips` and `redo_turns`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ------------------------------------------------------------------------- orders

    async def order(self, order: RedoOrder, keys: Sequence[ClipKey]) -> NewRedo | None:
        """Give an order for these clips, `MOST_CLIPS` at most; None where none of them is there."""
        params = {"order": to_json(_order_row(order)), **_names(keys)}
        found = await self._database.rows(_QUERIES["order"], params, NewRedo)
        return found[0] if found else None

    async def candidates(self, keys: Sequence[ClipKey]) -> list[RedoCandidate]:
        """The clips of these names, as an order would take them."""
        return await self._database.rows(_QUERIES["candidates"], _names(keys), RedoCandidate)

    async def find_unfinished(self, order: RedoOrder) -> int | None:
        """The id of the same order, given before and not carried out to its end."""
        params = _order_row(order) | {"asked": to_json(order.asked)}
        found = await self._database.rows(_QUERIES["unfinished"], params, _Id)
        return found[0].id if found else None

    async def drop(self, redo_id: int) -> bool:
        """Nobody goes on with it. False where it had ended."""
        return (await self._database.row(_QUERIES["drop"], {"id": redo_id}, _Done)).done

    async def list_progress(self, limit: int, redo_id: int | None = None) -> list[RedoProgress]:
        """The newest orders, or the one, with how far they are."""
        params = {"id": redo_id, "limit": limit}
        return await self._database.rows(_QUERIES["progress"], params, RedoProgress)

    async def list_problems(self, redo_id: int, limit: int) -> list[RedoProblem]:
        """Clips of an order that have no new answer, by name."""
        return await self._database.rows(_QUERIES["problems"], {"id": redo_id, "limit": limit}, RedoProblem)

    # ------------------------------------------------------------------------- in hand

    async def claim(
        self, holder: str, lease_s: float, redo_id: int | None = None, passed: Sequence[int] = ()
    ) -> RedoInHand | None:
        """Take in hand the order of this id, or the oldest that waits and is none of those `passed`."""
        params = {"holder": holder, "lease_s": lease_s, "id": redo_id, "passed": list(passed)}
        found = await self._database.rows(_QUERIES["claim"], params, RedoInHand)
        return found[0] if found else None

    async def find_holder(self, redo_id: int) -> RedoHolder | None:
        """The process that has it in hand."""
        found = await self._database.rows(_QUERIES["held"], {"id": redo_id}, RedoHolder)
        return found[0] if found else None

    async def renew(self, redo_id: int, holder: str, lease_s: float) -> bool:
        """Hold an order and its turns for so long from now; False: it is not this holder's any more."""
        params = {"id": redo_id, "holder": holder, "lease_s": lease_s}
        return (await self._database.row(_QUERIES["renew"], params, _Done)).done

    async def end(self, redo_id: int, holder: str, state: str, note: str = "") -> bool:
        """Let go of an order: done, failed, or queued for whoever goes on."""
        params = {"id": redo_id, "holder": holder, "state": state, "note": clean_text(note)}
        return (await self._database.row(_QUERIES["end"], params, _Done)).done

    async def videos(self, redo_id: int) -> list[RedoVideo]:
        """Videos with clips that are left to do, by id."""
        return await self._database.rows(_QUERIES["videos"], {"id": redo_id}, RedoVideo)

    async def clips(self, redo_id: int, video_id: str) -> list[RedoClip]:
        """Clips of a video that are left to do, by name."""
        params = {"id": redo_id, "video_id": video_id}
        return await self._database.rows(_QUERIES["clips_of"], params, RedoClip)

    async def mark(self, redo_id: int, video_id: str, marks: Sequence[RedoMark]) -> None:
        """Put the ends of clips of one video on record."""
        if marks:
            params = {"id": redo_id, "video_id": video_id, "marks": to_json(list(marks))}
            await self._database.execute(_QUERIES["mark"], params)

    async def keep(
        self, redo_id: int, name: ClipKey, answer: RedoneAnswer, *, paid: float, final: bool
    ) -> None:
        """Store an answer, and that its clip has one. `paid`: dollars that are not on record yet; not `final`: it is
        asked for once more.
        """
        params = {
            "id": redo_id,
            "video_id": name.video_id,
            "segment_file": name.segment_file,
            "answer": to_json(answer),
            "paid": paid,
            "final": final,
            "simulated": SIMULATED,
        }
        await self._database.execute(_QUERIES["keep"], params)

    # ------------------------------------------------------------------------- turns

    async def take_turns(
        self, audios: Sequence[tuple[str, str]], holder: str, lease_s: float
    ) -> set[tuple[str, str]]:
        """Of these (digest, way) those that are this holder's to ask for."""
        params = _audios(audios) | {"holder": holder, "lease_s": lease_s}
        taken = await self._database.rows(_QUERIES["take_turns"], params, _Turn)
        return {(turn.audio_digest, turn.way) for turn in taken}

    async def give_turns(self, audios: Sequence[tuple[str, str]], holder: str) -> None:
        """Let others ask for these."""
        if audios:
            await self._database.execute(_QUERIES["give_turns"], _audios(audios) | {"holder": holder})

    async def name_way(self, way: Mapping[str, object]) -> str:
        """The short name of a way, by its model_id, temperature, thinking_level, prompt_version, schema_version."""
        row = await self._database.row(_QUERIES["way_name"], dict(way), _Name)
        return row.name


def _order_row(order: RedoOrder) -> dict[str, Any]:
    return {
        "query": clean_text(order.query),
        "most": order.most,
        "asked": dict(order.asked),
        "keep_both": order.keep_both,
        "ordered_by": clean_text(order.ordered_by),
    }


def _names(keys: Sequence[ClipKey]) -> dict[str, list[str]]:
    return {"videos": [key.video_id for key in keys], "clips": [key.segment_file for key in keys]}


def _audios(audios: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {"digests": [digest for digest, _ in audios], "ways": [way for _, way in audios]}
