"""Segments that nobody here made: what is packed must decode to the samples that were meant, or be refused."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import foreign_audio
from foreign_audio import flac_decoded, flac_test, made_flac, needs, verbatim_frame, voice, written
from lipika.audio import decoders, recording
from lipika.audio.codec import Audio, decode, encode_flac, encode_ogg
from lipika.audio.flac import Run, Stream, StreamInfo, proof
from lipika.audio.polish import polish_segment
from lipika.audio.recording import ONE_CHANNEL, encoded_rate, read
from lipika.errors import SegmentError
from lipika.models import PolishedClip, SegmentName, SendFormat

RATE = 16_000
PAD = 2_400
VOICE = voice()
FLAC = encode_flac(Audio(VOICE, RATE, 16))


@pytest.fixture(params=["dr_flac", "libsndfile"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With and without dr_flac, which not every machine has."""
    if request.param == "libsndfile":
        monkeypatch.setattr(decoders, "dr_flac", None)
    elif decoders.dr_flac is None:
        pytest.skip("miniaudio has no wheel for this system")
    return str(request.param)


def clip_of(data: bytes, seconds: float = 3.0) -> PolishedClip:
    (clip,) = polish_segment(SegmentName("a", 0, round(seconds * 100)), data).clips
    return clip


def meant(samples: NDArray[Any], rate: int = RATE) -> NDArray[np.int32]:
    """A clip's samples in the upper bits of 32: the segment's between pads."""
    wide = samples.astype(np.int32) << 16 if samples.dtype == np.int16 else samples
    return np.pad(wide, round(0.15 * rate))


def libsndfile(data: bytes) -> NDArray[np.int32]:
    samples: NDArray[np.int32] = soundfile.read(io.BytesIO(data), dtype="int32")[0]
    return samples


def refused(data: bytes) -> SegmentError:
    with pytest.raises(SegmentError) as caught:
        polish_segment(SegmentName("a", 0, 300), data)
    assert caught.value.code == "bad_audio", caught.value
    return caught.value


def with_head(flac: bytes, info: StreamInfo) -> bytes:
    """The FLAC with another STREAMINFO."""
    return flac[:8] + info.head()[8:42] + flac[42:]


def stream_of(flac: bytes) -> Stream:
    stream = Stream.find(flac)
    assert stream is not None
    return stream


def info_of(flac: bytes, **other: int) -> StreamInfo:
    info = StreamInfo.read(flac)
    assert info is not None
    facts = {name: getattr(info, name) for name in StreamInfo.__slots__} | other
    return StreamInfo(**facts)


# ----------------------------------------------------------------------------- bytes that are no audio

APE_TAG = b"APETAGEX\xd0\x07\0\0" + bytes(20) + b"Title\0abc" + bytes(40)
TAILS = {
    "id3v1": b"TAG" + bytes(125),
    "ape": APE_TAG,
    "a zero": b"\0",
    "two zeros": b"\0\0",
    "a sector of zeros": bytes(4_096),
    "a newline": b"\n",
    "what leaves the checksum at nothing": b"\x01\x80\x05",
    "syncs": b"\xff\xf8" * 9,
    "the file again": FLAC,
    "a frame again": FLAC[stream_of(FLAC).bounds[3] : stream_of(FLAC).bounds[4]],
}


@needs("flac")
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("states_length", [True, False])
def test_what_follows_the_last_frame_does_not_count(tail: str, states_length: bool, decoder: str) -> None:
    if tail in ("syncs", "the file again", "a frame again") and not states_length:
        return  # nobody can say then which frame is the last
    flac = FLAC if states_length else with_head(FLAC, info_of(FLAC, frames=0))
    packed = clip_of(flac + TAILS[tail]).packed
    assert flac_test(packed) == ""
    np.testing.assert_array_equal(libsndfile(packed), meant(VOICE))


