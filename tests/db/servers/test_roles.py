"""deploy/supabase/roles.sql: each role can do its work, and nothing else; made by an owner who is no superuser."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from fleet_kit import a_stage, change, rows
from lipika import meters
from lipika.db import Budgets, Database, Queue, Results, Workers
from lipika.db.audits import Audits
from lipika.db.budgets import Limits
from lipika.db.calibrations import Calibrations, LearningTurn, NewCalibration
from lipika.db.clip_samples import ClipSamples
from lipika.db.migrate import check, migrations
from lipika.db.queries import Query
from lipika.db.reservations import Demand, Reservations
from lipika.db.voters import Voters
from lipika.db.votes import Votes
from lipika.db.workers import WorkerInfo, WorkerStats
from lipika.errors import DatabaseError, DatabaseUnavailable, LeaseLost, SettingsError, WorkerStop
from lipika.models import Accounting, BatchReport, Discard, NewVideo, Usage
from places import ROOT
from pooler import a_pooler
from postgres_kit import migrate_at, on_database

ROLES = (ROOT / "deploy" / "supabase" / "roles.sql").read_bytes()
OWNER, PASSWORD = "lipika_owner", "roles-of-the-test"
NAMES = ("lipika_worker", "lipika_dashboard", "lipika_reader", "anon")


def as_role(url: str, role: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}:{PASSWORD}@{parts.hostname}:{parts.port}"))


@pytest.fixture(scope="module")
def server(postgres_url: str) -> Iterator[str]:
    """As on Supabase: an owner who may create roles and is no superuser, and the role of the public key."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for name, rights in ((OWNER, "createrole"), ("anon", "")):
            connection.execute(
                sql.SQL("create role {} login password {} ").format(sql.Identifier(name), PASSWORD)
                + sql.SQL(rights)
            )
    yield postgres_url
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for name in (*NAMES, OWNER):
            connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(name)))


@pytest.fixture(scope="module", params=["directly", "pooled"])
def route(request: pytest.FixtureRequest) -> str:
    """Workers come to Postgres itself, or by way of connections that they share."""
    word: str = request.param
    return word


@pytest.fixture(scope="module")
def url(server: str, route: str) -> Iterator[str]:
    """A database that the owner has migrated and given roles, twice."""
    del route
    database, owner = sql.Identifier("test_roles"), sql.Identifier(OWNER)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} owner {}").format(database, owner))
        with psycopg.connect(on_database(server, "test_roles"), autocommit=True) as inside:
            inside.execute(sql.SQL("alter schema public owner to {}").format(owner))
        owned = as_role(on_database(server, "test_roles"), OWNER)
        asyncio.run(migrate_at(owned))
        with psycopg.connect(owned, autocommit=True) as inside:
            inside.execute(ROLES)
            inside.execute(ROLES)
            for role in NAMES[:3]:
                inside.execute(
                    sql.SQL("alter role {} login password {}").format(sql.Identifier(role), PASSWORD)
                )
            inside.execute("create table videos (video_id text, language text)")
        yield owned
        connection.execute(sql.SQL("drop database {} with (force)").format(database))


@pytest.fixture(scope="module")
def worker_url(url: str, route: str, open_dir: Path) -> Iterator[str]:
    worker = as_role(url, "lipika_worker")
    if route == "directly":
        yield worker
        return
    with a_pooler(worker, open_dir / "pooler of workers") as pooled:
        yield pooled


@pytest.fixture
async def a_video(url: str) -> str:
    """Held, so that no worker takes it."""
    async with Database(url) as owner:
        await Queue(owner).add([NewVideo("a", "in/a.tar", "out/a.tar")])
        await Queue(owner).hold(["a"])
    return "a"


def refused(url: str, statement: LiteralString) -> bool:
    """Whether the statement is refused for want of rights; it is undone in any case."""
    with psycopg.connect(url, prepare_threshold=None) as connection:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            return True
        finally:
            connection.rollback()
    return False


# ----------------------------------------------------------------------------- a worker


