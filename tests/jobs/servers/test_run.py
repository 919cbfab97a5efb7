"""The main job as a user runs it: real processes, embedded Postgres, the simulator over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from command_kit import lipika
from lipika.archive import documents
from lipika.jobs.demo import sample_folder
from lipika.languages import FIRST_CLASS
from lipika.models import ClipStatus


def rows(url: str, query: str) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()


def read_tar(path: Path) -> tuple[dict[str, Any], list[str], list[Any]]:
    """(metadata, segment file names, results) of a result archive."""
    with tarfile.open(path) as tar:
        names = tar.getnames()
        metadata_file = tar.extractfile("metadata.json")
        assert metadata_file is not None
        metadata = json.load(metadata_file)
    with path.open("rb") as stream:
        results = list(documents.read_results(stream))
    assert names[0] == "metadata.json"
    return metadata, [name for name in names if name.startswith("segments/")], results


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder, CorpusPlan(videos=24, segments=40, seconds=(1.5, 6.0)), sample_folder())
    return folder


FAST = {"BATCH_INTERVAL_SECONDS": "5", "LIVE_SECONDS": "0.5", "PROVIDER": "simulator"}


def test_24_tars_of_40_segments_add_up_in_summary_database_and_tars(
    corpus: Path, tmp_path: Path, database_url: str
) -> None:
    out = tmp_path / "out put"
    done = lipika("run", str(corpus), "--out", str(out), "--json", env={**FAST, "DATABASE_URL": database_url})
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["videos"], summary["done"], summary["failed_videos"]) == (24, 24, 0)
    assert summary["segments"] == 24 * 40
    assert summary["simulated"] is True

    in_tars: Counter[str] = Counter()
    cost = 0.0
    for tar in sorted(out.glob("*.tar")):
        metadata, segments, results = read_tar(tar)
        accounting = metadata["transcription"]["accounting"]
        assert accounting["segments"] == 40
        assert accounting["segments"] == accounting["segments_polished"] + accounting["segments_discarded"]
        assert accounting["clips"] == sum(accounting[key] for key in ("transcribed", "no_speech", "failed"))
        assert metadata["language"] == metadata["transcription"]["language_hint"] == tar.name[:2]
        assert len(segments) == len(results) == accounting["clips"]
        assert [f"segments/{result.segment_file}" for result in results] == segments
        in_tars.update({key: accounting[key] for key in ("segments", "clips")})
        in_tars.update(result.status for result in results)
        cost += metadata["transcription"]["cost_usd"]
    assert len(list(out.glob("*.tar"))) == 24

    (queue,) = rows(
        database_url,
        "select count(*) videos, sum(segment_count) segments, sum(clip_count) clips, sum(segments_transcribed) ok,"
        " sum(segments_no_speech) silent, sum(segments_failed) failed, sum(segments_discarded) discarded"
        " from video_queue where status = 'done'",
    )
    by_status = {
        row["status"]: row["n"]
        for row in rows(database_url, "select status, count(*) n from transcription_results group by status")
    }
    (batches,) = rows(
        database_url,
        "select sum(segments_sent) sent, sum(segments_returned) returned, sum(cost_usd) cost,"
        " sum(prompt_tokens) prompt, sum(output_tokens) output from transcription_batches",
    )
    assert queue["videos"] == 24
    assert queue["segments"] == in_tars["segments"] == summary["segments"]
    assert queue["clips"] == in_tars["clips"] == summary["clips"] == sum(by_status.values())
    assert (
        queue["ok"] == in_tars[ClipStatus.TRANSCRIBED] == summary["transcribed"] == by_status["transcribed"]
    )
    assert queue["silent"] == summary["no_speech"] == by_status.get("no_speech", 0)
    assert queue["failed"] == summary["failed"] == by_status.get("failed", 0)
    assert queue["discarded"] == summary["discarded"]
    assert batches["sent"] == summary["requests"]
    assert batches["returned"] == summary["clips"] - summary["failed"]
    assert batches["prompt"] == summary["prompt_tokens"]
    assert batches["output"] == summary["output_tokens"]
    assert batches["cost"] == pytest.approx(summary["cost_usd"])
    assert cost == pytest.approx(summary["cost_usd"])

    languages = {
        row["expected_language_hint"] for row in rows(database_url, "select * from transcription_results")
    }
    assert languages == set(FIRST_CLASS)
    (worker,) = rows(database_url, "select * from workers")
    assert worker["status"] == "offline"
    assert worker["total_segments_sent"] == summary["requests"]


def test_a_second_run_asks_nothing_and_again_reuses_every_paid_answer(
    corpus: Path, tmp_path: Path, database_url: str
) -> None:
    env = {**FAST, "DATABASE_URL": database_url}
    command = ("run", str(corpus), "--out", str(tmp_path), "--limit", "2", "--json")
    first = json.loads(lipika(*command, env=env).stdout)
    second = json.loads(lipika(*command, env=env).stdout)
    assert (second["requests"], second["already_done"], second["done"]) == (0, 2, 2)
    before = {path.name: read_tar(path)[2] for path in tmp_path.glob("*.tar")}
    again = json.loads(lipika(*command, "--again", env=env).stdout)
    assert (again["requests"], again["already_done"], again["reused"]) == (0, 0, first["clips"])
    for name, results in before.items():
        redone = read_tar(tmp_path / name)[2]
        assert [result.answer for result in redone] == [result.answer for result in results]
        assert all(result.reused for result in redone)


def test_made_up_transcripts_are_never_taken_for_real_ones(
    corpus: Path, tmp_path: Path, database_url: str
) -> None:
    """Found by a reader of the README: a trial with the simulator left nothing to do for the real run."""
    from lipika.simulator import Latency, SimulatorConfig, running

    command = ("run", str(corpus), "--out", str(tmp_path), "--limit", "1", "--json")
    trial = json.loads(lipika(*command, env={**FAST, "DATABASE_URL": database_url}).stdout)
    assert trial["simulated"]

    async def for_real() -> Any:
        # Another loopback address: nothing tells the client that this is not the real service.
        config = SimulatorConfig(
            host="127.0.0.2", model_version="gemini-3-flash-preview", latency=Latency(0.02)
        )
        async with running(config) as service:
            env = {"DATABASE_URL": database_url, "GEMINI_API_KEY": "k" * 20, "GEMINI_BASE_URL": service.url}
            env["BATCH_INTERVAL_SECONDS"] = "5"
            return await asyncio.to_thread(lipika, *command, env=env)

    done = asyncio.run(for_real())
    real = json.loads(done.stdout)
    assert (real["simulated"], real["reused"], real["already_done"]) == (False, 0, 0)
    assert real["requests"] == real["clips"] == trial["clips"]
    (tar,) = tmp_path.glob("*.tar")
    assert {result.provenance.model_version for result in read_tar(tar)[2]} == {"gemini-3-flash-preview"}


def test_ctrl_c_keeps_what_was_answered_and_says_how_to_go_on(
    corpus: Path, tmp_path: Path, database_url: str
) -> None:
    command = ["run", str(corpus), "--out", str(tmp_path), "--limit", "4", "--json"]
    slow = {**FAST, "DATABASE_URL": database_url, "WORKER_BATCH_SIZE": "50", "BATCH_INTERVAL_SECONDS": "5"}
    clean = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "lipika", *command],
        env=clean | slow,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(300):
            if len(rows(database_url, "select 1 from transcription_results")) >= 10:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "run the same command again" in stderr
    assert json.loads(stdout)["interrupted"] is True
    kept = len(rows(database_url, "select 1 from transcription_results"))
    assert kept >= 10
    statuses = {row["status"] for row in rows(database_url, "select status from video_queue")}
    assert statuses <= {"pending", "done"}
    rest = json.loads(lipika(*command, env={**FAST, "DATABASE_URL": database_url}).stdout)
    assert rest["done"] == 4
    assert rest["requests"] == rest["clips"] - kept


def test_a_moved_archive_is_noticed_and_there_is_a_way_out(
    corpus: Path, tmp_path: Path, database_url: str
) -> None:
    env = {**FAST, "DATABASE_URL": database_url}
    tar = min(corpus.glob("*.tar"))
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "talk.tar").write_bytes(tar.read_bytes())
    assert lipika("run", str(here), "--out", str(tmp_path / "out"), env=env).returncode == 0
    detour = f"{there}/../here/talk.tar"
    assert lipika("run", detour, "--out", str(tmp_path / "out"), env=env).returncode == 0
    moved = lipika("run", str(there), "--out", str(tmp_path / "out"), env=env)
    assert moved.returncode == 2
    assert "lipika queue remove talk" in moved.stderr
    assert "--data-dir" not in moved.stderr  # DATABASE_URL names the database
    assert lipika("queue", "remove", "talk", env=env).returncode == 0
    assert lipika("run", str(there), "--out", str(tmp_path / "out"), env=env).returncode == 0


def test_a_run_writes_over_nothing(corpus: Path, tmp_path: Path, database_url: str) -> None:
    env = {**FAST, "DATABASE_URL": database_url}
    tar = min(corpus.glob("*.tar")).read_bytes()
    (tmp_path / "talk.tar").write_bytes(tar)
    archive = tmp_path / "talk_transcribed.tar"  # as somebody may call a recording
    archive.write_bytes(tar)
    (tmp_path / "link").symlink_to(tmp_path)
    for out in (tmp_path, tmp_path / "link"):
        done = lipika("run", str(tmp_path / "talk.tar"), str(archive), "--out", str(out), env=env)
        assert done.returncode == 2
        assert "would be written over" in done.stderr
    assert archive.read_bytes() == tar
    assert lipika("run", str(archive), "--out", str(tmp_path / "out"), env=env).returncode == 0
    later = lipika("run", str(tmp_path / "talk.tar"), "--out", str(tmp_path), env=env)
    assert later.returncode == 2
    assert "talk_transcribed's archive" in " ".join(later.stderr.split())
    assert archive.read_bytes() == tar


def test_results_that_are_gone_are_made_again(corpus: Path, tmp_path: Path, database_url: str) -> None:
    env = {**FAST, "DATABASE_URL": database_url}
    command = ("run", str(corpus), "--out", str(tmp_path), "--limit", "1", "--json")
    lipika(*command, env=env)
    (result,) = tmp_path.glob("*.tar")
    content = result.stat().st_size
    result.unlink()
    redone = json.loads(lipika(*command, env=env).stdout)
    assert (redone["requests"], redone["already_done"]) == (0, 0)
    assert result.stat().st_size == pytest.approx(content, rel=0.05)


def test_damaged_and_hostile_input_is_contained(corpus: Path, tmp_path: Path, database_url: str) -> None:
    inbox = tmp_path / "in"
    inbox.mkdir()
    good = min(corpus.glob("*.tar"))
    (inbox / "good.tar").write_bytes(good.read_bytes())
    (inbox / "cut.tar").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (inbox / "text.tar").write_bytes(b"this is no archive at all\n" * 100)
    (inbox / "empty.tar").write_bytes(b"")
    done = lipika(
        "run",
        str(inbox),
        "--out",
        str(tmp_path / "out"),
        "--json",
        env={**FAST, "DATABASE_URL": database_url},
    )
    assert done.returncode == 1
    summary = json.loads(done.stdout)
    assert (summary["done"], summary["failed_videos"]) == (1, 3)
    errors = dict(summary["errors"])
    assert set(errors) == {"cut", "text", "empty"}
    assert "breaks off" in errors["cut"]
    failed = rows(database_url, "select * from video_queue where status = 'failed'")
    assert all(row["error_message"] and row["error_code"] for row in failed)
    assert [path.name for path in (tmp_path / "out").glob("*.tar")] == ["good_transcribed.tar"]


def test_a_missing_key_is_one_sentence_with_the_way_out(corpus: Path, tmp_path: Path) -> None:
    done = lipika("run", str(corpus), "--out", str(tmp_path))
    assert done.returncode == 2
    assert "GEMINI_API_KEY" in done.stderr
    assert "--provider simulator" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "nowhere.tar", "--out", "x", "--provider", "simulator"), "nowhere.tar"),
        (("run", ".", "--out", "x", "--provider", "simulator"), "no .tar archives"),
        (("run", ".", "--provider", "simulator"), "--out"),
    ],
)
def test_wrong_arguments_are_explained(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lipika", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_key_stops_the_run_and_loses_nothing(corpus: Path, tmp_path: Path, database_url: str) -> None:
    from lipika.simulator import SimulatorConfig, running

    async def attempt() -> Any:
        async with running(SimulatorConfig(keys=("right-key",))) as simulator:
            return await asyncio.to_thread(
                lipika,
                "run",
                str(corpus),
                "--out",
                str(tmp_path),
                "--limit",
                "2",
                "--json",
                env={
                    "DATABASE_URL": database_url,
                    "GEMINI_API_KEY": "wrong-key-123456",
                    "GEMINI_BASE_URL": simulator.url,
                },
            )

    done = asyncio.run(attempt())
    assert done.returncode == 3
    assert "API key" in done.stderr
    summary = json.loads(done.stdout)
    assert "API key" in summary["stopped"]
    assert (summary["videos"], summary["done"], summary["requests"] > 0) == (2, 0, True)
    assert "wrong-key-123456" not in done.stderr + done.stdout
    statuses = {row["status"]: row["attempts"] for row in rows(database_url, "select * from video_queue")}
    assert statuses == {"pending": 0}
    assert not rows(database_url, "select * from transcription_results")
    dump = json.dumps(rows(database_url, "select * from worker_errors"), default=str)
    assert "wrong-key-123456" not in dump


def test_the_demo_runs_twice_on_embedded_defaults(open_dir: Path, tmp_path: Path) -> None:
    command = ("demo", "--out", str(tmp_path), "--data-dir", str(open_dir / "demo db"), "--json")
    for _ in range(2):
        done = lipika(*command)
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert (summary["videos"], summary["done"], summary["already_done"]) == (12, 12, 0)
        assert summary["clips"] == summary["transcribed"] + summary["no_speech"] > 50
        assert summary["no_speech"] >= 1
        assert summary["discarded"] >= 1
        assert len(list(tmp_path.glob("*_transcribed.tar"))) == 12
    shown = lipika(*command[:-1])
    assert "SIMULATED" in shown.stdout
    assert str(tmp_path) in shown.stdout.replace("\n", "")
