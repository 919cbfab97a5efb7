"""A segment's bytes as one voice: which decoder is believed, what of several channels is taken, in pieces. Pure.

Read is what `flac -d` or libsndfile reads whole, judged by the frames of audio alone: what lies before the first and
after the last of them does not count, nor does a header that knows less than they do. What is read has been decoded
to its end before anything is made of it; a long recording is decoded again, a piece at a time, whenever its samples
are asked for, so that memory follows the piece and not the hour.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, pairwise

import numpy as np
import soxr
from numpy.typing import NDArray

from lipika.audio import flac_frames
from lipika.audio.containers import FileKind, flac_info, kind_of, mp3_links, ogg_links, wav_links
from lipika.audio.decoders import (
    BLOCK_VALUES,
    Form,
    Samples,
    dr_flac_interleaved,
    mono_flac_samples,
    sndfile_blocks,
    sndfile_form,
)
from lipika.audio.flac import Run, Stream, StreamInfo, proof, skip_metadata
from lipika.audio.flac_frames import BadFrame, Header
from lipika.errors import SegmentError

MAX_SEGMENT_SECONDS = 3_600
MAX_SEGMENT_FRAMES = MAX_SEGMENT_SECONDS * 48_000  # an hour at 48 kHz: bounds time at any sample rate
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
MAX_CHANNELS = 8

ONE_CHANNEL = "one_channel"
"""Flag of what was made from one of several channels, because they cancel each other out."""

_MOST_HEADS = 1 << 19  # of frames in a FLAC: an hour at 48 kHz in blocks of 330 samples
_MOST_STRAYS = 1 << 8  # headers of frames that belong to none; content looks like one once in some megabytes
_KEPT_FRAMES = 1 << 22  # samples that are kept from the first reading: four minutes at 16 kHz
_SNDFILE_DEPTHS = (8, 16, 24)  # of FLAC
_MOST_HERTZ_STATED = 65_535  # of rates above, FLAC's frames state tens of hertz
_COMMON_RATES_HZ = (192_000, 176_400, 96_000, 88_200, 64_000)

# When the mean of the channels is far quieter than they are
_WINDOW_HZ = 4  # compared in quarters of a second
_THIN_RATE_HZ = 8_000  # of the samples that are looked at
_CANCELLED = 0.1  # of the power that the mean of unrelated channels would have
_LOUD = 0.001  # of the loudest window
_CANCELLED_SHARE = 0.25  # of the loud windows


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Mono audio. `samples` has shape (frames,); the low bits that `source_bits` leaves over are zero."""

    samples: Samples
    sample_rate_hz: int
    bit_depth: int  # 8, 16 or 24: what it is encoded with
    source_bits: int = 0  # what it came with, up to 24; 0: the same

    @property
    def duration_ms(self) -> int:
        return to_ms(len(self.samples), self.sample_rate_hz)


