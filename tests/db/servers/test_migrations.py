"""Migrations, `db check`, row level security, errors of the driver, and life behind a transaction pooler."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from lipika.db import Database, Queue, Results, Workers
from lipika.db.migrate import CheckReport, check, migrate, migrations
from lipika.db.workers import WorkerInfo
from lipika.embedded.postgres import EmbeddedPostgres, bundled_binaries
from lipika.errors import DatabaseError, DatabaseUnavailable, SettingsError
from lipika.models import Accounting, NewVideo
from places import ROOT
from pooler import a_pooler
from postgres_kit import PG_BIN, UNSAFE_BUT_FAST, on_database

TABLES = {
    *("lipika_migrations", "video_queue", "workers", "worker_errors", "provider_budgets"),
    *(
        "transcription_results",
        "transcription_flags",
        "transcription_batches",
        "quality_rollup",
        "provider_spend",
        "canary_runs",
        "canary_clips",
    ),
    *(
        "queue_counts",
        "clip_counts",
        "tier_counts",
        "flag_counts",
        "batch_hours",
        "batch_minutes",
        "worker_minutes",
    ),
    *("worker_keys", "transcription_answers", "transcription_voters", "way_counts"),
    *("calibrations", "calibration_turns", "datasets", "token_counts", "saved_filters", "model_hours"),
    *("audits", "audit_clips", "audit_judgements"),
    *("comparisons", "comparison_clips", "comparison_votes"),
    *("transcription_edits", "edited_clips"),
    "notices",
    *("redos", "redo_clips", "redo_turns"),
    *("erasures", "erasure_targets", "erasure_salt", "erased_audio", "erased_names"),
}
OF_LATER_FILES = {
    "model_hours",
    "way_counts",
    "transcription_answers",
    "transcription_voters",
    "calibrations",
    "calibration_turns",
    "tier_counts",
    "datasets",
    "token_counts",
    "saved_filters",
    *("audits", "audit_clips", "audit_judgements"),
    *("comparisons", "comparison_clips", "comparison_votes"),
    "transcription_edits",
    "edited_clips",
    "notices",
    *("redos", "redo_clips", "redo_turns"),
    *("erasures", "erasure_targets", "erasure_salt", "erased_audio", "erased_names"),
}
"""Tables that the first file does not know: the one that makes them looks for itself."""
VIEWS = {"fleet_live", "queue_progress", "throughput_by_minute", "quality_by_language", "spend_by_day"}


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator[Database]:
    async with Database(empty_database_url) as database:
        yield database


def shape(url: str) -> list[tuple[object, ...]]:
    """Columns, indexes, views, functions, triggers, constraints, comments and rights: all a migration can change."""
    query = """
        select 'column', table_name, column_name, data_type, column_default, is_nullable
        from information_schema.columns where table_schema = 'public'
        union all select 'index', tablename, indexname, indexdef, '', '' from pg_indexes where schemaname = 'public'
        union all select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', ''
        from pg_constraint where connamespace = 'public'::regnamespace
        union all select 'rights', relname, relkind::text, relrowsecurity::text, relacl::text, reloptions::text
        from pg_class where relnamespace = 'public'::regnamespace
        union all select 'definition', relname, pg_get_viewdef(oid), '', '', ''
        from pg_class where relnamespace = 'public'::regnamespace and relkind = 'v'
        union all select 'function', oid::regprocedure::text, pg_get_functiondef(oid), proacl::text, '', ''
        from pg_proc where pronamespace = 'public'::regnamespace
        union all select 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), '', ''
        from pg_trigger where not tgisinternal
        union all select 'policy', tablename, policyname, cmd, qual, with_check from pg_policies
        union all select 'comment', classoid::regclass::text, objoid::regclass::text, objsubid::text, description, ''
        from pg_description where objoid in (select oid from pg_class where relnamespace = 'public'::regnamespace)
        order by 1, 2, 3, 4
    """
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


# ---- applying


async def test_migrating_twice_changes_nothing(empty: Database, empty_database_url: str) -> None:
    assert await migrate(empty) == [migration.title for migration in migrations()]
    before = shape(empty_database_url)
    assert await migrate(empty) == []
    with psycopg.connect(empty_database_url) as connection:  # the files themselves, not just their record
        for migration in migrations():
            connection.execute(migration.sql)
    assert shape(empty_database_url) == before
    assert {row[1] for row in before if row[0] == "rights" and row[2] in {"r", "v"}} == TABLES | VIEWS


async def test_running_any_one_again_changes_nothing(database_url: str) -> None:
    """What a later file has put in an earlier one's place stays, even if the oldest is run again alone."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "insert into video_queue (video_id, source_key, output_key, language) values ('v', 'a', 'b', 'hi')"
        )
        connection.execute(
            "insert into transcription_flags (video_id, segment_file, flag_type, severity)"
            " values ('v', 'c', 'd', 'fail')"
        )
        connection.execute("update transcription_flags set language = 'unknown'")
    before, held = shape(database_url), content(database_url)
    for migration in migrations():
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(migration.sql)
        changed = set(shape(database_url)) ^ set(before)
        assert not changed, migration.title
        assert content(database_url) == held, migration.title


