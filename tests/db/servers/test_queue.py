"""The queue against a real Postgres: who may claim what, and who may write."""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import random
from collections import Counter
from typing import LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb

from lipika.db import Database, Queue
from lipika.db.migrate import check, migrate
from lipika.db.queries import load
from lipika.db.queue import Roots
from lipika.errors import DatabaseError, LeaseLost, UsageError
from lipika.models import Accounting, ClaimedVideo, NewVideo, VideoStatus
from postgres_kit import body_of

ADDS_UP = Accounting(
    segments=3, segments_polished=2, segments_discarded=1, clips=4, transcribed=2, no_speech=1, failed=1
)


def videos(count: int) -> list[NewVideo]:
    return [NewVideo(f"v{i:06}", f"in/v{i:06}.tar", f"out/v{i:06}.tar", "hi") for i in range(count)]


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database)


async def expire(database: Database) -> None:
    """Let every lease run out, by the database's clock."""
    async with database.connection() as connection:
        await connection.execute("update video_queue set lease_expires_at = now() - interval '1 second'")


async def claim_one(queue: Queue, worker: str = "w1", only: list[str] | None = None) -> ClaimedVideo:
    (claim,) = await queue.claim(worker, 60, 1, only=only)
    return claim


# ---- adding


async def test_adding_twice_adds_nothing_and_reports_what_differs(queue: Queue) -> None:
    first = await queue.add(videos(3))
    moved = dataclasses.replace(videos(1)[0], source_key="elsewhere.tar")
    second = await queue.add([*videos(4)[1:], moved])

    assert (first.added, first.existing, first.conflicts) == (3, 0, ())
    assert (second.added, second.existing, second.conflicts) == (1, 2, ("v000000",))
    kept = await queue.list_videos(limit=1)
    assert kept[0].source_key == "in/v000000.tar"


async def test_adding_one_id_twice_in_one_call_keeps_the_first(queue: Queue) -> None:
    report = await queue.add([*videos(1), *videos(1)])
    assert (report.added, report.existing) == (1, 1)


async def test_a_large_add_goes_in_chunks_and_keeps_its_order(queue: Queue) -> None:
    given = list(reversed(videos(12_001)))
    report = await queue.add(given)
    assert report.added == 12_001
    claims = await queue.claim("w1", 60, 2)
    assert [claim.video_id for claim in claims] == [video.video_id for video in given[:2]]


async def test_an_empty_id_is_refused(queue: Queue) -> None:
    with pytest.raises(DatabaseError, match=r"queue\.add"):
        await queue.add([NewVideo("", "in.tar", "out.tar")])


async def test_lists_in_pages_by_status(queue: Queue) -> None:
    await queue.add(videos(5))
    claim = await claim_one(queue)
    await queue.fail(claim, "bad_tar", "truncated", retry=False)

    (failed,) = await queue.list_videos(VideoStatus.FAILED)
    assert (failed.video_id, failed.error_code, failed.error_message) == ("v000000", "bad_tar", "truncated")
    page = await queue.list_videos(VideoStatus.PENDING, limit=3)
    rest = await queue.list_videos(VideoStatus.PENDING, limit=3, after=page[-1].video_id)
    assert [video.video_id for video in [*page, *rest]] == ["v000001", "v000002", "v000003", "v000004"]


# ---- claiming


async def test_a_claim_carries_what_the_worker_needs(queue: Queue) -> None:
    await queue.add([NewVideo("a", "in/a.tar", "out/a.tar", "ta", source_bytes=123)])
    claim = await claim_one(queue)
    assert dataclasses.replace(claim, claim_token="") == ClaimedVideo(
        "a", "", "in/a.tar", "out/a.tar", "ta", 1, 123
    )


async def test_claims_by_priority_then_by_arrival(queue: Queue) -> None:
    await queue.add(
        [NewVideo(name, "s", f"o/{name}", priority=p) for name, p in [("a", 0), ("b", 5), ("c", 5), ("d", 9)]]
    )
    claims = await queue.claim("w1", 60, 3)
    assert [claim.video_id for claim in claims] == ["d", "b", "c"]