async def test_a_worker_finishes_a_queue_with_its_own_rights(
    url: str, worker_url: str, tmp_path: Path
) -> None:
    async with a_stage(tmp_path, url) as stage:
        videos = await stage.queue(3, 8)
        async with Database(url) as owner:
            await Budgets(owner).set_limits(
                "aistudio", Limits(requests_per_minute=6000, spend_total_usd=50.0)
            )
        stage.database_url = worker_url
        first = await stage.work_until(5)
        assert first.engine.totals.returned >= 5
        second = await stage.work()
        assert second.worker.tally.failed == 0
    done = rows(url, "select video_id, status from video_queue where not held order by 1")
    assert [row.video_id for row in done] == sorted(videos)
    assert {row.status for row in done} == {"done"}
    (spent,) = rows(url, "select sum(usd) as usd from provider_spend")
    assert spent.usd > 0
    assert rows(url, "select from transcription_batches")
    (report,) = rows(url, "select count(*) as online from workers where status = 'online'")
    assert report.online == 0


async def test_a_worker_keeps_second_opinions_with_its_own_rights(
    url: str, worker_url: str, tmp_path: Path
) -> None:
    """Those that it has asked for, under its own name; voters and tiers of the videos that it holds."""
    tables = ("transcription_answers", "transcription_voters", "video_queue")
    _empty(url, tables)
    async with a_stage(tmp_path, url) as stage:
        await stage.queue(1, 6)
        stage.database_url = worker_url
        model = {"second_opinion_model": "gemini-3.6-flash", "second_opinion": 1.0}
        worker = await stage.work(align_romaniser="builtin", **model)
    assert worker.tools.opinions is not None
    answered = worker.tools.opinions.counts.answered
    try:
        assert answered == len(rows(url, "select from transcription_answers")) > 0
        assert answered == len(rows(url, "select from transcription_voters where tier is not null"))
        async with Database(worker_url) as another:
            with pytest.raises(DatabaseError, match="are of worker"):
                await Voters(another).keep_opinions(f"{worker.worker_id}/second-opinions", [])
    finally:
        _empty(url, tables)


def _empty(url: str, tables: Sequence[str]) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        for table in tables:
            owner.execute(sql.SQL("delete from {}").format(sql.Identifier(table)))


NOTHING = "00000000-0000-0000-0000-000000000000"
HOSTILE: tuple[LiteralString, ...] = (
    # to void the cap
    "update provider_budgets set spend_total_usd = 1e9",
    "update provider_budgets set paused = false",
    "update provider_budgets set requests_until = 0, tokens_until = 0, usd_until = 0",
    "insert into provider_budgets (provider, spend_total_usd) values ('x', 1e9)",
    "insert into provider_budgets (provider) values ('x')",
    "delete from provider_budgets",
    "update provider_spend set usd = 0, reserved_usd = 0",
    "insert into provider_spend (provider, worker_id, day, usd, asked_at) values ('aistudio', 'x', now(), -1e9, 0)",
    "delete from provider_spend",
    # to fill or empty the queue, or to take what others hold
    "insert into video_queue (video_id, source_key, output_key) values ('x', 'x', 'y')",
    "update video_queue set status = 'pending', attempts = 0",
    "update video_queue set source_key = 's3://elsewhere/x.tar'",
    "update video_queue set claim_token = null, lease_expires_at = now() - interval '1 day'",
    "update video_queue set held = true",
    "select claim_token from video_queue",
    "select * from video_queue",
    "select from video_queue for update",
    "delete from video_queue",
    # to spoil or delete what is stored
    "delete from transcription_results",
    "update transcription_results set transcription = 'nothing of the kind'",
    "truncate transcription_results",
    "delete from transcription_answers",
    "update transcription_answers set answer = '{}'",
    "insert into transcription_answers (audio_digest, way_digest) values ('x', 'x')",
    "insert into transcription_voters (video_id, segment_file, audio_digest) values ('x', 'x', 'x')",
    "update transcription_voters set tier = 'gold'",
    "insert into transcription_flags (video_id, segment_file, flag_type, severity) values ('x', 'x', 'x', 'fail')",
    "delete from transcription_flags",
    "update transcription_flags set resolved = true",
    "update quality_rollup set cost_usd = -1e9",
    "update transcription_batches set cost_usd = -1e9",
    "delete from worker_minutes",
    "delete from worker_errors",
    "update queue_counts set videos = 0",
    # to have others judge by limits of its own
    "insert into calibrations (simulated, version, made_by, clips, content) values (false, 'x', 'x', '{}', '{}')",
    "update calibrations set content = '{}'",
    "delete from calibrations",
    "select from calibration_turns",
    "update calibration_turns set expires_at = now()",
    # to stop the fleet
    "update workers set status = 'offline'",
    "update workers set drain_requested_at = now()",
    "update workers set last_heartbeat_at = now() - interval '1 day'",
    "delete from workers",
    "select from workers for update",
    "select from provider_budgets for update",
    "lock table video_queue",
    "select * from worker_keys",
    "insert into worker_keys (worker_id, key_digest) values ('x', 'x')",
    "select lipika_is_worker('x', 'a-key-of-some-length')",
    # to get more rights
    "delete from lipika_migrations",
    "select from videos",
    "create table mine (id int)",
    "create function mine() returns int language sql as 'select 1'",
    # to put something in the way of whoever gets the same connection of a pooler next
    "create temp table transcription_results (id int)",
    "create temp view video_queue as select 1 as video_id",
    "create temp sequence lipika_migrations",
    "create type pg_temp.workers as (worker_id text)",
    "create function pg_temp.lipika_claim() returns int language sql as 'select 1'",
    "drop table video_queue",
    "alter table video_queue disable row level security",
    "alter function lipika_claim security invoker",
    "create role friend",
    "alter role lipika_worker bypassrls",
    "set role lipika_owner",
    "grant lipika_dashboard to lipika_worker",
)


