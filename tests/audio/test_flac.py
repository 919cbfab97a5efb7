"""FLAC joined from frames of others: every decoder at hand must find exactly the samples that went in."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lipika.audio import decoders
from lipika.audio.codec import Audio, decode, encode_flac, encode_padded
from lipika.audio.flac import Run, Stream, StreamInfo, join_runs
from lipika.errors import SegmentError

PAD = 2_400
MD5 = slice(26, 42)
DEPTHS = [8, 16, 24]

needs_dr_flac = pytest.mark.skipif(decoders.dr_flac is None, reason="miniaudio has no wheel for this system")


def speech_like(frames: int, depth: int = 16, rate: int = 16_000, seed: int = 0) -> Audio:
    """Noise that swells and fades, with digital silence in it: frames of many sizes and kinds."""
    chance = np.random.default_rng(seed)
    level = np.repeat(chance.choice([0, 0.001, 0.05, 1.0], -(-frames // 500)), 500)[:frames]
    values = np.rint(chance.uniform(-1, 1, frames) * level * ((1 << (depth - 1)) - 1)).astype(np.int64)
    wide = values << ((32 if depth == 24 else 16) - depth)
    return Audio(wide.astype(np.int32 if depth == 24 else np.int16), rate, depth)


def padded(audio: Audio, start: int, end: int, pad: int = PAD) -> Audio:
    return Audio(np.pad(audio.samples[start:end], pad), audio.sample_rate_hz, audio.bit_depth)


def with_libsndfile(data: bytes) -> Audio:
    saved, decoders.dr_flac = decoders.dr_flac, None
    try:
        return decode(data)
    finally:
        decoders.dr_flac = saved


def outcome(read: Callable[[bytes], Audio], data: bytes) -> object:
    """The audio as something to compare, or the code of the error."""
    try:
        audio = read(data)
    except SegmentError as error:
        return error.code
    return audio.sample_rate_hz, audio.bit_depth, audio.samples.dtype, audio.samples.tobytes()


# ----------------------------------------------------------------------------- joining


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_piece_of_a_segment_decodes_to_its_samples(data: st.DataObject) -> None:
    depth, rate = (
        data.draw(st.sampled_from(DEPTHS)),
        data.draw(st.sampled_from([4_000, 8_000, 16_000, 44_100, 48_000])),
    )
    frames = data.draw(st.integers(1, 40_000))
    start = data.draw(st.integers(0, frames - 1))
    end = data.draw(st.integers(start + 1, frames))
    pad = data.draw(st.sampled_from([600, 1_000, 1_152, 1_200, PAD, 7_200]))
    audio = speech_like(frames, depth, rate, seed=frames)
    source = encode_flac(audio)

    piece = padded(audio, start, end, pad)
    flac = encode_padded(piece, pad, Stream.find(source), start)

    for read in (decode, with_libsndfile):
        again = read(flac)
        assert (again.sample_rate_hz, again.source_bits) == (rate, depth)
        np.testing.assert_array_equal(again.samples, piece.samples)
    assert flac[MD5] == encode_flac(piece)[MD5]
    info = StreamInfo.read(flac)
    assert info is not None
    assert info.min_block >= min(16, info.frames)
    assert flac == encode_padded(piece, pad, Stream.find(source), start)


@pytest.mark.parametrize(
    ("first", "last"), [(0, 40_000), (5_000, 40_000), (0, 31_234), (5_000, 31_234), (4_608, 31_104)]
)
def test_frames_inside_a_piece_are_taken_over_as_they_are(first: int, last: int) -> None:
    audio = speech_like(40_000)
    source = Stream.find(encode_flac(audio))
    assert source is not None
    piece = padded(audio, first, last)
    flac = encode_padded(piece, PAD, source, first)
    inside = Run.within(source, first, last)
    assert inside.last - inside.first > 20
    for _, start, end in zip(*inside.places, strict=True):
        assert source.data[start:end] in flac
    assert len(flac) < 1.02 * len(encode_flac(piece))
    np.testing.assert_array_equal(with_libsndfile(flac).samples, piece.samples)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("depth", [16, 24])
def test_ffmpeg_reads_it_without_a_word_of_warning(depth: int) -> None:
    audio = speech_like(50_000, depth)
    piece = padded(audio, 5_000, 48_123)
    flac = encode_padded(piece, PAD, Stream.find(encode_flac(audio)), 5_000)
    form = {16: "s16le", 24: "s32le"}[depth]
    done = subprocess.run(
        ["ffmpeg", "-v", "warning", "-err_detect", "crccheck+explode", "-i", "-", "-f", form, "-"],
        input=flac,
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    assert done.stdout == piece.samples.tobytes()


@pytest.mark.parametrize("start", [0, 552, 600, 608, 1_056, 1_152, 1_200])
@pytest.mark.parametrize("pad", [600, 1_050, 1_152])
def test_pads_shorter_than_a_block_stay_silent_and_nothing_else_does(start: int, pad: int) -> None:
    audio = speech_like(20_000, rate=4_000)
    piece = padded(audio, start, 20_000, pad)
    flac = encode_padded(piece, pad, Stream.find(encode_flac(audio)), start)
    np.testing.assert_array_equal(decode(flac).samples, piece.samples)


def test_the_header_says_what_is_there() -> None:
    audio = speech_like(30_000, 24, 48_000)
    flac = encode_padded(padded(audio, 0, 30_000), PAD, Stream.find(encode_flac(audio)), 0)
    info = StreamInfo.read(flac)
    assert info is not None
    assert (info.sample_rate_hz, info.channels, info.bit_depth, info.frames) == (
        48_000,
        1,
        24,
        30_000 + 2 * PAD,
    )
    assert 16 <= info.min_block <= info.max_block <= 4_608
    with soundfile.SoundFile(io.BytesIO(flac)) as file:
        file.seek(20_000)  # a seek lands where it should
        np.testing.assert_array_equal(file.read(500, dtype="int32"), audio.samples[20_000 - PAD :][:500])


@pytest.mark.parametrize("short", [1, 6, 15, 16])
def test_no_block_is_shorter_than_the_format_allows(short: int) -> None:
    """Only the last one may be; strict decoders refuse others."""
    audio = speech_like(40_000)
    source = encode_flac(audio)
    stream = Stream.find(source)
    assert stream is not None
    block = stream.samples[1]
    for start, end in (((PAD - short) % block, 30_000), ((PAD - short) % block + block, 40_000)):
        piece = padded(audio, start, end)
        flac = encode_padded(piece, PAD, stream, start)
        info = StreamInfo.read(flac)
        assert info is not None
        assert info.min_block >= 16
        np.testing.assert_array_equal(with_libsndfile(flac).samples, piece.samples)


def test_streams_joined_many_times_count_their_samples_beyond_a_megasample() -> None:
    audio = speech_like(100_000)
    source = Stream.find(encode_flac(audio))
    assert source is not None
    samples = np.tile(audio.samples, 25)
    flac = join_runs([Run.whole(source)] * 25, lambda: bytes(16))
    assert flac is not None
    np.testing.assert_array_equal(with_libsndfile(flac).samples, samples)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"fLaC",
        encode_flac(speech_like(5_000))[:60],
        encode_flac(speech_like(5_000))[:-3000],
        b"RIFF" + bytes(100),
    ],
    ids=["empty", "mark", "no frames", "cut", "other"],
)
def test_what_is_no_whole_flac_is_not_taken_apart(data: bytes) -> None:
    assert Stream.find(data) is None


def test_other_than_plain_streams_are_encoded_anew() -> None:
    stereo = io.BytesIO()
    soundfile.write(stereo, np.zeros((5_000, 2), np.int16), 16_000, format="FLAC")
    assert Stream.find(stereo.getvalue()) is None
    audio = speech_like(20_000)
    plain = encode_flac(audio)
    piece = padded(audio, 0, 20_000)
    once = encode_padded(piece, PAD, Stream.find(plain), 0)
    twice = encode_padded(Audio(np.pad(piece.samples, PAD), 16_000, 16), PAD, Stream.find(once), 0)
    np.testing.assert_array_equal(with_libsndfile(twice).samples, np.pad(piece.samples, PAD))
    assert once[60:-60][5_000:5_500] in twice, "blocks of several sizes are taken over too"
    assert encode_padded(piece, PAD, None, 0) == encode_flac(piece)


def test_content_that_looks_like_one_more_frame_is_no_reason_to_guess() -> None:
    source = Stream.find(encode_flac(speech_like(5_000)))
    assert source is not None
    head = source.data[source.bounds[1] : source.bounds[1] + 5]
    assert Stream.find(source.data[:-20] + head + source.data[-15:]) is None


# ----------------------------------------------------------------------------- decoding by dr_flac


@needs_dr_flac
@settings(max_examples=60, deadline=None)
@given(st.sampled_from([16, 24]), st.integers(1, 30_000), st.sampled_from([8_000, 16_000, 48_000]))
def test_both_decoders_give_the_same_samples(depth: int, frames: int, rate: int) -> None:
    data = encode_flac(speech_like(frames, depth, rate, seed=frames))
    assert outcome(decode, data) == outcome(with_libsndfile, data)


@needs_dr_flac
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(1, 4), st.booleans())
@example(4652, 1, False)
def test_damage_never_gives_other_samples(seed: int, hits: int, cut: bool) -> None:
    """The same error, or the same samples where the damage is in what nobody reads.

    dr_flac also passes over comments that libsndfile stumbles on: then the samples are sound.
    """
    chance = np.random.default_rng(seed)
    sound = encode_flac(speech_like(9_000, seed=1))
    data = bytearray(sound)
    for _ in range(hits):
        data[chance.integers(len(data))] ^= 1 << chance.integers(8)
    if cut:
        del data[chance.integers(len(data)) :]
    ours, theirs = outcome(decode, bytes(data)), outcome(with_libsndfile, bytes(data))
    assert ours in (theirs, outcome(decode, sound))
