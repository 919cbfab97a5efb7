"""A long recording cut at speech: pieces of 2 to 30 s that end in pauses, and what is left out between them.

Loudness decides where it can: what is far quieter than speech is a pause. Where no pause comes for long, or speech is
hardly above what else is heard, a detector hears all of it; elsewhere it hears a second here and there, to tell
speech from music with pauses in it. What is left out is long silence, and what the detector hears no speech in for
seconds; where anything is doubtful it stays. Every sample is in one piece or left out once; memory follows a minute
of the recording, whatever its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lipika.audio.decoders import Samples
from lipika.errors import PackingError
from lipika.packing.decode import AudioStream
from lipika.packing.hearing import GAP, PAUSE, HeldSteps, SpeechFinder
from lipika.packing.loudness import STEPS_PER_SECOND, has_pitch, runs_of
from lipika.packing.speech import SpeechDetector, find_detector, hear

Reason = Literal["silence", "music", "noise"]

SHORTEST_S, LONGEST_S = 2.0, 30.0
_CHUNK_S = 10  # read at a time
_AHEAD_S = 60  # looked at before a decision
_PIECE_BYTES = 1 << 26  # of samples: many channels at high rates make shorter pieces

# In steps of 10 ms
_S = STEPS_PER_SECOND
_MARGIN = 30  # of silence that stays with speech
_FULL_PAUSE = 80  # no pause is better than this
_CUT_AFTER = 6 * _S
_FORCED_AFTER = 15 * _S
_SMOOTH = 10  # the quietest place of no pause: of this length
_LOUD_SHARE = 0.3  # less of it loud: silence
_SHORT_REASON = _S  # what is shorter goes with what is left out before it


@dataclass(frozen=True, slots=True, eq=False)
class SpeechPiece:
    """Samples [start_sample, end_sample) of a recording, with speech in them as far as anyone can tell.

    `sure`: by its loudness, and it ends in a pause; else a detector has heard all of some stretch of it, or should
    have and there is none, or there was no pause to cut in.
    """

    start_sample: int
    end_sample: int
    samples: Samples  # (frames, channels)
    sure: bool


@dataclass(frozen=True, slots=True)
class LeftOutSpan:
    """Samples [start_sample, end_sample) of a recording that nobody speaks in."""

    start_sample: int
    end_sample: int
    reason: Reason


def cut(
    stream: AudioStream, detector: SpeechDetector | Literal["found"] | None = "found"
) -> Iterator[SpeechPiece | LeftOutSpan]:
    """All of a recording, in order. Without a detector (None; or none found) loudness decides alone, and no music is
    left out: whoever calls says `speech.NO_DETECTOR` once.

    Raises:
        PackingError: as `AudioStream.blocks` does, after all that came before it has been given.
    """
    cutter = _Cutter(stream, find_detector() if detector == "found" else detector)
    held: LeftOutSpan | None = None
    for part in cutter.parts():
        if isinstance(part, LeftOutSpan) and held is not None and held.reason == part.reason:
            held = LeftOutSpan(held.start_sample, part.end_sample, held.reason)
            continue
        if held is not None:
            yield held
        held = part if isinstance(part, LeftOutSpan) else None
        if isinstance(part, SpeechPiece):
            yield part
    if held is not None:
        yield held
    if cutter.error is not None:
        raise cutter.error


class _Cutter:
    """The walk over a recording."""

    def __init__(self, stream: AudioStream, detector: SpeechDetector | None) -> None:
        self.error: PackingError | None = None
        self._held = HeldSteps(stream.rate)
        self._listener = SpeechFinder(self._held, detector)
        self._chunks = self._read(stream)
        width = stream.channels * (2 if stream.depth == 16 else 4) * stream.rate
        self._longest = int(min(LONGEST_S, _PIECE_BYTES / width) * _S)
        self._shortest = int(SHORTEST_S * _S)
        self._ahead = min(_AHEAD_S * _S, 2 * self._longest + GAP)

    def parts(self) -> Iterator[SpeechPiece | LeftOutSpan]:
        more = True
        while more:
            while more and self._held.end < self._ahead:
                chunk = next(self._chunks, None)
                more = chunk is not None
                if chunk is not None:
                    self._held.add(chunk)
            if self._held.end:
                self._listener.look()
                yield from self._decide(final=not more)
        if self._held.rest and not self._held.first:
            yield LeftOutSpan(0, self._held.rest, "silence")

    def _read(self, stream: AudioStream) -> Iterator[Samples]:
        """Chunks of whole steps; the last may be of any length."""
        size = _CHUNK_S * _S * self._held.step
        blocks: list[Samples] = []
        have = 0
        try:
            for block in stream.blocks():
                blocks.append(block)
                have += len(block)
                while have >= size:
                    whole = np.concatenate(blocks)
                    yield whole[:size]
                    blocks, have = [whole[size:]], have - size
        except PackingError as error:
            self.error = error
        if have:
            yield np.concatenate(blocks)

    def _decide(self, final: bool) -> Iterator[SpeechPiece | LeftOutSpan]:
        """As far as what is held allows; all of it when it is `final`."""
        at, end = 0, self._held.end
        while at < end:
            sounds = np.flatnonzero(self._listener.sound[at:])
            if not len(sounds):
                until = end if final else end - _S
                if final or until - at >= GAP:
                    yield from self._leave_out(at, until)
                    at = until
                break
            begin = at + int(sounds[0])
            if begin - at >= GAP - _MARGIN:
                start = begin - _MARGIN
                if final:
                    start = max(min(start, end - self._shortest), at)
                yield from self._leave_out(at, start)
                at = start
            if not final and end - at < self._longest + GAP:
                break
            stop, clean = self._stop(at, end)
            if not self._listener.speaks(at, stop):
                self._listener.hear(at, stop)
                self._listener.judge()
                continue
            yield self._piece(at, stop, clean)
            at = stop
        self._held.drop(at)

    def _stop(self, at: int, end: int) -> tuple[int, bool]:
        """The end of the piece that begins at step `at`, and whether it lies in a pause."""
        sound = self._listener.sound
        gap = next(iter(runs_of(~sound[at:], GAP)), None)
        begin = 0 if gap is None or gap[0] else gap[1]  # a piece may begin with some silence
        if begin:
            gap = next((run for run in runs_of(~sound[at:], GAP) if run[0] >= begin), None)
        stretch, room = (end - at, end - at) if gap is None else gap
        if stretch <= self._longest - _MARGIN:
            return at + min(max(stretch + _MARGIN, self._shortest), room), True
        after = min(_CUT_AFTER, self._longest // 2)
        until = min(self._longest, stretch - self._shortest)
        pauses = []
        for first, last in runs_of(~sound[at : at + self._longest], PAUSE):
            middle = self._quietest(at + first, at + last) - at
            if after <= middle <= until:
                pauses.append((min(last - first, _FULL_PAUSE), middle))
        if pauses:
            return at + max(pauses)[1], True
        return self._quietest(at + min(_FORCED_AFTER, self._longest // 2), at + until), False

    def _quietest(self, first: int, last: int) -> int:
        """The step in the middle of the quietest tenth of a second: to the ear, where it has been asked."""
        heard = self._held.heard[first:last]
        power = self._held.power[first:last].astype(np.float64)
        if not np.isnan(heard).any():
            power = power / max(float(power.max()), 1.0) + 10 * heard
        size = min(_SMOOTH, len(power))
        means = np.convolve(power, np.ones(size), "valid")
        equals = np.flatnonzero(means <= means.min() * (1 + 1e-9))
        return first + int(equals[len(equals) // 2]) + size // 2

    def _piece(self, first: int, last: int, clean: bool) -> SpeechPiece:
        held = self._held
        start, end = self._places(first, last)
        doubted = self._listener.doubted[first:last] | ~np.isnan(held.heard[first:last])
        return SpeechPiece(start, end, held.samples(first, last), sure=clean and not doubted.any())

    def _leave_out(self, first: int, last: int) -> Iterator[LeftOutSpan]:
        """The steps [first, last), by what is in them."""
        parts: list[tuple[int, int, Reason]] = []
        other, loud = self._listener.other[first:last], self._listener.loud[first:last]
        for start, stop in runs_of(other):
            reason: Reason = (
                "silence"
                if loud[start:stop].mean() < _LOUD_SHARE
                else self._sound_of(first + start, first + stop)
            )
            parts.append((first + start, first + stop, reason))
        at = first
        for start, stop, reason in parts:
            if start - at >= _SHORT_REASON:
                yield self._left_out(at, start, "silence")
                at = start
            yield self._left_out(at, stop, reason)
            at = stop
        if at < last:
            short = parts and last - at < _SHORT_REASON
            yield self._left_out(at, last, parts[-1][2] if short else "silence")

    def _sound_of(self, first: int, last: int) -> Reason:
        """Of some seconds from the middle."""
        middle, reach = (first + last) // 2, min((last - first) // 2, 5 * _S)
        samples = self._held.samples(middle - reach, middle + reach)
        return "music" if has_pitch(hear(samples, self._held.rate, -23.0)) else "noise"

    def _left_out(self, first: int, last: int, reason: Reason) -> LeftOutSpan:
        return LeftOutSpan(*self._places(first, last), reason)

    def _places(self, first: int, last: int) -> tuple[int, int]:
        """The samples at which the steps [first, last) begin and end."""
        before = self._held.first * self._held.step
        return before + self._held.sample(first), before + self._held.sample(last)