@pytest.mark.parametrize("statement", HOSTILE)
async def test_a_worker_may_not(worker_url: str, statement: LiteralString) -> None:
    assert refused(worker_url, statement)
    assert not refused(worker_url, "select video_id, status from video_queue")


async def test_a_worker_speaks_for_itself_only(url: str, worker_url: str) -> None:
    """Two machines under one role: neither knows the other's key, which the database holds as a digest only."""
    async with Database(worker_url) as one, Database(worker_url) as other:
        mine, theirs = Workers(one), Workers(other)
        await mine.register(WorkerInfo("w-one", "host", "aistudio", None, {}))
        with pytest.raises(WorkerStop, match="another process"):
            await theirs.register(WorkerInfo("w-one", "host", "aistudio", None, {}))
        for hostile in (
            theirs.heartbeat("w-one", WorkerStats("aistudio")),
            theirs.live("w-one", active_rpm=1, active_tpm=1, requests_in_flight=1),
        ):
            with pytest.raises(WorkerStop):
                await hostile
        await theirs.offline("w-one")
        await theirs.record_error("w-one", None, "Lie", "not so", "")
        await mine.heartbeat("w-one", WorkerStats("aistudio"))
        await Results(one).write_batch(_window("w-one", 1.5))
        for window in (_window("w-one", 0.0), _window("w-two", -5.0)):
            with pytest.raises(DatabaseError):
                await Results(other).write_batch(window)
        await mine.offline("w-one")
    assert rows(url, "select from worker_errors where worker_id = 'w-one'") == []
    (window,) = rows(url, "select cost_usd from transcription_batches where worker_id = 'w-one'")
    assert window.cost_usd == 1.5


def _window(worker: str, usd: float) -> BatchReport:
    counts = tuple(meters.count([1000.0]))
    return BatchReport(
        f"window of {worker}", worker, ("v",), time.time(), 1, 1, 0, 0, 0, "aistudio", 0, Usage(), usd,
        900.0, 900.0, 60_000, {}, {}, counts,
    )  # fmt: skip


