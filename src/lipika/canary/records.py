"""Records of a canary: its clips, and the outcome of each in each arm. Plain values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lipika.models import Usage

LOOP_CODES = frozenset({"loop"})
"""Findings that mean the text goes round in circles."""
CUT_KIND = "truncated"
"""The failure of an answer that ran into its cap: what a loop looks like that does not end."""


@dataclass(frozen=True, slots=True)
class SourceVideo:
    """One archive that clips were taken from. Counts are of the whole archive as far as it was read."""

    video_id: str
    language: str  # code; empty: unknown
    source_bytes: int | None
    segments: int
    segments_polished: int  # of which clips were made, or nothing usable came
    clips_made: int  # to be asked for
    says: str = ""  # the language that the archive names where its row names another
    not_asked: int = 0  # clips besides those, in which nothing can be speech

    @property
    def clips_estimated(self) -> float:
        """Clips of the whole archive that are asked for, at the rate of the segments that were polished."""
        if not self.segments_polished:
            return 0.0
        return self.segments * self.clips_made / self.segments_polished


@dataclass(frozen=True, slots=True)
class Asked:
    """One clip in one arm: every attempt summed up, the first answer as it was, and how it ended.

    `first_*` is what the model said before anything was asked again: production repairs part of it, and pays for it.
    """

    arm: str
    video_id: str
    segment_file: str
    language: str  # the hint
    duration_ms: int
    status: str  # transcribed, no_speech, failed
    provider: str
    model_version: str
    requests: int
    rate_limited: int
    failure_kinds: tuple[str, ...]  # of all attempts that failed otherwise
    latencies_ms: tuple[float, ...]  # of attempts that were answered
    cache_hits: int  # answered attempts with cached tokens
    usage: Usage
    cost_usd: float
    first_findings: tuple[str, ...]
    first_failure: str  # kind; empty: the first answer could be read
    quality_score: float | None
    findings: tuple[str, ...]  # of the answer that was kept
    lanes: tuple[str, ...]  # open ones
    detected_language: str
    transcription: str
    together: int = 1  # clips of the request that it was asked in first
    joint: str = ""  # name of that request, where there were several
    joint_requests: int = 0  # of `requests`: those with others in them
    joint_faults: tuple[str, ...] = ()  # what was odd about its answer among others (`several.ClipFault`)
    seconds_by_ear: float | None = None  # as the answer among others has them
    texts_before: tuple[str, ...] = ()  # of readable answers that were not kept
    voice: str = ""  # whose text it was read a second time with: an arm, a voter, its own retry
    other_text: str = ""  # that text
    reading_usd: float = 0.0  # of `cost_usd`: the second reading's
    reference: str = ""  # as a person has read it; empty where nobody has
    went_up: bool = False  # in a cascade: a better model was asked, too

    @property
    def requests_each(self) -> float:
        """Requests, those that were shared by its part of them."""
        return self.joint_requests / self.together + self.requests - self.joint_requests

    @property
    def kept_at_first(self) -> bool:
        """True if the first answer ended it."""
        return self.requests - self.rate_limited == 1

    @property
    def asked_alone(self) -> bool:
        """True if it was asked among others, and then by itself."""
        return 0 < self.joint_requests < self.requests

    @property
    def looped(self) -> bool:
        """True if the first answer went round in circles, up to its cap or not."""
        return bool(LOOP_CODES & set(self.first_findings)) or self.first_failure == CUT_KIND


@dataclass(frozen=True, slots=True)
class Stopped:
    """An arm that ended before its clips did, and why."""

    arm: str
    reason: str


@dataclass(frozen=True, slots=True)
class CanaryRun:
    """The record of one run, before anything is computed from it. `ended_early` says why, where it did."""

    run_id: str
    started_at: datetime
    seconds: float
    model_id: str
    simulated: bool
    seed: int
    clips_wanted: int
    max_usd: float
    videos: tuple[SourceVideo, ...]
    asked: tuple[Asked, ...]
    stopped: tuple[Stopped, ...]
    ended_early: str
    usd: float  # of all requests, those of clips that did not end too
    not_asked: int = 0  # clips met that nobody was asked for: nothing in them can be speech
    lag_ms: float = 0.0  # how late this machine was in what it does by the clock, 95th percentile
