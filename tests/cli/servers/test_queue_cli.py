"""`lipika queue`: filling the queue from lists and tables, and a person's verbs."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fleet_kit import change, rows
from lipika.archive.lists import Defaults, read_list
from lipika.cli.queue import add_to
from lipika.db import Database, Queue
from lipika.errors import UsageError
from lipika.jobs.demo import sample_folder
from lipika.models import NewVideo


@pytest.fixture
def queue(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `lipika queue ...` on the test's database and gives exit code and what was printed."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("OUTPUT_URL", "s3://results/x")
    monkeypatch.setenv("STORE_URL", str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    for name in ("v1", "v2", "1", "3"):
        (tmp_path / "store" / f"{name}.tar").touch()
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    add_to(app, lambda job: asyncio.run(job()))

    def run(*arguments: str, stdin: str = "") -> tuple[int, str]:
        done = CliRunner().invoke(app, ["queue", *arguments], input=stdin)
        if done.exception and not isinstance(done.exception, SystemExit | typer.Exit):
            raise done.exception
        return done.exit_code, done.stdout

    return run


def queued(url: str) -> list[tuple[object, ...]]:
    query = "select video_id, source_key, output_key, language, priority from video_queue order by arrival"
    return [tuple(row) for row in rows(url, query)]


def test_lists_fill_the_queue_and_twice_is_once(queue: Any, database_url: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "\ufeffvideo_id,language,priority,extra\nv1,Hindi,5,x\nv2,,,\n", encoding="utf-8"
    )
    (tmp_path / "b.jsonl").write_text(
        '{"video_id": "v3", "source_key": "s3://b/v3.tar", "language": "ta-IN"}\n\n'
    )
    passed_over = "PASSED OVER  a.csv: the columns extra\n"
    first, second = (queue("add", "a.csv", "b.jsonl", "--language", "mr", "--no-check") for _ in range(2))
    assert first == (0, f"added 3, already there 0\n{passed_over}")
    assert second == (0, f"added 0, already there 3\n{passed_over}")
    assert queued(database_url) == [
        ("v1", "v1.tar", "s3://results/x/v1_transcribed.tar", "hi", 5),
        ("v2", "v2.tar", "s3://results/x/v2_transcribed.tar", "mr", 0),
        ("v3", "s3://b/v3.tar", "s3://results/x/v3_transcribed.tar", "ta", 0),
    ]
    code, said = queue("add", "a.csv", "--key-template", "raw/{video_id}.tar", "--json", "--no-check")
    assert code == 1
    assert json.loads(said)["conflicts"] == ["v1", "v2"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "id,language\nv1,hi\n", "video_id among them"),
        ("a.csv", "video_id,priority\nv1,high\n", "row 1: priority is 'high'"),
        ("a.csv", "video_id\n\x01\n", "control characters"),
        ("a.jsonl", '{"video_id": "a"}\n[1]\n', "row 2: an object"),
        ("a.jsonl", "{oops\n", "row 1: not JSON"),
        ("a.jsonl", '{"language": "hi"}\n', "no video_id"),
        ("b.csv", None, "cannot be read"),
    ],
)
def test_a_list_that_will_not_do_is_explained(tmp_path: Path, name: str, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=said):
        list(read_list(tmp_path / name, Defaults()))


def test_parquet_is_read_where_pyarrow_is_there_and_else_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(UsageError, match="pip install pyarrow"):
            list(read_list(path, Defaults()))
        return
    parquet.write_table(arrow.table({"video_id": ["a"], "language": ["hi"]}), path)
    assert list(read_list(path, Defaults())) == [NewVideo("a", "a.tar", "a_transcribed.tar", "hi")]
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UsageError, match="no Parquet"):
        list(read_list(path, Defaults()))


def test_a_pipe_gets_whole_names_unless_told_how_wide_it_is(
    queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a-video-whose-name-alone-is-almost-as-long-as-a-line-of-eighty-columns"
    Path("a.jsonl").write_text(json.dumps({"video_id": name, "language": "hi"}))
    queue("add", "a.jsonl", "--no-check")
    code, said = queue("list")
    assert code == 0
    assert name in said
    assert "\x1b" not in said
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, queue("list")[1].splitlines())) == 60


def test_a_table_fills_the_queue_inside_the_database(queue: Any, database_url: str) -> None:
    change(
        database_url,
        "create table videos (video_id bigint, language text, tar text);"
        "insert into videos values (1, 'Hindi', null), (2, 'ta_IN', 's3://b/2.tar'), (3, 'Klingon', ''),"
        " (3, null, '')",
    )
    code, said = queue(
        "add", "--from-table", "videos", "--key-column", "tar", "--priority", "2", "--no-check"
    )
    assert (code, said) == (0, "found 3, added 3, without language 1\n")
    assert sorted(queued(database_url)) == [
        ("1", "1.tar", "s3://results/x/1_transcribed.tar", "hi", 2),
        ("2", "s3://b/2.tar", "s3://results/x/2_transcribed.tar", "ta", 2),
        ("3", "3.tar", "s3://results/x/3_transcribed.tar", None, 2),
    ]
    again = queue("add", "--from-table", "public.videos", "--key-column", "tar", "--no-check")
    assert again[1].startswith("found 3, added 0")
    with pytest.raises(UsageError, match=r"there are: public\.videos"):
        queue("add", "--from-table", "films")
    with pytest.raises(Exception, match="no_such"):
        queue("add", "--from-table", "videos", "--key-column", 'no_such"; drop table videos; --')
    assert len(rows(database_url, "select * from videos")) == 4


def test_archives_that_are_not_there_are_said_before_workers_fail_them(queue: Any, database_url: str) -> None:
    Path("a.csv").write_text("video_id\nw1\nw2\n")
    with pytest.raises(
        UsageError, match=r"of the first 2 archives none is there: w1\.tar, w2\.tar.*--no-check"
    ):
        queue("add", "a.csv")
    assert queued(database_url) == []
    Path("b.csv").write_text("video_id\nv1\nw2\n")
    code, said = queue("add", "b.csv")
    missing = "MISSING  w2.tar: added, but not there: workers will fail it"
    assert (code, said.splitlines()) == (0, ["added 2, already there 0", missing])
    assert json.loads(queue("add", "b.csv", "--json")[1])["missing_archives"] == ["w2.tar"]
    change(
        database_url,
        "create table films (video_id text, language text); insert into films values ('x', 'hi')",
    )
    with pytest.raises(UsageError, match="of the first 1 archives none is there: x"):
        queue("add", "--from-table", "films")
    assert [video for video, *_ in queued(database_url)] == ["v1", "w2"]


def test_a_store_that_cannot_be_asked_keeps_nobody_from_adding(queue: Any, database_url: str) -> None:
    Path("a.csv").write_text("video_id,url\nv1,s3://bucket/v1.tar\n")
    code, said = queue("add", "a.csv")
    assert code == 0
    assert "could not be looked for from here" in said
    assert queued(database_url)[0][:2] == ("v1", "s3://bucket/v1.tar")


def test_keys_below_a_store_that_nobody_named_are_refused(
    queue: Any, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The queue would hold keys that mean something else to each worker."""
    monkeypatch.delenv("STORE_URL")
    change(
        database_url,
        "create table films (video_id text, language text); insert into films values ('x', 'hi')",
    )
    Path("a.csv").write_text("video_id\nv1\n")
    for source in (("a.csv",), ("--from-table", "films"), ("a.csv", "--no-check")):
        with pytest.raises(UsageError, match=r"'(v1|x)\.tar' is a key below STORE_URL"):
            queue("add", *source)
    assert queue("add", "a.csv", "--key-template", f"{tmp_path}/store/{{video_id}}.tar")[0] == 0


