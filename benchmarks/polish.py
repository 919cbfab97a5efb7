"""Polishing alone, in times real time for each core, beside the usual tools on the same audio.

    python -m benchmarks.polish

lipika polishes on CPUs: decode, find where to split and trim, pad, encode. The same audio then goes through ffmpeg
and Silero VAD (`benchmarks/peers/silero.py`). Each runs in one process; its CPU seconds, with its children's, count.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from benchmarks.memory import big_segments, segments
from benchmarks.peers.environments import NoEnvironment, interpreter
from benchmarks.setting import REPOSITORY, Machine, in_child, machine, save, scratch_folder
from lipika.audio.polish import polish_segment
from lipika.models import SegmentName

MINUTES = 2.0
ROUNDS = 2
EMILIA_HOURS_PER_HOUR = 150.0
"""2.5 hours of audio a minute for the whole pipeline (source separation, diarisation, VAD, ASR, filters) on one
server with eight RTX 4090: He et al., "Emilia: An Extensive, Multilingual, and Diverse Speech Dataset for Large-Scale
Speech Generation", 2024, arXiv:2407.05361."""

KINDS: dict[str, tuple[Callable[[int], Sequence[bytes]], int]] = {
    "8 s, 16 kHz, 16 bit": (segments, 8),
    "60 s, 48 kHz, 24 bit": (big_segments, 60),
}
"""Kinds of segments, and how long each is in seconds."""


@dataclass(frozen=True, slots=True)
class Polishing:
    """Times real time on one core; None where the usual tools are not to be had."""

    kind: str
    lipika: float
    silero_ffmpeg: float | None
    silero_alone: float | None  # without ffmpeg, whose process starts for each file and each piece


@dataclass(frozen=True, slots=True)
class PolishResult:
    """`problem` says why the usual tools could not be measured. The best of some rounds for each figure."""

    machine: Machine
    minutes: float
    kinds: tuple[Polishing, ...]
    problem: str


async def measure(minutes: float = MINUTES, rounds: int = ROUNDS) -> PolishResult:
    load_before = os.getloadavg()[0]
    kinds: list[Polishing] = []
    problem = ""
    with scratch_folder() as folder:
        for kind, (make, seconds) in KINDS.items():
            audio = folder / str(len(kinds))
            write(audio, make(round(minutes * 60 / seconds)))
            own, others = 0.0, (0.0, 0.0)
            for _ in range(rounds):
                own = max(own, _times_real_time(await _run("benchmarks.polish", sys.executable, audio)))
                try:
                    others = max(others, await _usual_tools(audio))
                except NoEnvironment as reason:
                    problem = str(reason)
            kinds.append(Polishing(kind, own, others[0] or None, others[1] or None))
    return PolishResult(machine(load_before), minutes, tuple(kinds), problem)


def write(folder: Path, flacs: Sequence[bytes]) -> None:
    """As files."""
    folder.mkdir()
    for number, flac in enumerate(flacs):
        (folder / f"{number:05d}.flac").write_bytes(flac)


async def _usual_tools(audio: Path) -> tuple[float, float]:
    """Times real time of all of it, and of Silero VAD alone."""
    if shutil.which("ffmpeg") is None:
        raise NoEnvironment("ffmpeg is not installed")
    python = await asyncio.to_thread(interpreter, "silero")
    told = await _run("benchmarks.peers.silero", str(python), audio)
    return _times_real_time(told), told["audio_s"] / told["own_cpu_s"]


def _times_real_time(told: Mapping[str, float]) -> float:
    return told["audio_s"] / told["cpu_s"]


async def _run(module: str, python: str, audio: Path) -> dict[str, float]:
    """What a process says that has polished a folder."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    printed = await in_child(module, audio, environment=environment, folder=audio.parent, python=python)
    told: dict[str, float] = json.loads(printed)
    return told


def polish_folder(folder: Path) -> dict[str, float]:
    """Polish every file of a folder; CPU seconds and seconds of audio."""
    files = [path.read_bytes() for path in sorted(folder.glob("*.flac"))]
    audio_s = [soundfile.info(io.BytesIO(flac)).duration for flac in files]
    started = time.process_time()
    for flac, seconds in zip(files, audio_s, strict=True):
        polish_segment(SegmentName("speaker0", 0, round(seconds * 100)), flac)
    return {"cpu_s": time.process_time() - started, "audio_s": sum(audio_s)}


def main() -> None:
    result = asyncio.run(measure())
    save("polish", result)
    print(table(result))


def table(result: PolishResult) -> str:
    """The result as Markdown."""
    heads = (
        "segments",
        "lipika, times real time per core",
        "ffmpeg and Silero VAD",
        "Silero VAD alone",
        "lipika is faster by",
    )
    lines = [f"| {' | '.join(heads)} |", "|---|---:|---:|---:|---:|"]
    lines += [f"| {' | '.join(_cells(each))} |" for each in result.kinds]
    return "\n".join([*lines, *([f"\n{result.problem}"] if result.problem else [])])


def _cells(each: Polishing) -> tuple[str, ...]:
    other, alone = each.silero_ffmpeg, each.silero_alone
    if other is None or alone is None:
        return (each.kind, f"{each.lipika:,.0f}", "–", "–", "–")
    return (
        each.kind,
        f"{each.lipika:,.0f}",
        f"{other:,.0f}",
        f"{alone:,.0f}",
        f"{each.lipika / other:.0f} and {each.lipika / alone:.0f} times",
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:  # the measured process
        print(json.dumps(polish_folder(Path(sys.argv[1]))))
    else:
        main()
