"""Result archives to export: those of the demo, and of a corpus in which everything odd is that may be.

Every archive went through `lipika run` against the simulator, like anybody's.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray


@dataclass(frozen=True)
class Video:
    """One archive to make."""

    video_id: str
    language: str
    rate: int  # Hz
    segments: int
    depth: int = 16


VIDEOS = (
    Video("dots.in.a.name.v1", "hi", 11_025, 4),
    Video("dots.in.a.name.v2", "hi", 44_100, 3),
    Video("dots_in_a_name_v1", "hi", 8_000, 2),  # what the first one's id would become
    Video("-_leading", "hi", 16_000, 2),
    Video("__mV3x9sQk0", "hi", 16_000, 2),  # `datasets` passes over files whose names begin so
    Video("one clip", "hi", 48_000, 1),
    Video("episode.7-sub2", "ta", 8_000, 3),
    Video("उदाहरण", "ta", 22_050, 2),
    Video("deep.24", "ta", 48_000, 2, 24),
    Video("thin", "te", 16_000, 1),
)
"""Rates of phones and of studios, ids that formats trip over, a language of one clip."""


def make_archives(folder: Path) -> None:
    """The corpus as input archives. The same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, video in enumerate(VIDEOS):
        generator = np.random.default_rng(number)
        with tarfile.open(folder / f"{video.video_id}.tar", "w") as tar:
            _add(tar, "metadata.json", json.dumps({"language": video.language}).encode())
            start = 0
            for segment in range(video.segments):
                samples = _voice(3.1 + 0.37 * segment, video.rate, generator)
                end = start + len(samples) * 100 // video.rate
                name = f"segments/speaker{segment % 2}_{start:05d}_{end:05d}.flac"
                _add(tar, name, _flac(samples, video))
                start = end + 50


def run_demo(out: Path, state: Path) -> None:
    """`lipika demo`."""
    _lipika("demo", "--out", str(out), "--data-dir", str(state), "--json")


def run_corpus(archives: Path, out: Path, state: Path) -> None:
    """`lipika run` against the simulator."""
    _lipika(
        *("run", str(archives), "--out", str(out), "--provider", "simulator"),
        *("--data-dir", str(state), "--json", "--quiet"),
    )


def export(name: str, results: Path, out: Path, *options: str, state: Path) -> str:
    """`lipika export`: every clip with a text. Returns what it printed, one JSON object."""
    split = ("--split", "train=.8,dev=.1,test=.1", "--clips-per-shard", "5")
    return _lipika(
        *("export", name, str(out), "--from", str(results), "--lane", "any", "--keep-duplicates"),
        *split,
        *("--data-dir", str(state), "--json", *options),
    )


def _lipika(*arguments: str) -> str:
    environ = os.environ | {"BATCH_INTERVAL_SECONDS": "5", "LIVE_SECONDS": "1"}
    command = [sys.executable, "-m", "lipika", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    if done.returncode:
        raise SystemExit(f"lipika {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def _voice(seconds: float, rate: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """A voice-like tone with a pause in its middle, of an odd number of samples."""
    frames = int(seconds * rate) | 1
    time = np.arange(frames) / rate
    pitch = generator.uniform(110, 220)
    tone = sum(np.sin(2 * np.pi * pitch * harmonic * time) / harmonic for harmonic in range(1, 9))
    loudness = np.where(np.abs(time - seconds / 2) < 0.15, 0, 0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    return 0.15 * tone * loudness + generator.normal(0, 0.0005, frames)


def _flac(samples: NDArray[np.float64], video: Video) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, video.rate, format="FLAC", subtype=f"PCM_{video.depth}")
    return file.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
