"""Exports from and to a bucket, from the rows of the database, and on Ray: the same bytes as from folders."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from command_kit import lipika
from export_kit import corpus, export_here
from fleet_kit import change
from lipika.jobs.demo import sample_folder
from lipika.storage import Store, StoreSettings
from result_kit import table
from s3_kit import call, s3_server

OPTIONS = ("--lane", "any", "--split", "train=.6,dev=.4", "--clips-per-shard", "4", "--title", "one")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("results"), videos=8)


@pytest.fixture(scope="module")
def whole(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    dest = tmp_path_factory.mktemp("whole") / "out"
    told("nemo", dest, "--from", results, *OPTIONS)
    return dest


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as url:
        call(f"{url}/corpus", "PUT")
        yield url


def told(*arguments: object, env: dict[str, str] | None = None) -> dict[str, Any]:
    done = export_here(*arguments, "--json", env=env)
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = orjson.loads(done.stdout)
    return document


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def told_beside(*arguments: object, env: dict[str, str]) -> dict[str, Any]:
    """In a thread: the command has a loop of its own."""
    return await asyncio.to_thread(partial(told, *arguments, env=env))


async def test_a_bucket_gets_the_same_bytes_as_a_folder(bucket: str, results: Path, whole: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "S3_ENDPOINT_URL": bucket}
    settings = StoreSettings(access_key_id="key", secret_access_key="secret", endpoint_url=bucket)
    store = Store.open("s3://corpus", settings)
    for name, content in files(results).items():
        await store.put_bytes(f"results/{name}", content)
    done = await told_beside("nemo", "s3://corpus/train", "--from", "s3://corpus/results", *OPTIONS, env=keys)
    assert done["clips"] == done["plan"]["clips"]
    found = {info.key.removeprefix("train/"): info async for info in store.list("train")}
    ours = files(whole)
    assert set(found) == set(ours)
    for name, content in ours.items():
        # The plan names the archives by their place, and the sums are of the plan, too.
        if name not in ("plan.parquet", "SHA256SUMS"):
            assert await store.get_bytes(f"train/{name}") == content, name
    again = await told_beside(
        "nemo", "s3://corpus/train", "--from", "s3://corpus/results", *OPTIONS, env=keys
    )
    assert again["was_complete"]
    fewer = ("--language", "hi", "--again")
    done = await told_beside(
        "nemo", "s3://corpus/train", "--from", "s3://corpus/results", *OPTIONS, *fewer, env=keys
    )
    left = {info.key async for info in store.list("train")}
    assert not [key for key in left if "/ta/" in key or "/.lipika/" in key]


def test_rows_and_their_archives_give_the_same_shards_and_are_on_record(
    database_url: str, tmp_path: Path
) -> None:
    """What was mended in the rows since, as a text by a person, goes first; the archive still has the audio."""
    env = {"PROVIDER": "simulator", "DATABASE_URL": database_url, "BATCH_INTERVAL_SECONDS": "2"}
    archives = [str(sample_folder() / f"{language}_sample.tar") for language in ("hi", "ta")]
    done = lipika("run", *archives, "--out", str(tmp_path / "out"), env=env)
    assert done.returncode == 0, done.stderr
    told("nemo", tmp_path / "rows", *OPTIONS, env=env)
    told("nemo", tmp_path / "archives", "--from", tmp_path / "out", *OPTIONS)
    ours, theirs = files(tmp_path / "rows"), files(tmp_path / "archives")
    shards = [name for name in ours if name.partition("/")[0] in ("hi", "ta")]
    assert shards
    assert all(ours[name] == theirs[name] for name in shards)
    ask = "select state, jobs_done = jobs_total as whole, verification from datasets where dest like '%/rows'"
    (row,) = table(database_url, ask)
    assert row["state"] == "done"
    assert row["whole"]
    sound = export_here("verify", tmp_path / "rows", env=env)
    assert sound.exit_code == 0, sound.output
    (row,) = table(database_url, ask)
    assert row["verification"]["state"] == "good"  # type: ignore[index]
    name = next(name for name in shards if name.endswith(".tar"))
    (tmp_path / "rows" / name).write_bytes(ours[name][:2_000])
    broken = export_here("verify", tmp_path / "rows", env=env)
    assert broken.exit_code == 1
    assert name in broken.stdout
    change(
        database_url,
        "update transcription_results set transcription = 'और कुछ', text_source = 'person' where id ="
        " (select min(id::text)::uuid from transcription_results"
        " where detected_language = 'hi' and status = 'transcribed')",
    )
    only = ("--text-source", "person", "--lane", "any")
    told("nemo", tmp_path / "edited", *only, env=env)
    manifest = orjson.loads((tmp_path / "edited" / "hi" / "train" / "manifest_0.json").read_bytes())
    assert manifest["text"] == "और कुछ"


def test_two_actors_on_ray_give_the_bytes_of_one_process(results: Path, whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    dest = tmp_path / "out"
    told("nemo", dest, "--from", results, *OPTIONS, "--engine", "ray", "--actors", "2")
    assert files(dest) == files(whole)
