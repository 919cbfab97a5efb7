"""The simulator's hearing of a clip, mostly without decoding it.

A FLAC file tells its length in its header, and the size of each of its frames tells how loud it is: libFLAC
spends about one bit a sample more for every 6 dB. That costs 0.05 ms where decoding costs over 1 ms.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pybase64

from lipika.audio.flac import Run, Stream

PADDING_S = 0.3
"""Digital silence that lipika puts around a clip (150 ms at each end)."""

_SPEECH_SHARE = 0.8  # of a clip without its padding, where nothing better is known
_HEADER_BYTES = 42  # "fLaC", a block header, STREAMINFO
_HEADER_BASE64 = 56
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_PAUSE_BITS = 5.0  # a frame this many bits a sample below the loud ones is a pause: 30 dB
_QUIET_BITS = 8.0  # no frame above: may be silent, worth decoding
_SILENT_BYTES_PER_SAMPLE = 1 / 16  # digital silence takes a twentieth of that, speech twenty times it

_SILENT_OGG_BYTES, _SILENT_OGG_BYTES_PER_S = (
    4_000,
    300,
)  # Vorbis headers, and digital silence with some margin


class UnreadableAudio(ValueError):
    """The bytes are not audio of a kind that libsndfile reads."""


@dataclass(frozen=True, slots=True)
class SimulatedHearing:
    """One clip as heard. `digest` is the SHA-256 of its bytes (see `glance` for the light profile)."""

    digest: bytes
    duration_s: float
    speech_s: float  # estimate of the time with speech in it, pauses and padding excluded
    silent: bool


@dataclass(frozen=True, slots=True)
class FlacHeader:
    """The fields of a FLAC STREAMINFO block that matter here (RFC 9639, section 8.2)."""

    sample_rate_hz: int
    samples: int
    md5: bytes

    @property
    def duration_s(self) -> float:
        return self.samples / self.sample_rate_hz

    @classmethod
    def parse(cls, data: bytes) -> FlacHeader | None:
        """Read the first 42 bytes of a FLAC file; None when they are not one, or do not tell the length."""
        if len(data) < _HEADER_BYTES or data[:4] != b"fLaC" or data[4] & 0x7F:
            return None
        packed = int.from_bytes(data[18:26], "big")
        info = cls(
            sample_rate_hz=packed >> 44,
            samples=packed & ((1 << 36) - 1),
            md5=data[26:42],
        )
        return info if info.sample_rate_hz and info.samples else None


Ear = Callable[[bytes], SimulatedHearing]
"""From base64 text to what is heard; raises ValueError (bad base64) or UnreadableAudio."""


def ear(*, light: bool, silence_peak_dbfs: float) -> Ear:
    """The way to hear clips: thoroughly, or lightly."""
    if light:
        return glance
    return lambda text: listen(decode_base64(text), silence_peak_dbfs=silence_peak_dbfs)


def together(clips: Sequence[SimulatedHearing]) -> SimulatedHearing | None:
    """Several clips of one request as one; None without any."""
    if len(clips) < 2:
        return clips[0] if clips else None
    return SimulatedHearing(
        hashlib.sha256(b"".join(clip.digest for clip in clips)).digest(),
        sum(clip.duration_s for clip in clips),
        sum(clip.speech_s for clip in clips),
        all(clip.silent for clip in clips),
    )


def listen(data: bytes, *, silence_peak_dbfs: float) -> SimulatedHearing:
    """Hear a clip: digest, length, an estimate of the speech in it, and whether it is silent.

    Raises:
        UnreadableAudio: neither FLAC nor anything else that libsndfile reads.
    """
    digest = hashlib.sha256(data).digest()
    info = FlacHeader.parse(data)
    if info is None:
        duration_s, peak = _decode(data)
        silent = _is_silent(peak, silence_peak_dbfs)
        return SimulatedHearing(digest, duration_s, 0.0 if silent else _usual_speech_s(duration_s), silent)
    bits = _bits_per_sample(data, info)
    if max(bits) < _QUIET_BITS and _is_silent(_decode(data)[1], silence_peak_dbfs):
        return SimulatedHearing(digest, info.duration_s, 0.0, silent=True)
    return SimulatedHearing(digest, info.duration_s, _speech_s(bits, info), silent=False)


def glance(base64_text: bytes) -> SimulatedHearing:
    """As `listen`, from the header and the size alone: nothing but the header is decoded.

    The digest is that of the audio's MD5 in the header (of the text, where there is none), so it is *not* the
    SHA-256 of the file.

    Raises:
        UnreadableAudio: neither FLAC nor Vorbis in Ogg.
    """
    try:
        info = FlacHeader.parse(decode_base64(base64_text[:_HEADER_BASE64]))
    except ValueError:
        info = None
    if info is None:
        return _glance_at_ogg(base64_text)
    marks = info.md5 if any(info.md5) else base64_text
    silent = len(base64_text) * 3 / 4 < _HEADER_BYTES + info.samples * _SILENT_BYTES_PER_SAMPLE
    speech_s = 0.0 if silent else _usual_speech_s(info.duration_s)
    return SimulatedHearing(hashlib.sha256(marks).digest(), info.duration_s, speech_s, silent)


def _glance_at_ogg(base64_text: bytes) -> SimulatedHearing:
    """From the sample rate in the first page and the number of samples in the last (RFC 3533, Vorbis I 4.2.2)."""
    data = decode_base64(base64_text)
    head, last = data.find(b"\x01vorbis"), data.rfind(b"OggS")
    if not data.startswith(b"OggS") or head < 0:
        raise UnreadableAudio("the light profile reads FLAC and Vorbis in Ogg only")
    rate_hz = int.from_bytes(data[head + 12 : head + 16], "little")
    samples = int.from_bytes(data[last + 6 : last + 14], "little")
    if not rate_hz or not samples:
        raise UnreadableAudio("an Ogg without samples")
    duration_s = samples / rate_hz
    silent = len(data) < _SILENT_OGG_BYTES + _SILENT_OGG_BYTES_PER_S * duration_s
    return SimulatedHearing(
        hashlib.sha256(base64_text).digest(),
        duration_s,
        0.0 if silent else _usual_speech_s(duration_s),
        silent,
    )


def decode_base64(text: bytes) -> bytes:
    """Base64 in either alphabet, padded or not, as protobuf's JSON form allows.

    Raises:
        ValueError: anything else.
    """
    if len(text) % 4:
        text += b"=" * (-len(text) % 4)
    if b"-" in text or b"_" in text:
        text = text.translate(_URL_SAFE)
    return pybase64.b64decode(text, validate=True)


def _bits_per_sample(data: bytes, info: FlacHeader) -> list[float]:
    """Bits a sample of each frame; the mean where the frames cannot be told apart."""
    stream = Stream.find(data)
    if stream is None:
        return [8 * len(data) / info.samples]
    blocks = Run.whole(stream).blocks
    return [
        8 * (end - start) / size
        for (start, end), size in zip(pairwise(stream.bounds.tolist()), blocks, strict=True)
    ]


def _speech_s(bits: list[float], info: FlacHeader) -> float:
    """Seconds in frames near the loud ones; at least two fifths, since very soft speech looks like a pause."""
    loud = sorted(bits)[int(len(bits) * 0.9)] if len(bits) > 1 else bits[0]
    share = sum(value > loud - _PAUSE_BITS for value in bits) / len(bits)
    return max(min(share * info.duration_s, info.duration_s - PADDING_S), 0.4 * info.duration_s, 0.1)


def _usual_speech_s(duration_s: float) -> float:
    return max(_SPEECH_SHARE * (duration_s - PADDING_S), 0.1)


def _decode(data: bytes) -> tuple[float, float]:
    """Length in seconds and peak in 0..1."""
    import numpy as np
    import soundfile

    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
        raise UnreadableAudio(str(error)) from None
    if not len(samples):
        raise UnreadableAudio("the file holds no samples")
    return len(samples) / rate, float(np.abs(samples).max())


def _is_silent(peak: float, threshold_dbfs: float) -> bool:
    return peak == 0 or 20 * math.log10(peak) < threshold_dbfs
