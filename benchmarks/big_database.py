"""A database as a big corpus leaves it, and how long every question of the read model takes on it, warm.

    python -m benchmarks.big_database                                    # 1M videos, 10M results: an hour, 25 GB
    python -m benchmarks.big_database --videos 20000 --results 200000    # a minute
    python -m benchmarks.big_database --keep DIR                         # leave it there, or use what is there

Rows are made up by SQL; counters come from the triggers, as in life. Every time is that of a whole call: query, rows
and objects.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import aiohttp

from benchmarks.board_pages import PAGES, a_board, load
from benchmarks.setting import machine, save, scratch_folder
from lipika.db.admin import fresh_database
from lipika.db.connection import Database
from lipika.db.errors import ErrorFilter
from lipika.db.flags import FlagFilter
from lipika.db.migrate import migrate
from lipika.db.queries import Query
from lipika.db.queue import Queue
from lipika.db.stats import Stats
from lipika.db.ways import Ways
from lipika.embedded.postgres import EmbeddedPostgres
from lipika.fleet.status import read_status
from lipika.models import VideoStatus

Question = Callable[[Database], Awaitable[object]]

_CHUNK_ROWS = 100_000
SERVER = {"shared_buffers": "1GB", "max_wal_size": "4GB", "fsync": "off", "synchronous_commit": "off"}
_TABLES = (
    *(
        "video_queue",
        "transcription_results",
        "transcription_flags",
        "transcription_batches",
        "worker_minutes",
    ),
    *(
        "worker_errors",
        "workers",
        "quality_rollup",
        "queue_counts",
        "clip_counts",
        "flag_counts",
        "batch_hours",
    ),
)


@dataclass(frozen=True, slots=True)
class Size:
    """How big. Results are spread evenly over the videos that are done: three fifths of all."""

    videos: int = 1_000_000
    results: int = 10_000_000
    workers: int = 200
    hours: int = 96  # of history: a window a minute of each worker
    errors: int = 100_000

    @property
    def clips(self) -> int:
        """Of each video that is done."""
        done = self.videos * 0.61 - self.workers * 20
        return max(round(self.results / max(done, 1)), 2)


@dataclass(frozen=True, slots=True)
class Timing:
    """One question, asked again and again; milliseconds. The processor time, ours and the server's, tells how long it
    takes on a machine that has nothing else to do. None where the system does not say."""

    question: str
    median_ms: float
    worst_ms: float
    cpu_ms: float | None


# ----------------------------------------------------------------------------- building


async def build(
    database: Database,
    size: Size,
    say: Callable[[str], object] = lambda _text: None,
    only: Sequence[str] = (),
) -> None:
    """Fill an empty, migrated database; `only` names the steps that are wanted, where not all are."""
    steps = {
        "budgets": [(0, 0)],
        "workers": [(0, 0)],
        "spend": [(0, 0)],
        "videos": list(_parts(size.videos, _CHUNK_ROWS)),
        "results": list(_parts(size.videos, max(_CHUNK_ROWS // size.clips, 1))),
        "flags": list(_parts(size.videos, max(4 * _CHUNK_ROWS // size.clips, 1))),
        "discards": list(_parts(size.videos, _CHUNK_ROWS)),
        "batches": list(_parts(size.hours, 4, step=1)),
        "minutes": list(_parts(size.hours, 4, step=1)),
        "rollup": [(0, 0)],
        "errors": [(0, 0)],
    }
    queries = _queries()
    for name, parts in steps.items():
        if only and name not in only:
            continue
        started = time.monotonic()
        for first, last in parts:
            params = {
                "first": first,
                "last": last,
                "videos": size.videos,
                "clips": size.clips,
                "workers": size.workers,
                "hours": size.hours,
                "errors": size.errors,
            }
            await database.execute(queries[name], {key: params[key] for key in _named(queries[name])})
        say(f"{name}: {time.monotonic() - started:.0f} s")
    for table in _TABLES:
        await database.execute(Query(f"vacuum {table}", f"vacuum (analyze) {table}".encode()), {})


def _parts(count: int, size: int, step: int = 0) -> Iterator[tuple[int, int]]:
    """First and last of each part; with `step`, the last is the next part's first."""
    for first in range(0, count, size):
        yield first, min(first + size, count) - 1 + step