@needs("flac")
@pytest.mark.parametrize(
    "head", [b"hello\n" * 9, bytes(700), b"ID3\x04\0\0\0\0\x10\0" + bytes(2_048), b"\xff\xf8\xff"]
)
def test_what_precedes_the_first_frame_does_not_count(head: bytes, decoder: str) -> None:
    packed = clip_of(head + FLAC).packed
    assert flac_test(packed) == ""
    np.testing.assert_array_equal(libsndfile(packed), meant(VOICE))


@pytest.mark.parametrize("junk", [b"\0", b"\0\0", b"\n", b"\x01\x80\x05", bytes(500), b"TAG" + bytes(125)])
def test_bytes_between_frames_are_refused_as_every_decoder_does(junk: bytes, decoder: str) -> None:
    bounds = stream_of(FLAC).bounds
    for at in bounds[1:-1:7]:
        assert "sync" in str(refused(FLAC[:at] + junk + FLAC[at:]))


def test_no_byte_too_many_goes_along_with_a_frame(decoder: str) -> None:
    """Also where the changed checksum would hide it: behind one of 256 frames."""
    chance = np.random.default_rng(5)
    hidden = 0
    for number in range(1_200):
        noise = chance.integers(-8 - 4 * number, 8 + 4 * number, 2 * 1_152).astype(np.int16)
        flac = encode_flac(Audio(noise, RATE, 16))
        at = stream_of(flac).bounds[1]
        run = Run(stream_of(flac[:at] + b"\x55" + flac[at:]), 0, 1)
        tried = proof(run)
        assert tried is not None
        moved = decoders.mono_flac_samples(tried[0], run.blocks[0], 16)
        if tried[1]:
            hidden += moved is not None
            assert decoders.mono_flac_samples(tried[1][0], 1, 16) is not None, number
        else:
            assert moved is None, number
    assert hidden > 1


@pytest.mark.parametrize("depth", [8, 16, 24])
def test_what_is_sound_is_proven_in_whatever_words_its_frames_state_the_depth(
    depth: int, decoder: str
) -> None:
    left = VOICE if depth == 16 else VOICE.astype(np.int32) << 16
    whole = Run.whole(stream_of(encode_flac(Audio(left, RATE, depth))))
    tried = proof(whole)
    assert tried is not None
    again = proof(Run.whole(stream_of(tried[0])))
    assert again is not None
    assert again[0] == whole.data
    for data in (tried[0], again[0]):
        samples = decoders.mono_flac_samples(data, len(VOICE), depth)
        np.testing.assert_array_equal(samples, decoders.mono_flac_samples(whole.data, len(VOICE), depth))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 1 << 30))
def test_whatever_is_done_to_a_flac_its_clips_decode_to_what_was_meant(seed: int) -> None:
    """Damage, holes, repetitions and insertions at the borders of frames and anywhere."""
    chance = np.random.default_rng(seed)
    bounds = stream_of(FLAC).bounds
    data = bytearray(FLAC)
    for _ in range(chance.integers(1, 4)):
        at = int(chance.choice(bounds)) if chance.random() < 0.7 else int(chance.integers(len(data)))
        match chance.integers(5):
            case 0:
                data[at:at] = chance.bytes(int(chance.integers(1, 9)))
            case 1:
                data[at:at] = bytes(int(chance.integers(1, 9)))
            case 2:
                first, last = sorted(chance.choice(len(bounds), 2))
                data[at:at] = FLAC[bounds[first] : bounds[last]]
            case 3:
                del data[at : at + int(chance.integers(1, 2_000))]
            case _:
                data[min(at, len(data) - 1)] ^= 1 << chance.integers(8)
    try:
        made = polish_segment(SegmentName("a", 0, 300), bytes(data))
    except SegmentError:
        return
    for clip in made.clips:
        samples = libsndfile(clip.packed)
        np.testing.assert_array_equal(decode(clip.packed).samples, samples >> 16)
        assert not samples[:PAD].any()
        assert not samples[-PAD:].any()
        found = VOICE.tobytes().find((samples[PAD:-PAD] >> 16).astype(np.int16).tobytes())
        assert found >= 0, "samples are missing in the middle, or doubled"