def test_a_path_without_a_store_lies_beside_the_list(
    queue: Any, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "a.csv").write_text("video_id,path,title\nv1,v9.tar,x\n")
    (tmp_path / "lists" / "v9.tar").touch()
    with pytest.raises(UsageError, match="none is there"):
        queue("add", "lists/a.csv")  # below STORE_URL, where there is one
    monkeypatch.delenv("STORE_URL")
    code, said = queue("add", "lists/a.csv")
    assert (code, said) == (0, "added 1, already there 0\nPASSED OVER  lists/a.csv: the columns title\n")
    (row,) = queued(database_url)
    assert Path(str(row[1])).samefile(tmp_path / "lists" / "v9.tar")


def test_a_row_names_one_archive(queue: Any) -> None:
    Path("a.csv").write_text("video_id,url,path\nv1,s3://b/a.tar,a.tar\n")
    with pytest.raises(UsageError, match=r"row 1: it names several archives: url s3://b/a\.tar, path a\.tar"):
        queue("add", "a.csv")


def test_folders_are_looked_through(queue: Any, database_url: str) -> None:
    code, said = queue("add", str(sample_folder()))
    assert (code, said) == (0, "added 12, already there 0\n")


def test_the_verbs(queue: Any, database_url: str) -> None:
    async def prepare() -> None:
        async with Database(database_url) as database:
            held = Queue(database)
            await held.add([NewVideo(name, "s", f"o/{name}") for name in "abcd"])
            claims = await held.claim("w", 60, 2)
            await held.fail(claims[0], "bad_tar", "it breaks off", retry=False)

    asyncio.run(prepare())
    assert queue("list", "--failed") == (0, "failed  a: it breaks off\n")
    assert json.loads(queue("status", "--json")[1])["failed_videos"][0]["code"] == "bad_tar"
    assert "it breaks off" in queue("status")[1]
    assert queue("hold", "c", "zz") == (1, "held 1 of 2\n")
    assert queue("release", "-", stdin="c\n\n") == (0, "released 1 of 1\n")
    assert queue("release", "b", "--claimed") == (0, "released 1 of 1\n")
    assert queue("requeue", "a") == (0, "requeued 1 of 1\n")
    assert queue("requeue", "--all-failed") == (0, "requeued 0\n")
    assert queue("requeue")[0] == 2
    assert queue("requeue", "--all-failed", "--also-done")[0] == 2
    assert queue("remove", "d") == (0, "removed 1 of 1\n")
    code, said = queue("list", "--limit", "2")
    assert (code, said.splitlines()[-1]) == (0, "more: --after b")
    (last,) = json.loads(queue("list", "--after", "b", "--json")[1])
    assert (last["video_id"], last["status"]) == ("c", "pending")


