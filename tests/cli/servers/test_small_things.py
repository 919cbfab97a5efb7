"""Small things a person meets on the way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from command_kit import lipika_beside
from fleet_kit import rows
from gateway_kit import a_gateway
from lipika import __version__
from lipika.cli.main import app
from lipika.jobs.demo import sample_folder
from lipika.processes import stop_signals
from order import LONGEST_FIRST
from places import TESTS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--version",), f"lipika {__version__}"),
        (("-h",), "--install-completion"),
        (("run", "-h"), "--force-language"),
        (("queue", "add", "-h"), "--from-table"),
        (("simulator", "--help"), "usage: lipika simulator"),
        (("simulator", "-h"), "usage: lipika simulator"),
    ],
)
def test_what_people_try_first(words: tuple[str, ...], said: str) -> None:
    found = CliRunner().invoke(app, words)
    assert (found.exit_code, said in found.output) == (0, True), found.output


async def test_the_summary_says_where_results_are_and_what_comes_next(
    tmp_path: Path, database_url: str
) -> None:
    (archive,) = make_corpus(tmp_path / "in", CorpusPlan(1, 2, (2.2, 2.8)), sample_folder())
    async with a_gateway() as gateway:
        out = str(tmp_path / "out")
        done = await lipika_beside(
            "run", str(archive), env=gateway.settings(tmp_path, database_url, OUTPUT_URL=out)
        )
    assert done.returncode == 0, done.stderr
    assert f"Results: {out}" in done.stdout.replace("\n", "")
    assert "Next: lipika flags" in done.stdout


async def test_the_summary_ends_with_hours_findings_and_the_next_step(
    tmp_path: Path, database_url: str
) -> None:
    """Of this run's videos, whatever else the database holds; the same in words and as fields."""
    earlier, ours = (sample_folder() / f"{language}_sample.tar" for language in ("bn", "ur"))
    env = {"PROVIDER": "simulator", "DATABASE_URL": database_url, "BATCH_INTERVAL_SECONDS": "2"}
    for archive in (earlier, ours):
        done = await lipika_beside("run", str(archive), "--out", str(tmp_path / "out"), "--json", env=env)
        assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    stored = rows(
        database_url,
        "select *, coalesce(nullif(expected_language_hint, ''), detected_language, 'unknown') as spoken"
        " from transcription_results where video_id = %s",
        ours.stem,
    )
    told = {row["language"]: row for row in summary["lanes"]}
    assert set(told) == {row.spoken for row in stored}
    for language, row in told.items():
        clips = [clip for clip in stored if clip.spoken == language]
        assert row["clips"] == len(clips)
        assert row["hours"] == pytest.approx(sum(clip.duration_ms for clip in clips) / 3_600_000)
        for lane in ("asr", "tts_clean", "tts_expressive"):
            admitted = [clip.duration_ms for clip in clips if getattr(clip, f"{lane}_eligible")]
            assert row[lane] == pytest.approx(sum(admitted) / 3_600_000)
    counts = Counter(
        key for clip in stored for key in {(found["code"], found["severity"]) for found in clip.findings}
    )
    assert {(row["code"], row["severity"]): row["clips"] for row in summary["findings"]} == counts
    assert counts

    words = (await lipika_beside("run", str(ours), "--out", str(tmp_path / "out"), env=env)).stdout
    (language, *_rest) = told
    assert f"{told[language]['hours']:.3f}" in words
    assert all(word in words for word in ("hours of", "asr", "tts_clean", "tts_expressive"))
    ((code, _severity), count), *_others = counts.most_common()
    assert f"{code} {count}" in words
    assert words.rstrip().splitlines()[-1] == f"Next: {summary['next_step']}"


def test_the_long_tests_that_go_first_are_there() -> None:
    assert [name for name in LONGEST_FIRST if not (TESTS / f"{name}.py").is_file()] == []


async def test_the_first_signal_is_a_request_and_the_second_an_order() -> None:
    seen: list[str] = []
    with stop_signals(lambda: seen.append("drain"), lambda: seen.append("stop")):
        for number, expected in ((signal.SIGTERM, 1), (signal.SIGINT, 2), (signal.SIGTERM, 3)):
            os.kill(os.getpid(), number)
            async with asyncio.timeout(10):
                while len(seen) < expected:
                    await asyncio.sleep(0.01)
    assert seen == ["drain", "stop", "stop"]