# ----------------------------------------------------------------------------- headers that know less than frames


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"sample_rate_hz": 8_000}, "sample rate is 16000"),
        ({"bit_depth": 24}, "bit depth is 16"),
        ({"channels": 2}, "channels is 1"),
    ],
)
def test_a_header_that_disagrees_with_the_frames_is_refused(
    other: dict[str, int], words: str, decoder: str
) -> None:
    assert words in str(refused(with_head(FLAC, info_of(FLAC, **other))))


def test_what_changes_midway_is_refused(decoder: str) -> None:
    samples = np.arange(8_192)[:, None]
    for frame in (
        verbatim_frame(samples[4_096:], 1, 16, 8_000),
        verbatim_frame(samples[4_096:], 1, 12, RATE),
        verbatim_frame(np.hstack((samples, samples))[4_096:], 1, 16, RATE),
    ):
        for stated in (8_192, 0):
            head = StreamInfo(4_096, 4_096, RATE, 1, 16, stated).head()
            assert "frame" in str(refused(head + verbatim_frame(samples[:4_096], 0, 16, RATE) + frame))


def test_damage_that_surplus_frames_hide_is_found(decoder: str) -> None:
    bounds = stream_of(FLAC).bounds
    damaged = bytearray(FLAC)
    damaged[bounds[5] + 40] ^= 0x55
    refused(bytes(damaged) + FLAC)
    block = stream_of(FLAC).samples[1]
    refused(with_head(bytes(damaged), info_of(FLAC, frames=len(VOICE) - block)))
    frame = FLAC[bounds[5] : bounds[6]]
    refused(bytes(damaged[: bounds[6]]) + frame + FLAC[bounds[6] :])


@needs("flac")
def test_of_two_lengths_the_one_with_the_right_digest_is_taken() -> None:
    head, frames = made_flac(VOICE, stated=20_000)
    np.testing.assert_array_equal(decode(head + b"".join(frames)).samples, VOICE)
    silent = StreamInfo(4_096, 4_096, RATE, 1, 16, 20_000).head()
    assert "20000" in str(refused(silent + b"".join(frames)))


@needs("flac")
@pytest.mark.parametrize("head", ["none", "after others", "wrong block sizes", "broken metadata"])
def test_frames_are_read_whatever_their_header_is_worth(head: str) -> None:
    bounds = stream_of(FLAC).bounds
    frames = FLAC[bounds[0] :]
    padding = b"\x01\0\0\x08" + bytes(8)
    data = {
        "none": frames,
        "after others": b"fLaC" + padding + b"\x80" + FLAC[5:42] + frames,
        "wrong block sizes": with_head(FLAC, info_of(FLAC, min_block=16, max_block=16)),
        "broken metadata": FLAC[:4] + b"\0" + FLAC[5:42] + b"\x81\xff\xff\xff" + frames,
    }[head]
    packed = clip_of(data).packed
    assert flac_test(packed) == ""
    np.testing.assert_array_equal(libsndfile(packed), meant(VOICE))


# ----------------------------------------------------------------------------- depths, blocks, channels


@needs("flac")
@pytest.mark.parametrize("depth", [8, 12, 15, 16, 20, 24, 32])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("states_digest", [True, False])
def test_every_depth_is_packed_as_flac_decodes_it(
    depth: int, channels: int, states_digest: bool, decoder: str
) -> None:
    chance = np.random.default_rng(depth)
    wide = np.clip(chance.normal(0, 0.1, (2 * RATE + 777, channels)), -1, 1)
    samples = np.rint(wide * ((1 << depth - 1) - 1)).astype(np.int64)
    head, frames = made_flac(samples, depth, RATE)
    data = (head if states_digest else head[:26] + bytes(16)) + b"".join(frames)
    assert flac_test(data, strict=states_digest) == ""
    clip = clip_of(data)
    assert flac_test(clip.packed) == ""
    packed = flac_decoded(clip.packed)
    assert packed is not None
    assert clip.clip.bit_depth == (16 if depth <= 16 else 24)
    exact = (samples << 32 - depth).mean(axis=1)
    half_a_step = 0.5 * (1 << 32 - (24 if depth > 16 else 16)) if channels > 1 else 0
    dropped = 255 if depth == 32 else 0
    assert np.abs(packed[PAD:-PAD, 0] - exact).max() <= half_a_step + dropped


