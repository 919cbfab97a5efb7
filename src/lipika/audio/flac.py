"""FLAC streams taken apart and joined again without encoding them anew. Pure; knows no codec.

A clip is mostly the very samples of its segment, so its frames are taken over as they are, and only what lies at the
edges has to be encoded. A frame says in its header where it belongs, and two checksums cover that; all of it is set
right here. The CRC-16 of a whole frame need not be computed anew: it is linear, so another header changes it by what
the difference of the two headers becomes after the bytes that follow.

Only plain streams are taken apart: mono, with exactly the frames that the header promises, all of its rate and depth.
Of any other there is no `Stream`. Where a frame ends is taken from where the next one begins, so bytes that belong to
none would go along: `proof` is what to decode in place of the stream to know that there are none.
Format: RFC 9639.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, pairwise
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

_MARK = b"fLaC"
_MORE, _LAST = (
    b"\x00\x00\x00\x22",
    b"\x80\x00\x00\x22",
)  # STREAMINFO is followed by other metadata, or by frames
_INFO_END = 42
_SHORTEST_BLOCK = 16  # samples; the last one alone may be shorter
_LONGEST_BLOCK = 0xFFFF  # a frame could say one more, the header of the stream cannot
_FIXED, _VARIABLE = b"\xff\xf8", b"\xff\xf9"  # sync code; blocks of one size, or of any
_SIZE_BYTES = {6: 1, 7: 2}  # behind the number, where the code of the block size says so
BLOCK_SIZES = np.array(
    (0, 192, 576, 1152, 2304, 4608, -1, -2, *(256 << shift for shift in range(8))), np.int64
)
"""By code; where it says how many bytes hold the size, minus their number."""
RATES = (
    0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000
)  # fmt: skip
"""By code, 0 for what the stream's header says; codes of 12 and more have the rate behind the number."""
_DEPTH_CODES = {8: 1, 12: 2, 16: 4, 20: 5, 24: 6, 32: 7}
_LEAST_FRAME = 8  # bytes: header, number, checksums, and something between them
_RATE_BYTES = {12: 1, 13: 2, 14: 2}
_DEPTH_AT = 3  # which byte of a frame's header holds the depth, behind three bits of others and before one
_LONGEST_HEAD = 16  # bytes: four, a number of up to seven, block size and rate of up to two each, a checksum


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """Facts that a FLAC states about itself. `frames` are samples per channel, 0 where it does not say."""

    min_block: int
    max_block: int
    sample_rate_hz: int
    channels: int
    bit_depth: int
    frames: int

    @classmethod
    def read(cls, data: bytes) -> Self | None:
        """The head of a FLAC; None if this is none."""
        if len(data) <= _INFO_END or data[:4] != _MARK or data[4:8] not in (_MORE, _LAST):
            return None
        packed = int.from_bytes(data[18:26])
        return cls(
            min_block=int.from_bytes(data[8:10]),
            max_block=int.from_bytes(data[10:12]),
            sample_rate_hz=packed >> 44,
            channels=(packed >> 41 & 7) + 1,
            bit_depth=(packed >> 36 & 31) + 1,
            frames=packed & (1 << 36) - 1,
        )

    def head(self, frame_bytes: tuple[int, int] = (0, 0), md5: bytes = bytes(16)) -> bytes:
        """The beginning of a stream without other metadata."""
        facts = self.sample_rate_hz << 44 | self.channels - 1 << 41 | self.bit_depth - 1 << 36 | self.frames
        return b"".join(
            (
                _MARK + _LAST,
                self.min_block.to_bytes(2),
                self.max_block.to_bytes(2),
                frame_bytes[0].to_bytes(3),
                frame_bytes[1].to_bytes(3),
                facts.to_bytes(8),
                md5,
            )
        )


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """A FLAC and where its frames are: frame i begins at byte `bounds[i]` with sample `samples[i]`.

    After its header, at byte `bodies[i]`, comes what no other place in a stream changes; its CRC-16 is `crcs[i]`.
    """

    data: bytes
    info: StreamInfo
    bounds: NDArray[np.intp]  # one more than frames: the last is the end
    samples: tuple[int, ...]  # likewise
    bodies: NDArray[np.intp]
    crcs: NDArray[np.uint16]

    @classmethod
    def find(cls, data: bytes) -> Self | None:
        """Find the frames; None where the stream is not plain, or where content looks like one more frame."""
        info = StreamInfo.read(data)
        first = skip_metadata(data) if info is not None and info.channels == 1 else len(data)
        sync = data[first : first + 2]
        if info is None or sync not in (_FIXED, _VARIABLE) or len(data) < first + _LEAST_FRAME:
            return None
        values = np.frombuffer(data, np.uint8)
        starts = np.flatnonzero(values[first:-_LEAST_FRAME] == sync[0]) + first
        starts = starts[values[starts + 1] & 0xFE == _FIXED[1]]
        alike = (values[starts + 1] == sync[1]) & (values[starts + 3] == values[first + 3])
        if any(_is_mono_head(data, at) for at in starts[~alike].tolist()):
            return None  # a decoder that has lost its place might take it for a frame
        starts = starts[alike]
        samples = (0, *np.cumsum(_block_sizes(data, values, starts)).tolist())
        bounds = np.append(starts, len(data))
        numbers = range(len(starts)) if sync == _FIXED else samples
        if samples[-1] != info.frames or not all(
            map(data.startswith, map(_number, numbers), (starts + 4).tolist())
        ):
            return None
        bodies = starts + 5 + _NUMBER_BYTES[values[starts + 4]] + _MORE_BYTES[values[starts + 2]]
        if data[first + 3] >> 1 not in (0, _DEPTH_CODES.get(info.bit_depth)):
            return None
        if _rates(data, values[starts + 2] & 15, bodies) - {0, info.sample_rate_hz}:
            return None
        ends = bounds[1:]
        crcs = values[ends - 2].astype(np.uint16) << 8 | values[ends - 1]
        return cls(data, info, bounds, samples, bodies, crcs)

    def __len__(self) -> int:
        return len(self.bodies)