RELEASED = {
    "20261122000000": "dcbbcfe3ddc26299",
    "20261122000100": "9247065eb90f88f6",
    "20261122000300": "e55cd850ba83697b",
    "20261122000400": "fbf60b26235be843",
    "20261122000500": "4f7004eab19adacb",
    "20261122000600": "55969fbb7456fc6c",
    "20261122000700": "4d9edea6ddb82ddc",
    "20261128000300": "9d763d9b058cc888",
    "20261128000700": "b8d4f7fe7b2c6878",
    "20261128000710": "7325f49896d7fc86",
    "20261128000800": "330bf57175a04a8c",
}
"""Files that databases have run: their versions, and how their digests begin."""


def test_what_databases_have_run_is_never_edited() -> None:
    """A change belongs into a file of its own: a database that has run this one will not run it again."""
    there = {file.version: hashlib.sha256(file.sql).hexdigest()[:16] for file in migrations()}
    assert {version: there.get(version) for version in RELEASED} == RELEASED


async def test_the_mark_of_nothing_left_comes_without_writing_the_queue_anew(
    empty_database_url: str,
) -> None:
    """A released database takes it as it is: rows that are there are marked, and the index with the counters goes."""
    place = "select pg_relation_filenode('video_queue')"
    index = "select pg_get_indexdef('video_queue_nothing_left'::regclass)"
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        for migration in migrations():
            if migration.name == "nothing_left_kept":
                break
            connection.execute(migration.sql)
        connection.execute(
            "insert into video_queue (video_id, source_key, output_key, status, segment_count, segments_polished,"
            " segments_discarded, clip_count, segments_transcribed, segments_failed) values"
            " ('heard', 'a', 'a.out', 'done', 1, 1, 0, 1, 1, 0), ('failed', 'b', 'b.out', 'done', 1, 1, 0, 1, 0, 1),"
            " ('empty', 'c', 'c.out', 'done', 1, 0, 1, 0, 0, 0), ('new', 'd', 'd.out', 'pending', 1, 0, 0, 0, 0, 0)"
        )
        before = connection.execute(place).fetchone()
        for again in (migration.sql, *(file.sql for file in migrations() if "nothing_left" in file.name)):
            connection.execute(again)
            assert "segments" not in str(connection.execute(index).fetchone())
        assert connection.execute(place).fetchone() == before
        found = connection.execute(
            "select video_id from video_queue where nothing_left order by 1"
        ).fetchall()
    assert found == [("empty",), ("failed",)]


def content(url: str) -> list[tuple[object, ...]]:
    """All rows of all tables, as text."""
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1"
        ).fetchall()
        return [
            (name, *row)
            for (name,) in names
            for row in connection.execute(
                sql.SQL("select t::text from {} t order by 1").format(sql.Identifier(name))
            )
        ]


def _take_name(connection: psycopg.Connection[Any], name: str) -> None:
    """A table of somebody else under a name of ours."""
    statement = sql.SQL("create table {} (id int primary key, video_id text, language text)")
    connection.execute(statement.format(sql.Identifier(name)))


