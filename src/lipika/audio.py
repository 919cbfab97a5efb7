"""Decode, encode and resample audio: the only place that touches a codec. Pure and thread-safe.

Samples are mono integers, left-justified as libsndfile gives them: int16 for 8- and 16-bit audio, int32 for
24-bit. libsndfile works on a file descriptor in memory, never on a Python file object, whose callbacks would
take the GIL back for every few kilobytes: with two threads beside a busy event loop that is twice as fast.

Plain FLAC is decoded by dr_flac where it is at hand, in half the time: the same samples, or libsndfile has the word.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, TypeAlias

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from lipika.errors import SegmentError
from lipika.flac import Run, Stream, StreamInfo, joined

try:
    from _miniaudio import ffi, lib

    dr_flac = lib
except ImportError:  # there are wheels for Linux on x86-64 and macOS on ARM only
    dr_flac = None

Samples: TypeAlias = NDArray[np.signedinteger[Any]]  # int16 or int32

SENT_RATE_HZ = 16_000
SENT_BIT_DEPTH = 16

MAX_SEGMENT_SECONDS = 3_600
MAX_SEGMENT_FRAMES = MAX_SEGMENT_SECONDS * 48_000  # an hour at 48 kHz: bounds memory at any sample rate
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
MAX_CHANNELS = 8

# libFLAC's preset 0 on libsndfile's 0..1 scale. Measured on speech: the default preset takes 10 % more time
# to encode and decode for 1 to 3 % less size.
FLAC_COMPRESSION = 0.0

_WRITE_FRAMES = 1 << 16  # at a time: libsndfile keeps what it gives to Vorbis on the stack
_BLOCK_VALUES = 1 << 21  # decoded at a time, over all channels: memory follows the audio, not its header
_FRAMES_UNKNOWN = 1 << 62  # libsndfile reports more than this for a stream whose header states no length
_INTEGER_DEPTHS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 24}
_FLOAT_DEPTHS = {
    "FLOAT": 24,
    "DOUBLE": 24,
}  # every other coding (Vorbis, Opus, MP3, A-law ...) has 16 bits or less
_FLAC_SUBTYPES = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}
_MAGICS = (b"fLaC", b"RIFF", b"RF64", b"OggS", b"ID3")


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Mono audio. `samples` has shape (frames,); its low bits are zero where `bit_depth` is 8 or 24."""

    samples: Samples
    sample_rate_hz: int
    bit_depth: int  # 8, 16 or 24

    @property
    def duration_ms(self) -> int:
        return to_ms(len(self.samples), self.sample_rate_hz)


def to_ms(frames: int, rate_hz: int) -> int:
    """Frames as the nearest millisecond, halves up."""
    return (frames * 2_000 + rate_hz) // (2 * rate_hz)


# ----------------------------------------------------------------------------- decode and encode


def decode(data: bytes) -> Audio:
    """Decode FLAC, or WAV, Ogg or MP3; mix channels down by integer averaging.

    A FLAC that is cut short or damaged anywhere is an error. WAV, Ogg and MP3 do not say reliably how long
    they should be and are read as far as they go. 32-bit and float audio keep their upper 24 bits.

    Raises:
        SegmentError: `empty_audio` (nothing in it), `bad_audio` (not audio, damaged, truncated),
            `unsupported_audio` (sample rate or channels out of range), `too_long`.
    """
    if not data:
        raise SegmentError("empty_audio", "the file is empty: 0 bytes")
    if not data.startswith(_MAGICS) and not (data[0] == 0xFF and data[1:2] >= b"\xe0"):
        raise SegmentError("bad_audio", f"not FLAC, WAV, Ogg or MP3: it starts with {data[:4]!r}")
    plain = _decode_plain(data) if dr_flac is not None else None
    if plain is not None:
        return plain
    try:
        with _scratch_file(data) as fd, _Stream(fd, closefd=False) as stream:
            return _read(stream)
    except soundfile.LibsndfileError as error:
        raise SegmentError("bad_audio", f"damaged or truncated audio: {error.error_string}") from error


def _decode_plain(data: bytes) -> Audio | None:
    """Mono FLAC of 16 or 24 bits that is sound to its end; None for anything else, whatever is wrong with it.

    dr_flac checks every frame and passes over those that are damaged, so that samples are missing then.
    """
    info = StreamInfo.read(data)
    if info is None or info.channels != 1 or not 0 < info.frames <= _BLOCK_VALUES:
        return None
    if info.bit_depth not in (16, 24) or not MIN_RATE_HZ <= info.sample_rate_hz <= MAX_RATE_HZ:
        return None
    samples: Samples = np.empty(info.frames, np.int16 if info.bit_depth == 16 else np.int32)
    stream = dr_flac.ma_dr_flac_open_memory(ffi.from_buffer(data), len(data), ffi.NULL)
    if stream == ffi.NULL:
        return None
    try:
        if info.bit_depth == 16:
            room = ffi.from_buffer("short[]", samples)
            decoded = dr_flac.ma_dr_flac_read_pcm_frames_s16(stream, info.frames, room)
        else:
            room = ffi.from_buffer("int[]", samples)
            decoded = dr_flac.ma_dr_flac_read_pcm_frames_s32(stream, info.frames, room)
    finally:
        dr_flac.ma_dr_flac_close(stream)
    return Audio(samples, info.sample_rate_hz, info.bit_depth) if decoded == info.frames else None


