"""Peak memory of a `lipika run` over large archives: it must follow the settings, not the archive.

Archives are made on the fly: 8-second segments at 16 kHz, and every tenth one a minute at 48 kHz and 24 bit, from
a stock of different ones; they are asked at 1,000 a minute. A tenth of the size shows what grows with it. A second
pair holds nothing but segments too short to use: each leaves a discard with its reason, which is kept until the
video's metadata is written. A third has as many segments that each become a clip, as fast as they go.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.command import Sample, lipika_run
from benchmarks.setting import Machine, Setting, machine, save, scratch_folder, setting
from benchmarks.speech_corpus import read_speech
from lipika.archive.tar import END_OF_ARCHIVE, member_header, padding
from lipika.audio.codec import Audio, encode_flac
from lipika.jobs.demo import sample_folder
from lipika.models import SegmentName

LARGE_BYTES = 5_000_000_000
MANY_MEMBERS = 100_000
_LATENCY_S = 0.25
_RATE_HZ = 16_000
_STOCK, _STOCK_BIG = 64, 4
_BIG_EVERY = 10
_SHORT_S = 2.6
_PER_MINUTE = {"worker_batch_size": 1000, "batch_interval_seconds": 60}


@dataclass(frozen=True, slots=True)
class Memory:
    """One run over one archive."""

    archive: str
    megabytes: int
    members: int
    clips: int
    discarded: int
    wall_s: float
    peak_rss_mb: float
    curve: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class MemoryResult:
    machine: Machine
    runs: tuple[Memory, ...]


async def measure(large_bytes: int = LARGE_BYTES, members: int = MANY_MEMBERS) -> MemoryResult:
    load_before = os.getloadavg()[0]
    stock, big = segments(_STOCK), big_segments(_STOCK_BIG)
    tiny = encode_flac(Audio(_speech()[: _RATE_HZ // 10], _RATE_HZ, 16))
    runs = []
    with scratch_folder() as folder:
        async with setting(folder, latency_s=_LATENCY_S) as place:
            for name, size in (("audio, a tenth", large_bytes // 10), ("audio", large_bytes)):
                runs.append(await _run(place, name, _mixed(stock, big, size), **_PER_MINUTE))
            for name, count in (("100 ms segments, a tenth", members // 10), ("100 ms segments", members)):
                runs.append(await _run(place, name, itertools.repeat((tiny, 10), count)))
            short = segments(_STOCK, _SHORT_S)
            for name, count in (("2.6 s segments, a tenth", members // 10), ("2.6 s segments", members)):
                clips = zip(itertools.cycle(short), itertools.repeat(260, count), strict=False)
                runs.append(await _run(place, name, clips))
    return MemoryResult(machine(load_before), tuple(runs))


async def _run(
    place: Setting, name: str, segments: Iterator[tuple[bytes, int]], **settings: object
) -> Memory:
    archive = place.folder / f"{name}.tar"
    members = write(archive, segments)
    megabytes = round(archive.stat().st_size / 1e6)
    ran = await lipika_run(place, [archive], place.folder / "out", **settings)
    archive.unlink()
    for result in (place.folder / "out").iterdir():
        result.unlink()
    return Memory(
        name,
        megabytes,
        members,
        ran.clips,
        ran.discarded,
        round(ran.wall_s, 1),
        ran.peak_rss_mb,
        ran.rss_curve(),
    )


def write(path: Path, segments: Iterator[tuple[bytes, int]]) -> int:
    """Write an archive from (FLAC, length in centiseconds); returns the number of segments."""
    count = clock_cs = 0
    with path.open("wb") as file:
        for flac, length_cs in segments:
            name = SegmentName("speaker0", clock_cs, clock_cs + length_cs)
            clock_cs += length_cs + 20
            count += 1
            file.write(member_header(f"segments/{name.stem}.flac", len(flac)))
            file.write(flac + padding(len(flac)))
        file.write(END_OF_ARCHIVE)
    return count


def _mixed(stock: Sequence[bytes], big: Sequence[bytes], size: int) -> Iterator[tuple[bytes, int]]:
    """Segments of about `size` bytes in all."""
    written = 0
    for number in itertools.count():
        is_big = number % _BIG_EVERY == _BIG_EVERY - 1
        flac = big[number // _BIG_EVERY % len(big)] if is_big else stock[number % len(stock)]
        written += len(flac)
        if written > size:
            return
        yield flac, 6000 if is_big else 800


def segments(count: int, seconds: float = 8) -> list[bytes]:
    """FLAC files at 16 kHz and 16 bit, each a different one."""
    speech = _speech()
    return [_segment(speech, number, seconds) for number in range(count)]


def big_segments(count: int) -> list[bytes]:
    """FLAC files of a minute at 48 kHz and 24 bit, each a different one."""
    speech = _speech()
    return [_big_segment(speech, number) for number in range(count)]


def _speech() -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return read_speech(sample_folder() / "hi_sample.tar")


def _segment(speech: np.ndarray[tuple[int], np.dtype[np.int16]], number: int, seconds: float = 8.0) -> bytes:
    """Speech at 16 kHz, 16 bit."""
    return encode_flac(Audio(_stretch(speech, round(seconds * _RATE_HZ), number), _RATE_HZ, 16))


def _big_segment(speech: np.ndarray[tuple[int], np.dtype[np.int16]], number: int) -> bytes:
    """A minute at 48 kHz, 24 bit: speech as it is, three times as fast, with noise in the bits below."""
    samples = _stretch(speech, 60 * 48_000, number).astype(np.int32) << 16
    noise = np.random.default_rng(number).integers(0, 1 << 8, len(samples), np.int32) << 8
    return encode_flac(Audio(samples + noise, 48_000, 24))


def _stretch(
    speech: np.ndarray[tuple[int], np.dtype[np.int16]], length: int, number: int
) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    start = number * 7 * _RATE_HZ
    return np.take(speech, np.arange(start, start + length), mode="wrap")


def main() -> None:
    result = asyncio.run(measure())
    save("memory", result)
    print(table(result))


def table(result: MemoryResult) -> str:
    """The result as Markdown."""
    lines = ["| archive | MB | members | clips | discarded | seconds | peak RSS, MB |", "|---|" + "---:|" * 6]
    lines += [
        f"| {run.archive} | {run.megabytes:,} | {run.members:,} | {run.clips:,} | {run.discarded:,}"
        f" | {run.wall_s:,.0f} | {run.peak_rss_mb:,.0f} |"
        for run in result.runs
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
