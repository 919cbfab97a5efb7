"""What hostile archives may cost in memory, and audio of very many parts."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.hostile_memory import ALLOWED_MB, GOOD, Ran, measure
from foreign_audio import voice, written
from lipika.audio.flac import StreamInfo
from lipika.audio.recording import read
from lipika.errors import SegmentError

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def stage() -> Iterator[Path]:
    """A folder that every user may enter: as root, Postgres runs as somebody else."""
    with tempfile.TemporaryDirectory(prefix="lipika-hostile-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def ran_alone(case: str, stage: Path) -> Ran:
    folder = stage / case
    folder.mkdir()
    return measure(case, folder)


@needs_linux
def test_hostile_archives_take_little_more_memory_than_good_ones(stage: Path) -> None:
    good = ran_alone(GOOD, stage)
    assert (good.code, good.clips) == (0, 200)
    assert good.peak_mb > 50
    for case in ("nested metadata", "frame after frame"):
        hostile = ran_alone(case, stage)
        assert hostile.segments == 1, hostile
        assert hostile.code in (0, 4), hostile
        assert hostile.peak_mb <= good.peak_mb + ALLOWED_MB, hostile


def test_more_frames_than_any_encoder_writes_are_refused() -> None:
    info = StreamInfo(16, 16, 16_000, 1, 16, 16 << 20)
    with pytest.raises(SegmentError, match="in longer blocks") as refused:
        read(info.head() + b"\xff\xf8\x65" * (1 << 20))
    assert refused.value.code == "unsupported_audio"


@pytest.mark.parametrize(
    "link",
    [
        b"RIFF\x04\0\0\0WAVE",
        written(voice(0.01)),
        b"OggS\0\6" + bytes(20) + b"\0",
        b"\xff\xfb\x90\0Xing" + bytes(417 - 8),
    ],
    ids=["empty WAV", "WAV", "Ogg", "MP3"],
)
def test_very_many_recordings_in_a_row_are_refused_before_any_is_opened(link: bytes) -> None:
    with pytest.raises(SegmentError, match="follow one another") as refused:
        read(link * 5_000)
    assert refused.value.code == "unsupported_audio"


def test_some_recordings_in_a_row_are_one() -> None:
    samples = voice(0.1)
    assert np.array_equal(read(written(samples) * 50).whole().samples, np.tile(samples, 50))
