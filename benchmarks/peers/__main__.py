"""`python -m benchmarks.peers [client ...]`: what clients cost for the same requests, and how they use a quota.

Three parts for each client. The first two run one client at a time, so that the other core is the server's:

- *flat out*: 200 in flight, answers after 0.1 s: CPU per request, requests a second;
- *many*: 2,000 requests at once, answered after 15 s: memory at 2,000 in flight.

For the third, *quota*, all clients run side by side, each with a server of its own that admits 3,000 requests in any
60 seconds and answers after 1 s: how much of the quota was used in two minutes, and how many calls were refused for
each 1,000 accepted? Clients that can be told the quota are told it; the others have 200 callers and retries of their
own.

The server is the simulator (light profile, over TLS), each in a process of its own that is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson
import psutil
from pydantic import TypeAdapter

from benchmarks.peers.drive import Task, Told
from benchmarks.peers.environments import NoEnvironment, interpreter, version
from benchmarks.setting import (
    REPOSITORY,
    RESULTS,
    Machine,
    certificate,
    corpus,
    machine,
    save,
    scratch_folder,
)
from lipika.db.admin import fresh_database
from lipika.db.budgets import Budgets, Limits
from lipika.db.connection import Database
from lipika.db.migrate import migrate
from lipika.embedded.postgres import EmbeddedPostgres
from lipika.simulator import Handle, Latency, Quotas, SimulatorConfig, spawn

CLIENTS = {
    "lipika_engine": "lipika, engine and provider",
    "google_genai": "google-genai, aiohttp",
    "openai_sdk": "openai SDK, aiohttp",
    "litellm_router": "litellm Router",
    "bespokelabs_curator": "bespokelabs-curator",
}
RPM, QUOTA_MINUTES = 3000, 2.0
_CLIPS = 160
_REQUESTS, _WARM_UP, _IN_FLIGHT = 3000, 200, 200
_MANY, _MANY_LATENCY_S = 2000, 15.0
_PART_LIMIT_S = 300.0
_PARTS = ("flat_out", "many", "quota")


@dataclass(frozen=True, slots=True)
class Peer:
    """One client's figures; those of a part that failed are None, and `problem` says why.

    `server_ms` is the simulator's CPU for each request while the client ran flat out.
    """

    client: str
    version: str
    cpu_ms: float | None = None
    requests_per_s: float | None = None
    server_ms: float | None = None
    rss_mb_before: float | None = None
    rss_mb_at_2000: float | None = None
    max_in_flight: int | None = None
    percent_of_quota: float | None = None
    refused_per_1000: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PeersResult:
    machine: Machine
    clip_bytes: int
    rpm: int
    quota_minutes: float
    peers: tuple[Peer, ...]


class PartFailed(Exception):
    """A client did not get through; says what it said."""


@dataclass(frozen=True, slots=True)
class Place:
    """What all parts share."""

    folder: Path
    clips: Path
    cert: Path
    key: Path
    postgres: str

    def config(self, latency_s: float, sigma: float = 0.3, rpm: int | None = None) -> SimulatorConfig:
        return SimulatorConfig(
            light=True,
            latency=Latency(latency_s, sigma),
            quotas=Quotas(rpm=rpm),
            tls_cert=self.cert,
            tls_key=self.key,
        )


# ----------------------------------------------------------------------------- the parts


async def flat_out(place: Place, client: str) -> dict[str, float]:
    async with spawn(place.config(0.1)) as server, _ledger(place) as database_url:
        before = psutil.Process(server.pid).cpu_times()
        told = await _drive(
            place,
            client,
            Task(server.url, str(place.clips), _WARM_UP, _REQUESTS, _IN_FLIGHT, database_url=database_url),
        )
        used = psutil.Process(server.pid).cpu_times()
        server_s = used.user + used.system - before.user - before.system
    if told.gave_up:
        raise PartFailed(f"{told.gave_up} errors, the last: {told.last_error}")
    return {
        "cpu_ms": round(told.cpu_s / told.requests * 1000, 3),
        "requests_per_s": round(told.requests / told.seconds, 1),
        "server_ms": round(server_s / (told.requests + _WARM_UP) * 1000, 3),
    }


async def many(place: Place, client: str) -> dict[str, float]:
    async with spawn(place.config(_MANY_LATENCY_S, 0.01)) as server, _ledger(place) as database_url:
        told = await _drive(
            place, client, Task(server.url, str(place.clips), 0, _MANY, _MANY, database_url=database_url)
        )
        stats = await server.stats()
    if told.gave_up:
        raise PartFailed(f"2,000 in flight: {told.gave_up} errors, the last: {told.last_error}")
    return {
        "rss_mb_before": told.rss_mb_before,
        "rss_mb_at_2000": told.rss_mb,
        "max_in_flight": _number(stats["max_in_flight"]),
    }


async def quota(place: Place, client: str, minutes: float) -> dict[str, float]:
    """The client is stopped when the time is over."""
    async with spawn(place.config(1.0, 0.2, RPM)) as server, _ledger(place, RPM) as database_url:
        task = Task(server.url, str(place.clips), 0, 10 * RPM, _IN_FLIGHT, rpm=RPM, database_url=database_url)
        driving = asyncio.create_task(_drive(place, client, task))
        try:
            await _first_answer(server, driving)
            await asyncio.wait([driving], timeout=minutes * 60)
            stats = await server.stats()
        finally:
            driving.cancel()
            await asyncio.gather(driving, return_exceptions=True)
    accepted, statuses = _number(stats["accepted"]), stats["by_status"]
    refused = _number(statuses.get("429", 0)) if isinstance(statuses, dict) else 0
    return {
        "percent_of_quota": round(100 * accepted / (RPM * minutes), 1),
        "refused_per_1000": round(1000 * refused / max(accepted, 1), 1),
    }


async def _first_answer(server: Handle, driving: asyncio.Task[Told]) -> None:
    deadline = time.monotonic() + 60
    while not (await server.stats())["accepted"]:
        if driving.done():
            driving.result()
        if time.monotonic() > deadline:
            raise PartFailed("no answer within 60 s")
        await asyncio.sleep(0.1)


# ----------------------------------------------------------------------------- around them


async def _drive(place: Place, client: str, task: Task) -> Told:
    """Run a client in its environment to the end of its task."""
    python = await asyncio.to_thread(interpreter, client)
    said = place.folder / f"{client}.log"
    with said.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(str(python), "-m", "benchmarks.peers.drive", client),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=place.folder,
            env={
                **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
                "HOME": str(place.folder),
                "PYTHONPATH": str(REPOSITORY),
                "SSL_CERT_FILE": str(place.cert),
            },
        )
    try:
        printed, _ = await asyncio.wait_for(
            process.communicate(orjson.dumps(asdict(task)) + b"\n"), _PART_LIMIT_S
        )
    except TimeoutError:
        raise PartFailed(f"not within {_PART_LIMIT_S:g} s: {_last_line(said)}") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise PartFailed(_last_line(said))
    return Told(**orjson.loads(printed.splitlines()[-1]))


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"


@asynccontextmanager
async def _ledger(place: Place, rpm: int | None = None) -> AsyncIterator[str]:
    """An empty database for lipika; the others have no use for it."""
    url = await fresh_database(place.postgres, f"peers_{time.time_ns()}")
    async with Database(url) as database:
        await migrate(database)
        if rpm is not None:
            await Budgets(database).set_limits("aistudio", Limits(requests_per_minute=rpm))
    yield url


@asynccontextmanager
async def _place() -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        server = await stack.enter_async_context(EmbeddedPostgres(folder / "postgres"))
        cert, key = certificate(folder)
        clips = folder / "clips"
        _unpack(corpus(folder / "in", _CLIPS // 40, 40), clips)
        yield Place(folder, clips, cert, key, server.url)


def _unpack(tars: Sequence[Path], folder: Path) -> None:
    from benchmarks.floor import clips_of

    folder.mkdir()
    for tar in tars:
        for number, clip in enumerate(clips_of(tar)):
            (folder / f"{tar.stem}-{number:03d}.flac").write_bytes(clip)


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"the simulator's statistics hold {value!r} for a number")
    return value


# ----------------------------------------------------------------------------- all of it


async def measure(clients: Sequence[str], parts: Sequence[str], minutes: float) -> PeersResult:
    load_before = os.getloadavg()[0]
    peers = _known()
    peers |= {client: replace(peers[client], problem="") for client in clients}

    def note(client: str, figures: dict[str, float] | PartFailed | NoEnvironment) -> None:
        if isinstance(figures, dict):
            peers[client] = replace(peers[client], **figures)  # type: ignore[arg-type]
        else:
            problem = "; ".join(filter(None, (peers[client].problem, str(figures))))
            peers[client] = replace(peers[client], problem=problem)
        print(client, figures, flush=True)

    async with _place() as place:
        sizes = [path.stat().st_size for path in place.clips.iterdir()]
        for part in (flat_out, many):
            for client in clients if part.__name__ in parts else ():
                note(client, await _or_problem(part(place, client)))
        if "quota" in parts:
            every = await asyncio.gather(*(_or_problem(quota(place, client, minutes)) for client in clients))
            for client, figures in zip(clients, every, strict=True):
                note(client, figures)
    return PeersResult(machine(load_before), sum(sizes) // len(sizes), RPM, minutes, tuple(peers.values()))


def _known() -> dict[str, Peer]:
    """What has been measured of the same versions before, so that clients and parts can be measured one by one."""
    path = RESULTS / "peers.json"
    former = TypeAdapter(PeersResult).validate_json(path.read_bytes()).peers if path.exists() else ()
    known = {peer.client: peer for peer in former if peer.version == version(peer.client)}
    return {client: known.get(client, Peer(client, version(client))) for client in CLIENTS}


async def _or_problem(
    part: Coroutine[object, object, dict[str, float]],
) -> dict[str, float] | PartFailed | NoEnvironment:
    try:
        return await part
    except (PartFailed, NoEnvironment) as problem:
        return problem


def table(result: PeersResult) -> str:
    """The result as Markdown."""
    own = next((peer.cpu_ms for peer in result.peers if peer.client == "lipika_engine"), None)
    heads = (
        "client",
        "CPU ms per request",
        "times lipika's",
        "requests/s",
        "peak MB at 2,000 in flight",
        "of it before",
        "% of quota",
        "refused per 1,000",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    lines += [f"| {' | '.join(_cells(peer, own))} |" for peer in result.peers]
    problems = [f"{CLIENTS[peer.client]}: {peer.problem}" for peer in result.peers if peer.problem]
    return "\n".join([*lines, *(f"\n{problem}" for problem in problems)])


def _cells(peer: Peer, own_ms: float | None) -> tuple[str, ...]:
    times = peer.cpu_ms / own_ms if peer.cpu_ms and own_ms else None
    return (
        f"{CLIENTS[peer.client]} {peer.version}",
        _shown(peer.cpu_ms, ".2f"),
        _shown(times, ".1f"),
        _shown(peer.requests_per_s, ",.0f"),
        _shown(peer.rss_mb_at_2000, ",.0f"),
        _shown(peer.rss_mb_before, ",.0f"),
        _shown(peer.percent_of_quota, ".1f"),
        _shown(peer.refused_per_1000, ",.1f"),
    )


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clients", nargs="*", choices=[[], *CLIENTS], default=[], metavar="client")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=_PARTS)
    parser.add_argument("--minutes", type=float, default=QUOTA_MINUTES, help="of the quota part")
    options = parser.parse_args()
    clients = options.clients or list(CLIENTS)
    result = asyncio.run(measure(clients, options.parts, options.minutes))
    save("peers", result)
    print(table(result))


if __name__ == "__main__":
    main()
