"""Progress of the queue: slow and failed videos, and the time when it will be empty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lipika.db.connection import Database
from lipika.db.queries import load
from lipika.db.queue import QueuedVideo
from lipika.db.queue_counts import QueueCounts, count_videos
from lipika.forecast.days import MoneySoFar, seconds_over_days
from lipika.wording import money

_QUERIES = load("stats_queue")


@dataclass(frozen=True, slots=True)
class LanguageProgress:
    """Videos of one language by state, and their sums. Clip sums of videos at work are as of their last report."""

    language: str
    videos: int
    pending: int
    held: int
    claimed: int
    processing: int
    done: int
    failed: int
    segments: int
    discarded: int
    parts_discarded: int
    clips: int
    transcribed: int
    no_speech: int
    failed_clips: int

    @property
    def share_done(self) -> float:
        return self.done / self.videos


@dataclass(frozen=True, slots=True)
class FailureReason:
    """Failed videos by `error_code`."""

    reason: str
    videos: int


@dataclass(frozen=True, slots=True)
class HeldVideos:
    """Videos that wait and that nobody may claim. `reason`: would_pay_again, or empty where a person holds them."""

    reason: str
    videos: int

    @property
    def why(self) -> str:
        """The reason, after their number."""
        if self.reason == "would_pay_again":
            return "by workers: their answers were paid for under other settings, and would be paid for again"
        return "by a person"

    @property
    def way_out(self) -> str:
        if self.reason == "would_pay_again":
            return "ask as before; or agree with PAY_AGAIN=1 for workers, then lipika queue release"
        return "lipika queue release VIDEO"


@dataclass(frozen=True, slots=True)
class QueuePace:
    """The work that is left, and its pace. Held and failed videos are not counted."""

    videos_left: int  # pending or at work
    videos_left_unsized: int  # pending, and nobody knows how many segments they have
    segments_left: int  # of the other pending ones
    videos_at_work: int
    clips_at_work_ended: int
    videos_done: int
    segments_done: int
    clips_done: int
    clips_lately: int  # in the last ten whole minutes
    minutes_lately: int  # of these, those with any sample
    clips_last_minute: int
    sending: bool = (
        True  # whether any live worker has sent something in the last minute, or waits for an answer
    )
    usd_lately: float = 0.0  # in the same minutes
    usd_day_cap: float | None = None  # of the providers in use; None: one of them has none
    usd_day_left: float = 0.0  # of it, today
    second_of_day: float = 0.0  # UTC

    @property
    def clips_per_video(self) -> float | None:
        """Mean over the done videos; None before the first."""
        return self.clips_done / self.videos_done if self.videos_done else None

    @property
    def clips_left(self) -> float | None:
        """Expected clips: of a sized video by its segments, of another as many as a done one had. None: no idea."""
        per_video = self.clips_per_video
        if not self.videos_left:
            return 0.0
        if per_video is None:
            return None
        per_segment = self.clips_done / self.segments_done if self.segments_done else 1.0
        unsized = self.videos_left_unsized * per_video
        at_work = max(self.videos_at_work * per_video - self.clips_at_work_ended, 0.0)
        return self.segments_left * per_segment + unsized + at_work

    @property
    def clips_per_minute(self) -> float:
        """Of the last ten minutes; of the last one while there are not two whole ones."""
        return self.clips_lately / self.minutes_lately if self.minutes_lately > 1 else self.clips_last_minute

    @property
    def eta_s(self) -> float | None:
        """Seconds until the queue is empty at this speed, and within the day's dollar cap.

        None when that cannot be said, or nothing is sent: the speed of the last minutes is then one of the past.
        """
        left, speed = self.clips_left, self.clips_per_minute
        if left == 0:
            return 0.0
        if left is None or speed <= 0 or not self.sending:
            return None
        usd = left * self._usd_per_clip
        if self.usd_day_cap is None or usd <= self.usd_day_left:
            return left / speed * 60
        so_far = MoneySoFar(self.usd_day_cap - self.usd_day_left, 0.0, self.second_of_day)
        seconds = seconds_over_days(usd, speed / 60 * self._usd_per_clip, self.usd_day_cap, so_far)
        return seconds if math.isfinite(seconds) else None

    @property
    def _usd_per_clip(self) -> float:
        return self.usd_lately / self.clips_lately if self.clips_lately else 0.0

    @property
    def _cap_in_words(self) -> str:
        """The effect of the day's dollar cap in words, where it has one."""
        cap, left = self.usd_day_cap, self.clips_left
        if cap is None or not left or left * self._usd_per_clip <= self.usd_day_left:
            return ""
        return f", within {money(cap)} a day, of which {money(self.usd_day_left)} are left today"

    @property
    def basis(self) -> str:
        """The source of the estimate, in words."""
        if not self.videos_left:
            return "nothing is left to do"
        if self.clips_per_video is None:
            return "unknown until the first video is done"
        if not self.clips_per_minute or not self.sending:
            spent = self.usd_day_cap is not None and self.usd_day_left <= 0
            return f"unknown while nothing is sent{': the day has used up its dollars' if spent else ''}"
        span = f"the last {self.minutes_lately} minutes" if self.minutes_lately > 1 else "the last minute"
        return (
            f"{self.videos_left:,} videos left, about {self.clips_left or 0:,.0f} clips"
            f" ({self.clips_per_video:,.1f} a video so far),"
            f" at {self.clips_per_minute:,.0f} clips a minute over {span}{self._cap_in_words}"
        )


