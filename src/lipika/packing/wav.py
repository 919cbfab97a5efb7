"""WAV, RF64 and W64 of any length as streams of samples, whatever their headers say of it.

Headers lie for good reasons: who writes into a pipe cannot go back, a recorder that lost its power did not, and 32
bits count four gigabytes and begin again. What is believed is the form; the length is what the file has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lipika.audio.decoders import Samples
from lipika.errors import PackingError
from lipika.packing.places import size_of

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_UNWRITTEN = (0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)
_WRAP = 1 << 32  # bytes after which a size of 32 bits begins again
_MOST_CHUNKS = 1_000
_MOST_AFTER = 1 << 24  # bytes of other chunks that may follow the samples: tags, pictures, cue points


@dataclass(frozen=True, slots=True)
class WavForm:
    """The samples of a WAV: their place, and what they are."""

    rate: int
    channels: int
    width: int  # bytes of one sample
    floating: bool
    start: int  # bytes into the file
    size: int  # bytes, a whole number of frames; what the file has
    stated: int | None  # frames, as the header says
    end: int  # bytes into the file: where something else may begin

    @property
    def bits(self) -> int:
        return 24 if self.floating else min(8 * self.width, 24)

    @property
    def frames(self) -> int:
        return self.size // (self.width * self.channels)


def find_wav(file: BinaryIO, at: int = 0) -> WavForm | None:
    """The WAV that begins at byte `at`; None where there is none, or none of plain numbers."""
    whole = size_of(file)
    file.seek(at)
    head = file.read(40)
    wide = head.startswith(_W64)
    if not wide and not (head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE"):
        return None
    form, long_size = None, None
    for name, start, size in _chunks(file, at + (40 if wide else 12), whole, wide):
        if name == b"ds64":
            file.seek(start + 8)
            long_size = int.from_bytes(file.read(8), "little")
        elif name == b"fmt ":
            file.seek(start)
            form = _form(file.read(min(size, 40)))
        elif name == b"data":
            if form is None:
                return None
            stated = long_size if long_size is not None and size == 0xFFFF_FFFF else size
            return _settle_length(form, start, stated, whole, file)
    return None


def _chunks(file: BinaryIO, at: int, whole: int, wide: bool) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and size of each chunk; the samples' is the last one that is given."""
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        head = file.read(24 if wide else 8)
        if len(head) < (24 if wide else 8):
            return
        size = int.from_bytes(head[16:24], "little") - 24 if wide else int.from_bytes(head[4:8], "little")
        start = at + len(head)
        yield head[:4], start, max(size, 0)
        at = start + size + (-size % 8 if wide else size % 2)
        if head[:4] == b"data" or size < 0 or at > whole:
            return


def _form(fmt: bytes) -> tuple[int, int, int, bool] | None:
    """Rate, channels, bytes of a sample, and whether it is a float; None for what is coded."""
    if len(fmt) < 16:
        return None
    tag, channels = int.from_bytes(fmt[:2], "little"), int.from_bytes(fmt[2:4], "little")
    rate, align = int.from_bytes(fmt[4:8], "little"), int.from_bytes(fmt[12:14], "little")
    if tag == _EXTENSIBLE:
        tag = int.from_bytes(fmt[24:26], "little")
    if not channels or not rate or align % channels or tag not in (_PCM, _FLOAT):
        return None
    width = align // channels
    allowed = (1, 2, 3, 4) if tag == _PCM else (4, 8)
    return (rate, channels, width, tag == _FLOAT) if width in allowed else None


def _settle_length(
    form: tuple[int, int, int, bool], start: int, stated: int, whole: int, file: BinaryIO
) -> WavForm:
    """With the length that the file has."""
    rate, channels, width, floating = form
    left = max(whole - start, 0)
    size = stated
    unwritten = stated in _UNWRITTEN or (stated == 0 and not _only_chunks(file, start, whole))
    if unwritten or stated > left:
        size = left
    elif left >= stated + _WRAP and (left - stated) % _WRAP <= _MOST_AFTER:
        size = stated + (left - stated) // _WRAP * _WRAP
    frame = width * channels
    said = None if unwritten else stated // frame
    end = start + size + size % 2
    return WavForm(rate, channels, width, floating, start, size // frame * frame, said, end)


def _only_chunks(file: BinaryIO, at: int, whole: int) -> bool:
    """True if all that is left is chunks: then a file that says it holds no samples is right."""
    for _ in range(_MOST_CHUNKS):
        if at + 8 > whole:
            return True
        file.seek(at)
        head = file.read(8)
        if not (head[:4].isascii() and head[:4].strip().isalnum()):
            return False
        size = int.from_bytes(head[4:], "little")
        at += 8 + size + size % 2
    return False


def wav_blocks(file: BinaryIO, form: WavForm, frames: int) -> Iterator[Samples]:
    """Blocks of `frames` frames, shape (frames, channels), left-justified integers.

    Raises:
        PackingError: `bad_samples`: the floats hold NaN or infinity.
    """
    frame = form.width * form.channels
    at, end = form.start, form.start + form.size
    while at < end:
        file.seek(at)
        data = file.read(min(frames * frame, end - at))
        data = data[: len(data) // frame * frame]
        if not data:
            return
        at += len(data)
        yield _integers(data, form).reshape(-1, form.channels)


def _integers(data: bytes, form: WavForm) -> NDArray[Any]:
    if form.floating:
        return float_samples(np.frombuffer(data, f"<f{form.width}"))
    if form.width == 1:
        return ((np.frombuffer(data, np.uint8).astype(np.int16) - 128) << 8).astype(np.int16)
    if form.width == 2:
        return np.frombuffer(data, "<i2").astype(np.int16, copy=False)
    if form.width == 3:
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return padded.reshape(-1).view("<i4").astype(np.int32, copy=False)
    return np.frombuffer(data, "<i4").astype(np.int32, copy=False) & np.int32(-256)


def float_samples(values: NDArray[Any]) -> NDArray[np.int32]:
    """Of 24 bits, left-justified, as `audio.decoders` rounds them."""
    if not np.isfinite(values).all():
        raise PackingError("bad_samples", "the float samples hold NaN or infinity")
    edge = 1 << 23
    scaled = np.clip(np.rint(values.astype(np.float64) * edge), -edge, edge - 1)
    return (scaled * 256).astype(np.int32)