@needs("flac")
@needs("ffmpeg")
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_S8"])
def test_ffmpeg_reads_all_of_what_had_8_bits(subtype: str) -> None:
    """Its version 5 drops frames of less than 11 bytes, which silence of 8 bits takes."""
    quiet = np.concatenate((VOICE, np.zeros(RATE, np.int16), VOICE)) & -256
    data = written(quiet, RATE, "FLAC" if subtype == "PCM_S8" else "WAV", subtype)
    for clip in polish_segment(SegmentName("a", 0, 700), data).clips:
        form = ["-f", "s32le", "-"]
        out = foreign_audio.piped(["ffmpeg", "-v", "error", "-i", "-", *form], clip.packed)
        np.testing.assert_array_equal(np.frombuffer(out, np.int32), libsndfile(clip.packed))


@needs("flac")
def test_what_only_the_slow_reader_takes_is_read() -> None:
    """A side channel of 33 bits, blocks of 65,536 samples."""
    wide = np.random.default_rng(3).integers(-(1 << 31), 1 << 31, (70_000, 2), np.int64)
    wide[:, 1] = wide[:, 0] // 2
    raw = wide.astype("<i4").tobytes()
    options = ["--force-raw-format", "--endian=little", "--sign=signed", "--channels=2", "--bps=32"]
    flac = foreign_audio.piped(["flac", "-s", "-c", *options, "--sample-rate=16000", "-"], raw)
    audio = decode(flac)
    assert np.abs(audio.samples - wide.mean(axis=1)).max() <= 384
    mono = np.random.default_rng(4).integers(-999, 999, 65_536 + 1_000)
    head, frames = made_flac(mono, block=65_535)
    big = verbatim_frame(mono[:65_536, None], 0, 16, RATE) + verbatim_frame(mono[65_536:, None], 1, 16, RATE)
    np.testing.assert_array_equal(decode(head[:26] + bytes(16) + big).samples, mono)
    np.testing.assert_array_equal(decode(head + b"".join(frames)).samples, mono)


# ----------------------------------------------------------------------------- rates


@needs("flac")
@pytest.mark.parametrize(
    "rate", [4_000, 7_999, 11_025, 12_345, 65_535, 65_537, 70_001, 88_201, 96_096, 176_399, 192_000]
)
@pytest.mark.parametrize("depth", [16, 24])
def test_every_rate_gives_a_clip(rate: int, depth: int) -> None:
    wave = voice(3, rate).astype(np.int32) << 16
    data = written(wave, rate, "WAV", f"PCM_{depth}")
    for send_format in (SendFormat.FLAC, SendFormat.OGG):
        (clip,) = polish_segment(SegmentName("a", 0, 300), data, send_format).clips
        assert flac_test(clip.packed) == ""
        assert clip.clip.duration_ms == 3_300
        packed = decode(clip.packed)
        assert packed.sample_rate_hz == encoded_rate(rate) <= rate
        assert packed.bit_depth == depth
        level = 20 * np.log10(
            np.std(packed.samples.astype(float))
            / np.std(np.pad(wave, round(0.15 * rate)) >> (0 if depth == 24 else 16))
        )
        assert abs(level) < 0.2


def test_a_codec_that_fails_is_the_segments_trouble() -> None:
    with pytest.raises(SegmentError, match="96096 Hz cannot be encoded"):
        encode_flac(Audio(VOICE, 96_096, 16))