def test_requeue_says_why_it_leaves_a_video_alone(queue: Any, database_url: str) -> None:
    async def prepare() -> None:
        async with Database(database_url) as database:
            held = Queue(database)
            await held.add([NewVideo(name, "s", f"o/{name}") for name in "abcd"])
            await held.claim("w", 60, 1)
            change(database_url, "update video_queue set status = 'done' where video_id in ('b', 'c')")

    asyncio.run(prepare())
    code, said = queue("requeue", "a", "b", "c", "d", "e")
    assert code == 1
    assert said.splitlines() == [
        "1 not in the queue (e)",
        "1 waiting already (d)",
        "1 at work, and left to it (a)",
        "2 done: their stored answers are used again with --also-done (b, c)",
        "requeued 0 of 5",
    ]


def test_what_would_write_over_something_is_refused_and_named(
    queue: Any, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(
        "video_id,source_key,output_key\na,s3://in/a.tar,s3://out/a.tar\nb,s3://in/b.tar,s3://out/a.tar\n"
        "c,s3://in/c.tar,s3://in/a.tar\n"
    )
    code, said = queue("add", "a.csv")
    assert code == 1
    assert "added 1" in said
    assert "REFUSED  b: its result would be written over a's result" in said
    assert "REFUSED  c: its result would be written over a's archive" in said
    code, said = queue("add", "a.csv", "--json")
    assert len(json.loads(said)["refused"]) == 2
    assert [row[0] for row in queued(database_url)] == ["a"]


def test_a_table_adds_nothing_that_would_write_over_something(queue: Any, database_url: str) -> None:
    change(database_url, "create table talks (video_id text, language text, key text)")
    change(
        database_url,
        "insert into talks values ('a', 'hi', 's3://in/a.tar'), ('b', 'hi', 's3://results/x/a_transcribed.tar'),"
        " (%s, 'hi', 's3://in/c.tar')",
        "क" * 84,
    )
    code, said = queue("add", "--from-table", "talks", "--key-column", "key")
    assert code == 1
    assert "refused 2" in said
    assert [row[0] for row in queued(database_url)] == ["b"]
