"""The way out: proxies on loopback, authorities of one's own, and nothing of the surroundings but what is set."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from asking import a_request
from client_kit import ANSWERS, KEY, Make, aistudio, both
from command_kit import lipika
from lipika.config import load_settings
from lipika.errors import SettingsError
from lipika.jobs.wiring import make_provider
from lipika.llm.aistudio import AIStudioProvider
from lipika.llm.capabilities import load_capabilities
from lipika.llm.openrouter import OpenRouterProvider
from lipika.llm.provider import HttpProvider, ModelOptions, TranscriptionResponse
from lipika.llm.transcript import response_schema
from lipika.models import Failure, FailureKind, Trouble, Usage
from lipika.network import Network, bypasses_proxy, spare_loopback
from lipika.storage import Store, StoreSettings
from places import SAMPLES
from recorder import Page, recording
from strict_s3 import strict_s3
from tls_kit import server_tls

SAMPLE = SAMPLES / "hi_sample.tar"
HOST = "api.example.test"
"""A name that only the proxy can resolve."""


def through(make: Make, url: str, network: Network) -> HttpProvider:
    """A provider that takes this way."""
    options, model, schema = (
        ModelOptions(MODEL, 0.0, "low", 10.0),
        load_capabilities(MODEL),
        response_schema(),
    )
    if make is aistudio:
        return AIStudioProvider(
            base_url=url,
            api_key=KEY,
            options=options,
            capabilities=model,
            response_schema=schema,
            network=network,
        )
    return OpenRouterProvider(
        base_url=f"{url}/api/v1",
        api_key=KEY,
        options=options,
        capabilities=model,
        response_schema=schema,
        prompt_version="1",
        network=network,
    )


MODEL = "gemini-3-flash-preview"


async def response_of(client: HttpProvider) -> TranscriptionResponse:
    async with client:
        return await client.transcribe(a_request())


async def failure_of(client: HttpProvider) -> Failure:
    failure = (await response_of(client)).failure
    assert failure is not None
    assert KEY not in repr(failure)
    return failure


# ----------------------------------------------------------------------------- a proxy and a service on loopback


@dataclass(slots=True)
class Proxy:
    """What came in: the first line and the headers, as they were written."""

    url: str = ""
    heads: list[str] = field(default_factory=list)


Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handle, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback; yields its port. Whatever it has open is closed in the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await handle(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def proxying(to: int = 0, answer: str = "") -> AsyncIterator[Proxy]:
    """A proxy that takes every host for a port of this machine, or gives this status line to all."""
    proxy = Proxy()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        proxy.heads.append(head.decode())
        if answer:
            writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        there, onward = await asyncio.open_connection("127.0.0.1", to)
        try:
            if head.startswith(b"CONNECT"):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                onward.write(head)
            await asyncio.gather(_pump(reader, onward), _pump(there, writer))
        finally:
            onward.close()
            with suppress(OSError):
                await onward.wait_closed()

    async with listening(handle) as port:
        proxy.url = f"http://127.0.0.1:{port}"
        yield proxy


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def serving(make: Make, folder: Path) -> AsyncIterator[tuple[int, Path]]:
    """The service behind TLS, under HOST's name; yields its port and the authority to trust."""
    tls, authority = server_tls(folder, HOST)
    body = Page.of(ANSWERS[make]).body
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert b"proxy-authorization" not in request
        await reader.readexactly(int(request.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        writer.write(head + body)
        await writer.drain()

    async with listening(handle, tls) as port:
        yield port, authority


def authorities(path: Path) -> tuple[tuple[str, Path], ...]:
    return (("SSL_CERT_FILE", path),)


@both
async def test_https_goes_through_the_proxy_and_the_key_does_not_stop_there(
    make: Make, tmp_path: Path
) -> None:
    async with serving(make, tmp_path) as (port, authority), proxying(port) as proxy:
        network = Network(https_proxy=proxy.url, authorities=authorities(authority))
        response = await response_of(through(make, f"https://{HOST}", network))
    assert (response.text, response.failure) == ("{}", None)
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT {HOST}:443 ")
    assert KEY not in head


@both
async def test_a_password_goes_to_the_proxy_and_nowhere_else(make: Make, tmp_path: Path) -> None:
    async with serving(make, tmp_path) as (port, authority), proxying(port) as proxy:
        url = proxy.url.replace("http://", "http://user:p%40ss-word@")
        network = Network(all_proxy=url, authorities=authorities(authority))
        response = await response_of(through(make, f"https://{HOST}", network))
    assert response.failure is None, "and the service saw no header of the proxy's"
    assert base64.b64encode(b"user:p@ss-word").decode() in proxy.heads[0]


@both
async def test_plain_http_goes_through_too(make: Make) -> None:
    async with recording(Page.of(ANSWERS[make])) as server, proxying(urlsplit(server.url).port or 0) as proxy:
        network = Network(
            http_proxy=proxy.url.replace("//", "//user:secret1@"), https_proxy="http://127.0.0.1:9"
        )
        response = await response_of(through(make, f"http://{HOST}", network))
    assert (response.text, response.failure) == ("{}", None)
    assert proxy.heads[0].startswith(f"POST http://{HOST}/")
    assert "Proxy-Authorization: Basic" in proxy.heads[0]


@both
async def test_an_authority_that_is_not_trusted_behind_a_proxy(make: Make, tmp_path: Path) -> None:
    async with serving(make, tmp_path) as (port, _), proxying(port) as proxy:
        failure = await failure_of(through(make, f"https://{HOST}", Network(https_proxy=proxy.url)))
    assert failure.code == Trouble.CERTIFICATE
    assert "SSL_CERT_FILE" in failure.message


async def _says_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


@both
async def test_a_certificate_for_another_name_or_another_day(make: Make, tmp_path: Path) -> None:
    for name, days, says in (("other.example.test", (-1, 1), "GEMINI|OPENROUTER"), (HOST, (-9, -1), "clock")):
        tls, authority = server_tls(tmp_path, name, days)
        async with listening(_says_nothing, tls) as port, proxying(port) as proxy:
            network = Network(https_proxy=proxy.url, authorities=authorities(authority))
            failure = await failure_of(through(make, f"https://{HOST}", network))
        assert failure.code == Trouble.CERTIFICATE
        assert any(word in failure.message for word in says.split("|")), failure.message


@both
@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        ("407 Proxy Authentication Required", Trouble.PROXY, "user and password into HTTPS_PROXY"),
        ("403 Forbidden", Trouble.PROXY, "NO_PROXY"),
        ("502 Bad Gateway", "unreachable", "HTTP 502"),
    ],
)
async def test_what_a_proxy_refuses_is_its_own_word(make: Make, answer: str, code: str, says: str) -> None:
    async with proxying(answer=answer) as proxy:
        response = await response_of(through(make, f"https://{HOST}", Network(https_proxy=proxy.url)))
    failure = response.failure
    assert failure is not None
    assert (failure.kind, failure.code, failure.stands) == (FailureKind.SERVER, code, code == Trouble.PROXY)
    assert says in failure.message
    assert urlsplit(proxy.url).netloc in failure.message
    assert response.usage == Usage()


