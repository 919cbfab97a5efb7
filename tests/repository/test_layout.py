"""Tests lie where a reader looks for them: by package, quick ones apart, what they share in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from places import KITS, ROOT, TESTS

PACKAGES = {path.parent.name for path in (ROOT / "src" / "lipika").glob("*/__init__.py")}
OTHERS = {"ground", "kits", "repository", "world"}
"""The flat modules; what tests share; the repository itself, docs and benchmarks; inputs that nobody here made."""

SERVER_KITS = {
    "board_kit", "bucket_kit", "command_kit", "embedded_kit", "fleet_kit", "gateway_kit", "http_kit", "pooler",
    "strict_s3",
}  # fmt: skip
FILES = [path for path in sorted(TESTS.rglob("*.py")) if KITS not in path.parents]


def imported(path: Path) -> set[str]:
    """The modules that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_folders_are_named_after_packages() -> None:
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert folders - OTHERS <= PACKAGES
    assert {path.name for path in TESTS.glob("*.py")} == {"conftest.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_nothing_is_imported_from_tests(path: Path) -> None:
    assert [name for name in imported(path) if name.startswith("test_")] == []


def test_what_is_shared_lies_in_kits() -> None:
    strays = [
        path
        for path in FILES
        if not path.name.startswith(("test_", "conftest")) and path.parent != TESTS / "world"
    ]
    assert strays == []


def test_quick_tests_start_no_server() -> None:
    quick = [path for path in FILES if path.parent.name not in {"servers", "world"} and path.parent != TESTS]
    assert len(quick) > 40
    assert {path.name: found for path in quick if (found := imported(path) & SERVER_KITS)} == {}
