"""Erasures: their tombstones, what they are to remove, and the rows that they remove. Needs the owner's rights."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from psycopg import sql
from psycopg.rows import class_row

from lipika.db.connection import Connection, Database
from lipika.db.erasure_places import PLACES, How
from lipika.db.payload import to_json
from lipika.db.queries import Query, load
from lipika.db.tombstones import NameTombstone

Row = TypeVar("Row")

_QUERIES = load(
    "erasures",
    of_answers="""(
  a.audio_digest in (select audio_digest from erased_audio) or (
    coalesce(a.batch_id, '') = '' or a.batch_id in (
      select b.batch_id from transcription_batches b
      where b.video_ids && array(select video_id from erasure_targets where erasure_id = %(id)s)
    )
  ) and not exists (
    select from transcription_results r
    where hashtextextended(r.audio_digest, 0) = hashtextextended(a.audio_digest, 0)
      and r.audio_digest = a.audio_digest
  )
)""",
    of_errors="""(
  t.video_id in (select video_id from erasure_targets where erasure_id = %(id)s)
  or t.message ~ %(mention)s or t.traceback ~ %(mention)s or exists (
    select from erasure_targets e
    join transcription_results r on r.video_id = e.video_id and e.segment_file in ('', r.segment_file)
    where e.erasure_id = %(id)s and length(r.transcription) >= 8
      and (strpos(t.message, r.transcription) > 0 or strpos(t.traceback, r.transcription) > 0)
  )
)""",
    of_last_error="coalesce(t.last_error ~ %(mention)s, false)",
    of_workers="""(
  t.current_video_id in (select video_id from erasure_targets where erasure_id = %(id)s and segment_file = '')
  or coalesce(t.last_error ~ %(mention)s, false)
)""",
    whole_videos="array(select video_id from erasure_targets where erasure_id = %(id)s and segment_file = '')",
    of_judgements="""exists (
  select from audit_clips c
  join erasure_targets e on e.video_id = c.video_id and e.segment_file in ('', c.segment_file)
  where e.erasure_id = %(id)s and c.audit_id = j.audit_id and c.place = j.place
)""",
    about_erased="""(
  o.query ~ %(mention)s or starts_with(o.query, 'clip=') and exists (
    select from redo_clips c
    join erasure_targets e on e.video_id = c.video_id and e.segment_file in ('', c.segment_file)
    where e.erasure_id = %(id)s and c.redo_id = o.id
  )
)""",
    of_notes="""(
  o.note ~ %(mention)s or exists (
    select from erasure_targets e where e.erasure_id = %(id)s and strpos(o.note, e.video_id) > 0
  )
)""",
    of_queue="""(
  q.video_id in (select video_id from erasure_targets where erasure_id = %(id)s and segment_file = '')
  or q.error_message <> '(erased)' and q.video_id in (select video_id from erasure_targets where erasure_id = %(id)s)
)""",
)
_NOBODY = "^(?=x)(?=y)"
"""A pattern that no text has."""
_SPEAKERS_EVERYBODY_HAS = re.compile(r"(speaker|spk|s)?[-_ ]?[0-9]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedName:
    """A video, a speaker of it or a clip of that speaker, with its stretch in ms."""

    video_id: str
    speaker: str | None = None
    segment_file: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """An erasure's number; `resumed`: it was begun and stopped before."""

    id: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class ErasureRow:
    """An erasure on record. `scope` is None and all that is left are figures when it is done."""

    id: int
    state: str
    requested_by: str
    started_at: datetime
    finished_at: datetime | None
    scope: dict[str, Any] | None
    found: dict[str, int]
    certificate: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class TargetVideo:
    """A video with something to erase; its columns of the queue are None where that does not know it."""

    video_id: str
    whole: bool
    status: str | None
    source_key: str | None
    output_key: str | None
    held: bool | None
    busy: bool | None
    lease_expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class TargetClip:
    """A clip to erase."""

    video_id: str
    segment_file: str


@dataclass(frozen=True, slots=True)
class CanaryFiles:
    """A canary that asked about erased clips, and where its files lie."""

    run_id: str
    output_url: str | None


@dataclass(frozen=True, slots=True)
class KnownDataset:
    """An export on record."""

    id: int
    dest: str
    format: str
    state: str


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


