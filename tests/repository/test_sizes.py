"""Nothing is so long that a reader loses its beginning: classes, and functions apart from what commands take."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from places import ROOT

LONGEST_CLASS, LONGEST_FUNCTION = 380, 60
EXCEPT = {"Worker"}
"""The life of a worker reads from top to bottom."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
PLACES = ("src", "benchmarks", "scripts")


def definitions() -> Iterator[tuple[str, ast.ClassDef | Function]]:
    for place in PLACES:
        for file in sorted((ROOT / place).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.ClassDef | Function):
                    yield f"{file.relative_to(ROOT)}: {node.name}", node


def lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def body_lines(function: Function) -> int:
    """Those of its own: without its options, its docstring and the commands that are defined in it."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 0
    whole = (body[-1].end_lineno or 0) - body[0].lineno + 1
    inner = sum(lines(one) + len(one.decorator_list) for one in body if isinstance(one, Function))
    return whole - inner


def test_no_class_is_too_long() -> None:
    found = {
        name: lines(node)
        for name, node in definitions()
        if isinstance(node, ast.ClassDef) and lines(node) > LONGEST_CLASS and node.name not in EXCEPT
    }
    assert found == {}


def test_no_function_is_too_long() -> None:
    functions = ((name, node) for name, node in definitions() if isinstance(node, Function))
    assert {name: body_lines(node) for name, node in functions if body_lines(node) > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("length", [LONGEST_FUNCTION, LONGEST_FUNCTION + 1])
def test_long_ones_are_found(length: int) -> None:
    text = "def long(\n a,\n b,\n):\n" + "    a = b\n" * length
    (function,) = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    assert body_lines(function) == length
