"""Decoding, encoding, resampling and measuring, with real codecs."""

from __future__ import annotations

import io
import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foreign_audio import written
from lipika.audio.codec import (
    Audio,
    decode,
    encode_flac,
    resample_for_model,
    to_ms,
)
from lipika.audio.levels import (
    dbfs,
    energy,
    measure,
    power_of,
)
from lipika.audio.recording import MAX_SEGMENT_SECONDS
from lipika.errors import SegmentError

STREAMINFO_RATE_TO_TOTAL = slice(18, 26)  # bytes of the FLAC header: 20 bits rate ... 36 bits total frames


def noise(frames: int, depth: int = 16, seed: int = 0, channels: int = 1) -> NDArray[np.int32]:
    """Random integers of `depth` bits, left-justified, shape (frames, channels)."""
    values = np.random.default_rng(seed).integers(-(1 << (depth - 1)), 1 << (depth - 1), (frames, channels))
    return (values << (32 - depth)).astype(np.int32)


def mono(frames: int, rate: int = 16_000, depth: int = 16, seed: int = 0) -> Audio:
    wide = noise(frames, depth, seed)[:, 0]
    return Audio(wide if depth == 24 else (wide >> 16).astype(np.int16), rate, depth)


def tone(hz: float, rate: int, seconds: float = 2.0, level: float = 0.5) -> Audio:
    wave = level * 32_768 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)
    return Audio(np.clip(np.rint(wave), -32_768, 32_767).astype(np.int16), rate, 16)


def with_total_frames(flac: bytes, total: int) -> bytes:
    """The FLAC with another length in its header; 0 means that it states none."""
    head = int.from_bytes(flac[STREAMINFO_RATE_TO_TOTAL], "big") >> 36 << 36
    return flac[:18] + (head | total).to_bytes(8, "big") + flac[26:]


def code_of(data: bytes) -> str:
    with pytest.raises(SegmentError) as caught:
        decode(data)
    return caught.value.code


# ----------------------------------------------------------------------------- formats


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("depth", [8, 16, 24])
def test_flac_survives_encoding_and_decoding_exactly(rate: int, depth: int) -> None:
    audio = mono(9_001, rate, depth)
    again = decode(encode_flac(audio))
    assert (again.sample_rate_hz, again.bit_depth, again.source_bits) == (rate, max(depth, 16), depth)
    assert again.samples.dtype == audio.samples.dtype
    np.testing.assert_array_equal(again.samples, audio.samples)


def test_flac_bytes_are_what_other_readers_expect() -> None:
    audio = mono(5_000, 22_050, 24)
    with soundfile.SoundFile(io.BytesIO(encode_flac(audio))) as file:
        assert (file.format, file.subtype, file.samplerate, file.channels) == ("FLAC", "PCM_24", 22_050, 1)
        np.testing.assert_array_equal(file.read(dtype="int32"), audio.samples)


@pytest.mark.parametrize("depth", [8, 16, 24])
@pytest.mark.parametrize("channels", [2, 3, 8])
def test_channels_are_averaged_as_integers_of_the_packed_depth(depth: int, channels: int) -> None:
    wide = noise(4_000, depth, channels=channels)
    audio = decode(written(wide, 16_000, "FLAC", {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}[depth]))
    packed = max(depth, 16)
    values = wide.astype(np.int64) >> (32 - packed)
    expected = np.floor(values.mean(axis=1) + 0.5) if channels != 3 else (values.sum(axis=1) + 1) // 3
    kept_bits = audio.samples.astype(np.int64) >> (8 * audio.samples.itemsize - packed)
    np.testing.assert_array_equal(kept_bits, expected)


@pytest.mark.parametrize(
    ("subtype", "depth"),
    [("PCM_U8", 8), ("PCM_16", 16), ("PCM_24", 24), ("PCM_32", 24), ("FLOAT", 24), ("DOUBLE", 24)],
)
def test_wav_keeps_its_upper_bits(subtype: str, depth: int) -> None:
    wide = noise(3_000, depth)
    data = wide / 2**31 if subtype in ("FLOAT", "DOUBLE") else wide
    audio = decode(written(data, 16_000, "WAV", subtype))
    assert (audio.bit_depth, audio.source_bits) == (max(depth, 16), depth)
    np.testing.assert_array_equal(audio.samples, wide[:, 0] if depth == 24 else wide[:, 0] >> 16)