def encode_flac(audio: Audio) -> bytes:
    """FLAC at the audio's own rate and depth. The same samples give the same bytes."""
    return _encoded(
        audio, format="FLAC", subtype=_FLAC_SUBTYPES[audio.bit_depth], compression_level=FLAC_COMPRESSION
    )


def encode_wav(audio: Audio) -> bytes:
    """The samples as they are, under a header: twice a FLAC."""
    return _encoded(audio, format="WAV", subtype=f"PCM_{audio.bit_depth}")


def encode_ogg(audio: Audio) -> bytes:
    """Vorbis in Ogg. libsndfile gives each file a random serial number: the bytes are others every time."""
    return _encoded(audio, format="OGG", subtype="VORBIS")


def _encoded(audio: Audio, **coding: object) -> bytes:
    with _scratch_file() as fd:
        with _Stream(fd, "w", samplerate=audio.sample_rate_hz, channels=1, closefd=False, **coding) as stream:
            for start in range(0, len(audio.samples), _WRITE_FRAMES):
                stream.write(audio.samples[start : start + _WRITE_FRAMES])
        return os.pread(fd, os.lseek(fd, 0, os.SEEK_END), 0)


def encode_padded(padded: Audio, pad: int, source: Stream | None, start: int) -> bytes:
    """FLAC of a piece of a segment between pads of `pad` silent samples, as `encode_flac` gives it but cheaper.

    `source` is the segment's own FLAC and `start` where the piece begins in it: its frames that lie inside the piece
    are taken over, and what is left at the edges is encoded; where that would leave a block too short for the format,
    all of it is. The same piece of the same file gives the same bytes.
    """
    if source is None or source.info.bit_depth != padded.bit_depth:
        return encode_flac(padded)
    kept = Run.within(source, start, start + len(padded.samples) - 2 * pad)
    if kept.first == kept.last:
        return encode_flac(padded)
    first, last = (sample - start + pad for sample in kept.samples)
    before, after = _edges(padded, pad, first, last)
    if after is None:
        return encode_flac(padded)
    return joined((*before, kept, after), partial(_md5, padded)) or encode_flac(padded)


def _edges(padded: Audio, pad: int, first: int, last: int) -> tuple[list[Run], Run | None]:
    """Frames of the samples before `first`, and of those from `last` on; no last ones where it cannot be done.

    Both are encoded together, as starting the encoder is most of what it costs. Some of the silence goes ahead, so
    that the first edge ends where a block does; a pad that is shorter than a block may have too little of it.
    """
    silence = partial(_silence, rate_hz=padded.sample_rate_hz, bit_depth=padded.bit_depth)
    silent = silence(pad)
    if silent is None or (first == pad and last + pad == len(padded.samples)):
        return [silent] if silent else [], silent
    ahead = first % silent.stream.info.max_block
    both = np.concatenate((padded.samples[ahead:first], padded.samples[last:]))
    stream = Stream.find(encode_flac(replace(padded, samples=both))) if ahead <= pad else None
    if stream is None:
        return [], None
    head = Run.within(stream, 0, first - ahead)
    before = [run for run in (silence(ahead), head) if run]
    reached = ahead + head.samples[1] == first
    return before, Run(stream, head.last, len(stream)) if reached else None


@lru_cache(1 << 12)  # a pad, or less than a block
def _silence(frames: int, rate_hz: int, bit_depth: int) -> Run | None:
    """Silent frames; None for none at all."""
    silent = Audio(np.zeros(frames, np.int32 if bit_depth == 24 else np.int16), rate_hz, bit_depth)
    stream = Stream.find(encode_flac(silent))
    return Run.whole(stream) if stream else None


