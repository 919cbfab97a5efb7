"""Any audio as a stream: exact where it can be, and a reason where it cannot."""

from __future__ import annotations

import builtins
import io
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from foreign_audio import needs
from lipika.audio.decoders import Samples
from lipika.errors import PackingError
from lipika.packing.decode import AudioStream, open_audio
from lipika.packing.items import AudioPlace

RATE = 16_000
NOISE = (np.random.default_rng(7).standard_normal(3 * RATE) * 3_000).astype(np.int16)


def read(place: AudioPlace | Path | bytes, track: int = 0) -> tuple[AudioStream, Samples]:
    if isinstance(place, bytes):
        place = AudioPlace("bytes", data=place)
    if isinstance(place, Path):
        place = AudioPlace(str(place))
    with open_audio(place, track) as stream:
        blocks = list(stream.blocks(5_000))
        assert max(map(len, blocks)) <= 5_000
        return stream, np.concatenate(blocks)


def refusal(data: AudioPlace | Path | bytes, track: int = 0) -> str:
    with pytest.raises(PackingError) as caught:
        read(data, track)
    return caught.value.code


def wav(samples: NDArray[Any], subtype: str = "PCM_16", form: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, subtype, format=form)
    return file.getvalue()


def stated(data: bytes, size: int) -> bytes:
    """A WAV that says something else of its samples' length."""
    at = data.index(b"data") + 4
    return data[:at] + struct.pack("<I", size) + data[at + 4 :]


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_wav_of_every_width_is_what_libsndfile_reads(subtype: str) -> None:
    whole = np.stack([NOISE, NOISE[::-1], NOISE // 2], axis=1)
    floats = subtype in ("FLOAT", "DOUBLE")
    data = wav(whole / 32_768 if floats else whole, subtype)
    stream, got = read(data)
    narrow = subtype in ("PCM_U8", "PCM_16")
    want, _ = soundfile.read(io.BytesIO(data), dtype="int16" if narrow else "int32")
    want = whole.astype(np.int32) << 16 if floats else want
    assert (stream.rate, stream.channels, stream.depth) == (RATE, 3, 16 if narrow else 24)
    assert np.array_equal(got, want if narrow else want & -256)
    assert stream.frames == len(NOISE)


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_24"), ("AIFF", "PCM_16")],
)
def test_lossless_files_keep_every_sample(form: str, subtype: str) -> None:
    _, got = read(wav(NOISE, subtype, form))
    shift = 0 if subtype == "PCM_16" else 16
    assert np.array_equal(got[:, 0], NOISE.astype(got.dtype) << shift)


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_FFFF])
def test_a_wav_is_as_long_as_its_file_whatever_it_says(size: int) -> None:
    stream, got = read(stated(wav(NOISE), size))
    assert np.array_equal(got[:, 0], NOISE)
    assert bool(stream.notes) == (size == 0x7FFF_FFFF)


def test_a_wav_over_four_gigabytes_is_read_past_the_wrap(tmp_path: Path) -> None:
    """Its header can only say how much more than four gigabytes there is."""
    path = tmp_path / "long.wav"
    head = stated(wav(NOISE[:0]), 2 * RATE)
    with path.open("wb") as file:
        file.write(head)
        file.seek(len(head) + (1 << 32) + 2 * RATE - 2)
        file.write(b"\1\0")
    with open_audio(AudioPlace(str(path))) as stream:
        assert stream.frames == RATE
        block = next(stream.blocks())
        assert not block.any()
    from lipika.packing.wav import find_wav

    with path.open("rb") as file:
        form = find_wav(file)
    assert form is not None
    assert form.frames == (1 << 31) + RATE


