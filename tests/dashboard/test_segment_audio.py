"""A member of an input archive is found and heard, whoever packed it and however it is named."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from lipika.audio.codec import Audio, decode, encode_flac, encode_wav
from lipika.dashboard import archive_walk
from lipika.dashboard.segment_audio import SegmentAudio
from lipika.dashboard.waveform import excerpt
from lipika.errors import LipikaError, ObjectMissing, SegmentError
from lipika.services import Stores
from lipika.storage import StoreSettings


def noise(seconds: float, seed: int = 1) -> Audio:
    samples = np.random.default_rng(seed).integers(-8000, 8000, int(16_000 * seconds), np.int16)
    return Audio(samples, 16_000, 16)


def packed(path: Path, members: dict[str, bytes], form: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def reader() -> SegmentAudio:
    return SegmentAudio(Stores(StoreSettings()), "")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("stretch", [32 << 10, 1 << 30], ids=["in stretches", "in one go"])
async def test_every_member_is_found_in_archives_of_every_packer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: int, stretch: int
) -> None:
    monkeypatch.setattr(archive_walk, "_STRETCH_BYTES", stretch)
    speaker = "speaker0" if form == tarfile.USTAR_FORMAT else "वक्ता" * 11
    members = {"some/where/metadata.json": b"{}"} | {
        f"some/where/segments/{speaker}_{place * 1000:05}_{place * 1000 + 500:05}.flac": encode_flac(
            noise(0.5 + place / 50, place)
        )
        for place in range(12)
    }
    path = packed(tmp_path / "v.tar", members, form)
    segments = reader()
    for name, data in members.items():
        assert (await segments.read(str(path), name.rpartition("/")[2])).data == data


async def test_a_tar_inside_of_a_tar_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_walk, "_STRETCH_BYTES", 32 << 10)
    inner = packed(
        tmp_path / "inner.tar", {f"segments/x_{n:05}_{n + 9:05}.flac": b"?" * 9000 for n in range(9)}
    )
    sound = encode_flac(noise(1))
    members = {"extras.tar": inner.read_bytes(), "segments/a_00000_00100.flac": sound}
    path = packed(tmp_path / "v.tar", members)
    assert (await reader().read(str(path), "a_00000_00100.flac")).data == sound


async def test_names_of_flags_lead_to_members_that_are_named_otherwise(tmp_path: Path) -> None:
    members = {
        "segments/a_000000_000100.wav": encode_wav(noise(1, 1)),  # flags say a_00000_00100.flac
        "segments/long_00000_10000.flac": encode_flac(noise(1, 2)),
        "segments\\b_00000_00200.flac": encode_flac(noise(1, 3)),
        "notes/readme.txt": b"hello",
        "segments/twice_00000_00100.flac": b"first",
        "other/segments/twice_00000_00100.flac": b"second",
        "loose/b_00000_00300.flac": b"loose",
    }
    path, segments = packed(tmp_path / "v.tar", members), reader()

    async def found(name: str, *, last: bool = False) -> bytes:
        return (await segments.read(str(path), name, last=last)).data

    assert await found("a_00000_00100.flac") == members["segments/a_000000_000100.wav"]
    assert await found("long_00200_00900.flac") == members["segments/long_00000_10000.flac"]  # a clip of it
    assert await found("b_00000_00200.flac") == members["segments\\b_00000_00200.flac"]
    assert await found("notes/readme.txt") == b"hello"
    assert await found("twice_00000_00100.flac") == b"first"
    assert await found("twice_00000_00100.flac", last=True) == b"second"
    for nothing in ("../../../etc/passwd", "", "segments", "nobody_00000_00100.flac"):
        with pytest.raises(ObjectMissing):
            await found(nothing)
    with pytest.raises(LipikaError):
        await segments.read(str(tmp_path / "gone.tar"), "a_00000_00100.flac")


def test_an_excerpt_holds_the_samples_of_its_span_whatever_they_came_in() -> None:
    whole = noise(3)
    for data in (encode_flac(whole), encode_wav(whole)):
        assert np.array_equal(decode(excerpt(data).flac).samples, whole.samples)
        some = excerpt(data, 500, 1_250)
        assert (some.start_ms, some.end_ms, some.whole_ms) == (500, 1_250, 3_000)
        assert np.array_equal(decode(some.flac).samples, whole.samples[8_000:20_000])
        assert excerpt(data, 2_900, 9_000).end_ms == 3_000
        with pytest.raises(SegmentError):
            excerpt(data, 3_000, 4_000)
    with pytest.raises(SegmentError):
        excerpt(b"no audio")


def test_no_more_than_ten_minutes_are_held() -> None:
    hour = Audio(np.zeros(4_000 * 1_200, np.int16), 4_000, 16)
    cut = excerpt(encode_flac(hour))
    assert (cut.end_ms, cut.whole_ms) == (600_000, 1_200_000)