def to_ms(frames: int, rate_hz: int) -> int:
    """Frames as the nearest millisecond, halves up."""
    return (frames * 2_000 + rate_hz) // (2 * rate_hz)


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Mono audio that has been read to its end once. `blocks` gives its samples, in order, as often as it is called.

    `plain` is the FLAC it came as, where frames can be taken over from that as they are.
    """

    sample_rate_hz: int
    bit_depth: int  # 16 or 24
    source_bits: int
    frames: int
    flags: tuple[str, ...]
    plain: Stream | None
    blocks: Callable[[], Iterator[Samples]]

    @property
    def duration_ms(self) -> int:
        return to_ms(self.frames, self.sample_rate_hz)

    @property
    def is_short(self) -> bool:
        """True if its samples are at hand as a whole."""
        return self.frames <= _KEPT_FRAMES

    def audio(self, samples: Samples) -> Audio:
        """Some of its samples."""
        return Audio(samples, self.sample_rate_hz, self.bit_depth, self.source_bits)

    def whole(self) -> Audio:
        """All of it, whatever memory that takes."""
        blocks = list(self.blocks())
        return self.audio(blocks[0] if len(blocks) == 1 else np.concatenate(blocks))


def read(data: bytes) -> Recording:
    """Read FLAC, or what libsndfile reads of WAV, W64, AIFF, CAF, Ogg and MP3.

    A FLAC that is cut short or damaged anywhere is an error. The others do not say reliably how long they should be
    and are read as far as they go; streams that follow one another in an Ogg or an MP3 are one recording. 32-bit and
    float audio keep their upper 24 bits.

    Raises:
        SegmentError: `empty_audio` (nothing in it), `bad_audio` (not audio, damaged, truncated),
            `unsupported_audio` (sample rate or channels out of range), `too_long`.
    """
    if not data:
        raise SegmentError("empty_audio", "the file is empty: 0 bytes")
    found = kind_of(data)
    if found is None:
        raise SegmentError("bad_audio", f"not FLAC, WAV, Ogg or MP3: it starts with {data[:4]!r}")
    kind, audio = found
    if kind is FileKind.FLAC:
        return _flac(audio)
    links = {FileKind.OGG: ogg_links, FileKind.MP3: mp3_links, FileKind.OTHER: wav_links}[kind](audio)
    if len(links) == 1 and links[0].startswith(b"fLaC"):
        return _flac(links[0])
    return _settle_form(_chain_readers([_open_with_libsndfile(link) for link in links]))


# ----------------------------------------------------------------------------- readers


@dataclass(frozen=True, slots=True)
class _Reader:
    """Someone who reads: blocks of shape (frames, channels), left-justified integers."""

    form: Form
    blocks: Callable[[], Iterator[Samples]]
    plain: Stream | None = None


class _NotPlain(Exception):
    """Frames of a FLAC do not lie as they seemed to."""


def _open_with_libsndfile(data: bytes) -> _Reader:
    if data.startswith(b"fLaC"):
        recording = _flac(data)
        form = Form(recording.sample_rate_hz, 1, recording.source_bits, recording.frames)
        return _Reader(form, lambda: (block[:, None] for block in recording.blocks()))
    return _Reader(sndfile_form(data), partial(sndfile_blocks, data))


def _chain_readers(readers: Sequence[_Reader]) -> _Reader:
    """One after the other, as one."""
    first = readers[0]
    kinds = {(form.sample_rate_hz, form.channels, form.bits) for form in (reader.form for reader in readers)}
    if len(kinds) > 1:
        parts = " and ".join(f"{rate} Hz with {channels} channels" for rate, channels, _ in sorted(kinds))
        message = f"streams of {parts} follow one another in the file: decode it and encode it as one"
        raise SegmentError("bad_audio", message)
    if len(readers) == 1:
        return first
    frames = sum(reader.form.frames for reader in readers)
    return _Reader(
        replace(first.form, frames=frames),
        lambda: chain.from_iterable(reader.blocks() for reader in readers),
    )


def _plain(stream: Stream) -> _Reader:
    return _Reader(_form(stream.info), partial(_proven_blocks, stream), stream)


def _form(info: StreamInfo) -> Form:
    return Form(info.sample_rate_hz, info.channels, min(info.bit_depth, 24), info.frames)


def _runs(stream: Stream) -> Iterator[Run]:
    """Pieces of a bounded number of samples, or of one frame."""
    first = 0
    while first < len(stream):
        last = Run.within(stream, stream.samples[first], stream.samples[first] + BLOCK_VALUES).last
        yield Run(stream, first, max(last, first + 1))
        first = max(last, first + 1)


def _proven_blocks(stream: Stream) -> Iterator[Samples]:
    """The samples of a plain stream, of frames that are shown to be sound and to end where the next one begins.

    Raises:
        _NotPlain: they are not.
    """
    depth = stream.info.bit_depth
    for run in _runs(stream):
        start, end = run.samples
        tried = proof(run)
        samples = mono_flac_samples(tried[0], end - start, depth) if tried else None
        if tried is None or samples is None:
            raise _NotPlain
        if any(mono_flac_samples(spoiled, 1, depth) is not None for spoiled in tried[1]):
            raise _NotPlain
        yield _upper(samples, stream.info)[:, None]


def _known_blocks(stream: Stream) -> Iterator[Samples]:
    """The same again."""
    for run in _runs(stream):
        start, end = run.samples
        samples = mono_flac_samples(run.data, end - start, stream.info.bit_depth)
        if samples is None:
            raise SegmentError("bad_audio", "the FLAC decodes once and then no more")
        yield _upper(samples, stream.info)[:, None]


# ----------------------------------------------------------------------------- FLAC


def _flac(data: bytes) -> Recording:
    """By the fast way where the stream is plain, as libsndfile reads it where it is sound, else frame by frame."""
    _demand_few_frames(data)
    info = flac_info(data)
    if info is not None and not info.sample_rate_hz:
        info = None  # it says nothing, so its frames have to
    if info is not None:
        _check(_form(info))
    stream = Stream.find(data)
    if stream is not None:
        try:
            return _settle_form(_plain(stream))
        except _NotPlain:
            pass
    frames = (_frames(data, skip_metadata(data)) if info is not None else []) or _frames(data, 0)
    if info is not None:
        _demand_agreement(info, frames)
    try:
        if info is None or info.bit_depth not in _SNDFILE_DEPTHS:
            raise SegmentError("bad_audio", "damaged or truncated audio: its frames cannot be read")
        recording = _settle_form(_Reader(sndfile_form(data), partial(sndfile_blocks, data)))
        _demand_all(recording.frames, info.frames, frames)
    except SegmentError as error:
        if error.code not in ("bad_audio", "empty_audio"):
            raise
        return _read_by_frames(data, info, frames, error)
    return _check_against_frames(data, info, frames, recording)


def _demand_few_frames(data: bytes) -> None:
    """Raise where more frames seem to begin than any encoder writes: each costs memory and time, however short."""
    if len(data) < 2 * _MOST_HEADS:
        return
    heads = data.count(b"\xff\xf8") + data.count(b"\xff\xf9")
    if heads > _MOST_HEADS:
        message = (
            f"about {heads:,} FLAC frames are more than {_MOST_HEADS:,}: encode it again in longer blocks"
        )
        raise SegmentError("unsupported_audio", message)


def _check_against_frames(
    data: bytes, info: StreamInfo, frames: Sequence[Header], recording: Recording
) -> Recording:
    """The audio of libsndfile, unless frames are missing or there twice and no digest says that it is right."""
    there = sum(frame.block for frame in frames)
    try:
        if info.frames not in (0, there):
            raise _damage_error(f"after {there} of {info.frames} samples its frames do not count on")
        _demand_no_frame_between(data, info, frames)
    except SegmentError:
        if _has_digest(data, info):
            return recording
        if 0 < info.frames < there:
            return _choose_length(data, info, frames, recording)
        raise
    return recording


def _damage_error(what: str) -> SegmentError:
    message = f"damaged FLAC: {what}: some are missing, or there twice; copy or encode it again"
    return SegmentError("bad_audio", message)


def _demand_no_frame_between(data: bytes, info: StreamInfo, frames: Sequence[Header]) -> None:
    """Raise where between two frames that count on lies a third: a decoder would take it along.

    What merely looks like the header of a frame, in the content of one, is none: that one ends where the next begins.
    """
    followed = {frame.at: (frame, after.at) for frame, after in pairwise(frames)}
    between = [head.at for head in flac_frames.headers(data, frames[0].at) if head.at < frames[-1].at]
    strays = sorted(set(between) - followed.keys())
    starts = [frame.at for frame in frames]
    for at in sorted({starts[bisect_right(starts, stray) - 1] for stray in strays[:_MOST_STRAYS]}):
        frame, end = followed[at]
        try:
            ends = flac_frames.frame(data, frame, info.bit_depth)[1] == end
        except BadFrame:
            ends = False
        if not ends or len(strays) > _MOST_STRAYS:
            raise _damage_error(f"the frames after number {frame.number} do not count on")


def _frames(data: bytes, start: int) -> list[Header]:
    """The headers of the frames that follow one another from byte `start` on, or from the first that do."""
    found = flac_frames.headers(data, start)
    for first in range(min(len(found), 8)):
        frames = flac_frames.chain(found[first:])
        if len(frames) > 1:
            return frames
    return found[:1]


def _demand_agreement(info: StreamInfo, frames: Sequence[Header]) -> None:
    """Raise where a frame is of another rate, depth or number of channels than the stream."""
    for frame in frames:
        for what, said, stated in (
            ("sample rate", frame.sample_rate_hz or info.sample_rate_hz, info.sample_rate_hz),
            ("bit depth", frame.bit_depth or info.bit_depth, info.bit_depth),
            ("number of channels", frame.channels, info.channels),
        ):
            if said != stated:
                raise SegmentError(
                    "bad_audio",
                    f"the {what} is {said} in the frame at byte {frame.at} but {stated} in the header of the FLAC:"
                    " which of them is right cannot be told; encode the audio again from its source",
                )


def _demand_all(read: int, stated: int, frames: Sequence[Header]) -> None:
    if read >= stated:
        return
    cut = frames and frames[0].number
    cause = "it was cut out of another file without encoding it (-c copy)" if cut else "the file breaks off"
    cure = "encode it again (ffmpeg -i IN.flac -c:a flac OUT.flac)" if cut else "copy or encode it again"
    message = f"truncated FLAC: {read} of {stated} frames are there: {cause}; {cure}"
    raise SegmentError("bad_audio", message)


def _read_by_frames(
    data: bytes, info: StreamInfo | None, frames: Sequence[Header], reason: SegmentError
) -> Recording:
    """A file that decoders refuse, taken for its frames alone; `reason` is raised where those are not sound."""
    if not frames:
        _demand_all(0, info.frames if info else 0, frames)
        raise reason
    first = frames[0]
    info = info or StreamInfo(0, 0, first.sample_rate_hz, first.channels, first.bit_depth, 0)
    _demand_agreement(info, frames)
    _check(_form(info))
    _demand_all(sum(frame.block for frame in frames), info.frames, frames)
    _demand_no_frame_between(data, info, frames)
    return _bare(data, info, frames, reason)


def _bare(data: bytes, info: StreamInfo, frames: Sequence[Header], reason: SegmentError) -> Recording:
    """The frames with a header of our own, by the first decoder that takes them to the end."""
    blocks = [frame.block for frame in frames]
    try:
        end = flac_frames.frame(data, frames[-1], info.bit_depth)[1]
    except BadFrame as error:
        raise reason from error
    longest = max(blocks)
    whole = replace(
        info,
        min_block=min(blocks[:-1], default=longest) & 0xFFFF,
        max_block=min(longest, 0xFFFF),
        frames=sum(blocks),
    )
    bare = whole.head() + data[frames[0].at : end]
    for reader in _readers_of(bare, whole, _md5_stated(data)):
        try:
            recording = _settle_form(reader)
        except (_NotPlain, BadFrame):
            continue
        except SegmentError as error:
            if error.code != "bad_audio":
                raise
            continue
        if recording.frames * info.sample_rate_hz == whole.frames * recording.sample_rate_hz or _other_rate(
            info
        ):
            return recording
    raise reason


def _other_rate(info: StreamInfo) -> bool:
    return encoded_rate(info.sample_rate_hz) != info.sample_rate_hz


def _readers_of(bare: bytes, info: StreamInfo, md5: bytes) -> Iterator[_Reader]:
    """From the fastest to the slowest. dr_flac skips what is damaged, so it needs a digest that says all is right."""
    stream = Stream.find(bare)
    if stream is not None:
        yield _plain(stream)
    form = _form(info)
    if info.bit_depth in _SNDFILE_DEPTHS:
        yield _Reader(form, partial(sndfile_blocks, bare))
    elif any(md5) and _md5(dr_flac_interleaved(bare, info), info) == md5:
        yield _Reader(form, lambda: (_upper(block, info) for block in dr_flac_interleaved(bare, info)))
    yield _Reader(form, partial(_slow_blocks, bare, info))


def _choose_length(data: bytes, info: StreamInfo, frames: Sequence[Header], stated: Recording) -> Recording:
    """A FLAC with more frames than its header says: the one is right whose samples have the digest stated.

    Where what follows are no frames of the same stream, there is nothing to choose.
    """
    doubt = SegmentError(
        "bad_audio",
        f"the header of the FLAC states {info.frames} samples and its frames hold"
        f" {sum(frame.block for frame in frames)}: which is right cannot be told; encode it again from its source",
    )
    try:
        longer = _bare(data, info, frames, doubt)
    except SegmentError:
        return stated
    whole = replace(info, frames=sum(frame.block for frame in frames))
    end = flac_frames.frame(data, frames[-1], info.bit_depth)[1]
    bare = whole.head() + data[frames[0].at : end]
    if _has_digest(data, info, bare):
        return longer
    raise doubt


def _has_digest(data: bytes, info: StreamInfo, audio: bytes | None = None) -> bool:
    """True if a FLAC's samples, or those of `audio`, are the ones whose digest it states."""
    md5 = _md5_stated(data)
    return any(md5) and _md5(sndfile_blocks(audio or data), info) == md5


