"""Messages to people who do not watch: what is told, once, to a webhook over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from command_kit import lipika_beside
from fleet_kit import Stage, a_stage, change, rows, until
from lipika.config import Settings
from lipika.dashboard.serve import Listen, run_board
from lipika.db import Budgets, Database, Queue, Workers
from lipika.db.budgets import Limits
from lipika.db.notices import Notices
from lipika.db.workers import WorkerInfo
from lipika.errors import SettingsError
from lipika.fleet.notifying import Notifier, open_notifier
from lipika.models import NewVideo
from lipika.network import Network


class Hook:
    """A webhook: what it was told, and what it answers."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.status = HTTPStatus.OK
        self.url = ""

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[Hook]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/services/T0/secret-of-the-hook"
        async with server:
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(
            next(line for line in head.split("\r\n") if line.lower().startswith("content-length"))[15:]
        )
        body = json.loads(await reader.readexactly(length))
        assert set(body) == {"text"}  # Slack refuses what it does not know
        if self.status is HTTPStatus.OK:
            self.told += body["text"].split("\n")
        where = f"Location: {self.url}\r\n" if self.status == HTTPStatus.FOUND else ""
        writer.write(f"HTTP/1.1 {self.status} x\r\n{where}Content-Length: 2\r\n\r\nok".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    async with Hook().listen() as hook:
        yield hook


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as database:
        yield database


def teller(database: Database, hook: Hook, worker_id: str = "w-tells") -> Notifier:
    return Notifier(hook.url, Notices(database, worker_id), Network(), "corpus A")


async def test_a_cap_is_told_once_by_whoever_sees_it(
    database: Database, database_url: str, hook: Hook
) -> None:
    await Budgets(database).set_limits("aistudio", Limits(spend_total_usd=10, spend_day_usd=100))
    spend = (
        "insert into provider_spend (provider, worker_id, day, usd, asked_at) values (%s, 'w', now(), %s, 0)"
    )
    change(database_url, spend, "aistudio", 9.0)
    await teller(database, hook).tell()
    assert hook.told == []
    change(database_url, "update provider_spend set usd = 9.9")
    tellers = [teller(database, hook, f"worker-{number}") for number in range(6)]
    await asyncio.gather(*(one.tell() for one in tellers))
    (said,) = hook.told
    assert said.startswith(
        "corpus A: The cap on dollars in all of aistudio is reached: $9.90 of $10.00 are spent."
    )
    await Budgets(database).set_limits("aistudio", Limits(spend_total_usd=20, spend_day_usd=9.95))
    change(database_url, "update provider_spend set usd = 20")
    await tellers[0].tell()
    assert len(hook.told) == 3  # the new cap, and the day's
    assert any("The day's cap of aistudio is reached" in line for line in hook.told)


async def test_all_providers_together_have_a_cap_of_their_own(
    database: Database, database_url: str, hook: Hook
) -> None:
    change(database_url, "insert into provider_budgets (provider, spend_total_usd) values ('all', 10)")
    spend = (
        "insert into provider_spend (provider, worker_id, day, usd, asked_at) values (%s, 'w', now(), %s, 0)"
    )
    for provider, usd in (("aistudio", 5.0), ("openrouter", 4.9), ("simulator", 1000.0)):
        change(database_url, spend, provider, usd)
    await teller(database, hook).tell()
    assert [line for line in hook.told if "of all is reached: $9.90 of $10.00" in line]


async def test_a_silent_worker_is_told_and_one_that_said_goodbye_is_not(
    database: Database, database_url: str, hook: Hook
) -> None:
    workers = Workers(database)
    for name in ("w-dead", "w-gone", "w-lives"):
        await workers.register(WorkerInfo(name, "host", "aistudio", None, {}))
    await Queue(database).add([NewVideo("v", "in", "out/v")])
    await Queue(database).claim("w-dead", 600, 1)
    await workers.offline("w-gone", failed=False)
    change(
        database_url,
        "update workers set last_heartbeat_at = now() - interval '90 s', live_at = null where worker_id <> 'w-lives'",
    )
    await teller(database, hook).tell()
    (said,) = hook.told
    assert "Worker w-dead has been silent for 90 s" in said
    assert "videos that it held: 1." in said
    await teller(database, hook).tell()
    assert len(hook.told) == 1


async def test_a_parked_provider_is_told_once_an_hour(
    database: Database, database_url: str, hook: Hook
) -> None:
    for worker in ("w1", "w2"):
        await Workers(database).record_error(
            worker, None, "Alert:provider_parked", "aistudio is parked until 08:00: the day's quota", ""
        )
    await Workers(database).record_error("w1", None, "Alert:flood", "aistudio: over 10 %", "")
    await teller(database, hook).tell()
    (said,) = hook.told
    assert "aistudio is parked until 08:00" in said


async def test_what_could_not_be_told_is_told_later_and_the_url_is_no_word_of_the_log(
    database: Database, database_url: str, hook: Hook
) -> None:
    change(database_url, "insert into provider_budgets (provider, spend_total_usd) values ('aistudio', 0.5)")
    change(
        database_url,
        "insert into provider_spend (provider, worker_id, day, usd, asked_at) values ('aistudio', 'w', now(), 1, 0)",
    )
    one = teller(database, hook)
    with capture_logs() as logs:
        for status in (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.FOUND):
            hook.status = status
            await one.tell()
        gone = Notifier("http://127.0.0.1:9/secret-of-the-hook", Notices(database, "w"), Network())
        await gone.tell()
    assert [entry["reason"] for entry in logs] == [
        "NOTIFY_URL: it answers 500",
        "NOTIFY_URL: it answers 302",
        "NOTIFY_URL: ConnectionRefusedError",
    ]
    assert hook.told == []
    hook.status = HTTPStatus.OK
    await one.tell()
    assert len(hook.told) == 1


async def test_a_teller_that_dies_on_the_way_leaves_it_to_the_next(
    database: Database, database_url: str, hook: Hook
) -> None:
    change(database_url, "insert into provider_budgets (provider, spend_total_usd) values ('aistudio', 0.5)")
    change(
        database_url,
        "insert into provider_spend (provider, worker_id, day, usd, asked_at) values ('aistudio', 'w', now(), 1, 0)",
    )
    (claimed,) = await Notices(database, "w-dies").claim()
    await teller(database, hook).tell()
    assert hook.told == []
    change(database_url, "update notices set claimed_at = now() - interval '121 s'")
    await teller(database, hook).tell()
    assert hook.told == [f"corpus A: {claimed.message}"]


async def test_what_is_no_address_is_refused(database: Database) -> None:
    with pytest.raises(SettingsError, match="NOTIFY_URL is no address of a webhook") as refused:
        open_notifier(Settings(notify_url="hooks.slack.com/services/x"), database, "w")
    assert "services" not in str(refused.value)


# ----------------------------------------------------------------------------- from end to end


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, database_url) as stage:
        yield stage


