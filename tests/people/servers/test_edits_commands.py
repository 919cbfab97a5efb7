"""`lipika edits`, out and in, on a database."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer
from typer.testing import CliRunner, Result

from edits_kit import FILE, OTHER_TEXT, judged, row, wrote
from lipika.cli import edits as commands
from lipika.db import Database
from lipika.people.edits import Edits
from lipika.people.rules import edit_text
from stored_kit import made
from verdict_kit import HINDI

SECOND = made(1).segment_file


@pytest.fixture
async def lipika(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    await wrote(database, judged(made(0)), judged(made(1)))
    monkeypatch.setenv("DATABASE_URL", database_url)

    def run(job: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run(job())

    app = typer.Typer()
    commands.add_to(app, run)

    def call(*words: str) -> Result:
        return CliRunner().invoke(app, words)

    return call


def in_thread(call: Callable[..., Result]) -> Callable[..., Coroutine[Any, Any, Result]]:
    async def run(*words: str) -> Result:
        return await asyncio.to_thread(call, *words)

    return run


async def test_a_table_goes_out_and_comes_back(
    database: Database, database_url: str, lipika: Callable[..., Result], tmp_path: Path
) -> None:
    call = in_thread(lipika)
    out = (await call("edits", "export", "--language", "hi")).stdout
    assert [line["text"] for line in csv.DictReader(io.StringIO(out.removeprefix("\ufeff")))] == [HINDI] * 2
    file = tmp_path / "todo.csv"
    file.write_text(out.replace(HINDI, "'=cmd() मौसम", 1), "utf-8")
    for saved, unchanged in ((1, 0), (0, 1), (0, 1)):
        told = await call("edits", "import", str(file), "--by", "asha", "--json")
        assert told.exit_code == 0, told.output
        report = orjson.loads(told.stdout)
        assert (report["saved"], report["unchanged"], report["untouched"]) == (saved, unchanged, 1)
    assert row(database_url)["transcription"] == "=cmd() मौसम"
    assert len(await Edits(database).history("v", FILE)) == 1


async def test_each_bad_row_is_told_and_the_rest_goes_on(
    database: Database, database_url: str, lipika: Callable[..., Result], tmp_path: Path
) -> None:
    version = (await Edits(database).clip("v", FILE)).version
    await Edits(database).save_edit("v", FILE, version, edit_text(OTHER_TEXT), "ravi")
    rows = [
        ("v", FILE, version, "एक और मौसम", "", ""),
        ("v", "nowhere.flac", "", "एक", "", ""),
        ("v", SECOND, "", "", "unusable", ""),
        ("v", SECOND, "", "दो", "", ""),
        ("v", SECOND, "", "दो", "praise", ""),
    ]
    table = io.StringIO()
    csv.writer(table).writerows([("video_id", "segment_file", "version", "text", "action", "reason"), *rows])
    file = tmp_path / "bad.csv"
    file.write_text(table.getvalue(), "utf-8")
    told = await in_thread(lipika)("edits", "import", str(file), "--by", "asha")
    assert told.exit_code == 1
    for words in (
        "line 2: the clip was changed by ravi at",
        "line 3: there is no clip nowhere.flac of video v",
        "line 4: line 4 and line 5 are of one clip and differ: keep one",
        "line 6: action 'praise' is none of",
    ):
        assert words in told.output
    assert row(database_url)["transcription"] == OTHER_TEXT


async def test_who_comes_second_gets_exit_code_1_and_the_name(
    lipika: Callable[..., Result], database_url: str
) -> None:
    call = in_thread(lipika)
    shown = orjson.loads((await call("edits", "show", "v", FILE, "--json")).stdout)
    version = shown["clip"]["version"]
    first = ("edits", "set", "v", FILE, "--version", version, "--by")
    assert (await call(*first, "asha", "--text", "आज मौसम अच्छा है")).exit_code == 0
    second = await call(*first, "ravi", "--text", "कल मौसम अच्छा है")
    assert second.exit_code == 1
    assert "changed by asha at" in second.output
    assert "the model's text stands again" in (await call("edits", "undo", "v", FILE, "--by", "asha")).output
    assert (await call("edits", "undo", "v", FILE, "--redo", "--by", "asha")).exit_code == 0
    assert row(database_url)["transcription"] == "आज मौसम अच्छा है"
    listed = (await call("edits", "list")).output
    assert listed.count("asha:") == 3
    assert "ravi: text (refused: changed meanwhile)" in listed