def test_recordings_that_follow_one_another_are_one() -> None:
    for form, subtype in (("WAV", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")):
        one, two = wav(NOISE, subtype, form), wav(NOISE[:RATE], subtype, form)
        _, got = read(one + two)
        assert len(got) == len(read(one)[1]) + len(read(two)[1]), form


def test_a_part_of_a_file_is_a_recording(tmp_path: Path) -> None:
    data = wav(NOISE, "PCM_16", "FLAC")
    path = tmp_path / "some.tar"
    path.write_bytes(bytes(512) + data + wav(NOISE[:99]))
    assert np.array_equal(read(AudioPlace(str(path), 512, len(data)))[1][:, 0], NOISE)
    assert np.array_equal(read(AudioPlace(str(path), 512 + len(data)))[1][:, 0], NOISE[:99])


def without_av(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def load(name: str, *rest: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", load)


def test_damage_in_a_flac_is_silence_and_without_ffmpeg_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    long = np.tile(NOISE, 12)
    data = bytearray(wav(long, "PCM_16", "FLAC"))
    data[len(data) // 2 : len(data) // 2 + 9_000] = bytes(9_000)
    stream, got = read(bytes(data))
    assert len(got) == len(long)
    wrong = np.flatnonzero(got[:, 0] != long)
    assert 4_096 <= wrong[-1] - wrong[0] < 6 * 4_096
    assert not got[wrong].any()
    assert "silence instead" in stream.notes[0]
    without_av(monkeypatch)
    given: list[Samples] = []
    with open_audio(AudioPlace("x", data=bytes(data))) as stream:
        blocks = stream.blocks()
        with pytest.raises(PackingError, match=r"lipika-speech\[media\]") as caught:
            given.extend(blocks)
    assert caught.value.code == "damaged_audio"
    sound = np.concatenate(given)[:, 0]
    assert np.array_equal(sound, long[: len(sound)])


def test_what_is_no_audio_has_a_reason(tmp_path: Path) -> None:
    assert refusal(b"") == "empty_file"
    assert refusal(b"hello, this is text\n" * 99) == "not_audio"
    assert refusal(wav(NOISE[:0])) == "empty_audio"
    assert refusal(tmp_path / "none.wav") == "missing_file"
    assert refusal(tmp_path) == "unreadable_file"
    assert refusal(AudioPlace("https://example.org/a.wav")) == "not_local"
    assert refusal(wav(np.array([0.0, np.nan, 0.5]), "FLOAT")) == "bad_samples"
    assert refusal(wav(np.zeros((99, 9), np.int16))) == "unsupported_audio"


def ffmpeg(*words: str | Path) -> bytes:
    return subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that FFmpeg makes; libsndfile reads none of them."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "a.wav").write_bytes(wav(np.stack([NOISE, NOISE // 3], axis=1)))
    (folder / "b.wav").write_bytes(wav(NOISE // 9))
    sound, picture = ("-i", folder / "a.wav"), ("-f", "lavfi", "-i", "testsrc=d=1:s=64x64")
    ffmpeg(*sound, "-c:a", "aac", folder / "aac.m4a")
    ffmpeg(*sound, "-c:a", "flac", folder / "flac.mkv")
    ffmpeg(*sound, "-c:a", "libopus", "-ar", "48000", folder / "opus.webm")
    ffmpeg(*picture, folder / "silent.mp4")
    quiet = ("-i", folder / "b.wav")
    ffmpeg(*picture, *sound, *quiet, "-map", "0", "-map", "1", "-map", "2", folder / "two.mp4")
    key = (
        "-encryption_key",
        "76a6c65c5ea762046bd749a2e632ccbb",
        "-encryption_kid",
        "a7e61c373e219033c21091fa607bf3b8",
    )
    ffmpeg(*sound, "-c:a", "aac", "-encryption_scheme", "cenc-aes-ctr", *key, folder / "locked.mp4")
    return folder


@needs("ffmpeg")
def test_films_are_what_ffmpeg_decodes(films: Path) -> None:
    for name, off in (("aac.m4a", 2), ("flac.mkv", 0), ("opus.webm", 300), ("two.mp4", 2)):
        stream, got = read(films / name)
        raw = ffmpeg("-i", films / name, "-map", "0:a:0", "-f", "s16le", "-")
        want = np.frombuffer(raw, "<i2").reshape(-1, 2)
        assert abs(len(got) - len(want)) <= 1_024, (
            name
        )  # releases of FFmpeg differ in the rest of the last frame
        both = min(len(got), len(want))
        assert np.abs(got[:both].astype(int) - want[:both]).max() <= off, name
        assert stream.depth == 16


@needs("ffmpeg")
def test_the_track_of_a_film_is_chosen(films: Path) -> None:
    first, second = (read(films / "two.mp4", track)[1].astype(float) for track in (0, 1))
    assert np.std(second) < np.std(first) / 2
    assert refusal(films / "two.mp4", 2) == "no_such_track"


@needs("ffmpeg")
def test_films_that_give_no_sound_say_why(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(films / "silent.mp4") == "no_audio_track"
    assert refusal(films / "locked.mp4") == "protected_audio"
    assert refusal((films / "aac.m4a").read_bytes()[:9_000]) in ("not_audio", "bad_audio")
    without_av(monkeypatch)
    with pytest.raises(PackingError, match=r"lipika-speech\[media\]"):
        read(films / "aac.m4a")


@needs("ffmpeg")
def test_damage_in_a_film_is_silence_of_its_length(films: Path) -> None:
    whole = (films / "aac.m4a").read_bytes()
    _, sound = read(whole)
    data = bytearray(whole)
    middle = data.index(b"mdat") + 20_000
    data[middle : middle + 4_000] = b"\xff" * 4_000
    _, got = read(bytes(data))
    assert abs(len(got) - len(sound)) <= 1_024
    assert np.array_equal(got[-RATE // 2 :], sound[-RATE // 2 :])


def test_a_playlist_opens_no_other_file_and_no_address(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "a.wav").write_bytes(wav(NOISE))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        for target in (address, str(tmp_path / "a.wav")):
            playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n"
            for name, text in (
                ("a.m3u8", playlist),
                ("b.ffconcat", f"ffconcat version 1.0\nfile '{target}'\n"),
            ):
                (tmp_path / name).write_text(text)
                assert refusal(tmp_path / name) in ("not_audio", "no_audio_track", "bad_audio")
        with pytest.raises(TimeoutError):
            server.accept()