def test_32_bit_samples_lose_their_lowest_byte() -> None:
    audio = decode(written(noise(3_000, 32), 16_000, "WAV", "PCM_32"))
    np.testing.assert_array_equal(audio.samples, noise(3_000, 32)[:, 0] & -256)


@pytest.mark.parametrize(
    ("container", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
)
def test_lossy_formats_decode_to_about_the_same_tone(container: str, subtype: str) -> None:
    source = tone(440, 48_000)
    audio = decode(written(source.samples, 48_000, container, subtype))
    assert (audio.sample_rate_hz, audio.bit_depth, audio.samples.dtype.name) == (48_000, 16, "int16")
    assert len(audio.samples) == pytest.approx(len(source.samples), rel=0.05)
    assert measure(audio, 0).rms_dbfs == pytest.approx(measure(source, 0).rms_dbfs, abs=0.5)


def test_float_samples_beyond_full_scale_are_clipped_not_wrapped() -> None:
    audio = decode(written(np.array([1.5, -1.5, 0.25] * 100), 16_000, "WAV", "FLOAT"))
    assert audio.samples[:3].tolist() == [(2**23 - 1) << 8, -(2**31), 2**29]


# ----------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("data", [b"", written(np.zeros(0, np.int16), 16_000, "WAV", "PCM_16")])
def test_nothing_in_it_is_empty_audio(data: bytes) -> None:
    assert code_of(data) == "empty_audio"


@pytest.mark.parametrize(
    "data",
    [b"\xff", b"hello, not audio", b"fLaC", b"fLaC" + bytes(200), b"RIFF\0\0\0\0WAVE", b"OggS", b"ID3"],
)
def test_what_is_no_audio_is_bad_audio(data: bytes) -> None:
    assert code_of(data) == "bad_audio"


def test_formats_nobody_asked_for_are_not_even_opened() -> None:
    assert code_of(written(np.zeros(100, np.int16), 16_000, "AU", "PCM_16")) == "bad_audio"


def test_nan_in_float_audio_is_bad_audio() -> None:
    assert code_of(written(np.array([0.0, np.nan]), 16_000, "WAV", "FLOAT")) == "bad_audio"


@pytest.mark.parametrize("rate", [1_000, 352_800])
def test_absurd_sample_rates_are_refused(rate: int) -> None:
    assert code_of(written(np.zeros(1_000, np.int16), rate, "WAV", "PCM_16")) == "unsupported_audio"


def test_too_many_channels_are_refused() -> None:
    assert code_of(written(np.zeros((1_000, 9), np.int16), 16_000, "WAV", "PCM_16")) == "unsupported_audio"


FLAC = encode_flac(mono(20_000))
FIRST_FRAME = FLAC.index(b"\xff\xf8", 42)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(FLAC) - 1))
def test_a_flac_cut_anywhere_is_an_error(length: int) -> None:
    with pytest.raises(SegmentError):
        decode(FLAC[:length])


def test_a_flac_that_ends_between_two_frames_is_an_error() -> None:
    """The cut that leaves only whole frames: every one of them decodes, just not enough."""
    starts = [at for at in range(FIRST_FRAME, len(FLAC)) if FLAC[at : at + 2] == b"\xff\xf8"]
    assert len(starts) > 10
    assert {code_of(FLAC[:at]) for at in starts} == {"bad_audio"}


@settings(max_examples=150, deadline=None)
@given(st.integers(FIRST_FRAME * 8, len(FLAC) * 8 - 1))
def test_a_flipped_bit_in_the_frames_is_an_error(bit: int) -> None:
    damaged = bytearray(FLAC)
    damaged[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(SegmentError):
        decode(bytes(damaged))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 42 * 8 - 1), st.sampled_from([FLAC, written(noise(2_000), 16_000, "WAV", "PCM_16")]))
def test_a_damaged_header_gives_audio_or_an_error(bit: int, data: bytes) -> None:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << (bit % 8)
    try:
        audio = decode(bytes(damaged))
    except SegmentError:
        return
    assert 0 < len(audio.samples) <= MAX_SEGMENT_SECONDS * audio.sample_rate_hz


