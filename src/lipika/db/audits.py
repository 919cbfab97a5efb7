"""Audits on record: what was drawn from, the clips that people hear, and what they found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from pydantic import TypeAdapter

from lipika.db.candidates import Candidates
from lipika.db.connection import Database
from lipika.db.payload import clean_text, to_json
from lipika.db.queries import load

_QUERIES = load("audits")
_TEXTS_PER_STATEMENT = 1_000


@dataclass(frozen=True, slots=True)
class StratumKey:
    """A part of the corpus. `lanes` are those open, with spaces between; `tier` is empty where nobody weighed."""

    language: str
    lanes: str
    tier: str


@dataclass(frozen=True, slots=True)
class StratumPage:
    """A stratum within one page of videos. `smallest`: (hash, video, file) of those with the smallest hashes."""

    language: str
    lanes: str
    tier: str
    clips: int
    proxy_errors: float
    proxy_letters: float
    proxy_squares: float
    smallest: Sequence[tuple[int, str, str]]

    @property
    def key(self) -> StratumKey:
        return StratumKey(self.language, self.lanes, self.tier)


@dataclass(frozen=True, slots=True)
class AuditStratum:
    """A stratum as it was at the draw: its clips, and the second listener's sums over those that it heard."""

    language: str
    lanes: str
    tier: str
    clips: int
    proxy_errors: float
    proxy_letters: float
    proxy_spread: float  # standard deviation of a clip's

    @property
    def open_lanes(self) -> tuple[str, ...]:
        return tuple(self.lanes.split())


@dataclass(frozen=True, slots=True)
class ClipText:
    """A clip as it is at the draw."""

    video_id: str
    segment_file: str
    audio_digest: str
    duration_ms: int
    transcription: str
    proxy_letters: float
    proxy_errors: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAuditClip:
    """A clip that was drawn; `look` 0: held in reserve."""

    place: int
    stratum: int
    look: int
    doubled: bool
    video_id: str
    segment_file: str
    audio_digest: str
    duration_ms: int
    language: str
    transcription: str
    proxy_errors: float
    proxy_letters: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAudit:
    """An audit, before it has a number. `lane` empty: all transcribed clips."""

    seed: int
    lane: str
    per_language: int
    double_share: float
    limit_cer: float
    limit_unusable: float
    drawn_by: str
    strata: Sequence[AuditStratum]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord(NewAudit):
    """An audit on record. `looks`: draws so far."""

    id: int
    looks: int
    drawn_at: datetime

    @property
    def languages(self) -> list[str]:
        return sorted({stratum.language for stratum in self.strata})


@dataclass(frozen=True, slots=True)
class AuditJudgement:
    """One person's word on one clip. `text` is what is said; None: as it was, or the clip is unusable."""

    reviewer: str
    usable: bool
    text: str | None


@dataclass(frozen=True, slots=True)
class HeardClip:
    """A clip that is to be heard, with what people found, the first one first."""

    place: int
    stratum: int
    look: int
    doubled: bool
    video_id: str
    segment_file: str
    duration_ms: int
    language: str
    transcription: str
    proxy_errors: float
    proxy_letters: float
    judgements: Sequence[AuditJudgement]

    def text_by(self, judgement: AuditJudgement) -> str:
        """The true text, by that person's word."""
        return self.transcription if judgement.text is None else judgement.text


@dataclass(frozen=True, slots=True)
class ListenedClip:
    """A clip before one person, with what they said of it before, if anything."""

    place: int
    video_id: str
    segment_file: str
    audio_digest: str
    duration_ms: int
    language: str
    transcription: str
    usable: bool | None
    text: str | None


@dataclass(frozen=True, slots=True)
class AuditProgress:
    """The progress of one language of an audit: judgements wanted and made, clips heard, and one person's."""

    language: str
    wanted: int
    made: int
    mine: int
    heard: int
    clips: int
    passed_over: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ReservePlace:
    """A clip in reserve."""

    place: int
    stratum: int


@dataclass(frozen=True, slots=True)
class _Size:
    clips: int


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


@dataclass(frozen=True, slots=True)
class _Kept:
    kept: bool


