"""The read model on a database as a corpus leaves it, in small: every question takes a few rows, by an index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import sql

from benchmarks.big_database import Size, build, measure, questions
from lipika.db import Database, Stats
from lipika.db.candidates import Candidates
from lipika.db.clip_samples import ClipSamples
from lipika.db.connection import Params
from lipika.db.queries import Query, load
from lipika.fleet.status import read_status, status_document
from postgres_kit import TEMPLATE, on_database

Row = TypeVar("Row")
SMALL = Size(videos=3000, results=12_000, workers=40, hours=3, errors=2000)
BIG = {
    *("video_queue", "transcription_results", "transcription_flags", "transcription_batches"),
    *("worker_minutes", "worker_errors"),
}
QUEUED = b"select count(*) as rows from video_queue where video_id > %(after)s and video_id <= %(last)s"
READS_A_DAY = {
    "review.error_types"
}  # of the errors, by an index on their time: all of them are of today here


@dataclass(frozen=True)
class Count:
    rows: int


@dataclass
class Plan:
    """Rows that a statement took out of each big table, as EXPLAIN ANALYZE counted them."""

    query: str
    taken: dict[str, int] = field(default_factory=dict)

    def read(self, node: dict[str, Any]) -> None:
        name = node.get("Relation Name")
        if name in BIG:
            rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            rows += node.get("Rows Removed by Index Recheck", 0)
            self.taken[name] = self.taken.get(name, 0) + round(rows * node["Actual Loops"])
        for child in node.get("Plans", ()):
            self.read(child)


async def explain(database: Database, query: Query, params: Params) -> Plan:
    """What a statement takes, by an index wherever there is one; of a copy its select."""
    text = query.sql.partition(b"copy (")[2].rpartition(b") to stdout")[0] or query.sql
    async with database.transaction() as connection:
        await connection.execute("set local enable_seqscan = off")
        cursor = await connection.execute(b"explain (analyze, format json) " + text, params or None)
        found = await cursor.fetchone()
        assert found is not None
        plan = Plan(query.name)
        plan.read(found[0][0]["Plan"])
        return plan


class Explaining(Database):
    """Explains every query on its way. Small tables would be read whole, so that is made unattractive."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.plans: list[Plan] = []

    async def rows(self, query: Query, params: Params, kind: type[Row]) -> list[Row]:
        self.plans.append(await explain(self, query, params))
        return await super().rows(query, params, kind)


@pytest.fixture(scope="module")
def big_url(postgres_url: str) -> Iterator[str]:
    with _database(postgres_url, "big_in_small") as url:
        yield url


@contextmanager
def _database(admin_url: str, name: str) -> Iterator[str]:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        names = (sql.Identifier(name), sql.Identifier(TEMPLATE))
        connection.execute(sql.SQL("create database {} template {}").format(*names))
        yield on_database(admin_url, name)
        connection.execute(sql.SQL("drop database {} with (force)").format(names[0]))


@pytest.fixture
async def big(big_url: str) -> AsyncIterator[Database]:
    async with Database(big_url) as database:
        if not (await Stats(database).queue.languages()):
            await build(database, SMALL)
        yield database


async def test_it_is_built_as_it_says(big: Database, big_url: str) -> None:
    report = await read_status(big)
    assert report.queue.total == SMALL.videos
    assert report.fleet.totals.live == SMALL.workers
    assert report.eta_s is not None
    statuses = await Stats(big).quality.statuses()
    assert sum(row.clips for row in statuses) == pytest.approx(SMALL.results, rel=0.1)
    assert report.open_flags > 100
    with psycopg.connect(big_url) as connection:
        for counted, true in (
            ("select sum(flags) from flag_counts", "select count(*) from transcription_flags"),
            ("select sum(sent) from batch_hours", "select sum(segments_sent) from transcription_batches"),
            ("select sum(videos) from queue_counts", "select count(*) from video_queue"),
        ):
            assert connection.execute(counted).fetchone() == connection.execute(true).fetchone()
    assert set(status_document(report)) >= {"queue", "fleet", "workers", "errors", "eta_s"}


async def test_no_question_reads_a_whole_table(big: Database, big_url: str) -> None:
    sizes = {}
    with psycopg.connect(big_url) as connection:
        for table in BIG:
            (sizes[table],) = connection.execute(
                sql.SQL("select count(*) from {}").format(sql.Identifier(table))
            ).fetchone() or (0,)
    assert min(sizes.values()) >= 400
    async with Explaining(big_url) as database:
        for name, ask in questions(SMALL).items():
            database.plans.clear()
            await ask(database)
            assert database.plans, name
            for plan in database.plans:
                greedy = {
                    table: taken for table, taken in plan.taken.items() if taken > max(0.4 * sizes[table], 60)
                }
                assert not greedy or name in READS_A_DAY, f"{name}: {plan.query} takes {greedy} of {sizes}"


async def test_every_question_is_timed(big: Database) -> None:
    timings = await measure(big, SMALL, rounds=1)
    assert [timing.question for timing in timings] == list(questions(SMALL))
    assert all(timing.median_ms > 0 for timing in timings)


async def test_a_sample_reads_what_it_takes(big: Database, big_url: str) -> None:
    """Of the queue the front of an index, of the results those of its videos."""
    del big
    async with Explaining(big_url) as database:
        samples = ClipSamples(database)
        videos = await samples.videos("hi", 20, looked_at=300)
        assert 10 <= len(videos) <= 20
        (plan,) = database.plans
        assert plan.taken["video_queue"] <= 300
        database.plans.clear()
        await samples.clips(videos, "hi", 5, simulated=False)
        (plan,) = database.plans
        with psycopg.connect(big_url) as connection:
            (theirs,) = connection.execute(
                "select count(*) from transcription_results where video_id = any(%s)", [videos]
            ).fetchone() or (0,)
        assert theirs
        assert plan.taken["transcription_results"] <= 2 * theirs, "each row is fetched, and passed on once"


async def test_a_page_of_candidates_reads_its_own_rows(big: Database) -> None:
    """For an export: all of a video or nothing, each row once, and no more than the page at a time."""
    queries, after, rows, pages = load("candidates"), "", 0, 0
    async for page in Candidates(big).pages(rows=500):
        there = page.csv.count(b"\n") - 1
        assert 0 < there <= 500 + SMALL.clips
        rows, pages = rows + there, pages + 1
        if pages in (1, 5):
            end = await explain(big, queries["last_of_page"], {"after": after, "rows": 500})
            assert end.taken == {"transcription_results": 500}
            copied = await explain(big, queries["candidates"], {"after": after, "last": page.last})
            assert copied.taken["transcription_results"] == there
            held = {"after": after, "last": page.last}
            videos = await big.row(Query("count", QUEUED), held, Count)
            assert copied.taken["video_queue"] <= max(videos.rows, there)
        after = page.last
    assert pages > 10
    counted = Query("count", b"select count(*) as rows from transcription_results")
    assert rows == (await big.row(counted, {}, Count)).rows


async def test_a_video_with_more_clips_than_a_page_is_not_cut(big: Database) -> None:
    async for page in Candidates(big).pages(rows=1):
        assert page.videos == 1
        assert page.csv.count(b"\n") - 1 == SMALL.clips
        break
