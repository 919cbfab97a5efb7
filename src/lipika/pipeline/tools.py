"""Tools that all videos of a worker share, and the counts that they keep together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lipika import validation
from lipika.alignment.stage import AlignmentStage
from lipika.engine.engine import Engine
from lipika.models import ClaimedVideo, ClipResult, ClipStatus
from lipika.pipeline.byte_budget import ByteBudget
from lipika.pipeline.known_answers import KnownAnswers
from lipika.pipeline.opinion_desk import OpinionDesk
from lipika.pipeline.polishers import Polishers
from lipika.pipeline.reuse import AskedAs
from lipika.pipeline.tombstones import ErasedAudio
from lipika.pipeline.troubles import Troubles
from lipika.validation.bands import DEFAULT_BANDS


class Keeper(Protocol):
    """Makes results durable, soon. Each is given as a document, too."""

    async def keep(self, video: ClaimedVideo, result: ClipResult, document: bytes) -> None:
        """Take one result; wait while there is no room for more."""

    def take(self, video: ClaimedVideo, result: ClipResult, document: bytes) -> None:
        """The same at once, wherever the video is by now; never fails."""

    async def settle(self, video: ClaimedVideo) -> Mapping[str, ClipResult]:
        """Write all rows of the video; returns by file those that were refused, as they were written instead."""


TellLanguage = Callable[[ClaimedVideo, str], Awaitable[None]]
"""Writes down what an archive says of its language."""


async def _tell_nobody(video: ClaimedVideo, language: str) -> None:
    del video, language


@dataclass(slots=True)
class Counts:
    """Counts of what has happened to videos so far, over all of them; a display may look at it at any time."""

    segments: int = 0
    clips: int = 0
    discarded: int = 0
    transcribed: int = 0
    no_speech: int = 0
    failed: int = 0
    reused: int = 0
    not_asked: int = 0  # of those without speech
    audio_ms: int = 0
    spooled_bytes: int = 0  # of clips on disk, to be packed
    waits_for: str = ""  # what no work can go on without, in words
    unwritable: str = ""  # why results cannot be stored at the moment, in words: then nothing is asked

    def end(self, result: ClipResult) -> None:
        """Count the end of a clip."""
        self.audio_ms += result.clip.duration_ms
        self.transcribed += result.status is ClipStatus.TRANSCRIBED
        self.no_speech += result.status is ClipStatus.NO_SPEECH
        self.failed += result.status is ClipStatus.FAILED
        self.not_asked += not result.provenance.asked


@dataclass(slots=True)
class RateLimits:
    """Limits of speech rates. They may change between two clips, once the fleet has learned others; a verdict is made
    under one of them, and says which.
    """

    bands: validation.Bands = DEFAULT_BANDS


@dataclass(frozen=True, slots=True)
class Tools:
    """The parts that a pipeline works with; shared by all videos of a worker."""

    worker_id: str
    engine: Engine
    keeper: Keeper
    room: ByteBudget  # polished audio in memory
    threads: Executor  # for blocking reads
    polishers: Polishers
    spool_dir: Path
    asked_as: AskedAs
    known: KnownAnswers  # to the same audio, of any video
    counts: Counts
    limits: RateLimits = field(default_factory=RateLimits)  # how fast each language is spoken
    disk_wait_s: float = 30.0  # while the disk is full; then a video gives up its own room
    aligner: AlignmentStage | None = None  # where a second recogniser listens, too
    opinions: OpinionDesk | None = None  # where another model is asked for some clips, too
    troubles: Troubles = field(default_factory=Troubles)  # what went wrong with single clips
    erased: ErasedAudio = field(default_factory=ErasedAudio)  # what nobody may use any more
    tell_language: TellLanguage = _tell_nobody  # what an archive says of itself
    ask_silence: bool = False  # for clips in which nothing can be speech, too
    pay_again: bool = False  # for answers that do not fit how clips are asked now
