"""A fleet of simulated workers on one Postgres: what `scaling` measures, in a process of its own.

    python -m benchmarks.simulated_fleet URL POSTMASTER WORKERS SECONDS CLIPS_A_MINUTE

They do with Postgres what workers do, in their rhythm and by the product's own functions; only audio and answers are
made up. With 0 clips a minute results are written as fast as can be. Prints rows, the CPU of Postgres (the process
POSTMASTER and its children) and the times of all calls as JSON, without those of the first seconds: two hundred new
connections cost as much as a minute's rows.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TypeVar

import orjson
import psutil
import uvloop

from lipika.db.connection import Database
from lipika.db.queue import Queue
from lipika.db.reservations import Demand, Reservations
from lipika.db.results import Results
from lipika.db.workers import WorkerInfo, Workers, WorkerStats
from lipika.models import (
    Accounting,
    Answer,
    AudioFacts,
    ClaimedVideo,
    Clip,
    ClipResult,
    ClipStatus,
    Provenance,
    SegmentName,
    Usage,
)
from lipika.validation import validate

CLIPS_A_VIDEO = 50
WARM_UP_S = 5.0
_LEASE_S, _HEARTBEAT_S, _LIVE_S, _FLUSH_S = 120.0, 10.0, 5.0, 4.0
_SLOTS_S = 2.0  # a route settles as often, and its slots reach four seconds ahead

T = TypeVar("T")


class SimulatedWorker:
    """Does with Postgres what a worker does, without audio and answers."""

    def __init__(
        self, database: Database, number: int, rows_per_s: float, times: dict[str, list[float]]
    ) -> None:
        self._name = f"worker{number}"
        self._queue, self._results = Queue(database), Results(database)
        self._workers, self._slots = Workers(database), Reservations(database)
        self._rows_per_s = rows_per_s
        self._times = times
        self._chance = random.Random(number)
        self.rows = 0
        self._held: list[ClaimedVideo] = []

    async def register(self) -> None:
        await self._workers.register(WorkerInfo(self._name, self._name, "aistudio", None, {}))

    async def run(self, until: float) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._videos(until))
            for every_s, work in (
                (_HEARTBEAT_S, self._renew),
                (_HEARTBEAT_S, self._beat),
                (_LIVE_S, self._live),
                (_SLOTS_S, self._reserve),
            ):
                group.create_task(self._every(every_s, work, until))

    async def _videos(self, until: float) -> None:
        """Claim, write a flush's worth at a time, finish; the next video follows without a pause.

        Whoever was held up catches up, as answers do not wait for Postgres either.
        """
        rows = min(round(self._rows_per_s * _FLUSH_S), CLIPS_A_VIDEO) if self._rows_per_s else CLIPS_A_VIDEO
        due = time.monotonic()
        if self._rows_per_s:
            due -= self._chance.uniform(0, rows / self._rows_per_s)  # not all at the same moment
        while time.monotonic() < until:
            self._held = await self._timed("claim", self._queue.claim(self._name, _LEASE_S, 1))
            for video in self._held:
                await self._timed("start", self._queue.start(video))
                results = make_results(video, CLIPS_A_VIDEO, self._name)
                for start in range(0, CLIPS_A_VIDEO, max(rows, 1)):
                    part = results[start : start + max(rows, 1)]
                    if self._rows_per_s:
                        due += len(part) / self._rows_per_s * self._chance.uniform(0.8, 1.2)
                        await asyncio.sleep(min(due, until) - time.monotonic())
                    if time.monotonic() > until:
                        return
                    await self._timed("results", self._results.write(video, part))
                    self.rows += len(part)
                done = _accounting(len(results))
                await self._timed(
                    "finish", self._queue.finish(video, done, output_bytes=1, output_digest="x")
                )

    async def _every(self, seconds: float, work: Callable[[], Awaitable[object]], until: float) -> None:
        next_at = time.monotonic() + self._chance.uniform(0, seconds)
        while next_at < until:
            await asyncio.sleep(max(next_at - time.monotonic(), 0))
            await work()
            next_at += seconds

    async def _renew(self) -> None:
        await self._timed("renew", self._queue.extend(self._held, _LEASE_S))

    async def _beat(self) -> None:
        await self._timed("heartbeat", self._workers.heartbeat(self._name, WorkerStats("aistudio")))

    async def _live(self) -> None:
        live = self._workers.live(self._name, active_rpm=100, active_tpm=50_000, requests_in_flight=15)
        await self._timed("live", live)

    async def _reserve(self) -> None:
        wanted = round(self._rows_per_s * _SLOTS_S) + 1
        await self._timed(
            "slots", self._slots.reserve(self._name, Demand("aistudio", wanted, 700, 1e-3, 0, 0, 0, 0))
        )

    async def _timed(self, name: str, call: Awaitable[T]) -> T:
        started = time.perf_counter()
        result = await call
        self._times[name].append((time.perf_counter() - started) * 1000)
        return result


def make_results(video: ClaimedVideo, count: int, worker: str) -> list[ClipResult]:
    """Clips with a real verdict, all alike but for their places."""
    return [
        replace(
            _RESULT,
            video_id=video.video_id,
            clip=replace(_RESULT.clip, name=SegmentName("speaker0", 1000 * number, 1000 * number + 800)),
            provenance=replace(_RESULT.provenance, worker_id=worker),
        )
        for number in range(count)
    ]


def _result() -> ClipResult:
    text = "नमस्ते, आज हम मौसम और खेती के बारे में बात करेंगे, क्योंकि बारिश इस साल देर से आई है और किसान चिंतित हैं।"
    answer = Answer(text, text, "hi", "neutral", "conversational", "normal", "standard")
    name = SegmentName("speaker0", 0, 800)
    facts = AudioFacts(6800, -20.0, -3.0, 40.0, 0.0, 7000)
    clip = Clip(name, name, 0, 8000, 0, 8000, 150, 150, 8300, 16_000, 16, 0.9, (), facts, "0" * 64, "1")
    return ClipResult(
        video_id="",
        clip=clip,
        language_hint="hi",
        status=ClipStatus.TRANSCRIBED,
        answer=answer,
        verdict=validate(answer, clip, "hi"),
        failure=None,
        usage=Usage(prompt=700, prompt_text=440, prompt_audio=260, output=90),
        cost_usd=0.0005,
        provenance=Provenance("aistudio", "m", "m-1", "p1", "s1", 0.0, "low", "", "batch", 1, 900),
    )


_RESULT = _result()


def _accounting(clips: int) -> Accounting:
    return Accounting(segments=clips, segments_polished=clips, clips=clips, transcribed=clips)


async def simulate(
    url: str,
    postmaster: psutil.Process,
    count: int,
    seconds: float,
    clips_a_minute: float,
    warm_up_s: float = WARM_UP_S,
) -> dict[str, object]:
    """All workers, each with a connection."""
    times: dict[str, list[float]] = defaultdict(list)
    rows_per_s = clips_a_minute / 60 / count
    async with AsyncExitStack() as stack:
        databases = [
            await stack.enter_async_context(Database(url, max_size=1, wait_seconds=60)) for _ in range(count)
        ]
        workers = [
            SimulatedWorker(database, number, rows_per_s, times) for number, database in enumerate(databases)
        ]
        for worker in workers:
            await worker.register()
        until = time.monotonic() + warm_up_s + seconds
        at_work = asyncio.gather(*(worker.run(until) for worker in workers))
        await asyncio.sleep(warm_up_s)
        times.clear()
        started, before_s = time.monotonic(), tree_cpu_s(postmaster)
        rows = -sum(worker.rows for worker in workers)
        await at_work
        took_s, cpu_s = time.monotonic() - started, tree_cpu_s(postmaster) - before_s
    rows += sum(worker.rows for worker in workers)
    return {"seconds": took_s, "rows": rows, "cpu_s": cpu_s, "times": times}


def tree_cpu_s(process: psutil.Process) -> float:
    """Of a process, its children, and those of its children that have ended."""
    own = process.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in process.children():
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:  # it has just ended, and is counted with its parent the next time
            continue
        total += times.user + times.system
    return float(total)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulated_fleet", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("postmaster", type=int, help="process id")
    parser.add_argument("workers", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("clips_a_minute", type=float)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(
            simulate(
                options.url,
                psutil.Process(options.postmaster),
                options.workers,
                options.seconds,
                options.clips_a_minute,
            )
        )
    sys.stdout.buffer.write(orjson.dumps(told))


if __name__ == "__main__":
    main()
