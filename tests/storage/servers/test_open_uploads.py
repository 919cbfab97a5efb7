"""Multipart uploads that were begun and never completed: their parts are stored, and paid for, until aborted."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bucket_kit import BUCKET, own_place, settings_of, to_s3
from fleet_kit import Stage, a_stage, change, rows
from lipika.errors import StorageError
from lipika.storage import Store, StoreSettings
from strict_s3 import StrictS3, strict_s3


@pytest.fixture
async def stage(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path, database_url) as stage:
        yield stage


@pytest.fixture
def s3() -> Iterator[StrictS3]:
    with strict_s3(BUCKET) as server:
        yield server


def begin(s3: StrictS3, key: str) -> None:
    """An upload that nobody will complete."""
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request"}
    url = f"{s3.url}/{BUCKET}/{key}?uploads"
    urllib.request.urlopen(urllib.request.Request(url, b"", headers, method="POST")).close()  # noqa: S310


async def left_open(stage: Stage, s3: StrictS3) -> list[str]:
    return list(await Store.open(own_place(stage), settings_of(s3)).open_uploads())


async def test_uploads_left_open_are_aborted_by_the_next_start(stage: Stage, s3: StrictS3) -> None:
    """Of a video to do, of one that failed for good, and of one that a dead worker holds; others' are left alone."""
    await to_s3(stage, s3, 3)
    names = [row.video_id for row in rows(stage.database_url, "select * from video_queue order by video_id")]
    change(stage.database_url, "update video_queue set status = 'failed' where video_id = %s", names[1])
    change(
        stage.database_url,
        "update video_queue set status = 'claimed', claimed_by = 'dead', claim_token = gen_random_uuid(),"
        " lease_expires_at = now() + interval '2 s', attempts = 1 where video_id = %s",
        names[2],
    )
    for name in names:
        begin(s3, f"{stage.folder.name}/out/{name}_transcribed.tar")
    begin(s3, f"{stage.folder.name}/out/of-another.tar")
    assert len(await left_open(stage, s3)) == 4
    await stage.work()
    assert await left_open(stage, s3) == ["out/of-another.tar"]


async def test_an_upload_that_is_at_work_is_left_alone(stage: Stage, s3: StrictS3) -> None:
    await to_s3(stage, s3, 1)
    change(
        stage.database_url,
        "update video_queue set status = 'processing', claimed_by = 'alive', claim_token = gen_random_uuid(),"
        " lease_expires_at = now() + interval '1 hour'",
    )
    (name,) = [row.video_id for row in rows(stage.database_url, "select * from video_queue")]
    begin(s3, f"{stage.folder.name}/out/{name}_transcribed.tar")
    async with stage.worker() as found:
        await found.worker._tidy_uploads()
    assert await left_open(stage, s3) == [f"out/{name}_transcribed.tar"]


async def test_a_complete_that_fails_leaves_nothing_open(stage: Stage, s3: StrictS3) -> None:
    settings = StoreSettings("id", "secret", endpoint_url=s3.url, retry_s=1.0, part_bytes=5 << 20)
    store = Store.open(f"{own_place(stage)}/out", settings)
    data = bytes(12 << 20)
    s3.forbidden = "POST complete"
    with pytest.raises(StorageError):
        await store.put_stream("a.tar", iter([data]), len(data))
    s3.forbidden = ""
    begin(s3, f"{stage.folder.name}/out/a.tar")
    begin(s3, f"{stage.folder.name}/out/a.tar.other")
    assert await store.abort_uploads("a.tar") >= 1
    assert await store.open_uploads() == ["a.tar.other"]


async def test_half_written_files_of_a_folder_go_too(stage: Stage) -> None:
    (name,) = await stage.queue(1, 3)
    stage.out.mkdir()
    half = stage.out / f"{name}_transcribed.tar#1"
    half.write_bytes(b"half")
    other = stage.out / "of-another.tar#1"
    other.write_bytes(json.dumps("half").encode())
    await stage.work()
    assert not half.exists()
    assert other.exists()
