"""Memory that hostile archives cost, each alone: the peak of PSS above that of a good archive.

Each is run through `lipika run --provider simulator` with two processes that polish, in a state folder of its own.
What counts is the proportional set of the command and all its descendants, the simulator's too, ten times a second,
without Postgres. Names on the command line choose cases; "good" is always run first.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import psutil
import soundfile
from numpy.typing import NDArray

from benchmarks.setting import scratch_folder
from benchmarks.speech_corpus import CorpusPlan, make_corpus
from lipika.archive.tar import END_OF_ARCHIVE, member_header, padding
from lipika.audio.flac import StreamInfo, crc8
from lipika.jobs.demo import sample_folder

ALLOWED_MB = 700
"""Above a good archive."""

GOOD = "good"
_EVERY_S = 0.1
_HOUR_S = 3_600
_MEMBER_BYTES = 64 << 20  # the most a member may have
_MANY = 250_000

Member = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Ran:
    """One archive: how the command ended, the peak over its processes together, and what it counted."""

    case: str
    code: int
    wall_s: float
    peak_mb: float
    segments: int
    clips: int


def measure(case: str, folder: Path, environment: Mapping[str, str] = os.environ) -> Ran:
    """Run one case in an empty folder that others may enter."""
    archive = _written(case, folder / "in")
    command = (sys.executable, "-m", "lipika", "run", str(archive), "--out", str(folder / "out"), "--json")
    options = ("--quiet", "--provider", "simulator", "--data-dir", str(folder / "state"))
    started, peak_mb = time.monotonic(), 0.0
    with (folder / "summary.json").open("wb") as printed:
        process = subprocess.Popen(
            (*command, *options), stdout=printed, env={**environment, "WORKER_PROCESSES": "2"}
        )
        try:
            while process.poll() is None:
                peak_mb = max(peak_mb, tree_pss_mb(process.pid))
                time.sleep(_EVERY_S)
        finally:
            if process.returncode is None:
                process.terminate()
                process.wait()
    summary = orjson.loads((folder / "summary.json").read_bytes() or b"{}")
    segments, clips = summary.get("segments", 0), summary.get("clips", 0)
    return Ran(case, process.returncode, time.monotonic() - started, peak_mb, segments, clips)


def tree_pss_mb(pid: int) -> float:
    """Of a process and all its descendants but Postgres; memory that several share counts once."""
    total_kb = 0
    try:
        main = psutil.Process(pid)
        for process in (main, *main.children(recursive=True)):
            if process.name() != "postgres":
                total_kb += _pss_kb(process.pid)
    except psutil.NoSuchProcess:
        return 0.0
    return total_kb / 1e3


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended, or is another user's
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


# ----------------------------------------------------------------------------- archives


def _written(case: str, folder: Path) -> Path:
    folder.mkdir()
    if case == GOOD:
        (path,) = make_corpus(folder, CorpusPlan(1, 200), sample_folder())
        return path
    path = folder / "hostile.tar"
    with path.open("wb") as file:
        for name, data in CASES[case]():
            file.write(member_header(name, len(data)))
            file.write(data)
            file.write(padding(len(data)))
        file.write(END_OF_ARCHIVE)
    return path


def _nested_metadata() -> Iterator[Member]:
    deep = 16 << 20
    yield "metadata.json", b'{"a":' + b"[" * deep + b"]" * deep + b"}"
    yield _segment(0), _flac(_noise(8, 16_000), 16_000)


def _silent_hours(count: int, rate: int, channels: int = 1) -> Callable[[], Iterator[Member]]:
    def members() -> Iterator[Member]:
        data = _silence(rate, channels)
        for number in range(count):
            yield _segment(number, _HOUR_S), data

    return members


def _large_wavs() -> Iterator[Member]:
    """Of noise with a pause every six seconds, so that there are clips to hold."""
    for number in range(6):
        samples = _noise(60_000_000 // 3 // 16_000, 16_000, seed=number)
        yield _segment(number, 1_250), _encoded(samples, 16_000, "WAV", "PCM_24")


def _rubbish() -> Iterator[Member]:
    for number in range(10):
        yield _segment(number), random.Random(number).randbytes(_MEMBER_BYTES)


def _empty() -> Iterator[Member]:
    return ((_segment(number, 1), b"") for number in range(_MANY))


def _odd_names() -> Iterator[Member]:
    forms = itertools.cycle(("{}.flac", "{} \u0000x.flac", "a_b_{}.flac", "{}" + "\u0915" * 20 + ".flac"))
    for number, form in zip(range(_MANY), forms, strict=False):
        yield "segments/" + form.format(number).replace("\0", "\n"), b""


def _noisy_hour() -> Iterator[Member]:
    chance = np.random.default_rng(0)
    loud = chance.integers(-32_768, 32_767, _HOUR_S * 8_000, dtype=np.int16)
    yield _segment(0, _HOUR_S), _flac(loud.astype(np.int32) << 16, 8_000, "PCM_16")


def _one_frame(filling: bytes) -> Callable[[], Iterator[Member]]:
    """A header that promises an hour, that of one frame, and then the same bytes up to the limit."""

    def members() -> Iterator[Member]:
        frame = bytes((0xFF, 0xF8, 0xC5, 0x08, 0x00))
        info = StreamInfo(4_096, 4_096, 16_000, 1, 16, _HOUR_S * 16_000)
        head = info.head(md5=bytes(16)) + frame + bytes((crc8(frame),))
        left = _MEMBER_BYTES - len(head)
        yield _segment(0, _HOUR_S), head + (filling * (left // len(filling) + 1))[:left]

    return members


def _segment(number: int, seconds: int = 8) -> str:
    start = number * seconds * 100
    return f"segments/speaker0_{start:05d}_{start + seconds * 100:05d}.flac"


def _noise(seconds: float, rate: int, seed: int = 0) -> NDArray[np.int32]:
    count = int(seconds * rate)
    samples = np.random.default_rng(seed).integers(-(1 << 29), 1 << 29, count, dtype=np.int32)
    samples[np.arange(count) % (6 * rate) < rate // 2] //= 10_000
    return samples


def _silence(rate: int, channels: int) -> bytes:
    file = io.BytesIO()
    second = np.zeros((rate, channels), np.int32)
    with soundfile.SoundFile(file, "w", rate, channels, "PCM_24", format="FLAC") as sound:
        for _ in range(_HOUR_S):
            sound.write(second)
    return file.getvalue()


def _flac(samples: NDArray[np.int32], rate: int, subtype: str = "PCM_24") -> bytes:
    return _encoded(samples, rate, "FLAC", subtype)


def _encoded(samples: NDArray[np.int32], rate: int, container: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


CASES: Mapping[str, Callable[[], Iterable[Member]]] = {
    "nested metadata": _nested_metadata,
    "silent hour, 16 kHz": _silent_hours(1, 16_000),
    "silent hour, 48 kHz": _silent_hours(1, 48_000),
    "silent hour, 8 channels": _silent_hours(1, 48_000, 8),
    "eight silent hours": _silent_hours(8, 48_000),
    "six WAVs of 60 MB": _large_wavs,
    "ten members of rubbish": _rubbish,
    "250,000 empty segments": _empty,
    "250,000 odd names": _odd_names,
    "loud hour, 8 kHz": _noisy_hour,
    "one endless frame": _one_frame(b"\x55\xaa\x01"),
    "frame after frame": _one_frame(bytes((0xFF, 0xF8, 0xC5, 0x08, 0x00)) + bytes((0x55,))),
}


# ----------------------------------------------------------------------------- command


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hostile_memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cases", nargs="*", metavar="case", help="of: " + "; ".join(CASES))
    chosen = parser.parse_args().cases or [*CASES]
    if unknown := set(chosen) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    print("| archive | exit | segments | clips | seconds | peak PSS, MB | above good |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    good = 0.0
    for case in (GOOD, *chosen):
        with scratch_folder() as folder:
            ran = measure(case, folder)
        good = good or ran.peak_mb
        print(
            f"| {case} | {ran.code} | {ran.segments:,} | {ran.clips:,} | {ran.wall_s:.0f}"
            f" | {ran.peak_mb:,.0f} | {ran.peak_mb - good:+,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
