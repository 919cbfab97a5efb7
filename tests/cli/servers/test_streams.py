"""What stands at the other end of stdin, stdout and stderr costs no work: real processes, pipes, terminals, disks."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from fleet_kit import rows
from lipika import machine
from lipika.db import Database, Queue
from lipika.jobs.demo import sample_folder
from lipika.models import NewVideo

FAST = {"BATCH_INTERVAL_SECONDS": "5", "LIVE_SECONDS": "0.5", "PROVIDER": "simulator"}
LONG_S = 110.0


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder, CorpusPlan(videos=3, segments=6, seconds=(1.5, 4.0)), sample_folder())
    return folder


def environment(**further: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}}
    return kept | FAST | further


def lipika(*arguments: str | Path, env: dict[str, str], **streams: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "lipika", *map(str, arguments)]
    return subprocess.run(command, env=env, timeout=LONG_S, **streams)


def shell(line: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`lipika` in it is ours."""
    ours = f'lipika() {{ "{sys.executable}" -m lipika "$@"; }}\nset -o pipefail\n{line}'
    return subprocess.run(["bash", "-c", ours], env=env, capture_output=True, text=True, timeout=LONG_S)


def enqueue(corpus: Path, out: Path, url: str) -> None:
    videos = [
        NewVideo(tar.stem, str(tar), str(out / f"{tar.stem}_transcribed.tar")) for tar in corpus.glob("*.tar")
    ]

    async def add() -> None:
        async with Database(url) as database:
            await Queue(database).add(videos)

    asyncio.run(add())


def full_pipe() -> tuple[int, int]:
    """(read end, write end) of a pipe that has no room left, as with a reader that has stalled."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"." * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    return reader, writer


def done(url: str, out: Path) -> bool:
    """Whether the whole corpus is finished, in the database and on disk."""
    statuses = [row.status for row in rows(url, "select status from video_queue")]
    return statuses == ["done"] * 3 and len(list(out.glob("*_transcribed.tar"))) == 3


# ----------------------------------------------------------------------------- a log that nobody takes


def test_a_reader_that_stalls_costs_lines_and_no_work(
    corpus: Path, tmp_path: Path, database_url: str
) -> None:
    reader, writer = full_pipe()
    out, env = tmp_path / "out", environment(DATABASE_URL=database_url)
    try:
        ended = lipika(
            *("run", corpus, "--out", out, "--json-logs", "--json"),
            env=env,
            stdout=subprocess.PIPE,
            stderr=writer,
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["done"] == 3
    assert done(database_url, out)


def test_a_terminal_that_is_paused_stops_nothing(corpus: Path, tmp_path: Path, database_url: str) -> None:
    """As Ctrl-S leaves it: nothing is taken from the other side, while the panel is drawn four times a second."""
    ours, theirs = pty.openpty()
    out, env = tmp_path / "out", environment(DATABASE_URL=database_url, TERM="xterm", COLUMNS="200")
    os.set_blocking(theirs, False)
    try:
        while True:
            os.write(theirs, b"." * 512)
    except BlockingIOError:
        os.set_blocking(theirs, True)
    try:
        ended = lipika("run", corpus, "--out", out, env=env, stdout=subprocess.DEVNULL, stderr=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert ended.returncode == 0
    assert done(database_url, out)


@pytest.mark.parametrize(
    "sink", ["2>/dev/full", "2>&1 >/dev/null | true", "2>&-", "2>&1 >/dev/null | head -c 1"]
)
def test_a_log_that_is_lost_loses_no_work(corpus: Path, tmp_path: Path, database_url: str, sink: str) -> None:
    out, env = tmp_path / "out", environment(DATABASE_URL=database_url)
    enqueue(corpus, out, database_url)
    ended = shell(f"lipika worker --until-empty {sink}", env)
    assert ended.returncode == 0, ended.stderr
    assert done(database_url, out)


@pytest.mark.parametrize("as_json", [False, True])
def test_dropped_lines_are_counted(as_json: bool) -> None:
    """Ten megabytes for a reader that looks only afterwards: the rest of them is accounted for."""
    script = f"""
import sys
from lipika.cli import streams
with streams.standard_streams():
    streams.log_as_json(json_logs={as_json})
    for n in range(100_000):
        sys.stderr.write(f"line {{n}} {{'.' * 90}}\\n")
    print("written", flush=True)
    sys.stdin.readline()
    sys.stderr.settle(60)
    sys.stderr.write("the last one\\n")
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout
    assert child.stdout.readline() == "written\n"  # though nobody has read a line of the log
    _, said = child.communicate("go on\n", timeout=LONG_S)
    lines = said.splitlines()
    kept = sum(line.startswith("line ") for line in lines)
    assert 1_000 < kept < 30_000
    assert lines[-1] == "the last one"
    told = [json.loads(line) for line in lines if line.startswith("{")]
    dropped = (
        sum(one["lines"] for one in told)
        if as_json
        else sum(
            int(found[1].replace(",", ""))
            for line in lines
            if (found := re.match(r"\[([\d,]+) lines dropped", line))
        )
    )
    assert kept + dropped == 100_000


# ----------------------------------------------------------------------------- results that nobody takes


@pytest.mark.parametrize("form", ["", "--json"])
def test_a_reader_who_has_had_enough_is_no_failure(
    corpus: Path, tmp_path: Path, database_url: str, form: str
) -> None:
    out, env = tmp_path / "out", environment(DATABASE_URL=database_url)
    for reader in ("head -1", "true"):
        ended = shell(f"lipika run '{corpus}' --out '{out}' {form} | {reader}", env)
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr
    assert done(database_url, out)


