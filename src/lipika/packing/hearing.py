"""A minute of a recording, and what is known of each 10 ms of it: loud or not, speech or something else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lipika.audio.decoders import Samples
from lipika.audio.levels import power_of
from lipika.packing.loudness import STEPS_PER_SECOND, runs_of, silence_of, step_powers, widen, without_clicks
from lipika.packing.speech import DETECTOR_FRAME, DETECTOR_RATE_HZ, SpeechDetector, hear

_S = STEPS_PER_SECOND
GAP = 3 * _S  # steps without speech; more of them are left out
PAUSE = 15  # steps: shorter is no pause

_PAST_S = 120  # what silence is, is measured on this much before as well
_NO_PAUSE = 8 * _S  # a sound that goes on for so long is heard by the detector
_NEAR_DB = 13.0  # speech no further above silence: loudness is no judge
_FLAT = 10.0  # times its quiet tenth: a long silence with louder parts than this in it may be faint speech
_FAINT_SHARE = 0.97  # of it is no louder: less is a chair that creaks
_FAINT = power_of(-75.0)
_SPOT = 48  # steps
_LEAD, _SPOT_LEAD = 50, 20  # steps heard before what is asked about
_SPOTS = (0.25, 0.75)  # of the loud steps of a piece
_SPEAKS, _SPEAKS_STEPS = 0.5, 9  # in a spot: clear speech
_HEARD = 0.3  # probability of speech from which on it is one
_WORD, _CLEARLY = 10, 0.7  # a shorter one than these steps only where it is clear
_SILENT = 0.15  # between words
_BETWEEN_WORDS = 20  # steps
_AROUND = _S  # of what the detector hears: stays
_OTHER = 4 * _S  # shorter stretches without speech stay


class HeldSteps:
    """Samples that have been read and not been given, with what is known of each step of 10 ms."""

    def __init__(self, rate: int) -> None:
        self.rate, self.step = rate, rate // STEPS_PER_SECOND
        self.first = 0  # the step that the held samples begin with
        self.rest = 0  # samples after the last whole step; at the end alone
        self.power = np.empty(0, np.int64)
        self.past = np.empty(0, np.int64)
        self.heard = np.empty(0, np.float32)  # probability of speech, NaN where nobody has listened
        self._chunks: list[Samples] = []

    def add(self, chunk: Samples) -> None:
        power = step_powers(chunk, self.step)
        self.rest = len(chunk) - len(power) * self.step
        self.power = np.concatenate((self.power, power))
        self.heard = np.concatenate((self.heard, np.full(len(power), np.nan, np.float32)))
        self._chunks.append(chunk)

    def sample(self, at: int) -> int:
        """The first sample of a step; that of the end is after the last sample, where there is no more to come."""
        return at * self.step + (self.rest if at == self.end else 0)

    def samples(self, start: int, end: int) -> Samples:
        """Of the steps [start, end), counted from the first that is held."""
        first, last, at, found = self.sample(start), self.sample(end), 0, []
        for chunk in self._chunks:
            if at < last and at + len(chunk) > first:
                found.append(chunk[max(first - at, 0) : last - at])
            at += len(chunk)
        return found[0] if len(found) == 1 else np.concatenate(found)

    @property
    def end(self) -> int:
        """The number of steps."""
        return len(self.power)

    def drop(self, steps: int) -> None:
        """Forget the first ones."""
        self.past = np.concatenate((self.past, self.power[:steps]))[-_PAST_S * _S :]
        self.power, self.heard = self.power[steps:], self.heard[steps:]
        self.first += steps
        left = steps * self.step
        while self._chunks and left >= len(self._chunks[0]):
            left -= len(self._chunks.pop(0))
        if left:
            self._chunks[0] = self._chunks[0][left:].copy()


class SpeechFinder:
    """Finds the steps of `held` that are pauses, and those that hold something else than speech."""

    def __init__(self, held: HeldSteps, detector: SpeechDetector | None) -> None:
        self.quiet = self.other = self.loud = self.doubted = np.empty(0, np.bool_)
        self._held = held
        self._detector = detector
        self._speech_dbfs = 0.0

    @property
    def sound(self) -> NDArray[np.bool_]:
        """Steps that stay."""
        return ~(self.quiet | self.other)

    def look(self) -> None:
        """Anew, after more has been read: by loudness, and by ear where that does not tell."""
        power = self._held.power
        limit, above_db, self._speech_dbfs = silence_of(np.concatenate((self._held.past, power)))
        loud = without_clicks(power > limit)
        doubted = np.zeros(len(power), np.bool_)
        for first, last in runs_of(~loud, GAP):
            faint = _faint_sounds(power[first:last])
            loud[first:last] |= faint
            doubted[first:last] = faint.any()
        self.loud = loud
        for first, last in runs_of(~self._pauses()):
            if last - first >= _NO_PAUSE or above_db <= _NEAR_DB:
                doubted[first:last] = True
        self.doubted = doubted = widen(doubted, _S // 2)
        if self._detector is not None:
            for first, last in runs_of(doubted & np.isnan(self._held.heard)):
                self.hear(first, last)
        self.judge()

    def hear(self, first: int, last: int) -> None:
        """Ask the detector about every step of [first, last)."""
        self._held.heard[first:last] = self._probabilities(first, last)
        self.doubted[first:last] = True

    def speaks(self, first: int, last: int) -> bool:
        """True if there is speech in the steps [first, last) wherever they are looked at, or nobody to tell."""
        known = ~np.isnan(self._held.heard[first:last])
        if self._detector is None or known.all():
            return True
        loud = first + np.flatnonzero(self.loud[first:last])
        for share in _SPOTS:
            at = int(loud[int(share * len(loud))]) - _SPOT // 4 if len(loud) else first
            at = max(min(at, last - _SPOT), first)
            spot = self._probabilities(at, min(at + _SPOT, last), _SPOT_LEAD)
            if np.count_nonzero(spot >= _SPEAKS) < _SPEAKS_STEPS:
                return False
        return True

    def judge(self) -> None:
        """Pauses and other sounds, from what is loud and what has been heard."""
        heard = self._held.heard
        known = ~np.isnan(heard)
        chance = np.where(known, heard, np.float32(1.0))
        self.quiet = ~self.loud
        for first, last in runs_of(chance < _SILENT, _BETWEEN_WORDS):
            self.quiet[first:last] = True
        voiced = np.zeros(len(heard), np.bool_)
        for first, last in runs_of(known & (chance >= _HEARD)):
            if last - first >= _WORD or float(chance[first:last].max()) >= _CLEARLY:
                voiced[first:last] = True
        around = widen(voiced | (~known & self.loud), _AROUND)
        self.other = np.zeros(len(heard), np.bool_)
        for first, last in runs_of(known & ~around, _OTHER):
            self.other[first:last] = True

    def _pauses(self) -> NDArray[np.bool_]:
        pauses = np.zeros(len(self.loud), np.bool_)
        for first, last in runs_of(~self.loud, PAUSE):
            pauses[first:last] = True
        return pauses

    def _probabilities(self, first: int, last: int, most: int = _LEAD) -> NDArray[np.float32]:
        """For each step; at most so many more are heard before, where they are at hand."""
        if self._detector is None:
            return np.ones(last - first, np.float32)
        held = self._held
        lead = min(first, most)
        voice = hear(held.samples(first - lead, last), held.rate, self._speech_dbfs)
        pad = np.zeros(2 * DETECTOR_FRAME - len(voice) % DETECTOR_FRAME, np.float32)
        frames = self._detector.probabilities(np.concatenate((voice, pad)))
        middles = (np.arange(lead, lead + last - first) + 0.5) * held.step / held.rate * DETECTOR_RATE_HZ
        return frames[np.minimum((middles // DETECTOR_FRAME).astype(np.intp), len(frames) - 1)]


def _faint_sounds(power: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The louder steps of a long silence, where there are enough of them for speech."""
    ordered = np.sort(power)
    quiet, loud = (int(ordered[int(share * (len(ordered) - 1))]) for share in (0.1, _FAINT_SHARE))
    limit = max(_FLAT * quiet, _FAINT)
    return power > limit if loud > limit else np.zeros(len(power), np.bool_)
