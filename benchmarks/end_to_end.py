"""A whole `lipika run` from tars to result tars: clips a minute, CPU, memory, requests in flight.

    python -m benchmarks.end_to_end
    python -m benchmarks.end_to_end --clips 40000     # FLAC only, for the pace that can be sustained

Simulator (light, over TLS) and Postgres run on the same machine and take their share of its cores, but are not
counted. Start-up is measured by a run of one tar and taken off, so that a clip's cost does not depend on how many
there are. CPU times grow with what else the machine does, so the floor is measured right before and after, with the
same latency, by two processes side by side, which keep both cores as busy as the run does. Their pace is what no
program can exceed that sends these clips from this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from benchmarks.command import Ran, Sample, lipika_run
from benchmarks.setting import (
    Machine,
    Setting,
    corpus,
    in_child,
    machine,
    save,
    scratch_folder,
    setting,
)
from lipika.config import Settings

CLIPS_FOR_EACH_S = 3000
"""Of latency: so much in flight is reached at first, each clip on a connection of its own, which costs as much as two
requests. The floor opens its connections before it counts."""
LATENCIES_S = (2.0, 8.0)
_OTHER_FORMATS_SHARE = 6  # of the clips: they take so much longer
_SEGMENTS = 40
_FLOOR_S = 12.0  # each time
_FLOOR_TARS = 8  # round and round
_FLOOR_CLIPS_PER_S = (
    160  # of one process at most: by Little's law so many are in flight for each second of latency
)
_DISTINCT = 16  # tars; the others are the same under other names

SETTINGS = {"MAX_VIDEOS": 512, "MAX_BUFFER_MB": 2048}
"""Room for what is in flight at 20,000 a minute and 8 s: 2,700 clips of 125 KB, and as many again in the making."""


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """One run. `cpu_ms` is per clip without start-up; memory is of all lipika processes together."""

    machine: Machine
    latency_s: float
    send_format: str
    sent_bytes: int  # of a request
    clips: int
    wall_s: float
    start_s: float  # CPU of a run of one tar, most of which is start-up
    cpu_ms: float
    floor_ms: float
    floor_clips_per_minute: float  # of both floors together
    ratio: float
    clips_per_minute: float  # over the whole run, start and tail included
    steady_clips_per_minute: float
    cores_used: float  # by lipika
    cpu_ms_by_process: dict[str, float]  # per clip, start included
    peak_rss_mb: float
    max_in_flight: int
    curve: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class _Floor:
    cpu_ms: float
    clips_per_minute: float


async def measure(
    clips: int | None = None, latencies_s: Sequence[float] = LATENCIES_S, *, all_formats: bool = True
) -> list[EndToEnd]:
    """One run per latency, and one for each other form of sent audio; each with a database of its own."""
    others = _other_formats() if all_formats else []
    counts = [clips or round(CLIPS_FOR_EACH_S * latency_s) for latency_s in latencies_s]
    with scratch_folder() as folder:
        tar_files = many(folder / "in", -(-max(counts) // _SEGMENTS))

        async def run(count: int, latency_s: float, send_format: str) -> EndToEnd:
            return await _measure(folder, tar_files[: -(-count // _SEGMENTS) + 1], latency_s, send_format)

        done = [
            await run(count, latency_s, "flac") for count, latency_s in zip(counts, latencies_s, strict=True)
        ]
        fewer = counts[0] // _OTHER_FORMATS_SHARE
        return done + [await run(fewer, latencies_s[0], other) for other in others]


def _other_formats() -> list[str]:
    """What SEND_FORMAT allows besides FLAC."""
    field = Settings.model_fields.get("send_format")
    return [other for other in get_args(field.annotation) if other != "flac"] if field else []


async def _measure(folder: Path, tar_files: Sequence[Path], latency_s: float, send_format: str) -> EndToEnd:
    load_before = os.getloadavg()[0]
    given = {**SETTINGS, "SEND_FORMAT": send_format}
    async with setting(folder, latency_s=latency_s) as place:
        before = await _floor(place, tar_files, latency_s)
        small = await lipika_run(place, tar_files[:1], folder / "out", **given)
        ran = await lipika_run(place, tar_files[1:], folder / "out", **given)
        after = await _floor(place, tar_files, latency_s)
    shutil.rmtree(folder / "out")
    floor = _Floor((before.cpu_ms + after.cpu_ms) / 2, (before.clips_per_minute + after.clips_per_minute) / 2)
    return _result(latency_s, send_format, small, ran, floor, machine(load_before))


async def _floor(place: Setting, tar_files: Sequence[Path], latency_s: float) -> _Floor:
    """Two floors side by side."""
    in_flight = round(_FLOOR_CLIPS_PER_S * latency_s)
    arguments = (place.simulator.url, _FLOOR_S, in_flight, *tar_files[:_FLOOR_TARS])
    told = await asyncio.gather(
        *(
            in_child(
                "benchmarks.floor", *arguments, environment=place.child_environment(), folder=place.folder
            )
            for _ in range(2)
        )
    )
    cpu_ms, clips_per_minute = zip(*(map(float, each.split()) for each in told), strict=True)
    return _Floor(sum(cpu_ms) / len(told), sum(clips_per_minute))


def _result(
    latency_s: float, send_format: str, small: Ran, ran: Ran, floor: _Floor, where: Machine
) -> EndToEnd:
    cpu_ms = (ran.cpu_s - small.cpu_s) / (ran.clips - small.clips) * 1000
    return EndToEnd(
        machine=where,
        latency_s=latency_s,
        send_format=send_format,
        sent_bytes=ran.sent_bytes,
        clips=ran.clips,
        wall_s=round(ran.wall_s, 1),
        start_s=round(small.cpu_s, 2),
        cpu_ms=cpu_ms,
        floor_ms=floor.cpu_ms,
        floor_clips_per_minute=round(floor.clips_per_minute),
        ratio=cpu_ms / floor.cpu_ms,
        clips_per_minute=round(ran.clips / ran.wall_s * 60),
        steady_clips_per_minute=round(ran.steady_clips_per_minute()),
        cores_used=round(ran.cpu_s / ran.wall_s, 2),
        cpu_ms_by_process={
            kind: round(seconds / ran.clips * 1000, 3) for kind, seconds in ran.cpu_s_by_process.items()
        },
        peak_rss_mb=ran.peak_rss_mb,
        max_in_flight=ran.max_in_flight,
        curve=ran.rss_curve(),
    )


def many(folder: Path, count: int) -> Sequence[Path]:
    """That many tars and one more, of which only a few are made; the others are links to them."""
    made = corpus(folder, min(_DISTINCT, count + 1), _SEGMENTS)
    more = []
    for number in range(len(made), count + 1):
        link = folder / f"again_{number:05d}.tar"
        link.hardlink_to(made[number % len(made)])
        more.append(link)
    return [*made, *more]


def main(clips: int | None = None) -> None:
    """`clips`: a long run, for the pace that can be sustained."""
    results = asyncio.run(measure(clips, all_formats=False) if clips else measure())
    save("sustained" if clips else "end_to_end", results)
    print(table(results))


def command() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description=__doc__)
    parser.add_argument("--clips", type=int, help="a long run of so many, in FLAC only")
    main(parser.parse_args().clips)


def table(results: Sequence[EndToEnd]) -> str:
    """The results as Markdown."""
    heads = (
        "latency, median",
        "sent as",
        "KB a request",
        "clips",
        "clips per minute, steady",
        "of the whole run",
        "CPU ms per clip",
        "of it by process",
        "the floor",
        "ratio",
        "the floor's clips per minute",
        "cores used",
        "peak RSS, MB",
        "most in flight",
    )
    lines = [f"| {' | '.join(heads)} |", "|---:" * len(heads) + "|"]
    lines += [f"| {' | '.join(_cells(each))} |" for each in results]
    return "\n".join(lines)


def _cells(result: EndToEnd) -> tuple[str, ...]:
    return (
        f"{result.latency_s:g} s",
        result.send_format,
        f"{result.sent_bytes / 1000:.0f}",
        f"{result.clips:,}",
        f"{result.steady_clips_per_minute:,.0f}",
        f"{result.clips_per_minute:,.0f}",
        f"{result.cpu_ms:.2f}",
        ", ".join(f"{kind} {ms:.2f}" for kind, ms in result.cpu_ms_by_process.items()),
        f"{result.floor_ms:.2f}",
        f"{result.ratio:.2f}",
        f"{result.floor_clips_per_minute:,.0f}",
        f"{result.cores_used:.2f}",
        f"{result.peak_rss_mb:,.0f}",
        f"{result.max_in_flight:,}",
    )


if __name__ == "__main__":
    command()