async def test_a_worker_learns_limits_when_it_is_its_turn_and_at_no_other_time(
    url: str, worker_url: str
) -> None:
    async with Database(url) as owner:
        await owner.execute(
            Query("t", b"insert into clip_counts values ('hi', 'status', 'transcribed', 0, 1000, 1)"), {}
        )
    new = NewCalibration("cal-12345678", {"hi": 1000}, "{}")
    async with Database(worker_url) as one, Database(worker_url) as other:
        mine, theirs = Calibrations(one), Calibrations(other)
        told = await mine.ask("c-one", ["hi"], simulated=False, least=1000, lease_s=60)
        assert told.turn is not None
        with pytest.raises(DatabaseError):
            await theirs.ask("c-two", ["hi"], simulated=False, least=0, lease_s=60)
        assert (await theirs.ask("c-one", ["hi"], simulated=False, least=1000, lease_s=60)).turn is None
        assert (await theirs.ask("c-two", ["hi"], simulated=False, least=1000, lease_s=60)).turn is None
        guess = LearningTurn("hi", NOTHING)
        assert not await theirs.end(guess, new, simulated=False, after=None)
        with pytest.raises(DatabaseError):
            await mine.end(told.turn, replace(new, content="x" * 200_000), simulated=False, after=None)
        assert (
            await ClipSamples(one).videos("hi", 10)
            == [
                row.video_id
                for row in rows(
                    url,
                    "select video_id from video_queue where claimed_by is not null"
                    " and (language = 'hi' or language is null) order by left(md5(video_id), 8)",
                )
            ][:10]
        )
        await ClipSamples(one).clips(["x"], "hi", 5, simulated=False)
        assert await mine.end(told.turn, new, simulated=False, after=None)
        assert not await mine.end(told.turn, new, simulated=False, after=None), "one turn, one calibration"
        assert [row.made_by for row in await theirs.newest(simulated=False)] == ["c-one"]
        with pytest.raises(DatabaseError):
            await theirs.put(new, "c-two", simulated=False)


async def test_a_worker_cannot_talk_the_ledger_out_of_its_cap(url: str, worker_url: str) -> None:
    async with Database(url) as owner:
        await Budgets(owner).set_limits("capped", Limits(spend_total_usd=1.0, spend_day_usd=1.0))
    asking = Demand("capped", 100, 600.0, 0.01, 0.0, 0.0, 0.0, 0.0)
    async with Database(worker_url) as one, Database(worker_url) as other:
        honest, liar = Reservations(one), Reservations(other)
        assert (await honest.reserve("spender", replace(asking, wanted=0, usd_metered=0.95))).granted == 0
        assert 4 <= (await liar.reserve("liar", asking)).granted <= 5
        lies: tuple[dict[str, float], ...] = (
            {"usd_metered": -1e9},
            {"reserved_usd": -1e9},
            {"usd_each": -1.0},
            {"usd_metered": math.nan},
            {"reserved_usd": math.nan},
            {"usd_each": math.nan},
            {"usd_over": -math.inf},
            {"tokens_over": math.nan},
        )
        for lie in lies:
            with contextlib.suppress(DatabaseError):
                await liar.reserve("liar", replace(asking, **lie))  # type: ignore[arg-type]
        with pytest.raises(DatabaseError):  # tomorrow's cap
            await liar.reserve("liar", asking, at=time.time() + 86_400)
        with pytest.raises(DatabaseError):  # as if the other had given back what it was granted
            await liar.reserve("spender", replace(asking, usd_metered=0.0))
        await honest.reserve(
            "spender", replace(asking, wanted=0, usd_metered=0.0)
        )  # nor can it take it back itself
        got = await honest.reserve("spender", replace(asking, usd_metered=0.0))
        assert (got.granted, got.binds) == (0, "spend_total")
    (sum_,) = rows(
        url, "select sum(usd) as usd, min(usd) as least from provider_spend where provider = 'capped'"
    )
    assert sum_.usd == 0.95
    assert sum_.least >= 0


async def test_a_worker_writes_for_the_videos_it_holds_and_for_no_other(
    url: str, worker_url: str, a_video: str
) -> None:
    """Neither for what another holds, nor for what is done: no token, no word."""
    async with Database(url) as owner:
        await Queue(owner).add([NewVideo("theirs", "in/theirs.tar", "out/theirs.tar")])
        (claim,) = await Queue(owner).claim("somebody", 600, 1, only=["theirs"])
    async with Database(worker_url) as database:
        queue, results = Queue(database), Results(database)
        guess = replace(claim, claim_token=NOTHING)
        for hostile in (
            queue.start(guess),
            queue.finish(guess, Accounting(), output_bytes=1, output_digest="x"),
            queue.fail(guess, "x", "x", retry=False),
            queue.release(guess),
            queue.progress(guess, Accounting(segments=9)),
            results.write_discards(guess, [Discard("x.flac", "too_short", "", True)]),
            results.remove(guess, ["x.flac"]),
        ):
            with pytest.raises(LeaseLost):
                await hostile
        (written,) = rows(
            worker_url,
            "select lipika_write_clips('theirs', %s::uuid, '[]', '[]') as owned",
            NOTHING,
        )
        assert not written.owned
        assert await queue.claim("greedy", 600, 1, only=["theirs", a_video]) == []
        for limit, lease in ((100_000, 60.0), (1, 1e9), (-1, 60.0), (1, math.nan)):
            with pytest.raises(DatabaseError):
                await queue.claim("greedy", lease, limit, only=[a_video])
    (video,) = rows(url, "select status, segment_count from video_queue where video_id = 'theirs'")
    assert video == ("claimed", None)
    async with Database(url) as owner:
        await Queue(owner).release(claim)
        await Queue(owner).remove(["theirs"])


