"""Tests lie where a reader looks for them: by package, quick ones apart, what they share in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from order import LONGEST_FIRST
from places import KITS, ROOT, TESTS

PACKAGES = {path.parent.name for path in (ROOT / "src" / "lipika").glob("*/__init__.py")}
OTHERS = {"ground", "kits", "repository", "world"}
"""The flat modules; what tests share; the repository itself, docs and benchmarks; inputs that nobody here made."""

SERVER_KITS = {
    "board_kit", "bucket_kit", "command_kit", "embedded_kit", "fleet_kit", "gateway_kit", "http_kit", "pooler",
    "postgres_kit", "s3_kit", "strict_s3", "tls_kit", "vast_kit",
}  # fmt: skip
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SERVER_FIXTURES = {"database", "database_url", "empty_database_url", "postgres_url"}
FILES = sorted(TESTS.rglob("*.py"))
QUICK = [path for path in FILES if path.parent.parent == TESTS and path.parent.name not in {"kits", "world"}]


def imported(path: Path) -> set[str]:
    """The modules that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def parameters(path: Path) -> set[str]:
    """The names of all that the functions of a file take, fixtures among them."""
    functions = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, FUNCTIONS)]
    return {argument.arg for function in functions for argument in function.args.args}


def test_folders_are_named_after_packages() -> None:
    folders = {path.parent.relative_to(TESTS).parts for path in FILES} - {()}
    assert {parts[0] for parts in folders} - OTHERS <= PACKAGES
    assert {parts[1:] for parts in folders} == {(), ("servers",)}
    assert {path.name for path in TESTS.glob("*.py")} == {"conftest.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_nothing_is_imported_from_tests(path: Path) -> None:
    assert [name for name in imported(path) if name.startswith("test_")] == []


def test_what_is_shared_lies_in_kits() -> None:
    strays = [
        path
        for path in FILES
        if not path.name.startswith(("test_", "conftest"))
        and path.parent != KITS
        and path.parent != TESTS / "world"
    ]
    assert strays == []


def test_quick_tests_start_no_server() -> None:
    assert len(QUICK) > 40
    assert {path.name: found for path in QUICK if (found := imported(path) & SERVER_KITS)} == {}
    assert {path.name: found for path in QUICK if (found := parameters(path) & SERVER_FIXTURES)} == {}


def test_the_longest_files_are_still_where_their_order_says() -> None:
    assert [name for name in LONGEST_FIRST if not (TESTS / f"{name}.py").is_file()] == []
    assert len(set(LONGEST_FIRST)) == len(LONGEST_FIRST)