def _queries() -> dict[str, Query]:
    _, *parts = re.split(
        r"^-- name: (\w+)$", Path(__file__).with_suffix(".sql").read_text("utf-8"), flags=re.MULTILINE
    )
    return {
        name: Query(f"big_database.{name}", body.strip().encode())
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def _named(query: Query) -> set[str]:
    return set(re.findall(r"%\((\w+)\)s", query.sql.decode()))


# ----------------------------------------------------------------------------- asking


def questions(size: Size) -> dict[str, Question]:
    """Every question that a page, a command or the metrics ask, by name."""
    middle = f"v{size.videos // 3:08}"
    return {
        "status": read_status,
        **_questions_of_fleet_and_queue(middle),
        **_questions_of_quality_and_spend(),
        **_questions_of_review(size, middle),
    }


def _questions_of_fleet_and_queue(middle: str) -> dict[str, Question]:

    async def second_page_of_slowest(database: Database) -> object:
        queue = Stats(database).queue
        return await queue.slowest(after=(await queue.slowest())[-1])

    return {
        "queue.counts": lambda db: Queue(db).counts(),
        "queue.list": lambda db: Queue(db).list_videos(after=middle),
        "queue.list done": lambda db: Queue(db).list_videos(VideoStatus.DONE, after=middle),
        "queue.list empty": lambda db: Queue(db).list_empty(limit=100),
        "queue.list processing": lambda db: Queue(db).list_videos(VideoStatus.PROCESSING),
        "fleet.now": lambda db: Stats(db).fleet.now(),
        "fleet.totals": lambda db: Stats(db).fleet.totals(),
        "fleet.minutes": lambda db: Stats(db).fleet.minutes(60),
        "fleet.workers": lambda db: Stats(db).fleet.workers(),
        "queue.languages": lambda db: Stats(db).queue.languages(),
        "queue.reasons": lambda db: Stats(db).queue.reasons(),
        "queue.outlook": lambda db: Stats(db).queue.outlook(),
        "queue.slowest": lambda db: Stats(db).queue.slowest(),
        "queue.slowest page 2": second_page_of_slowest,
        "queue.failed": lambda db: Stats(db).queue.list_failed(after=middle),
        "queue.failed by reason": lambda db: Stats(db).queue.list_failed(reason="bad_tar"),
    }


def _questions_of_quality_and_spend() -> dict[str, Question]:
    return {
        "quality.scores": lambda db: Stats(db).quality.scores(),
        "quality.findings": lambda db: Stats(db).quality.findings(),
        "quality.lanes": lambda db: Stats(db).quality.lanes(),
        "quality.confusion": lambda db: Stats(db).quality.confusion(),
        "quality.failures": lambda db: Stats(db).quality.failures(),
        "quality.statuses": lambda db: Stats(db).quality.statuses(),
        "quality.languages": lambda db: Stats(db).quality.languages(),
        "spend.days": lambda db: Stats(db).spend.days(),
        "spend.hours": lambda db: Stats(db).spend.hours(),
        "spend.summary": lambda db: Stats(db).spend.summary(),
    }


def _questions_of_review(size: Size, middle: str) -> dict[str, Question]:
    clip = f"speaker0_{800:05}_{1570:05}.flac"

    async def second_page_of_flags(database: Database) -> object:
        flags = Stats(database).flags
        return await flags.page(after=(await flags.page())[-1])

    return {
        "review.flags": lambda db: Stats(db).flags.page(),
        "review.flags page 2": second_page_of_flags,
        "review.flags by type": lambda db: Stats(db).flags.page(FlagFilter(flag_type="repetition")),
        "review.flags by language": lambda db: Stats(db).flags.page(FlagFilter(language="te")),
        "review.flags by both": lambda db: Stats(db).flags.page(
            FlagFilter(language="te", flag_type="failed:blocked", severity="fail")
        ),
        "review.flags of a video": lambda db: Stats(db).flags.page(FlagFilter(video_id=middle)),
        "review.flags resolved": lambda db: Stats(db).flags.page(FlagFilter(resolved=True)),
        "review.flag_counts": lambda db: Stats(db).flags.counts(),
        "review.clip": lambda db: Stats(db).clips.one(middle, clip),
        "review.clip_flags": lambda db: Stats(db).flags.list_of_clip(middle, clip),
        "review.clips": lambda db: Stats(db).clips.page(middle),
        "review.errors": lambda db: Stats(db).errors.page(),
        "review.errors by worker": lambda db: Stats(db).errors.page(ErrorFilter(worker_id="worker-1")),
        "review.errors by type": lambda db: Stats(db).errors.page(ErrorFilter(exception_type="VideoError")),
        "review.errors by video": lambda db: Stats(db).errors.page(ErrorFilter(video_id="v00000300")),
        "review.error": lambda db: Stats(db).errors.one(size.errors // 2),
        "review.error_types": lambda db: Stats(db).errors.types(),
        "answers.ways": lambda db: Ways(db).counts(),
    }


async def measure(database: Database, size: Size, rounds: int = 7) -> list[Timing]:
    """Ask each question once to warm up, then `rounds` times."""
    return [
        await _timed(database, name, partial(ask, database), rounds) for name, ask in questions(size).items()
    ]


async def measure_pages(database: Database, rounds: int = 7) -> list[Timing]:
    """The same with the pages of the board."""
    async with a_board(database) as url, aiohttp.ClientSession(url) as session:
        return [
            await _timed(database, f"page {page}", partial(load, session, page), rounds) for page in PAGES
        ]


async def _timed(database: Database, name: str, ask: Callable[[], Awaitable[object]], rounds: int) -> Timing:
    await ask()
    backends = [row.pid for row in await database.rows(_BACKENDS, {}, _Backend)]
    used, times = _cpu_ms(backends), []
    for _ in range(rounds):
        started = time.perf_counter()
        await ask()
        times.append((time.perf_counter() - started) * 1000)
    after = _cpu_ms(backends)
    cpu = round((after - used) / rounds, 1) if used is not None and after is not None else None
    return Timing(name, round(statistics.median(times), 1), round(max(times), 1), cpu)


_BACKENDS = Query(
    "backends",
    b"select pid from pg_stat_activity where datname = current_database() and backend_type = 'client backend'",
)


@dataclass(frozen=True, slots=True)
class _Backend:
    pid: int


def _cpu_ms(backends: Sequence[int]) -> float | None:
    """Processor time of this process and of these, so far."""
    try:
        theirs = sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in backends)
    except OSError:
        return None
    return time.process_time() * 1000 + theirs / 1e6


# ----------------------------------------------------------------------------- running


async def run(size: Size, folder: Path) -> tuple[dict[str, int], list[Timing]]:
    """Build in `folder`, unless it is there already, and measure; rows by table, and times."""
    with EmbeddedPostgres(folder / "postgres", settings=SERVER) as server:
        if not (folder / "built").exists():
            url = await fresh_database(server.url, "big")
            async with Database(url) as database:
                await migrate(database)
                await build(database, size, lambda text: print(text, flush=True))
            (folder / "built").touch()
        url = server.url.rpartition("/")[0] + "/big"
        async with Database(url) as database:
            # The build says that the workers will live for another hour; so do those of a database that was kept.
            revive = (
                b"update workers set last_heartbeat_at = now() + interval '1 hour' where status = 'online'"
            )
            await database.execute(Query("revive", revive), {})
            rows = {
                row.name: row.rows for row in await database.rows(_ROWS, {"tables": list(_TABLES)}, _Table)
            }
            return rows, [*await measure(database, size), *await measure_pages(database)]


_ROWS = Query(
    "rows",
    b"select relname::text as name, reltuples::bigint as rows from pg_class where relname = any(%(tables)s)",
)


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    rows: int


@contextmanager
def folder_to_keep(keep: Path | None) -> Iterator[Path]:
    """The folder that a database is built in; without a name it is gone at the end."""
    if keep is None:
        with scratch_folder() as folder:
            yield folder
    else:
        keep.mkdir(parents=True, exist_ok=True)
        keep.chmod(0o755)
        yield keep


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.big_database", description=__doc__)
    for name, default in asdict(Size()).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--keep", type=Path, help="folder that the database stays in")
    given = vars(parser.parse_args())
    keep, load = given.pop("keep"), os.getloadavg()[0]
    size = replace(Size(), **given)
    with folder_to_keep(keep) as folder:
        rows, timings = asyncio.run(run(size, folder))
    for timing in timings:
        figures = (timing.median_ms, timing.worst_ms, timing.cpu_ms or 0)
        print("".join(f"{figure:9.1f} ms" for figure in figures), f" {timing.question}")
    save(
        "big_database",
        {
            "machine": machine(load),
            "size": asdict(size),
            "rows": rows,
            "timings": [asdict(t) for t in timings],
        },
    )


if __name__ == "__main__":
    main()
