"""The audio of one clip is found in its result archive by ranges, and looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipika.archive import documents, video_documents
from lipika.archive.spool import Spool
from lipika.audio.codec import Audio, encode_flac
from lipika.dashboard import archive_walk
from lipika.dashboard.clip_audio import ClipAudio
from lipika.dashboard.waveform import waveform
from lipika.errors import LipikaError, ObjectMissing
from lipika.models import Accounting
from lipika.services import Stores
from lipika.storage import StoreSettings
from stored_kit import made, members


def archive(folder: Path, clips: int, clip_bytes: int, speaker: str = "speaker0") -> Path:
    """A result archive whose audio is noise: some of it looks like tar headers."""
    noise = np.random.default_rng(1)
    with Spool(folder) as spool:
        for number in range(clips):
            stem = f"{speaker}_{number * 1000:05d}_{number * 1000 + 500:05d}"
            audio = b"fLaC" + noise.bytes(clip_bytes + number) + b"segments/x\0ustar  \0" * 40
            spool.add_clip(stem, audio)
            spool.add_result(stem, documents.clip_result_to_json(made(number)))
        metadata = video_documents.result_metadata({}, "v", "hi", Accounting(), [], video_documents.Summary())
        path = folder / "v_transcribed.tar"
        path.write_bytes(b"".join(spool.compose(metadata).chunks()))
    return path


@pytest.mark.parametrize("speaker", ["speaker0", "वक्ता" * 12], ids=["short", "long"])
@pytest.mark.parametrize("stretch", [64 << 10, 1 << 30])
async def test_every_clip_is_found_wherever_stretches_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stretch: int, speaker: str
) -> None:
    monkeypatch.setattr(archive_walk, "_STRETCH_BYTES", stretch)
    monkeypatch.setattr(archive_walk, "_SCAN_BYTES", 4096)
    path = archive(tmp_path, clips=40, clip_bytes=30_000, speaker=speaker)
    reader = ClipAudio(Stores(StoreSettings()), "")
    there = {name: data for name, data in members(path).items() if name.startswith("segments/")}
    assert len(there) == 40
    for name, data in there.items():
        assert await reader.read(str(path), Path(name).name) == data


async def test_little_more_than_the_clip_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path, clips=20, clip_bytes=100_000)
    stores = Stores(StoreSettings())
    store = stores.place(str(path), "").store
    asked: list[int] = []
    get_range = type(store).get_range

    async def counted(self: object, key: str, start: int, end: int) -> bytes:
        asked.append(end - start)
        return await get_range(store, key, start, end)

    monkeypatch.setattr(type(store), "get_range", counted)
    reader = ClipAudio(stores, "")
    first = await reader.read(str(path), "speaker0_05000_05500.flac")
    assert sum(asked) - len(first) < 20 * 4096
    asked.clear()
    second = await reader.read(str(path), "speaker0_06000_06500.flac")
    assert asked == [len(second)]


async def test_a_replaced_archive_is_walked_anew(tmp_path: Path) -> None:
    path = archive(tmp_path, clips=3, clip_bytes=1_000)
    reader = ClipAudio(Stores(StoreSettings()), "")
    before = await reader.read(str(path), "speaker0_01000_01500.flac")
    archive(tmp_path, clips=3, clip_bytes=2_000)
    assert len(await reader.read(str(path), "speaker0_01000_01500.flac")) > len(before)


@pytest.mark.parametrize(
    "segment_file", ["../../../etc/passwd", "metadata.json", "speaker0_99999_100000.flac", ""]
)
async def test_what_is_no_clip_of_the_archive_is_missing(tmp_path: Path, segment_file: str) -> None:
    path = archive(tmp_path, clips=2, clip_bytes=100)
    with pytest.raises(ObjectMissing):
        await ClipAudio(Stores(StoreSettings()), "").read(str(path), segment_file)


@pytest.mark.parametrize("content", [b"", b"no archive at all" * 100])
async def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(content)
    with pytest.raises(LipikaError):
        await ClipAudio(Stores(StoreSettings()), "").read(str(path), "speaker0_00000_00500.flac")


def test_the_waveform_has_the_peaks_of_each_stretch() -> None:
    samples = np.zeros(16_000, np.int16)
    samples[4_000], samples[12_000] = 32_767, -16_384
    wave = waveform(encode_flac(Audio(samples, 16_000, 16)), stretches=4)
    assert wave.duration_ms == 1_000
    assert wave.highs.round(2).tolist() == [0, 1, 0, 0]
    assert wave.lows.round(2).tolist() == [0, 0, 0, -0.5]
