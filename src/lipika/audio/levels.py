"""Measurements of audio: levels, energy over time, and the facts of a clip. Pure; knows no codec.

All of it looks at the upper 16 bits; energies are exact sums, so that every machine cuts at the same places.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from lipika.audio.codec import Audio, Samples
from lipika.models import AudioFacts

FLOOR_DBFS = -100.0  # stands for digital silence

SNR_FRAME_MS = 30
LEAST_SPEECH_DBFS = -80.0  # of the loudest 30 ms: three steps of 16 bits
_STEADY = 10 ** (0.5 / 10)  # loudest frame to the mean: a tone, a hum
_SPECTRUM_FRAMES = 32  # spread evenly over the clip
_SPECTRUM_FRAME = 512  # samples: 31 Hz apart at 16 kHz, 94 Hz at 48 kHz
_BANDWIDTH_DB = 50.0
_POWER_CHUNK = 1 << 16  # samples turned into float64 at a time
_SUM_BLOCK = 1 << 16  # samples whose sum 32 bits hold: half as dear as 64


def dbfs(power: float) -> float:
    """Mean square in 16-bit units as dB below full scale, never under `FLOOR_DBFS`."""
    return max(10 * math.log10(power / 32_768**2), FLOOR_DBFS) if power > 0 else FLOOR_DBFS


def power_of(level_dbfs: float) -> float:
    """The inverse of `dbfs`."""
    return float(10 ** (level_dbfs / 10) * 32_768**2)


def top16(samples: Samples) -> NDArray[np.int16]:
    """The upper 16 bits: all that levels need, and small enough for exact sums of squares."""
    if samples.dtype == np.int16:
        return samples.astype(np.int16, copy=False)
    return (samples >> 16).astype(np.int16)


def energy(samples: NDArray[np.int16], mean: int, size: int) -> NDArray[np.int64]:
    """Sum of squares around `mean` in consecutive frames of `size` samples; a rest is left out.

    Exact, so that it is the same on every machine: float64 holds sums of 2**20 squares of 17-bit differences.
    """
    count = len(samples) // size
    sums = np.empty(count, np.int64)
    step = max(1, _POWER_CHUNK // size)
    for first in range(0, count, step):
        chunk = samples[first * size : min(first + step, count) * size].astype(np.float64).reshape(-1, size)
        chunk -= mean
        sums[first : first + step] = np.einsum("ij,ij->i", chunk, chunk)
    return sums


def mean_level(samples: NDArray[np.int16]) -> int:
    """The DC offset, to the nearest integer."""
    return round(total(samples) / len(samples))


def total(samples: NDArray[np.int16]) -> int:
    """Their exact sum."""
    blocks = range(0, len(samples), _SUM_BLOCK)
    return sum(int(samples[at : at + _SUM_BLOCK].sum(dtype=np.int32)) for at in blocks)


class BinSums:
    """Sums over consecutive bins of `size` samples, of a recording that comes in blocks. All of it is exact."""

    def __init__(self, size: int) -> None:
        self.frames = 0
        self._size = size
        self._total = 0
        self._sums: list[NDArray[np.int64]] = []
        self._squares: list[NDArray[np.int64]] = []
        self._rest = np.empty(0, np.int16)

    def add(self, samples: NDArray[np.int16]) -> None:
        self.frames += len(samples)
        self._total += total(samples)
        if len(self._rest):
            samples = np.concatenate((self._rest, samples))
        whole = len(samples) // self._size * self._size
        self._sums.append(samples[:whole].reshape(-1, self._size).sum(axis=1, dtype=np.int64))
        self._squares.append(energy(samples, 0, self._size))
        self._rest = samples[whole:].copy()

    def mean(self) -> int:
        """The DC offset, to the nearest integer."""
        return round(self._total / self.frames)

    def energy(self, mean: int) -> NDArray[np.int64]:
        """Sum of squares around `mean` in each bin; a rest is left out."""
        sums, squares = np.concatenate(self._sums), np.concatenate(self._squares)
        return squares - 2 * mean * sums + self._size * mean**2


def frame_power(audio: Audio) -> NDArray[np.float64]:
    """Mean squares of the frames of 30 ms, without the DC offset; a rest is left out."""
    samples = top16(audio.samples)
    frame = audio.sample_rate_hz * SNR_FRAME_MS // 1_000
    return energy(samples, mean_level(samples), frame) / frame


def cannot_be_speech(power: NDArray[np.float64]) -> bool:
    """True where `power` (`frame_power`) shows that nobody speaks: no frame is louder than the least of noise, or all
    are as loud as each other, which no voice and no room is.

    Of 165 recordings of RESPIN, 40 dB quieter the quietest reaches -54 dBFS, and under noise 10 dB louder than the
    voice the steadiest has a frame 1.1 dB above the mean.
    """
    loudest = float(power.max())
    return loudest < power_of(LEAST_SPEECH_DBFS) or loudest < float(power.mean()) * _STEADY


def measure(audio: Audio, speech_ms: int, power: NDArray[np.float64] | None = None) -> AudioFacts:
    """Facts of a clip before padding; at least 30 ms long. RMS, SNR and bandwidth leave the DC offset out.

    `power` is its `frame_power`, where that is known already.
    """
    samples = top16(audio.samples)
    mean = mean_level(samples)
    if power is None:
        power = frame_power(audio)
    ordered = np.sort(power)
    quiet, loud = (float(ordered[int(share * (len(power) - 1))]) for share in (0.1, 0.9))
    peak = max(-int(samples.min()), int(samples.max()))
    return AudioFacts(
        speech_ms=speech_ms,
        rms_dbfs=round(dbfs(float(power.mean())), 2),
        peak_dbfs=round(dbfs(float(peak**2)), 2),
        snr_db=round(dbfs(loud) - dbfs(quiet), 2),
        clipped_share=_clipped_share(samples, peak, audio.source_bits or audio.bit_depth),
        bandwidth_hz=_bandwidth_hz(samples, mean, audio.sample_rate_hz),
    )


def _clipped_share(samples: NDArray[np.int16], peak: int, source_bits: int) -> float:
    """Share of samples at the largest or smallest value of the bits they came with."""
    largest = 0x7FFF & -1 << max(16 - source_bits, 0)
    if peak < largest:
        return 0.0
    clipped = int(np.count_nonzero(samples >= largest)) + int(np.count_nonzero(samples == -0x8000))
    return round(clipped / len(samples), 6)


def _bandwidth_hz(samples: NDArray[np.int16], mean: int, rate_hz: int) -> int:
    """Highest frequency of the mean spectrum within 50 dB of its peak; 0 for silence."""
    window = _hann(min(_SPECTRUM_FRAME, len(samples)))
    step = max(1, (len(samples) - len(window)) // (_SPECTRUM_FRAMES - 1))
    count = min(_SPECTRUM_FRAMES, (len(samples) - len(window)) // step + 1)
    apart = samples.strides[0]
    frames = as_strided(samples, (count, len(window)), (step * apart, apart)).astype(np.float32)
    spectrum = np.fft.rfft((frames - mean) * window)
    parts = spectrum.view(np.float32)  # real and imaginary in turn
    power = np.einsum("ij,ij->j", parts, parts).reshape(-1, 2).sum(axis=1)
    within = np.flatnonzero(power >= power.max() * 10 ** (-_BANDWIDTH_DB / 10))
    return int(within[-1]) * rate_hz // len(window) if power.any() else 0


@cache
def _hann(size: int) -> NDArray[np.float32]:
    return np.hanning(size).astype(np.float32)