async def test_claims_only_what_it_is_told(queue: Queue) -> None:
    await queue.add(videos(5))
    claims = await queue.claim("w1", 60, 10, only=["v000003", "v000001", "unknown"])
    assert [claim.video_id for claim in claims] == ["v000001", "v000003"]
    assert await queue.claim("w1", 60, 10, only=[]) == []


async def test_bytes_bound_a_claim_but_never_starve_it(queue: Queue) -> None:
    await queue.add(
        [
            NewVideo(name, "s", f"o/{name}", source_bytes=size)
            for name, size in [("a", 60), ("b", 30), ("c", 30)]
        ]
    )
    assert [claim.video_id for claim in await queue.claim("w1", 60, 9, max_bytes=90)] == ["a", "b"]
    assert [claim.video_id for claim in await queue.claim("w1", 60, 9, max_bytes=10)] == ["c"]


async def test_held_videos_wait_until_they_are_let_go(queue: Queue) -> None:
    await queue.add(videos(2))
    assert await queue.hold(["v000000"]) == 1
    assert await queue.hold(["v000000"]) == 0
    assert [claim.video_id for claim in await queue.claim("w1", 60, 9)] == ["v000001"]
    counts = await queue.counts()
    assert (counts.held, counts.pending, counts.claimed, counts.total) == (1, 0, 1, 2)
    await queue.hold(["v000000"], held=False)
    assert (await claim_one(queue)).video_id == "v000000"


async def test_concurrent_claims_never_share_a_video(database_url: str, queue: Queue) -> None:
    await queue.add(videos(600))
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as processes:
        parts = processes.starmap(_claim_everything, [(database_url, name) for name in ("a", "b", "c")])
    claimed = Counter(video_id for part in parts for video_id in part)
    assert len(claimed) == 600
    assert set(claimed.values()) == {1}


def _claim_everything(url: str, process: str) -> list[str]:
    """Claim with four tasks until nothing is left."""

    async def worker(queue: Queue, name: str) -> list[str]:
        mine: list[str] = []
        while claims := await queue.claim(name, 60, 7):
            mine += [claim.video_id for claim in claims]
        return mine

    async def main() -> list[str]:
        async with Database(url, max_size=4) as database:
            queue = Queue(database)
            parts = await asyncio.gather(*(worker(queue, f"{process}{i}") for i in range(4)))
            return [video_id for part in parts for video_id in part]

    return asyncio.run(main())


# ---- leases, fencing, attempts


async def test_an_expired_lease_is_taken_over_by_the_next_claim(database: Database, queue: Queue) -> None:
    await queue.add(videos(1))
    lost = await claim_one(queue, "w1")
    assert await queue.claim("w2", 60, 9) == []
    await expire(database)
    mine = await claim_one(queue, "w2")
    assert (mine.video_id, mine.attempt) == (lost.video_id, 2)
    assert mine.claim_token != lost.claim_token


async def test_who_lost_the_lease_can_write_nothing(database: Database, queue: Queue) -> None:
    await queue.add(videos(1))
    lost = await claim_one(queue, "w1")
    await expire(database)
    mine = await claim_one(queue, "w2")

    for attempt in (
        queue.start(lost),
        queue.progress(lost, ADDS_UP),
        queue.finish(lost, ADDS_UP, output_bytes=1, output_digest="x"),
        queue.release(lost),
    ):
        with pytest.raises(LeaseLost, match="v000000"):
            await attempt
    with pytest.raises(LeaseLost):
        await queue.fail(lost, "late", "too late", retry=True)
    assert await queue.extend([lost], 60) == set()
    await queue.finish(mine, ADDS_UP, output_bytes=1, output_digest="x")