def _md5_stated(data: bytes) -> bytes:
    """Of a FLAC's samples, by its header; zeros where it says nothing."""
    return data[26:42] if data[4:5] in (b"\0", b"\x80") and data.startswith(b"fLaC") else bytes(16)


def _md5(blocks: Iterator[Samples], info: StreamInfo) -> bytes:
    """As FLAC defines it: over the samples of all channels in turn, in the fewest whole bytes that hold one."""
    digest, size = hashlib.md5(usedforsecurity=False), -(-info.bit_depth // 8)
    for block in blocks:
        values = (block >> (8 * block.itemsize - info.bit_depth)).astype("<i4")
        digest.update(np.ascontiguousarray(values.view(np.uint8).reshape(-1, 4)[:, :size]).data)
    return digest.digest()


def _upper(block: Samples, info: StreamInfo) -> Samples:
    """Without the bits under the 24 that are kept; in 16 where those are enough."""
    if info.bit_depth <= 16 and block.dtype == np.int32:
        return (block >> 16).astype(np.int16)
    return block & np.int32(-256) if info.bit_depth > 24 else block


def _slow_blocks(bare: bytes, info: StreamInfo) -> Iterator[Samples]:
    for samples, _ in flac_frames.frames(bare, len(info.head()), info):
        yield _upper((samples << (32 - info.bit_depth)).astype(np.int32), info)


# ----------------------------------------------------------------------------- one voice


def _check(form: Form) -> None:
    """Refuse what would cost memory or make no sense, before any sample is decoded."""
    rate = form.sample_rate_hz
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise SegmentError("unsupported_audio", f"{rate} Hz is outside {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
    if form.channels > MAX_CHANNELS:
        raise SegmentError("unsupported_audio", f"{form.channels} channels are more than {MAX_CHANNELS}")
    if form.frames > _most_frames(rate):
        raise _too_long(form.frames, rate)


def _most_frames(rate_hz: int) -> int:
    return min(MAX_SEGMENT_FRAMES, MAX_SEGMENT_SECONDS * rate_hz)


def _too_long(frames: int, rate_hz: int) -> SegmentError:
    message = (
        f"{frames} frames or more at {rate_hz} Hz: over the limit of {MAX_SEGMENT_SECONDS} s"
        f" and {MAX_SEGMENT_FRAMES} frames; cut the segment before packing it"
    )
    return SegmentError("too_long", message)


def _settle_form(reader: _Reader) -> Recording:
    """Read to the end once; decide how several channels become one and what rate it is packed at."""
    form = reader.form
    _check(form)
    balance = _Balance(form)
    kept: list[Samples] | None = []
    frames = 0
    for block in reader.blocks():
        frames += len(block)
        if frames > _most_frames(form.sample_rate_hz):
            raise _too_long(frames, form.sample_rate_hz)
        balance.add(block)
        if kept is not None:
            kept.append(_mix(block, packed_depth(form.bits)))
        if frames > _KEPT_FRAMES:
            kept = None
    if frames == 0:
        raise SegmentError("empty_audio", "the file holds no audio: 0 frames")
    channel = balance.channel()
    blocks: Callable[[], Iterator[Samples]] = partial(_voice, reader, channel)
    if kept is not None and channel is None:
        blocks = partial(iter, kept)
    rate = encoded_rate(form.sample_rate_hz)
    plain = reader.plain
    if rate != form.sample_rate_hz:
        blocks, plain = partial(_resample_blocks, blocks, form, rate), None
        frames = sum(map(len, blocks()))
    flags = () if channel is None else (ONE_CHANNEL,)
    return Recording(rate, packed_depth(form.bits), form.bits, frames, flags, plain, blocks)


def _voice(reader: _Reader, channel: int | None) -> Iterator[Samples]:
    blocks = reader.blocks() if reader.plain is None else _known_blocks(reader.plain)
    for block in blocks:
        yield (
            _mix(block, packed_depth(reader.form.bits))
            if channel is None
            else np.ascontiguousarray(block[:, channel])
        )


def _mix(block: Samples, bits: int) -> Samples:
    """Mean over channels, rounded at the depth it is packed with. Shape (frames, channels) -> (frames,)."""
    channels = block.shape[1]
    if channels == 1:
        return block[:, 0]
    unused_bits = 8 * block.itemsize - bits
    total = block[:, 0].astype(np.int64) >> unused_bits
    for channel in range(1, channels):
        total += block[:, channel] >> unused_bits
    mean: NDArray[np.int64] = (total + channels // 2) // channels << unused_bits
    return mean.astype(block.dtype)


class _Balance:
    """A measure of how far channels cancel each other out: the mean of a voice and its mirror image is silence.

    The mean of unrelated channels has a certain power, that of alike ones more. Where it has but a tenth of that for
    a good part of the time, one channel is the better recording: the loudest.
    """

    def __init__(self, form: Form) -> None:
        self._channels = form.channels
        self._step = max(1, form.sample_rate_hz // _THIN_RATE_HZ)
        self._window = max(1, form.sample_rate_hz // self._step // _WINDOW_HZ)
        self._powers: list[
            NDArray[np.float64]
        ] = []  # rows: a window's power in each channel, then in their mean

    def add(self, block: Samples) -> None:
        if self._channels == 1:
            return
        thin = block[:: self._step]
        window = min(self._window, len(thin))
        count = len(thin) // window if window else 0
        if not count:
            return
        values = thin[: count * window].reshape(count, window, -1).astype(np.float64)
        values -= values.mean(axis=1, keepdims=True)
        each = np.einsum("wsc,wsc->wc", values, values)
        mean = values.mean(axis=2)
        self._powers.append(np.column_stack((each, np.einsum("ws,ws->w", mean, mean))))

    def channel(self) -> int | None:
        """The one to take; None for the mean of all."""
        if not self._powers:
            return None
        powers = np.concatenate(self._powers)
        each, mean = powers[:, :-1], powers[:, -1]
        loud = each.max(axis=1) > max(_LOUD * float(each.max()), 0.0)
        cancelled = loud & (mean < _CANCELLED * each.sum(axis=1) / self._channels**2)
        if np.count_nonzero(cancelled) <= _CANCELLED_SHARE * np.count_nonzero(loud):
            return None
        return int(np.argmax(each.sum(axis=0)))


def packed_depth(bits: int) -> int:
    """The depth that so many bits are packed as: ffmpeg 5 drops silent frames of 8."""
    return 24 if bits > 16 else 16


def encoded_rate(rate_hz: int) -> int:
    """The rate to encode at: the same where FLAC's frames can state it, else the next common one below."""
    if rate_hz <= _MOST_HERTZ_STATED or rate_hz % 10 == 0:
        return rate_hz
    return next(rate for rate in _COMMON_RATES_HZ if rate < rate_hz)


def _resample_blocks(blocks: Callable[[], Iterator[Samples]], form: Form, rate: int) -> Iterator[Samples]:
    stream = soxr.ResampleStream(form.sample_rate_hz, rate, 1, dtype="float64", quality="VHQ")
    bits = packed_depth(form.bits)
    unit = float(1 << (32 - bits)) if bits == 24 else 1.0
    kind = np.int32 if bits == 24 else np.int16
    edge = 1 << (bits - 1)
    empty = np.zeros(0, np.float64)
    for block in chain(blocks(), (None,)):
        values = empty if block is None else block.astype(np.float64) / unit
        made = stream.resample_chunk(values, last=block is None)
        rounded = np.clip(np.rint(made), -edge, edge - 1) * unit
        yield rounded.astype(kind)
