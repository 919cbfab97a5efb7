"""Audio as the world has it, made by seed: what recordists, converters, taggers and broken copies leave behind.

Every sound knows what is right for it: its true samples where they are known, and whether it must be read, must be
refused, or may be either. What may be either is judged by other decoders (`flac`, libsndfile).
"""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import soundfile
from numpy.typing import NDArray

Wave = NDArray[np.float64]
"""[n, channels] in -1..1."""

RATES_HZ = (8_000, 11_025, 12_000, 16_000, 16_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
ODD_RATES_HZ = (7_999, 11_111, 37_800, 44_056, 47_952, 88_200, 96_096, 176_400, 192_000)


class Right(StrEnum):
    """What is right for a sound."""

    READ = "read"  # it must be read, to its true samples
    REFUSED = "refused"  # it must be discarded, with a reason
    EITHER = "either"  # if it is read, then to what another decoder reads


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """One segment's file. `truth` is [n, channels] in -1..1, exact where the encoding is lossless."""

    what: str
    data: bytes
    seconds: float
    right: Right
    truth: Wave | None = None
    rate_hz: int = 0  # 0: whatever it says


def a_sound(chance: random.Random) -> Sound:
    """One sound, of any kind."""
    maker = chance.choice(_MAKERS)
    return maker(chance)


# ----------------------------------------------------------------------------- waves


def a_wave(chance: random.Random, rate_hz: int, channels: int) -> tuple[str, Wave]:
    """A few seconds of something, and its name."""
    seconds = chance.choice((2.3, 3.1, 4.7, 6.0, 11.5))
    count = int(seconds * rate_hz)
    noise = np.random.default_rng(chance.getrandbits(32))
    speech = _speech(noise, count, rate_hz)[:, None].repeat(channels, axis=1)
    match chance.randrange(12):
        case 0:
            return "normalised to full scale", speech / np.abs(speech).max()
        case 1:
            return "clipped", np.clip(speech * 8, -1, 1)
        case 2:
            return "with one sample at full scale", _one_full(chance, speech * 0.3)
        case 3:
            return "with a DC offset", speech * 0.3 + chance.choice((-0.4, 0.05, 0.3))
        case 4:
            return "digital silence", speech * 0
        case 5:
            return "very quiet", speech * 1e-3
        case 6 if channels > 1:
            return "out of phase", speech * np.where(np.arange(channels) % 2, -1.0, 1.0)
        case 7 if channels > 1:
            return "in one channel only", speech * (np.arange(channels) == channels - 1)
        case 8:
            return "steady noise", noise.normal(0, 0.1, (count, channels)).clip(-1, 1)
        case 9:
            return "bursts", speech * (noise.random((count, 1)) > 0.999)
        case 10:
            return "a pure tone", np.sin(np.arange(count) * 0.05)[:, None].repeat(channels, axis=1) * 0.5
        case _:
            return "speech", speech * 0.5


def _speech(noise: np.random.Generator, count: int, rate_hz: int) -> NDArray[np.float64]:
    """Noise that swells and ebbs like syllables, with a pause now and then."""
    times = np.arange(count) / rate_hz
    syllables = np.maximum(np.sin(2 * np.pi * 3.7 * times), 0.05)
    pauses = np.where(np.sin(2 * np.pi * 0.31 * times + 0.4) > -0.8, 1.0, 0.002)
    voiced = np.sin(2 * np.pi * 140 * times) + 0.5 * np.sin(2 * np.pi * 430 * times)
    wave: NDArray[np.float64] = (0.25 * voiced + noise.normal(0, 0.08, count)) * syllables * pauses
    return np.clip(wave, -1, 1)


def _one_full(chance: random.Random, wave: Wave) -> Wave:
    wave[chance.randrange(len(wave))] = chance.choice((-1.0, 1.0))
    return wave


# ----------------------------------------------------------------------------- files


def _stepped(wave: Wave, bits: int) -> NDArray[np.int32]:
    """Whole steps of `bits` bits, in the top of 32."""
    half = 1 << (bits - 1)
    steps = np.clip(np.round(wave * half), -half, half - 1).astype(np.int64)
    return (steps << (32 - bits)).astype(np.int32)


def _lossless(chance: random.Random, container: str, rates: tuple[int, ...] = RATES_HZ) -> Sound:
    """A FLAC or WAV of any depth, with its exact samples."""
    rate_hz = chance.choice(rates)
    channels = chance.choice((1, 1, 1, 2, 2, 3, 6))
    bits = chance.choice((8, 16, 16, 16, 24) if container == "FLAC" else (8, 16, 16, 24, 32))
    name, wave = a_wave(chance, rate_hz, channels)
    steps = _stepped(wave, bits)
    subtype = "PCM_U8" if container == "WAV" and bits == 8 else "PCM_S8" if bits == 8 else f"PCM_{bits}"
    data = _written(steps, rate_hz, container, subtype)
    what = f"{container} {bits} bits {rate_hz} Hz {channels} channels, {name}"
    return Sound(what, data, len(wave) / rate_hz, Right.READ, steps / float(1 << 31), rate_hz)


def _written(samples: NDArray[np.int32] | Wave, rate_hz: int, container: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def _flac(chance: random.Random) -> Sound:
    return _lossless(chance, "FLAC")


def _wav(chance: random.Random) -> Sound:
    return _lossless(chance, "WAV")


def _odd_rate(chance: random.Random) -> Sound:
    """A rate that few have thought of; FLAC cannot hold all of them, WAV can."""
    container = chance.choice(("FLAC", "WAV"))
    rates = tuple(rate for rate in ODD_RATES_HZ if container == "WAV" or rate < 65_536 or rate % 10 == 0)
    sound = _lossless(chance, container, rates)
    return replace(sound, right=Right.EITHER)  # read, or refused as a rate that no encoder takes


def _lossy(chance: random.Random) -> Sound:
    """Encodings that lose something: only another decoder knows their samples."""
    container, subtype, rates = chance.choice(
        (
            ("WAV", "IMA_ADPCM", RATES_HZ),
            ("WAV", "MS_ADPCM", RATES_HZ),
            ("WAV", "ULAW", RATES_HZ),
            ("WAV", "ALAW", RATES_HZ),
            ("WAV", "FLOAT", RATES_HZ),
            ("OGG", "VORBIS", RATES_HZ),
            ("OGG", "OPUS", (8_000, 12_000, 16_000, 24_000, 48_000)),
            ("MP3", "MPEG_LAYER_III", (16_000, 22_050, 24_000, 44_100, 48_000)),
        )
    )
    rate_hz, channels = chance.choice(rates), chance.choice((1, 1, 2))
    name, wave = a_wave(chance, rate_hz, channels)
    data = _written(wave, rate_hz, container, subtype)
    return Sound(
        f"{container} {subtype} {rate_hz} Hz {channels} channels, {name}",
        data,
        len(wave) / rate_hz,
        Right.EITHER,
    )


def _tagged(chance: random.Random) -> Sound:
    """Something before the first frame or after the last: no part of the audio."""
    sound = _flac(chance)
    after: dict[str, bytes] = {
        "an ID3v1 tag": b"TAG" + b"title".ljust(125, b"\0"),
        "an APE tag": b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, 0),
        "one zero byte": b"\0",
        "zeros": bytes(chance.randrange(2, 5000)),
        "a newline": b"\n",
        "a web page": b"<html>404</html>\r\n",
        "noise": chance.randbytes(chance.randrange(1, 300)).replace(b"\xff", b"\0"),
    }
    name, tail = chance.choice(list(after.items()))
    head = b""
    if chance.random() < 0.3:
        head, name = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10), f"an ID3v2 tag and {name}"
    return replace(sound, what=f"{sound.what}, and {name}", data=head + sound.data + tail)


