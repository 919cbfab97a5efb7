"""WAV for trainers: the same samples, or as many as another rate has, and never a clipped one."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foreign_audio import voice, written
from lipika.audio.codec import Audio, encode_flac
from lipika.dataset.convert import Converted, to_flac, to_wav
from lipika.errors import SegmentError

RATES = [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]


def sine(hertz: float, rate: int, frames: int, level: float) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * np.arange(frames) / rate)


def flac(values: np.ndarray, rate: int, depth: int = 16) -> bytes:
    """Values from -1 to 1."""
    top = (1 << depth - 1) - 1
    whole = np.rint(values * top).astype(np.int64) << ((32 if depth == 24 else 16) - depth)
    return encode_flac(Audio(whole.astype(np.int32 if depth == 24 else np.int16), rate, depth))


def samples(wav: Converted, kind: str = "WAV") -> np.ndarray:
    """As libsndfile reads them, once the file has been found to be what it is said to be."""
    with soundfile.SoundFile(io.BytesIO(wav.data)) as file:
        assert (file.format, file.subtype, file.channels) == (kind, "PCM_16", 1)
        assert (file.samplerate, file.frames) == (wav.sample_rate_hz, wav.num_samples)
        found: np.ndarray = file.read(dtype="int16")
        return found


@pytest.mark.parametrize("rate", [None, 48_000])
def test_samples_stay_as_they_are_where_nothing_is_asked_for(rate: int | None) -> None:
    packed = written(voice(3, 48_000), 48_000, "FLAC")
    wav = to_wav(packed, rate)
    assert wav.gain == 1
    assert np.array_equal(samples(wav), soundfile.read(io.BytesIO(packed), dtype="int16")[0])


def test_24_bits_are_rounded_to_16() -> None:
    low = np.array([0, 127, 129, 255 + 256, -127, -129, 384]) / ((1 << 23) - 1)
    wav = to_wav(flac(low, 16_000, 24))
    assert samples(wav).tolist() == [0, 0, 1, 2, 0, -1, 2]
    assert samples(to_flac(flac(low, 16_000, 24)), "FLAC").tolist() == [0, 0, 1, 2, 0, -1, 2]


def test_the_loudest_24_bits_do_not_wrap_around() -> None:
    wav = to_wav(flac(np.array([1.0, -1.0, 0.5] * 100), 16_000, 24))
    assert samples(wav)[:3].tolist() == [32_767, -32_767, 16_384]
    assert wav.gain == pytest.approx(1, abs=1e-4)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60_000), st.sampled_from(RATES), st.sampled_from(RATES), st.sampled_from([16, 24]))
def test_as_many_samples_as_the_other_rate_has(frames: int, rate: int, asked: int, depth: int) -> None:
    noise = np.random.default_rng(frames).uniform(-0.6, 0.6, frames)
    packed = flac(noise, rate, depth)
    wav = to_wav(packed, asked)
    assert abs(wav.num_samples - frames * asked / rate) < 1
    assert wav == to_wav(packed, asked)
    assert len(samples(wav)) == wav.num_samples


@settings(deadline=None, max_examples=60)
@given(
    st.floats(60, 3_000), st.floats(0.05, 1), st.sampled_from(RATES), st.sampled_from(RATES), st.booleans()
)
@example(2125.0, 1.0, 11_025, 8_000, False)
@example(2860.79, 1.0, 11_025, 8_000, True)
def test_a_tone_is_the_same_tone_at_another_rate(
    hertz: float, level: float, rate: int, asked: int, deep: bool
) -> None:
    wav = to_wav(flac(sine(hertz, rate, rate, level), rate, 24 if deep else 16), asked)
    full = 8_388_607 / 256 if deep else 32_767  # of the source, in steps of 16 bits
    expected = sine(hertz, asked, wav.num_samples, level) * full * wav.gain
    middle = slice(asked // 8, -asked // 8)  # the filter rings where the tone starts and ends
    off = samples(wav)[middle] - expected[middle]
    # The filter lets a tone through as loud as it is, to 0.002 dB, which is 2.3e-4 of its size: of 1,500 tones the
    # worst, at 0.7 of the new band, was off by 0.001 dB.
    turns = 2 * np.pi * hertz / asked * np.arange(wav.num_samples)[middle]
    tone = np.stack([np.sin(turns), np.cos(turns)], axis=1)
    louder = np.linalg.lstsq(tone, off, rcond=None)[0]
    assert np.hypot(*louder) < 2.3e-4 * level * 32_767 + 0.2
    # The rest is rounded twice, to 16 bits before and after: a variance of 1/12 each, and its rare peaks.
    rest = off - tone @ louder
    assert np.sqrt(np.mean(rest**2)) < 0.45
    assert np.abs(rest).max() < 2.5


def test_what_lies_above_the_new_band_is_gone() -> None:
    wav = to_wav(flac(sine(15_000, 48_000, 48_000, 0.9), 48_000), 24_000)
    assert np.abs(samples(wav)[3_000:-3_000]).max() <= 1


@pytest.mark.parametrize(("rate", "asked"), [(48_000, 24_000), (16_000, 24_000), (44_100, 22_050)])
def test_a_clip_at_full_scale_is_made_quieter_and_not_clipped(rate: int, asked: int) -> None:
    square = np.where(sine(700, rate, rate, 1) > 0, 1.0, -1.0)
    wav = to_wav(flac(square, rate), asked)
    found = samples(wav).astype(int)
    assert 0.7 < wav.gain < 1
    assert (np.abs(found) >= 32_766).sum() < 20  # clipped, one in three would be
    assert found.max() <= 32_767
    quiet = to_wav(flac(square / 2, rate), asked)
    assert quiet.gain == 1
    assert np.abs(found - samples(quiet).astype(int) * 2 * wav.gain).max() < 4


def test_silence_stays_digital_silence() -> None:
    assert not samples(to_wav(flac(np.zeros(48_000), 48_000), 16_000)).any()


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_that_is_none_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match=f"a sample rate of {rate} Hz"):
        to_wav(flac(np.zeros(4_000), 16_000), rate)


def test_damage_is_an_error_and_not_a_shorter_clip() -> None:
    packed = written(voice(3, 16_000), 16_000, "FLAC")
    with pytest.raises(SegmentError):
        to_wav(packed[: len(packed) // 2], 24_000)
