"""The clips that a canary asks: so many of each language, from a few archives each, the same for the same seed."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from lipika.archive import members, metadata
from lipika.audio.polish import polish_segment
from lipika.canary.planning import CLIPS_EACH
from lipika.canary.records import SourceVideo
from lipika.errors import LipikaError, SegmentError, UsageError
from lipika.languages import FIRST_CLASS, find_language
from lipika.log import get_logger
from lipika.models import Clip, HintFrom, SendFormat
from lipika.storage.store import Place

T = TypeVar("T")

log = get_logger(__name__)

_ARCHIVES_PER_LANGUAGE = 3
"""Clips of one archive share voices and a room: a language is not judged by a single one."""
_SPARE = 3
"""Clips polished of all archives together, in quotas, where each gives less than it could: some may be damaged."""
_PEEKS_PER_LANGUAGE = 40
"""Archives without a known language that are opened to find theirs, for each language wanted."""


@dataclass(frozen=True, slots=True)
class SampleArchive:
    """An archive that clips may come from."""

    video_id: str
    source_key: str
    language: str | None
    source_bytes: int | None = None
    language_from: HintFrom = HintFrom.ROW


@dataclass(frozen=True, slots=True)
class SampledClip:
    """One clip to ask; its audio lies in a file until then."""

    video_id: str
    language: str
    clip: Clip
    audio: Path
    sent_format: SendFormat = SendFormat.FLAC


@dataclass(slots=True)
class ClipSample:
    """The clips, those of all languages in turn, so that any first part of them is as mixed as the whole."""

    clips: list[SampledClip] = field(default_factory=list)
    videos: list[SourceVideo] = field(default_factory=list)

    @property
    def not_asked(self) -> int:
        """Clips met in which nothing can be speech: as workers, a canary asks nobody for them."""
        return sum(video.not_asked for video in self.videos)


@dataclass(frozen=True, slots=True)
class Desk:
    """Things that sampling works with."""

    place: Callable[[str], Place]  # of an archive, by its key
    threads: Executor
    folder: Path  # for audio; the caller's, who removes it
    send_format: SendFormat = SendFormat.FLAC
    ask_silence: bool = False  # take clips in which nothing can be speech, too


async def take_sample(candidates: Sequence[SampleArchive], clips: int, seed: int, desk: Desk) -> ClipSample:
    """Up to `clips` clips, the same number of each language that is there.

    A language with too little leaves its part to the others.

    Raises:
        UsageError: none of the archives gives a clip in a known language.
    """
    by_language = await _group_by_language(
        sorted(candidates, key=lambda one: _rank(seed, one.video_id)), desk
    )
    if not by_language:
        raise UsageError(
            "no archive with a known language: give it in metadata.json, in a list, or with lipika queue language"
        )
    sample = ClipSample()
    quota = math.ceil(clips / len(by_language))
    chosen: dict[str, list[SampledClip]] = {}
    for language in sorted(by_language):
        chosen[language] = await _draw_of_language(language, by_language[language], quota, seed, sample, desk)
    first = {language: found[:quota] for language, found in chosen.items()}
    spare = {language: found[quota:] for language, found in chosen.items()}
    sample.clips = [*_take_turns(first), *_take_turns(spare)][:clips]
    if not sample.clips:
        raise UsageError(
            f"no clip could be made of {len(candidates)} archives: lipika run says why, for each"
        )
    return sample


async def _group_by_language(
    candidates: Sequence[SampleArchive], desk: Desk
) -> dict[str, list[SampleArchive]]:
    """Candidates in their order; where the language is unknown the archive's metadata are looked at."""
    found: dict[str, list[SampleArchive]] = defaultdict(list)
    peeks = _PEEKS_PER_LANGUAGE * len(FIRST_CLASS)
    for one in candidates:
        language = given = find_language(one.language)
        weak = not one.language if given is None else one.language_from is HintFrom.DEFAULT
        if weak and peeks > 0:
            peeks -= 1
            language = find_language(await _peek_language(one, desk)) or given
        if language is not None:
            found[language.code].append(one)
    return found


async def _peek_language(candidate: SampleArchive, desk: Desk) -> str | None:
    def peek() -> str | None:
        place = desk.place(candidate.source_key)
        with closing(place.store.open_read(place.key)) as reader:
            for member in members.read_members(reader):
                if isinstance(member, members.Member) and member.metadata is not None:
                    return metadata.language_of(member.metadata.fields())
        return None

    try:
        return await _run_in_thread(desk, peek)
    except LipikaError as error:
        log.warning("archive_skipped", video=candidate.video_id, reason=str(error))
        return None


