"""The board as a command, without its database, and the small parts it is made of."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from datetime import UTC, datetime

import aiohttp
import pytest

from board_kit import Visitor, a_board, a_visitor
from command_kit import lipika
from fleet_kit import a_line, change, until
from lipika.dashboard import words
from lipika.dashboard.cursor import pack, unpack
from lipika.dashboard.quality import confusion, count_by_code, histogram
from lipika.dashboard.review import mark_findings
from lipika.dashboard.spend import TokenKinds, fill_hours
from lipika.db import Database
from lipika.db.calibrations import Calibrations, NewCalibration
from lipika.db.stats_quality import FindingCount, HeardLanguage, ScoreBucket
from lipika.db.stats_spend import SpendDay, SpendHour
from lipika.wording import duration, money, number, percent, short

# ----------------------------------------------------------------------------- the command


async def test_the_command_says_where_the_board_is_and_ends_when_told_to(database_url: str) -> None:
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "lipika", "dashboard", "--port", "0", "--read-only"),
        env=kept | {"DATABASE_URL": database_url},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    line = (await asyncio.wait_for(process.stderr.readline(), 60)).decode()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found is not None, line
    async with Visitor(found[0]) as visitor:
        assert "read-only" in (await visitor.get("/")).text
        live = aiohttp.ClientSession()
        stream = await live.get(f"{found[0]}/fleet/live")  # a browser that watches does not hold it up
        assert (await stream.content.readline()) == b"event: fleet\n"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
        await live.close()
    assert b"Traceback" not in await process.stderr.read()


def test_the_command_refuses_to_let_others_in_without_a_token() -> None:
    done = lipika("dashboard", "--host", "0.0.0.0")  # noqa: S104 - the point of the test
    assert done.returncode == 2
    assert "DASHBOARD_TOKEN" in done.stderr
    done = lipika("dashboard", env={"DASHBOARD_TOKEN": "hunter2"})
    assert done.returncode == 2
    assert "hunter2" not in done.stderr


async def test_a_port_that_is_taken_is_named(database_url: str) -> None:
    async with a_board(database_url) as url:
        port = url.rpartition(":")[2]
        done = await asyncio.to_thread(
            lipika, "dashboard", "--port", port, env={"DATABASE_URL": database_url}
        )
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr


# ----------------------------------------------------------------------------- without its database


async def test_while_postgres_is_away_the_board_says_so_and_then_goes_on(database_url: str) -> None:
    async with a_line(database_url) as (line, url), a_visitor(url) as visitor:
        assert (await visitor.get("/")).status == 200
        line.cut()
        answer = await visitor.get("/queue")
        assert answer.status == 503
        assert "database is away" in answer.plain
        assert (await visitor.get("/healthz")).status == 503
        line.mend()

        async def back() -> bool:
            return (await visitor.get("/queue")).status == 200

        await until(back, seconds=30)


async def test_an_empty_database_shows_what_to_do(database_url: str) -> None:
    async with a_visitor(database_url) as visitor:
        for path, said in {
            "/": "lipika worker",
            "/queue": "lipika queue add",
            "/quality": "lipika demo",
            "/spend": "lipika budget set",
            "/review": "Nothing to look into",
            "/datasets": "lipika export nemo",
            "/errors": "No errors",
        }.items():
            assert said in (await visitor.get(path)).plain


async def test_the_quality_page_says_which_rate_limits_are_in_force(database_url: str) -> None:
    async with a_visitor(database_url) as visitor:
        assert "the registry&#39;s own" in (await visitor.get("/quality")).text
        async with Database(database_url) as database:
            new = NewCalibration("cal-12345678", {"hi": 1234}, "{}")
            await Calibrations(database).put(new, "<somebody>", simulated=False)
        page = (await visitor.get("/quality")).text
        assert "cal-12345678" in page
        assert "by &lt;somebody&gt; from clips: hi 1,234" in page


async def test_a_worker_s_row_tells_how_its_alignment_goes(database_url: str) -> None:
    for name, figures in {
        "none": None,
        "hears": '{"every": 4, "device": "cpu", "agree": 3, "flag": 1, "late": 2}',
        "loads": '{"every": 1, "device": null}',
        "broke": '{"every": 1, "device": "cpu", "off_because": "its process <ended>"}',
    }.items():
        change(
            database_url,
            "insert into workers (worker_id, instance_id, provider, alignment) values (%s, 'i', 'aistudio', %s)",
            name,
            figures,
        )
    async with a_visitor(database_url) as visitor:
        page = await visitor.get("/")
        assert re.findall(r'data-alignment="(\w+)"', page.text) == ["off", "listening", "loading"]
        heard = "alignment: 1 clip in 4; 4 compared: 75.0 % agree, 0 % weak, 25.0 % flag"
        assert heard in page.plain
        assert "2 too late" in page.plain
        assert "alignment: switched off: its process <ended>" in page.plain
        change(database_url, "update workers set status = 'offline'")
        ended = await visitor.get("/")
        assert re.findall(r'data-alignment="(\w+)"', ended.text) == ["off", "ended", "ended"]


# ----------------------------------------------------------------------------- small parts


@pytest.mark.parametrize(
    ("said", "given"),
    [
        ("1,234,567", number(1_234_567)),
        ("12.3", number(12.34)),
        ("1.23 M", short(1_230_000)),
        ("9,999", short(9_999)),
        ("12 k", short(12_000)),
        ("$0.000789", money(0.000789)),
        ("$0.1234", money(0.1234)),
        ("$90,000", money(90_000.2)),
        ("$0", money(0)),
        ("99.9 %", percent(0.999)),
        ("100 %", percent(1)),
        ("0 %", percent(0)),
        ("1 min 29 s", duration(89)),
        ("3 d 4 h", duration(76 * 3600)),
        ("1 h 31 min", duration(5_460)),
        ("1:02:03.45", words.clock(3_723_450)),
        ("0:07.50", words.clock(7_500)),
        ("Hindi", words.language("hi")),
        ("left out: too short", words.finding("discard:too_short")),
        ("999 B", words.size(999)),
        ("1.0 KB", words.size(1_000)),
        ("3.2 GB", words.size(3_210_000_000)),
        ("800 MB", words.size(800_000_000)),
        ("16,500 TB", words.size(16_500 * 10**12)),
        ("–", words.size(None)),
        ("–", money(None)),
    ],
)
def test_figures_as_people_read_them(said: str, given: str) -> None:
    assert given == said


def test_a_cursor_is_read_back_and_nothing_else_is() -> None:
    at = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)
    kinds = (datetime, str, int)
    assert unpack(pack((at, "é/'", 7)), kinds) == [at, "é/'", 7]
    for other in (
        "",
        "x",
        "!!",
        pack(("a",)),
        pack((7, "a", 7)),
        pack((at, "a", "7")),
        pack((at, "\0", 7)),
        "A" * 9000,
    ):
        assert unpack(other, kinds) is None


def test_findings_mark_the_text_they_point_at() -> None:
    spans: list[dict[str, object]] = [
        {"code": "a", "span": [2, 4]},
        {"code": "b", "span": [3, 9]},  # begins inside another
        {"code": "c", "span": None},
        {"code": "d", "span": [8, 99]},
    ]
    assert list(mark_findings("0123456789", spans)) == [("01", ""), ("23", "a"), ("4567", ""), ("89", "d")]


def test_the_quality_page_adds_up_its_counters() -> None:
    scores = [ScoreBucket("hi", 0.95, 3), ScoreBucket("ta", 0.95, 4), ScoreBucket("hi", 0.0, 1)]
    assert histogram(scores, None)[0] == 1
    assert histogram(scores, None)[-1] == 7
    assert histogram(scores, "ta")[-1] == 4
    (code,) = count_by_code(
        [FindingCount("hi", "warn", "x", 2, 1), FindingCount("ta", "warn", "x", 5, 1)], None
    )
    assert (code.clips, code.languages) == (7, (("ta", 5), ("hi", 2)))
    _, heard, cells = confusion(
        [HeardLanguage("hi", "hi", 90), HeardLanguage("hi", "ur", 10), HeardLanguage("none", "ta", 5)]
    )
    assert heard == ["hi", "ta", "ur"]
    assert [cells[pair].look for pair in (("hi", "hi"), ("hi", "ur"), ("none", "ta"))] == ["same", "many", ""]


def test_the_kinds_of_token_add_up_to_what_is_billed() -> None:
    day = SpendDay(datetime.now(UTC).date(), "aistudio", 9, 8, 0, 1, 1, 3, 1_000, 300, 200, 90, 40, 0.5)
    assert sum(count for _, _, count in TokenKinds.from_days([day]).parts()) == 1_090


def test_hours_without_spending_are_shown_as_such() -> None:
    now = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
    hours = fill_hours([SpendHour(datetime(2026, 11, 22, 7, tzinfo=UTC), 2.5, 7)], now)
    assert [hour.cost_usd for hour in hours] == [2.5, 0, 0, 0]  # none before the first
    old = SpendHour(datetime(2026, 11, 19, tzinfo=UTC), 2.5, 7)
    assert [len(fill_hours(rows, now)) for rows in ([old], [])] == [48, 1]