@pytest.mark.parametrize(
    ("claimed", "code"),
    [(2**36 - 1, "too_long"), (3_601 * 16_000, "too_long"), (3_500 * 16_000, "bad_audio")],
)
def test_a_lying_header_costs_no_memory(claimed: int, code: str) -> None:
    data = with_total_frames(FLAC, claimed)
    tracemalloc.start()
    assert code_of(data) == code
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20  # the claims would take 110 MB and more


def test_a_flac_that_states_no_length_is_read_to_its_end() -> None:
    np.testing.assert_array_equal(decode(with_total_frames(FLAC, 0)).samples, decode(FLAC).samples)


def test_a_flac_that_states_no_length_still_has_a_limit() -> None:
    """Three hours in 30 KB: memory follows the limit, not the stream."""
    data = encode_flac(Audio(np.zeros(3 * MAX_SEGMENT_SECONDS * 4_000, np.int16), 4_000, 16))
    assert code_of(data) == "too_long"
    tracemalloc.start()
    assert code_of(with_total_frames(data, 0)) == "too_long"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20  # an hour takes 29 MB


def test_an_hour_is_allowed() -> None:
    silence = Audio(np.zeros(MAX_SEGMENT_SECONDS * 4_000, np.int16), 4_000, 16)
    assert decode(encode_flac(silence)).duration_ms == 3_600_000


def test_messages_say_what_is_wrong() -> None:
    with pytest.raises(SegmentError, match=r"not FLAC, WAV, Ogg or MP3: it starts with b'\\x7fELF'"):
        decode(b"\x7fELF and so on")
    with pytest.raises(SegmentError, match=r"damaged or truncated audio: .*sync"):
        decode(FLAC[:-1])


# ----------------------------------------------------------------------------- what is sent


def test_audio_that_is_ready_to_send_is_sent_itself() -> None:
    audio = mono(1_000)
    assert resample_for_model(audio) is audio


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("depth", [8, 16, 24])
def test_sent_audio_is_16_khz_16_bit_and_as_long(rate: int, depth: int) -> None:
    sent = resample_for_model(mono(rate * 2, rate, depth))
    assert (sent.sample_rate_hz, sent.bit_depth, sent.samples.dtype.name) == (16_000, 16, "int16")
    assert abs(len(sent.samples) - 32_000) <= 1


def test_resampling_keeps_the_voice_band_and_drops_the_rest() -> None:
    source, sent = tone(1_000, 48_000), resample_for_model(tone(1_000, 48_000))
    assert measure(sent, 0).rms_dbfs == pytest.approx(measure(source, 0).rms_dbfs, abs=0.05)
    assert measure(resample_for_model(tone(12_000, 48_000)), 0).rms_dbfs < -60


def test_overshoot_at_full_scale_does_not_wrap_around() -> None:
    square = np.where(np.arange(48_000) // 240 % 2, 32_767, -32_768).astype(np.int16)
    sent = resample_for_model(Audio(square, 48_000, 16)).samples
    assert sent.max() == 32_767
    assert sent.min() == -32_768
    inside_plateaus = np.arange(len(sent)) % 80 % 79 > 1
    np.testing.assert_array_equal((sent > 0)[inside_plateaus], (square[::3] > 0)[inside_plateaus])


def test_24_bits_are_rounded_to_16() -> None:
    samples = np.array([0x7FFF << 16 | 0xFF00, 0x1234 << 16 | 0x8100, -(1 << 31), 0x100], np.int32)
    assert resample_for_model(Audio(samples, 16_000, 24)).samples.tolist() == [0x7FFF, 0x1235, -0x8000, 0]


# ----------------------------------------------------------------------------- repeatable, thread-safe, tidy


def test_the_same_audio_gives_the_same_bytes_in_any_thread() -> None:
    sources = [
        mono(30_000, rate, depth, seed=rate + depth) for rate in (16_000, 44_100) for depth in (8, 16, 24)
    ]

    def bytes_of(source: Audio) -> tuple[bytes, bytes]:
        packed = encode_flac(source)
        return packed, encode_flac(resample_for_model(decode(packed)))

    expected = [bytes_of(source) for source in sources]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(bytes_of, sources * 10)) == expected * 10


def test_without_files_in_memory_the_result_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = mono(20_000)
    monkeypatch.delattr(os, "memfd_create", raising=False)
    assert encode_flac(audio) == FLAC
    np.testing.assert_array_equal(decode(FLAC).samples, audio.samples)


