"""libsndfile and dr_flac: bytes to blocks of samples, as far as each reads them. Pure and thread-safe.

libsndfile works on a file descriptor in memory, never on a Python file object, whose callbacks would take the GIL
back for every few kilobytes: with two threads beside a busy event loop that is twice as fast. dr_flac decodes mono
FLAC in half the time; it passes over damaged frames, so samples are missing then.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import soundfile
from numpy.typing import NDArray

from lipika.audio.flac import StreamInfo
from lipika.errors import SegmentError

try:
    from _miniaudio import ffi, lib

    dr_flac = lib
except ImportError:  # there are wheels for Linux on x86-64 and macOS on ARM only
    dr_flac = None

Samples: TypeAlias = NDArray[np.signedinteger[Any]]  # int16 or int32

BLOCK_VALUES = 1 << 20  # decoded at a time, over all channels: memory follows this, not the header

_FRAMES_UNKNOWN = 1 << 62  # libsndfile reports more than this for a stream whose header states no length
_INTEGER_DEPTHS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 24}
_FLOAT_DEPTHS = {
    "FLOAT": 24,
    "DOUBLE": 24,
}  # every other coding (Vorbis, Opus, MP3, A-law ...) has 16 bits or less


@dataclass(frozen=True, slots=True)
class Form:
    """The form of audio, as its decoder tells it. `bits` are those that samples have, at most 24."""

    sample_rate_hz: int
    channels: int
    bits: int
    frames: int = 0  # 0 where that is not stated


class SoundStream(soundfile.SoundFile):  # type: ignore[misc]  # soundfile ships no types
    """A SoundFile that only goes forward.

    soundfile seeks after every read, which fails at the end of a FLAC that states no length.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def scratch_file(data: bytes = b"") -> Iterator[int]:
    """A descriptor of an unnamed file holding `data`, in memory where the system has such files."""
    in_memory = hasattr(os, "memfd_create")
    with os.fdopen(os.memfd_create("audio"), "w+b") if in_memory else tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield file.fileno()


def sndfile_form(data: bytes) -> Form:
    """Raises SegmentError `bad_audio` where libsndfile reads no header."""
    with _open_sound(data) as stream:
        return _form(stream)


def sndfile_blocks(data: bytes) -> Iterator[Samples]:
    """Blocks of shape (frames, channels), left-justified integers, as far as libsndfile reads.

    Raises:
        SegmentError: `bad_audio`: it stumbles on something.
    """
    with _open_sound(data) as stream:
        form = _form(stream)
        integers = stream.subtype in _INTEGER_DEPTHS
        dtype = ("int32" if form.bits == 24 else "int16") if integers else "float64"
        block_frames = BLOCK_VALUES // form.channels
        left = stream.frames
        while left > 0:
            block = stream.read(min(left, block_frames), dtype=dtype, always_2d=True)
            if len(block) == 0:
                return
            yield _as_integers(block, form.bits)
            left -= len(block)


@contextmanager
def _open_sound(data: bytes) -> Iterator[Any]:
    try:
        with scratch_file(data) as fd, SoundStream(fd, closefd=False) as stream:
            yield stream
    except soundfile.LibsndfileError as error:
        reason = f"damaged or truncated audio: {error.error_string}"
        raise SegmentError("bad_audio", reason) from error


def _form(stream: Any) -> Form:
    bits = _INTEGER_DEPTHS.get(stream.subtype) or _FLOAT_DEPTHS.get(stream.subtype, 16)
    frames = stream.frames if stream.frames < _FRAMES_UNKNOWN else 0
    return Form(stream.samplerate, stream.channels, bits, frames)


def _as_integers(block: NDArray[Any], bits: int) -> Samples:
    """Left-justified integers of `bits` from what libsndfile gave."""
    if block.dtype == np.int16:
        return block
    if block.dtype == np.int32:
        upper: NDArray[np.int32] = block & np.int32(-256)
        return upper
    if not np.isfinite(block).all():
        raise SegmentError("bad_audio", "the float samples hold NaN or infinity")
    full_scale = 1 << (bits - 1)
    scaled: NDArray[np.float64] = np.clip(np.rint(block * full_scale), -full_scale, full_scale - 1)
    return scaled.astype(np.int16) if bits == 16 else (scaled * 256).astype(np.int32)


def mono_flac_samples(data: bytes, frames: int, bit_depth: int) -> Samples | None:
    """`frames` samples of mono FLAC, left-justified; None where there are not so many, or any before is damaged."""
    if dr_flac is None:
        return _mono_by_libsndfile(data, frames)
    samples: Samples = np.empty(frames, np.int16 if bit_depth <= 16 else np.int32)
    stream = dr_flac.ma_dr_flac_open_memory(ffi.from_buffer(data), len(data), ffi.NULL)
    if stream == ffi.NULL:
        return None
    try:
        if bit_depth <= 16:
            room = ffi.from_buffer("short[]", samples)
            read = dr_flac.ma_dr_flac_read_pcm_frames_s16(stream, frames, room)
        else:
            room = ffi.from_buffer("int[]", samples)
            read = dr_flac.ma_dr_flac_read_pcm_frames_s32(stream, frames, room)
    finally:
        dr_flac.ma_dr_flac_close(stream)
    return samples if read == frames else None


def _mono_by_libsndfile(data: bytes, frames: int) -> Samples | None:
    try:
        blocks = [block[:, 0] for block in sndfile_blocks(data)]
    except SegmentError:
        return None
    samples = np.concatenate(blocks)[:frames] if blocks else np.empty(0, np.int16)
    return samples if len(samples) == frames else None


def dr_flac_interleaved(data: bytes, info: StreamInfo) -> Iterator[NDArray[np.int32]]:
    """Blocks of shape (frames, channels), in the upper bits of 32; what is damaged is left out."""
    if dr_flac is None:
        return
    stream = dr_flac.ma_dr_flac_open_memory(ffi.from_buffer(data), len(data), ffi.NULL)
    if stream == ffi.NULL:
        return
    try:
        while True:
            block = np.empty((BLOCK_VALUES // info.channels, info.channels), np.int32)
            room = ffi.from_buffer("int[]", block)
            read = dr_flac.ma_dr_flac_read_pcm_frames_s32(stream, len(block), room)
            if not read:
                return
            yield block[:read]
    finally:
        dr_flac.ma_dr_flac_close(stream)
