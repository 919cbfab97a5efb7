"""Parts of libraries that no documentation promises: each is still there, and a minor release that could take it away
is not installed by itself.

Where a test here fails after an update: look at the module that it names, then move the bound in `pyproject.toml`.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
import tomllib
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import reduction

import aiohttp
import obstore
import pytest
import uvicorn
from obstore.exceptions import BaseError
from obstore.store import S3Store
from packaging.requirements import Requirement
from packaging.version import Version
from typer.core import TyperCommand, TyperGroup
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from lipika.audio.decoders import dr_flac
from places import ROOT

SOURCES = ROOT / "src" / "lipika"
BOUND = ("aiohttp", "miniaudio", "obstore", "typer", "uvicorn")
"""Libraries with private parts in use; the standard library's come with Python."""

# ----------------------------------------------------------------------------- bounds


def required() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {one.name: one for one in map(Requirement, project["dependencies"])}


def locked(file: str) -> dict[str, Version]:
    pins = re.findall(r"^([a-z0-9][a-z0-9.-]*)==(\S+)", (ROOT / file).read_text(), re.MULTILINE)
    return {name: Version(number) for name, number in pins}


@pytest.mark.parametrize("name", BOUND)
def test_the_next_minor_release_is_not_taken_unseen(name: str) -> None:
    tried = locked("requirements.lock")[name]
    bounds = [one for one in required()[name].specifier if one.operator == "<"]
    assert [one.version for one in bounds] == [f"{tried.major}.{tried.minor + 1}"], (
        f"private parts of {name} {tried.major}.{tried.minor} are used: pyproject.toml has to say"
        f" <{tried.major}.{tried.minor + 1}"
    )


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-dev.lock"])
def test_the_locks_hold_what_is_allowed(file: str) -> None:
    pins = locked(file)
    assert {
        name: str(pins[name]) for name, one in required().items() if not one.specifier.contains(pins[name])
    } == {}


# ----------------------------------------------------------------------------- names


@dataclass(frozen=True, slots=True)
class PrivatePart:
    """A part of a library, and the module that uses it."""

    library: str
    name: str
    used_by: str
    there: Callable[[], bool]


def takes(function: object, *names: str) -> bool:
    """True if these are parameters of a function, in this order, perhaps with others after them."""
    return callable(function) and list(inspect.signature(function).parameters)[: len(names)] == list(names)


def idle_connections() -> bool:
    """True if what is idle lies in one deque for each host."""

    async def look() -> bool:
        async with aiohttp.TCPConnector() as connector:
            return connector._conns.default_factory is deque

    return asyncio.run(look())


def processes_of_a_pool() -> bool:
    if sys.version_info >= (3, 14):
        return hasattr(ProcessPoolExecutor, "terminate_workers")
    with ProcessPoolExecutor(1) as pool:
        return hasattr(pool, "_processes")


def decodes(name: str) -> bool:
    """True if dr_flac has this function, or miniaudio is not there at all: there are machines without."""
    return find_spec("miniaudio") is None or hasattr(dr_flac, name)


def names_of(of: type) -> set[str]:
    """Methods, and attributes that it gives itself."""
    return set(dir(of)) | set(re.findall(r"self\.(\w+)\b[^=\n]* = ", inspect.getsource(of)))


PARTS = [
    PrivatePart(
        "aiohttp",
        "TCPConnector._release(self, key, protocol, *, should_close)",
        "llm.provider",
        lambda: takes(
            getattr(aiohttp.TCPConnector, "_release", None), "self", "key", "protocol", "should_close"
        ),
    ),
    PrivatePart("aiohttp", "TCPConnector._conns[key]: a deque", "llm.provider", idle_connections),
    PrivatePart(
        "Python", "ProcessPoolExecutor._processes (before 3.14)", "alignment.stage", processes_of_a_pool
    ),
    PrivatePart(
        "Python",
        "multiprocessing.reduction.DupFd",
        "pipeline.shared_memory",
        lambda: sys.platform == "win32" or hasattr(reduction, "DupFd"),
    ),
    *(
        PrivatePart("miniaudio", f"_miniaudio.lib.{name}", "audio.decoders", partial(decodes, name))
        for name in (
            "ma_dr_flac_open_memory",
            "ma_dr_flac_read_pcm_frames_s16",
            "ma_dr_flac_read_pcm_frames_s32",
            "ma_dr_flac_close",
        )
    ),
    *(
        PrivatePart(
            "uvicorn", f"{of.__name__}.{name}", "dashboard.serve", partial(names_of(of).__contains__, name)
        )
        for of, names in {
            H11Protocol: (
                "connection_made",
                "connection_lost",
                "data_received",
                "cycle",
                "loop",
                "transport",
            ),
            RequestResponseCycle: ("response_complete",),
            uvicorn.Server: ("startup", "shutdown", "capture_signals", "handle_exit"),
        }.items()
        for name in names
    ),
    *(
        PrivatePart(
            "typer",
            f"core.TyperGroup.{name}(self, ctx, ...)",
            "cli.main",
            partial(takes, getattr(TyperGroup, name, None), "self", "ctx"),
        )
        for name in ("get_command", "format_commands")
    ),
    PrivatePart(
        "typer",
        "core.TyperGroup(commands) and core.TyperCommand(name, help)",
        "cli.main",
        lambda: "a" in TyperGroup(commands={"a": TyperCommand("a", help="It.")}).commands,
    ),
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.library}: {part.name}")
def test_a_private_part_is_still_there(part: PrivatePart) -> None:
    try:
        there = part.there()
    except Exception as error:
        pytest.fail(f"{describe(part)}: {type(error).__name__}: {error}")
    assert there, describe(part)


