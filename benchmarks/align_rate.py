"""Does listening hold up the requests? The same paced work without it, and with a listener that is far too slow.

    python -m benchmarks.align_rate [--write]

The simulator answers; a window is 6 s with 90 clips. The slow listener computes for 0.7 s a clip, so that of 15
clips a second only one in a dozen or so can be heard. Launches are counted over three windows.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.setting import scratch_folder
from benchmarks.speech_corpus import CorpusPlan, make_corpus
from lipika.alignment.listener import ListenerOptions, Task
from lipika.alignment.stage import AlignmentStage, Opened
from lipika.config import load_settings
from lipika.db.connection import Database
from lipika.db.migrate import migrate
from lipika.db.queue import Queue
from lipika.embedded.postgres import EmbeddedPostgres
from lipika.jobs.demo import sample_folder
from lipika.jobs.wiring import open_worker
from lipika.models import Agreement, Alignment, NewVideo

RESULTS = Path(__file__).parent / "results" / "align_rate.json"
WINDOW_S, PER_WINDOW, WINDOWS = 6.0, 90, 9
EACH_S = 0.7


def slow_open(_options: ListenerOptions) -> Opened:
    return Opened("cpu", "none", "slow")


def slow_align(tasks: Sequence[Task]) -> list[Alignment]:
    """As long as that takes, at full load."""
    until = time.monotonic() + EACH_S * len(tasks)
    while time.monotonic() < until:
        sum(range(1000))
    return [Alignment(1.0, Agreement.AGREE, "", "", "hi", "", "", "slow") for _task in tasks]


@dataclass(frozen=True, slots=True)
class Rate:
    """What was launched, and how the listening went."""

    per_minute: float
    listening: dict[str, Any]


async def measure(corpus: Sequence[Path], database_url: str, *, listen: bool) -> Rate:
    """Launches a minute over the windows between the first and the last."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            provider="simulator",
            database_url=database_url,
            output_url=folder,
            batch_interval_seconds=WINDOW_S,
            worker_batch_size=PER_WINDOW,
        )
        stage = AlignmentStage(ListenerOptions(), deadline_s=WINDOW_S, open_=slow_open, align=slow_align)
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(Database(database_url))
            videos = [
                NewVideo(f"{listen}-{path.stem}", str(path), f"{folder}/{listen}-{path.stem}.tar")
                for path in corpus
            ]
            await Queue(database).add(videos)
            if listen:
                await stack.enter_async_context(stage)
                while stage.opened is None:  # noqa: ASYNC110 - once, for a second
                    await asyncio.sleep(0.05)
            aligner = stage if listen else None
            running = await stack.enter_async_context(open_worker(settings, database, aligner=aligner))
            task = asyncio.create_task(running.worker.run(only=[video.video_id for video in videos]))
            await asyncio.sleep(1.5 * WINDOW_S)
            before, started = running.engine.totals.requests, time.monotonic()
            await asyncio.sleep(3 * WINDOW_S)
            launched, seconds = running.engine.totals.requests - before, time.monotonic() - started
            running.worker.stop_now()
            await task
            return Rate(launched / seconds * 60, stage.figures() if listen else {})


async def main(arguments: list[str]) -> int:
    with scratch_folder() as folder:
        plan = CorpusPlan(WINDOWS, PER_WINDOW + 10, (2.2, 3.0))
        corpus = await asyncio.to_thread(make_corpus, folder / "in", plan, sample_folder())
        async with EmbeddedPostgres(folder / "postgres") as server:
            async with Database(server.url) as database:
                await migrate(database)
            without = await measure(corpus, server.url, listen=False)
            beside = await measure(corpus, server.url, listen=True)
    ratio = beside.per_minute / without.per_minute
    print(f"without {without.per_minute:.1f} a minute, with {beside.per_minute:.1f}: {ratio:.4f}")
    print(beside.listening)
    if "--write" in arguments:
        held = {
            "without_per_minute": round(without.per_minute, 2),
            "with_per_minute": round(beside.per_minute, 2),
            "ratio": round(ratio, 4),
            "seconds_a_clip": EACH_S,
            "listening": {
                key: beside.listening[key] for key in ("every", "offered", "sampled", "compared", "late")
            },
        }
        RESULTS.write_text(json.dumps(held, indent=1) + "\n", "utf-8")
    return 0 if abs(ratio - 1) <= 0.01 else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
