"""Keeps one embedded Postgres alive for as long as any process uses it. Run as a script by `embedded.py`.

No user of the server may be its parent, since any of them can be killed at any moment; so this small process
(standard library only) is. Three files are locked with flock, which the kernel gives back however a process ends:

    users.lock       shared, by every process that uses the server; when the supervisor gets it for itself,
                     the last user has gone and the server is stopped
    supervisor.lock  by the one supervisor of this folder
    server.lock      inherited by every process of the server: whoever gets it knows that none is left and that
                     a `postmaster.pid` still lying there is stale, even if its number now names another process

On Linux the kernel tells the server to stop should the supervisor itself be killed; then its users start another.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar("T")

ROLE = "lipika"
POLL_SECONDS = 0.1  # how soon the supervisor sees that the last user has gone, or that the server has died
START_SECONDS = 300.0  # crash recovery replays up to max_wal_size first
STOP_SECONDS = 30.0  # for each of the ways to stop a server; the first one writes a checkpoint
RESTART_SECONDS = 1.0  # pause between attempts to bring a crashed server back
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in <linux/prctl.h>

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "wal_level": "minimal",  # nobody replicates from this server
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "jit": "off",
    # Parallel plans need shared memory in /dev/shm, of which a container has 64 MB.
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",  # embedded.py explains failures by their English text
    "cluster_name": "lipika",
}


class StartFailed(Exception):
    """Postgres did not come up; the text is the end of its log."""


@dataclass(frozen=True, slots=True)
class State:
    """The facts that a user needs to connect. The port outlives restarts where nobody else has taken it."""

    password: str
    port: int = 0
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one embedded server and the files in it."""

    folder: Path

    @property
    def users(self) -> Path:
        return self.folder / "users.lock"

    @property
    def supervisor(self) -> Path:
        return self.folder / "supervisor.lock"

    @property
    def server(self) -> Path:
        return self.folder / "server.lock"

    @property
    def state(self) -> Path:
        return self.folder / "server.json"

    @property
    def cluster(self) -> Path:
        return self.folder / "cluster"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def read_state(self) -> State | None:
        try:
            return State(**json.loads(self.state.read_bytes()))
        except FileNotFoundError:
            return None

    def write_state(self, state: State) -> None:
        """Replace the state file at once; it holds the password, so only its owner may read it."""
        draft = self.state.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(state), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.state)


@dataclass(frozen=True, slots=True)
class Job:
    """The server that the supervisor is asked to run. `uid` and `gid` are set where Postgres must not run as root."""

    folder: str
    bin: str
    major: int
    uid: int | None
    gid: int | None
    settings: dict[str, str]


def try_lock(path: Path, kind: int = fcntl.LOCK_EX) -> int | None:
    """Lock a file without waiting; returns the descriptor that holds the lock, or None."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def wait_for(attempt: Callable[[], T | None], seconds: float) -> T | None:
    """Repeat an attempt every few milliseconds until it gives something or time is up."""
    deadline = time.monotonic() + seconds
    while (result := attempt()) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return result


def free_port(preferred: int) -> int:
    """The preferred loopback port if nobody listens there, else any free one."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StartFailed("no free port on 127.0.0.1")