def describe(part: PrivatePart) -> str:
    release = sys.version.split()[0] if part.library == "Python" else version(part.library)
    return f"{part.library} {release} no longer has {part.name}, which lipika.{part.used_by} uses"


def test_a_part_that_is_gone_is_named() -> None:
    gone = PrivatePart("aiohttp", "TCPConnector._gone", "llm.provider", lambda: False)
    with pytest.raises(
        AssertionError, match=r"aiohttp \S+ no longer has TCPConnector\._gone, which lipika\.llm"
    ):
        test_a_private_part_is_still_there(gone)


PUBLIC = {"_exit", "_replace"}
"""Of `os` and of named tuples: documented, whatever their names look like."""


def test_no_other_private_name_of_a_library_is_used() -> None:
    found = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
                of_self = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
                found |= set() if of_self or node.attr in PUBLIC else {node.attr}
            if isinstance(node, ast.ImportFrom) and re.match(r"_[a-z]", node.module or "_"):
                found.add(str(node.module))
            if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("lipika"):
                found |= {alias.name for alias in node.names if re.match(r"_[a-z]", alias.name)}
    assert found == {"_release", "_processes", "_miniaudio"}, "name it in PARTS, or do without"


# ----------------------------------------------------------------------------- words


async def answering(raw: bytes, ask: Callable[[int], object]) -> object:
    """What `ask(port)` returns, in a thread of its own, of a server that answers these bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(64)
        writer.write(raw)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        return await asyncio.to_thread(ask, server.sockets[0].getsockname()[1])


def said_by_obstore(port: int) -> str:
    """The text of what it raises."""
    retries = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}
    store = S3Store(
        "bucket",
        endpoint=f"http://127.0.0.1:{port}",
        access_key_id="id",
        secret_access_key="secret",
        region="auto",
        client_options={"allow_http": True},
        retry_config=retries,  # type: ignore[arg-type]
    )
    with pytest.raises((BaseError, OSError)) as raised:
        obstore.get(store, "key")
    return str(raised.value)


REFUSAL = b"<Error><Code>SlowDown</Code><Message>not now</Message></Error>"
OBSTORE: dict[str, tuple[bytes, str]] = {
    "status, code and message of a refusal": (
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(REFUSAL), REFUSAL),
        r" - .*status code: 400 .*<Code>SlowDown</Code><Message>not now</Message>.*\n\nDebug source",
    ),
    "a redirect to nowhere": (
        b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n",
        r"redirect without LOCATION.*\n\nDebug source",
    ),
    "no answer, and why": (b"", r"HTTP error.*\n\nDebug source"),
}


@pytest.mark.parametrize("what", OBSTORE)
async def test_obstore_says_what_storage_errors_reads(what: str) -> None:
    raw, expected = OBSTORE[what]
    said = await answering(raw, said_by_obstore)
    assert re.search(expected, str(said), re.DOTALL), (
        f"obstore {version('obstore')} says {what} otherwise than lipika.storage.errors reads it: {said}"
    )


def test_obstore_says_why_nobody_answers() -> None:
    said = said_by_obstore(1)
    assert re.search(r'HTTP error.*\n\nDebug source.*message: "[^"]+"', said, re.DOTALL), said


def said_by_aiohttp(port: int) -> str:
    async def ask() -> None:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}"):
            pass

    with pytest.raises(aiohttp.ClientResponseError) as raised:
        asyncio.run(ask())
    return raised.value.message


AIOHTTP: dict[str, tuple[bytes, str]] = {
    "a header that is too long": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", "Got more than"),
    "too many headers": (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 2000 + b"\r\n", "Too many headers"),
    "what is no HTTP": (b"\x15\x03\x01\x00\x02\x02F", "status line|Expected HTTP"),
}


@pytest.mark.parametrize("what", AIOHTTP)
async def test_aiohttp_says_what_transport_reads(what: str) -> None:
    raw, expected = AIOHTTP[what]
    said = await answering(raw, said_by_aiohttp)
    assert re.search(expected, str(said), re.IGNORECASE), (
        f"aiohttp {version('aiohttp')} says {what} otherwise than lipika.llm.transport reads it: {said}"
    )
