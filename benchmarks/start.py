"""The time of `lipika --help` and `lipika status` as multiples of what they stand on: `python -m benchmarks.start`.

Fresh interpreters in turn, CPU seconds of each with its threads; the ratio is that of the medians. `lipika status`
asks an empty database, and is held against the bare import of psycopg, pydantic-settings and typer.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys

from benchmarks.setting import scratch_folder
from lipika.db.admin import fresh_database
from lipika.db.connection import Database
from lipika.db.migrate import migrate
from lipika.embedded.postgres import EmbeddedPostgres

TYPER = """
import sys, typer
app = typer.Typer(rich_markup_mode=None)
app.command()(lambda: None)
sys.argv = ["bare", "--help"]
app()
"""
LIBRARIES = "import psycopg, pydantic_settings, typer"
COMMAND = """
import sys
sys.argv = ["lipika", "{}"]
from lipika.cli.main import main
main()
"""
PROGRAMS = {
    "a bare Typer app's --help": TYPER,
    "lipika --help": COMMAND.format("--help"),
    "psycopg, pydantic-settings, typer": LIBRARIES,
    "lipika status": COMMAND.format("status"),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    asyncio.run(_measure(rounds))


async def _measure(rounds: int) -> None:
    with scratch_folder() as folder:
        async with EmbeddedPostgres(folder / "postgres") as server:
            url = await fresh_database(server.url, "benchmark")
            async with Database(url) as database:
                await migrate(database)
            seconds = await asyncio.to_thread(_run, rounds, {**os.environ, "DATABASE_URL": url})
    typer, help_, libraries, status = (statistics.median(seconds[name]) for name in PROGRAMS)
    for name, of_one in seconds.items():
        print(f"{name:36} {statistics.median(of_one):.3f} s  ({min(of_one):.3f} to {max(of_one):.3f})")
    print(f"--help {help_ / typer:.2f}, status {status / libraries:.2f}")
    print(f"load average {os.getloadavg()[0]:.1f}")


def _run(rounds: int, environment: dict[str, str]) -> dict[str, list[float]]:
    """CPU seconds of each program, the first round left out."""
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for number in range(rounds + 1):
        for name, program in PROGRAMS.items():
            before = _cpu_of_children()
            subprocess.run(
                [sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL, env=environment
            )
            spent = _cpu_of_children() - before
            if number:
                seconds[name].append(spent)
    return seconds


def _cpu_of_children() -> float:
    """Seconds, in microseconds: the clock of `os.times` ticks a hundred times a second."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