async def test_extend_keeps_what_is_still_owned(database: Database, queue: Queue) -> None:
    await queue.add(videos(3))
    claims = await queue.claim("w1", 60, 3)
    await queue.finish(claims[0], ADDS_UP, output_bytes=1, output_digest="x")
    await expire(database)
    await queue.claim("w2", 60, 1, only=[claims[1].video_id])

    assert await queue.extend(claims, 60) == {claims[2].video_id}
    assert await queue.claim("w2", 60, 9) == []


async def test_finish_is_one_step_and_may_be_repeated(queue: Queue) -> None:
    await queue.add(videos(1))
    claim = await claim_one(queue)
    await queue.start(claim)
    for _ in range(2):  # the reply to the first may have been lost
        await queue.finish(claim, ADDS_UP, output_bytes=10, output_digest="abc")
    (video,) = await queue.list_videos(VideoStatus.DONE)
    assert (video.segment_count, video.clip_count, video.segments_transcribed) == (3, 4, 2)
    assert video.completed_at is not None
    assert await queue.claim("w2", 60, 9) == []
    with pytest.raises(LeaseLost):
        await queue.release(claim)


async def test_the_database_refuses_a_done_video_that_does_not_add_up(queue: Queue) -> None:
    await queue.add(videos(1))
    claim = await claim_one(queue)
    with pytest.raises(DatabaseError, match="adds_up"):
        await queue.finish(claim, dataclasses.replace(ADDS_UP, clips=5), output_bytes=1, output_digest="x")


async def test_crashes_use_up_the_attempts_and_the_video_fails(database: Database, queue: Queue) -> None:
    await queue.add(videos(2), max_attempts=2)
    for attempt in (1, 2):
        claim = await claim_one(queue, f"w{attempt}", only=["v000000"])
        assert claim.attempt == attempt
        await expire(database)

    claims = await queue.claim("w3", 60, 1)  # reaping what is exhausted takes no place
    assert [claim.video_id for claim in claims] == ["v000001"]
    (failed,) = await queue.list_videos(VideoStatus.FAILED)
    assert failed.error_code == "attempts_exhausted"
    assert failed.error_message is not None
    assert "2 attempts" in failed.error_message
    assert "w2" in failed.error_message


async def test_failures_are_retried_until_the_attempts_are_used_up(queue: Queue) -> None:
    await queue.add(videos(1), max_attempts=2)
    first = await queue.fail(await claim_one(queue), "storage", "gone \x00 away", retry=True)
    second = await queue.fail(await claim_one(queue), "storage", "gone away", retry=True)
    assert (first, second) == (VideoStatus.PENDING, VideoStatus.FAILED)
    assert await queue.claim("w1", 60, 9) == []


async def test_a_final_failure_fails_at_once_and_requeue_starts_over(queue: Queue) -> None:
    await queue.add(videos(2))
    assert await queue.fail(await claim_one(queue), "bad_tar", "x", retry=False) is VideoStatus.FAILED
    done = await claim_one(queue)
    await queue.finish(done, ADDS_UP, output_bytes=1, output_digest="x")

    assert await queue.requeue(["v000001"]) == 0
    assert await queue.requeue() == 1
    assert (await claim_one(queue)).attempt == 1
    assert await queue.requeue(["v000001"], also_done=True) == 1


async def test_release_gives_the_attempt_back(queue: Queue) -> None:
    await queue.add(videos(1), max_attempts=1)
    for _ in range(3):
        claim = await claim_one(queue)
        assert claim.attempt == 1
        await queue.release(claim)


async def test_the_progress_of_many_is_written_for_those_that_are_still_ours(queue: Queue) -> None:
    await queue.add(videos(3))
    claims = await queue.claim("w1", 60, 3)
    await queue.start(claims[0])
    await queue.take_back([claims[1].video_id])
    halfway = Accounting(segments=4, segments_polished=2, clips=3, transcribed=1)
    assert await queue.progress_of_many((claim, halfway) for claim in claims) == 2
    assert await queue.progress_of_many([]) == 0
    kept = await queue.counts()
    assert (kept.pending, kept.claimed, kept.processing) == (1, 1, 1)
    async with queue._database.connection() as connection:
        rows = await connection.execute(
            "select video_id, segment_count, clip_count, segments_transcribed from video_queue order by video_id"
        )
        written = await rows.fetchall()
    assert sorted(row[1:] for row in written if row[0] != claims[1].video_id) == [(4, 3, 1), (4, 3, 1)]
    assert [row[2] for row in written if row[0] == claims[1].video_id] == [0]


