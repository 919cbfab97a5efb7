"""Planning an export from the rows of a big database: what a page of them takes, and that it is read by an index.

    python -m benchmarks.export_rows --results 200000     # a minute
    python -m benchmarks.export_rows                      # ten million rows: half an hour, 30 GB of disk
    python -m benchmarks.export_rows --keep DIR           # leave the database there, or use what is there

Rows are those of `benchmarks.big_database`, without the counters beside them. Pages are read at the beginning, in the
middle and at the end of the table; then `lipika export plan` reads and plans them all, with the memory of its
processes over time. The exit code is 1 where Postgres would read a table from end to end for a page.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.big_database import SERVER, Size, build, folder_to_keep
from benchmarks.export_memory import Watched, watch
from benchmarks.setting import Machine, machine, save
from lipika.db.admin import fresh_database
from lipika.db.candidates import Candidates
from lipika.db.connection import Database
from lipika.db.migrate import migrate
from lipika.db.queries import Query, load
from lipika.embedded.postgres import EmbeddedPostgres

_CLIPS_A_VIDEO = 100
_PAGE_ROWS = 30_000
_PAGES = 10  # at each place
_PLACES = {"beginning": 0.0, "middle": 0.3, "end": 0.58}  # of the videos, three fifths of which are done


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages from one place on, each with its end found and its rows copied. Milliseconds."""

    place: str
    rows: int  # of a page
    median_ms: float
    worst_ms: float


@dataclass(frozen=True, slots=True)
class RowsResult:
    """`scans` are the tables of more than four pages that Postgres would read from end to end for one: none, as it
    should be."""

    machine: Machine
    rows: int
    pages: tuple[Pages, ...]
    scans: tuple[str, ...]
    ran: Watched


async def measure(size: Size, folder: Path) -> RowsResult:
    load_before = os.getloadavg()[0]
    with EmbeddedPostgres(folder / "postgres", settings=SERVER) as server:
        url = server.url.rpartition("/")[0] + "/big"
        if not (folder / "built").exists():
            await _build(await fresh_database(server.url, "big"), size)
            (folder / "built").touch()
        async with Database(url) as database:
            rows = (await database.row(_COUNT, {}, _Count)).rows
            pages = [await _pages(database, name, _video(size, share)) for name, share in _PLACES.items()]
            scans = tuple(sorted(await _scans(database, _video(size, _PLACES["middle"]))))
        ran = await asyncio.to_thread(
            watch, ("plan", "--lane", "any"), folder / "spool", None, DATABASE_URL=url, OUTPUT_URL="/results"
        )
    return RowsResult(machine(load_before), rows, tuple(pages), scans, ran)


@dataclass(frozen=True, slots=True)
class _Count:
    rows: int


_COUNT = Query("count", b"select count(*) as rows from transcription_results")


@dataclass(frozen=True, slots=True)
class _Table:
    name: str


_LARGE = Query(
    "large", b"select relname::text as name from pg_class where relkind = 'r' and reltuples > %(rows)s"
)


async def _build(url: str, size: Size) -> None:
    async with Database(url) as database:
        await migrate(database)
        quick = Query(
            "quick", b"alter database big set session_replication_role = replica"
        )  # without triggers
        await database.execute(quick, {})
    async with Database(url) as database:
        await build(database, size, lambda text: print(text, flush=True), only=("videos", "results"))


def _video(size: Size, share: float) -> str:
    return f"v{int(size.videos * share):08}"


async def _pages(database: Database, place: str, after: str) -> Pages:
    times, rows = list[float](), list[int]()
    started = time.perf_counter()
    async for page in Candidates(database).pages(_PAGE_ROWS, after=after):
        times.append((time.perf_counter() - started) * 1000)
        rows.append(page.csv.count(b"\n") - 1)
        if len(times) == _PAGES:
            break
        started = time.perf_counter()
    return Pages(place, max(rows), round(statistics.median(times), 1), round(max(times), 1))


async def _scans(database: Database, after: str) -> set[str]:
    """Tables that the plans of both queries read from end to end, by the planner's own choice."""
    found = set[str]()
    large = {row.name for row in await database.rows(_LARGE, {"rows": 4 * _PAGE_ROWS}, _Table)}
    last = ""
    async for page in Candidates(database).pages(_PAGE_ROWS, after=after):
        last = page.last
        break
    for name, query in load("candidates").items():
        text = query.sql.decode().partition("copy (")[2].rpartition(") to stdout")[0] or query.sql.decode()
        params: Mapping[str, object] = {"after": after, "last": last, "rows": _PAGE_ROWS}
        async with database.connection() as connection:
            cursor = await connection.execute(f"explain (format json) {text}".encode(), params)
            answer = await cursor.fetchone()
        assert answer is not None
        found |= {f"{name}: {table}" for table in _sequential(answer[0][0]["Plan"]) if table in large}
    return found


def _sequential(node: dict[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan":
        yield str(node["Relation Name"])
    for child in node.get("Plans", ()):
        yield from _sequential(child)


def table(result: RowsResult) -> str:
    """The result as Markdown."""
    lines = ["| page at | rows | median, ms | worst, ms |", "|---|---:|---:|---:|"]
    lines += [
        f"| {page.place} | {page.rows:,} | {page.median_ms:.0f} | {page.worst_ms:.0f} |"
        for page in result.pages
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.export_rows",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=int, default=10_000_000)
    parser.add_argument("--keep", type=Path, help="folder that the database stays in")
    given = parser.parse_args(argv)
    videos = max(round(given.results / _CLIPS_A_VIDEO / 0.6), 500)
    size = Size(videos=videos, results=given.results, workers=2)
    with folder_to_keep(given.keep) as folder:
        result = asyncio.run(measure(size, folder))
    save("export_rows", result)
    print(table(result))
    print(
        f"{result.rows:,} rows: {result.ran.wall_s} s, {result.ran.cpu_s} s of CPU, {result.ran.peak_mb:,.0f} MB"
    )
    for scan in result.scans:
        print(f"read from end to end: {scan}")
    return int(bool(result.scans))


if __name__ == "__main__":
    raise SystemExit(main())