@pytest.mark.parametrize("name", sorted(TABLES | VIEWS))
async def test_a_table_of_somebody_else_is_left_alone(
    empty: Database, empty_database_url: str, name: str
) -> None:
    """By `db migrate` and `db check`, and if it stood there before the first file, by whoever runs that."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        _take_name(connection, name)
        connection.execute("create table videos (video_id text, language text)")
    before = shape(empty_database_url)
    with pytest.raises(SettingsError, match=f"{name} is not a table of lipika"):
        await migrate(empty)
    report = await check(empty)
    assert [table.table_name for table in report.foreign] == [name]
    assert any(f"{name} is not a table of lipika" in problem for problem in report.problems())
    assert not any("Row level security" in problem for problem in report.problems())
    if name not in OF_LATER_FILES:
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            with pytest.raises(psycopg.errors.DuplicateTable, match=name):
                connection.execute(migrations()[0].sql)
    assert shape(empty_database_url) == before


def test_a_table_that_a_later_file_would_make_is_left_alone_by_whoever_runs_the_files(
    empty_database_url: str,
) -> None:
    """Each of them before the file that makes it, tried and undone; those before had nothing in their way."""
    tried = set[str]()
    columns: LiteralString = (
        "select string_agg(attname, ' ' order by attnum) from pg_attribute"
        " where attnum > 0 and attrelid = %s::regclass"
    )
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        for migration in migrations():
            makes = [name for name in OF_LATER_FILES - tried if b"exists " + name.encode() in migration.sql]
            for name in makes:
                with connection.transaction(force_rollback=True):
                    _take_name(connection, name)
                    with (
                        pytest.raises(psycopg.errors.DuplicateTable, match=name),
                        connection.transaction(),
                    ):
                        connection.execute(migration.sql)
                    assert connection.execute(columns, [name]).fetchone() == ("id video_id language",)
                tried.add(name)
            connection.execute(migration.sql)
    assert tried == OF_LATER_FILES


async def test_two_processes_migrating_at_once_do_it_once(empty_database_url: str) -> None:
    async def one() -> list[str]:
        async with Database(empty_database_url) as database:
            return await migrate(database)

    outcomes = await asyncio.gather(one(), one(), one())
    done = [title for outcome in outcomes for title in outcome]
    assert sorted(done) == [migration.title for migration in migrations()]


async def test_psql_gives_the_same_and_lipika_knows_it(
    empty: Database, empty_database_url: str, database_url: str
) -> None:
    for _ in range(2):
        for path in sorted((ROOT / "supabase" / "migrations").glob("*.sql")):
            await asyncio.to_thread(_psql, path, empty_database_url)
    assert shape(empty_database_url) == shape(database_url)
    assert await migrate(empty) == []


def _psql(path: Path, url: str) -> None:
    """Run a file as a person would, statement by statement."""
    options = ["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--file={path}"]
    outcome = subprocess.run(
        [str(bundled_binaries() / "psql"), *options, url], capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr


def test_every_file_is_named_for_the_supabase_cli_and_records_itself() -> None:
    for migration in migrations():
        assert migration.version.isdigit()
        assert len(migration.version) == 14
        record = f"(version, name) values ('{migration.version}', '{migration.name}')"
        assert record in migration.sql.decode()


OLDER = bundled_binaries().parents[1] / "pginstall" / "bin"


@pytest.mark.skipif(PG_BIN is not None, reason="the whole run is against another Postgres already")
async def test_an_older_postgres_takes_migrations_and_work(open_dir: Path) -> None:
    """The wheel ships Postgres 16 too: nothing may need 18, as Supabase runs 15 to 17."""
    async with EmbeddedPostgres(open_dir / "older", pg_bin=OLDER, settings=UNSAFE_BUT_FAST) as server:
        await _work(server.url)
        with psycopg.connect(server.url) as connection:
            assert connection.info.server_version // 10_000 == 16


async def _work(url: str) -> None:
    """Migrate, and one video's whole life; a second round finds everything done."""
    for expected in (len(migrations()), 0):
        async with Database(url) as database:
            assert len(await migrate(database)) == expected
            queue, workers = Queue(database), Workers(database)
            await queue.add([NewVideo(f"v{expected}", "in.tar", f"out{expected}.tar", "hi")])
            await workers.register(
                WorkerInfo(f"w{expected}", "host", "simulator", None, {"prompt_version": "1"})
            )
            await workers.live(f"w{expected}", active_rpm=1, active_tpm=2, requests_in_flight=3)
            (claim,) = await queue.claim(f"w{expected}", 60, 1)
            await queue.extend([claim], 60)
            await Results(database).write(claim, [])
            await queue.finish(claim, Accounting(), output_bytes=1, output_digest="x")
            assert (await check(database)).problems() == []


# ---- looking


async def test_check_says_what_is_missing_and_finds_existing_videos(
    empty: Database, empty_database_url: str
) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("create table clips (video_id text, language text, title text)")
        connection.execute(
            "create schema media create view talks as select '1' as video_id, 'hi' as language"
        )
        connection.execute("create table unrelated (video_id text)")
    report = await check(empty)
    assert report.pending == tuple(migration.title for migration in migrations())
    assert report.applied == ()
    found = {(table.schema_name, table.table_name) for table in report.video_tables}
    assert found == {("media", "talks"), ("public", "clips")}
    assert any("lipika db migrate" in problem for problem in report.problems())

    await migrate(empty)
    report = await check(empty)
    assert report.problems() == []
    assert {table.table_name for table in report.tables} == TABLES
    assert int(report.server_version.split(".")[0]) >= 15


