"""Stores as they are: a real S3 server on loopback, faults on the wire between, and local folders."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lipika.archive.members import END_OF_ARCHIVE, member_header, padding, read_members
from lipika.errors import ObjectMissing, SettingsError, StorageError, StorageUnavailable, UsageError
from lipika.storage import ObjectInfo, Store, StoreSettings, split_url
from lipika.storage.buckets import signed_headers
from lipika.storage.transfers import ObjectReader, part_size
from s3_kit import call, s3_server

MIB = 1 << 20
SECRET = "very-secret-value"
ODD_KEYS = ["a b/ü é.tar", "100%.tar", "a%20b.tar", "q?x#y.tar", "s*[1]~+&=;.tar", "नमस्ते/वीडियो.tar"]


# ----------------------------------------------------------------------------- an S3 server and a bad line to it


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(s3_url: str, request: pytest.FixtureRequest) -> str:
    """An empty bucket of the test's own."""
    name = f"bucket-{hashlib.sha256(request.node.name.encode()).hexdigest()[:16]}"
    call(f"{s3_url}/{name}", "PUT")
    return name


Rule = Callable[[str, int], str]
"""(method, how many of that method before) -> what happens to the request; "" lets it pass."""


class Line:
    """A proxy before the S3 server that loses, cuts and changes things as `rule` says, and remembers requests."""

    def __init__(self, target: str) -> None:
        self.rule: Rule = lambda _method, _count: ""
        self.requests: list[tuple[str, str, str | None]] = []  # method, path, range
        self.before: Callable[[str], None] = lambda _method: None
        self._target = target.removeprefix("http://")
        line = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _forward(self) -> None:
                line.handle(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward  # noqa: N815 - the names http.server wants

            def log_message(self, *_args: object) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def handle(self, client: BaseHTTPRequestHandler) -> None:
        body = client.rfile.read(int(client.headers.get("Content-Length") or 0))
        count = sum(method == client.command for method, _, _ in self.requests)
        self.requests.append((client.command, client.path, client.headers.get("Range")))
        action = self.rule(client.command, count)
        self.before(client.command)
        if action.isdigit():
            client.send_response(int(action))
            client.send_header("Content-Length", "0")
            client.end_headers()
            return
        upstream = http.client.HTTPConnection(self._target)
        upstream.request(client.command, client.path, body, dict(client.headers))
        reply = upstream.getresponse()
        data = reply.read()
        upstream.close()
        if action == "lose reply":
            client.close_connection = True
            return
        client.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                client.send_header(
                    name, '"0123"' if action == "other etag" and name.lower() == "etag" else value
                )
        client.end_headers()
        if action == "cut":
            client.close_connection, data = True, data[: len(data) // 2]
        client.wfile.write(data)


@pytest.fixture
def line(s3_url: str) -> Iterator[Line]:
    line = Line(s3_url)
    yield line
    line.close()


def settings(url: str, **changes: Any) -> StoreSettings:
    quick = StoreSettings(
        "key-id",
        SECRET,
        endpoint_url=url,
        retry_s=2,
        retry_wait_s=0.02,
        part_bytes=5 * MIB,
        read_bytes=2 * MIB,
    )
    return replace(quick, **changes)


@pytest.fixture(params=["s3", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path, s3_url: str, bucket: str) -> Store:
    """Each kind of store, empty."""
    if request.param == "folder":
        return Store.open(str(tmp_path / "a folder ü #1 100%"), settings(s3_url), create=True)
    return Store.open(f"s3://{bucket}/pre fix/ü", settings(s3_url))


def pattern(size: int) -> bytes:
    """Bytes that differ from part to part."""
    return random.Random(size).randbytes(size)


def in_chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


async def keys(store: Store, prefix: str = "") -> list[str]:
    return sorted([found.key async for found in store.list(prefix)])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ----------------------------------------------------------------------------- what every store does


async def test_small_objects_come_back_under_any_name(store: Store) -> None:
    for key in ODD_KEYS:
        await store.put_bytes(key, key.encode())
    assert await keys(store) == sorted(ODD_KEYS)
    for key in ODD_KEYS:
        assert await store.get_bytes(key) == key.encode()
        assert (await store.head(key)).size == len(key.encode())
        await store.delete(key)
    assert await keys(store) == []


async def test_lists_are_of_whole_folders(store: Store) -> None:
    for key in ("a/1", "a/b/2", "ab/3"):
        await store.put_bytes(key, b"x")
    assert await keys(store, "a") == await keys(store, "a/") == ["a/1", "a/b/2"]
    assert await keys(store, "nothing") == []


async def test_missing_objects_are_missing(store: Store) -> None:
    for work in (store.head("no"), store.get_bytes("no"), asyncio.to_thread(store.open_read, "no")):
        with pytest.raises(ObjectMissing, match="no: there is no such object"):
            await work
    await store.delete("no")


async def test_an_object_larger_than_expected_is_not_loaded(store: Store) -> None:
    await store.put_bytes("x", b"12345")
    with pytest.raises(StorageError, match="has 5 bytes; at most 4"):
        await store.get_bytes("x", limit=4)


@pytest.mark.parametrize("key", ["a/../b", "a//b", "a\0b"])
async def test_a_key_no_store_can_have_is_an_error(store: Store, key: str) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        await store.put_bytes(key, b"x")


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 5 * MIB + 1, 12 * MIB])
async def test_streams_arrive_whole_and_verified(store: Store, size: int) -> None:
    data = pattern(size)
    stored = await store.put_stream("big.tar", in_chunks(data, 700_001), size, sha256(data))
    assert (stored.size, stored.sha256) == (size, sha256(data))
    assert await store.get_bytes("big.tar") == data


async def test_async_sources_are_streamed_too(store: Store) -> None:
    data = pattern(6 * MIB)

    async def source() -> AsyncIterator[bytes]:
        for chunk in in_chunks(data, MIB):
            await asyncio.sleep(0)
            yield chunk

    await store.put_stream("big.tar", source(), len(data), sha256(data))
    assert await store.get_bytes("big.tar") == data


@pytest.mark.parametrize("size", [1000, 12 * MIB])
async def test_a_source_that_breaks_its_promise_stores_nothing(store: Store, size: int) -> None:
    data = pattern(size)
    for promised, digest, words in (
        (size + 1, None, "gave"),
        (size - 1, None, "more than the promised"),
        (size, "0" * 64, "SHA-256"),
    ):
        with pytest.raises(StorageError, match=words):
            await store.put_stream("x", in_chunks(data, MIB), promised, digest)
    assert await keys(store) == []


@pytest.mark.parametrize("size", [1000, 12 * MIB])
async def test_an_error_of_the_source_comes_through_and_nothing_is_stored(store: Store, size: int) -> None:
    def broken() -> Iterator[bytes]:
        yield pattern(size - 1)
        raise FileNotFoundError("the spool is gone")

    with pytest.raises(FileNotFoundError, match="the spool is gone"):
        await store.put_stream("x", broken(), size)
    assert await keys(store) == []


@pytest.mark.parametrize("size", [MIB, 12 * MIB])
async def test_an_object_is_replaced_unless_another_has_taken_its_place(store: Store, size: int) -> None:
    await store.put_bytes("x", b"old")
    old = await store.head("x")
    new = await store.replace_stream(old, in_chunks(pattern(size), MIB), size)
    assert new.sha256 == sha256(await store.get_bytes("x")) == sha256(pattern(size))

    await store.put_bytes("x", b"newer")
    with pytest.raises(StorageError, match="replaced meanwhile"):
        await store.replace_stream(new, in_chunks(pattern(size), MIB), size)
    assert await store.get_bytes("x") == b"newer"

    await store.delete("x")
    with pytest.raises(ObjectMissing):
        await store.replace_stream(new, in_chunks(pattern(size), MIB), size)
    assert await keys(store) == []


async def test_a_bucket_itself_refuses_to_replace_what_is_newer(
    s3_url: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes between the last look and the write."""
    store = Store.open(f"s3://{bucket}", settings(s3_url))
    await store.put_bytes("x", b"old")
    old = await store.head("x")
    await store.put_bytes("x", b"newer")

    async def as_it_was(_store: Store, _key: str) -> ObjectInfo:
        return old

    monkeypatch.setattr(Store, "head", as_it_was)
    with pytest.raises(StorageError, match="the object was replaced meanwhile"):
        await store.replace_stream(old, in_chunks(b"too late", 8), 8)
    assert await store.get_bytes("x") == b"newer"


async def test_the_event_loop_runs_on_while_a_source_blocks(store: Store) -> None:
    loop_ran, source_done = threading.Event(), []

    def slow() -> Iterator[bytes]:
        yield pattern(5 * MIB)
        source_done.append(loop_ran.wait(5))
        yield b"end"

    upload = asyncio.create_task(store.put_stream("x", slow(), 5 * MIB + 3))
    while not upload.done():
        await asyncio.sleep(0.01)
        loop_ran.set()
    await upload
    assert source_done == [True]


# ----------------------------------------------------------------------------- readers


async def test_readers_are_files(store: Store) -> None:
    data = pattern(5 * MIB + 17)
    await store.put_stream("x", in_chunks(data, MIB), len(data))

    def work() -> None:
        with store.open_read("x") as reader:
            assert reader.read(3) == data[:3]
            assert reader.seek(4 * MIB - 2, 1) == reader.tell() == 4 * MIB + 1
            assert reader.read(MIB) == data[4 * MIB + 1 : 5 * MIB + 1]
            assert reader.read() == data[5 * MIB + 1 :]
            assert reader.read(1) == b""
            reader.seek(0)
            assert reader.read() == data
            reader.seek(1, 2)
            assert reader.read(1) == b""
        with pytest.raises(ValueError, match="closed"):
            reader.seek(0) or reader.read(1)

    await asyncio.to_thread(work)


async def test_archives_are_read_from_a_store(store: Store) -> None:
    flac = b"fLaC" + bytes(300_000)
    names = [f"segments/s_{i:05d}_{i + 1:05d}.flac" for i in range(20)]
    tar = (
        b"".join(member_header(name, len(flac)) + flac + padding(len(flac)) for name in names)
        + END_OF_ARCHIVE
    )
    await store.put_stream("v.tar", in_chunks(tar, MIB), len(tar))

    def work() -> list[str]:
        with store.open_read("v.tar") as reader:
            return [member.name for member in read_members(reader)]

    assert await asyncio.to_thread(work) == [name.removeprefix("segments/") for name in names]


async def test_an_empty_object_reads_as_nothing(store: Store) -> None:
    await store.put_bytes("x", b"")
    assert await asyncio.to_thread(lambda: store.open_read("x").read()) == b""


def read_through(reader: ObjectReader, step: int, after_each: Callable[[int], None]) -> int:
    """Read to the end; how many bytes that were."""
    seen = 0
    while data := reader.read(step):
        seen += len(data)
        after_each(seen)
    return seen


async def test_a_reader_holds_one_range_of_a_big_object(tmp_path: Path) -> None:
    store, size = Store.open(str(tmp_path), settings("")), 64 * MIB
    await store.put_stream("x", in_chunks(bytes(size), MIB), size)
    reader, held = store.open_read("x"), []
    assert (
        await asyncio.to_thread(read_through, reader, 300_000, lambda _: held.append(len(reader._held)))
        == size
    )
    assert max(held) == MIB  # of a folder; of a bucket as much as the settings say


async def test_nothing_is_fetched_before_it_is_wanted(line: Line, bucket: str) -> None:
    store, size = Store.open(f"s3://{bucket}", settings(line.url)), 8 * MIB
    await store.put_bytes("x", pattern(size))
    line.requests.clear()

    def check(seen: int) -> None:
        spans = [span for method, _, span in line.requests if method == "GET"]
        assert len(spans) == -(-seen // (2 * MIB))
        assert spans[-1] == f"bytes={2 * MIB * (len(spans) - 1)}-{2 * MIB * len(spans) - 1}"

    reader = await asyncio.to_thread(store.open_read, "x")
    assert await asyncio.to_thread(read_through, reader, 300_000, check) == size


async def test_an_object_replaced_while_it_is_read_is_noticed(store: Store) -> None:
    await store.put_stream("x", in_chunks(pattern(5 * MIB), MIB), 5 * MIB)
    reader = await asyncio.to_thread(store.open_read, "x")
    assert len(await asyncio.to_thread(reader.read, MIB)) == MIB
    await store.put_bytes("x", bytes(5 * MIB))
    with pytest.raises(StorageError, match="replaced while it was being read"):
        await asyncio.to_thread(reader.read, 4 * MIB)


# ----------------------------------------------------------------------------- faults on the wire


async def test_cut_connections_are_resumed(line: Line, bucket: str) -> None:
    store, data = Store.open(f"s3://{bucket}", settings(line.url, retry_s=20)), pattern(5 * MIB)
    await store.put_bytes("x", data)
    line.requests.clear()
    line.rule = lambda method, count: "cut" if method == "GET" and count % 2 == 0 else ""
    reader = await asyncio.to_thread(store.open_read, "x")
    assert await asyncio.to_thread(reader.read) == data
    assert sum(method == "GET" for method, _, _ in line.requests) == 6  # each of three ranges took two


@pytest.mark.parametrize("fault", ["503", "429", "lose reply"])
async def test_passing_trouble_is_waited_out(line: Line, bucket: str, fault: str) -> None:
    store, data = Store.open(f"s3://{bucket}", settings(line.url, retry_s=20)), pattern(11 * MIB)
    line.rule = lambda method, count: fault if count == 1 or (method == "PUT" and count == 2) else ""
    await store.put_stream("x", in_chunks(data, MIB), len(data), sha256(data))
    assert await store.get_bytes("x") == data
    assert await asyncio.to_thread(lambda: store.open_read("x").read()) == data


async def test_a_lost_reply_to_the_end_of_an_upload_is_no_loss(line: Line, bucket: str) -> None:
    store, data = Store.open(f"s3://{bucket}", settings(line.url)), pattern(11 * MIB)
    line.rule = lambda method, count: "lose reply" if method == "POST" and count == 1 else ""
    stored = await store.put_stream("x", in_chunks(data, MIB), len(data))
    assert [method for method, _, _ in line.requests].count("POST") == 3  # begin, end, end again
    assert stored.size == len(data)


async def test_an_outage_ends_in_storage_unavailable(line: Line, bucket: str) -> None:
    store = Store.open(f"s3://{bucket}", settings(line.url, retry_s=0.2))
    line.rule = lambda _method, _count: "503"
    for work in (
        store.head("x"),
        store.put_stream("x", in_chunks(pattern(6 * MIB), MIB), 6 * MIB),
        keys(store),
        asyncio.to_thread(store.open_read, "x"),
    ):
        with pytest.raises(StorageUnavailable, match=r"503.*tried for up to 0\.2 s"):
            await work


async def test_a_closed_reader_stops_waiting(line: Line, bucket: str) -> None:
    store = Store.open(f"s3://{bucket}", settings(line.url, retry_s=3600, read_bytes=MIB))
    await store.put_bytes("x", pattern(2 * MIB))
    reader = await asyncio.to_thread(store.open_read, "x")
    await asyncio.to_thread(reader.read, MIB)
    store._quick = Store.open(f"s3://{bucket}", settings(line.url, retry_s=0.1))._store
    line.rule = lambda _method, _count: "503"
    waiting = asyncio.create_task(asyncio.to_thread(reader.read, 1))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    reader.close()
    with pytest.raises(StorageUnavailable):
        await waiting


async def test_a_listing_that_nobody_waits_for_any_more_ends(line: Line, bucket: str) -> None:
    line.rule = lambda _method, _count: "503"
    store = Store.open(f"s3://{bucket}", settings(line.url, retry_s=600, retry_wait_s=0.5))
    before = threading.active_count()
    task = asyncio.create_task(keys(store))
    await asyncio.sleep(0.3)
    assert line.requests
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await asyncio.get_running_loop().shutdown_default_executor()  # as at the end of a process
    assert threading.active_count() <= before + 1


async def test_no_server_is_named_with_its_address(bucket: str) -> None:
    store = Store.open(f"s3://{bucket}", settings("http://127.0.0.1:9", retry_s=0.3))
    with pytest.raises(StorageUnavailable, match=r"http://127\.0\.0\.1:9: Connection refused"):
        await store.head("x")
    store = Store.open(f"s3://{bucket}", settings("http://no-such-host.invalid", retry_s=0.3))
    with pytest.raises(StorageUnavailable, match="host name is not known"):
        await store.head("x")


async def test_an_etag_that_is_no_md5_is_checked_by_reading_back(line: Line, bucket: str) -> None:
    store, data = Store.open(f"s3://{bucket}", settings(line.url)), pattern(6 * MIB)
    line.rule = lambda method, _count: "other etag" if method == "HEAD" else ""
    await store.put_stream("x", in_chunks(data, MIB), len(data))
    assert [method for method, _, _ in line.requests].count("GET") == 1


async def test_other_bytes_than_were_sent_are_noticed(line: Line, s3_url: str, bucket: str) -> None:
    store, data = Store.open(f"s3://{bucket}", settings(line.url)), pattern(1000)
    for stored, words in ((b"x" * 1000, "other bytes"), (b"x", "stored with 1 bytes of 1,000")):

        def swap(method: str, stored: bytes = stored) -> None:
            if method == "HEAD":
                call(f"{s3_url}/{bucket}/x", "PUT", stored)

        line.before = swap
        with pytest.raises(StorageError, match=words):
            await store.put_stream("x", iter([data]), len(data))


async def test_an_object_that_vanished_after_its_upload_is_to_be_sent_again(
    line: Line, s3_url: str, bucket: str
) -> None:
    store = Store.open(f"s3://{bucket}", settings(line.url))

    def vanish(method: str) -> None:
        if method == "HEAD":
            call(f"{s3_url}/{bucket}/x", "DELETE")

    line.before = vanish
    with pytest.raises(StorageUnavailable, match="upload it again"):
        await store.put_stream("x", iter([b"1"]), 1)


async def test_parts_are_equal_and_two_at_a_time(line: Line, bucket: str) -> None:
    store = Store.open(f"s3://{bucket}", settings(line.url))
    running, most, lock, pair = 0, 0, threading.Lock(), threading.Barrier(2, timeout=20)

    def watch(method: str) -> None:
        nonlocal running, most
        if method == "PUT":
            with lock:
                running += 1
                most = max(most, running)
            with suppress(threading.BrokenBarrierError):  # the rest need not wait for nobody too
                pair.wait()
            time.sleep(0.05)  # in which a third one would come
            with lock:
                running -= 1

    line.before = watch
    await store.put_stream("x", in_chunks(pattern(27 * MIB), 999_999), 27 * MIB)
    sent = [path for method, path, _ in line.requests if method == "PUT"]
    assert len(sent) == 6
    assert not pair.broken, "a part was sent alone"
    assert most == 2


# ----------------------------------------------------------------------------- refusals


@pytest.fixture
def guarded(s3_url: str, bucket: str) -> Iterator[dict[str, tuple[str, str]]]:
    """The S3 server checking signatures and permissions; keys of a user who may and of one who may not."""
    import boto3  # comes with moto

    iam = boto3.client(
        "iam", endpoint_url=s3_url, aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1"
    )
    users = {}
    for name in ("may", "may-not"):
        user = f"{name}-{bucket}"
        iam.create_user(UserName=user)
        made = iam.create_access_key(UserName=user)["AccessKey"]
        users[name] = (made["AccessKeyId"], made["SecretAccessKey"])
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
    )
    iam.put_user_policy(UserName=f"may-{bucket}", PolicyName="all", PolicyDocument=policy)
    call(f"{s3_url}/moto-api/reset-auth", "POST", b"0")
    yield users
    call(f"{s3_url}/moto-api/reset-auth", "POST", b"inf")


async def test_signatures_hold_and_refusals_name_the_setting(
    s3_url: str, bucket: str, guarded: dict[str, tuple[str, str]]
) -> None:
    key, secret = guarded["may"]
    good = settings(s3_url, access_key_id=key, secret_access_key=secret)
    store = Store.open(f"s3://{bucket}/prefix", good)
    data = pattern(6 * MIB)
    await store.put_stream(ODD_KEYS[0], in_chunks(data, MIB), len(data))
    assert await store.get_bytes(ODD_KEYS[0]) == data
    assert await keys(store) == [ODD_KEYS[0]]
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"secret_access_key": SECRET}, "SignatureDoesNotMatch.*check R2_SECRET_ACCESS_KEY"),
        ({"access_key_id": "AKIANOBODY"}, "InvalidAccessKeyId.*check R2_ACCESS_KEY_ID"),
        (
            dict(zip(("access_key_id", "secret_access_key"), guarded["may-not"], strict=True)),
            "AccessDenied.*allow",
        ),
    ]
    for changes, words in refusals:
        refused = Store.open(f"s3://{bucket}", replace(good, **changes))
        with pytest.raises(StorageError, match=words) as caught:
            await refused.get_bytes("x")
        with pytest.raises(StorageError, match=f"s3://{bucket}/x.*R2_"):
            await refused.head("x")  # a HEAD has no body that could tell the reason
        assert SECRET not in str(caught.value)


async def test_a_bucket_that_does_not_exist_is_named(s3_url: str) -> None:
    store = Store.open("s3://no-such-bucket", settings(s3_url))
    for work in (store.get_bytes("x"), store.put_bytes("x", b"1"), keys(store)):
        with pytest.raises(StorageError, match=r"s3://no-such-bucket.*NoSuchBucket.*R2_BUCKET") as caught:
            await work
        assert not isinstance(caught.value, ObjectMissing)


def test_settings_are_asked_for_by_name() -> None:
    full = StoreSettings("key-id", SECRET, r2_account_id="abc", bucket="b")
    assert Store.open("s3:///prefix", full).url == "s3://b/prefix"
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"access_key_id": ""}, "R2_ACCESS_KEY_ID"),
        ({"secret_access_key": ""}, "R2_SECRET_ACCESS_KEY"),
        ({"r2_account_id": ""}, "R2_ACCOUNT_ID .* S3_ENDPOINT_URL"),
        ({"bucket": ""}, "R2_BUCKET"),
        ({"endpoint_url": f"https://me:{SECRET}@host"}, "without user or password"),
        ({"endpoint_url": "host"}, "https://host"),
    ]
    for change, words in mistakes:
        with pytest.raises(SettingsError, match=words) as caught:
            Store.open("s3:///prefix", replace(full, **change))
        assert SECRET not in str(caught.value)


def test_secrets_stay_out_of_sight() -> None:
    secret = StoreSettings("key-id", SECRET, r2_account_id="abc")
    assert SECRET not in repr(secret)
    assert SECRET not in repr(Store.open("s3://b", secret))
    assert secret.endpoint == "https://abc.r2.cloudflarestorage.com"


async def test_the_environment_of_other_tools_does_not_leak_in(
    line: Line, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-another-tool")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://no-such-host.invalid")
    await Store.open(f"s3://{bucket}", settings(line.url)).put_bytes("x", b"1")
    assert line.requests[0][1] == f"/{bucket}/x"


# ----------------------------------------------------------------------------- why a store refuses

REFUSALS = {
    "RequestTimeTooSkewed": (403, r"this machine's clock says 20\d\d-"),
    "ExpiredToken": (400, "fetch new temporary credentials.*R2_SESSION_TOKEN"),
    "InvalidToken": (400, "R2_SESSION_TOKEN does not belong"),
    "AccessDenied": (403, "must be allowed to (read|write|list) objects"),
    "InvalidObjectState": (403, "archived.*restore it"),
    "InvalidAccessKeyId": (403, "check R2_ACCESS_KEY_ID"),
    "SignatureDoesNotMatch": (403, "check R2_SECRET_ACCESS_KEY"),
    "Unauthorized": (401, "check R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY"),
    "PermanentRedirect": (301, "bucket's region"),
}


class Refuser:
    """A store that refuses everything with the code that the key names."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _refuse(self) -> None:
                code = next((code for code in REFUSALS if code in self.path), "")
                body = (
                    f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
                    if code
                    else b"<html>no"
                )
                self.send_response(REFUSALS[code][0] if code else 403)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_PUT = _refuse  # noqa: N815 - the names http.server wants

            def log_message(self, *_args: object) -> None:
                """Silence."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def refuser() -> Iterator[Refuser]:
    refuser = Refuser()
    yield refuser
    refuser.server.shutdown()
    refuser.server.server_close()


@pytest.mark.parametrize("code", REFUSALS)
async def test_refusals_are_told_apart_whatever_is_asked(refuser: Refuser, code: str) -> None:
    """A HEAD request gets no reason with its refusal, so the same is asked once more."""
    store = Store.open(f"s3://bucket/{code}", settings(refuser.url))
    works: list[Callable[[], Any]] = [
        lambda: store.head("x"),
        lambda: store.get_bytes("x"),
        lambda: asyncio.to_thread(store.open_read, "x"),
        lambda: store.put_bytes("x", b"1"),
        lambda: keys(store),
    ]
    for work in works:
        with pytest.raises(StorageError, match=REFUSALS[code][1]):
            await work()


async def test_a_refusal_without_a_reason_may_be_a_firewalls(refuser: Refuser) -> None:
    with pytest.raises(StorageError, match="firewall"):
        await Store.open("s3://bucket", settings(refuser.url)).head("x")


async def test_messages_name_the_settings_in_use(refuser: Refuser) -> None:
    store = Store.open("s3://bucket/SignatureDoesNotMatch", settings(refuser.url, variables="AWS"))
    with pytest.raises(StorageError, match="check AWS_SECRET_ACCESS_KEY"):
        await store.get_bytes("x")


async def test_temporary_credentials_travel_with_every_request(s3_url: str, bucket: str) -> None:
    seen: list[str | None] = []
    line = Line(s3_url)
    handle = line.handle

    def note(client: BaseHTTPRequestHandler) -> None:
        seen.append(client.headers.get("x-amz-security-token"))
        handle(client)

    line.handle = note  # type: ignore[method-assign]
    try:
        store = Store.open(f"s3://{bucket}", settings(line.url, session_token="a-token"))
        await store.put_bytes("x", b"1")
        await store.get_bytes("x")
        assert await keys(store) == ["x"]
    finally:
        line.close()
    assert seen == ["a-token"] * 3


@pytest.mark.parametrize("path", ["/bucket", "/a%20b/bucket"])
@pytest.mark.parametrize("token", ["", "a-token"])
def test_our_signature_is_botocores(path: str, token: str) -> None:
    query = "encoding-type=url&list-type=2&prefix=a%20b%2F%E0%A4%B9%2B%3D"
    request = AWSRequest("GET", f"http://host:9000{path}?{query}")
    S3SigV4Auth(Credentials("key-id", SECRET, token or None), "s3", "eu-west-1").add_auth(request)
    moment = datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    asking = settings("http://host:9000", session_token=token, region="eu-west-1")
    ours = signed_headers(asking, "host:9000", path, query, moment)
    assert ours["Authorization"] == request.headers["Authorization"]


# ----------------------------------------------------------------------------- the end of a process

ENDS_AT_ONCE = """
import asyncio, sys
from lipika.storage import Store, StoreSettings

async def main():
    store = Store.open(sys.argv[1], StoreSettings())
    await asyncio.gather(*(store.head("x") for _ in range(20)))
    upload = asyncio.ensure_future(store.put_stream("y", iter([bytes(1 << 20)] * 64), 64 << 20))
    await asyncio.sleep(0.02)
    upload.cancel()

asyncio.run(main())
"""


async def test_a_process_may_end_right_after_a_request(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    for _ in range(4):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", ENDS_AT_ONCE, tmp_path)
        assert await process.wait() == 0


# ----------------------------------------------------------------------------- folders and URLs


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_folder_never_shows_half_a_file(tmp_path: Path) -> None:
    store = Store.open(tmp_path.as_uri(), settings(""))
    await store.put_bytes("x.tar", b"old")
    seen = []

    def watching() -> Iterator[bytes]:
        for chunk in in_chunks(pattern(12 * MIB), 4 * MIB):
            seen.append((tmp_path / "x.tar").read_bytes())
            yield chunk

    await store.put_stream("x.tar", watching(), 12 * MIB)
    assert seen == [b"old"] * 3
    assert names(tmp_path) == ["x.tar"]


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(MIB)
        time.sleep(0.005)


async def endless_async() -> AsyncIterator[bytes]:
    while True:
        yield bytes(MIB)
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("source", [endless, endless_async])
async def test_a_cancelled_upload_leaves_nothing(
    tmp_path: Path, source: Callable[[], Iterator[bytes] | AsyncIterator[bytes]]
) -> None:
    store = Store.open(str(tmp_path), settings(""))
    upload = asyncio.create_task(store.put_stream("x", source(), 1 << 35))
    await asyncio.sleep(0.2)
    assert names(tmp_path) == ["x#1"]
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    for _ in range(100):
        if not names(tmp_path):
            break
        await asyncio.sleep(0.02)
    assert names(tmp_path) == []


async def test_files_people_put_there_are_found(tmp_path: Path) -> None:
    for key in ODD_KEYS:
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_bytes(b"x")
    assert await keys(Store.open(str(tmp_path), settings(""))) == sorted(ODD_KEYS)


async def test_a_file_name_that_is_not_utf8_is_said_plainly(tmp_path: Path) -> None:
    for name in (b"\xff.tar", b"a.tar"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    odd: list[str] = []
    found = [entry.key async for entry in Store.open(str(tmp_path), settings("")).list(odd=odd.append)]
    assert found == ["a.tar"]
    assert odd == [f"{tmp_path}/\\xff.tar: its name is not UTF-8"]


async def test_trouble_with_a_folder_names_it(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no folder"):
        Store.open(str(tmp_path / "missing"), settings(""))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file"):
        Store.open(str(tmp_path / "file" / "below"), settings(""), create=True)
    with pytest.raises(StorageError, match="Not a directory"):
        await Store.open(str(tmp_path), settings("")).put_bytes("file/below", b"x")


def test_urls_are_split_into_root_and_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a b#ü"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    assert split_url("s3://bucket/x/y z.tar") == ("s3://bucket", "x/y z.tar")
    assert split_url("s3://bucket/prefix/") == ("s3://bucket", "prefix/")
    assert split_url("s3:///key") == ("s3://", "key")
    assert split_url("s3://bucket") == ("s3://bucket", "")
    assert split_url("a b#ü/v.tar") == (str(folder), "v.tar")
    assert split_url(str(folder)) == split_url(folder.as_uri()) == split_url("a b#ü/") == (str(folder), "")
    assert split_url(f"file://{folder}/v.tar") == (str(folder), "v.tar")


@pytest.mark.parametrize("url", ["http://host/x.tar", "gs://bucket/x", "file://host/x", "file://x"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="file:///"):
        split_url(url)


def test_parts_suffice_for_the_largest_object() -> None:
    assert part_size(1, 8 * MIB) == 8 * MIB
    assert part_size(1, 1) == 5 * MIB
    five_tib = 5 << 40
    assert -(-five_tib // part_size(five_tib, 8 * MIB)) <= 10_000
    assert part_size(five_tib, 8 * MIB) % MIB == 0


def test_the_region_of_amazon_is_taken_from_its_endpoint() -> None:
    amazon = settings("https://s3.ap-south-1.amazonaws.com")
    assert Store.open("s3://b", amazon)._store.config["region"] == "ap-south-1"  # type: ignore[union-attr]
    assert Store.open("s3://b", settings("https://other.example"))._store.config["region"] == "auto"  # type: ignore[union-attr]


def test_a_reader_without_a_store_is_testable() -> None:
    data = pattern(1000)
    spans: list[tuple[int, int]] = []

    def fetch(start: int, end: int) -> memoryview:
        spans.append((start, end))
        return memoryview(data)[start:end]

    reader = ObjectReader(1000, 300, fetch, threading.Event())
    assert reader.read(10) + reader.read(990) == data
    assert spans == [(0, 300), (300, 600), (600, 900), (900, 1000)]