@dataclass(frozen=True, slots=True)
class ActiveVideo:
    """A video that a worker holds. `expired`: its lease has run out, anybody may take it."""

    video_id: str
    status: str
    language: str | None
    claimed_by: str
    claimed_at: datetime
    lease_expires_at: datetime
    expired: bool
    held_s: float
    attempts: int
    max_attempts: int
    segment_count: int | None
    clip_count: int
    clips_ended: int


@dataclass(frozen=True, slots=True)
class ActiveKey:
    """The place of a video at work in the order of the list."""

    claimed_at: datetime
    video_id: str


@dataclass(frozen=True, slots=True)
class FailedVideo:
    """A video that has been given up, and why."""

    video_id: str
    language: str | None
    claimed_by: str | None
    claimed_at: datetime | None
    attempts: int
    max_attempts: int
    segment_count: int | None
    clip_count: int
    clips_ended: int
    error_code: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class _Videos:
    videos: int


class QueueStats:
    """Reads `queue_counts`, and pages of `video_queue` by index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def counts(self, only: Sequence[str] | None = None) -> QueueCounts:
        return await count_videos(self._database, only)

    async def languages(self) -> list[LanguageProgress]:
        return await self._database.rows(_QUERIES["languages"], {}, LanguageProgress)

    async def reasons(self) -> list[FailureReason]:
        """The reasons why videos failed, the commonest reason first."""
        return await self._database.rows(_QUERIES["reasons"], {}, FailureReason)

    async def count_held(self) -> list[HeldVideos]:
        """Videos that are held, by who holds them and why, the most first."""
        return await self._database.rows(_QUERIES["held"], {}, HeldVideos)

    async def list_held(self, *, limit: int = 50, after: str = "") -> list[QueuedVideo]:
        """Videos that are held, by id; `after` is the last id of the page before."""
        return await self._database.rows(_QUERIES["list_held"], {"limit": limit, "after": after}, QueuedVideo)

    async def search(self, part: str, *, limit: int = 50, beginning: bool = False) -> list[QueuedVideo]:
        """Videos whose id holds `part`, or begins with it, by id; upper and lower case are told apart.

        Without `beginning` all ids are read: 0.1 s for a million.
        """
        literal = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        pattern = f"{literal}%" if beginning else f"%{literal}%"
        return await self._database.rows(
            _QUERIES["search"], {"limit": limit, "pattern": pattern}, QueuedVideo
        )

    async def outlook(self) -> QueuePace:
        return await self._database.row(_QUERIES["outlook"], {}, QueuePace)

    async def slowest(
        self, *, limit: int = 20, after: ActiveVideo | ActiveKey | None = None
    ) -> list[ActiveVideo]:
        """Videos at work, those held longest first; `after` is the last one of the page before."""
        params = {
            "limit": limit,
            "after_at": after.claimed_at if after else None,
            "after_id": after.video_id if after else None,
        }
        return await self._database.rows(_QUERIES["slowest"], params, ActiveVideo)

    async def list_failed(
        self, *, limit: int = 50, after: str = "", reason: str | None = None
    ) -> list[FailedVideo]:
        """Failed videos by id; `after` is the last id of the page before."""
        params = {"limit": limit, "after": after, "reason": reason}
        return await self._database.rows(_QUERIES["failed"], params, FailedVideo)

    async def nothing_left(self) -> int:
        """The number of done videos without any transcript."""
        return (await self._database.row(_QUERIES["nothing_left"], {}, _Videos)).videos