async def test_take_back_frees_a_video_and_cuts_its_worker_off(queue: Queue) -> None:
    await queue.add(videos(1))
    claim = await claim_one(queue)
    assert await queue.take_back([claim.video_id]) == 1
    with pytest.raises(LeaseLost):
        await queue.progress(claim, ADDS_UP)
    assert (await queue.counts(["v000000"])).pending == 1


# ---- plans and speed


async def test_the_plan_of_a_claim_uses_the_narrow_indexes(database_url: str, queue: Queue) -> None:
    """The regression that stops a fleet: a claim that reads the queue instead of its front."""
    await queue.add(videos(50_000))
    parameters = {
        "worker_id": "w",
        "lease_seconds": 60.0,
        "limit": 20,
        "max_bytes": None,
        "without": [],
        "only": None,
        "alone": True,
    }
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "update video_queue set status = 'done', segment_count = 0"
            " where video_id between 'v000100' and 'v045000'"
        )
        connection.execute("analyze video_queue")
        statement = (
            body_of(database_url, "lipika_claim").partition("return query\n")[2].rpartition(";\nend")[0]
        )
        explain = "explain (analyze, costs off, timing off, summary off) " + statement
        plan = "\n".join(line for (line,) in connection.execute(explain.encode(), parameters))
    assert "using video_queue_claim" in plan
    assert "using video_queue_active" in plan
    assert "Seq Scan on video_queue" not in plan


async def test_the_plan_of_adding_again_never_reads_the_whole_queue(database_url: str, queue: Queue) -> None:
    await queue.add(videos(50_000))
    names = [video.video_id for video in videos(5_000)]
    parameters = {
        "video_ids": names,
        "source_keys": names,
        "output_keys": names,
        "languages": [None] * len(names),
        "priorities": [0] * len(names),
        "segment_counts": [None] * len(names),
        "source_bytes": [None] * len(names),
        "max_attempts": 3,
    }
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("analyze video_queue")
        explain = b"explain (costs off) " + load("queue")["add"].sql
        plan = "\n".join(line for (line,) in connection.execute(explain, parameters))
    assert "Seq Scan on video_queue" not in plan


async def test_renewing_leases_and_counters_leaves_the_indexes_alone(database_url: str) -> None:
    async with Database(
        database_url, max_size=1
    ) as database:  # one connection: its counters are flushed at once
        queue = Queue(database)
        await queue.add(videos(1))
        claim = await claim_one(queue)
        await queue.start(claim)
        for clips in range(20):
            await queue.extend([claim], 60)
            await queue.progress(
                claim, dataclasses.replace(ADDS_UP, clips=2 * clips + 1, transcribed=clips, no_speech=clips)
            )
        async with database.connection() as connection:
            await connection.execute("select pg_stat_force_next_flush()")
            cursor = await connection.execute(
                "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'video_queue'"
            )
            updates, hot = await cursor.fetchone() or (0, 0)
    assert updates == 42
    assert hot == 40  # all but claim and start, which change an indexed status


async def test_what_has_nothing_left_is_known_whatever_is_written(database_url: str, queue: Queue) -> None:
    await queue.add(videos(3))
    claims = await queue.claim("w", 60, 2)
    nothing = Accounting(segments=2, segments_discarded=2)
    for claim, end in zip(claims, (nothing, ADDS_UP), strict=True):
        await queue.finish(claim, end, output_bytes=1, output_digest="x")
    with psycopg.connect(database_url, autocommit=True) as connection:

        def marked() -> list[str]:
            found = connection.execute("select video_id from video_queue where nothing_left order by 1")
            return [video_id for (video_id,) in found]

        assert marked() == [row.video_id for row in await queue.list_empty(limit=9)] == ["v000000"]
        connection.execute("update video_queue set nothing_left = video_id <> 'v000000'")
        assert marked() == ["v000000"]
        connection.execute(
            "insert into video_queue (video_id, source_key, output_key, status, segment_count, nothing_left)"
            " values ('x', 'x', 'x.out', 'done', 0, false), ('y', 'y', 'y.out', 'pending', 0, true)"
        )
        assert marked() == ["v000000", "x"]
        assert await queue.requeue(["v000000", "x"], also_done=True) == 2
        assert marked() == []