@both
async def test_a_password_that_is_wanted_in_plain_http(make: Make) -> None:
    async with proxying(answer="407 Proxy Authentication Required") as proxy:
        failure = await failure_of(through(make, f"http://{HOST}", Network(http_proxy=proxy.url)))
    assert failure.code == Trouble.PROXY


@both
async def test_a_proxy_that_is_not_there(make: Make) -> None:
    away = await failure_of(through(make, f"https://{HOST}", Network(https_proxy="http://127.0.0.1:9")))
    assert (away.code, "127.0.0.1:9" in away.message, away.stands) == ("unreachable", True, False)
    nowhere = Network(https_proxy="no-such-proxy.invalid:3128")
    unknown = await failure_of(through(make, f"https://{HOST}", nowhere))
    assert unknown.code == Trouble.NAME
    assert "the proxy no-such-proxy.invalid" in unknown.message


# ----------------------------------------------------------------------------- who goes without

DEAD = Network("http://127.0.0.1:9", "http://127.0.0.1:9", "http://127.0.0.1:9")


@both
async def test_this_machine_is_never_reached_through_a_proxy(make: Make) -> None:
    async with recording(Page.of(ANSWERS[make])) as server:
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            assert (await response_of(through(make, url, DEAD))).failure is None


@pytest.mark.parametrize(
    "host",
    ["localhost", "api.localhost", "127.0.0.1", "127.8.9.10", "[::1]", "[::]", "[::ffff:127.0.0.1]"],
)
def test_the_names_of_this_machine(host: str) -> None:
    assert DEAD.proxy_for(f"http://{host}:80/x") is None
    assert DEAD.proxy_for("http://127.0.0.1.example.com") is not None


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("example.com", "https://example.com", True),
        ("example.com", "https://api.example.com", True),
        (".example.com", "https://api.example.com", True),
        ("*.example.com", "https://api.example.com", True),
        ("Example.COM", "https://API.example.com", True),
        ("example.com", "https://notexample.com", False),
        ("example.com.", "https://example.com", True),
        ("other.org, example.com", "https://example.com", True),
        ("other.org example.com", "https://example.com", True),
        ("*", "https://example.com", True),
        ("", "https://example.com", False),
        (",", "https://example.com", False),
        ("example.com:443", "https://example.com", True),
        ("example.com:8443", "https://example.com", False),
        ("example.com:8443", "https://example.com:8443", True),
        ("10.1.2.3", "http://10.1.2.3:8000", True),
        ("10.0.0.0/8", "http://10.1.2.3:8000", True),
        ("10.0.0.0/8", "http://11.1.2.3:8000", False),
        ("10.0.0.0/8", "http://example.com", False),
        ("fd00::/8", "http://[fd00::1]:8000", True),
        ("[fd00::1]:8000", "http://[fd00::1]:8000", True),
        ("fd00::1", "http://[fd00::1]:8000", True),
        ("2.3", "http://10.1.2.3", False),
        ("10.0.0.0/99", "http://10.1.2.3", False),
    ],
)
def test_no_proxy(no_proxy: str, url: str, direct: bool) -> None:
    assert bypasses_proxy(urlsplit(url), no_proxy) is direct
    assert (Network(all_proxy="http://p:1", no_proxy=no_proxy).proxy_for(url) is None) is direct


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_the_environment_is_honoured_in_either_spelling(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://user:pa%40ssword@proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    settings = load_settings()
    network = Network.from_settings(settings)
    assert network.proxy_for("https://x.example") == "http://user:pa%40ssword@proxy.example:3128"
    assert network.proxy_host("https://x.example") == "proxy.example:3128"
    assert network.proxy_for("https://inside.example") is None
    assert {"pa%40ssword", "pa@ssword"} <= set(settings.secrets())
    assert "ssword" not in repr(settings)


def test_a_proxy_without_its_scheme_and_proxies_that_are_not_spoken() -> None:
    assert Network(https_proxy="proxy:3128").proxy_for("https://x.example") == "http://proxy:3128"
    for proxy, says in (("socks5://p:1", "socks5://"), ("http://", "host:port"), ("p:port", "host:port")):
        with pytest.raises(SettingsError, match=rf"ALL_PROXY.*{says}"):
            Network(all_proxy=proxy).proxy_for("https://x.example")
        assert Network(all_proxy=proxy).proxy_for("http://127.0.0.1") is None, "which nobody needs here"


def test_a_file_of_authorities_that_is_none_names_its_setting(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("not a certificate")
    for file in ("empty.pem", "absent.pem"):
        network = Network(authorities=(("REQUESTS_CA_BUNDLE", tmp_path / file),))
        with pytest.raises(SettingsError, match=rf"REQUESTS_CA_BUNDLE: .*{file}"):
            network.trust("https://x.example")
        assert network.trust("http://127.0.0.1") is True


async def test_the_settings_reach_the_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(aistudio, tmp_path) as (port, authority), proxying(port) as proxy:
        for name, value in {
            "HTTPS_PROXY": proxy.url,
            "REQUESTS_CA_BUNDLE": str(authority),
            "GEMINI_API_KEY": KEY,
            "GEMINI_BASE_URL": f"https://{HOST}",
        }.items():
            monkeypatch.setenv(name, value)
        provider = make_provider(load_settings(), "aistudio")
        async with provider:
            assert (await provider.transcribe(a_request())).failure is None


# ----------------------------------------------------------------------------- surroundings


@both
async def test_netrc_is_never_read(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("default login thief password stolen\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with recording(Page.of(ANSWERS[make])) as server, proxying(urlsplit(server.url).port or 0) as proxy:
        await response_of(through(make, server.url, Network()))
        await response_of(through(make, f"http://{HOST}", Network(http_proxy=proxy.url)))
    assert len(server.requests) == 2
    for asked in server.requests:
        assert asked.headers.get("authorization", f"Bearer {KEY}") == f"Bearer {KEY}"
        assert "proxy-authorization" not in asked.headers


@both
async def test_silence_is_filled_with_probes(make: Make) -> None:
    async with recording(Page.of(ANSWERS[make])) as server, make(server.url) as client:
        assert (await client.transcribe(a_request())).failure is None
        assert client._session is not None
        assert client._session.connector is not None
        ((protocol, _),) = next(iter(client._session.connector._conns.values()))
        assert protocol.transport is not None
        held = protocol.transport.get_extra_info("socket")
        assert held.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert held.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60


@pytest.mark.parametrize(
    ("given", "then"),
    [
        ({}, {}),
        ({"NO_PROXY": "x"}, {"NO_PROXY": "x"}),
        (
            {"HTTPS_PROXY": "p"},
            {"NO_PROXY": "localhost,127.0.0.1,::1", "no_proxy": "localhost,127.0.0.1,::1"},
        ),
        (
            {"all_proxy": "p", "NO_PROXY": "x"},
            dict.fromkeys(("NO_PROXY", "no_proxy"), "x,localhost,127.0.0.1,::1"),
        ),
        (
            {"http_proxy": "p", "no_proxy": "x"},
            dict.fromkeys(("NO_PROXY", "no_proxy"), "x,localhost,127.0.0.1,::1"),
        ),
        ({"http_proxy": "p", "no_proxy": "*"}, {"NO_PROXY": "*", "no_proxy": "*"}),
    ],
)
def test_other_libraries_spare_this_machine_too(given: dict[str, str], then: dict[str, str]) -> None:
    environ = dict(given)
    for _ in range(2):  # a child process does it again
        spare_loopback(environ)
        assert {name: value for name, value in environ.items() if name.lower() == "no_proxy"} == then


def test_a_store_on_this_machine_is_reached_straight(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    spare_loopback(os.environ)
    settings = StoreSettings(access_key_id="k", secret_access_key="s", retry_s=1.0)

    async def there_and_back(endpoint: str) -> bytes:
        store = Store.open("s3://bucket", StoreSettings(
            access_key_id="k", secret_access_key="s", endpoint_url=endpoint, retry_s=settings.retry_s
        ))  # fmt: skip
        await store.put_bytes("x", b"kept")
        return await store.get_bytes("x")

    with strict_s3("bucket") as s3:
        assert asyncio.run(there_and_back(s3.url)) == b"kept"


def test_a_run_does_not_need_the_proxies_that_are_set(database_url: str, tmp_path: Path) -> None:
    dead = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    env = {"DATABASE_URL": database_url, "SEND_FORMAT": "wav", **dead}
    ran = lipika(
        "run", str(SAMPLE), "--provider", "simulator", "--out", str(tmp_path / "out"), "--json", env=env
    )
    assert ran.returncode == 0, ran.stderr


# ----------------------------------------------------------------------------- other addresses and formats


async def test_vertex_in_express_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    async with recording(Page.of(ANSWERS[aistudio])) as server:
        for name, value in {
            "GEMINI_API_KEY": KEY,
            "GEMINI_BASE_URL": server.url,
            "GEMINI_API_VERSION": "v1",
            "GEMINI_MODELS_PATH": "publishers/google/models",
        }.items():
            monkeypatch.setenv(name, value)
        provider = make_provider(load_settings(), "aistudio")
        async with provider:
            assert (await provider.transcribe(a_request())).failure is None
            await provider.says_simulated()
    asked, about = server.requests
    assert asked.target == f"/v1/publishers/google/models/{MODEL}:generateContent"
    assert about.target == f"/v1/publishers/google/models/{MODEL}"
    assert asked.headers["x-goog-api-key"] == KEY