class Audits:
    """`audits`, `audit_clips` and `audit_judgements`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def size(self) -> int:
        """Transcribed clips there are, by counters."""
        return (await self._database.row(_QUERIES["size"], {}, _Size)).clips

    async def page_ends(self, rows: int) -> AsyncIterator[tuple[str, str]]:
        """(behind, up to) of the videos of each page, of about so many clips."""
        candidates, after = Candidates(self._database), ""
        while last := await candidates.page_end(rows, after=after):
            yield after, last
            after = last

    async def strata(
        self,
        after: str,
        last: str,
        *,
        seed: int,
        cap: float,
        most: int,
        languages: Sequence[str] | None,
        lane: str,
        known: Mapping[StratumKey, int],
    ) -> list[StratumPage]:
        """The strata of one page. `known`: of those whose places are taken, the largest hash among them."""
        params = {
            "after": after,
            "last": last,
            "seed": seed,
            "cap": cap,
            "most": most,
            "languages": list(languages) if languages is not None else None,
            "lane": lane,
            "known": to_json([asdict(key) | {"below": below} for key, below in known.items()]),
        }
        return await self._database.rows(_QUERIES["strata"], params, StratumPage)

    async def texts(self, clips: Sequence[tuple[str, str]], cap: float) -> dict[tuple[str, str], ClipText]:
        """Clips by video and file, as they are now; those that are gone are left out."""
        found: dict[tuple[str, str], ClipText] = {}
        for start in range(0, len(clips), _TEXTS_PER_STATEMENT):
            part = clips[start : start + _TEXTS_PER_STATEMENT]
            videos, files = [video for video, _ in part], [file for _, file in part]
            rows = await self._database.rows(
                _QUERIES["texts"], {"videos": videos, "files": files, "cap": cap}, ClipText
            )
            found |= {(row.video_id, row.segment_file): row for row in rows}
        return found

    async def create(self, audit: NewAudit, clips: Sequence[NewAuditClip]) -> int:
        """Put an audit on record with its clips; returns its number."""
        params = asdict(audit) | {"strata": to_json(list(audit.strata)), "clips": to_json(list(clips))}
        params["drawn_by"] = clean_text(audit.drawn_by)
        return (await self._database.row(_QUERIES["create"], params, _Id)).id

    async def list_audits(self, limit: int = 100) -> list[AuditRecord]:
        """The newest first."""
        rows = await self._database.rows(_QUERIES["audits"], {"id": None, "limit": limit}, _Row)
        return [_RECORD.validate_python(asdict(row)) for row in rows]

    async def one(self, audit_id: int) -> AuditRecord | None:
        """None: there is none with this number."""
        rows = await self._database.rows(_QUERIES["audits"], {"id": audit_id, "limit": 1}, _Row)
        return _RECORD.validate_python(asdict(rows[0])) if rows else None

    async def clips(self, audit_id: int) -> list[HeardClip]:
        """All clips that are heard, in their order."""
        rows = await self._database.rows(_QUERIES["clips"], {"id": audit_id}, _ClipRow)
        return [_HEARD.validate_python(asdict(row)) for row in rows]

    async def progress(self, audit_id: int, reviewer: str = "") -> list[AuditProgress]:
        """By language."""
        params = {"id": audit_id, "reviewer": clean_text(reviewer)}
        return await self._database.rows(_QUERIES["progress"], params, AuditProgress)

    async def reserve(self, audit_id: int) -> list[ReservePlace]:
        return await self._database.rows(_QUERIES["reserve"], {"id": audit_id}, ReservePlace)

    async def draw_more(self, audit: AuditRecord, places: Sequence[int], doubled: Sequence[int]) -> int:
        """A further look at so many clips out of the reserve; 0: somebody else has drawn since."""
        params = {
            "id": audit.id,
            "looks": audit.looks,
            "places": list(places),
            "doubled": list(doubled),
        }
        return await self._database.execute(_QUERIES["more"], params)

    async def take(
        self, audit_id: int, reviewer: str, languages: Sequence[str] | None, count: int = 2
    ) -> list[ListenedClip]:
        """The clips that a person is to hear next; they are nobody else's for a quarter of an hour."""
        params = {
            "id": audit_id,
            "reviewer": clean_text(reviewer),
            "languages": list(languages) if languages else None,
            "count": count,
        }
        return await self._database.rows(_QUERIES["take"], params, ListenedClip)

    async def own(self, audit_id: int, reviewer: str, place: int) -> ListenedClip | None:
        """A clip that this person has had before; None: they have not."""
        params = {"id": audit_id, "reviewer": clean_text(reviewer), "place": place}
        rows = await self._database.rows(_QUERIES["own"], params, ListenedClip)
        return rows[0] if rows else None

    async def judge(
        self,
        audit_id: int,
        place: int,
        reviewer: str,
        *,
        usable: bool | None,
        text: str | None = None,
        seconds: float | None = None,
    ) -> bool:
        """Keep a person's word; `usable` None passes the clip over. False: it is not wanted."""
        params = {
            "id": audit_id,
            "place": place,
            "reviewer": clean_text(reviewer),
            "usable": usable,
            "text": None if text is None else clean_text(text),
            "seconds": seconds,
        }
        return (await self._database.row(_QUERIES["judge"], params, _Kept)).kept


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    seed: int
    lane: str
    per_language: int
    double_share: float
    limit_cer: float
    limit_unusable: float
    strata: Sequence[Mapping[str, object]]
    looks: int
    drawn_by: str
    drawn_at: datetime


@dataclass(frozen=True, slots=True)
class _ClipRow:
    place: int
    stratum: int
    look: int
    doubled: bool
    video_id: str
    segment_file: str
    duration_ms: int
    language: str
    transcription: str
    proxy_errors: float
    proxy_letters: float
    judgements: Sequence[Mapping[str, object]]


_RECORD = TypeAdapter(AuditRecord)
_HEARD = TypeAdapter(HeardClip)