async def test_roles_from_before_read_what_a_later_migration_makes(url: str, worker_url: str) -> None:
    """A worker reads what was heard as soon as the database is migrated, roles.sql or not."""
    (made,) = [file.sql for file in migrations() if file.name == "answers_and_voters"]
    look = "select from transcription_voters, transcription_answers"
    with psycopg.connect(url, autocommit=True) as owner:
        for name in ("transcription_voters", "transcription_answers"):
            for role in ("lipika_worker", "lipika_reader"):
                table, grantee = sql.Identifier(name), sql.Identifier(role)
                owner.execute(sql.SQL("drop policy {} on {}").format(grantee, table))
                owner.execute(sql.SQL("revoke all on {} from {}").format(table, grantee))
        assert refused(worker_url, look)
        owner.execute(made)
        assert not refused(worker_url, look)
        owner.execute("insert into transcription_voters values ('v', 'a.flac', 'x')")
        try:
            assert len(rows(worker_url, "select video_id from transcription_voters")) == 1
        finally:
            owner.execute("delete from transcription_voters")


async def test_counters_count_for_no_table_of_a_worker(url: str, worker_url: str) -> None:
    """Where the platform lets it make temporary ones, too: its triggers may not call what runs with our rights."""
    name = sql.Identifier(urlsplit(url).path[1:])
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(sql.SQL("grant temporary on database {} to lipika_worker").format(name))
        bait = """
            create temp table bait (id int);
            create trigger t after insert on bait referencing new table as rows_in
              for each statement execute function lipika_count_queue('(select 1)')
        """
        assert refused(worker_url, bait)
        owner.execute(sql.SQL("revoke temporary on database {} from lipika_worker").format(name))


SETTINGS: tuple[LiteralString, ...] = (
    "set default_transaction_read_only = on",
    "set search_path = nowhere",
    "set row_security = off",
    "set session characteristics as transaction isolation level serializable, read only",
)


@pytest.mark.parametrize("hostile", SETTINGS)
async def test_what_a_worker_leaves_on_a_connection_stops_no_other(
    url: str, worker_url: str, hostile: LiteralString
) -> None:
    """Through a pooler settings of a session meet whoever comes next on it."""
    async with Database(url) as owner:
        await Queue(owner).add([NewVideo("next", "in/next.tar", "out/next.tar")])
    with leaving(worker_url, hostile):
        async with Database(worker_url) as database:
            queue = Queue(database)
            (claim,) = await queue.claim("honest", 600, 1, only=["next"])
            assert await queue.extend([claim], 600) == {"next"}
            assert (await queue.counts(["next"])).claimed == 1
            await queue.finish(claim, Accounting(), output_bytes=1, output_digest="x")
    async with Database(url) as owner:
        await Queue(owner).remove(["next"])


async def test_what_a_worker_sets_for_its_role_goes_with_the_roles_file(url: str, worker_url: str) -> None:
    name = sql.Identifier(urlsplit(url).path[1:])
    direct = as_role(url, "lipika_worker")
    with psycopg.connect(worker_url, autocommit=True) as hostile:
        hostile.execute("alter role lipika_worker set search_path = nowhere")
        hostile.execute(
            sql.SQL("alter role lipika_worker in database {} set default_transaction_read_only = on").format(
                name
            )
        )
    settings = (
        "select current_setting('search_path') as path, current_setting('transaction_read_only') as closed"
    )
    assert rows(direct, settings) == [("nowhere", "on")]
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(ROLES)
    assert rows(direct, settings) == [('"$user", public', "off")]