async def test_check_reports_lost_protection_and_missing_rights(
    database: Database, database_url: str
) -> None:
    with as_role(database_url, "anon"), psycopg.connect(database_url) as connection:
        connection.execute(
            "alter table workers disable row level security; grant select on video_queue to anon"
        )
        connection.commit()
        problems = (await check(database)).problems()
        connection.execute("revoke all on video_queue from anon")
    assert len(problems) == 2
    assert "Row level security is off for workers" in problems[0] + problems[1]
    assert "public keys have rights on video_queue" in problems[0] + problems[1]


def test_an_old_server_is_named() -> None:
    (problem,) = CheckReport("14.2", True, (), (), (), ()).problems()
    assert "14.2" in problem


# ---- row level security


def as_role(url: str, role: str) -> _Role:
    return _Role(url, role)


class _Role:
    """A login role such as those behind Supabase's public keys, for the length of a `with`."""

    def __init__(self, url: str, name: str) -> None:
        parts = urlsplit(url)
        self._admin = url
        self._name = sql.Identifier(name)
        self.url = f"postgresql://{name}:pw@127.0.0.1:{parts.port}{parts.path}"

    def __enter__(self) -> _Role:
        self._run("create role {} login password 'pw'")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("drop owned by {0}; drop role {0}")

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._admin, autocommit=True) as connection:
            for part in statement.split(";"):
                connection.execute(sql.SQL(part).format(self._name))


REACHED: LiteralString = """
    select c.relname::text from pg_class c
    where c.relnamespace = 'public'::regnamespace and case c.relkind
      when 'S' then has_sequence_privilege(c.oid, 'usage, select, update')
      when 'i' then false
      else has_table_privilege(c.oid, 'select, insert, update, delete, truncate, references, trigger')
        or has_any_column_privilege(c.oid, 'select, insert, update, references')
    end
    union all
    select p.oid::regprocedure::text from pg_proc p
    where p.pronamespace = 'public'::regnamespace and has_function_privilege(p.oid, 'execute')
"""
"""What the role that asks can reach: tables, views, columns, sequences, functions."""


async def test_the_public_role_has_no_rights_even_where_the_platform_gives_them(
    empty: Database, empty_database_url: str
) -> None:
    """Supabase grants all rights on new tables to `anon`; the migration takes them away again."""
    with as_role(empty_database_url, "anon") as role:
        async with empty.connection() as connection:
            for kind in ("tables", "sequences", "functions"):
                await connection.execute(
                    sql.SQL("alter default privileges in schema public grant all on {} to anon").format(
                        sql.SQL(kind)
                    )
                )
        await migrate(empty)
        with psycopg.connect(role.url, autocommit=True) as connection:
            for name in sorted(TABLES | VIEWS):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(sql.SQL("select * from {}").format(sql.Identifier(name)))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select lipika_shard()")
            assert connection.execute(REACHED).fetchall() == []
        async with empty.connection() as connection:
            for kind in ("tables", "sequences", "functions"):
                await connection.execute(
                    sql.SQL("alter default privileges in schema public revoke all on {} from anon").format(
                        sql.SQL(kind)
                    )
                )


async def test_a_role_with_rights_but_no_policy_sees_and_writes_nothing(
    database: Database, database_url: str
) -> None:
    await Queue(database).add([NewVideo("v", "in.tar", "out.tar")])
    await Workers(database).register(WorkerInfo("w", "host", "simulator", None, {}))
    with as_role(database_url, "visitor") as role:
        async with database.connection() as connection:
            await connection.execute("grant all on all tables in schema public to visitor")
            await connection.execute("grant execute on all functions in schema public to visitor")
        with psycopg.connect(role.url, autocommit=True) as connection:
            for name in sorted(TABLES | VIEWS):
                rows = connection.execute(sql.SQL("select * from {}").format(sql.Identifier(name))).fetchall()
                assert rows == [], name
            assert connection.execute("delete from video_queue").rowcount == 0
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(
                    "insert into video_queue (video_id, source_key, output_key) values ('x', '', '')"
                )


# ---- errors of the driver


async def test_a_missing_table_says_what_to_do(empty: Database) -> None:
    with pytest.raises(DatabaseError, match=r"queue_counts\.counts.*lipika db migrate"):
        await Queue(empty).counts()