# ----------------------------------------------------------------------------- one output, one video


async def test_an_output_belongs_to_one_video(queue: Queue) -> None:
    report = await queue.add(
        [
            NewVideo("a", "/in/a.tar", "/out/a.tar"),
            NewVideo("b", "/in/b.tar", "file:///out//./a.tar"),
            NewVideo("c", "/in/c.tar", "/in/c.tar"),
            NewVideo("d", "/in/d.tar", "/in//a.tar"),
            NewVideo("e", "/in/e.tar", "/out/e.tar"),
        ]
    )
    assert report.added == 2
    assert [(clash.video_id, clash.other, clash.what) for clash in report.clashes] == [
        ("b", "a", "output_taken"),
        ("c", "c", "output_is_input"),
        ("d", "a", "output_is_input"),
    ]
    assert "its own archive" in str(report.clashes[1])
    later = await queue.add(
        [
            NewVideo("f", "/in/f.tar", "/out/e.tar"),
            NewVideo("g", "/in/g.tar", "/in/e.tar"),
            NewVideo("h", "/out/a.tar", "/out/h.tar"),
            NewVideo("a", "/in/a.tar", "/out/a.tar"),
        ]
    )
    assert (later.added, later.existing) == (0, 1)
    assert [(clash.video_id, clash.other, clash.what) for clash in later.clashes] == [
        ("f", "e", "output_taken"),
        ("g", "e", "output_is_input"),
        ("h", "a", "input_is_output"),
    ]
    assert {row.video_id for row in await queue.list_videos()} == {"a", "e"}


async def test_a_key_and_its_full_name_are_one_object(queue: Queue) -> None:
    roots = Roots("s3://in/raw", "s3://out/")
    await queue.add([NewVideo("a", "a.tar", "a_t.tar"), NewVideo("b", "b.tar", "b_t.tar")], roots=roots)
    report = await queue.add(
        [
            NewVideo("c", "c.tar", "s3://out/a_t.tar"),
            NewVideo("d", "d.tar", "s3://in/raw/b.tar"),
            NewVideo("e", "s3://out/b_t.tar", "e_t.tar"),
            NewVideo("f", "f.tar", "f_t.tar"),
        ],
        roots=roots,
    )
    assert report.added == 1
    assert {(clash.video_id, clash.other) for clash in report.clashes} == {("c", "a"), ("d", "b"), ("e", "b")}
    same = Roots("s3://both", "s3://both")
    assert (await queue.add([NewVideo("x", "x.tar", "x.tar")], roots=same)).clashes
    apart = Roots("s3://one", "s3://other")
    assert (await queue.add([NewVideo("x", "x.tar", "x.tar")], roots=apart)).added == 1


