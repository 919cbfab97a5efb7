"""Whose word on a video's language holds: forced, the row, the archive, a default; in this order."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from command_kit import lipika_beside
from fleet_kit import Stage, a_stage, change, results_of, rows
from gateway_kit import a_gateway
from lipika.db import Database, Queue
from lipika.jobs.demo import sample_folder
from lipika.models import HintFrom, NewVideo

QUEUE = "select video_id, status, held, language, language_from, error_message from video_queue order by 1"


def says(tar: Path, language: str | None, *, last: bool = False) -> Path:
    """Let an archive say a language of its own, or none, before its segments or after."""
    with tarfile.open(tar) as old:
        members = [(member, old.extractfile(member)) for member in old.getmembers()]
        read = [(member, file.read()) for member, file in members if file and member.name != "metadata.json"]
    text = json.dumps({"language": language} if language else {}).encode()
    told = tarfile.TarInfo("metadata.json")
    told.size = len(text)
    whole = [*read, (told, text)] if last else [(told, text), *read]
    with tarfile.open(tar, "w") as new:
        for member, data in whole:
            new.addfile(member, io.BytesIO(data))
    return tar


@pytest.fixture
def archives(tmp_path: Path) -> list[Path]:
    """Three: Hindi by its own word, Tamil by its own word, and one that says nothing."""
    a, b, c = sorted(make_corpus(tmp_path / "in", CorpusPlan(3, 3, (2.2, 2.8)), sample_folder()))
    return [says(a, "hi"), says(b, "ta"), says(c, None)]


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, database_url) as found:
        yield found


async def asked_with(stage: Stage) -> list[str]:
    """The hints that the clips of each video were asked with."""
    await stage.work()
    found = rows(
        stage.database_url,
        "select distinct video_id, coalesce(expected_language_hint, '') as hint from transcription_results"
        " order by 1",
    )
    return [row.hint for row in found]


@pytest.mark.parametrize(
    ("given", "hints"),
    [
        ((), ["hi", "ta", ""]),
        (("--language", "bn"), ["hi", "ta", "bn"]),
        (("--language", "Bengali"), ["hi", "ta", "bn"]),
        (("--force-language", "bn"), ["bn", "bn", "bn"]),
    ],
)
async def test_folders(stage: Stage, archives: list[Path], given: tuple[str, ...], hints: list[str]) -> None:
    command = ("queue", "add", str(archives[0].parent), "--out", str(stage.out), *given)
    added = await lipika_beside(*command, env={"DATABASE_URL": stage.database_url})
    assert added.returncode == 0, added.stderr
    assert "conflict" not in added.stdout.lower()
    assert await asked_with(stage) == hints
    found = [row.language or "" for row in rows(stage.database_url, QUEUE)]
    assert found == hints  # what the worker found is in the queue


@pytest.mark.parametrize(("option", "hints"), [("", ["ta", "ta", ""]), ("--language", ["ta", "ta", "bn"])])
async def test_the_row_of_a_list_goes_before_the_archive_and_is_counted_where_it_contradicts(
    stage: Stage, archives: list[Path], tmp_path: Path, option: str, hints: list[str]
) -> None:
    listed = tmp_path / "videos.csv"
    lines = [
        f"{path.stem},{path},{language}" for path, language in zip(archives, ("ta", "ta", ""), strict=True)
    ]
    listed.write_text("\n".join(["video_id,source_key,language", *lines]) + "\n")
    command = ("queue", "add", str(listed), "--out", str(stage.out), *((option, "bn") if option else ()))
    added = await lipika_beside(*command, "--json", env={"DATABASE_URL": stage.database_url})
    assert added.returncode == 0, added.stderr
    report = json.loads(added.stdout)
    assert (report["added"], report["languages_compared"]) == (3, 2)
    assert report["language_conflicts"] == [{"video_id": archives[0].stem, "row": "ta", "archive": "hi"}]
    spoken = await lipika_beside(*command, env={"DATABASE_URL": stage.database_url})
    assert f"LANGUAGE  {archives[0].stem}: ta by its row" in spoken.stdout
    assert "language conflicts 1" in spoken.stdout
    assert await asked_with(stage) == hints


async def test_the_row_of_a_table_likewise(stage: Stage, archives: list[Path], tmp_path: Path) -> None:
    change(stage.database_url, "create table clips (video_id text, language text, url text)")
    for path, language in zip(archives, ("Tamil", "ta-IN", None), strict=True):
        change(stage.database_url, "insert into clips values (%s, %s, %s)", path.stem, language, str(path))
    command = ("queue", "add", "--from-table", "clips", "--key-column", "url", "--out", str(stage.out))
    env = {"DATABASE_URL": stage.database_url}
    added = json.loads((await lipika_beside(*command, "--json", "--language", "bn", env=env)).stdout)
    assert [one["video_id"] for one in added["language_conflicts"]] == [archives[0].stem]
    assert (added["added"], added["languages_compared"]) == (3, 2)
    assert await asked_with(stage) == ["ta", "ta", "bn"]
    wrong = await lipika_beside(*command[:-4], "--key-column", "uri", "--out", str(stage.out), env=env)
    assert wrong.returncode == 2
    assert "has no column uri; it has video_id, language, url" in wrong.stderr
    again = await lipika_beside(
        "queue",
        "add",
        "--from-table",
        "clips",
        "--key-template",
        "s3://b/{video_id}.tar",
        "--out",
        str(stage.out),
        env=env,
    )
    assert again.returncode == 1
    for path in archives:  # other sources than those they were added with
        assert f"CONFLICT  {path.stem}:" in again.stdout


async def test_forced_it_holds_for_lists_and_is_no_conflict(
    stage: Stage, archives: list[Path], tmp_path: Path
) -> None:
    listed = tmp_path / "videos.jsonl"
    rows_ = ({"video_id": path.stem, "source_key": str(path), "language": "ta"} for path in archives)
    listed.write_text("\n".join(map(json.dumps, rows_)))
    command = ("queue", "add", str(listed), "--out", str(stage.out), "--force-language", "hi", "--json")
    added = json.loads((await lipika_beside(*command, env={"DATABASE_URL": stage.database_url})).stdout)
    assert added["language_conflicts"] == []
    assert await asked_with(stage) == ["hi", "hi", "hi"]
    both = await lipika_beside(*command, "--language", "ta", env={"DATABASE_URL": stage.database_url})
    assert both.returncode == 2


async def test_a_row_that_somebody_wrote_himself_is_a_rows_word(stage: Stage, archives: list[Path]) -> None:
    change(
        stage.database_url,
        "insert into video_queue (video_id, source_key, output_key, language) values ('v', %s, %s, 'bn')",
        str(archives[0]),
        str(stage.out / "v.tar"),
    )
    assert await asked_with(stage) == ["bn"]


async def test_metadata_that_come_last_are_found_too_and_flags_know_the_language(
    stage: Stage, archives: list[Path]
) -> None:
    says(archives[1], "ta", last=True)
    async with Database(stage.database_url) as database:
        video = NewVideo(
            "v", str(archives[1]), str(stage.out / "v.tar"), "bn", language_from=HintFrom.DEFAULT
        )
        await Queue(database).add([video])
    change(
        stage.database_url,
        "insert into transcription_flags (video_id, segment_file, flag_type, severity)"
        " values ('v', 'x', 'y', 'fail')",
    )
    assert await asked_with(stage) == ["ta"]
    assert [row.language for row in rows(stage.database_url, "select language from transcription_flags")] == [
        "ta"
    ]
    assert [(row.language, row.language_from) for row in rows(stage.database_url, QUEUE)] == [
        ("ta", "archive")
    ]


# ----------------------------------------------------------------------------- a wrong hint, mended


async def test_run_takes_a_language_and_a_wrong_one_is_mended_without_paying_for_what_was_heard_right(
    archives: list[Path], tmp_path: Path, database_url: str
) -> None:
    spoken: dict[str, str] = {}

    def heard(digest: str) -> str:  # the first clip is heard as Hindi, the others as Tamil
        return spoken.setdefault(digest, "ta" if spoken else "hi")

    async with a_gateway(heard=heard) as gateway:
        env = gateway.settings(tmp_path, database_url)

        async def run(*more: str) -> Any:
            return await lipika_beside(
                "run", str(archives[2]), "--out", str(tmp_path / "out"), "--json", *more, env=env
            )

        assert (await run("--language", "hi")).returncode == 0
        paid, digests = gateway.requests, dict(gateway.asked)
        refused = await run("--force-language", "ta")
        assert refused.returncode == 2
        assert "would pay again for 1 answer that" in refused.stderr, refused.stderr
        assert "language hint hi then, ta now" in refused.stderr
        assert gateway.requests == paid
        assert (await run("--force-language", "ta", "--again")).returncode == 0
        asked_again = {digest for digest, count in gateway.asked.items() if count > digests[digest]}
        assert asked_again == {digest for digest, language in spoken.items() if language == "hi"}
        (tar,) = (tmp_path / "out").glob("*.tar")
        assert {result.language_hint for result in results_of(tar)} == {"ta"}
        assert [(row.language, row.language_from) for row in rows(database_url, QUEUE)] == [("ta", "forced")]
        paid = gateway.requests
        same = json.loads((await run("--force-language", "ta")).stdout)
        assert (same["already_done"], gateway.requests) == (1, paid)


async def test_a_clip_in_which_nobody_speaks_is_not_paid_again_for_a_wrong_hint(
    archives: list[Path], tmp_path: Path, database_url: str
) -> None:
    """There is no language in it to mishear."""
    async with a_gateway(heard=lambda _digest: "none") as gateway:
        env = gateway.settings(tmp_path, database_url)
        command = ("run", str(archives[2]), "--out", str(tmp_path / "out"), "--json")
        first = json.loads((await lipika_beside(*command, "--language", "hi", env=env)).stdout)
        assert first["no_speech"] == 3
        paid = gateway.requests
        mended = await lipika_beside(*command, "--force-language", "ta", env=env)
        assert mended.returncode == 0, mended.stderr
        assert (json.loads(mended.stdout)["reused"], gateway.requests) == (3, paid)


async def test_a_hint_that_all_clips_agree_with_is_taken_for_nothing(
    archives: list[Path], tmp_path: Path, database_url: str
) -> None:
    async with a_gateway(heard=lambda _digest: "ta") as gateway:
        env = gateway.settings(tmp_path, database_url)
        command = ("run", str(archives[2]), "--out", str(tmp_path / "out"), "--json")
        assert (await lipika_beside(*command, "--language", "hi", env=env)).returncode == 0
        paid = gateway.requests
        mended = await lipika_beside(*command, "--force-language", "ta", env=env)
        assert mended.returncode == 0, mended.stderr
        assert json.loads(mended.stdout)["reused"] == 3
        assert gateway.requests == paid
        for language, found in (("bn", "forced"), ("archive", None)):
            changed = await lipika_beside("queue", "language", language, archives[2].stem, env=env)
            assert changed.stdout.strip() == "changed 1 of 1", changed.stderr
            assert [row.language_from for row in rows(database_url, QUEUE)] == [found]


# ----------------------------------------------------------------------------- the canary


@pytest.mark.parametrize(("given_by", "mark"), [("row", "no-go"), ("forced", "go"), ("default", "go")])
async def test_a_canary_stops_where_a_row_contradicts_its_archive(
    archives: list[Path], tmp_path: Path, database_url: str, given_by: str, mark: str
) -> None:
    for path, language in zip(archives[:2], ("hi", "hi"), strict=True):
        change(
            database_url,
            "insert into video_queue (video_id, source_key, output_key, language, language_from)"
            " values (%s, %s, md5(random()::text), %s, %s)",
            path.stem,
            str(path),
            language,
            given_by,
        )
    out = tmp_path / "report"
    done = await lipika_beside(
        *("canary", "--clips", "4", "--max-usd", "1", "--out", str(out), "--json"),
        env={"DATABASE_URL": database_url, "PROVIDER": "simulator", "BATCH_INTERVAL_SECONDS": "2"},
    )
    report = json.loads(done.stdout)
    (hints,) = [one for one in report["report"]["judgement"]["criteria"] if one["name"] == "language hints"]
    assert hints["mark"] == mark
    if mark == "no-go":
        assert f"{archives[1].stem} (hi by its row, ta by itself)" in hints["reason"]
        assert done.returncode != 0
