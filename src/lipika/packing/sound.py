"""A recording as samples: any stretch of it, sample for sample, as it was recorded.

Unlike `audio.recording`, which makes one voice of a segment, channels stay what they are here: a stretch that is cut
out is mixed, or not, by whoever reads the archive, as the whole file would have been.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import soundfile

from lipika.audio.containers import FileKind, kind_of
from lipika.audio.decoders import BLOCK_VALUES, Samples
from lipika.audio.recording import read
from lipika.packing.decode import AudioStream, open_audio
from lipika.packing.fetch import Fetched
from lipika.packing.wav import find_wav

_JUMPING = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU", "NIST", "FLAC"}
_WIDTHS = {"PCM_S8": "int16", "PCM_U8": "int16", "PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32"}
"""Containers and codings in which a jump lands on the very sample, with the integers that they are read as."""


class OpenRecording:
    """A recording that is open.

    Stretches are best asked for in order: what cannot jump is read again from its start otherwise.
    """

    def __init__(self, fetched: Fetched) -> None:
        """Raises PackingError: as `decode.open_audio`."""
        self._fetched = fetched
        self._owner = ExitStack()
        self._forward = ExitStack()
        self._stream: AudioStream = self._open()
        self._blocks: Iterator[Samples] = self._stream.blocks()
        self._left: Samples = self._empty()
        self._at = 0  # of the first sample of `_left`
        self._file = self._jumping_file()

    @property
    def rate(self) -> int:
        return self._stream.rate

    @property
    def channels(self) -> int:
        return self._stream.channels

    @property
    def depth(self) -> int:
        """16 or 24: what its samples are packed with."""
        return self._stream.depth

    @property
    def frames(self) -> int | None:
        """As the header says, where it says anything."""
        return self._stream.frames

    @property
    def seconds(self) -> float | None:
        """As the header says, where it says anything."""
        return self._stream.seconds

    def stretch(self, first: int, last: int) -> Samples:
        """Samples from `first` up to `last`, shape (frames, channels); fewer where the audio ends.

        Raises:
            PackingError: it is damaged before that.
        """
        if self._file is not None:
            try:
                return self._jump(first, last)
            except soundfile.LibsndfileError:
                self._file = None
        if first < self._at:
            self._rewind()
        pieces = []
        while self._at < last:
            if not len(self._left):
                self._left = next(self._blocks, self._left)
                if not len(self._left):
                    break
            skipped = min(max(first - self._at, 0), len(self._left))
            taken = self._left[skipped : last - self._at]
            pieces.append(taken)
            self._at += skipped + len(taken)
            self._left = self._left[skipped + len(taken) :]
        return np.concatenate(pieces) if pieces else self._empty()

    def close(self) -> None:
        self._forward.close()
        self._owner.close()

    def _open(self) -> AudioStream:
        return self._forward.enter_context(open_audio(self._fetched.place))

    def _rewind(self) -> None:
        self._forward.close()
        self._stream = self._open()
        self._blocks, self._left, self._at = self._stream.blocks(), self._empty(), 0

    def _empty(self) -> Samples:
        return np.empty((0, self.channels), np.int16 if self.depth == 16 else np.int32)

    def _jumping_file(self) -> Any:
        """The same recording, open for jumps; None where none is exact, or its header is not to be believed."""
        with ExitStack() as tried:
            fd = tried.enter_context(self._fetched.descriptor())
            if not _is_honest(fd):
                return None
            try:
                file = tried.enter_context(soundfile.SoundFile(fd, closefd=False))
            except (soundfile.LibsndfileError, RuntimeError):
                return None
            if file.format not in _JUMPING or file.subtype not in _WIDTHS or file.frames != self.frames:
                return None
            if (file.samplerate, file.channels) != (self.rate, self.channels):
                return None
            self._owner.enter_context(tried.pop_all())
            return file

    def _jump(self, first: int, last: int) -> Samples:
        file = self._file
        file.seek(min(first, file.frames))
        left, pieces = min(last, file.frames) - first, []
        while left > 0:
            wanted = min(left, BLOCK_VALUES // self.channels)
            block = file.read(wanted, dtype=_WIDTHS[file.subtype], always_2d=True)
            pieces.append(block if self.depth == 16 else block & np.int32(-256))
            left -= len(block)
            if len(block) < wanted:
                break
        return np.concatenate(pieces) if pieces else self._empty()


def _is_honest(fd: int) -> bool:
    """False for a WAV whose header says another length than it has."""
    with os.fdopen(os.dup(fd), "rb") as file:
        wav = find_wav(file)
        file.seek(0)
        return wav is None or wav.stated == wav.frames


_SUFFIXES = {FileKind.FLAC: ".flac", FileKind.OGG: ".ogg", FileKind.MP3: ".mp3"}
_MARKS = ((b"FORM", ".aiff"), (b"caff", ".caf"), (b"riff", ".w64"), (b"RF64", ".wav"), (b"RIFF", ".wav"))


def native_suffix(data: bytes) -> str:
    """The ending of a member that holds these bytes as they are; "" where no archive may hold them."""
    found = kind_of(data)
    if found is None:
        return ""
    kind, audio = found
    if kind is FileKind.OTHER:
        return next((suffix for mark, suffix in _MARKS if audio.startswith(mark)), "")
    return _SUFFIXES[kind]


def measure(data: bytes) -> tuple[int, int]:
    """(frames, sample rate) of a whole recording of a form that archives hold, read to its end as a worker will.

    Raises:
        SegmentError: as `audio.recording.read`.
    """
    recording = read(data)
    return recording.frames, recording.sample_rate_hz
