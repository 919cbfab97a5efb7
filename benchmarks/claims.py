"""The queue at its full size: filling it with a million videos, and 50 workers that claim from it.

python -m benchmarks.claims
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

import orjson

from benchmarks.setting import machine, save, scratch_folder
from lipika.archive.lists import Defaults, read_list
from lipika.db.admin import fresh_database
from lipika.db.connection import Database
from lipika.db.migrate import migrate
from lipika.db.queue import Queue
from lipika.embedded.postgres import EmbeddedPostgres
from lipika.models import Accounting

LEASE_S = 120.0


def write_list(path: Path, videos: int) -> None:
    with path.open("w") as file:
        file.write("video_id,language\n")
        file.writelines(f"video{number:08},hi\n" for number in range(videos))


async def worker(queue: Queue, name: str, until: float, latencies: list[float]) -> None:
    """Claims four videos, works on them for a moment, renews, finishes; about a round a second."""
    chance = random.Random(name)
    while time.monotonic() < until:
        await asyncio.sleep(chance.uniform(0.2, 1.4))
        started = time.perf_counter()
        claims = await queue.claim(name, LEASE_S, 4)
        latencies.append((time.perf_counter() - started) * 1000)
        for claim in claims:
            await queue.start(claim)
        await queue.extend(claims, LEASE_S)
        for claim in claims:
            await queue.finish(claim, Accounting(), output_bytes=1, output_digest="x")


async def run(videos: int, workers: int, seconds: float) -> dict[str, object]:
    with scratch_folder() as folder:
        async with EmbeddedPostgres(folder / "postgres") as server:
            url = await fresh_database(server.url, "claims")
            async with Database(url) as database:
                await migrate(database)
                path = folder / "videos.csv"
                write_list(path, videos)
                started = time.monotonic()
                await Queue(database).add(read_list(path, Defaults()))
                added_s = time.monotonic() - started
                started = time.monotonic()
                again = await Queue(database).add(read_list(path, Defaults()))
                again_s = time.monotonic() - started
                assert again.added == 0
            latencies: list[float] = []
            async with AsyncExitStack() as stack:
                databases = [
                    await stack.enter_async_context(Database(url, max_size=1)) for _ in range(workers)
                ]
                until = time.monotonic() + seconds
                await asyncio.gather(
                    *(
                        worker(Queue(database), f"w{number}", until, latencies)
                        for number, database in enumerate(databases)
                    )
                )
    ranked = sorted(latencies)
    return {
        "videos": videos,
        "workers": workers,
        "added_s": round(added_s, 1),
        "added_again_s": round(again_s, 1),
        "claims": len(ranked),
        **{f"p{p}_ms": round(ranked[int(p / 100 * (len(ranked) - 1))], 2) for p in (50, 90, 99)},
        "max_ms": round(ranked[-1], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    figures = asyncio.run(run(options.videos, options.workers, options.seconds))
    result = {**figures, "machine": asdict(machine(load))}
    print(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    save("claims", result)


if __name__ == "__main__":
    main()
