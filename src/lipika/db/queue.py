"""The queue's verbs. Every write for a claimed video names its claim token and fails with LeaseLost without it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from lipika.db.connection import Database, Params
from lipika.db.payload import clean_text, to_json
from lipika.db.queries import load
from lipika.db.queue_counts import QueueCounts, count_videos
from lipika.db.tombstones import Tombstones
from lipika.errors import LeaseLost, UsageError
from lipika.models import Accounting, ClaimedVideo, HintFrom, NewVideo, VideoStatus

_QUERIES = load("queue")
_ADD_ROWS = 10_000  # per statement: 2 MB or so
NAME_BYTES = 250
"""Of a file name; 255 is what file systems hold, and a file in the making has a longer one."""


@dataclass(frozen=True, slots=True)
class Clash:
    """A video whose result would be written over what another one, or itself, reads or writes."""

    video_id: str
    output_key: str
    other: str
    what: (
        str  # output_taken | output_is_input | input_is_output | erased: `other` is the number of the erasure
    )

    def __str__(self) -> str:
        if self.what == "erased":
            return (
                f"{self.video_id}: it was erased because somebody wanted it (lipika erase show {self.other}), and"
                " does not come back"
            )
        if self.what == "input_is_output":
            return f"{self.video_id}: its archive is where the result of {self.other} goes"
        where = "archive" if self.what == "output_is_input" else "result"
        whose = "its own" if self.other == self.video_id else f"{self.other}'s"
        return f"{self.video_id}: its result would be written over {whose} {where}"


@dataclass(frozen=True, slots=True)
class Roots:
    """The places of keys that are no full names, as far as it is known: STORE_URL and OUTPUT_URL."""

    source: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class AddReport:
    """The outcome of adding videos. `conflicts` are there already with another source or output; they stay so.

    `clashes` were left out: their results would destroy something.
    """

    added: int
    existing: int
    conflicts: tuple[str, ...]
    clashes: tuple[Clash, ...] = ()


_NO_ROOTS = Roots()


@dataclass(frozen=True, slots=True)
class QueuedVideo:
    """One video as a person sees it in a list."""

    video_id: str
    status: str
    held: bool
    priority: int
    language: str | None
    language_from: str | None  # a HintFrom; None: a row's
    source_key: str
    output_key: str
    claimed_by: str | None
    lease_expires_at: datetime | None
    attempts: int
    max_attempts: int
    segment_count: int | None
    clip_count: int
    segments_transcribed: int
    error_code: str | None
    error_message: str | None
    created_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Added:
    added: int
    conflicts: list[str]


@dataclass(frozen=True, slots=True)
class _Output:
    video_id: str
    output_key: str


@dataclass(frozen=True, slots=True)
class _VideoId:
    video_id: str


@dataclass(frozen=True, slots=True)
class _Videos:
    videos: int


@dataclass(frozen=True, slots=True)
class _HintOf:
    video_id: str
    language_from: str


@dataclass(frozen=True, slots=True)
class _Status:
    status: str


class Queue:
    """`video_queue`. Raises DatabaseUnavailable while Postgres is away; each verb may then simply be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ---- filling and looking

    async def add(
        self, videos: Iterable[NewVideo], *, max_attempts: int = 3, roots: Roots = _NO_ROOTS
    ) -> AddReport:
        """Put videos into the queue in the order given. Those that are there already stay untouched.

        Raises:
            UsageError: a name that no file system holds; videos before it may have been added.
        """
        given, added, conflicts, clashes = 0, 0, list[str](), list[Clash]()
        for chunk in _chunks(videos, _ADD_ROWS):
            for video in chunk:
                check_name(video)
            clashing = await self.clashes(chunk, roots)
            left_out = {clash.video_id for clash in clashing}
            fit = [video for video in chunk if video.video_id not in left_out]
            report = await self._database.row(_QUERIES["add"], _columns(fit, max_attempts), _Added)
            given += len(fit)
            added += report.added
            conflicts += report.conflicts
            clashes += clashing
        return AddReport(added, given - added - len(conflicts), tuple(conflicts), tuple(clashes))

    async def clashes(self, videos: Sequence[NewVideo], roots: Roots = _NO_ROOTS) -> list[Clash]:
        """The videos that would write over what another of them or of the queue, or itself, reads or writes;
        and those that were erased."""
        params = {
            "video_ids": [video.video_id for video in videos],
            "source_keys": [video.source_key for video in videos],
            "output_keys": [video.output_key for video in videos],
            "source_root": roots.source,
            "output_root": roots.output,
        }
        erased = await Tombstones(self._database).videos([video.video_id for video in videos])
        gone = [
            Clash(video.video_id, video.output_key, str(erased[video.video_id]), "erased")
            for video in videos
            if video.video_id in erased
        ]
        return gone + [
            clash
            for clash in await self._database.rows(_QUERIES["clashes"], params, Clash)
            if clash.video_id not in erased
        ]

    async def list_empty(self, *, limit: int, after: str = "") -> list[QueuedVideo]:
        """Done videos of which nothing is left, by id; `after` is the last one of the page before."""
        return await self._database.rows(
            _QUERIES["list_empty"], {"limit": limit, "after": after}, QueuedVideo
        )

    async def list_videos(
        self, status: VideoStatus | None = None, *, limit: int = 100, after: str = ""
    ) -> list[QueuedVideo]:
        """One page by video id; `after` is the last id of the page before."""
        if status is None:
            return await self._database.rows(_QUERIES["list"], {"limit": limit, "after": after}, QueuedVideo)
        params = {"status": status, "limit": limit, "after": after}
        return await self._database.rows(_QUERIES["list_of_status"], params, QueuedVideo)

    async def list_put_aside(self, *, limit: int = 100) -> list[QueuedVideo]:
        """Videos that are held because of what a worker found, by id; `error_message` says what."""
        return await self._database.rows(_QUERIES["list_put_aside"], {"limit": limit}, QueuedVideo)

    async def find(self, video_ids: Sequence[str]) -> list[QueuedVideo]:
        """The rows of these videos, in no order; ids that are not there are left out."""
        return await self._database.rows(_QUERIES["find"], {"video_ids": list(video_ids)}, QueuedVideo)

    async def counts(self, only: Sequence[str] | None = None) -> QueueCounts:
        """Videos by status: of all, or of these."""
        return await count_videos(self._database, only)

    async def idle_outputs(self, output_keys: Sequence[str]) -> set[str]:
        """Those of these output keys that are of a video of the queue which nobody is at work on."""
        params = {"output_keys": list(output_keys)}
        return {
            row.output_key for row in await self._database.rows(_QUERIES["idle_outputs"], params, _Output)
        }

    # ---- a worker's verbs

    async def claim(
        self,
        worker_id: str,
        lease_seconds: float,
        limit: int,
        *,
        max_bytes: int | None = None,
        only: Sequence[str] | None = None,
        alone: bool = True,
        without: Iterable[str] = (),
    ) -> list[ClaimedVideo]:
        """Take up to `limit` videos, charging each an attempt.

        Args:
            worker_id: who takes them.
            lease_seconds: how long they stay ours without `extend`.
            limit: videos at most.
            max_bytes: input bytes at most, unless the first video alone has more. Unknown sizes count as 0.
            only: take none but these.
            alone: the worker holds nothing else, so it may take a video whose last attempt this is.
            without: take none of these: those it carries still, whatever has become of their leases.
        """
        params = {
            "worker_id": worker_id,
            "lease_seconds": lease_seconds,
            "limit": limit,
            "max_bytes": max_bytes,
            "only": _list_or_none(only),
            "alone": alone,
            "without": list(without),
        }
        claimed = await self._database.rows(_QUERIES["claim"], params, ClaimedVideo)
        if not any(video.language for video in claimed):
            return claimed
        ids = {"video_ids": [video.video_id for video in claimed]}
        found = await self._database.rows(_QUERIES["hints_from"], ids, _HintOf)
        hints = {row.video_id: HintFrom(row.language_from) for row in found}
        return [replace(video, language_from=hints.get(video.video_id, HintFrom.ROW)) for video in claimed]

    async def extend(self, claims: Sequence[ClaimedVideo], lease_seconds: float) -> set[str]:
        """Renew the leases of these claims; returns the videos that are still their worker's."""
        params = {
            "claim_tokens": [claim.claim_token for claim in claims],
            "lease_seconds": lease_seconds,
        }
        return {row.video_id for row in await self._database.rows(_QUERIES["extend"], params, _VideoId)}

    async def start(self, claim: ClaimedVideo) -> None:
        """Say that work on the video has begun. Raises LeaseLost."""
        await self._change_owned("start", claim, {})

    async def record_language(self, claim: ClaimedVideo, language: str) -> None:
        """Write down what the archive says of itself, unless a person or a row has said. Raises LeaseLost."""
        await self._change_owned("found_language", claim, {"language": language})

    async def progress(self, claim: ClaimedVideo, accounting: Accounting) -> None:
        """Write the counters as they stand. Raises LeaseLost."""
        if await self.progress_of_many([(claim, accounting)]) != 1:
            raise _lease_lost(claim)

    async def progress_of_many(self, videos: Iterable[tuple[ClaimedVideo, Accounting]]) -> int:
        """Write the counters of several videos in one statement; returns how many are still the caller's."""
        rows = [{**_token(claim), **_counters(accounting)} for claim, accounting in videos]
        if not rows:
            return 0
        return await self._database.execute(_QUERIES["progress"], {"videos": to_json(rows)})

    async def finish(
        self, claim: ClaimedVideo, accounting: Accounting, *, output_bytes: int, output_digest: str
    ) -> None:
        """Mark a video done, its output being written and verified. May be repeated.

        Raises:
            LeaseLost: another worker owns the video; nothing was changed.
            DatabaseError: the accounting does not add up.
        """
        counters = {**_counters(accounting), "discard_reasons": to_json(accounting.discard_reasons)}
        output = {"output_bytes": output_bytes, "output_digest": output_digest}
        await self._change_owned("finish", claim, {**counters, **output})

    async def fail(self, claim: ClaimedVideo, code: str, message: str, *, retry: bool) -> VideoStatus:
        """Give a video up. Returns `pending` if `retry` and an attempt is left, else `failed`. Raises LeaseLost."""
        error = {"retry": retry, "error_code": code, "error_message": clean_text(message)}
        rows = await self._database.rows(_QUERIES["fail"], {**_token(claim), **error}, _Status)
        if not rows:
            raise _lease_lost(claim)
        return VideoStatus(rows[0].status)

    async def release(self, claim: ClaimedVideo) -> None:
        """Put a video back unharmed, with the attempt given back. Raises LeaseLost."""
        await self._change_owned("release", claim, {})

    async def put_aside(self, claim: ClaimedVideo, code: str, message: str) -> None:
        """Hold a video until a person has decided, with the reason; the attempt is given back. Raises LeaseLost."""
        await self._change_owned(
            "put_aside", claim, {"error_code": code, "error_message": clean_text(message)}
        )

    async def _change_owned(self, name: str, claim: ClaimedVideo, params: Params) -> None:
        if await self._database.execute(_QUERIES[name], {**_token(claim), **params}) != 1:
            raise _lease_lost(claim)

    # ---- a person's verbs; each returns how many videos it changed

    async def take_back(self, video_ids: Sequence[str]) -> int:
        """Free claimed videos from a worker that is known to be gone, before their leases run out."""
        return await self._database.execute(_QUERIES["take_back"], {"video_ids": list(video_ids)})

    async def requeue(self, video_ids: Sequence[str] | None = None, *, also_done: bool = False) -> int:
        """Let failed videos (None: all of them) start over, and done ones too if asked."""
        params = {"video_ids": _list_or_none(video_ids), "also_done": also_done}
        return await self._database.execute(_QUERIES["requeue"], params)

    async def redo(self, videos: Sequence[NewVideo]) -> int:
        """Let done and failed videos start over, with their results going where `videos` say now."""
        params = {
            "video_ids": [video.video_id for video in videos],
            "output_keys": [video.output_key for video in videos],
        }
        return await self._database.execute(_QUERIES["redo"], params)

    async def remove(self, video_ids: Sequence[str]) -> int:
        """Take videos out of the queue, unless a worker has them; their result rows stay."""
        return await self._database.execute(_QUERIES["remove"], {"video_ids": list(video_ids)})

    async def hold(self, video_ids: Sequence[str], *, held: bool = True) -> int:
        """Keep videos from being claimed, or let them go. Work under way goes on."""
        return await self._database.execute(_QUERIES["hold"], {"video_ids": list(video_ids), "held": held})

    async def hint(self, video_ids: Sequence[str], language: str | None, given_by: HintFrom) -> int:
        """Give videos that no worker has a language: FORCED, as a DEFAULT, or back to what the ARCHIVE says."""
        params = {"video_ids": list(video_ids), "language": language, "language_from": given_by.value}
        return (await self._database.row(_QUERIES["hint"], params, _Videos)).videos

    async def prioritise(self, video_ids: Sequence[str], priority: int) -> int:
        """Change the order of videos that wait: higher goes first."""
        params = {"video_ids": list(video_ids), "priority": priority}
        return await self._database.execute(_QUERIES["prioritise"], params)