@dataclass(frozen=True, slots=True)
class _VideoId:
    video_id: str


@dataclass(frozen=True, slots=True)
class _Rows:
    rows: int


@dataclass(frozen=True, slots=True)
class _File:
    segment_file: str


@dataclass(frozen=True, slots=True)
class Mentions:
    """Whatever else rows are found by: texts that name somebody, and canaries."""

    pattern: str = _NOBODY
    runs: tuple[str, ...] = ()

    @classmethod
    def from_names(cls, names: Sequence[WantedName]) -> Mentions:
        """A pattern for texts that name these. Names that speakers have everywhere are no names."""
        words = {name.video_id for name in names if name.speaker is None}
        words |= {
            name.speaker
            for name in names
            if name.speaker is not None and name.segment_file is None and not is_common_name(name.speaker)
        }
        if not words:
            return cls()
        listed = "|".join(re.escape(word) for word in sorted({*words, *map(quote, words)}))
        return cls(f"(?<![[:alnum:]])({listed})(?![[:alnum:]])")


def is_common_name(speaker: str) -> bool:
    """True if speakers of any video may be called so, such as speaker0."""
    return _SPEAKERS_EVERYBODY_HAS.fullmatch(speaker) is not None


class Erasures:
    """`erasures` and what goes with them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[ErasureWork]:
        """Several steps of one erasure, all or none."""
        async with self._database.transaction() as connection:
            yield ErasureWork(connection)

    @asynccontextmanager
    async def rehearsal(self) -> AsyncIterator[ErasureWork]:
        """The same, of which nothing stays."""
        async with self._database.connection() as connection, connection.transaction(force_rollback=True):
            yield ErasureWork(connection)

    async def newest(self, limit: int) -> list[ErasureRow]:
        """Newest first."""
        return await self._database.rows(_QUERIES["list"], {"limit": limit}, ErasureRow)

    async def find(self, erasure_id: int) -> ErasureRow | None:
        found = await self._database.rows(_QUERIES["one"], {"id": erasure_id}, ErasureRow)
        return found[0] if found else None

    async def videos_of(self, speaker: str) -> list[str]:
        """Videos with results of a speaker who is called so."""
        found = await self._database.rows(_QUERIES["videos_of"], {"speaker": speaker}, _VideoId)
        return [row.video_id for row in found]

    async def former(self, wanted: str) -> list[int]:
        """Numbers of done erasures of the same names, newest first."""
        return [row.id for row in await self._database.rows(_QUERIES["former"], {"wanted": wanted}, _Id)]


class ErasureWork:
    """The steps of an erasure, on a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def _do(self, query: Query, params: Mapping[str, object]) -> int:
        return (await self._connection.execute(query.sql, params)).rowcount

    async def _rows(self, query: Query, params: Mapping[str, object], kind: type[Row]) -> list[Row]:
        async with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            await cursor.execute(query.sql, params)
            return await cursor.fetchall()

    # ---- its course

    async def begin(self, wanted: str, by: str, scope: Mapping[str, object]) -> Begun:
        """A new erasure, or the one with this order that was stopped."""
        params = {"wanted": wanted, "by": by, "scope": to_json(scope)}
        return (await self._rows(_QUERIES["begin"], params, Begun))[0]

    async def rehearse(self) -> int:
        """The number of an erasure that is only looked at, in a transaction that is rolled back."""
        await self._do(_QUERIES["rehearse"], {})
        return 0

    async def keep_scope(
        self, erasure_id: int, scope: Mapping[str, object], found: Mapping[str, int]
    ) -> None:
        """Note how far it is, and once what there was before anything was removed."""
        params = {"id": erasure_id, "scope": to_json(scope), "found": to_json(found)}
        await self._do(_QUERIES["keep_scope"], params)

    async def finish(self, erasure_id: int, certificate: Mapping[str, object]) -> None:
        """Forget all names."""
        await self._do(_QUERIES["forget_targets"], {"id": erasure_id})
        await self._do(_QUERIES["finish"], {"id": erasure_id, "certificate": to_json(certificate)})

    # ---- tombstones and targets

    async def entomb(self, erasure_id: int, names: Sequence[WantedName]) -> int:
        """Set the tombstones, and find the clips that are to go, of the same audio wherever it lies; returns how many
        of these are of videos that are not named."""
        params = {"id": erasure_id, "names": to_json(names)}
        await self._do(_QUERIES["entomb_names"], params)
        await self._do(_QUERIES["target_videos"], params)
        for place in PLACES:
            if place.how is How.CLIPS or place.table == "transcription_results":
                await self._do(_name_table("target_clips", place.table), params)
        for place in PLACES:
            if place.has_audio:
                await self._do(_name_table("entomb_audio", place.table), params)
        await self._do(_QUERIES["target_equal_audio"], params)
        return len(await self.equal_files(erasure_id, names))

    async def equal_files(self, erasure_id: int, names: Sequence[WantedName]) -> list[TargetClip]:
        """Clips of videos that are not named, by video and file."""
        params = {"id": erasure_id, "names": to_json(names)}
        return await self._rows(_QUERIES["equal_files"], params, TargetClip)

    async def videos(self, erasure_id: int) -> list[TargetVideo]:
        return await self._rows(_QUERIES["videos"], {"id": erasure_id}, TargetVideo)

    async def files(self, erasure_id: int, video_id: str) -> list[str]:
        """Files of one video that are to go."""
        params = {"id": erasure_id, "video_id": video_id}
        return [row.segment_file for row in await self._rows(_QUERIES["target_files"], params, _File)]

    async def canaries(self, erasure_id: int) -> list[CanaryFiles]:
        return await self._rows(_QUERIES["canary_runs"], {"id": erasure_id}, CanaryFiles)

    async def datasets(self) -> list[KnownDataset]:
        return await self._rows(_QUERIES["datasets"], {}, KnownDataset)

    async def tombstones_of(self, video_id: str) -> list[NameTombstone]:
        """As `Tombstones.list_of`, within this transaction."""
        return await self._rows(_QUERIES["tombstones_of"], {"video_id": video_id}, NameTombstone)

    # ---- the queue

    async def take(self, erasure_id: int) -> None:
        """Take the videos from whoever is at work on them, and hold them."""
        await self._do(_QUERIES["take_videos"], {"id": erasure_id})

    async def release(self, video_ids: Sequence[str]) -> None:
        await self._do(_QUERIES["release_videos"], {"video_ids": list(video_ids)})

    async def recount(self, video_id: str, counted: Mapping[str, object] | None) -> None:
        """Counters of a video some of whose clips have gone: as its archive counts; None: there is none."""
        if counted is not None:
            await self._do(_QUERIES["recount_video"], {"video_id": video_id, **counted})
            return
        await self._do(_QUERIES["recount_lost_video"], {"video_id": video_id})
        await self._do(_QUERIES["reset_counts"], {"video_id": video_id})

    async def remake(self, datasets: Sequence[int], error: str) -> None:
        """Say of exports that they must be made anew."""
        await self._do(_QUERIES["remake_datasets"], {"datasets": list(datasets), "error": error})

    # ---- rows

    async def count(self, erasure_id: int, mentions: Mentions) -> dict[str, int]:
        """Rows that are to go or to be changed, by table; tables without any are left out."""
        counts = {}
        for place in PLACES:
            if (query := _query("count", place.table, place.how)) is not None:
                (row,) = await self._rows(query, _params(erasure_id, mentions), _Rows)
                if row.rows:
                    counts[place.table] = row.rows
        return counts

    async def erase(self, erasure_id: int, mentions: Mentions, table: str) -> None:
        """Remove or change the rows of one table."""
        place = next(place for place in PLACES if place.table == table)
        query = _query("erase", place.table, place.how)
        if query is not None:
            await self._do(query, _params(erasure_id, mentions))


def _params(erasure_id: int, mentions: Mentions) -> Mapping[str, object]:
    return {
        "id": erasure_id,
        "mention": mentions.pattern,
        "runs": list(mentions.runs),
    }


def _query(verb: str, table: str, how: How) -> Query | None:
    """The query for a table; None where nothing in it is anybody's."""
    if how is How.CLIPS:
        return _name_table(f"{verb}_clips", table)
    return _QUERIES[f"{verb}_{table}"] if how is How.OWN else None


def _name_table(name: str, table: str) -> Query:
    """A query with the name of its table."""
    query = _QUERIES[name]
    return replace(query, sql=query.sql.replace(b"{table}", sql.Identifier(table).as_bytes(None)))