class Server:
    """The Postgres of one folder as a child of this process."""

    def __init__(self, job: Job, home: Home, log: IO[bytes]) -> None:
        self._job = job
        self._home = home
        self._log = log
        self._log_start = 0  # where the output of the program started last begins
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def has_died(self) -> bool:
        return self._child is not None and self._child.poll() is not None

    def start(self) -> None:
        """Create the cluster if there is none, start the server, wait until it answers, publish its port.

        Raises:
            StartFailed: with the end of the log.
        """
        state = replace(self._home.read_state() or State(secrets.token_urlsafe(24)), ready=False)
        self._home.write_state(state)
        self._create_cluster(state.password)
        port = self._start_on_free_port(state.port)
        self._home.write_state(State(state.password, port, ready=True))

    def _start_on_free_port(self, preferred: int) -> int:
        """Start the server; a port that is taken between our look and its own costs another try."""
        for tries_left in (2, 1, 0):
            lock = self._take_server_lock()
            try:
                (self._home.cluster / "postmaster.pid").unlink(missing_ok=True)
                port = free_port(preferred)
                self._child = self._spawn("postgres", self._arguments(port), inherit=lock)
            finally:
                os.close(lock)  # from here on only the server's own processes hold it
            try:
                self._wait_until_ready()
                break
            except StartFailed as error:
                if not tries_left or "could not bind" not in str(error):
                    raise
        return port

    def stop(self) -> None:
        """Fast shutdown, then immediate, then by force; returns when the child is gone."""
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if self._child is None or self.has_died:
                return
            self._child.send_signal(number)
            wait_for(lambda: self.has_died or None, STOP_SECONDS)

    def _take_server_lock(self) -> int:
        lock = wait_for(lambda: try_lock(self._home.server), 2.0)
        if lock is None and sys.platform != "linux":
            # Without a parent-death signal the server of a killed supervisor lives on: the lock proves it does.
            pid_file = self._home.cluster / "postmaster.pid"
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGINT)
        lock = lock if lock is not None else wait_for(lambda: try_lock(self._home.server), STOP_SECONDS)
        if lock is None:
            raise StartFailed("processes of an earlier server still run in this folder")
        return lock

    def _create_cluster(self, password: str) -> None:
        """Run initdb in a draft folder, so that a crash half-way leaves nothing that looks like a cluster."""
        if self._home.cluster.exists():
            return
        draft, secret = self._home.folder / "cluster.new", self._home.folder / "initdb.password"
        shutil.rmtree(draft, ignore_errors=True)
        secret.unlink(missing_ok=True)
        draft.mkdir(mode=0o700)
        try:
            with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(password)
            for path in (draft, secret):
                if self._job.uid is not None and self._job.gid is not None:
                    os.chown(path, self._job.uid, self._job.gid)
            if self._spawn("initdb", self._initdb_arguments(draft, secret)).wait() != 0:
                raise StartFailed(self._log_tail())
        finally:
            secret.unlink(missing_ok=True)
        draft.rename(self._home.cluster)

    def _initdb_arguments(self, draft: Path, secret: Path) -> list[str]:
        utf8 = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self._job.major >= 17 else []
        sync = ["--no-sync"] if self._job.settings.get("fsync") == "off" else []
        return [
            *("-D", str(draft), "-U", ROLE, "-A", "scram-sha-256", f"--pwfile={secret}"),
            *("--encoding=UTF8", "--locale=C", "--no-instructions", *utf8, *sync),
        ]

    def _arguments(self, port: int) -> list[str]:
        settings = {**SETTINGS, **self._job.settings, "port": str(port)}
        arguments = ["-D", str(self._home.cluster)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        return arguments

    def _spawn(
        self, program: str, arguments: list[str], inherit: int | None = None
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own binaries
            [str(Path(self._job.bin) / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd="/",
            pass_fds=() if inherit is None else (inherit,),
            start_new_session=True,
            user=self._job.uid,
            group=self._job.gid,
            extra_groups=None if self._job.uid is None else [],
            preexec_fn=_die_with_parent(),  # noqa: PLW1509 - this process has one thread
        )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self.has_died or time.monotonic() > deadline:
                raise StartFailed(self._log_tail())
            time.sleep(0.01)

    def _is_ready(self) -> bool:
        """Postgres writes its state into line 8 of its pid file, as pg_ctl relies on too."""
        try:
            lines = (self._home.cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _log_tail(self) -> str:
        """The last lines that the program started last has written."""
        written = self._home.log.read_bytes()[self._log_start :].decode(errors="replace")
        return "\n".join(written.splitlines()[-12:])


def _die_with_parent() -> Callable[[], None] | None:
    """A function that a child calls before exec so that the kernel stops it with its parent (Linux; else None).

    To be set after the change of user, which clears it.
    """
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def prepare() -> None:
        prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def supervise(job: Job, report: Callable[[str], None]) -> None:
    """Run the server until its last user has gone. Reports `ready`, `busy` or `failed <log>` once."""
    home = Home(Path(job.folder))
    if wait_for(lambda: try_lock(home.supervisor), 0.5) is None:
        report("busy")
        return
    if home.log.exists():
        home.log.replace(home.log.with_suffix(".log.1"))
    with home.log.open("ab") as log:
        os.dup2(log.fileno(), 2)
        server = Server(job, home, log)
        try:
            server.start()
            report("ready")
            while try_lock(home.users) is None:
                time.sleep(POLL_SECONDS)
                if server.has_died:
                    _bring_back(server)
        except (StartFailed, OSError) as error:
            report(f"failed {error}")
        finally:
            server.stop()
    # The locks go with the process: whoever waits for them sees a server that is gone.


def _bring_back(server: Server) -> None:
    """Start a crashed server again under the same URL; its users wait and retry meanwhile."""
    try:
        server.start()
    except (StartFailed, OSError):
        time.sleep(RESTART_SECONDS)


def main() -> None:
    job = Job(**json.load(sys.stdin))
    if os.fork():
        os._exit(0)  # so that the process that asked never has to reap us
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Ends with its users, never before them. A function, since an ignored signal would stay ignored in Postgres.
        signal.signal(number, lambda *_: None)

    def report(text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # whoever asked may have been killed meanwhile
            os.write(1, text.encode())
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    supervise(job, report)


if __name__ == "__main__":
    main()
