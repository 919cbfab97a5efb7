"""All that FFmpeg reads besides (films, AAC, Opus, WMA, AMR, ...), by PyAV, whose wheel brings FFmpeg's libraries.

Only the bytes in hand are read: FFmpeg opens no other file and no address, whatever a playlist or a reference says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lipika.audio.decoders import Samples
from lipika.errors import PackingError

if TYPE_CHECKING:
    import av

_NO_OTHER_FILE = {"protocol_whitelist": "none", "enable_drefs": "0"}
_EXACT_CODECS = (
    "pcm_",
    "flac",
    "alac",
    "wavpack",
    "tta",
    "ape",
    "mlp",
    "truehd",
    "shorten",
    "tak",
    "wmalossless",
)
_WIDE_FORMATS = ("s32", "s32p", "flt", "fltp", "dbl", "dblp", "s64", "s64p")
_MOST_FAILURES = 200  # packets in a row that give nothing before any did: it will not get better
_LEAST_HOLE_S, _LONGEST_HOLE_S = 0.01, 600.0  # a longer jump is the clock's, not the sound's


@dataclass(slots=True)
class MediaTrack:
    """An audio track, opened: its form is that of its first frame, which headers do not always know."""

    name: str
    codec: str
    rate: int
    channels: int
    depth: int
    frames: int | None
    notes: list[str]
    _layout: str
    _clock: _Clock
    _first: list[av.AudioFrame]
    _rest: Iterator[av.AudioFrame | None]
    _resampler: av.AudioResampler | None = None
    _resampled: tuple[str, str] = ("", "")  # the form that it takes

    @classmethod
    def open(cls, name: str, file: BinaryIO, track: int) -> MediaTrack:
        """The audio track number `track`, from 0.

        Raises:
            PackingError: `needs_media` (PyAV is not installed), `not_audio`, `no_audio_track`, `no_such_track`,
                `no_decoder`, `protected_audio`, `bad_audio`.
        """
        av = load_av(name)
        try:
            container = av.open(file, "r", options=_NO_OTHER_FILE, **_odd_titles(av))
        except (av.FFmpegError, ValueError) as error:
            raise PackingError("not_audio", f"{name}: neither audio nor video: {_words(error)}") from error
        stream = _stream_of(name, container, track)
        notes: list[str] = []
        frames = _decode_packets(name, container, stream, notes)
        first = next((frame for frame in frames if frame is not None), None)
        if first is None:
            raise PackingError(
                "bad_audio", f"{name}: its audio track ({stream.codec_context.name}) holds no sound"
            )
        codec = stream.codec_context.name
        exact = codec.startswith(_EXACT_CODECS)
        wide = exact and first.format.name in _WIDE_FORMATS
        rate = first.sample_rate
        length = stream.duration * stream.time_base if stream.duration and stream.time_base else None
        return cls(
            name=name,
            codec=codec,
            rate=rate,
            channels=first.layout.nb_channels,
            depth=24 if wide else 16,
            frames=round(length * rate) if length else None,
            notes=notes,
            _layout=first.layout.name,
            _clock=_Clock(rate),
            _first=[first],
            _rest=frames,
        )

    def blocks(self) -> Iterator[Samples]:
        """Shape (frames, channels), left-justified; where packets are damaged or left out there is silence instead.

        Raises:
            PackingError: `form_changes`: another sample rate begins.
        """
        failures = load_av(self.name).FFmpegError
        for frame in self._frames():
            if frame is None:
                continue
            try:
                samples = self._samples(frame)
            except failures:  # damage that looks like another form, of channels that there are none of
                continue
            hole = self._clock.hole(frame)
            yield from self._silence(hole)
            self._clock.count(frame, hole)
            if len(samples):
                yield samples
        if self._resampler is not None:
            for made in self._resampler.resample(None):
                yield self._array(made)
        if self._clock.holes:
            lost, first = self._clock.lost / self.rate, self._clock.holes[0] / self.rate
            self.notes.append(
                f"{lost:.2f} s are damaged or missing, the first at {first:.2f} s: silence instead"
            )

    def _frames(self) -> Iterator[av.AudioFrame | None]:
        yield from self._first
        self._first = []
        yield from self._rest

    def _silence(self, frames: int) -> Iterator[Samples]:
        kind = np.int16 if self.depth == 16 else np.int32
        for at in range(0, frames, 1 << 16):
            yield np.zeros((min(1 << 16, frames - at), self.channels), kind)

    def _samples(self, frame: av.AudioFrame) -> Samples:
        if frame.sample_rate != self.rate:
            raise PackingError(
                "form_changes",
                f"{self.name}: {self.rate} Hz become {frame.sample_rate} Hz after {self._clock.at / self.rate:.2f} s:"
                " cut it there, or bring it to one rate (ffmpeg -i IN OUT.flac)",
            )
        plain = frame.format.name == ("s16" if self.depth == 16 else "s32")
        if plain and frame.layout.nb_channels == self.channels:
            return self._array(frame)
        parts = [self._array(made) for made in self._converter(frame).resample(frame)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [self._nothing()])

    def _converter(self, frame: av.AudioFrame) -> av.AudioResampler:
        """FFmpeg's own rounding; another one where the form of what comes in changes."""
        form = (frame.format.name, frame.layout.name)
        if self._resampler is None or self._resampled != form:
            target = "s16" if self.depth == 16 else "s32"
            self._resampler = load_av(self.name).AudioResampler(target, self._layout, self.rate)
            self._resampled = form
        return self._resampler

    def _array(self, frame: av.AudioFrame) -> Samples:
        samples: NDArray[Any] = frame.to_ndarray().reshape(-1, self.channels)
        return samples if self.depth == 16 else samples & np.int32(-256)

    def _nothing(self) -> Samples:
        return np.empty((0, self.channels), np.int16 if self.depth == 16 else np.int32)