async def test_a_server_that_is_read_only_stays_so(url: str) -> None:
    """Supabase's is when its disk is full: that is waited out, not got around."""
    name = sql.Identifier(urlsplit(url).path[1:])
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(sql.SQL("alter database {} set default_transaction_read_only = on").format(name))
        try:
            direct = as_role(url, "lipika_worker")  # a pooler's connections are older than that
            async with Database(direct) as database:
                with pytest.raises(DatabaseUnavailable, match="read-only"):
                    await Queue(database).claim("w", 600, 1)
        finally:
            owner.execute("set default_transaction_read_only = off")
            owner.execute(sql.SQL("alter database {} reset default_transaction_read_only").format(name))


async def test_a_worker_leaves_nobody_out_of_time_for_long(worker_url: str, route: str) -> None:
    sleep = Query("sleep", b"select pg_sleep(0.6)")
    with leaving(worker_url, "set statement_timeout = '300ms'"):
        async with Database(worker_url) as database:
            if route == "pooled":
                with pytest.raises(DatabaseUnavailable, match="timeout"):
                    await database.execute(sleep, {})
            assert await database.execute(sleep, {}) == 1


@contextlib.contextmanager
def leaving(url: str, statement: LiteralString) -> Iterator[None]:
    """The statement, run on each of a pooler's two connections, and its sessions still open."""
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(psycopg.connect(url, prepare_threshold=None)) for _ in range(2)]
        for session in sessions:  # each transaction holds one
            session.execute("select 1")
        for session in sessions:
            session.execute(statement)
            session.commit()
        yield


async def test_locks_of_a_worker_keep_no_other_from_counting(url: str, worker_url: str) -> None:
    """Anybody who may connect may take advisory locks: who finds all counters taken has some of its own."""
    with psycopg.connect(worker_url, autocommit=True) as hostile:
        hostile.execute("select pg_advisory_lock(780963642, n) from generate_series(0, 31) n")
        async with Database(url) as owner:
            added = Queue(owner).add([NewVideo("counted", "in/counted.tar", "out/counted.tar")])
            assert (await asyncio.wait_for(added, 20)).added == 1
            assert (await Queue(owner).counts()).total == rows(url, "select count(*) as n from video_queue")[
                0
            ].n
            await Queue(owner).remove(["counted"])


async def test_the_check_of_a_workers_database_finds_nothing(url: str, worker_url: str) -> None:
    async with Database(worker_url) as database:
        assert (await check(database)).problems() == []
    async with Database(as_role(url, "lipika_reader")) as database:
        assert any("may not write" in problem for problem in (await check(database)).problems())


# ----------------------------------------------------------------------------- people


async def test_the_dashboard_steers_and_writes_no_results(url: str, a_video: str) -> None:
    async with Database(as_role(url, "lipika_dashboard")) as database:
        queue, budgets = Queue(database), Budgets(database)
        assert (await queue.counts()).held == 1
        await budgets.pause("aistudio", "looking into it")
        await budgets.change("aistudio", {"requests_per_minute": 100})
        assert await budgets.resume("aistudio")
        assert await queue.hold([a_video], held=False) == 1
        assert await queue.hold([a_video]) == 1
    steering = as_role(url, "lipika_dashboard")
    assert not refused(steering, "update video_queue set priority = 5, held = false, status = 'pending'")
    assert not refused(steering, "update transcription_flags set resolved = true, note = 'heard it'")
    assert not refused(steering, "select from transcription_results")
    for statement in (
        "delete from video_queue",
        "update transcription_results set transcription = ''",
        "delete from transcription_flags",
        "update lipika_migrations set name = ''",
        "select from videos",
    ):
        assert refused(steering, statement), statement