def _mended_header(chance: random.Random) -> Sound:
    """A STREAMINFO that does not say what the frames say."""
    sound = _lossless(chance, "FLAC", (16_000,))
    info = bytearray(sound.data[8:42])
    packed = int.from_bytes(info[10:18], "big")
    total = packed & ((1 << 36) - 1)
    match chance.randrange(5):
        case 0:
            what, packed = "the rate is wrong", packed & ~(0xFFFFF << 44) | (8_000 << 44)
        case 1:
            what, packed = "the depth is wrong", packed ^ (0b1000 << 36)
        case 2:
            what, packed = "the length is unknown", packed - total
        case 3:
            what, packed = "the length is short", packed - min(total, chance.randrange(1, 20_000))
        case _:
            what, packed = "the length is long", packed + chance.randrange(1, 20_000)
    info[10:18] = packed.to_bytes(8, "big")
    right = Right.READ if what == "the length is unknown" else Right.EITHER
    return replace(
        sound,
        what=f"{sound.what}, but {what}",
        data=sound.data[:8] + bytes(info) + sound.data[42:],
        right=right,
    )


def _damaged(chance: random.Random) -> Sound:
    """Bits that fell over, bytes that came between, an end that is missing."""
    sound = chance.choice((_flac, _flac, _wav, _lossy))(chance)
    broken = bytearray(sound.data)
    first = min(200, len(broken) // 2)
    at = chance.randrange(first, len(broken))
    flac, truth = sound.data[:4] == b"fLaC", None
    match chance.randrange(6 if flac else 5 if sound.truth is not None else 4):
        case 0:
            what = "a bit has flipped"
            broken[at] ^= 1 << chance.randrange(8)
        case 1:
            what = "it breaks off"
            del broken[at:]
        case 2:
            what = "there are bytes in between"
            broken[at:at] = chance.randbytes(chance.randrange(1, 900))
        case 3:
            what = "a stretch is missing"
            del broken[at : at + chance.randrange(1, 3_000)]
        case 4:  # joined WAVs are read whole, where other decoders read the first, or none
            what = "it is there twice"
            broken += bytes(broken)
            truth = None if flac or sound.truth is None else np.concatenate((sound.truth, sound.truth))
        case _:
            what = "a bit has flipped and it is there twice"
            broken[at] ^= 1 << chance.randrange(8)
            broken += sound.data
    return replace(
        sound, what=f"{sound.what}, but {what}", data=bytes(broken), right=Right.EITHER, truth=truth
    )


def _unwritten_length(chance: random.Random) -> Sound:
    """A WAV from a pipe: the length was never filled in."""
    sound = _lossless(chance, "WAV", (16_000,))
    data = bytearray(sound.data)
    length = chance.choice((0, 0xFFFFFFFF, 0x7FFFFFFF))
    at = data.index(b"data")
    data[4:8] = struct.pack("<I", length)
    data[at + 4 : at + 8] = struct.pack("<I", length)
    return replace(
        sound,
        what=f"{sound.what}, its length never written ({length:#x})",
        data=bytes(data),
        right=Right.EITHER,
    )


def _no_audio(chance: random.Random) -> Sound:
    """Files of another kind with a segment's name."""
    what, data = chance.choice(
        (
            ("nothing at all", b""),
            ("a web page", b"<!DOCTYPE html><html><body>Access denied</body></html>"),
            ("noise", chance.randbytes(5_000)),
            ("zeros", bytes(20_000)),
            ("a JPEG", b"\xff\xd8\xff\xe0" + chance.randbytes(3_000)),
            ("only FLAC's first four bytes", b"fLaC"),
            ("only a WAV's head", b"RIFF\0\0\0\0WAVEfmt "),
        )
    )
    return Sound(what, data, 3.0, Right.REFUSED)


_MAKERS: tuple[Callable[[random.Random], Sound], ...] = (
    _flac,
    _flac,
    _flac,
    _wav,
    _wav,
    _odd_rate,
    _lossy,
    _lossy,
    _tagged,
    _tagged,
    _mended_header,
    _damaged,
    _damaged,
    _unwritten_length,
    _no_audio,
)
