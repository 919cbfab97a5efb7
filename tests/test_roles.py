"""deploy/supabase/roles.sql: each role can do its work, and nothing else; made by an owner who is no superuser."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from conftest import on_database
from fleet_kit import a_stage, rows
from lipika.db import Budgets, Database, Queue
from lipika.db.budgets import Limits
from lipika.db.migrate import check, migrate
from lipika.errors import SettingsError
from lipika.models import NewVideo

ROLES = (Path(__file__).resolve().parent.parent / "deploy" / "supabase" / "roles.sql").read_bytes()
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


@pytest.fixture(scope="module")
def url(server: str) -> Iterator[str]:
    """A database that the owner has migrated and given roles, twice."""
    database, owner = sql.Identifier("test_roles"), sql.Identifier(OWNER)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} owner {}").format(database, owner))
        with psycopg.connect(on_database(server, "test_roles"), autocommit=True) as inside:
            inside.execute(sql.SQL("alter schema public owner to {}").format(owner))
        owned = as_role(on_database(server, "test_roles"), OWNER)
        asyncio.run(_migrate(owned))
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


async def _migrate(url: str) -> None:
    async with Database(url) as database:
        await migrate(database)


@pytest.fixture
async def a_video(url: str) -> str:
    """Held, so that no worker takes it."""
    async with Database(url) as owner:
        await Queue(owner).add([NewVideo("a", "in/a.tar", "out/a.tar")])
        await Queue(owner).hold(["a"])
    return "a"


def refused(url: str, statement: LiteralString) -> bool:
    """Whether the statement is refused for want of rights; it is undone in any case."""
    with psycopg.connect(url) as connection:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            return True
        finally:
            connection.rollback()
    return False


# ----------------------------------------------------------------------------- a worker


async def test_a_worker_finishes_a_queue_with_its_own_rights(url: str, tmp_path: Path) -> None:
    async with a_stage(tmp_path, url) as stage:
        videos = await stage.queue(3, 8)
        async with Database(url) as owner:
            await Budgets(owner).set_limits(
                "aistudio", Limits(requests_per_minute=6000, spend_total_usd=50.0)
            )
        stage.database_url = as_role(url, "lipika_worker")
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


@pytest.mark.parametrize(
    "statement",
    [
        "update provider_budgets set spend_total_usd = 1e9",
        "update provider_budgets set paused = false",
        "insert into provider_budgets (provider, spend_total_usd) values ('x', 1e9)",
        "insert into video_queue (video_id, source_key, output_key) values ('x', 'x', 'x')",
        "delete from video_queue",
        "truncate transcription_results",
        "delete from worker_errors",
        "delete from lipika_migrations",
        "select from videos",
        "create table mine (id int)",
        "drop table video_queue",
        "alter table video_queue disable row level security",
        "create role friend",
        "alter role lipika_worker bypassrls",
    ],
)
async def test_a_worker_may_not(url: str, statement: LiteralString) -> None:
    assert refused(as_role(url, "lipika_worker"), statement)
    assert not refused(as_role(url, "lipika_worker"), "update video_queue set error_message = 'x'")


async def test_the_check_of_a_workers_database_finds_nothing(url: str) -> None:
    async with Database(as_role(url, "lipika_worker")) as database:
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
        " and relname <> 'videos' order by 1",
    )
    return [row.relname for row in found]


async def test_no_role_can_log_in_without_a_password(server: str, url: str) -> None:
    del url
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("alter role lipika_reader password null")
    with pytest.raises(SettingsError, match="refuses"):
        async with Database(as_role(server, "lipika_reader")):
            raise AssertionError("it let us in")
