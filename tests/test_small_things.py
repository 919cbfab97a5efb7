"""Small things a person meets on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_kit import a_gateway
from lipika import __version__
from lipika.cli import app
from lipika.demo import sample_folder
from lipika.simulator.corpus import CorpusPlan, make_corpus
from test_made_up import lipika


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
        done = await lipika("run", str(archive), env=gateway.settings(tmp_path, database_url, OUTPUT_URL=out))
    assert done.returncode == 0, done.stderr
    assert f"Results: {out}" in done.stdout.replace("\n", "")
    assert "Next: lipika flags" in done.stdout
