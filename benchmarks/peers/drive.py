"""What runs inside a client's environment: send clips, and say what it took. Nothing but the standard library here.

    python -m benchmarks.peers.drive CLIENT < task.json

The task comes in on standard input; the figures go out as JSON on standard output, in the last line.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

MODEL = "gemini-3-flash-preview"
SYSTEM_PROMPT = "Transcribe the speech word by word, in the script of its language."
CLIP_PROMPT = "Transcribe this clip."
TIMEOUT_S = 600.0
_GAVE_UP_S = 0.5


@dataclass(frozen=True, slots=True)
class Task:
    """So many requests, so many of them in flight at most.

    `rpm` is the quota that the server enforces, for every client that can be told; 0: there is none.
    `database_url` is for lipika alone, whose workers share a quota through Postgres.
    """

    url: str
    clips_folder: str
    warm_up: int  # requests before the count begins
    requests: int
    in_flight: int
    rpm: int = 0
    database_url: str = ""
    key: str = "a-key-of-the-benchmark"

    def clips(self) -> list[bytes]:
        """The FLAC files, in order."""
        return [path.read_bytes() for path in self.paths()]

    def paths(self) -> list[Path]:
        return sorted(Path(self.clips_folder).glob("*.flac"))


@dataclass(frozen=True, slots=True)
class Told:
    """CPU is of this process and its children, user and system; memory is the peak, and what it was before."""

    requests: int
    gave_up: int  # errors that reached the caller, who then asked again
    last_error: str
    seconds: float
    cpu_s: float
    rss_mb_before: float
    rss_mb: float


class Client(ABC):
    """A client at work on a task."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.gave_up = 0
        self.last_error = ""

    @abstractmethod
    async def open(self) -> None:
        """Make ready, in the running loop."""

    @abstractmethod
    async def ask_all(self, clips: Sequence[bytes], count: int) -> None:
        """Ask for so many clips, round and round; count what was given up."""

    async def close(self) -> None:
        """Let go of everything; many have nothing."""
        return


class OneByOne(Client):
    """A client with a coroutine for each request."""

    @abstractmethod
    async def ask(self, flac: bytes) -> str:
        """One clip's transcript; raises when the client has given up."""

    async def ask_all(self, clips: Sequence[bytes], count: int) -> None:
        """Ask for clips round and round, by as many callers as may be in flight; ask again what was given up."""
        numbers = iter(range(count))

        async def caller() -> None:
            for number in numbers:
                while not await self._answered(clips[number % len(clips)]):  # noqa: ASYNC110 - nothing tells when
                    await asyncio.sleep(_GAVE_UP_S)

        await asyncio.gather(*(caller() for _ in range(min(self.task.in_flight, count))))

    async def _answered(self, flac: bytes) -> bool:
        try:
            return bool(await self.ask(flac))
        except Exception as error:  # whatever this client raises in the end
            self.gave_up += 1
            self.last_error = f"{type(error).__name__}: {error}"[:300]
            return False


async def measure(client: Client) -> Told:
    """Warm up, then count."""
    task = client.task
    clips = task.clips()
    await client.open()
    try:
        if task.warm_up:
            await client.ask_all(clips, task.warm_up)
        gc.collect()
        gave_up, before_mb = client.gave_up, _rss_mb()
        cpu_s, started = _cpu_s(), time.monotonic()
        await client.ask_all(clips, task.requests)
        seconds, cpu_s = time.monotonic() - started, _cpu_s() - cpu_s
    finally:
        await client.close()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return Told(
        requests=task.requests,
        gave_up=client.gave_up - gave_up,
        last_error=client.last_error,
        seconds=round(seconds, 3),
        cpu_s=round(cpu_s, 3),
        rss_mb_before=round(before_mb, 1),
        rss_mb=round(max(peak_mb * 1.024, before_mb), 1),
    )


def _cpu_s() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    task = Task(**json.loads(sys.stdin.readline()))
    module = importlib.import_module(f"benchmarks.peers.clients.{sys.argv[1]}")
    make: Callable[[Task], Client] = module.client
    runner = getattr(module, "runner", asyncio.Runner)
    with runner() as loop:
        told = loop.run(measure(make(task)))
    sys.stdout.write(json.dumps(asdict(told)) + "\n")


if __name__ == "__main__":
    main()
