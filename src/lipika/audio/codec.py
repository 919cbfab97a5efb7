"""Encode, resample and decode audio. Pure and thread-safe.

Samples are mono integers, left-justified as libsndfile gives them: int16 for audio of up to 16 bits, int32 for more.
Decoding is `recording`'s; this is the only place that encodes.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import soundfile
import soxr

from lipika.audio.decoders import Samples, SoundStream, scratch_file
from lipika.audio.flac import Run, Stream, join_runs
from lipika.audio.recording import Audio, encoded_rate, read, to_ms
from lipika.errors import SegmentError

__all__ = [
    "Audio",
    "Samples",
    "decode",
    "encode_channels",
    "encode_flac",
    "encode_ogg",
    "encode_padded",
    "encode_wav",
    "resample_for_model",
    "to_ms",
]

SENT_RATE_HZ = 16_000
SENT_BIT_DEPTH = 16

# libFLAC's preset 0 on libsndfile's 0..1 scale. Measured on speech: the default preset takes 10 % more time
# to encode and decode for 1 to 3 % less size.
FLAC_COMPRESSION = 0.0

_WRITE_FRAMES = 1 << 16  # at a time: libsndfile keeps what it gives to Vorbis on the stack
_FLAC_SUBTYPES = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}


def decode(data: bytes) -> Audio:
    """All of a file as samples; see `recording.read`, also for what it raises."""
    return read(data).whole()


def encode_flac(audio: Audio) -> bytes:
    """FLAC at the audio's own rate and depth. The same samples give the same bytes."""
    return _encode_with(
        audio, format="FLAC", subtype=_FLAC_SUBTYPES[audio.bit_depth], compression_level=FLAC_COMPRESSION
    )


def encode_channels(samples: Samples, sample_rate_hz: int, bit_depth: int) -> bytes:
    """FLAC of all channels, `samples` of shape (frames, channels); WAV where FLAC cannot state the rate."""
    audio = Audio(samples, sample_rate_hz, bit_depth)
    if encoded_rate(sample_rate_hz) != sample_rate_hz:
        return encode_wav(audio)
    return encode_flac(audio)


def encode_wav(audio: Audio) -> bytes:
    """The samples as they are, under a header: twice a FLAC."""
    return _encode_with(audio, format="WAV", subtype=f"PCM_{audio.bit_depth}")


def encode_ogg(audio: Audio) -> bytes:
    """Vorbis in Ogg. libsndfile gives each file a random serial number: the bytes are others every time."""
    return _encode_with(audio, format="OGG", subtype="VORBIS")


def _encode_with(audio: Audio, **coding: object) -> bytes:
    """Raises SegmentError `unsupported_audio` where the codec will not have it."""
    rate = audio.sample_rate_hz
    channels = audio.samples.shape[1] if audio.samples.ndim == 2 else 1
    try:
        with scratch_file() as fd:
            with SoundStream(fd, "w", samplerate=rate, channels=channels, closefd=False, **coding) as stream:
                for start in range(0, len(audio.samples), _WRITE_FRAMES):
                    stream.write(audio.samples[start : start + _WRITE_FRAMES])
            return os.pread(fd, os.lseek(fd, 0, os.SEEK_END), 0)
    except soundfile.LibsndfileError as error:
        reason = f"{coding['format']} of {rate} Hz cannot be encoded: {error.error_string}"
        raise SegmentError("unsupported_audio", reason) from error


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
    return join_runs((*before, kept, after), partial(_md5, padded)) or encode_flac(padded)


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


def resample_for_model(audio: Audio) -> Audio:
    """The audio for the model: 16 kHz, 16-bit. Audio that is so already is returned itself.

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