def test_results_that_do_not_fit_on_the_disk_are_told(
    corpus: Path, tmp_path: Path, database_url: str
) -> None:
    out, env = tmp_path / "out", environment(DATABASE_URL=database_url)
    for command in (
        f"lipika run '{corpus}' --out '{out}' --json",
        "lipika status",
        "lipika queue status --json",
    ):
        ended = shell(f"{command} >/dev/full", env)
        assert ended.returncode == 3
        assert "standard output could not be written: No space left" in ended.stderr
        assert "Traceback" not in ended.stderr
    assert done(database_url, out)


def test_watching_ends_with_its_reader(database_url: str) -> None:
    ended = shell("lipika status --watch --json | head -1", environment(DATABASE_URL=database_url))
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)


# ----------------------------------------------------------------------------- closed streams, other locales

COMMANDS = ("version", "doctor", "status", "queue list", "db check", "nonsense")
ANSWERS = {0, 1, 2}
"""Exit codes: done, found something, asked wrongly. A crash is 1 too, but has a traceback."""


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
def test_no_command_aborts_because_a_stream_is_closed(database_url: str, closed: str) -> None:
    env = environment(DATABASE_URL=database_url)
    for command in COMMANDS:
        ended = shell(f"lipika {command} {closed}", env)
        assert ended.returncode in ANSWERS, (command, ended.stderr)
        assert "Traceback" not in ended.stderr, command


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
def test_the_main_job_needs_none_of_the_streams(
    corpus: Path, tmp_path: Path, open_dir: Path, closed: str
) -> None:
    """With an embedded Postgres, whose supervisor and server inherit nothing that was opened in their place."""
    out = tmp_path / "out"
    data = open_dir / f"streams {len(closed)}"
    ended = shell(f"lipika run '{corpus}' --out '{out}' --data-dir '{data}' {closed}", environment())
    assert ended.returncode == 0, ended.stderr
    assert len(list(out.glob("*_transcribed.tar"))) == 3


NO_UTF8 = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def test_no_command_needs_a_utf8_locale(database_url: str) -> None:
    for command in COMMANDS:
        ended = shell(f"lipika {command}", environment(DATABASE_URL=database_url) | NO_UTF8)
        assert ended.returncode in ANSWERS, (command, ended.stderr)
        assert "Traceback" not in ended.stderr, command


def test_the_main_job_with_names_that_the_locale_does_not_know(
    corpus: Path, tmp_path: Path, database_url: str
) -> None:
    named = tmp_path / "हिन्दी में"
    named.mkdir()
    (named / "कहानी.tar").write_bytes(min(corpus.glob("*.tar")).read_bytes())
    env = environment(DATABASE_URL=database_url) | NO_UTF8
    ended = shell(f"lipika run '{named}' --out '{named}/out' --json", env)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["outputs"][0].endswith("हिन्दी में/out/कहानी_transcribed.tar")
    assert (named / "out" / "कहानी_transcribed.tar").is_file()


# ----------------------------------------------------------------------------- what a machine has no more of


def _group(error: Exception) -> Exception:
    return ExceptionGroup("of a task group", [error])


@pytest.mark.parametrize("around", [lambda error: error, _group])
@pytest.mark.parametrize(
    ("error", "word"),
    [
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "ulimit -u"),
        (OSError(24, "Too many open files"), "ulimit -n"),
        (MemoryError(), "no memory"),
    ],
)
def test_what_ran_out_is_named(error: Exception, word: str, around: Callable[[Exception], Exception]) -> None:
    assert word in (machine.exhausted_resource(around(error)) or "")


def test_a_defect_of_ours_is_not_taken_for_the_machines(corpus: Path) -> None:
    assert machine.exhausted_resource(RuntimeError("dictionary changed size")) is None
    assert machine.exhausted_resource(FileNotFoundError(2, str(corpus))) is None


def test_too_few_open_files_are_an_answer(database_url: str) -> None:
    ended = shell("ulimit -n 9; lipika status", environment(DATABASE_URL=database_url))
    assert ended.returncode in {2, 3}, ended.stderr
    assert ended.stderr.strip()


@pytest.mark.parametrize("command", ["run {corpus} --out {out}", "demo --out {out}", "doctor", "status"])
def test_too_few_processes_are_an_answer(
    command: str, corpus: Path, tmp_path: Path, database_url: str
) -> None:
    """OpenBLAS ended all of these with its own words and as if by Ctrl-C (130)."""
    env = environment(DATABASE_URL=database_url) | {"HOME": str(tmp_path)}
    lipika = f'"{sys.executable}" -m lipika {command.format(corpus=corpus, out=tmp_path / "out")}'
    ended = shell(f"exec {_as_ordinary_user()} prlimit --nproc=1 {lipika}", env)
    if command in {"doctor", "status"}:  # one process is enough for them
        assert ended.returncode in {0, 1}, ended.stderr
    else:
        assert ended.returncode in {2, 3}, ended.stderr
        assert "ulimit -u" in ended.stderr
    assert "Traceback" not in ended.stderr


def _as_ordinary_user() -> str:
    """For root, whom no such limit binds: another user, who may yet read and write what is ours."""
    if os.geteuid():
        return ""
    rights = "+dac_override"
    return f"setpriv --reuid 65534 --clear-groups --inh-caps {rights} --ambient-caps {rights}"
