"""How soon a person with one small tar sees something, and how soon they are done: `python -m benchmarks.small_run`.

Whole commands in turn, the database there and migrated: one of ten clips, none of them doubted, and one where every
fifth first answer breaks the schema and is asked for again. Noted are the first row (looked for every 10 ms), the
last answer as the simulator counts it, and the end of the command, all since the process was started.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.setting import Machine, Setting, corpus, machine, save, scratch_folder, setting
from lipika.models import JsonObject
from lipika.simulator import FaultKind, FaultPlan, FaultRule

_LOOK_S = 0.01
_CLIPS = 10


@dataclass(frozen=True, slots=True)
class SmallRun:
    """Seconds since the command was started, but for `latency_s`; medians of `rounds` commands."""

    machine: Machine
    latency_s: float
    rounds: int
    first_row_s: float
    last_answer_s: float
    end_s: float
    doubted_last_answer_s: float
    doubted_end_s: float

    def lines(self) -> list[str]:
        """The figures with their bounds, as text."""
        later_s = self.doubted_last_answer_s - self.last_answer_s
        in_all = f"first row: {self.first_row_s:.2f} s, the model's latency and"
        return [
            f"{in_all} {self.first_row_s - self.latency_s:.2f} s",
            f"end of the command after the last answer: {self.end_s - self.last_answer_s:.2f} s",
            f"doubts: last answer {later_s:.2f} s later ({later_s / self.latency_s:.2f} latencies)",
            f"end of the command after that: {self.doubted_end_s - self.doubted_last_answer_s:.2f} s",
        ]


async def _one(place: Setting, tar: Path, out: Path) -> tuple[float, float, float]:
    """Run the command; seconds to the first row, the last answer, the end."""
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        connection.execute("truncate video_queue, transcription_results, transcription_answers cascade")
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "lipika",
                "run",
                str(tar),
                "--out",
                str(out),
                "--json",
                "--quiet",
                "--again",
            ),
            stdout=asyncio.subprocess.DEVNULL,
            env=place.child_environment(WORKER_BATCH_SIZE=1000),
            cwd=place.folder,
        )
        ended = asyncio.create_task(process.wait())
        first_row_s = last_answer_s = 0.0
        answered = _accepted(await place.simulator.stats())
        while not ended.done():
            now = time.monotonic() - started
            if (
                not first_row_s
                and connection.execute("select 1 from transcription_results limit 1").fetchone()
            ):
                first_row_s = now
            if (count := _accepted(await place.simulator.stats())) > answered:
                answered, last_answer_s = count, now
            await asyncio.sleep(_LOOK_S)
        if await ended:
            raise RuntimeError(f"lipika run ended with {await ended}")
        return first_row_s or time.monotonic() - started, last_answer_s, time.monotonic() - started


def _accepted(stats: JsonObject) -> int:
    count = stats["accepted"]
    assert isinstance(count, int)
    return count


async def measure(latency_s: float, rounds: int) -> SmallRun:
    """All of it, one command after the other."""
    load = os.getloadavg()[0]
    found = dict[bool, list[tuple[float, float, float]]]()
    with scratch_folder() as folder:
        for doubted in (False, True):
            place_folder = folder / str(doubted)
            place_folder.mkdir(mode=0o755)
            faults = (
                FaultPlan((FaultRule(FaultKind.MALFORMED, probability=0.2, attempts=1),))
                if doubted
                else FaultPlan()
            )
            async with setting(place_folder, latency_s=latency_s, faults=faults) as place:
                (tar,) = corpus(place_folder / "in", 1, _CLIPS)
                found[doubted] = [
                    await _one(place, tar, place_folder / f"out{number}") for number in range(rounds + 1)
                ][1:]
    middle = {
        key: [statistics.median(column) for column in zip(*runs, strict=True)] for key, runs in found.items()
    }
    plain, doubts = middle[False], middle[True]
    return SmallRun(machine(load), latency_s, rounds, plain[0], plain[1], plain[2], doubts[1], doubts[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--latency", type=float, default=2.0, help="seconds that the model takes")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    result = asyncio.run(measure(arguments.latency, arguments.rounds))
    print("\n".join(result.lines()))
    save("small_run", result)


if __name__ == "__main__":
    main()