@dataclass(slots=True)
class _Clock:
    """The place in the track by its samples, and by what its packets say."""

    rate: int
    at: int = 0  # samples given so far
    lost: int = 0  # samples that holes were filled with
    holes: list[int] = field(default_factory=list)  # the samples at which they begin
    _next: float | None = None  # seconds: when the next frame should begin, by the container's clock

    def count(self, frame: av.AudioFrame, hole: int) -> None:
        begins = frame.time if frame.time is not None else self._next
        self._next = None if begins is None else begins + frame.samples / self.rate
        if hole:
            self.holes.append(self.at)
            self.lost += hole
        self.at += hole + frame.samples

    def hole(self, frame: av.AudioFrame) -> int:
        """Samples that are missing before this frame; less than half a frame is the container's rounding."""
        if self._next is None or frame.time is None:
            return 0
        missing = round((frame.time - self._next) * self.rate)
        least = max(frame.samples // 2, round(_LEAST_HOLE_S * self.rate))
        return missing if least <= missing <= _LONGEST_HOLE_S * self.rate else 0


def load_av(name: str) -> ModuleType:
    """PyAV. Raises PackingError `needs_media` where it is not installed."""
    try:
        import av
    except ImportError as error:
        message = (
            f"{name}: libsndfile does not read it; for what FFmpeg reads: pip install 'lipika-speech[media]'"
        )
        raise PackingError("needs_media", message) from error
    av.logging.set_level(None)
    return av


def _odd_titles(av: ModuleType) -> dict[str, str]:
    """Titles in other encodings are no reason to refuse; from release 19 on PyAV sees to that itself."""
    return {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


def _stream_of(name: str, container: Any, track: int) -> Any:
    streams = container.streams.audio
    if not streams:
        others = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise PackingError(
            "no_audio_track", f"{name}: no audio track in it ({container.format.name}: {others})"
        )
    if not 0 <= track < len(streams):
        message = f"{name}: no audio track {track}; it has {len(streams)}, counted from 0"
        raise PackingError("no_such_track", message)
    stream = streams[track]
    if stream.codec_context is None:
        message = f"{name}: its audio is coded in a way that FFmpeg has no decoder for, or protected"
        raise PackingError("no_decoder", message)
    return stream


def _decode_packets(
    name: str, container: Any, stream: Any, notes: list[str]
) -> Iterator[av.AudioFrame | None]:
    """Its frames; None where a packet is damaged."""
    av = load_av(name)
    failures, given = 0, False
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            notes.append(f"the file breaks off: {_words(error)}")
            packet = None
            failures += 1
        if packet is None:
            break
        if packet.has_sidedata("encryption_info"):
            raise PackingError(
                "protected_audio", f"{name}: its audio is encrypted (DRM): only its own player reads it"
            )
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError):
            failures += 1
            if not given and failures >= _MOST_FAILURES:
                break
            yield None
            continue
        for frame in frames:
            given = True
            yield frame
    if failures and not given:
        raise PackingError(
            "bad_audio", f"{name}: none of its audio can be decoded: it is damaged, or protected"
        )


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
