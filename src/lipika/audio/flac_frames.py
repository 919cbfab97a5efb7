"""FLAC frames one by one, for streams that no decoder at hand takes. Pure, strict, exact to the byte, and slow.

About a microsecond a sample: for the last frame of a stream whose end is not known, and for what the fast decoders
refuse though the format allows it (33 bits in a side channel, blocks of 65,536 samples).
Format: RFC 9639.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import mul

import numpy as np
from numpy.typing import NDArray

from lipika.audio.flac import BLOCK_SIZES, RATES, StreamInfo, crc8, crc16, number_at

DEPTHS = {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}
_STEREO = {8: "left", 9: "right", 10: "mid"}  # how two channels were made one and their difference
_FIXED = ((), (1,), (2, -1), (3, -3, 1), (4, -6, 4, -1))
_SLACK = 64  # bytes of headers in a frame, at most


class BadFrame(Exception):
    """The bytes there are no sound frame."""


@dataclass(frozen=True, slots=True)
class Header:
    """Facts that a frame states about itself. Rate and depth are 0 where that is left to the stream's header."""

    at: int  # its first byte
    body: int  # the byte after it
    variable: bool  # `number` counts samples, not frames
    number: int
    block: int  # samples per channel
    sample_rate_hz: int
    channels: int
    assignment: int
    bit_depth: int

    @classmethod
    def read(cls, data: bytes, at: int) -> Header | None:
        """The header of a frame that begins there; None if none does."""
        head = data[at : at + 16]
        if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8:
            return None
        size_code, rate_code, assignment, depth_code = (
            head[2] >> 4,
            head[2] & 15,
            head[3] >> 4,
            head[3] >> 1 & 7,
        )
        number = number_at(head, 4)
        if (
            not size_code
            or rate_code == 15
            or assignment > 10
            or depth_code == 3
            or head[3] & 1
            or number is None
        ):
            return None
        value, end = number
        block = int(BLOCK_SIZES[size_code])
        if block < 0:
            block, end = int.from_bytes(head[end : end - block]) + 1, end - block
        rate, end = _rate(head, end, rate_code)
        if end >= len(head) or head[end] != crc8(head[:end]):
            return None
        channels = 2 if assignment > 7 else assignment + 1
        depth = DEPTHS.get(depth_code, 0)
        return cls(at, at + end + 1, bool(head[1] & 1), value, block, rate, channels, assignment, depth)


def _rate(head: bytes, at: int, code: int) -> tuple[int, int]:
    """The rate by its code, and where the header goes on."""
    if code == 12:
        return head[at] * 1_000 if at < len(head) else 0, at + 1
    if code > 12:
        return int.from_bytes(head[at : at + 2]) * (10 if code == 14 else 1), at + 2
    return RATES[code], at


def headers(data: bytes, start: int = 0) -> list[Header]:
    """Everything that looks like the header of a frame, from byte `start` on; content may do so by chance."""
    values = np.frombuffer(data, np.uint8)
    at = np.flatnonzero(values[start:-1] == 0xFF) + start
    at = at[values[at + 1] & 0xFE == 0xF8]
    return [head for place in at.tolist() if (head := Header.read(data, place))]


def chain(found: Sequence[Header]) -> list[Header]:
    """The first of these headers and those that count on from it."""
    frames = list(found[:1])
    for head in found[1:]:
        last = frames[-1]
        counted = (last.number + 1, last.number + last.block)
        if head.number in counted and head.variable == last.variable:
            frames.append(head)
    return frames


def frames(data: bytes, start: int, info: StreamInfo) -> Iterator[tuple[NDArray[np.int64], int]]:
    """The samples of each frame from byte `start` on, of shape (frames, channels), and where it ends.

    Raises:
        BadFrame: something there is no sound frame, or none like the stream's.
    """
    while start < len(data):
        head = Header.read(data, start)
        if head is None:
            raise BadFrame(f"no frame begins at byte {start}")
        samples, start = frame(data, head, info.bit_depth)
        yield samples, start


