"""What people name on the command line, in the state in which buckets and folders are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from structlog.testing import capture_logs

from lipika.archive.sources import find_videos
from lipika.errors import SettingsError, StorageError, UsageError
from lipika.models import NewVideo
from lipika.storage import Store, StoreSettings
from s3_kit import s3_server

TAR = b"x" * 10240


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with s3_server() as url:
        yield url


def settings(url: str) -> StoreSettings:
    return StoreSettings(
        "key-id", "secret-key", endpoint_url=url, region="us-east-1", retry_s=1, retry_wait_s=0.02
    )


class Bucket:
    """A bucket with these keys."""

    def __init__(self, url: str, name: str, *keys: str) -> None:
        self.settings, self.name = settings(url), name
        client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id="x",
            aws_secret_access_key="x",
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=name)
        for key in keys:
            client.put_object(Bucket=name, Key=key, Body=b"" if key.endswith("/") else TAR)

    async def find(self, source: str) -> tuple[list[str], str]:
        """Keys of what is found, and everything that was said."""
        with capture_logs() as logs:
            videos = await find_videos([source], "/nowhere", self.settings)
        return [key_of(video) for video in videos], " ".join(str(line.get("what")) for line in logs)


def key_of(video: NewVideo) -> str:
    return video.source_key.split("/", 3)[3]


@pytest.mark.parametrize("odd", ["raw//b.tar", "raw/./b.tar", "raw/../b.tar", "/raw/b.tar", "raw/b.tar//"])
async def test_an_odd_key_is_named_and_the_others_are_found(url: str, odd: str) -> None:
    bucket = Bucket(url, f"odd-{abs(hash(odd)) % 10**9}", "raw/a.tar", odd, "raw/z.tar")
    found, said = await bucket.find(f"s3://{bucket.name}")
    assert found == ["raw/a.tar", "raw/z.tar"]
    assert odd in said or odd.endswith("//")
    Store.open(f"s3://{bucket.name}", bucket.settings).open_read(found[0]).close()


async def test_every_page_of_a_bucket_is_read(url: str) -> None:
    keys = [f"raw/{number:04d}.tar" for number in range(1203)]
    bucket = Bucket(url, "pages", *keys, "raw/0500//x.tar")
    found, said = await bucket.find("s3://pages/raw")
    assert found == keys
    assert "raw/0500//x.tar" in said


async def test_prefixes_markers_and_slashes(url: str) -> None:
    bucket = Bucket(
        url, "places", "raw/", "raw/2024-01.tar", "raw/2024-02.tar", "raw/dir.tar/", "raw/2025/a.tar"
    )
    assert (await bucket.find("s3://places/raw/2024"))[0] == ["raw/2024-01.tar", "raw/2024-02.tar"]
    assert (await bucket.find("s3://places//raw/"))[0] == [
        "raw/2024-01.tar",
        "raw/2024-02.tar",
        "raw/2025/a.tar",
    ]
    assert (await bucket.find("s3://places/raw/2025"))[0] == ["raw/2025/a.tar"]
    with pytest.raises(UsageError, match=r"no \.tar archives"):
        await bucket.find("s3://places/raw/2024/")  # a folder, and no beginning of names
    with pytest.raises(UsageError, match="no wildcards"):
        await bucket.find("s3://places/raw/*.tar")


async def test_the_names_of_the_world_are_found_and_read(url: str) -> None:
    names = [
        "a b",
        "a+b",
        "हिंदी",
        "100%",
        "%20",
        "a&b=c?d#e",
        "it's",
        "a:b*c",
        "~t",
        "a\\b",
        "cafe\u0301",
        "<x>&amp;",
    ]
    bucket = Bucket(url, "names", *(f"raw/{name}.tar" for name in names), "raw/UP.TAR")
    found, _said = await bucket.find("s3://names/raw")
    assert sorted(found) == sorted([*(f"raw/{name}.tar" for name in names), "raw/UP.TAR"])
    for key in found:
        with Store.open("s3://names", bucket.settings).open_read(key) as reader:
            assert len(reader.read()) == len(TAR)


async def test_hidden_and_compressed_archives_are_passed_over_by_name(tmp_path: Path) -> None:
    for name in ("video.tar", "._video.tar", "old.tar.gz", ".Trash/b.tar", "sub/UP.TAR", "a_transcribed.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(TAR)
    with capture_logs() as logs:
        videos = await find_videos([str(tmp_path)], "/nowhere", settings(""))
    assert sorted(video.video_id for video in videos) == ["UP", "video"]
    said = " ".join(line["what"] for line in logs)
    assert "old.tar.gz" in said
    assert "2 archives, such as" in said
    assert await find_videos([str(tmp_path / "._video.tar")], "/nowhere", settings("")) == []
    with pytest.raises(UsageError, match="compressed"):
        await find_videos([str(tmp_path / "old.tar.gz")], "/nowhere", settings(""))
    shutil.rmtree(tmp_path / "sub")
    (tmp_path / "video.tar").unlink()
    with pytest.raises(UsageError, match=r"no \.tar archives.*old\.tar\.gz"):
        await find_videos([str(tmp_path)], "/nowhere", settings(""))


async def test_a_folder_with_loops_and_odd_names_lists_the_rest(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    for name in ("a.tar", "deep/b.tar", "t\nb.tar", os.fsdecode(b"\xff.tar"), "x#7"):
        (tmp_path / "in" / name).write_bytes(TAR)
    (tmp_path / "in/deep/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/gone.tar").symlink_to(tmp_path / "nothing")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/c.tar").write_bytes(TAR)
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "in/pipe.tar")
    with capture_logs() as logs:
        videos = await find_videos([str(tmp_path / "in")], "/nowhere", settings(""))
    assert sorted(video.video_id for video in videos) == ["a", "b", "c"]
    (line,) = logs
    for word in (
        "loop: a link back",
        "gone.tar: No such file",
        "t\\nb.tar: its name has control",
        "\\xff.tar: its name",
    ):
        assert word in line["what"]
    with Store.open(str(tmp_path / "in"), settings("")).open_read("link/c.tar") as reader:
        assert len(reader.read()) == len(TAR)


async def test_a_folder_that_may_not_be_entered_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.tar").write_bytes(TAR)
    scandir = os.scandir

    def guarded(path: str) -> object:
        if path.endswith("closed"):  # root may enter everything
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("lipika.storage.folders.os.scandir", guarded)
    with capture_logs() as logs:
        assert len(await find_videos([str(tmp_path)], "/nowhere", settings(""))) == 1
    assert "closed: Permission denied" in logs[0]["what"]


async def test_a_listing_that_fails_says_why(url: str) -> None:
    with pytest.raises(StorageError, match="NoSuchBucket"):
        await find_videos(["s3://no-such-bucket/x"], "/nowhere", settings(url))
    with pytest.raises(SettingsError, match="AWS_SESSION_TOKEN"):
        await find_videos(["s3://b/x"], "/nowhere", StoreSettings(r2_account_id="a"))
