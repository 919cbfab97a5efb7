"""The board as a server: where it listens, and what has to be true for that."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from lipika.answers.ballot import Ballots
from lipika.config import Settings
from lipika.dashboard.app import create_app
from lipika.dashboard.board import Board
from lipika.dashboard.clip_audio import ClipAudio
from lipika.dashboard.people import Access, machine_user, name_problem, read_people
from lipika.dashboard.segment_audio import SegmentAudio
from lipika.dashboard.signing import Attempts, Signer
from lipika.db.audits import Audits
from lipika.db.budgets import Budgets
from lipika.db.connection import Database
from lipika.db.queue import Queue
from lipika.db.stats import Stats
from lipika.db.workers import Workers
from lipika.errors import UsageError
from lipika.fleet.notifying import keep_telling, open_notifier
from lipika.machine import instance_name
from lipika.people.edits import Edits
from lipika.services import Stores, open_database, store_settings

_GRACE_S = 1
_HEADER_S = 10.0  # from the first byte of a request, or a new connection, to the end of a header
_STORE_RETRY_S = 10.0  # a person waits; a worker would not give up so soon


@dataclass(frozen=True, slots=True)
class Listen:
    """The address at which the board listens. Port 0: any free one."""

    host: str = "127.0.0.1"
    port: int = 8600
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()  # addresses or networks whose X-Forwarded-* headers are believed


def check_access(listen: Listen, access: Access) -> None:
    """Refuse to serve without a token, unless only this machine can reach the board.

    Raises:
        UsageError: says what to change.
    """
    if bool(listen.tls_cert) != bool(listen.tls_key):
        raise UsageError("--tls-cert and --tls-key belong together: give both or none")
    if not access.needs_token and not is_loopback(listen.host):
        raise UsageError(
            f"--host {listen.host} lets others reach the board: set DASHBOARD_TOKEN (such as: openssl rand -hex 24)"
            " or DASHBOARD_TOKENS, or leave --host out and use an SSH tunnel"
        )


def proxies(listed: str) -> tuple[str, ...]:
    """Addresses and networks of a list with commas. Raises UsageError for what is neither."""
    names = tuple(name.strip() for name in listed.split(",") if name.strip())
    for name in names:
        try:
            ip_network(name, strict=False)
        except ValueError:
            raise UsageError(
                f"DASHBOARD_TRUSTED_PROXIES: {name} is no address or network, such as 127.0.0.1 or 10.0.0.0/8"
            ) from None
    return names


def is_loopback(host: str) -> bool:
    """True if an address to listen at can be reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def run_board(
    settings: Settings,
    listen: Listen,
    *,
    read_only: bool = False,
    visitor: str = "",
    ready: Callable[[str], object] = lambda _url: None,
) -> None:
    """The board over the database and the stores that `settings` name, until it is told to stop."""
    access = access_of(settings, read_only=read_only, visitor=visitor)
    check_access(listen, access)
    async with open_database(settings) as database:
        board = make_board(settings, database, access)
        notifier = open_notifier(settings, database, f"board {instance_name(settings.worker_instance_id)}")
        telling = asyncio.create_task(keep_telling(notifier)) if notifier else None
        try:
            await serve(create_app(board), listen, ready)
        finally:
            if telling is not None:
                telling.cancel()


def access_of(settings: Settings, *, read_only: bool, visitor: str = "") -> Access:
    """The rights that settings give. `visitor` names whoever comes without a token; else the machine does.

    Raises:
        UsageError: an entry of DASHBOARD_TOKENS, or the name, will not do.
    """
    if visitor and (problem := name_problem(visitor)):
        raise UsageError(f"--name {visitor!r} {problem}")
    given = (settings.dashboard_token, settings.dashboard_tokens)
    people = read_people(*(secret.get_secret_value() if secret else "" for secret in given))
    if visitor and people:
        raise UsageError("--name is for a board without tokens: DASHBOARD_TOKENS names whoever shows one")
    return Access(people, read_only, visitor or machine_user())


def make_board(settings: Settings, database: Database, access: Access) -> Board:
    """The parts behind the pages."""
    stores = Stores(replace(store_settings(settings), retry_s=_STORE_RETRY_S))
    return Board(
        stats=Stats(database),
        queue=Queue(database),
        budgets=Budgets(database),
        workers=Workers(database),
        audits=Audits(database),
        edits=Edits(database),
        ballots=Ballots(database),
        audio=ClipAudio(stores, settings.output_url),
        segments=SegmentAudio(stores, settings.store_url),
        access=access,
        signer=Signer(),
        attempts=Attempts(),
    )


async def serve(app: Starlette, listen: Listen, ready: Callable[[str], object] = lambda _url: None) -> None:
    """Serve until SIGINT or SIGTERM, or until it is cancelled; `ready` is told the URL once the board listens.

    Raises:
        UsageError: the port is taken, or a certificate is not readable.
    """
    listening = _bind(listen)
    config = uvicorn.Config(
        app,
        http=_Impatient,
        # An address that a client writes into a header is a client's word, unless a proxy of ours wrote it.
        proxy_headers=bool(listen.trusted_proxies),
        forwarded_allow_ips=list(listen.trusted_proxies),
        ssl_certfile=listen.tls_cert,
        ssl_keyfile=listen.tls_key,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        lifespan="off",
        ws="none",
    )
    try:
        config.load()
    except OSError as error:
        listening.close()
        raise UsageError(f"--tls-cert, --tls-key: {error}") from None
    server = _Server(config, lambda: ready(_url(listening, listen)), app.state.lookout.closing.set)
    try:
        await server.serve(sockets=[listening])
    except asyncio.CancelledError:
        await server.shutdown(sockets=[listening])
        raise


class _Impatient(H11Protocol):
    """Closes connections on which no whole header arrives, however slowly its bytes drip in.

    uvicorn itself waits for ever; whoever opens a few hundred of them would hold all its file descriptors.
    """

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._busy():
            self._stop_waiting()
        else:
            self._wait_for_header()

    def _busy(self) -> bool:
        """True if a request is being answered. There is no cycle before the first, whatever its type says."""
        cycle = getattr(self, "cycle", None)
        return cycle is not None and not cycle.response_complete

    def _wait_for_header(self) -> None:
        if self._patience is None:  # not anew with each byte
            self._patience = self.loop.call_later(_HEADER_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if not self._busy() and not self.transport.is_closing():
            self.transport.abort()


def _bind(listen: Listen) -> socket.socket:
    """The socket to listen at; uvicorn itself would end the process where it cannot."""
    host = "127.0.0.1" if listen.host == "localhost" else listen.host
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, listen.port))
    except OSError as error:
        listening.close()
        raise UsageError(
            f"cannot listen at {listen.host}:{listen.port}: {error.strerror or error}; choose another address"
        ) from None
    return listening


class _Server(uvicorn.Server):
    """Says when it listens. A person's Ctrl-C is no failure: uvicorn would raise the signal again at its end.

    Not `processes.stop_signals`: what a second signal does is uvicorn's own affair.
    """

    def __init__(
        self, config: uvicorn.Config, ready: Callable[[], object], closing: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._closing = closing

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._closing()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def _url(listening: socket.socket, listen: Listen) -> str:
    port = listening.getsockname()[1]
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    return f"{'https' if listen.tls_cert else 'http'}://{host}:{port}"