async def test_a_run_tells_the_end_of_the_queue(stage: Stage, hook: Hook) -> None:
    env = {"DATABASE_URL": stage.database_url, "NOTIFY_URL": hook.url}
    done = await lipika_beside(
        "run", "samples/tars/hi_sample.tar", "--out", str(stage.out), "--provider", "simulator", "-q", env=env
    )
    assert done.returncode == 0, done.stderr
    assert hook.told == ["lipika: The queue has nothing left to do: 1 videos done, 0 failed, 0 held"]
    assert "secret-of-the-hook" not in done.stdout + done.stderr
    (row,) = rows(stage.database_url, "select * from notices")
    assert row.told_at is not None


async def test_the_board_tells_when_all_workers_are_dead(stage: Stage, hook: Hook) -> None:
    async with Database(stage.database_url) as database:
        await Workers(database).register(WorkerInfo("w-dead", "host", "aistudio", None, {}))
    change(
        stage.database_url, "update workers set last_heartbeat_at = now() - interval '5 min', live_at = null"
    )
    settings = Settings(database_url=stage.database_url, notify_url=hook.url, notify_name="corpus B")
    board = asyncio.create_task(run_board(settings, Listen("127.0.0.1", 0)))
    try:
        await until(lambda: bool(hook.told), 30)
    finally:
        board.cancel()
        await asyncio.wait([board])
    assert hook.told[0].startswith("corpus B: Worker w-dead has been silent for")
