"""From samples to what the encoder takes: NeMo's log-mel front end in numpy. Pure.

The published bundle carries it as TorchScript (`preprocessor.ts`), which needs torch. This is the same arithmetic:
pre-emphasis, centred short-time Fourier transform, power, Slaney mel filters, log with a guard, and per clip each
band to mean 0 and deviation 1. Every clip goes through it alone: padded to a batch before, it would be normalised
over its padding. `torchscript.py` holds it against the original.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

RATE_HZ = 16_000
BANDS = 80
HOP = 160  # samples, 10 ms
WINDOW = 400  # samples, 25 ms
FFT = 512
PREEMPHASIS = 0.97
LOG_GUARD = 2.0**-24
STD_GUARD = 1e-5

Features = NDArray[np.float32]
"""Shape (80, frames)."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A difference between versions of NeMo. It moves the first and last two frames of a clip, and only where its
    edges are not silent: lipika's clips have 150 ms of silence at each."""

    reflect: bool = False  # beyond the edges: the clip mirrored, else zeros
    partial_frame: bool = False  # a frame for the hop that is not full, too


PUBLISHED = Variant()


def log_mel(samples: NDArray[np.int16], variant: Variant = PUBLISHED) -> Features:
    """Features of one clip of 16 kHz samples, shape (80, frames); at least one frame."""
    signal = samples.astype(np.float32) / 32_768
    emphasised = np.concatenate([signal[:1], signal[1:] - np.float32(PREEMPHASIS) * signal[:-1]])
    reflect = variant.reflect and len(signal) > FFT // 2
    padded = np.pad(emphasised, FFT // 2, mode="reflect" if reflect else "constant")
    framed = sliding_window_view(padded, FFT)[::HOP]
    frames = len(samples) // HOP + variant.partial_frame
    framed = framed[: max(frames, 1)]
    spectrum = np.fft.rfft(framed * _window(), axis=1).astype(np.complex64)
    power = spectrum.real**2 + spectrum.imag**2
    bands = np.empty((BANDS, len(power)), np.float32)
    for band, (first, weights) in enumerate(_narrow_filters()):
        np.matmul(power[:, first : first + len(weights)], weights, out=bands[band])
    return _normalise_bands(np.log(bands + np.float32(LOG_GUARD)))


def _normalise_bands(bands: Features) -> Features:
    mean = bands.mean(axis=1, keepdims=True, dtype=np.float32)
    spread = bands.std(axis=1, keepdims=True, dtype=np.float32, ddof=1 if bands.shape[1] > 1 else 0)
    normalised: Features = ((bands - mean) / (spread + np.float32(STD_GUARD))).astype(np.float32)
    return normalised


@cache
def _window() -> NDArray[np.float32]:
    """A symmetric Hann window in the middle of the transform's length."""
    window = np.zeros(FFT, np.float32)
    start = (FFT - WINDOW) // 2
    window[start : start + WINDOW] = np.hanning(WINDOW)
    return window


@cache
def filters() -> NDArray[np.float32]:
    """Triangles of equal area between 0 and 8 kHz, shape (80, 257), on Slaney's mel scale."""
    edges = mel_to_hz(np.linspace(0.0, hz_to_mel(RATE_HZ / 2), BANDS + 2))
    bins = np.linspace(0.0, RATE_HZ / 2, FFT // 2 + 1)
    width = np.diff(edges)
    distance = edges[:, None] - bins[None, :]
    rising, falling = -distance[:-2] / width[:-1, None], distance[2:] / width[1:, None]
    area = 2.0 / (edges[2:] - edges[:-2])
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * area[:, None]
    return triangles.astype(np.float32)


@cache
def _narrow_filters() -> tuple[tuple[int, NDArray[np.float32]], ...]:
    """Each band's first bin and its weights from there: a triangle covers few of the 257 bins."""
    narrow = []
    for triangle in filters():
        inside = np.flatnonzero(triangle)
        narrow.append((int(inside[0]), triangle[inside[0] : inside[-1] + 1].copy()))
    return tuple(narrow)


_LINEAR_HZ, _LINEAR_MEL, _LOG_STEP = 1000.0, 15.0, np.log(6.4) / 27.0


def hz_to_mel(hz: float) -> float:
    """Slaney's scale: linear up to 1 kHz, then logarithmic."""
    if hz < _LINEAR_HZ:
        return hz * 3 / 200
    return float(_LINEAR_MEL + np.log(hz / _LINEAR_HZ) / _LOG_STEP)


def mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = mel * 200 / 3
    return np.where(mel < _LINEAR_MEL, linear, _LINEAR_HZ * np.exp(_LOG_STEP * (mel - _LINEAR_MEL)))


def band_centre_hz(band: int) -> float:
    """The frequency at which a band's triangle peaks."""
    edges = mel_to_hz(np.linspace(0.0, hz_to_mel(RATE_HZ / 2), BANDS + 2))
    return float(edges[band + 1])