# ----------------------------------------------------------------------------- channels that cancel out


def stereo(left: NDArray[Any], right: NDArray[Any]) -> bytes:
    both = np.stack((left, right), axis=1).clip(-32_768, 32_767).astype(np.int16)
    return written(both, RATE, "FLAC")


OTHER = voice(3, seed=5)
SHIFTED = np.roll(VOICE, 3)


@pytest.mark.parametrize(
    "right",
    [
        -VOICE,
        -0.8 * VOICE,
        -1.2 * VOICE + 300,
        -VOICE + OTHER // 200,
        np.concatenate((VOICE[: len(VOICE) // 2], -VOICE[len(VOICE) // 2 :])),
    ],
    ids=["mirrored", "weaker", "louder with an offset", "noisy", "for half of the time"],
)
def test_of_channels_that_cancel_out_the_louder_is_taken(right: NDArray[Any]) -> None:
    clip = clip_of(stereo(VOICE, right))
    assert ONE_CHANNEL in clip.clip.flags
    samples = decode(clip.packed).samples[PAD:-PAD]
    louder = VOICE if np.std(right) <= np.std(VOICE) else right.clip(-32_768, 32_767).astype(np.int16)
    np.testing.assert_array_equal(samples, louder)
    assert clip.clip.audio.rms_dbfs > -30


def noise(seed: int) -> NDArray[np.int16]:
    return np.random.default_rng(seed).normal(0, 3_000, len(VOICE)).astype(np.int16)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (VOICE, VOICE),
        (VOICE, SHIFTED),
        (VOICE, 0 * VOICE),
        (VOICE, noise(1)),
        (noise(1), noise(2)),
        (0 * VOICE, 0 * VOICE),
        (VOICE, np.full_like(VOICE, -9_000)),
        (VOICE // 9_000, -(VOICE // 9_000) * 0 + VOICE // 7_000),
    ],
    ids=["alike", "late", "one is silent", "noise beside", "noises", "silence", "an offset", "hum"],
)
def test_of_others_the_mean_is_taken(left: NDArray[Any], right: NDArray[Any]) -> None:
    clip = clip_of(stereo(left, right))
    assert ONE_CHANNEL not in clip.clip.flags
    mean = (left.astype(np.int64) + right.astype(np.int64) + 1) // 2
    np.testing.assert_array_equal(decode(clip.packed).samples[PAD:-PAD], mean)


def test_channels_are_looked_at_in_a_long_recording_too(monkeypatch: pytest.MonkeyPatch) -> None:
    data = stereo(VOICE, -VOICE)
    short = clip_of(data)
    monkeypatch.setattr(recording, "_KEPT_FRAMES", 10_000)
    monkeypatch.setattr(decoders, "BLOCK_VALUES", 1 << 13)
    assert clip_of(data).packed == short.packed


# ----------------------------------------------------------------------------- containers

AGAIN = voice(2, seed=9)


def test_a_wav_whose_length_was_never_written_is_read_to_its_end() -> None:
    wav = written(VOICE)
    at = wav.index(b"data") + 4
    for stated in (0, 0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000):
        data = wav[:at] + stated.to_bytes(4, "little") + wav[at + 4 :]
        for riff in (wav[4:8], bytes(4), b"\xff" * 4):
            np.testing.assert_array_equal(decode(data[:4] + riff + data[8:]).samples, VOICE)


def test_an_empty_wav_is_still_empty() -> None:
    empty = written(VOICE[:0])
    for data in (empty, empty + b"LIST\x04\0\0\0INFO"):
        with pytest.raises(SegmentError, match="no audio") as caught:
            decode(data)
        assert caught.value.code == "empty_audio"


@needs("ffmpeg")
@pytest.mark.parametrize(
    "form", [["-f", "wav"], ["-f", "wav", "-rf64", "always"], ["-f", "w64"], ["-f", "flac"], ["-f", "aiff"]]
)
def test_what_comes_out_of_a_pipe_is_whole(form: list[str]) -> None:
    data = foreign_audio.piped(["ffmpeg", "-v", "error", "-i", "-", *form, "-"], written(VOICE))
    np.testing.assert_array_equal(decode(data).samples, VOICE)


@needs("ffmpeg")
@pytest.mark.parametrize("to", ["w64", "aiff", "caf", "wav", "flac"])
def test_lossless_containers_are_read_exactly(to: str, tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        decode(foreign_audio.ffmpeg(written(VOICE), to=to, folder=tmp_path)).samples, VOICE
    )


@needs("ffmpeg")
def test_a_flac_in_an_ogg_is_a_flac(tmp_path: Path) -> None:
    data = foreign_audio.ffmpeg(written(VOICE), "-c:a", "flac", "-f", "ogg", to="oga", folder=tmp_path)
    packed = clip_of(data).packed
    np.testing.assert_array_equal(libsndfile(packed), meant(VOICE))


@needs("ffmpeg")
@pytest.mark.parametrize(
    ("to", "options"),
    [("ogg", ["-c:a", "libvorbis"]), ("opus", ["-c:a", "libopus"]), ("mp3", []), ("wav", [])],
)
def test_streams_in_a_row_are_one_recording(to: str, options: list[str], tmp_path: Path) -> None:
    first, second = (
        foreign_audio.ffmpeg(written(samples), *options, to=to, folder=tmp_path) for samples in (VOICE, AGAIN)
    )
    both = decode(first + second)
    np.testing.assert_array_equal(
        both.samples, np.concatenate((decode(first).samples, decode(second).samples))
    )
    assert len(both.samples) == pytest.approx(5 * RATE, rel=0.01)


def test_streams_that_do_not_fit_together_are_refused_with_what_to_do() -> None:
    narrow = encode_ogg(Audio(AGAIN, 8_000, 16))
    assert "encode it as one" in str(refused(encode_ogg(Audio(VOICE, RATE, 16)) + narrow))


@needs("ffmpeg")
def test_a_flac_cut_without_encoding_says_so(tmp_path: Path) -> None:
    cut = foreign_audio.ffmpeg(
        FLAC, "-ss", "1", "-t", "1.5", "-c", "copy", to="flac", folder=tmp_path, come="flac"
    )
    assert "-c copy" in str(refused(cut))
    assert "breaks off" in str(refused(FLAC[: stream_of(FLAC).bounds[9]]))


@needs("ffmpeg")
def test_an_mp3_is_found_behind_what_is_no_mp3(tmp_path: Path) -> None:
    mp3 = foreign_audio.ffmpeg(written(VOICE), to="mp3", folder=tmp_path)
    for data in (bytes(500) + mp3, mp3 + b"TAG" + bytes(125), b"hello" + mp3):
        np.testing.assert_array_equal(decode(data).samples, decode(mp3).samples)


# ----------------------------------------------------------------------------- what is given out


def plain_types(thing: object) -> bool:
    if isinstance(thing, dict):
        return all(map(plain_types, thing.values()))
    if isinstance(thing, list | tuple):
        return all(map(plain_types, thing))
    return type(thing) in (int, float, str, bool, type(None))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([8_000, 16_000, 22_050]),
    st.sampled_from(["PCM_U8", "PCM_16", "PCM_24"]),
    st.integers(0, 1 << 30),
    st.sampled_from(["rails", "one", "constant", "noise", "square", "silence"]),
)
def test_whatever_the_samples_are_what_is_said_of_them_can_be_written_down(
    rate: int, subtype: str, seed: int, shape: str
) -> None:
    """No number of numpy's leaves polishing: JSON knows none of them."""
    chance = np.random.default_rng(seed)
    wave = chance.normal(0, 2_000, 12 * rate)
    match shape:
        case "rails":
            wave = chance.choice([-32_768, 32_767], 12 * rate)
        case "one":
            wave[chance.integers(len(wave))] = 32_767
        case "constant":
            wave[:] = chance.integers(-32_768, 32_768)
        case "square":
            wave = np.where(np.arange(12 * rate) // 80 % 2, 32_767, -32_768)
        case "silence":
            wave[:] = 0
    data = written(wave.clip(-32_768, 32_767).astype(np.int16), rate, "WAV", subtype)
    made = polish_segment(SegmentName("a", 0, 1_200), data)
    for clip in made.clips:
        facts = {**asdict(clip.clip), "send_format": None}
        facts.pop("send_format")
        orjson.dumps(clip.clip)
        assert plain_types(facts), facts
    for discard in made.discards:
        assert plain_types(asdict(discard))


def test_one_clipped_sample_is_counted_and_written_down() -> None:
    clipped = VOICE.copy()
    clipped[20_000] = 32_767
    clip = clip_of(encode_flac(Audio(clipped, RATE, 16))).clip
    assert clip.audio.clipped_share == 0.000021
    assert b'"clipped_share":0.000021' in orjson.dumps(clip)


# ----------------------------------------------------------------------------- long recordings


@pytest.mark.parametrize("form", ["plain", "wide", "tagged", "stereo", "odd rate"])
def test_a_recording_in_pieces_gives_the_clips_of_one_in_hand(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [voice(4.3, seed=seed) for seed in range(9)]
    long = np.concatenate([piece for part in parts for piece in (part, np.zeros(3_000, np.int16))])
    data = {
        "plain": encode_flac(Audio(long, RATE, 16)),
        "wide": encode_flac(Audio(long.astype(np.int32) << 16, 48_000, 24)),
        "tagged": encode_flac(Audio(long, RATE, 16)) + b"TAG" + bytes(125),
        "stereo": stereo(long, long // 2),
        "odd rate": written(long, 66_001),
    }[form]
    name = SegmentName("a", 0, 4_000)
    at_once = polish_segment(name, data)
    monkeypatch.setattr(recording, "_KEPT_FRAMES", 20_000)
    for module in (recording, decoders):
        monkeypatch.setattr(module, "BLOCK_VALUES", 30_000)
    assert not read(data).is_short
    in_pieces = polish_segment(name, data)
    assert in_pieces.discards == at_once.discards
    for one, other in zip(in_pieces.clips, at_once.clips, strict=True):
        assert (one.packed, one.sent) == (other.packed, other.sent)
        assert one.clip == other.clip
    spans = [(clip.clip.original_start_ms, clip.clip.original_end_ms) for clip in in_pieces.clips]
    assert all(left[1] == right[0] for left, right in pairwise(spans))


PEAK = """
import resource, sys
import numpy as np
from lipika.models import SegmentName
from lipika.audio.polish import polish_segment
data = open(sys.argv[1], "rb").read()
polish_segment(SegmentName("a", 0, 300), open(sys.argv[2], "rb").read())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
made = polish_segment(SegmentName("a", 0, 360_000), data)
print(len(made.clips), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are counted in kilobytes on Linux alone")
@pytest.mark.parametrize("form", ["flac", "stereo wav"])
def test_an_hour_of_silence_takes_the_memory_of_a_piece(form: str, tmp_path: Path) -> None:
    """It took 1.7 GB as a whole: an hour at 16 kHz and 24 bits is 230 MB for each copy."""
    rate = 16_000 if form == "flac" else 8_000
    samples = np.zeros(3_600 * rate, np.int32)
    path, short = tmp_path / "hour", tmp_path / "short"
    data = (
        encode_flac(Audio(samples, rate, 24))
        if form == "flac"
        else written(np.zeros((len(samples), 2), np.int16), rate, "WAV", "PCM_U8")
    )
    path.write_bytes(data)
    short.write_bytes(FLAC)
    done = subprocess.run([sys.executable, "-c", PEAK, path, short], capture_output=True, check=True)
    clips, megabytes = map(int, done.stdout.split())
    assert clips > 240
    assert megabytes < 150
