"""The reading of one archive: polished clips, their names, and what of the archive cannot be used."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from typing import TypeVar

from lipika.archive.erased import ERASED_NAME, NOTHING_ERASED, REASON, ErasedNames, leave_out
from lipika.archive.hints import language_in_metadata
from lipika.archive.members import BadMember, Member, MemberKind, read_members
from lipika.archive.metadata import Metadata
from lipika.audio.polish import PolishedSegment
from lipika.languages import find_language
from lipika.log import get_logger
from lipika.models import Accounting, ClaimedVideo, Discard, HintFrom, PolishedClip, SegmentName
from lipika.pipeline.tools import Tools
from lipika.storage.store import Place

T = TypeVar("T")

log = get_logger(__name__)

LookUpErased = Callable[[Sequence[str]], Awaitable[set[str]]]
"""Finds those of some digests that are of erased audio, however long the database is away."""

_MOST_DISCARDS = 10_000  # listed one by one, a few hundred bytes each; all are counted
_NOTES_LOGGED = 20
_HANDFUL, _HANDFUL_BYTES = 8, 1 << 20
_HANDFUL_EMPTY = 512  # of what holds nothing to polish


async def find_hint(video: ClaimedVideo, source: Place, tools: Tools) -> str | None:
    """The language hint: forced by a person, else of a list or table, else the archive's own, else a default.

    What the archive says goes back to the queue. Only when it comes late is the archive read twice.
    """
    given = hint = find_language(video.language)
    if given is None or video.language_from.yields:
        told = find_language(
            await run_blocking(tools, lambda: language_in_metadata(source.store, source.key))
        )
        hint = told or given
        if told is not None and (told != given or video.language_from is HintFrom.DEFAULT):
            await tools.tell_language(video, told.code)
    return hint.code if hint else None


@dataclass(slots=True)
class ClipReader:
    """One archive on its way through polishing: its clips in order, and what there is to say of it in the end."""

    video_id: str
    tools: Tools
    accounting: Accounting
    erased: ErasedNames = NOTHING_ERASED  # of this video
    look_up_audio: LookUpErased | None = None  # patiently; None: nothing was ever erased
    metadata: Metadata = Metadata()  # the archive's own, as it came
    discards: list[Discard] = field(default_factory=list)
    unlisted: int = 0  # discards beyond those
    notes: int = 0  # what is worth knowing of the archive
    too_long_names: int = 0  # segments whose names say ten times their length
    names: set[SegmentName] = field(default_factory=set)  # of clips
    segments: set[SegmentName] = field(default_factory=set)

    async def read_clips(self, source: Place) -> AsyncGenerator[PolishedClip, None]:
        """Polished clips in the archive's order."""
        async with self.tools.polishers.readers, aclosing(self._polish_segments(source)) as segments:
            async for segment in segments:
                polished = await self._leave_out_erased(segment)
                for clip in self._count(polished):
                    yield clip

    async def _leave_out_erased(self, polished: PolishedSegment) -> PolishedSegment:
        """The segment without what people wanted to be erased: counted, and nobody is named."""
        gone = {clip.clip.name for clip in polished.clips if self.erased.covers(clip.clip.name)}
        digests = {clip.clip.name: {clip.clip.audio_digest, clip.other_digest} for clip in polished.clips}
        alike = sorted(filter(self.tools.erased.may_be, set[str]().union(*digests.values())))
        if alike and self.look_up_audio is not None:
            found = await self.look_up_audio(alike)
            gone |= {name for name, of_clip in digests.items() if of_clip & found}
        if not gone and not (
            self.erased and any(self.erased.names(one.segment_file) for one in polished.discards)
        ):
            return polished
        kept = tuple(clip for clip in polished.clips if clip.clip.name not in gone)
        erased = Discard(ERASED_NAME, REASON, "erased, and it does not come back", whole_segment=not kept)
        discards = (
            replace(one, segment_file=ERASED_NAME, message="", start_ms=None, end_ms=None)
            if self.erased.names(one.segment_file)
            else one
            for one in polished.discards
        )
        return replace(polished, clips=kept, discards=(*discards, *[erased] * len(gone)))

    def own_metadata(self) -> Metadata:
        """The archive's own metadata, without those who are erased."""
        return leave_out(self.metadata, self.erased.names) if self.erased else self.metadata

    async def _polish_segments(self, source: Place) -> AsyncGenerator[PolishedSegment, None]:
        """Handfuls of segments are polished beside this event loop: a few at a time, over all videos together."""
        turns = self.tools.polishers.turns
        pending: deque[asyncio.Future[list[PolishedSegment]]] = deque()
        reader = await run_blocking(self.tools, lambda: source.store.open_read(source.key))
        with closing(reader):
            handfuls = _handfuls(read_members(reader))
            try:
                while (work := await self._next_handful(handfuls)) is not None:
                    pending.append(work)
                    # Where others wait too, or memory is dear, bring ours to an end before taking more.
                    while pending and (turns.locked() or self.tools.polishers.has_large):
                        for polished in await pending[0]:
                            yield polished
                        pending.popleft()
                        turns.release()
                while pending:
                    for polished in await pending[0]:
                        yield polished
                    pending.popleft()
                    turns.release()
            finally:
                for work in pending:
                    work.cancel()
                    turns.release()

    async def _next_handful(
        self, handfuls: Iterator[list[Member | BadMember]]
    ) -> asyncio.Future[list[PolishedSegment]] | None:
        """Wait for a turn and begin with the next handful; None at the end of the archive."""
        polishers = self.tools.polishers
        await polishers.turns.acquire()
        try:
            members = await run_blocking(self.tools, lambda: next(handfuls, None))
            if members is not None:
                return polishers.polish(list(filter(self._is_segment, members)))
        except BaseException:
            polishers.turns.release()
            raise
        polishers.turns.release()
        return None

    def _is_segment(self, member: Member | BadMember) -> bool:
        """Count a segment; note metadata and what cannot be used."""
        if member.kind is MemberKind.SEGMENT:
            self.accounting.segments += 1
            self.tools.counts.segments += 1
            if isinstance(member, Member) and not self.erased.covers(member.segment):
                self.segments.add(member.segment)
            return True
        if isinstance(member, BadMember):
            self._note(member)
        elif member.metadata is not None:
            self.metadata = member.metadata
        return False

    def _note(self, member: BadMember) -> None:
        """Note what costs no segment, and what a person should know of the archive."""
        if member.code == "ignored":
            return
        self.notes += 1
        if self.notes <= _NOTES_LOGGED:
            log.warning("archive_note", video=self.video_id, code=member.code, reason=member.message)
        self.list_discards(Discard(member.name, member.code, member.message, whole_segment=False))

    def list_discards(self, *discards: Discard) -> None:
        """Remember what went no further; of an archive of rubbish the first ones, and how many more there are."""
        listed = discards[: max(0, _MOST_DISCARDS - len(self.discards))]
        self.discards.extend(listed)
        self.unlisted += len(discards) - len(listed)

    def all_discards(self) -> tuple[Discard, ...]:
        if not self.unlisted:
            return tuple(self.discards)
        told = f"{self.unlisted:,} more are counted by their reasons and not listed"
        return (*self.discards, Discard("(more)", "not_listed", told, whole_segment=False))

    def _count(self, polished: PolishedSegment) -> Iterator[PolishedClip]:
        if polished.trouble is not None:
            self.tools.troubles.note(self.video_id, polished.discards[0].segment_file, polished.trouble)
        self.list_discards(*polished.discards)
        self.too_long_names += _has_times_in_ms(polished)
        self.accounting.add_polished(len(polished.clips), polished.discards)
        self.tools.counts.discarded += not polished.clips
        return map(self._name_uniquely, polished.clips)

    def _name_uniquely(self, polished: PolishedClip) -> PolishedClip:
        """No two clips of a video share a name: overlapping segments may polish to the same span."""
        name = polished.clip.name
        while name in self.names:
            name = replace(name, end_cs=name.end_cs + 1)
        self.names.add(name)
        if name == polished.clip.name:
            return polished
        clip = replace(polished.clip, name=name, flags=(*polished.clip.flags, "renamed"))
        return replace(polished, clip=clip)

    def note_doubtful_names(self) -> None:
        """Names in milliseconds read as centiseconds shift everything that rests on a video's clock."""
        if self.too_long_names * 2 <= len(self.segments) or self.too_long_names < 2:
            return
        told = (
            f"{self.too_long_names} of {len(self.segments)} segments are a tenth as long as their names say: the"
            " times look like milliseconds, and centiseconds are expected; if so, drop the last digit of both"
        )
        self._note(BadMember("(names of segments)", "times_in_ms", told, MemberKind.OTHER))