def _md5(audio: Audio) -> bytes:
    """As FLAC defines it: over the samples as little-endian integers of the fewest bytes that hold them."""
    little = audio.samples.astype(audio.samples.dtype.newbyteorder("<"), copy=False)
    upper = little.view(np.uint8).reshape(len(little), -1)[:, -audio.bit_depth // 8 :]
    return hashlib.md5(np.ascontiguousarray(upper).data, usedforsecurity=False).digest()


def to_sent(audio: Audio) -> Audio:
    """What the model hears: 16 kHz, 16-bit. Audio that is so already is returned itself.

    Resampled in float and rounded here: soxr's own 16-bit output is dithered, which puts noise into silence.
    """
    if (audio.sample_rate_hz, audio.bit_depth) == (SENT_RATE_HZ, SENT_BIT_DEPTH):
        return audio
    samples = audio.samples.astype(np.float32)
    if audio.samples.dtype == np.int32:
        samples /= 65_536
    if audio.sample_rate_hz != SENT_RATE_HZ:
        samples = soxr.resample(samples, audio.sample_rate_hz, SENT_RATE_HZ, "HQ")
    rounded = np.clip(np.rint(samples), -32_768, 32_767).astype(np.int16)
    return Audio(rounded, SENT_RATE_HZ, SENT_BIT_DEPTH)


class _Stream(soundfile.SoundFile):  # type: ignore[misc]  # soundfile ships no types
    """A SoundFile that only goes forward.

    soundfile seeks after every read, which fails at the end of a FLAC that states no length.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def _scratch_file(data: bytes = b"") -> Iterator[int]:
    """A descriptor of an unnamed file holding `data`, in memory where the system has such files."""
    in_memory = hasattr(os, "memfd_create")
    with os.fdopen(os.memfd_create("audio"), "w+b") if in_memory else tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield file.fileno()


def _read(stream: Any) -> Audio:
    """Everything in an open stream, as mono."""
    _check_header(stream)
    depth = _INTEGER_DEPTHS.get(stream.subtype) or _FLOAT_DEPTHS.get(stream.subtype, 16)
    blocks = [_mix(_to_integers(block, depth), depth) for block in _blocks(stream, depth)]
    frames = sum(map(len, blocks))
    if stream.format == "FLAC" and frames < stream.frames < _FRAMES_UNKNOWN:
        raise SegmentError("bad_audio", f"truncated FLAC: {frames} of {stream.frames} frames are there")
    if frames == 0:
        raise SegmentError("empty_audio", "the file holds no audio: 0 frames")
    if frames > _most_frames(stream.samplerate):
        raise _too_long(frames, stream.samplerate)
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return Audio(samples, stream.samplerate, depth)


def _check_header(stream: Any) -> None:
    """Refuse what would cost memory or make no sense, before any sample is decoded."""
    rate, channels, frames = stream.samplerate, stream.channels, stream.frames
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise SegmentError("unsupported_audio", f"{rate} Hz is outside {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
    if channels > MAX_CHANNELS:
        raise SegmentError("unsupported_audio", f"{channels} channels are more than {MAX_CHANNELS}")
    if _most_frames(rate) < frames < _FRAMES_UNKNOWN:
        raise _too_long(frames, rate)


def _most_frames(rate_hz: int) -> int:
    return min(MAX_SEGMENT_FRAMES, MAX_SEGMENT_SECONDS * rate_hz)


def _too_long(frames: int, rate_hz: int) -> SegmentError:
    message = (
        f"{frames} frames or more at {rate_hz} Hz: over the limit of {MAX_SEGMENT_SECONDS} s"
        f" and {MAX_SEGMENT_FRAMES} frames; cut the segment before packing it"
    )
    return SegmentError("too_long", message)


def _blocks(stream: Any, depth: int) -> Iterator[NDArray[Any]]:
    """Blocks of shape (frames, channels) until the end, or just past the limit."""
    integers = stream.subtype in _INTEGER_DEPTHS
    dtype = ("int32" if depth == 24 else "int16") if integers else "float64"
    block_frames = _BLOCK_VALUES // stream.channels
    left = min(stream.frames, _most_frames(stream.samplerate) + 1)
    while left > 0:
        block = stream.read(min(left, block_frames), dtype=dtype, always_2d=True)
        if len(block) == 0:
            return
        yield block
        left -= len(block)


def _to_integers(block: NDArray[Any], depth: int) -> Samples:
    """Left-justified integers of `depth` bits from what libsndfile gave."""
    if block.dtype == np.int16:
        return block
    if block.dtype == np.int32:
        upper: NDArray[np.int32] = block & np.int32(-256)
        return upper
    if not np.isfinite(block).all():
        raise SegmentError("bad_audio", "the float samples hold NaN or infinity")
    full_scale = 1 << (depth - 1)
    scaled: NDArray[np.float64] = np.clip(np.rint(block * full_scale), -full_scale, full_scale - 1)
    return scaled.astype(np.int16) if depth == 16 else (scaled * 256).astype(np.int32)


def _mix(block: Samples, depth: int) -> Samples:
    """Mean over channels, rounded at the bit depth. Shape (frames, channels) -> (frames,)."""
    channels = block.shape[1]
    if channels == 1:
        return block[:, 0]
    unused_bits = 8 * block.itemsize - depth
    total = block[:, 0].astype(np.int64) >> unused_bits
    for channel in range(1, channels):
        total += block[:, channel] >> unused_bits
    mean: NDArray[np.int64] = (total + channels // 2) // channels << unused_bits
    return mean.astype(block.dtype)
