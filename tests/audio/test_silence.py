"""What cannot be speech is not asked for; whatever can be is, however quiet, however noisy."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lipika.audio.codec import Audio, decode, encode_flac
from lipika.audio.polish import polish_segment
from lipika.errors import SegmentError
from lipika.models import PolishedClip, SegmentName
from places import ROOT

RATE = 16_000
CHANCE = np.random.default_rng(5)
VOICES_FROM = 40  # mean level in steps of 16 bits; below are silence and hiss


def polish(samples: NDArray[np.float64], rate: int = RATE) -> tuple[PolishedClip, ...]:
    whole = np.clip(np.rint(samples), -32_768, 32_767).astype(np.int16)
    name = SegmentName("speaker0", 0, round(100 * len(whole) / rate))
    return polish_segment(name, encode_flac(Audio(whole, rate, 16))).clips


def tone(dbfs: float, hertz: float = 440.0, seconds: float = 4.0) -> NDArray[np.float64]:
    times = np.arange(int(seconds * RATE)) / RATE
    wave: NDArray[np.float64] = 32_768 * 10 ** (dbfs / 20) * np.sin(2 * np.pi * hertz * times)
    return wave


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(np.zeros(4 * RATE), id="digital silence"),
        pytest.param(np.full(4 * RATE, 700.0), id="a constant"),
        pytest.param(CHANCE.integers(-1, 2, 4 * RATE).astype(float), id="dither"),
        pytest.param(np.zeros(60 * RATE), id="a minute of it"),
        pytest.param(tone(-10), id="a loud tone"),
        pytest.param(tone(-85), id="a tone at the last bit"),
    ],
)
def test_what_cannot_be_speech(samples: NDArray[np.float64]) -> None:
    clips = polish(samples)
    assert clips
    assert all(clip.silent for clip in clips)


def segments() -> Iterator[tuple[str, str, Audio]]:
    for path in sorted((ROOT / "samples" / "tars").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member)
                if file is None or not member.name.endswith(".flac"):
                    continue
                with suppress(SegmentError):  # one of them cannot be decoded
                    yield path.name, Path(member.name).stem, decode(file.read())


@pytest.mark.parametrize("quieter_db", [0, 30, 40])
@pytest.mark.parametrize("noise_db", [None, -15, 0, 5])
def test_samples_are_asked_for_quiet_and_in_noise(quieter_db: int, noise_db: int | None) -> None:
    """`noise_db`: white noise against the mean level of the segment."""
    asked, taken = 0, set()
    for tar, stem, audio in segments():
        samples = audio.samples.astype(float)
        samples = samples.mean(axis=1) if samples.ndim > 1 else samples
        if audio.samples.dtype == np.int32:
            samples /= 65_536
        level = float(np.sqrt(np.mean(samples**2)))
        if level < VOICES_FROM:
            continue
        if noise_db is not None:
            samples = samples * 0.2
            samples += CHANCE.normal(0, 0.2 * level * 10 ** (noise_db / 20), len(samples))
        clips = polish(samples * 10 ** (-quieter_db / 20), audio.sample_rate_hz)
        asked += len(clips)
        taken |= {(tar, stem) for clip in clips if clip.silent}
    assert asked > 50
    assert taken == set()
