"""docs/validation.md says what the code does."""

from __future__ import annotations

import subprocess
import sys

from lipika.validation import RULES
from places import ROOT


def test_the_tables_are_in_step() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "scripts" / "make_validation_docs.py", "--check"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_code_is_explained() -> None:
    page = (ROOT / "docs" / "validation.md").read_text("utf-8")
    assert [code for code in RULES if f"| `{code}` |" not in page] == []