def check_name(video: NewVideo) -> None:
    """Raises UsageError where no file could have the video's name: better now than when it has been paid for."""
    longest = max(
        video.video_id,
        video.output_key.rpartition("/")[2],
        key=lambda name: len(name.encode("utf-8", "surrogatepass")),
    )
    size = len(longest.encode("utf-8", "surrogatepass"))
    if size > NAME_BYTES:
        raise UsageError(
            f"video {video.video_id[:60]}…: a name of {size} bytes; a file name holds {NAME_BYTES}"
            " (letters of Indian scripts take three bytes each). Rename the archive"
        )


def _chunks(videos: Iterable[NewVideo], size: int) -> Iterator[list[NewVideo]]:
    iterator = iter(videos)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _columns(videos: Sequence[NewVideo], max_attempts: int) -> Params:
    return {
        "video_ids": [video.video_id for video in videos],
        "source_keys": [video.source_key for video in videos],
        "output_keys": [video.output_key for video in videos],
        "languages": [
            f"{video.language}@{video.language_from.value}" if video.language else None for video in videos
        ],
        "priorities": [video.priority for video in videos],
        "segment_counts": [video.segment_count for video in videos],
        "source_bytes": [video.source_bytes for video in videos],
        "max_attempts": max_attempts,
    }


def _counters(accounting: Accounting) -> Params:
    return {
        "segments": accounting.segments,
        "segments_polished": accounting.segments_polished,
        "segments_discarded": accounting.segments_discarded,
        "parts_discarded": accounting.parts_discarded,
        "clips": accounting.clips,
        "transcribed": accounting.transcribed,
        "no_speech": accounting.no_speech,
        "failed": accounting.failed,
        "discard_reasons": accounting.discard_reasons,
    }


def _token(claim: ClaimedVideo) -> Params:
    return {"video_id": claim.video_id, "claim_token": claim.claim_token}


def _lease_lost(claim: ClaimedVideo) -> LeaseLost:
    return LeaseLost(f"{claim.video_id}: the claim of attempt {claim.attempt} is no longer valid")


def _list_or_none(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)
