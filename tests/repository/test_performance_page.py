"""`docs/performance.md` says what the results say, and shows plots that are there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import report, setting, table_sizes
from benchmarks.setting import REPOSITORY


def test_the_page_is_in_step_with_the_results() -> None:
    assert report.PAGE.read_text("utf-8") == report.page(), "run python -m benchmarks report"


def test_a_result_row_stays_small() -> None:
    """What others heard and say lies beside it."""
    held = json.loads((setting.RESULTS / "table_sizes.json").read_text("utf-8"))
    sizes = {each["table"]: each["table_bytes"] + each["index_bytes"] for each in held["tables"]}
    assert sizes["transcription_results"] <= table_sizes.RESULT_BYTES == 1_950
    assert "transcription_voters" in sizes


def test_its_plots_are_there() -> None:
    images = re.findall(r"!\[[^]]*\]\(([^)]+)\)", report.page())
    missing = [image for image in images if not (report.PAGE.parent / image).exists()]
    assert not missing, "run python -m benchmarks report"


def test_its_commands_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    for command, _what, _about in report.COMMANDS:
        if command.startswith("make "):
            assert f"\n{command.removeprefix('make ')}:" in makefile
        else:
            module = REPOSITORY / command.removeprefix("python -m ").split()[0].replace(".", "/")
            assert module.is_dir() or module.with_suffix(".py").exists(), command


def test_a_result_of_another_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "soak.json").write_text('{"minutes": 2}')
    monkeypatch.setattr(setting, "RESULTS", tmp_path)
    with pytest.raises(setting.Outdated, match=r"soak\.json"):
        report.page()


def test_sections_without_results_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setting, "RESULTS", tmp_path)
    text = report.page()
    assert "## Measure it yourself" in text
    assert "## End to end" not in text