def test_no_descriptor_is_left_open() -> None:
    def open_descriptors() -> int:
        return len(list(Path("/dev/fd").iterdir()))

    before = open_descriptors()
    for data in (FLAC, FLAC[:500], b"fLaC", with_total_frames(FLAC, 2**36 - 1)) * 5:
        try:
            encode_flac(decode(data))
        except SegmentError:
            continue
    assert open_descriptors() == before


# ----------------------------------------------------------------------------- facts


def test_levels_of_a_sine() -> None:
    facts = measure(tone(1_000, 16_000, level=0.5), speech_ms=1_234)
    assert facts.speech_ms == 1_234
    assert facts.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert facts.rms_dbfs == pytest.approx(-9.03, abs=0.01)
    assert facts.snr_db == pytest.approx(0, abs=0.1)
    assert facts.clipped_share == 0
    assert facts.bandwidth_hz == pytest.approx(1_000, abs=100)


def test_levels_leave_the_dc_offset_out() -> None:
    plain = tone(1_000, 16_000, level=0.25)
    shifted = Audio(plain.samples + np.int16(5_000), 16_000, 16)
    assert measure(shifted, 0).rms_dbfs == pytest.approx(measure(plain, 0).rms_dbfs, abs=0.01)
    assert measure(shifted, 0).bandwidth_hz == measure(plain, 0).bandwidth_hz


def test_facts_do_not_depend_on_the_depth() -> None:
    audio = tone(700, 16_000)
    wide = Audio(audio.samples.astype(np.int32) << 16, 16_000, 24)
    assert measure(wide, 0) == measure(audio, 0)


def test_snr_is_the_distance_of_loud_and_quiet_frames() -> None:
    quiet, loud = tone(500, 16_000, level=0.005), tone(500, 16_000, level=0.5)
    facts = measure(Audio(np.concatenate((quiet.samples, loud.samples)), 16_000, 16), 0)
    assert facts.snr_db == pytest.approx(40, abs=0.2)


@pytest.mark.parametrize(("depth", "largest"), [(8, 127 << 8), (16, 32_767), (24, 32_767)])
def test_clipped_share_counts_both_rails(depth: int, largest: int) -> None:
    samples = np.zeros(16_000, np.int16)
    samples[:1_000], samples[1_000:1_600] = largest, -32_768
    audio = Audio(samples if depth != 24 else samples.astype(np.int32) << 16, 16_000, depth)
    assert measure(audio, 0).clipped_share == 0.1


def test_bandwidth_shows_audio_that_was_upsampled() -> None:
    narrow = mono(16_000, 8_000).samples.astype(np.float32)
    spectrum = np.fft.rfft(narrow)
    upsampled = np.fft.irfft(np.pad(spectrum, (0, 3 * len(spectrum) - 3)), 4 * len(narrow))
    audio = Audio(np.rint(upsampled * 2).astype(np.int16), 32_000, 16)
    assert measure(audio, 0).bandwidth_hz == pytest.approx(4_000, abs=300)
    assert measure(mono(32_000), 0).bandwidth_hz == 8_000


def test_facts_of_silence() -> None:
    facts = measure(Audio(np.zeros(32_000, np.int16), 16_000, 16), 0)
    assert (facts.rms_dbfs, facts.peak_dbfs, facts.snr_db, facts.bandwidth_hz) == (-100, -100, 0, 0)


@given(st.floats(-99, 0))
def test_power_and_level_are_inverse(level: float) -> None:
    assert dbfs(power_of(level)) == pytest.approx(level)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(0, 3_000), st.integers(-20_000, 20_000))
def test_energy_is_exact(size: int, frames: int, mean: int) -> None:
    samples = mono(frames, seed=frames).samples.astype(np.int16)
    whole = frames // size * size
    expected = ((samples[:whole].astype(np.int64) - mean) ** 2).reshape(-1, size).sum(axis=1)
    np.testing.assert_array_equal(energy(samples, mean, size), expected)


def test_milliseconds_round_to_the_nearest() -> None:
    assert [to_ms(frames, 16_000) for frames in (0, 7, 8, 16, 23, 24)] == [0, 0, 1, 1, 1, 2]
