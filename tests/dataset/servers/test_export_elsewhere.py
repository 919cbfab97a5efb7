"""Exports from and to a bucket, from the rows of the database, and on Ray: the same bytes as from folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from command_kit import lipika
from export_kit import corpus
from lipika.storage import Store, StoreSettings
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
    done = lipika("export", *map(str, arguments), "--json", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    document: dict[str, Any] = orjson.loads(done.stdout)
    return document


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_a_bucket_gets_the_same_bytes_as_a_folder(bucket: str, results: Path, whole: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "S3_ENDPOINT_URL": bucket}
    settings = StoreSettings(access_key_id="key", secret_access_key="secret", endpoint_url=bucket)
    store = Store.open("s3://corpus", settings)
    for name, content in files(results).items():
        await store.put_bytes(f"results/{name}", content)
    done = told("nemo", "s3://corpus/train", "--from", "s3://corpus/results", *OPTIONS, env=keys)
    assert done["clips"] == done["plan"]["clips"]
    found = {info.key.removeprefix("train/"): info async for info in store.list("train")}
    ours = files(whole)
    assert set(found) == set(ours)
    for name, content in ours.items():
        # The plan names the archives by their place, and the sums are of the plan, too.
        if name not in ("plan.parquet", "SHA256SUMS"):
            assert await store.get_bytes(f"train/{name}") == content, name
    again = told("nemo", "s3://corpus/train", "--from", "s3://corpus/results", *OPTIONS, env=keys)
    assert again["was_complete"]
    fewer = ("--language", "hi", "--again")
    done = told("nemo", "s3://corpus/train", "--from", "s3://corpus/results", *OPTIONS, *fewer, env=keys)
    left = {info.key async for info in store.list("train")}
    assert not [key for key in left if "/ta/" in key or "/.lipika/" in key]


def test_two_actors_on_ray_give_the_bytes_of_one_process(results: Path, whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    dest = tmp_path / "out"
    told("nemo", dest, "--from", results, *OPTIONS, "--engine", "ray", "--actors", "2")
    assert files(dest) == files(whole)
