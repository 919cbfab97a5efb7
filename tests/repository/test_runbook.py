"""The runbook knows every alert, every kind of failure and every reason for which a video fails."""

from __future__ import annotations

import re

import pytest
import yaml

from lipika.models import FailureKind
from places import ROOT

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text("utf-8")
SOURCES = "\n".join(path.read_text("utf-8") for path in (ROOT / "src" / "lipika").rglob("*.py"))


def section(title: str) -> set[str]:
    """What is named in code in the first cells of a section's table."""
    text = RUNBOOK.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return {
        name for cell in re.findall(r"(?m)^\| (`[^|]+) \|", text) for name in re.findall(r"`(\w+)`", cell)
    }


def rules() -> set[str]:
    document = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text("utf-8"))
    return {rule["alert"] for group in document["groups"] for rule in group["rules"]}


@pytest.mark.parametrize(
    ("title", "known"),
    [
        ("Alerts of Prometheus", rules()),
        ("Alerts of the workers", {*re.findall(r"_alert\(\s*\"(\w+)\"", SOURCES)}),
        ("Failures of requests", {kind.value for kind in FailureKind}),
    ],
)
def test_the_runbook_names_each_and_no_other(title: str, known: set[str]) -> None:
    assert known
    assert section(title) == known


def test_every_reason_of_a_broken_archive_is_in_the_runbook() -> None:
    files = (ROOT / "src" / "lipika" / "archive" / name for name in ("members.py", "tar.py"))
    raised = {
        code for file in files for code in re.findall(r"ArchiveError\(\s*\"(\w+)\"", file.read_text("utf-8"))
    }
    assert len(raised) > 6
    assert raised <= section("Failed videos")
