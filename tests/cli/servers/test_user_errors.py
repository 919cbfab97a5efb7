"""What a person did wrong is one line, with no traceback; so is an archive that is not one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from command_kit import lipika
from fleet_kit import rows
from lipika import errors
from lipika.fleet.custody import is_defect
from lipika.machine import refused_resource

FILES = {
    "text": b"some text\n",
    "bad.tar": b"this is no archive at all\n" * 100,
    "bad.json": b"\xff\xfe{",
    "latin.txt": b"a\xff\xfeb\n",
}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    for name in ("folder", "folder.tar", "folder.txt", "folder.csv"):
        (tmp_path / name).mkdir()
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


LONG = "a" * 300
WITHOUT_A_DATABASE = [
    ("run", "missing.tar", "--out", "out"),
    ("run", LONG, "--out", "out"),
    ("run", "folder.tar", "--out", "out"),
    ("run", "loop", "--out", "out"),
    ("run", "bad.tar", "--out", "out", "--data-dir", "text"),
    ("run", "bad.tar", "--out", "out", "--data-dir", "text/below"),
    ("demo", "--out", "text"),
    ("demo", "--out", "text/below"),
    ("demo", "--out", "loop"),
    ("queue", "language", "xx", "video"),
    ("simulator", "--host", "nowhere.."),
]


@pytest.mark.parametrize("words", WITHOUT_A_DATABASE, ids=lambda words: " ".join(words)[:60])
def test_a_mistake_is_one_line(words: tuple[str, ...], here: Path) -> None:
    told = lipika(*words, cwd=here, env={"PROVIDER": "simulator"}, timeout=60)
    assert told.returncode in {1, 2, 3}, told.stderr
    assert "Traceback" not in told.stdout + told.stderr
    (line,) = told.stderr.strip().splitlines()
    assert line.startswith(("lipika", words[-1]))


@pytest.mark.parametrize("at", [":memory:", "not a url", "mysql://h/x", "postgres://u:p@127.0.0.1:99999/x"])
def test_a_wrong_database_url_is_one_line(at: str, here: Path) -> None:
    told = lipika("status", cwd=here, env={"DATABASE_URL": at}, timeout=60)
    assert told.returncode in {2, 3}, told.stderr
    assert len(told.stderr.strip().splitlines()) == 1, told.stderr


def test_a_place_for_results_that_needs_settings_is_asked_for_before_anything_begins(
    here: Path, database_url: str
) -> None:
    told = lipika(
        *("run", "bad.tar", "--out", "s3://bucket/out"),
        cwd=here,
        env={"PROVIDER": "simulator", "DATABASE_URL": database_url},
    )
    assert told.returncode == 2
    assert len(told.stderr.strip().splitlines()) == 1, told.stderr
    assert rows(database_url, "select * from video_queue") == []


def test_a_video_whose_content_is_at_fault_is_one_line_of_the_log(here: Path, database_url: str) -> None:
    """Its traceback is kept where defects are looked for."""
    told = lipika(
        *("run", "bad.tar", "--out", "out"),
        cwd=here,
        env={"PROVIDER": "simulator", "DATABASE_URL": database_url},
    )
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    ((code, reason),) = rows(database_url, "select error_code, error_message from video_queue")
    (line,) = [line for line in told.stderr.splitlines() if "bad" in line]
    assert code in line
    assert reason in line
    assert f"FAILED  {reason}" in told.stdout
    (kept,) = rows(database_url, "select * from worker_errors")
    assert kept.exception_type == "ArchiveError"
    assert kept.traceback.startswith("Traceback")


@pytest.mark.parametrize(
    ("error", "defect"),
    [
        (errors.ArchiveError("not_tar", "m"), False),
        (errors.VideoError("x", "m"), False),
        (errors.SegmentError("x", "m"), False),
        (errors.SettingsError("m"), False),
        (errors.OutputRefused("m"), False),
        (errors.WorkerStop("m"), False),
        (errors.DatabaseUnavailable("m"), False),
        (MemoryError(), False),
        (errors.AccountingError("m"), True),
        (errors.DatabaseError("m"), True),
        (KeyError("m"), True),
        (ExceptionGroup("m", [ValueError("m")]), True),
    ],
)
def test_what_is_a_defect(error: Exception, defect: bool) -> None:
    assert is_defect(error) is defect


def test_what_the_system_refuses_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError) as found:  # noqa: PT011 - whichever it is
        (tmp_path / "missing" / "file").read_bytes()
    assert refused_resource(found.value) == f"{tmp_path}/missing/file: {os.strerror(2)}"
    assert refused_resource(OSError("odd")) is None
    assert refused_resource(BrokenPipeError(32, "Broken pipe")) is None


def test_a_host_that_cannot_be_one_is_named(here: Path, database_url: str) -> None:
    told = lipika(
        *("worker", "--until-empty", "--quiet"),
        cwd=here,
        env={
            "PROVIDER": "simulator",
            "DATABASE_URL": database_url,
            "METRICS_PORT": "9123",
            "METRICS_HOST": "nowhere..",
        },
    )
    assert told.returncode == 2
    (line,) = told.stderr.strip().splitlines()
    assert line.startswith("lipika: METRICS_PORT: nowhere..:9123")