async def test_a_wrong_password_is_a_mistake_of_settings_and_stays_secret(database_url: str) -> None:
    parts = urlsplit(database_url)
    wrong = f"postgresql://lipika:wr0ng-secret@127.0.0.1:{parts.port}{parts.path}"
    with pytest.raises(SettingsError, match="DATABASE_URL") as caught:
        await Database(wrong).open()
    assert "wr0ng-secret" not in _whole_text(caught.value)
    with pytest.raises(SettingsError, match="does not exist"):
        await Database(on_database(database_url, "no_such_database")).open()


async def test_nobody_listening_is_an_outage() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"postgresql://lipika:s3cret@127.0.0.1:{reserved.getsockname()[1]}/postgres"
        with pytest.raises(DatabaseUnavailable, match="refused") as caught:
            await Database(url).open()
    assert "s3cret" not in _whole_text(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:pa@s3cret@host/db",
        "postgresql://user:pa/s3cret@host/db",
        "postgresql://user:s3cret@host/db?pgbouncer=true",
        "postgresql://user:pa#?s3cret@host:port/db",
        "nonsense",
        "",
    ],
)
def test_a_url_that_is_not_what_it_seems_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL") as caught:
        Database(url)
    assert "s3cret" not in _whole_text(caught.value)


async def test_a_cut_connection_is_an_outage_and_the_pool_recovers(
    database_url: str, postgres_url: str
) -> None:
    async with Database(database_url, max_size=1) as database:
        async with database.connection() as connection:
            cut = connection.info.backend_pid
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute("select pg_terminate_backend(%s, 5000)", [cut])
        with pytest.raises(DatabaseUnavailable):
            await Queue(database).counts()
        assert (await Queue(database).counts()).total == 0


async def test_a_cancelled_statement_is_an_outage_and_a_bad_one_is_not(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="timeout"):
        await _run(database, "set local statement_timeout = '20ms'", "select pg_sleep(5)")
    with pytest.raises(DatabaseError, match="22012"):
        await _run(database, "select 1 / 0")


async def _run(database: Database, *statements: LiteralString) -> None:
    async with database.transaction() as connection:
        for statement in statements:
            await connection.execute(statement)


async def test_too_many_clients_is_an_outage(open_dir: Path) -> None:
    settings = {**UNSAFE_BUT_FAST, "max_connections": "4", "superuser_reserved_connections": "0"}
    async with EmbeddedPostgres(open_dir / "narrow", settings=settings) as server:
        taken = [psycopg.connect(server.url) for _ in range(4)]
        with pytest.raises(DatabaseUnavailable, match="too many clients"):
            await Database(server.url).open()
        for connection in taken:
            connection.close()


async def test_a_transaction_leaves_nothing_behind_when_it_fails(database: Database) -> None:
    with pytest.raises(RuntimeError):
        await _insert_and_fail(database)
    assert (await Queue(database).counts()).total == 0


async def _insert_and_fail(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            "insert into video_queue (video_id, source_key, output_key) values ('x', '', '')"
        )
        raise RuntimeError("changed my mind")


def _whole_text(error: BaseException) -> str:
    """The message with those of everything it was raised from, as a traceback would show them."""
    chain: list[str] = []
    link: BaseException | None = error
    while link is not None:
        chain += [str(link), repr(link)]
        link = link.__cause__ or link.__context__
    return "\n".join(chain)


# ---- behind a transaction pooler


@pytest.fixture
def pooled_url(database_url: str, open_dir: Path) -> Iterator[str]:
    """The same database through pgbouncer in transaction mode, two server connections in all."""
    with a_pooler(database_url, open_dir / "pgbouncer") as url:
        yield url


async def test_everything_works_through_a_transaction_pooler(
    pooled_url: str, empty_database_url: str
) -> None:
    await _work(on_database(pooled_url, empty_database_url.rpartition("/")[2]))


async def test_six_workers_share_two_pooled_connections(pooled_url: str) -> None:
    async with Database(pooled_url) as database:
        await Queue(database).add([NewVideo(f"v{i}", "in.tar", f"out{i}.tar") for i in range(120)])

    async def worker(name: str) -> int:
        async with Database(pooled_url) as database:
            queue, done = Queue(database), 0
            while claims := await queue.claim(name, 60, 5):
                for claim in claims:
                    await queue.start(claim)
                    await queue.finish(claim, Accounting(), output_bytes=1, output_digest="x")
                    done += 1
            return done

    assert sum(await asyncio.gather(*(worker(f"w{i}") for i in range(6)))) == 120
