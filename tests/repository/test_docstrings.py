"""Docstrings say what something is or does; they do not begin with a question."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import lipika

QUESTION_WORDS = {
    *("who", "whoever", "whose", "what", "whatever", "how"),
    *("where", "when", "whether", "which", "why"),
}
MOST = 0.01
"""Share of all docstrings that may begin with one. Lower it when it can be lowered."""

_ROOT = Path(lipika.__file__).parent
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _docstrings() -> Iterator[tuple[str, str]]:
    """(place, docstring) of every module, class and function."""
    for file in sorted(_ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, _DOCUMENTED) and (text := ast.get_docstring(node)):
                yield f"{file.relative_to(_ROOT)}:{getattr(node, 'name', '')}", text


def _asks(text: str) -> bool:
    return text.split(maxsplit=1)[0].strip(",:;?").lower() in QUESTION_WORDS


def test_no_docstring_of_a_module_begins_with_a_question_word() -> None:
    assert [place for place, text in _docstrings() if place.endswith(":") and _asks(text)] == []


def test_few_docstrings_begin_with_a_question_word() -> None:
    texts = list(_docstrings())
    asking = [place for place, text in texts if _asks(text)]
    assert len(asking) <= MOST * len(texts), asking


def test_no_docstring_begins_with_a_question() -> None:
    assert [place for place, text in _docstrings() if "?" in text.splitlines()[0]] == []