async def test_rows_that_came_by_another_way_are_not_paid_for(queue: Queue, database_url: str) -> None:
    """By SQL, or from before there was an index: the first writes, the others are failed with the reason."""
    long = "अ" * 90
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("drop index video_queue_output")
        assert connection.execute("select lipika_index_outputs()").fetchone() == (True,)
        connection.execute("drop index video_queue_output")
        connection.execute(
            "insert into video_queue (video_id, source_key, output_key) values ('a', '/in/a.tar', '/out/x.tar'),"
            " ('b', '/in/b.tar', '/out//x.tar'), ('c', '/in/c.tar', '/in/a.tar'), ('d', '/in/d.tar', '/in/d.tar'),"
            " ('e', '/in/e.tar', '/out/e.tar'), (%s, '/in/f.tar', '/out/f.tar'), ('g', '/in/g.tar', %s)",
            [long, f"/out/{long}.tar"],
        )
        assert connection.execute("select lipika_index_outputs()").fetchone() == (False,)
    claims = await queue.claim("w1", 60, 10)
    assert [claim.video_id for claim in claims] == ["a", "e"]
    refused = {row.video_id: row for row in await queue.list_videos(VideoStatus.FAILED)}
    assert {name: row.error_code for name, row in refused.items()} == {
        "b": "output_taken",
        "c": "output_is_input",
        "d": "output_is_input",
        long: "name_too_long",
        "g": "name_too_long",
    }
    assert "video a" in (refused["b"].error_message or "")
    assert {row.attempts for row in refused.values()} == {0}


async def test_outputs_become_unique_when_the_table_is_clean(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("drop index video_queue_output")
        connection.execute(
            "insert into video_queue (video_id, source_key, output_key) values ('a', 'a', 'x'), ('b', 'b', 'x')"
        )
    async with Database(database_url) as database:
        await migrate(database)
        (shared,) = (await check(database)).shared_outputs
        assert (shared.video_ids, shared.output_key) == (["a", "b"], "x")
        assert any("a, b would all write x" in problem for problem in (await check(database)).problems())
        assert await Queue(database).remove(["b"]) == 1
        await migrate(database)
        assert (await check(database)).problems() == []
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(
            "insert into video_queue (video_id, source_key, output_key) values ('c', 'c', './x')"
        )


@pytest.mark.parametrize(
    "video", [NewVideo("क" * 84, "in", "out"), NewVideo("v", "in", f"s3://b/{'क' * 84}")]
)
async def test_a_name_that_no_file_has_is_refused_by_its_bytes(queue: Queue, video: NewVideo) -> None:
    with pytest.raises(UsageError, match="252 bytes"):
        await queue.add([video])
    fits = "क" * 78
    assert (await queue.add([NewVideo(fits, "in", f"{fits}_transcribed.tar")])).added == 1


async def test_looking_for_clashes_never_reads_the_whole_queue(database_url: str, queue: Queue) -> None:
    await queue.add(videos(20_000))
    before = _rows_read(database_url)
    assert await queue.clashes(videos(20_300)[20_000:]) == []
    assert (await queue.claim("w", 60, 5)) != []
    assert _rows_read(database_url) == before


def _rows_read(url: str) -> int:
    """Rows of the queue that were read by going through all of it."""
    with psycopg.connect(url) as connection:
        connection.execute("select pg_stat_force_next_flush()")
        (found,) = connection.execute(
            "select coalesce(seq_tup_read, 0) from pg_stat_user_tables where relname = 'video_queue'"
        ).fetchone() or (0,)
        return int(found)


async def test_leases_are_renewed_while_videos_are_counted(queue: Queue, database_url: str) -> None:
    """A worker does both at once, over the same videos: neither statement may hold what the other waits for."""
    await queue.add(videos(200))
    claims = await queue.claim("w1", 600, 200)
    tokens = [claim.claim_token for claim in claims]
    counted = [
        {"video_id": claim.video_id, "claim_token": claim.claim_token, **dataclasses.asdict(ADDS_UP)}
        for claim in claims
    ]

    def repeat(statement: LiteralString, values: list[object]) -> int:
        """Rows of all calls together, each with what it names in another order."""
        chance, found = random.Random(len(statement)), 0
        with psycopg.connect(database_url, autocommit=True) as connection:
            for _ in range(60):
                chance.shuffle(values)
                given = Jsonb(values) if isinstance(values[0], dict) else values
                found += connection.execute(statement, [given]).rowcount
        return found

    renewed, told = await asyncio.gather(
        asyncio.to_thread(repeat, "select lipika_renew(%s::uuid[], 600)", list[object](tokens)),
        asyncio.to_thread(repeat, "select lipika_progress(%s)", list[object](counted)),
    )
    assert renewed == told == 60 * 200
