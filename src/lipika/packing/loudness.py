"""The loudness of a recording in steps of 10 ms: what is silent in it, where it pauses, what has a pitch. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lipika.audio.decoders import Samples
from lipika.audio.levels import energy, mean_level, power_of, top16
from lipika.audio.polish import silence_levels

STEPS_PER_SECOND = 100

_BLIP_STEPS = 8  # a sound so short, alone, is a click
_ALONE_STEPS = 50
_FRAME = 1_024  # samples at 16 kHz: 64 ms, 16 Hz apart
_PEAK = 10 ** (12 / 10)  # above its surroundings: noise seldom is, and not in the same place again
_TONES = 1.5  # peaks a frame that last: music, hum, whistling


def step_powers(samples: Samples, step: int) -> NDArray[np.int64]:
    """Mean squares of consecutive `step` samples in 16-bit units, of the loudest channel; a rest is left out.

    Around the mean of all samples that are given: of at least some seconds, for voices to have none.
    """
    if len(samples) < step:
        return np.empty(0, np.int64)
    each = []
    for channel in range(samples.shape[1]):
        values = np.ascontiguousarray(top16(samples[:, channel]))
        each.append(energy(values, mean_level(values), step) // step)
    loudest: NDArray[np.int64] = np.max(each, axis=0)
    return loudest


def silence_of(power: NDArray[np.int64]) -> tuple[float, float, float]:
    """The power below which a step is silent; how far speech is above that, in dB; the level of speech, in dBFS."""
    silence_dbfs, speech_dbfs = silence_levels(power)
    return power_of(silence_dbfs), speech_dbfs - silence_dbfs, speech_dbfs


def runs_of(mask: NDArray[np.bool_], shortest: int = 1) -> list[tuple[int, int]]:
    """Stretches of at least `shortest` True: first, and after the last."""
    framed = np.zeros(len(mask) + 2, np.bool_)
    framed[1:-1] = mask
    steps = np.flatnonzero(framed[1:] != framed[:-1]).reshape(-1, 2)
    return [(int(first), int(last)) for first, last in steps if last - first >= shortest]


def widen(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """True as well for `by` steps before and after."""
    wide = mask.copy()
    for first, last in runs_of(mask):
        wide[max(first - by, 0) : last + by] = True
    return wide


def without_clicks(loud: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`loud` without what is too short and too lonely to be a word."""
    kept = loud.copy()
    sounds = runs_of(loud)
    for number, (first, last) in enumerate(sounds):
        before = sounds[number - 1][1] if number else -_ALONE_STEPS
        after = sounds[number + 1][0] if number + 1 < len(sounds) else last + _ALONE_STEPS
        if last - first <= _BLIP_STEPS and first - before >= _ALONE_STEPS and after - last >= _ALONE_STEPS:
            kept[first:last] = False
    return kept


def has_pitch(samples: NDArray[np.float32]) -> bool:
    """True where some tones last from one frame to the next, as those of music do. At 16 kHz, some seconds."""
    count = len(samples) // _FRAME
    if count < 2:
        return False
    frames = samples[: count * _FRAME].reshape(count, _FRAME) * np.hanning(_FRAME).astype(np.float32)
    power = np.abs(np.fft.rfft(frames)[:, 6:320]) ** 2  # 100 Hz to 5 kHz
    sides = np.lib.stride_tricks.sliding_window_view(np.pad(power, ((0, 0), (10, 10)), "edge"), 21, axis=1)
    peaks = power > _PEAK * np.median(sides, axis=2)
    wide = peaks | np.roll(peaks, 1, axis=1) | np.roll(peaks, -1, axis=1)
    lasting = peaks[1:] & wide[:-1]
    return float(lasting.sum(axis=1).mean()) >= _TONES