async def test_clips_of_an_audit_are_heard_by_way_of_functions_that_check(url: str, worker_url: str) -> None:
    change(
        url,
        "insert into audits (seed, per_language, double_share, limit_cer, limit_unusable, strata, drawn_by)"
        " values (1, 10, 0, 0.05, 0.02, '[]', 'mira')",
    )
    change(
        url,
        "insert into audit_clips (audit_id, place, stratum, look, video_id, segment_file, audio_digest, duration_ms,"
        " language, transcription, proxy_errors, proxy_letters)"
        " select max(id), 0, 0, 1, 'v', 'c', 'd', 1000, 'hi', 'x', 0, 0 from audits",
    )
    board = as_role(url, "lipika_dashboard")
    async with Database(board) as database:
        audits = Audits(database)
        (audit, *_) = await audits.list_audits()
        (clip,) = await audits.take(audit.id, "mira", None)
        assert await audits.judge(audit.id, clip.place, "mira", usable=True)
        assert [one.made for one in await audits.progress(audit.id, "mira")] == [1]
    assert refused(board, "update audit_judgements set usable = false")
    assert refused(board, "delete from audits")
    take = "select lipika_take_audit_clips(1, 'x', null, 1)"
    judge = "select lipika_judge_audit_clip(1, 0, 'x', true, null, 1)"
    for other in (worker_url, as_role(url, "lipika_reader"), as_role(url, "anon")):
        assert refused(other, take)
        assert refused(other, judge)
    assert refused(worker_url, "select * from audit_clips")
    change(url, "delete from audits")


async def test_votes_are_cast_by_way_of_functions_that_check(url: str, worker_url: str) -> None:
    change(
        url,
        "insert into comparisons (first_way, second_way, first_words, second_words, seed, started_by)"
        " values ('a', 'b', 'A', 'B', 1, 'mira')",
    )
    board, reader = as_role(url, "lipika_dashboard"), as_role(url, "lipika_reader")
    async with Database(board) as database:
        votes = Votes(database)
        (comparison,) = await votes.list_comparisons()
        assert await votes.take(comparison.id, "mira", None) == []
        assert not await votes.vote(comparison.id, 1, "mira", "left")
        assert await votes.take_back(comparison.id, "mira") is None
    for statement in (
        "update comparison_votes set choice = 'first'",
        "insert into comparison_votes (comparison_id, place, voter) values (1, 1, 'x')",
        "delete from comparisons",
    ):
        assert refused(board, statement)
    for other in (worker_url, reader, as_role(url, "anon")):
        assert refused(other, "select lipika_vote(1, 1, 'x', 'left')")
        assert refused(other, "select lipika_take_comparison_clips(1, 'x', null, 1)")
        assert refused(other, "select lipika_take_vote_back(1, 'x')")
        assert refused(other, "select lipika_add_comparison_clips(1, '[]', 'x')")
    assert refused(worker_url, "select * from comparison_votes")
    change(url, "delete from comparisons")


async def test_a_reader_reads_every_table_and_view_and_changes_nothing(url: str, a_video: str) -> None:
    names = _relations(url)
    assert {"video_queue", "fleet_live"} <= set(names)
    with psycopg.connect(as_role(url, "lipika_reader"), autocommit=True) as connection:
        assert (a_video,) in connection.execute("select video_id from video_queue").fetchall()
        for name in names:
            connection.execute(sql.SQL("select * from {} limit 1").format(sql.Identifier(name)))
            with pytest.raises(
                (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)
            ):
                connection.execute(sql.SQL("delete from {}").format(sql.Identifier(name)))


async def test_the_public_key_reaches_nothing(url: str, a_video: str) -> None:
    """No rights for `anon`; and were they granted by mistake, row level security would still show no row."""
    assert rows(url, "select from video_queue where video_id = %s", a_video)
    public = as_role(url, "anon")
    for name in _relations(url):
        with psycopg.connect(public) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(sql.SQL("select * from {}").format(sql.Identifier(name)))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("grant usage on schema public to anon")
        connection.execute("grant all on video_queue to anon")
    assert rows(public, "select * from video_queue") == []
    with psycopg.connect(public) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(
            "insert into video_queue (video_id, source_key, output_key) values ('x', 'x', 'x')"
        )


def _relations(url: str) -> list[str]:
    """Every table and view of ours."""
    found = rows(
        url,
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')"
        " and relname not in ('videos', 'worker_keys', 'erasure_salt') order by 1",
    )
    return [row.relname for row in found]


async def test_no_role_can_log_in_without_a_password(server: str, url: str) -> None:
    del url
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("alter role lipika_reader password null")
    with pytest.raises(SettingsError, match="refuses"):
        async with Database(as_role(server, "lipika_reader")):
            raise AssertionError("it let us in")