async def _draw_of_language(
    language: str, candidates: Sequence[SampleArchive], quota: int, seed: int, sample: ClipSample, desk: Desk
) -> list[SampledClip]:
    """Clips of one language: a third of the quota and `CLIPS_EACH` at most from each archive, then what is left."""
    share = min(math.ceil(quota / _ARCHIVES_PER_LANGUAGE), CLIPS_EACH)
    most = min(quota, max(share, math.ceil(_SPARE * quota / len(candidates))))
    taken: list[SampledClip] = []
    left: list[SampledClip] = []
    for candidate in candidates:
        if len(taken) >= quota:
            break
        try:
            video, clips = await _run_in_thread(desk, _reader(candidate, language, most, seed, desk))
        except LipikaError as error:
            log.warning("archive_skipped", video=candidate.video_id, reason=str(error))
            continue
        sample.videos.append(video)
        taken += clips[:share]
        left += clips[share:]
    return [*taken, *left]


def _reader(
    candidate: SampleArchive, language: str, quota: int, seed: int, desk: Desk
) -> Callable[[], tuple[SourceVideo, list[SampledClip]]]:
    def work() -> tuple[SourceVideo, list[SampledClip]]:
        return _clips_of(candidate, language, quota, seed, desk)

    return work


def _clips_of(
    candidate: SampleArchive, language: str, quota: int, seed: int, desk: Desk
) -> tuple[SourceVideo, list[SampledClip]]:
    """Polish segments of one archive, drawn by their names, until there are `quota` clips. Runs in a thread."""
    segments, drawn, told = _draw(candidate, quota, seed, desk)
    says = find_language(told)
    row = find_language(candidate.language) if candidate.language_from is HintFrom.ROW else None
    other = says.code if says is not None and row is not None and says.code != row.code else ""
    clips: list[SampledClip] = []
    polished = made = silent = 0
    for member in drawn:
        if len(clips) >= quota:
            break
        polished += 1
        if isinstance(member, members.BadMember):
            continue
        try:
            found = polish_segment(member.segment, member.data, desk.send_format).clips
        except SegmentError:
            continue
        to_ask = found if desk.ask_silence else [one for one in found if not one.silent]
        made += len(to_ask)
        silent += len(found) - len(to_ask)
        for one in to_ask:
            path = (
                desk.folder / f"{hashlib.sha256(candidate.video_id.encode()).hexdigest()[:16]}_{len(clips)}"
            )
            path.write_bytes(one.sent)
            clips.append(SampledClip(candidate.video_id, language, one.clip, path, one.sent_format))
    size = candidate.source_bytes
    video = SourceVideo(candidate.video_id, language, size, segments, polished, made, other, silent)
    return video, clips


def _draw(
    candidate: SampleArchive, count: int, seed: int, desk: Desk
) -> tuple[int, list[members.Member | members.BadMember], str | None]:
    """(segments in the archive, `count` of them in an order of chance, the language its metadata name).

    No more than those are held in memory.
    """
    place = desk.place(candidate.source_key)
    segments, told = 0, None
    heap: list[tuple[int, int, members.Member | members.BadMember]] = []  # the greatest rank first
    with closing(place.store.open_read(place.key)) as reader:
        for member in members.read_members(reader):
            if isinstance(member, members.Member) and member.metadata is not None:
                told = metadata.language_of(member.metadata.fields())
            if member.kind is not members.MemberKind.SEGMENT:
                continue
            segments += 1
            entry = (-_rank(seed, f"{candidate.video_id}/{member.name}"), segments, member)
            if len(heap) < count:
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
    drawn = [member for _, _, member in sorted(heap, key=lambda entry: (-entry[0], entry[1]))]
    return segments, drawn, told


def _take_turns(by_language: dict[str, list[SampledClip]]) -> Iterable[SampledClip]:
    """One of each language, again and again."""
    longest = max((len(clips) for clips in by_language.values()), default=0)
    for place in range(longest):
        for clips in by_language.values():
            if place < len(clips):
                yield clips[place]


def _rank(seed: int, name: str) -> int:
    """A number of chance that belongs to a name."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big")


async def _run_in_thread(desk: Desk, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(desk.threads, work)