@dataclass(frozen=True, slots=True)
class Run:
    """Frames [first, last) of a stream, as they are."""

    stream: Stream
    first: int
    last: int

    @classmethod
    def whole(cls, stream: Stream) -> Self:
        return cls(stream, 0, len(stream))

    @classmethod
    def within(cls, stream: Stream, start: int, end: int) -> Self:
        """The frames that lie in the samples [start, end) as a whole; there may be none."""
        first = bisect_left(stream.samples, start)
        return cls(stream, first, max(bisect_right(stream.samples, end) - 1, first))

    @property
    def samples(self) -> tuple[int, int]:
        """First sample, and the one after the last."""
        return self.stream.samples[self.first], self.stream.samples[self.last]

    @property
    def places(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """The positions of each frame, of its body and of its CRC-16 in the stream's bytes."""
        stream, frames = self.stream, slice(self.first, self.last)
        return stream.bounds[frames], stream.bodies[frames], stream.bounds[self.first + 1 : self.last + 1] - 2

    @property
    def head(self) -> bytes:
        """The beginning of a stream of these frames, as they are."""
        first, last = self.samples
        return replace(self.stream.info, frames=last - first).head()

    @property
    def data(self) -> bytes:
        """A stream of them as they are; `proof` tells whether they are more than they seem."""
        return self.head + self.stream.data[self.stream.bounds[self.first] : self.stream.bounds[self.last]]

    @property
    def blocks(self) -> list[int]:
        """The number of samples in each frame."""
        return [there - here for here, there in pairwise(self.stream.samples[self.first : self.last + 1])]


def join_runs(runs: Sequence[Run], md5: Callable[[], bytes]) -> bytes | None:
    """One FLAC of the frames of all runs, which are alike in rate and depth. `md5` gives that of all its samples.

    Its blocks are of any size, which RFC 9639 asks of every decoder. None where a block but the last would be shorter
    than the format allows; strict decoders refuse such a file.
    """
    blocks = [size for run in runs for size in run.blocks]
    shortest = min(blocks[:-1], default=blocks[-1])
    if (len(blocks) > 1 and shortest < _SHORTEST_BLOCK) or max(blocks) > _LONGEST_BLOCK:
        return None
    info = runs[0].stream.info
    heads, bodies, changes = list[bytes](), list[bytes](), list[int]()
    sample = 0
    for run in runs:
        starts, inner, ends = (places.tolist() for places in run.places)
        data, (first, last) = run.stream.data, run.samples
        numbers = [before + sample - first for before in run.stream.samples[run.first : run.last]]
        renumbered = list(map(_renumber_head, map(data.__getitem__, map(slice, starts, inner)), numbers))
        heads += [head for head, _ in renumbered]
        changes += [change for _, change in renumbered]
        bodies += map(data.__getitem__, map(slice, inner, ends))
        sample += last - first
    lengths = list(map(len, bodies))
    sizes = [len(head) + length + 2 for head, length in zip(heads, lengths, strict=True)]
    old_crcs = np.concatenate([run.stream.crcs[run.first : run.last] for run in runs])
    crcs = (old_crcs ^ _carry_crc16(np.array(changes), np.array(lengths))).astype(">u2").tobytes()
    whole = StreamInfo(shortest, max(blocks), info.sample_rate_hz, 1, info.bit_depth, sample)
    parts = zip(heads, bodies, (crcs[at : at + 2] for at in range(0, len(crcs), 2)), strict=True)
    head = whole.head((min(sizes), max(sizes)), md5())
    return b"".join((head, *chain.from_iterable(parts)))


def proof(run: Run) -> tuple[bytes, list[bytes]] | None:
    """Streams that show by how they decode whether each frame of a run ends where it is taken to end.

    The first is the run with another word for the same depth in each frame's header (as the stream's, or stated),
    which changes its CRC-8 and, where the frame is taken to end, its CRC-16. A decoder finds that changed only there:
    of this stream every sample must come out. A change whose lower byte is zero would not be missed if one byte too
    many is taken along, so each such frame is a stream of the second kind, with its last byte spoiled: of those none
    must come out. None where it cannot be told.
    """
    stream, code = run.stream, _DEPTH_CODES.get(run.stream.info.bit_depth)
    first, end = stream.bounds[run.first], stream.bounds[run.last]
    starts, bodies, ends = (places - first for places in run.places)
    if code is None or (ends < bodies).any():
        return None
    made = np.frombuffer(stream.data, np.uint8)[first:end].copy()
    crc8s, crc16s = _changes(code << 1)
    made[starts + _DEPTH_AT] ^= code << 1
    made[bodies - 1] ^= crc8s[bodies - starts]
    carried = _carry_crc16(crc16s[bodies - starts], ends - bodies)
    made[ends] ^= (carried >> 8).astype(np.uint8)
    made[ends + 1] ^= carried.astype(np.uint8)
    doubtful = np.flatnonzero(carried & 0xFF == 0).tolist()
    return run.head + made.tobytes(), [
        _spoil_frame(Run(stream, run.first + at, run.first + at + 1)) for at in doubtful
    ]


@lru_cache
def _changes(flipped: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """The changes to a header's CRC-8 from flipping bits of its depth, and from both to the CRC-16 behind it.

    By the length of the header, its CRC-8 included.
    """
    crc8s, crc16s = np.zeros(_LONGEST_HEAD + 1, np.uint8), np.zeros(_LONGEST_HEAD + 1, np.uint16)
    for length in range(_DEPTH_AT + 2, _LONGEST_HEAD + 1):
        change = bytes((*bytes(_DEPTH_AT), flipped)).ljust(length - 1, b"\0")
        crc8s[length] = crc8(change)
        crc16s[length] = crc16(change + crc8s[length].tobytes())
    return crc8s, crc16s


def _spoil_frame(run: Run) -> bytes:
    """One frame as a stream, damaged in its last byte."""
    data, start, end = run.stream.data, run.stream.bounds[run.first], run.stream.bounds[run.last]
    block = run.blocks[0]
    info = replace(run.stream.info, min_block=block, max_block=block, frames=block)
    return info.head() + data[start : end - 1] + bytes((data[end - 1] ^ 0xFF,))


# ----------------------------------------------------------------------------- frame headers


def skip_metadata(data: bytes) -> int:
    """The position at which the first frame begins."""
    at, last = len(_MARK), False
    while not last and at < len(data):
        last = data[at] > 127
        at += 4 + int.from_bytes(data[at + 1 : at + 4])
    return at


def _block_sizes(data: bytes, values: NDArray[np.uint8], starts: NDArray[np.intp]) -> NDArray[np.int64]:
    """The numbers of samples in the frames that begin at `starts`. `values` are the bytes of `data`."""
    codes = values[starts + 2] >> 4
    sizes: NDArray[np.int64] = BLOCK_SIZES[codes]
    for frame in np.flatnonzero(sizes < 0).tolist():  # seldom more than the last
        start = int(starts[frame])
        at = start + 4 + int(_NUMBER_BYTES[data[start + 4]])
        sizes[frame] = int.from_bytes(data[at : at - int(sizes[frame])]) + 1
    return sizes


def _is_mono_head(data: bytes, at: int) -> bool:
    """True if the header of a mono frame begins there, of whatever depth, or content that looks like one."""
    head = data[at : at + 16]
    number = number_at(head, 4)
    if head[3] > 15 or head[3] & 1 or head[2] < 16 or head[2] & 15 == 15 or number is None:
        return False
    end = number[1] + int(_MORE_BYTES[head[2]])
    return end < len(head) and head[end] == crc8(head[:end])


def _rates(data: bytes, codes: NDArray[np.uint8], bodies: NDArray[np.intp]) -> set[int]:
    """The rates that frames state whose rates have these codes and whose headers end at `bodies`."""
    kinds = set(codes.tolist())
    if max(kinds) < len(RATES):
        return {RATES[code] for code in kinds}
    rates = set()
    for code, end in zip(codes.tolist(), bodies.tolist(), strict=True):
        if code < len(RATES):
            rates.add(RATES[code])
        else:
            stated = int.from_bytes(data[end - 1 - _RATE_BYTES.get(code, 0) : end - 1])
            rates.add(stated * {12: 1_000, 14: 10}.get(code, 1))
    return rates


@lru_cache(1 << 13)
def _renumber_head(head: bytes, sample: int) -> tuple[bytes, int]:
    """A frame's header in blocks of any size, from `sample` on, and how its CRC-16 differs from the old one's."""
    rest = head[4 + int(_NUMBER_BYTES[head[4]]) : -1]
    new = _VARIABLE + head[2:4] + _number(sample) + rest
    new += bytes((crc8(new),))
    return new, crc16(head) ^ crc16(new)


@lru_cache(1 << 13)
def _number(value: int) -> bytes:
    """A frame's or sample's number, up to 36 bits: UTF-8 as it was first defined."""
    if value < 0x80:
        return bytes((value,))
    more = []
    first_bits = 6
    while value >> first_bits:
        more.append(0x80 | value & 0x3F)
        value >>= 6
        first_bits -= 1
    return bytes(((0xFF << first_bits + 1) & 0xFF | value, *reversed(more)))


def number_at(data: bytes, at: int) -> tuple[int, int] | None:
    """The number that is written there, and where it ends; None if none is."""
    size = _number_bytes(data[at]) if at < len(data) else 9
    more = data[at + 1 : at + size]
    if size == 8 or len(more) != size - 1 or any(byte & 0xC0 != 0x80 for byte in more):
        return None
    if size == 1:
        return (data[at], at + 1) if data[at] < 0x80 else None
    value = data[at] & 0x7F >> size
    for byte in more:
        value = value << 6 | byte & 0x3F
    return value, at + size


def _number_bytes(first: int) -> int:
    """The length of a number that begins with this byte."""
    return max(8 - (first ^ 0xFF).bit_length(), 1)


_NUMBER_BYTES = np.array([_number_bytes(first) for first in range(256)])
_MORE_BYTES = np.array([_SIZE_BYTES.get(code >> 4, 0) + _RATE_BYTES.get(code & 15, 0) for code in range(256)])


# ----------------------------------------------------------------------------- checksums


def _crc_table(polynomial: int, bits: int) -> tuple[int, ...]:
    table = []
    for value in range(256):
        crc = value << bits - 8
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc >> bits - 1 else 0)
            crc &= (1 << bits) - 1
        table.append(crc)
    return tuple(table)


_CRC8, _CRC16 = _crc_table(0x07, 8), _crc_table(0x8005, 16)


def crc8(data: bytes) -> int:
    """Of a frame's header."""
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc


def crc16(data: bytes) -> int:
    """Of a whole frame; 0 if its own is part of `data`, and right."""
    crc = 0
    for byte in data:
        crc = crc << 8 & 0xFFFF ^ _CRC16[crc >> 8 ^ byte]
    return crc


def _powers() -> NDArray[np.uint16]:
    """x**0, x**1 ... modulo the polynomial of the CRC-16, until they repeat."""
    powers, power = [], 1
    for _ in range(_PERIOD):
        powers.append(power)
        power = (power << 1 ^ (0x18005 if power >> 15 else 0)) & 0xFFFF
    return np.array(powers, np.uint16)


_PERIOD = 32_767
_BITS = 16
_POWERS_FROM = sliding_window_view(np.tile(_powers(), 2), _BITS)[:_PERIOD, ::-1]
"""Row n: x**(n + 15), x**(n + 14) ... x**n."""


def _carry_crc16(changes: NDArray[np.integer[Any]], lengths: NDArray[np.integer[Any]]) -> NDArray[np.uint16]:
    """The value of each change of a CRC-16 after so many more bytes: its product with x**(8 * length)."""
    steps = lengths * 8 % _PERIOD
    chosen = np.unpackbits(changes.astype(">u2").view(np.uint8)).reshape(-1, _BITS)
    terms = _POWERS_FROM[steps] * chosen
    changed: NDArray[np.uint16] = np.bitwise_xor.reduce(terms, axis=1)
    return changed
