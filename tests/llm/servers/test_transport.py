"""What is in the way to a service is told apart, on both wires, with its cause and the way out: over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asking import a_request
from client_kit import ANSWERS, KEY, Make, aistudio, both
from lipika.llm.provider import HttpProvider, TranscriptionResponse
from lipika.llm.transport import HEADER_TOO_LONG, REPLY_TOO_LONG
from lipika.models import Failure, FailureKind, Trouble, Usage
from recorder import Page, recording
from tls_kit import server_tls

SETTING = {aistudio: "GEMINI_BASE_URL"}


def setting(make: Make) -> str:
    return SETTING.get(make, "OPENROUTER_BASE_URL")


async def failed(client: HttpProvider) -> TranscriptionResponse:
    async with client:
        response = await client.transcribe(a_request())
    assert response.failure is not None
    assert KEY not in repr(response)
    return response


@asynccontextmanager
async def answering(raw: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that answers these bytes to whatever comes; yields `host:port`."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(64)
        writer.write(raw)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


# ----------------------------------------------------------------------------- redirects


@both
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300, 304])
@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://moved.example.com/v1?key=abcdef123456", "https://moved.example.com/v1."),
        ("https://user:password1@moved.example.com/", "https://moved.example.com/."),
        ("//moved.example.com/login", "http://moved.example.com/login."),
        ("/portal", "/portal."),
        ("http://[broken", "an address that cannot be read"),
        (None, "an address that it does not name"),
    ],
)
async def test_a_redirect_names_its_target_and_the_setting(
    make: Make, status: int, location: str | None, shown: str
) -> None:
    page = Page(status, b"", {"Location": location} if location else {})
    async with recording(page) as server:
        response = await failed(make(server.url))
    failure = response.failure
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.SERVER, Trouble.REDIRECT)
    assert failure.http_status == status
    assert failure.stands
    assert failure.message.startswith(f"HTTP {status}: ")
    assert shown in failure.message
    assert setting(make) in failure.message
    assert "abcdef123456" not in failure.message
    assert "password1" not in failure.message
    assert response.usage == Usage()


# ----------------------------------------------------------------------------- TLS


@both
async def test_a_certificate_of_an_unknown_authority(make: Make, tmp_path: Path) -> None:
    tls, _ = server_tls(tmp_path)
    async with answering(b"", tls) as place:
        response = await failed(make(f"https://{place}"))
    failure = response.failure
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.SERVER, Trouble.CERTIFICATE)
    assert f"the certificate of {place} is not trusted" in failure.message
    assert "SSL_CERT_FILE" in failure.message
    assert response.usage == Usage(), "nothing was sent"


@both
async def test_tls_to_who_does_not_speak_it(make: Make) -> None:
    async with answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as place:
        response = await failed(make(f"https://{place}"))
    failure = response.failure
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.SERVER, Trouble.TLS)
    assert f"{place} does not speak TLS" in failure.message
    assert f"{setting(make)} should begin with http://" in failure.message
    assert response.usage == Usage()


@both
async def test_http_to_who_speaks_tls(make: Make) -> None:
    async with answering(b"\x15\x03\x01\x00\x02\x02F") as place:
        failure = (await failed(make(f"http://{place}"))).failure
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.SERVER, Trouble.NOT_HTTP)
    assert f"{setting(make)} should begin with https://" in failure.message


@both
async def test_a_hang_up_during_the_handshake_may_pass(make: Make) -> None:
    async with answering(b"") as place:
        failure = (await failed(make(f"https://{place}"))).failure
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.SERVER, "unreachable")
    assert not failure.stands


# ----------------------------------------------------------------------------- names


@both
@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b.invalid", "x" * 70 + ".invalid"])
async def test_a_name_that_does_not_resolve(make: Make, host: str) -> None:
    response = await failed(make(f"http://{host}"))
    failure = response.failure
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.SERVER, Trouble.NAME)
    assert f"the name {host} cannot be resolved" in failure.message
    assert setting(make) in failure.message
    assert response.usage == Usage()


# ----------------------------------------------------------------------------- heads


@both
async def test_a_long_header_is_no_reason_to_lose_an_answer(make: Make) -> None:
    headers = {"X-Policy": "p" * 9000} | {f"X-{number}": "y" for number in range(200)}
    page = Page(200, Page.of(ANSWERS[make]).body, headers)
    async with recording(page) as server, make(server.url) as client:
        response = await client.transcribe(a_request())
    assert (response.text, response.failure) == ("{}", None)


LONG = b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\nContent-Length: 2\r\n\r\n{}"
MANY = b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 2000 + b"Content-Length: 2\r\n\r\n{}"


@both
@pytest.mark.parametrize("raw", [LONG, MANY])
async def test_an_absurd_head_is_that_clips_alone(make: Make, raw: bytes) -> None:
    async with answering(raw) as place:
        response = await failed(make(f"http://{place}"))
    failure = response.failure
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.MALFORMED, HEADER_TOO_LONG)
    assert f"a reply of {place} with a header over 64 KB" in failure.message
    assert not failure.stands
    assert response.usage.total > 0, "it may have been answered, and billed"


@both
async def test_a_head_that_cannot_be_read_is_a_lost_connection(make: Make) -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nX y: \x00\r\n\r\n") as place:
        failure = (await failed(make(f"http://{place}"))).failure
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.SERVER, "connection")


# ----------------------------------------------------------------------------- bodies without end


def endless(status: int) -> bytes:
    """The head of a chunked reply and 40 MB of it, without an end."""
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    return b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n" % status + chunk * 40


@both
async def test_a_body_without_end_is_not_read_to_it(make: Make) -> None:
    async with answering(endless(200)) as place:
        response = await failed(make(f"http://{place}"))
    failure = response.failure
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.MALFORMED, REPLY_TOO_LONG)
    assert response.usage.total > 0


@both
async def test_an_error_page_without_end_is_that_error(make: Make) -> None:
    async with answering(endless(503)) as place:
        failure = (await failed(make(f"http://{place}"))).failure
    assert failure is not None
    assert (failure.kind, failure.http_status) == (FailureKind.OVERLOADED, 503)


@both
async def test_a_packed_body_is_bounded_by_what_it_unpacks_to(make: Make) -> None:
    bomb = gzip.compress(b" " * (64 << 20), compresslevel=9)
    page = Page(200, bomb, {"Content-Encoding": "gzip", "Content-Type": "application/json"})
    async with recording(page) as server:
        failure = (await failed(make(server.url))).failure
    assert failure is not None
    assert failure.code == REPLY_TOO_LONG


# ----------------------------------------------------------------------------- a quota of nothing

GOOGLES = (
    "You exceeded your current quota, please check your plan and billing details.\n* Quota exceeded for metric:"
    " generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 0, model: gemini-3-flash\n"
    "* Quota exceeded for metric: generate_requests, limit: 5\nPlease retry in 47.6s."
)


def google(message: str, **violation: str) -> dict[str, object]:
    details = [{"violations": [{"quotaId": "PerMinute-FreeTier", **violation}]}]
    return {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": message, "details": details}}


def routed(message: str) -> dict[str, object]:
    metadata = {"raw": message, "provider_name": "Google AI Studio", "error_type": "rate_limit_exceeded"}
    return {"error": {"code": 429, "message": "Provider returned error", "metadata": metadata}}


async def refused(make: Make, body: object) -> Failure:
    async with recording(Page.of(body, status=429)) as server:
        failure = (await failed(make(server.url))).failure
    assert failure is not None
    return failure


@both
@pytest.mark.parametrize(
    "message", [GOOGLES, "Rate limit reached: Limit 0, Used 0, Requested 700", "limit=0"]
)
async def test_a_quota_of_nothing_is_called_that(make: Make, message: str) -> None:
    failure = await refused(make, (google if make is aistudio else routed)(message))
    assert failure.code == Trouble.LIMIT_ZERO
    assert failure.kind in {FailureKind.RATE_MINUTE, FailureKind.RATE_DAY}
    assert failure.stands
    assert "is zero (limit: 0)" in failure.message
    assert "MODEL_ID" in failure.message
    assert message[:60] in failure.message, "and what the service says itself"


@both
@pytest.mark.parametrize(
    "message", ["limit: 05", "limit: 0.5", "limit: 10", "the limit is near", "limited 0"]
)
async def test_a_quota_that_is_used_up_is_not_one_of_nothing(make: Make, message: str) -> None:
    failure = await refused(make, (google if make is aistudio else routed)(message))
    assert failure.code != Trouble.LIMIT_ZERO


async def test_a_quota_value_of_nothing() -> None:
    assert (await refused(aistudio, google("m", quotaValue="0"))).code == Trouble.LIMIT_ZERO
    assert (await refused(aistudio, google("m", quotaValue="20"))).code != Trouble.LIMIT_ZERO


def test_codes_are_what_rows_and_the_engine_go_by() -> None:
    assert {trouble.value for trouble in Trouble} == {
        "redirect", "certificate", "name", "tls", "not_http", "proxy", "limit_zero",
    }  # fmt: skip
    assert Failure(FailureKind.SERVER, "m", code="name").stands
    assert not Failure(FailureKind.SERVER, "m", code="unreachable").stands