def frame(data: bytes, head: Header, bit_depth: int) -> tuple[NDArray[np.int64], int]:
    """The samples of one frame, and where it ends."""
    depth = head.bit_depth or bit_depth
    most = 2 * head.block * head.channels * (depth + 1) // 8 + _SLACK
    bits = _Bits(data[head.body : head.body + most])
    try:
        parts = [
            _subframe(bits, head.block, depth + (_is_side(head.assignment, channel)))
            for channel in range(head.channels)
        ]
        end = head.body + bits.byte()
    except (IndexError, ValueError, OverflowError) as error:
        raise BadFrame(f"the frame at byte {head.at} breaks off") from error
    if len(data) < end + 2 or crc16(data[head.at : end + 2]):
        raise BadFrame(f"the frame at byte {head.at} is damaged: its checksum is another")
    return np.stack(_apart(parts, head.assignment), axis=1), end + 2


def _is_side(assignment: int, channel: int) -> bool:
    return (assignment == 9 and channel == 0) or (assignment in (8, 10) and channel == 1)


def _apart(parts: list[NDArray[np.int64]], assignment: int) -> list[NDArray[np.int64]]:
    """Left and right again where the frame holds one of them, or their middle, and a difference."""
    match _STEREO.get(assignment):
        case "left":
            return [parts[0], parts[0] - parts[1]]
        case "right":
            return [parts[1] + parts[0], parts[1]]
        case "mid":
            middle, side = parts[0] * 2 + (parts[1] & 1), parts[1]
            return [middle + side >> 1, middle - side >> 1]
    return parts


class _Bits:
    """Bits as text: finding the next 1 and reading a number are then single calls."""

    def __init__(self, data: bytes) -> None:
        self.text = bin(int.from_bytes(b"\1" + data))[3:]
        self.at = 0

    def number(self, width: int) -> int:
        self.at += width
        return int(self.text[self.at - width : self.at], 2) if width else 0

    def signed_number(self, width: int) -> int:
        value = self.number(width)
        return value - (1 << width) if width and value >> width - 1 else value

    def zeros(self) -> int:
        """The number of zeros before the next 1, which is passed as well."""
        one = self.text.index("1", self.at)
        count, self.at = one - self.at, one + 1
        return count

    def byte(self) -> int:
        """The next whole byte."""
        if self.at > len(self.text):
            raise IndexError("past the end")
        return -(-self.at // 8)


def _subframe(bits: _Bits, block: int, depth: int) -> NDArray[np.int64]:
    padding, kind, wasted = bits.number(1), bits.number(6), bits.number(1)
    if padding:
        raise ValueError("not a subframe")
    wasted = bits.zeros() + 1 if wasted else 0
    width = depth - wasted
    if kind == 0:
        values = [bits.signed_number(width)] * block
    elif kind == 1:
        values = [bits.signed_number(width) for _ in range(block)]
    elif 8 <= kind <= 12:
        start = [bits.signed_number(width) for _ in range(kind - 8)]
        values = _add_prediction(start, _residual(bits, block, kind - 8), _FIXED[kind - 8], 0)
    elif kind >= 32:
        order = kind - 31
        start = [bits.signed_number(width) for _ in range(order)]
        precision, shift = bits.number(4) + 1, bits.signed_number(5)
        if precision == 16 or shift < 0:
            raise ValueError("not a predictor")
        factors = [bits.signed_number(precision) for _ in range(order)]
        values = _add_prediction(start, _residual(bits, block, order), factors, shift)
    else:
        raise ValueError("no such subframe")
    return np.array(values, np.int64) << wasted


def _residual(bits: _Bits, block: int, order: int) -> list[int]:
    """The numbers added to the prediction of each sample after the first `order`."""
    method, partitions = bits.number(2), 1 << bits.number(4)
    if method > 1 or block % partitions or block // partitions < order:
        raise ValueError("no such coding")
    width = 4 + method
    values: list[int] = []
    for partition in range(partitions):
        count = block // partitions - (0 if partition else order)
        low = bits.number(width)
        if low == (1 << width) - 1:
            plain = bits.number(5)
            values += [bits.signed_number(plain) for _ in range(count)]
            continue
        for _ in range(count):
            folded = bits.zeros() << low | bits.number(low)
            values.append(folded >> 1 ^ -(folded & 1))
    return values


def _add_prediction(values: list[int], residual: list[int], factors: Sequence[int], shift: int) -> list[int]:
    order, turned = len(factors), tuple(reversed(factors))
    for rest in residual:
        seen = values[-order:] if order else ()
        values.append(rest + (sum(map(mul, turned, seen)) >> shift))
    return values