async def run_blocking(tools: Tools, work: Callable[[], T]) -> T:
    """The result of `work`, which blocks."""
    return await asyncio.get_running_loop().run_in_executor(tools.threads, work)


def _handfuls(
    members: Iterator[Member | BadMember],
) -> Iterator[list[Member | BadMember]]:
    """Members in groups worth a thread's time; what was read before an error comes before it."""
    group: list[Member | BadMember] = []
    size = full = 0
    error: Exception | None = None
    try:
        for member in members:
            group.append(member)
            held = len(member.data) if isinstance(member, Member) else 0
            size, full = size + held, full + bool(held)
            if size >= _HANDFUL_BYTES or full >= _HANDFUL or len(group) >= _HANDFUL_EMPTY:
                yield group
                group, size, full = [], 0, 0
    except Exception as reason:
        error = reason
    if group:
        yield group
    if error is not None:
        raise error


def _has_times_in_ms(polished: PolishedSegment) -> bool:
    """True if a segment lasts about a tenth of what its name says."""
    ends = [clip.clip.original_end_ms for clip in polished.clips]
    if not ends:
        return False
    name = polished.clips[0].clip.segment
    ends += [discard.end_ms for discard in polished.discards if discard.end_ms is not None]
    return 0.09 <= (max(ends) - name.start_ms) / (name.end_ms - name.start_ms) <= 0.11
