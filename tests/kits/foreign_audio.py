"""Audio as the world has it, and the judges that decide what is right: `flac`, libsndfile, ffmpeg."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from lipika.audio.flac import StreamInfo, crc8, crc16

_DEPTH_CODES = {8: 1, 12: 2, 16: 4, 20: 5, 24: 6, 32: 7}


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


def utf8_like(value: int) -> bytes:
    """A frame's number; up to 16 bits are enough here."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x800:
        return bytes((0xC0 | value >> 6, 0x80 | value & 0x3F))
    return bytes((0xE0 | value >> 12, 0x80 | value >> 6 & 0x3F, 0x80 | value & 0x3F))


def verbatim_frame(
    samples: NDArray[np.int64], number: int, depth: int, rate: int, *, depth_code: int | None = None
) -> bytes:
    """One frame of samples of shape (frames, channels), as they are; the rate in tens of hertz, if it must be."""
    block, channels = samples.shape
    rate_code, rate_bytes = (13, rate.to_bytes(2)) if rate < 1 << 16 else (14, (rate // 10).to_bytes(2))
    code = _DEPTH_CODES.get(depth, 0) if depth_code is None else depth_code
    head = bytes((0xFF, 0xF8, 7 << 4 | rate_code, (channels - 1) << 4 | code << 1))
    head += utf8_like(number) + (block - 1).to_bytes(2) + rate_bytes
    head += bytes((crc8(head),))
    bits = []
    for channel in range(channels):
        bits.append("00000010")
        bits += [f"{int(value) & (1 << depth) - 1:0{depth}b}" for value in samples[:, channel]]
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    frame: bytes = head + int(text, 2).to_bytes(len(text) // 8)
    return frame + crc16(frame).to_bytes(2)


def md5_of(samples: NDArray[np.int64], depth: int) -> bytes:
    size = -(-depth // 8)
    values = np.ascontiguousarray(samples.astype("<i8")).view(np.uint8).reshape(-1, 8)[:, :size]
    return hashlib.md5(np.ascontiguousarray(values).tobytes(), usedforsecurity=False).digest()


def made_flac(
    samples: NDArray[Any], depth: int = 16, rate: int = 16_000, block: int = 4_096, stated: int | None = None
) -> tuple[bytes, list[bytes]]:
    """Head and frames of a FLAC of any depth, made without a codec. `stated` is the length in its header."""
    values = samples.astype(np.int64).reshape(len(samples), -1)
    starts = range(0, len(values), block)
    frames = [
        verbatim_frame(values[at : at + block], number, depth, rate) for number, at in enumerate(starts)
    ]
    total = len(values) if stated is None else stated
    info = StreamInfo(block, block, rate, values.shape[1], depth, total)
    return info.head(md5=md5_of(values, depth)), frames


def voice(seconds: float = 3, rate: int = 16_000, level: int = 8_000, seed: int = 0) -> NDArray[np.int16]:
    """A tone in noise that fades in and out, of integers that 16 bits hold."""
    frames = int(seconds * rate)
    time = np.arange(frames) / rate
    wave = level * np.sin(2 * np.pi * 220 * time) * (0.6 + 0.4 * np.sin(2 * np.pi * 2 * time))
    wave += np.random.default_rng(seed).normal(0, level / 20, frames)
    return np.clip(np.rint(wave), -32_768, 32_767).astype(np.int16)


def written(
    samples: NDArray[Any], rate: int = 16_000, container: str = "WAV", subtype: str = "PCM_16"
) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def flac_test(data: bytes, *, strict: bool = True) -> str:
    """What `flac -t` says against a file; nothing if it is sound. Strictly, it has a digest too."""
    done = subprocess.run(
        ["flac", "-t", "-s", *(["-w"] if strict else []), "-"], input=data, capture_output=True, check=False
    )
    return done.stderr.decode(errors="replace") if done.returncode else ""


def flac_decoded(data: bytes) -> NDArray[np.int64] | None:
    """What `flac -d` makes of a file, of shape (frames, channels), in the upper bits of 32; None if it refuses."""
    done = subprocess.run(["flac", "-d", "-s", "-c", "-"], input=data, capture_output=True, check=False)
    if done.returncode:
        return None
    samples: NDArray[np.int64] = soundfile.read(io.BytesIO(done.stdout), dtype="int32", always_2d=True)[0]
    return samples.astype(np.int64)


def ffmpeg(data: bytes, *options: str, to: str, folder: Path, come: str = "wav") -> bytes:
    """A file as ffmpeg writes it: it goes back and states lengths."""
    source, target = folder / f"in.{come}", folder / f"out.{to}"
    source.write_bytes(data)
    run(["ffmpeg", "-v", "error", "-y", "-i", str(source), *options, str(target)])
    return target.read_bytes()


def piped(command: Sequence[str], data: bytes) -> bytes:
    """What a program writes to a pipe, where it cannot go back."""
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
